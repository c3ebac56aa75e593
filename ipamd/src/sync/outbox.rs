//! Which Events are to be written, and when: of each kind at most one in five minutes, then the newest; of Pods that changed their
//! addresses one in ten seconds, of all together. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// What an operator must hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// No rack is known: the label is missing or no rack, or there is no such Node.
    RackUnknown,
    /// The rack has no pool for this node.
    RackWithoutPool,
    /// A Pod asked for a network that has no pool here.
    NetworkWithoutPool,
    /// The label names another rack than before.
    RackChanged,
    /// A changed configuration was refused.
    ConfigurationRefused,
    /// A Pool is not used as it is written.
    PoolRefused,
    /// An address of a sandbox here is another node's.
    AddressLost,
    /// This node was declared dead, and lives.
    NodeFenced,
    /// A Pod got another address, since it came from another rack.
    AddressChanged,
    /// Pods wait, and every address is claimed.
    PoolExhausted,
}

impl Topic {
    const ALL: [Self; 10] = [
        Self::RackUnknown,
        Self::RackWithoutPool,
        Self::NetworkWithoutPool,
        Self::RackChanged,
        Self::ConfigurationRefused,
        Self::PoolRefused,
        Self::AddressLost,
        Self::NodeFenced,
        Self::AddressChanged,
        Self::PoolExhausted,
    ];

    /// The Event's reason.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::RackUnknown => "RackUnknown",
            Self::RackWithoutPool => "RackWithoutPool",
            Self::NetworkWithoutPool => "NetworkWithoutPool",
            Self::RackChanged => "RackChanged",
            Self::ConfigurationRefused => "ConfigurationRefused",
            Self::PoolRefused => "PoolRefused",
            Self::AddressLost => "AddressLost",
            Self::NodeFenced => "NodeFenced",
            Self::AddressChanged => "AddressChanged",
            Self::PoolExhausted => "PoolExhausted",
        }
    }

    /// What the daemon was doing.
    pub(super) const fn action(self) -> &'static str {
        match self {
            Self::RackUnknown | Self::RackChanged => "ReadRack",
            Self::RackWithoutPool
            | Self::NetworkWithoutPool
            | Self::AddressChanged
            | Self::PoolExhausted => "Allocate",
            Self::AddressLost | Self::NodeFenced => "Claim",
            Self::ConfigurationRefused => "Reload",
            Self::PoolRefused => "ReadPools",
        }
    }

    /// Time between two Events of this kind.
    const fn period(self) -> Duration {
        match self {
            // Each is about another Pod, and tells what nothing else does.
            Self::AddressChanged => Duration::from_secs(10),
            _ => PERIOD,
        }
    }

    /// Whether what waits stays true beside what comes.
    const fn gathers(self) -> bool {
        matches!(self, Self::AddressChanged)
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// Time between two Events of one kind.
const PERIOD: Duration = Duration::from_secs(5 * 60);
/// What an Event's note has room for, in bytes.
const NOTE_LIMIT: usize = 1000;
/// Time until an Event that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    slots: [Slot; Topic::ALL.len()],
}

#[derive(Debug, Default)]
struct Slot {
    waiting: Option<String>,
    /// Not before; `None`: at once.
    not_before: Option<Instant>,
}

impl Outbox {
    /// Something is to be told; what waited of the same kind is out of date, or told with it.
    pub(super) fn put(&mut self, topic: Topic, note: String) {
        let waiting = &mut self.slots[topic.index()].waiting;
        *waiting = Some(match waiting.take() {
            Some(before) if topic.gathers() && before.len() + note.len() < NOTE_LIMIT => {
                format!("{before}; {note}")
            }
            _ => note,
        });
    }

    /// It is over, and what waits of it out of date.
    pub(super) fn withdraw(&mut self, topic: Topic) {
        self.slots[topic.index()].waiting = None;
    }

    /// What is to be written now.
    pub(super) fn due(&self, now: Instant) -> Option<(Topic, String)> {
        Topic::ALL.into_iter().find_map(|topic| {
            let slot = &self.slots[topic.index()];
            let note = slot.waiting.as_ref()?;
            let is_due = slot.not_before.is_none_or(|time| time <= now);
            is_due.then(|| (topic, note.clone()))
        })
    }

    /// When there is something to be written; `None`: not before somebody puts it.
    pub(super) fn wake(&self, now: Instant) -> Option<Instant> {
        let waiting = self.slots.iter().filter(|slot| slot.waiting.is_some());
        waiting.map(|slot| slot.not_before.unwrap_or(now)).min()
    }

    /// It is written. What was put meanwhile waits.
    pub(super) fn written(&mut self, topic: Topic, note: &str, now: Instant) {
        let slot = &mut self.slots[topic.index()];
        if slot.waiting.as_deref() == Some(note) {
            slot.waiting = None;
        }
        slot.not_before = Some(now + topic.period());
    }

    /// It could not be written.
    pub(super) fn failed(&mut self, topic: Topic, now: Instant) {
        self.slots[topic.index()].not_before = Some(now + RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    #[test]
    fn changed_addresses_of_several_pods_are_told_together() {
        let start = Instant::now();
        let mut outbox = Outbox::default();
        let topic = Topic::AddressChanged;
        outbox.put(topic, "one".into());
        outbox.put(topic, "two".into());
        assert_eq!(outbox.due(start), Some((topic, "one; two".into())));
        outbox.written(topic, "one; two", start);
        outbox.put(topic, "x".repeat(900));
        outbox.put(topic, "y".repeat(900));
        assert_eq!(outbox.due(start), None);
        let later = start + Duration::from_secs(10);
        assert_eq!(outbox.due(later), Some((topic, "y".repeat(900))));
    }

    #[test]
    fn each_kind_is_told_once_in_five_minutes_and_then_the_newest() {
        let start = Instant::now();
        let mut outbox = Outbox::default();
        assert_eq!((outbox.due(start), outbox.wake(start)), (None, None));
        outbox.put(Topic::RackUnknown, "one".to_owned());
        outbox.put(Topic::RackChanged, "moved".to_owned());
        let (topic, note) = outbox.due(start).unwrap();
        assert_eq!((topic, note.as_str()), (Topic::RackUnknown, "one"));
        outbox.written(topic, &note, start);
        assert_eq!(outbox.due(start).unwrap().0, Topic::RackChanged);
        outbox.written(Topic::RackChanged, "moved", start);
        outbox.put(Topic::RackUnknown, "two".to_owned());
        outbox.put(Topic::RackUnknown, "three".to_owned());
        assert_eq!(outbox.due(start + minutes(4)), None);
        assert_eq!(outbox.wake(start), Some(start + minutes(5)));
        let (_, note) = outbox.due(start + minutes(5)).unwrap();
        assert_eq!(note, "three");
    }

    #[test]
    fn what_is_over_is_not_told_any_more() {
        let start = Instant::now();
        let mut outbox = Outbox::default();
        outbox.put(Topic::RackUnknown, "one".to_owned());
        outbox.written(Topic::RackUnknown, "one", start);
        outbox.put(Topic::RackUnknown, "two".to_owned());
        outbox.withdraw(Topic::RackUnknown);
        assert_eq!(outbox.due(start + minutes(9)), None);
    }

    #[test]
    fn what_could_not_be_written_is_tried_again_and_what_came_meanwhile_is_kept() {
        let start = Instant::now();
        let mut outbox = Outbox::default();
        outbox.put(Topic::ConfigurationRefused, "one".to_owned());
        outbox.failed(Topic::ConfigurationRefused, start);
        assert_eq!(outbox.due(start), None);
        let (topic, note) = outbox.due(start + RETRY).unwrap();
        outbox.put(topic, "two".to_owned());
        outbox.written(topic, &note, start + RETRY);
        assert_eq!(outbox.due(start + RETRY + PERIOD).unwrap().1, "two");
    }

    #[test]
    fn every_kind_has_a_place_and_a_reason_of_its_own() {
        for (index, topic) in Topic::ALL.into_iter().enumerate() {
            assert_eq!(topic.index(), index);
        }
        let reasons: std::collections::BTreeSet<_> =
            Topic::ALL.into_iter().map(Topic::reason).collect();
        assert_eq!(reasons.len(), Topic::ALL.len());
    }
}
