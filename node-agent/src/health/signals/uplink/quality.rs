//! Signals `uplink-flaps` and `uplink-errors`: how often the carrier of an uplink came and went of late, and what part of its frames
//! was damaged. Pure: counters and instants are passed in.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use proto_crd::node_health::Decision;

use super::{PERIOD, QUALITY_EVERY};
use crate::health::assess::{Escalation, Rule};
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::health::underlay::links::{Counters, Kind, Link, Links};
use crate::health::window::Window;

pub(super) const FLAPS: Signal = Signal::new("uplink-flaps");
pub(super) const ERRORS: Signal = Signal::new("uplink-errors");

const LOOKS: Duration = Duration::from_secs(PERIOD.as_secs() * QUALITY_EVERY as u64);

/// How it is judged. The window alone decides when it is over.
pub(in crate::health) const FLAPS_RULE: Rule = Rule {
    signal: FLAPS,
    period: LOOKS,
    ttl: Duration::from_secs(60),
    set: 1,
    clear: 1,
    decision: Decision::Observe,
    // Longer than one bout of flaps stays in the window: it has gone on.
    escalation: Some(Escalation {
        after: Duration::from_secs(15 * 60),
        to: Decision::Cordon,
    }),
    threshold: "fewer than 4 changes of carrier in 10 minutes, of each uplink",
};

/// How it is judged.
pub(in crate::health) const ERRORS_RULE: Rule = Rule {
    signal: ERRORS,
    period: LOOKS,
    ttl: Duration::from_secs(60),
    set: 2,
    clear: 6,
    decision: Decision::Observe,
    escalation: Some(Escalation {
        after: Duration::from_secs(10 * 60),
        to: Decision::Cordon,
    }),
    threshold: "at most 100 errors in a minute, or 1 in 100,000 frames, of each uplink",
};

/// So many changes are a link that flaps: unplugging and plugging once are two.
const FLAPS_LIMIT: usize = 4;
/// Errors in [`ERROR_SPAN`] that are below notice, whatever else was sent. Absolute counts since boot say nothing.
const ERRORS_LIMIT: u64 = 100;
/// One frame in so many may be damaged.
const ERRORS_OF: u64 = 100_000;
const ERROR_SPAN: Duration = Duration::from_secs(60);
/// Samples that are kept of a link's counters: those of [`ERROR_SPAN`], and the one before.
const SAMPLES: usize = 8;

/// What is remembered of the uplinks.
pub(super) struct Quality {
    span: Duration,
    links: BTreeMap<(u32, String), Memory>,
}

struct Memory {
    carrier_changes: u32,
    flaps: Window,
    samples: VecDeque<(Instant, Counters)>,
}

impl Quality {
    /// Nothing is remembered; a change of carrier counts for so long.
    pub(super) fn new(span: Duration) -> Self {
        Self {
            span,
            links: BTreeMap::new(),
        }
    }

    /// Takes the counters of now into account.
    pub(super) fn look(&mut self, links: &Links, now: Instant) -> [Verdict; 2] {
        let nics: Vec<_> = links.all().filter(|it| is_nic(it)).collect();
        // A link of the same name and another index is another NIC.
        self.links.retain(|(index, name), _| {
            nics.iter().any(|it| it.index == *index && it.name == *name)
        });
        let span = self.span;
        for link in &nics {
            let memory = self
                .links
                .entry((link.index, link.name.clone()))
                .or_insert_with(|| Memory::new(link, span));
            memory.take(link, now);
        }
        let mut flaps: Vec<_> = self
            .links
            .iter_mut()
            .map(|((_, name), memory)| (name.as_str(), memory.flaps.count(now)))
            .collect();
        flaps.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let flaps = assess_flaps(&flaps, self.span);
        let errors: Vec<_> = self
            .links
            .iter()
            .map(|((_, name), memory)| (name.as_str(), memory.counted(now)))
            .collect();
        [flaps, assess_errors(&errors)]
    }
}

/// Only what has a cable: the errors of what stands on it are the same ones.
fn is_nic(link: &Link) -> bool {
    !matches!(link.kind, Kind::Bridge | Kind::Vlan(_))
}

impl Memory {
    fn new(link: &Link, span: Duration) -> Self {
        Self {
            carrier_changes: link.carrier_changes,
            flaps: Window::new(span, 4 * FLAPS_LIMIT),
            samples: VecDeque::new(),
        }
    }

    fn take(&mut self, link: &Link, now: Instant) {
        let changes = link.carrier_changes.saturating_sub(self.carrier_changes);
        for _ in 0..changes.min(64) {
            self.flaps.note(now);
        }
        self.carrier_changes = link.carrier_changes;
        self.samples.push_back((now, link.counters));
        let is_kept = |at: Instant| now.saturating_duration_since(at) < ERROR_SPAN;
        // The one before the span is where it begins.
        while self.samples.len() > SAMPLES || self.samples.get(1).is_some_and(|it| !is_kept(it.0)) {
            self.samples.pop_front();
        }
    }

    /// What was counted in the span that ends now.
    fn counted(&self, now: Instant) -> Counters {
        let (Some((_, first)), Some((at, last))) = (self.samples.front(), self.samples.back())
        else {
            return Counters::default();
        };
        debug_assert!(*at <= now);
        Counters {
            packets: last.packets.saturating_sub(first.packets),
            errors: last.errors.saturating_sub(first.errors),
        }
    }
}

fn assess_flaps(counts: &[(&str, usize)], span: Duration) -> Verdict {
    let Some((worst, count)) = counts.first() else {
        return Verdict::absent(FLAPS, "no uplink of Berth's is here");
    };
    let minutes = span.as_secs().div_ceil(60);
    let value = format!("{worst}: {count} changes of carrier in {minutes} min");
    if *count < FLAPS_LIMIT {
        return Verdict::good(FLAPS, value);
    }
    let trouble = Trouble {
        kind: "flapping",
        message: format!("carrier of {worst} came or went {count} times or more within {minutes} min"),
        impact: "each time the Pods of this node lose frames on that network for some seconds, and neighbours learn their places anew"
            .to_owned(),
        advice: format!(
            "look at the switch's port and its log, cable and transceiver (ethtool -m {worst}), and journalctl -k for {worst}; a link that \
             flaps is better taken out of its bond until it is mended"
        ),
    };
    Verdict::bad(FLAPS, value, trouble)
}

fn assess_errors(counts: &[(&str, Counters)]) -> Verdict {
    if counts.is_empty() {
        return Verdict::absent(ERRORS, "no uplink of Berth's is here");
    }
    let one = |(name, counted): &(&str, Counters)| {
        format!("{name}: {} of {} frames", counted.errors, counted.packets)
    };
    let value = counts.iter().map(one).collect::<Vec<_>>().join(", ");
    let is_bad = |counted: &Counters| {
        counted.errors > ERRORS_LIMIT && counted.errors.saturating_mul(ERRORS_OF) > counted.packets
    };
    let bad: Vec<_> = counts.iter().filter(|(_, it)| is_bad(it)).collect();
    if bad.is_empty() {
        return Verdict::good(ERRORS, value);
    }
    let list = bad.iter().map(|it| one(it)).collect::<Vec<_>>().join(", ");
    let trouble = Trouble {
        kind: "errors",
        message: format!("frames are damaged or lost by the NIC, within a minute: {list}"),
        impact: "connections of this node's Pods stall and repeat what was lost".to_owned(),
        advice: "ethtool -S shows which errors: of CRC, cable or transceiver; of length, the MTU of the switch; missed or fifo, the \
                 receive ring is too short (ethtool -G) or the node too busy"
            .to_owned(),
    };
    Verdict::bad(ERRORS, value, trouble)
}

#[cfg(test)]
mod tests;
