//! All signals together: what is known of the node at one moment, and how it is put into a report. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proto_crd::condition::{self, Condition, ConditionStatus};
use proto_crd::node_health::{
    self, Decision, NodeHealthStatus, SignalState, TEXT_LIMIT, VALUE_LIMIT,
};

use std::sync::Arc;

use super::area::{self, AreaView, Areas};
use super::assess::Rule;
use super::moment::Moment;
use super::report::REPORT_TTL;
use super::signal::{Signal, Verdict};
use super::tracker::{Tracker, View};
use crate::peers::{self, Sights};

/// Names that are listed in a condition's message; further ones are counted.
const NAMES_LISTED: usize = 8;

/// Where a report comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The boot.
    pub(super) boot_id: String,
    /// The agent.
    pub(super) agent_version: String,
}

/// Every signal.
#[derive(Clone, Debug)]
pub(super) struct Board {
    rules: &'static [Rule],
    trackers: Vec<Tracker>,
    healthy: Steady,
    areas: Areas,
    /// The earlier process's report was read, or is known not to exist.
    is_continued: bool,
}

/// Since when the condition is what it is.
#[derive(Clone, Copy, Debug)]
struct Steady {
    status: ConditionStatus,
    since: Timestamp,
}

/// What is known of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// The table.
    rules: &'static [Rule],
    /// Each signal, in the order of the table.
    pub(super) views: Vec<View>,
    /// Whether it is worth telling: every signal was looked at, and what an earlier process knew is taken into account.
    pub(super) is_complete: bool,
    /// Whether all is well.
    pub(super) healthy: ConditionStatus,
    /// Since when it is so.
    pub(super) since: Timestamp,
    /// The same of each part of the node.
    pub(super) areas: Vec<AreaView>,
    /// What is seen of the peers, where they are looked at.
    pub(super) peers: Option<Arc<Sights>>,
    /// Whether what runs waits for processors, where that is known.
    pub(super) processors_pressed: Option<bool>,
}

/// What a change of makes a report worth writing. Figures and texts that vary while the case is the same are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gist(Vec<Point>, Option<peers::Gist>, Option<bool>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Point {
    signal: Signal,
    state: SignalState,
    wrong: Option<(Decision, &'static str)>,
}

impl Board {
    /// Nothing is known of these signals.
    pub(super) fn new(rules: &'static [Rule], born: Moment) -> Self {
        Self {
            rules,
            trackers: rules.iter().map(|rule| Tracker::new(*rule, born)).collect(),
            healthy: Steady {
                status: ConditionStatus::Unknown,
                since: born.wall,
            },
            areas: Areas::new(born.wall),
            is_continued: false,
        }
    }

    /// Takes a look into account.
    pub(super) fn look(&mut self, verdict: Verdict, now: Moment) {
        let signal = verdict.signal;
        let tracker = self
            .trackers
            .iter_mut()
            .find(|it| it.rule().signal == signal);
        if let Some(tracker) = tracker {
            tracker.look(verdict, now);
        }
    }

    /// Goes on from the report of an earlier process, if there is one: of this boot, since a reboot changes everything.
    pub(super) fn adopt(&mut self, prior: Option<&NodeHealthStatus>, origin: &Origin, now: Moment) {
        self.is_continued = true;
        let Some(prior) = prior.filter(|prior| prior.boot_id == origin.boot_id) else {
            return;
        };
        self.areas.adopt(&prior.conditions);
        let is_current = prior.expiry_time.0 > now.wall;
        for tracker in &mut self.trackers {
            let name = tracker.rule().signal.as_str();
            let known = prior.signals.iter().find(|signal| signal.name == name);
            // What was fine before a long time without a report is fine from the first look on; what was wrong may
            // have been so all the time.
            let known = known.filter(|it| is_current || it.state == SignalState::Unhealthy);
            if let Some(known) = known {
                tracker.adopt(known, now);
            }
        }
        if let Some(told) = prior
            .conditions
            .iter()
            .find(|it| it.r#type == condition::HEALTHY)
        {
            self.healthy = Steady {
                status: told.status,
                since: told.last_transition_time.0,
            };
        }
    }

    /// What is known at this moment.
    pub(super) fn report(&mut self, now: Moment) -> Report {
        let views: Vec<_> = self.trackers.iter().map(|it| it.view(now)).collect();
        let healthy = overall(&views);
        let is_complete = self.is_continued && self.trackers.iter().all(|it| it.is_decided(now));
        // Before all was looked at the status is nobody's business, and no transition.
        if is_complete && self.healthy.status != healthy {
            self.healthy = Steady {
                status: healthy,
                since: now.wall,
            };
        }
        let areas = self.areas.judge(&views, is_complete, now.wall);
        Report {
            rules: self.rules,
            areas,
            views,
            is_complete,
            healthy,
            since: self.healthy.since,
            peers: None,
            processors_pressed: None,
        }
    }
}

fn overall(views: &[View]) -> ConditionStatus {
    let any = |state| views.iter().any(|view| view.state == state);
    if any(SignalState::Unhealthy) {
        ConditionStatus::False
    } else if any(SignalState::Unknown) {
        ConditionStatus::Unknown
    } else {
        ConditionStatus::True
    }
}

impl Report {
    /// What makes it worth writing.
    pub(super) fn gist(&self) -> Gist {
        let of = |view: &View| Point {
            signal: view.signal,
            state: view.state,
            wrong: view.wrong.as_ref().map(|it| (it.decision, it.trouble.kind)),
        };
        let peers = self.peers.as_deref().map(Sights::gist);
        let points = self.views.iter().map(of).collect();
        Gist(points, peers, self.processors_pressed)
    }

    /// Whether more than figures is other than it was: then those who tell of it must look at it again.
    pub(super) fn is_news_after(&self, old: &Self) -> bool {
        let whole = |it: &Self| (it.is_complete, it.healthy, it.since);
        let case = |it: &View| (it.signal, it.state, it.since);
        let is_other = |(new, old): (&View, &View)| {
            case(new) != case(old) || new.wrong != old.wrong || new.unknown != old.unknown
        };
        let peers = match (&self.peers, &old.peers) {
            (Some(new), Some(old)) => !Arc::ptr_eq(new, old) && new.gist() != old.gist(),
            (new, old) => new.is_some() != old.is_some(),
        };
        peers
            || self.processors_pressed != old.processors_pressed
            || whole(self) != whole(old)
            || self.areas != old.areas
            || self.views.iter().zip(&old.views).any(is_other)
    }

    /// As it is written.
    pub(super) fn to_status(&self, origin: &Origin, now: Moment) -> NodeHealthStatus {
        let seen = self.peers.as_deref();
        NodeHealthStatus {
            boot_id: origin.boot_id.clone(),
            agent_version: origin.agent_version.clone(),
            report_time: Time(now.wall),
            expiry_time: Time(now.after(REPORT_TTL).wall),
            problems: self.count(SignalState::Unhealthy),
            unknowns: self.count(SignalState::Unknown),
            conditions: std::iter::once(self.condition())
                .chain(self.areas.iter().map(AreaView::to_condition))
                .collect(),
            signals: self.views.iter().zip(self.rules).map(to_signal).collect(),
            peers: seen.map_or_else(Vec::new, |it| it.peers.clone()),
            vote: seen.map(|it| it.vote.clone()),
            processors_pressed: self.processors_pressed,
        }
    }

    fn count(&self, state: SignalState) -> u32 {
        let count = self.views.iter().filter(|view| view.state == state).count();
        count.try_into().unwrap_or(u32::MAX)
    }

    fn condition(&self) -> Condition {
        let (reason, message) = match self.healthy {
            ConditionStatus::True => (
                condition::ALL_HEALTHY,
                "everything is as it should be".into(),
            ),
            ConditionStatus::False => (
                condition::SIGNALS_UNHEALTHY,
                format!("wrong: {}", self.names(SignalState::Unhealthy)),
            ),
            ConditionStatus::Unknown => (
                condition::SIGNALS_UNKNOWN,
                format!("not known: {}", self.names(SignalState::Unknown)),
            ),
        };
        Condition {
            r#type: condition::HEALTHY.to_owned(),
            status: self.healthy,
            reason: reason.to_owned(),
            message,
            last_transition_time: Time(self.since),
        }
    }

    fn names(&self, state: SignalState) -> String {
        let views = self.views.iter().filter(|view| view.state == state);
        let names: Vec<_> = views.map(|view| view.signal.as_str()).collect();
        let listed = names[..names.len().min(NAMES_LISTED)].join(", ");
        match names.len().saturating_sub(NAMES_LISTED) {
            0 => listed,
            more => format!("{listed} and {more} more"),
        }
    }
}

fn to_signal((view, rule): (&View, &Rule)) -> node_health::Signal {
    let trouble = view.wrong.as_ref().map(|wrong| &wrong.trouble);
    let message = trouble.map(|it| &it.message).or(view.unknown.as_ref());
    let text = |text: Option<&String>| text.map(|text| cut(text, TEXT_LIMIT));
    node_health::Signal {
        name: view.signal.as_str().to_owned(),
        area: Some(area::of(view.signal)),
        state: view.state,
        since: Time(view.since),
        observed_time: view.observed.map(Time),
        ttl_seconds: rule.ttl.as_secs().try_into().unwrap_or(u32::MAX),
        value: cut(&view.value, VALUE_LIMIT),
        threshold: cut(rule.threshold, VALUE_LIMIT),
        decision: view.wrong.as_ref().map(|wrong| wrong.decision),
        message: text(message),
        impact: text(trouble.map(|it| &it.impact)),
        advice: text(trouble.map(|it| &it.advice)),
    }
}

/// The text, or as much of it as fits; the API server counts characters. Never empty where the text is not.
fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
    kept + "…"
}

#[cfg(test)]
mod tests;
