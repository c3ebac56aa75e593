//! When a set's status is written: news at once; figures, and who is waited for, when it is the set's turn. Pure; every instant is passed in.
//!
//! **Always holds:** what waits is written later, as it is then. Each step of each Pod changes its set's figures: written at once they
//! would take more of the writers' pace than the Pods themselves, and every release would be so much slower.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proto_crd::in_place_set::InPlaceSetStatus;

use crate::world::Key;

/// From one turn to the next: all sets together have a tenth of the pace.
const GAP: Duration = Duration::from_millis(200);
/// Turns that are had at once after a calm: one set, or a few, wait for nothing.
const BURST: u32 = 25;
/// A turn that was not taken is another set's.
const LAPSES: Duration = Duration::from_secs(60);

/// Who has a turn, and when.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    next: Option<Instant>,
    turns: BTreeMap<Key, Instant>,
}

impl Statuses {
    /// How long this set waits for its turn; nothing: it has it now.
    pub(super) fn wait(&mut self, set: &Key, now: Instant) -> Option<Duration> {
        self.turns
            .retain(|_, at| now.saturating_duration_since(*at) < LAPSES);
        if let Some(at) = self.turns.get(set).copied() {
            if at > now {
                return Some(at - now);
            }
            self.turns.remove(set);
            return None;
        }
        let earliest = now.checked_sub(GAP * (BURST - 1)).unwrap_or(now);
        let at = self.next.map_or(earliest, |next| next.max(earliest));
        self.next = Some(at + GAP);
        if at <= now {
            return None;
        }
        self.turns.insert(set.clone(), at);
        Some(at - now)
    }
}

/// Whether what is to be told is more than figures, and who is waited for.
pub(super) fn is_news(told: &InPlaceSetStatus, now: &InPlaceSetStatus) -> bool {
    case(told) != case(now)
}

/// The status without them.
fn case(status: &InPlaceSetStatus) -> InPlaceSetStatus {
    let mut case = InPlaceSetStatus {
        ready_replicas: 0,
        available_replicas: 0,
        updated_replicas: 0,
        updated_ready_replicas: 0,
        draining: 0,
        upgrading: 0,
        attaching: 0,
        ..status.clone()
    };
    if let Some(release) = &mut case.release {
        release.waits_for.clear();
        release.since = None;
        release.pods.clear();
    }
    for condition in &mut case.conditions {
        condition.message.clear();
    }
    case
}

#[cfg(test)]
mod tests {
    use proto_crd::in_place_set::ReleasePhase;
    use serde_json::json;

    use super::*;

    fn key(number: u32) -> Key {
        ("prod".to_owned(), format!("set-{number}"))
    }

    #[test]
    fn a_few_have_their_turn_at_once_and_many_share_a_tenth_of_the_pace() {
        let start = Instant::now();
        let mut statuses = Statuses::default();
        for number in 0..BURST {
            assert_eq!(statuses.wait(&key(number), start), None, "{number}");
        }
        assert_eq!(statuses.wait(&key(90), start), Some(GAP));
        assert_eq!(statuses.wait(&key(91), start), Some(GAP * 2));
        // Whoever asks again waits for the same turn, and has it once.
        assert_eq!(statuses.wait(&key(91), start + GAP), Some(GAP));
        assert_eq!(statuses.wait(&key(91), start + GAP * 2), None);
        assert_eq!(statuses.wait(&key(91), start + GAP * 2), Some(GAP));
    }

    #[test]
    fn in_a_minute_there_are_five_a_second_however_often_somebody_asks() {
        let start = Instant::now();
        let mut statuses = Statuses::default();
        let mut written = 0;
        for tenth in 0..600 {
            for number in 0..200 {
                let now = start + Duration::from_millis(100) * tenth;
                written += u32::from(statuses.wait(&key(number), now).is_none());
            }
        }
        assert!((300..=300 + BURST).contains(&written), "{written}");
    }

    #[test]
    fn figures_wait_and_everything_else_does_not() {
        let told = json!({
            "observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "currentRevision": "a", "updateRevision": "b",
            "release": {
                "id": "b-1", "phase": "Progressing", "fromRevision": "a", "toRevision": "b", "startedAt": "2026-01-01T00:00:00Z",
                "waitsFor": "shop-1", "pods": [],
            },
            "conditions": [{
                "type": "Available", "status": "True", "reason": "Enough", "message": "3 of 3", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        });
        let status = |value: &serde_json::Value| -> InPlaceSetStatus {
            serde_json::from_value(value.clone()).unwrap()
        };
        for (pointer, value, expected) in [
            ("/readyReplicas", json!(2), false),
            ("/release/waitsFor", json!("shop-2"), false),
            ("/conditions/0/message", json!("2 of 3"), false),
            ("/observedGeneration", json!(2), true),
            ("/replicas", json!(2), true),
            ("/release/id", json!("c-2"), true),
            ("/conditions/0/status", json!("False"), true),
            ("/conditions/0/reason", json!("TooFew"), true),
        ] {
            let mut other = told.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            assert_eq!(
                is_news(&status(&told), &status(&other)),
                expected,
                "{pointer}"
            );
        }
        let mut over = status(&told);
        over.release.as_mut().unwrap().phase = ReleasePhase::Succeeded;
        assert!(is_news(&status(&told), &over));
    }
}
