//! How far each Pod of a release is: as a table at one moment, and line by line as it happens. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::jiff::Timestamp;
use proto_crd::in_place_set::{InPlaceSet, ReleasePhase, ReleasePod};
use serde::Serialize;

use super::standing::{instant, observed};
use crate::age::{short, since};
use crate::cluster::sets::PodOfSet;
use crate::output::{Cell, Paint, Tone, columns};

/// State of a Pod whose turn has not come.
const WAITING: &str = "Waiting";

/// State of a Pod that is at the update revision with nothing under way.
const RELEASED: &str = "Released";

/// State of a Pod that is not to be at the update revision: `spec.updatedReplicas`, or no release is under way.
const KEPT: &str = "Kept";

/// State of a Pod that goes.
const DELETING: &str = "Deleting";

/// What the controllers call the state of a Pod with which nothing is done.
const SERVING: &str = "Serving";

/// States of a Pod that goes on; every other one says why it was given up.
const STATES: [&str; 8] = [
    SERVING,
    "PrePull",
    "Draining",
    "Detached",
    "Quiet",
    "Upgrading",
    "Verifying",
    "Attaching",
];

/// One Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodLine {
    /// Its name.
    pub(super) name: String,
    /// Its revision, by its hash.
    pub(super) revision: String,
    /// How far it is.
    pub(super) state: String,
    /// What it waits for, or why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) waits_for: String,
    /// Since when it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Timestamp>,
    /// It was given up, until somebody decides.
    pub(super) failed: bool,
}

/// Each Pod of a set, in the order of their ordinals.
pub(super) fn lines(set: &InPlaceSet, pods: &[PodOfSet]) -> Vec<PodLine> {
    let release = observed(set).and_then(|it| it.release.as_ref());
    let listed: BTreeMap<&str, &ReleasePod> = release
        .iter()
        .flat_map(|it| &it.pods)
        .map(|it| (it.name.as_str(), it))
        .collect();
    pods.iter()
        .map(|pod| line(set, pod, listed.get(pod.name.as_str()).copied()))
        .collect()
}

/// The Pod itself says where it is; the status what it waits for there. Either may be a moment behind the other.
fn line(set: &InPlaceSet, pod: &PodOfSet, listed: Option<&ReleasePod>) -> PodLine {
    let mut line = PodLine {
        name: pod.name.clone(),
        revision: pod.revision.clone(),
        state: String::new(),
        waits_for: String::new(),
        since: None,
        failed: false,
    };
    let operation = pod.operation.as_ref();
    // The status may say it more finely than the annotation, of which nobody writes that containers are verified.
    let here = |listed: &&ReleasePod| {
        operation
            .is_none_or(|it| it.state == listed.state || it.since == Some(instant(listed.since)))
    };
    if let Some((operation, failure)) = operation.and_then(|it| Some((it, it.failure.as_ref()?))) {
        line.state.clone_from(&failure.reason);
        line.waits_for.clone_from(&failure.message);
        line.since = operation.since;
        line.failed = true;
    } else if let Some(listed) = listed.filter(|it| operation.is_none() && it.state == SERVING) {
        idle(set, pod).clone_into(&mut line.state);
        line.waits_for.clone_from(&listed.waits_for);
    } else if let Some(listed) = listed.filter(here) {
        line.failed = !STATES.contains(&listed.state.as_str());
        line.state.clone_from(&listed.state);
        line.waits_for.clone_from(&listed.waits_for);
        line.since = Some(instant(listed.since));
    } else if let Some(operation) = operation {
        line.state.clone_from(&operation.state);
        line.since = operation.since;
    } else {
        idle(set, pod).clone_into(&mut line.state);
    }
    line
}

fn idle(set: &InPlaceSet, pod: &PodOfSet) -> &'static str {
    let status = observed(set);
    let update = status.map(|it| it.update_revision.as_str());
    let goes_on = status
        .and_then(|it| it.release.as_ref())
        .is_some_and(|it| it.phase != ReleasePhase::Succeeded);
    if pod.deleting {
        DELETING
    } else if Some(pod.revision.as_str()) == update {
        RELEASED
    } else if goes_on || status.is_none() {
        WAITING
    } else {
        KEPT
    }
}

fn is_idle(state: &str) -> bool {
    [WAITING, RELEASED, KEPT].contains(&state)
}

fn tone(line: &PodLine) -> Tone {
    match line.state.as_str() {
        _ if line.failed => Tone::Wrong,
        RELEASED => Tone::Fine,
        WAITING | KEPT => Tone::Plain,
        _ => Tone::Doubtful,
    }
}

/// A line for each Pod.
pub(super) fn table(lines: &[PodLine], now: Timestamp, paint: Paint) -> String {
    let rows = lines.iter().map(|line| {
        let age = line.since.map(|time| short(since(time, now)));
        let waits_for = if line.waits_for.is_empty() {
            "-"
        } else {
            &line.waits_for
        };
        [
            line.name.as_str().into(),
            line.revision.as_str().into(),
            Cell::new(tone(line), line.state.as_str()),
            age.unwrap_or_else(|| "-".to_owned()).into(),
            waits_for.into(),
        ]
    });
    columns(
        ["POD", "REVISION", "STATE", "FOR", "WAITS FOR"],
        rows,
        paint,
    )
}

/// What was said already of each Pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pods: BTreeMap<String, (String, String)>,
    begun: bool,
}

impl Told {
    /// What is new. Of a Pod whose turn has not come nothing is said, and at the first look nothing of one that is released.
    pub(super) fn lines(&mut self, lines: &[PodLine]) -> Vec<(Tone, String)> {
        let first = !std::mem::replace(&mut self.begun, true);
        let mut new = Vec::new();
        for line in lines {
            let now = (line.state.clone(), line.waits_for.clone());
            let before = self.pods.insert(line.name.clone(), now.clone());
            let silent = before.as_ref() == Some(&now)
                || (first && is_idle(&line.state))
                || [WAITING, KEPT].contains(&line.state.as_str())
                    && before.as_ref().is_none_or(|(state, _)| is_idle(state));
            if !silent {
                new.push((tone(line), words(line)));
            }
        }
        let gone: Vec<String> = self
            .pods
            .keys()
            .filter(|name| !lines.iter().any(|line| line.name == **name))
            .cloned()
            .collect();
        for name in gone {
            self.pods.remove(&name);
            new.push((Tone::Plain, format!("{name}: gone")));
        }
        new
    }
}

fn words(line: &PodLine) -> String {
    let mut text = format!("{}: {}", line.name, line.state);
    if line.state == WAITING {
        text = format!("{}: serves again, untouched", line.name);
    }
    if !line.waits_for.is_empty() {
        let between = if line.failed { ":" } else { ", waits for" };
        let _ = write!(text, "{between} {}", line.waits_for);
    }
    if let Some(since) = line.since {
        let _ = write!(text, " (since {since})");
    }
    text
}

#[cfg(test)]
mod tests;
