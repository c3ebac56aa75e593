//! Which Events are to be written, and when: of each reason one in five minutes at most, and what is over before its turn came is not
//! told at all. Pure; every instant and every random number is passed in.
//!
//! Told is the difference between what was told last and what is: so nothing waits in a list, and nothing grows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use proto_crd::node_health::SignalState;

use super::area::word;
use super::pace::Pace;
use super::report::Chance;
use super::signal::Signal;
use super::tracker::View;

/// Between two Events of one reason.
pub(super) const PERIOD: Duration = Duration::from_secs(5 * 60);

/// Between two Events of any reason: a node with which everything is wrong says so within half a minute.
const GAP: Duration = Duration::from_secs(1);

/// What wrong things of ten thousand nodes at once are spread over.
const SPREAD: Duration = Duration::from_secs(10);

/// The longest note that the API server takes, in bytes.
const NOTE_LIMIT: usize = 1024;

/// What is told of the signals.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    begun: Timestamp,
    entries: BTreeMap<Signal, Entry>,
    pace: Pace,
}

/// What is told of one.
#[derive(Clone, Debug)]
struct Entry {
    /// What was told last: that it is wrong, or not.
    told: bool,
    /// What it is.
    is_wrong: bool,
    note: String,
    /// No Event of either reason before this: fine, wrong.
    not_before: [Option<Instant>; 2],
}

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    signal: Signal,
    /// Whether it is bad news.
    pub(super) is_wrong: bool,
    /// For programs.
    pub(super) reason: String,
    /// For people.
    pub(super) text: String,
}

impl Outbox {
    /// For a process that begins now: what was wrong before, an earlier one has told.
    pub(super) fn new(begun: Timestamp) -> Self {
        Self {
            begun,
            entries: BTreeMap::new(),
            pace: Pace::default(),
        }
    }

    /// Takes the state of the signals into account. What is not known changes nothing.
    pub(super) fn observe(&mut self, views: &[View], now: Instant, chance: Chance) {
        for view in views {
            match (view.state, &view.wrong) {
                (SignalState::Unhealthy, Some(wrong)) => {
                    let trouble = &wrong.trouble;
                    let entry = self.entries.entry(view.signal).or_insert_with(|| Entry {
                        told: view.since < self.begun,
                        is_wrong: false,
                        note: String::new(),
                        not_before: [None; 2],
                    });
                    entry.note = format!(
                        "{}; {}. To do: {}",
                        trouble.message, trouble.impact, trouble.advice
                    );
                    if !entry.is_wrong {
                        entry.is_wrong = true;
                        let spread = now + chance.of(SPREAD);
                        entry.not_before[1] = entry.not_before[1].max(Some(spread));
                    }
                }
                (SignalState::Healthy | SignalState::Absent, _) => {
                    if let Some(entry) = self.entries.get_mut(&view.signal)
                        && entry.is_wrong
                    {
                        entry.is_wrong = false;
                        entry.note = format!("{} is as it should be again", view.signal.as_str());
                    }
                }
                _ => {}
            }
        }
    }

    /// When there is something to be written next.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let (at, _) = self.first(now)?;
        Some(at.max(self.pace.earliest(now)))
    }

    /// What is to be written now.
    pub(super) fn next(&self, now: Instant) -> Option<Note> {
        let (at, note) = self.first(now)?;
        (at.max(self.pace.earliest(now)) <= now).then_some(note)
    }

    fn first(&self, now: Instant) -> Option<(Instant, Note)> {
        let waiting = self.entries.iter().filter(|(_, it)| it.told != it.is_wrong);
        let (signal, entry) = waiting.min_by_key(|(_, it)| it.earliest(now))?;
        let note = Note::new(*signal, entry.is_wrong, &entry.note);
        Some((entry.earliest(now), note))
    }

    /// It was written.
    pub(super) fn written(&mut self, note: &Note, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&note.signal) {
            entry.told = note.is_wrong;
            entry.not_before[usize::from(note.is_wrong)] = Some(now + PERIOD);
        }
        self.pace.written(now, GAP);
    }

    /// It could not be written.
    pub(super) fn failed(&mut self, now: Instant, chance: Chance) {
        self.pace.failed(now, chance);
    }
}

impl Note {
    /// About a signal.
    pub(super) fn new(signal: Signal, is_wrong: bool, text: &str) -> Self {
        let state = if is_wrong { "unhealthy" } else { "healthy" };
        Self {
            signal,
            is_wrong,
            reason: word(&[signal.as_str(), state]),
            text: cut_to(text, NOTE_LIMIT).to_owned(),
        }
    }
}

impl Entry {
    fn earliest(&self, now: Instant) -> Instant {
        self.not_before[usize::from(self.is_wrong)].unwrap_or(now)
    }
}

/// The beginning of a text, in whole characters.
fn cut_to(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
