//! Which probes are answered: each once, and so many a second of each sender and of all together.
//!
//! **Always holds:** what is refused costs its sender nothing, so that nobody who replays a node's probes keeps that node from
//! being answered; memory is bounded, and a sender that is forgotten is answered as a new one. No clock of another node
//! is asked: a sender's numbers rise within a boot, and each boot is counted by itself, so that neither a wall clock that is
//! put back nor a reboot makes an honest node look like a replay.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::datagram::{BootId, Datagram, NodeId};
use crate::pace::Pace;
use crate::window::Window;

/// Answers a second to one sender: it asks once a second.
const PER_SENDER: u32 = 2;
/// What an agent that starts anew may ask at once.
const SENDER_BURST: u32 = 5;
/// Answers a second to all: [`crate::roster::OBSERVER_LIMIT`] and a few times that, while a roster changes.
const ALL: u32 = 64;
const ALL_BURST: u32 = 128;
/// Senders, by boot, that are remembered.
const MEMORY: usize = 128;

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answerer {
    senders: BTreeMap<(NodeId, BootId), Sender>,
    all: Pace,
}

#[derive(Clone, Debug)]
struct Sender {
    window: Window,
    pace: Pace,
    heard: Instant,
}

/// Why a probe is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unanswered {
    /// It was answered before, or is older than what was.
    Replayed,
    /// Its sender asks too often.
    SenderPaced,
    /// All together ask too often.
    AllPaced,
}

impl Default for Answerer {
    fn default() -> Self {
        Self {
            senders: BTreeMap::new(),
            all: Pace::new(ALL, ALL_BURST),
        }
    }
}

impl Answerer {
    /// Whether the probe, which is authentic, is answered.
    ///
    /// # Errors
    /// Why it is not.
    pub fn admit(&mut self, probe: &Datagram, now: Instant) -> Result<(), Unanswered> {
        let key = (probe.sender, probe.boot);
        if !self.senders.contains_key(&key) {
            self.make_room();
        }
        let sender = self.senders.entry(key).or_insert_with(|| Sender {
            window: Window::default(),
            pace: Pace::new(PER_SENDER, SENDER_BURST),
            heard: now,
        });
        if !sender.window.take(probe.sequence) {
            return Err(Unanswered::Replayed);
        }
        sender.heard = sender.heard.max(now);
        if !sender.pace.take(now) {
            return Err(Unanswered::SenderPaced);
        }
        if !self.all.take(now) {
            return Err(Unanswered::AllPaced);
        }
        Ok(())
    }

    /// Forgets who was not heard of for the longest time.
    fn make_room(&mut self) {
        if self.senders.len() < MEMORY {
            return;
        }
        let oldest = self.senders.iter().min_by_key(|(_, sender)| sender.heard);
        if let Some(key) = oldest.map(|(key, _)| *key) {
            self.senders.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::datagram::{Kind, Nonce};
    use crate::fixture::start;

    fn probe(sender: &str, boot: &str, sequence: u64) -> Datagram {
        Datagram {
            kind: Kind::Probe,
            sender: NodeId::of(sender),
            target: NodeId::of("n0"),
            nonce: Nonce([0; 16]),
            boot: BootId::of(boot),
            sequence,
            time_micros: 0,
        }
    }

    #[test]
    fn a_probe_is_answered_once() {
        let (mut answerer, now) = (Answerer::default(), start());
        for (sender, boot, sequence, expected) in [
            ("n1", "a", 5, Ok(())),
            ("n1", "a", 5, Err(Unanswered::Replayed)),
            ("n1", "a", 6, Ok(())),
            ("n2", "a", 5, Ok(())),
            // After a reboot the numbers begin anew; what was recorded before is still known.
            ("n1", "b", 1, Ok(())),
            ("n1", "a", 6, Err(Unanswered::Replayed)),
            ("n1", "b", 2, Ok(())),
        ] {
            let admitted = answerer.admit(&probe(sender, boot, sequence), now);
            assert_eq!(admitted, expected, "{sender} {boot} {sequence}");
        }
    }

    #[test]
    fn who_asks_too_often_is_answered_at_the_rate_and_nobody_pays_for_it() {
        let (mut answerer, now) = (Answerer::default(), start());
        let given = (0..100).filter(|at| answerer.admit(&probe("n1", "a", *at), now).is_ok());
        assert_eq!(given.count(), SENDER_BURST as usize);
        assert_eq!(answerer.admit(&probe("n2", "a", 0), now), Ok(()));
        let later = now + Duration::from_secs(1);
        let again = (100..200).filter(|at| answerer.admit(&probe("n1", "a", *at), later).is_ok());
        assert_eq!(again.count(), PER_SENDER as usize);
    }

    #[test]
    fn replays_do_not_keep_a_node_from_being_answered() {
        let (mut answerer, start) = (Answerer::default(), start());
        for second in 0..30_u32 {
            let now = start + Duration::from_secs(1) * second;
            let honest = probe("n1", "a", u64::from(second));
            assert_eq!(answerer.admit(&honest, now), Ok(()), "{second}");
            for _ in 0..1000 {
                let replayed = answerer.admit(&honest, now);
                assert_eq!(replayed, Err(Unanswered::Replayed));
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_who_asks_steadily_is_not_forgotten() {
        let (mut answerer, start) = (Answerer::default(), start());
        for second in 0..40_u32 {
            let now = start + Duration::from_secs(1) * second;
            let honest = probe("n1", "a", u64::from(second));
            assert_eq!(answerer.admit(&honest, now), Ok(()), "{second}");
            for other in 0..30 {
                let other = format!("{second}-{other}");
                let _ = answerer.admit(&probe(&other, "a", 0), now);
            }
            assert_eq!(
                answerer.admit(&honest, now),
                Err(Unanswered::Replayed),
                "{second}"
            );
            assert!(answerer.senders.len() <= MEMORY);
        }
    }

    proptest! {
        #[test]
        fn answers_are_bounded_whatever_is_asked(
            asked in proptest::collection::vec((0_u8..40, 0_u64..200, 0_u64..30), 1..2000),
        ) {
            let (mut answerer, start) = (Answerer::default(), start());
            let (mut now, mut answered) = (start, 0_u32);
            for (sender, sequence, millis) in asked {
                now += Duration::from_millis(millis);
                let probe = probe(&sender.to_string(), "a", sequence);
                answered += u32::from(answerer.admit(&probe, now).is_ok());
            }
            let seconds = u32::try_from((now - start).as_secs()).unwrap() + 1;
            prop_assert!(answered <= ALL_BURST + ALL * seconds);
        }
    }
}
