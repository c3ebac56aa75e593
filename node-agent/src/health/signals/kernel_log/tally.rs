//! What the lines of the kernel's log add up to: how many of each kind of late, and what that says. Pure; every instant is
//! passed in.

use std::time::{Duration, Instant};

use super::kinds::{KINDS, Kind, Level, classify};
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::health::window::Window;

/// How many lines of a kind are counted; more than any level. Further ones are not worth their memory.
const ROOM: usize = 64;

/// The counts.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// For each of [`KINDS`].
    counts: Vec<Count>,
}

#[derive(Clone, Debug)]
struct Count {
    lines: Window,
    span: Duration,
    last: String,
}

impl Tally {
    /// Nothing has been read. A line counts for this span, or for its kind's own.
    pub(super) fn new(span: Option<Duration>) -> Self {
        let count = |kind: &Kind| {
            let span = span.unwrap_or(kind.span);
            Count {
                lines: Window::new(span, ROOM),
                span,
                last: String::new(),
            }
        };
        Self {
            counts: KINDS.iter().map(count).collect(),
        }
    }

    /// A line was written so long ago.
    pub(super) fn take(&mut self, text: &str, age: Duration, now: Instant) {
        let count = classify(text).and_then(|at| self.counts.get_mut(at));
        // Before the machine's own clock began, if it was not there then.
        if let (Some(count), Some(at)) = (count, now.checked_sub(age))
            && age < count.span
        {
            count.lines.note(at);
            text.clone_into(&mut count.last);
        }
    }

    /// What they say of one signal.
    pub(super) fn assess(&mut self, signal: Signal, now: Instant) -> Verdict {
        let mut wrong: Vec<(&Kind, Level, String)> = Vec::new();
        let mut lines = 0;
        for (kind, count) in KINDS.iter().zip(&mut self.counts) {
            if kind.signal != signal {
                continue;
            }
            let number = count.lines.count(now);
            lines += number;
            let reached = kind.levels.iter().rev().find(|level| number >= level.lines);
            wrong.extend(reached.map(|level| (kind, *level, describe(kind, number, count))));
        }
        // The gravest first, so that it is what is told where not all of it has room.
        wrong.sort_by_key(|(_, level, _)| std::cmp::Reverse(level.urges));
        let Some((kind, level, _)) = wrong.first() else {
            return Verdict::good(signal, format!("{lines} lines"));
        };
        let texts: Vec<_> = wrong.iter().map(|(_, _, text)| text.as_str()).collect();
        let trouble = Trouble {
            kind: kind.name,
            message: texts.join("; "),
            impact: kind.impact.to_owned(),
            advice: kind.advice.to_owned(),
        };
        let verdict = Verdict::bad(signal, format!("{}, {lines} lines", kind.name), trouble);
        match level.urges {
            Some(decision) => verdict.urging(decision),
            None => verdict,
        }
    }
}

fn describe(kind: &Kind, number: usize, count: &Count) -> String {
    let span = match count.span.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    };
    let at_least = if number >= ROOM { "at least " } else { "" };
    format!(
        "the kernel's log tells of {} ({at_least}{number} in {span}), last: {}",
        kind.name, count.last
    )
}

#[cfg(test)]
mod tests {
    use proto_crd::node_health::Decision;

    use super::super::kinds::{DISK, HARDWARE, LOCKUP, NETDEV, SIGNALS, TASK};
    use super::*;
    use crate::health::signal::Finding;

    const HUNG: &str = "INFO: task dd:1 blocked for more than 120 seconds.";
    const RUNTIME: &str = "INFO: task containerd:1 blocked for more than 120 seconds.";
    const LOCKED: &str = "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [java:4711]";
    const WAITING: &str = "unregister_netdevice: waiting for lo to become free. Usage count = 1";
    const UNCORRECTED: &str = "{1}[Hardware Error]: event severity: fatal";

    /// What lines, so many seconds old, say of a signal.
    fn judged(signal: Signal, lines: &[(&str, u64)]) -> Option<(&'static str, Option<Decision>)> {
        let now = Instant::now();
        let mut tally = Tally::new(None);
        for (text, age) in lines {
            tally.take(text, Duration::from_secs(*age), now);
        }
        let verdict = tally.assess(signal, now);
        match verdict.finding {
            Finding::Good => None,
            Finding::Bad(trouble) => Some((trouble.kind, verdict.urges)),
            other => panic!("{other:?}"),
        }
    }

    /// Signal, lines with their age in seconds, and what is expected.
    type Row<'a> = (
        Signal,
        &'a [(&'a str, u64)],
        Option<(&'static str, Option<Decision>)>,
    );

    #[test]
    fn lines_are_judged_by_the_table() {
        let cordon = Some(Decision::Cordon);
        let table: [Row<'_>; 12] = [
            (TASK, &[], None),
            (TASK, &[("hello", 0)], None),
            (TASK, &[(HUNG, 0)], Some(("hung-task", None))),
            (TASK, &[(HUNG, 599)], Some(("hung-task", None))),
            // Set and clear: the span has passed.
            (TASK, &[(HUNG, 600)], None),
            // The gravest decides, whatever came last.
            (
                TASK,
                &[(RUNTIME, 9), (HUNG, 0)],
                Some(("hung-runtime", cordon)),
            ),
            (LOCKUP, &[(LOCKED, 2), (LOCKED, 1)], Some(("lockup", None))),
            (
                LOCKUP,
                &[(LOCKED, 3), (LOCKED, 2), (LOCKED, 1)],
                Some(("lockup", cordon)),
            ),
            (NETDEV, &[(WAITING, 2), (WAITING, 1)], None),
            (
                NETDEV,
                &[(WAITING, 20), (WAITING, 10), (WAITING, 0)],
                Some(("unregister", cordon)),
            ),
            (
                HARDWARE,
                &[(UNCORRECTED, 86_000)],
                Some(("uncorrected", Some(Decision::Drain))),
            ),
            (DISK, &[(HUNG, 0)], None),
        ];
        for (signal, lines, expected) in table {
            assert_eq!(judged(signal, lines), expected, "{signal:?} {lines:?}");
        }
    }

    #[test]
    fn levels_can_be_counted_and_what_is_beyond_is_said_to_be_more() {
        let mut levels = KINDS.iter().flat_map(|kind| kind.levels);
        assert!(levels.all(|level| level.lines < ROOM));
        let now = Instant::now();
        let mut tally = Tally::new(None);
        for (lines, said) in [(1, "(1 in 10 min)"), (999, "(at least 64 in 10 min)")] {
            for _ in 0..lines {
                tally.take(HUNG, Duration::ZERO, now);
            }
            let Finding::Bad(trouble) = tally.assess(TASK, now).finding else {
                panic!();
            };
            assert!(trouble.message.contains(said), "{}", trouble.message);
        }
    }

    #[test]
    fn every_signal_is_good_without_a_line_and_the_last_line_is_told() {
        let now = Instant::now();
        let mut tally = Tally::new(None);
        for signal in SIGNALS {
            assert_eq!(tally.assess(signal, now).finding, Finding::Good);
        }
        tally.take(HUNG, Duration::ZERO, now);
        tally.take(RUNTIME, Duration::ZERO, now);
        let Finding::Bad(trouble) = tally.assess(TASK, now).finding else {
            panic!();
        };
        assert!(trouble.message.contains(RUNTIME) && trouble.message.contains(HUNG));
        let later = now + Duration::from_secs(600);
        assert_eq!(tally.assess(TASK, later).finding, Finding::Good);
    }
}
