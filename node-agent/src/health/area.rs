//! The parts of the node: which signal is about which, and what is wrong with each, as a condition. Pure.
//!
//! Few and coarse, since the Node carries them too, and every watcher of Nodes gets all of a Node with every change. A condition
//! says `True` where something is wrong, `Unknown` where something is not known and nothing is known to be wrong.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proto_crd::condition::{Condition, ConditionStatus};
use proto_crd::node_health::{Area, SignalState};

use super::signal::Signal;
use super::tracker::View;

/// Reason of a part with which nothing is wrong.
const NO_PROBLEM: &str = "NoProblem";

/// The longest message of a condition, in characters (`proto_crd::condition`).
const MESSAGE_LIMIT: usize = 1024;

/// The longest reason.
const REASON_LIMIT: usize = 63;

/// Which part of the node a signal is about. A test looks that every signal of the table is named.
const SIGNALS: &[(Area, &[&str])] = &[
    (
        Area::Runtime,
        &[
            "kubelet",
            "kubelet-lease",
            "kubelet-restarts",
            "runtime",
            "runtime-exec",
            "runtime-restarts",
            "terminating",
            "kill-storm",
            "certificates",
        ],
    ),
    (
        Area::Addresses,
        &["ipamd", "addresses", "book", "lost-addresses"],
    ),
    (
        Area::Network,
        &[
            "uplink",
            "uplink-flaps",
            "uplink-errors",
            "bond",
            "gateway",
            "conntrack",
            "neighbours",
            "leaked-namespaces",
            "leaked-ports",
            "dns",
            "runtime-network",
        ],
    ),
    (
        Area::Storage,
        &[
            "disk-write",
            "read-only",
            "disk-space",
            "disk-inodes",
            "io-pressure",
            "kernel-disk",
        ],
    ),
    (
        Area::Kernel,
        &[
            "kernel-log",
            "kernel-task",
            "kernel-memory",
            "kernel-hardware",
            "kernel-lockup",
            "kernel-bug",
            "kernel-netdev",
            "kernel-tables",
            "reboots",
            "clock",
            "clock-steps",
        ],
    ),
    (
        Area::Resources,
        &[
            "memory",
            "memory-pressure",
            "oom-kills",
            "pids",
            "files",
            "zombies",
            "blocked",
        ],
    ),
];

/// One part of the node, as a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AreaView {
    /// Which.
    pub(super) area: Area,
    /// Whether something is wrong with it.
    pub(super) status: ConditionStatus,
    /// What, for programs: the first thing that is.
    pub(super) reason: String,
    /// What, for people.
    pub(super) message: String,
    /// Since when the status is what it is.
    pub(super) since: Timestamp,
}

/// Since when each part is as it is.
#[derive(Clone, Debug)]
pub(super) struct Areas {
    steady: [(ConditionStatus, Timestamp); Area::ALL.len()],
}

/// The part of the node that a signal is about. What nobody has sorted is the kernel's, so that it is told at all.
pub(super) fn of(signal: Signal) -> Area {
    let listed = |(_, names): &&(Area, &[&str])| names.contains(&signal.as_str());
    SIGNALS
        .iter()
        .find(listed)
        .map_or(Area::Kernel, |(area, _)| *area)
}

impl Areas {
    /// Nothing is known.
    pub(super) const fn new(born: Timestamp) -> Self {
        Self {
            steady: [(ConditionStatus::Unknown, born); Area::ALL.len()],
        }
    }

    /// Goes on from the conditions that an earlier process of this boot reported.
    pub(super) fn adopt(&mut self, prior: &[Condition]) {
        for (area, steady) in Area::ALL.iter().zip(&mut self.steady) {
            let told = prior.iter().find(|it| it.r#type == area.condition());
            if let Some(told) = told {
                *steady = (told.status, told.last_transition_time.0);
            }
        }
    }

    /// What each part is by these signals. Before all was looked at (`is_complete`) nothing is a transition.
    pub(super) fn judge(
        &mut self,
        views: &[View],
        is_complete: bool,
        now: Timestamp,
    ) -> Vec<AreaView> {
        let sorted: Vec<_> = views.iter().map(|view| (of(view.signal), view)).collect();
        let judge = |(area, steady): (Area, &mut (ConditionStatus, Timestamp))| {
            let own = sorted.iter().filter(|(of, _)| *of == area);
            let own: Vec<_> = own.map(|(_, view)| *view).collect();
            let (status, reason, message) = assess(&own);
            if is_complete && steady.0 != status {
                *steady = (status, now);
            }
            AreaView {
                area,
                status,
                reason,
                message,
                since: steady.1,
            }
        };
        Area::ALL
            .into_iter()
            .zip(&mut self.steady)
            .map(judge)
            .collect()
    }
}

fn assess(own: &[&View]) -> (ConditionStatus, String, String) {
    let mut wrong: Vec<_> = own
        .iter()
        .filter_map(|view| Some((view.signal, view.wrong.as_ref()?)))
        .collect();
    // The strongest first; in the order of the table where they are equal.
    wrong.sort_by_key(|(_, wrong)| std::cmp::Reverse(wrong.decision));
    if let Some((signal, first)) = wrong.first() {
        let reason = word(&[signal.as_str(), first.trouble.kind]);
        let told = wrong
            .iter()
            .map(|(signal, wrong)| format!("{}: {}", signal.as_str(), wrong.trouble.message));
        let message = told.collect::<Vec<_>>().join("; ");
        return (ConditionStatus::True, reason, cut(&message));
    }
    let unknown = |view: &&&View| view.state == SignalState::Unknown;
    let unknown: Vec<_> = own.iter().filter(unknown).collect();
    if let Some(first) = unknown.first() {
        let told = unknown.iter().map(|view| {
            let why = view.unknown.as_deref().unwrap_or_default();
            format!("{}: {why}", view.signal.as_str())
        });
        let message = told.collect::<Vec<_>>().join("; ");
        let reason = word(&[first.signal.as_str(), "unknown"]);
        return (ConditionStatus::Unknown, reason, cut(&message));
    }
    let message = "everything that is looked at is as it should be";
    (
        ConditionStatus::False,
        NO_PROBLEM.to_owned(),
        message.to_owned(),
    )
}

/// Words with dashes as one in capitals: `runtime-exec`, `slow` is `RuntimeExecSlow`.
pub(super) fn word(parts: &[&str]) -> String {
    let mut text = String::new();
    for part in parts.iter().flat_map(|part| part.split(['-', ' ', '_'])) {
        let mut letters = part.chars().filter(char::is_ascii_alphanumeric);
        text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        text.extend(letters);
    }
    text.truncate(REASON_LIMIT);
    text
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MESSAGE_LIMIT {
        return text.to_owned();
    }
    let kept: String = text.chars().take(MESSAGE_LIMIT - 1).collect();
    kept + "…"
}

impl AreaView {
    /// As it stands in `NodeHealth`.
    pub(super) fn to_condition(&self) -> Condition {
        Condition {
            r#type: self.area.condition().to_owned(),
            status: self.status,
            reason: self.reason.clone(),
            message: self.message.clone(),
            last_transition_time: Time(self.since),
        }
    }
}

#[cfg(test)]
mod tests;
