//! Which Events are to be written, and when: of each reason one in five minutes at most, and what is over before its turn came is not
//! told at all. Pure; every instant and every random number is passed in.
//!
//! Told is the difference between what was told last and what is: so nothing waits in a list, and nothing grows. What was told, and
//! when, outlives the process ([`Told`]): the five minutes are also those of an earlier one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use proto_crd::node_health::SignalState;
use serde::{Deserialize, Serialize};

use super::area::word;
use super::moment::Moment;
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
    /// What an earlier process told; none, where nobody knows.
    earlier: Option<Told>,
    entries: BTreeMap<Signal, Entry>,
    pace: Pace,
}

/// What is told of one.
#[derive(Clone, Debug)]
struct Entry {
    told: ToldSignal,
    /// What it is.
    is_wrong: bool,
    note: String,
    /// No Event of either reason before this: fine, wrong.
    not_before: [Option<Instant>; 2],
}

/// What was told of each signal, for the next process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    signals: BTreeMap<String, ToldSignal>,
}

/// What was told of one signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ToldSignal {
    /// What was told last: that it is wrong, or not.
    is_wrong: bool,
    /// When each was told last: that it is fine, that it is wrong.
    at: [Option<Timestamp>; 2],
    /// Since when the other is being told, without anybody knowing whether it was.
    trying_since: Option<Timestamp>,
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
    /// For a process that begins now. Where nobody knows what an earlier one told, it has told what was wrong before.
    pub(super) fn new(begun: Timestamp, earlier: Option<Told>) -> Self {
        Self {
            begun,
            earlier,
            entries: BTreeMap::new(),
            pace: Pace::default(),
        }
    }

    /// What the next process must know; of signals that were not seen yet what the earlier one said.
    pub(super) fn told(&self) -> Told {
        let mut told = self.earlier.clone().unwrap_or_default();
        let now = |(signal, entry): (&Signal, &Entry)| (signal.as_str().to_owned(), entry.told);
        told.signals.extend(self.entries.iter().map(now));
        told
    }

    /// Takes the state of the signals into account. What is not known changes nothing.
    pub(super) fn observe(&mut self, views: &[View], now: Moment, chance: Chance) {
        for view in views {
            self.go_on(view.signal, now);
            let now = now.at;
            match (view.state, &view.wrong) {
                (SignalState::Unhealthy, Some(wrong)) => {
                    let trouble = &wrong.trouble;
                    let is_told = self.earlier.is_none() && view.since < self.begun;
                    let entry = self.entries.entry(view.signal).or_insert_with(|| Entry {
                        told: ToldSignal {
                            is_wrong: is_told,
                            ..ToldSignal::default()
                        },
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

    /// Goes on from where an earlier process was with a signal.
    fn go_on(&mut self, signal: Signal, now: Moment) {
        if self.entries.contains_key(&signal) {
            return;
        }
        let signals = self.earlier.as_ref().map(|earlier| &earlier.signals);
        let Some(told) = signals.and_then(|signals| signals.get(signal.as_str())) else {
            return;
        };
        let until = |at: Timestamp| now.at + PERIOD.saturating_sub(now.since_wall(at));
        let entry = Entry {
            told: *told,
            is_wrong: told.is_wrong,
            note: String::new(),
            not_before: told.at.map(|at| at.map(until)),
        };
        self.entries.insert(signal, entry);
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
        let waiting = self
            .entries
            .iter()
            .filter(|(_, it)| it.told.is_wrong != it.is_wrong);
        let (signal, entry) = waiting.min_by_key(|(_, it)| it.earliest(now))?;
        let note = Note::new(*signal, entry.is_wrong, &entry.note);
        Some((entry.earliest(now), note))
    }

    /// It is about to be written. Since when that is tried: an Event of that time may be there already, and is this one.
    pub(super) fn begin(&mut self, note: &Note, now: Moment) -> Timestamp {
        let Some(entry) = self.entries.get_mut(&note.signal) else {
            return now.wall;
        };
        let tried = entry.told.trying_since;
        let since = tried.filter(|since| *since <= now.wall && now.since_wall(*since) < PERIOD);
        *entry.told.trying_since.insert(since.unwrap_or(now.wall))
    }

    /// It was written.
    pub(super) fn written(&mut self, note: &Note, now: Moment) {
        if let Some(entry) = self.entries.get_mut(&note.signal) {
            let side = usize::from(note.is_wrong);
            entry.told.is_wrong = note.is_wrong;
            entry.told.at[side] = Some(now.wall);
            entry.told.trying_since = None;
            entry.not_before[side] = Some(now.at + PERIOD);
        }
        self.pace.written(now.at, GAP);
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
