//! Signals `kernel-…`: what the kernel says in its log of its tasks, its memory, disks, hardware, and of itself.
//!
//! Every kind of line counts for a span and no longer, so that what is over clears by itself: nothing latches. The memory of it is
//! the kernel's own: a new process reads what the kernel still has, with its times. Floods are bounded ([`flood`]), and only
//! what the kernel itself wrote counts ([`record`]).

mod flood;
mod kinds;
mod reader;
mod record;
mod tally;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procfs::{FromRead as _, Uptime};
use proto_crd::node_health::Decision;

use self::flood::Flood;
use self::kinds::{BUG, DISK, HARDWARE, LOCKUP, MEMORY, NETDEV, SIGNALS, TABLES, TASK};
use self::reader::Reader;
use self::record::Record;
use self::tally::Tally;
use super::Look;
use crate::health::assess::{Escalation, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};

/// The log itself: it can be read, and all of it is.
const LOG: Signal = Signal::new("kernel-log");

/// How the log itself is judged; the others are as it but for what they say. A line counts for its kind's span: one look is enough.
const LOG_RULE: Rule = Rule {
    signal: LOG,
    period: Source::PERIOD,
    ttl: TTL,
    set: 1,
    clear: 1,
    decision: Decision::Observe,
    escalation: None,
    threshold: "at most 500 lines a second; wrong for 10 min after lines were passed over",
};

/// How each is judged.
pub(in crate::health) const RULES: [Rule; 9] = [
    LOG_RULE,
    rule(
        TASK,
        "no task blocked for minutes (hung task) in 10 min; cordon where it is the runtime's or kubelet's",
    ),
    rule(
        MEMORY,
        "no process killed for the node's want of memory in 15 min (cordon), 2 failed allocations of the kernel",
    ),
    Rule {
        // A file system that is still shut down after so long is one that Pods need.
        escalation: Some(Escalation {
            after: Duration::from_secs(30 * 60),
            to: Decision::Cordon,
        }),
        ..rule(
            DISK,
            "no disk or file system error in 15 min; cordon where a file system was shut down",
        )
    },
    rule(
        HARDWARE,
        "no uncorrected hardware error (drain) and fewer than 10 corrected ones in 24 h",
    ),
    rule(LOCKUP, "no lockup or RCU stall in 10 min; cordon from 3 on"),
    rule(BUG, "no oops in 24 h (cordon)"),
    rule(
        NETDEV,
        "fewer than 3 waits for a network device to go in 20 min (cordon)",
    ),
    rule(
        TABLES,
        "no neighbour table (cordon) or conntrack table full in 5 min",
    ),
];

const fn rule(signal: Signal, threshold: &'static str) -> Rule {
    Rule {
        signal,
        threshold,
        ..LOG_RULE
    }
}

/// The kernel's log.
#[derive(Debug)]
pub(in crate::health) struct Source {
    reader: Reader,
    uptime: PathBuf,
    tally: Tally,
    flood: Flood,
    /// All that the kernel had before this process was read: what comes from now on is new.
    is_current: bool,
    lines: u64,
}

impl Source {
    /// Reads this file; the device may be missing, then syslog(2) is asked. Lines count for this span, or for their kinds' own.
    pub(in crate::health) fn new(kmsg: PathBuf, proc: &Path, span: Option<Duration>) -> Self {
        Self {
            reader: Reader::new(kmsg),
            uptime: proc.join("uptime"),
            tally: Tally::new(span),
            flood: Flood::new(Instant::now()),
            is_current: false,
            lines: 0,
        }
    }

    fn take(&mut self, lines: &[String], uptime: Option<Duration>, now: Instant) {
        self.flood.fill(now);
        for line in lines {
            self.lines += 1;
            // What was there before is bounded by the kernel's own buffer, and no flood.
            if self.is_current && !self.flood.admits(now) {
                continue;
            }
            if let Some(record) = Record::parse(line) {
                // What was there before this process is as old as the kernel says; everything else has just come.
                let age = uptime.filter(|_| !self.is_current);
                let age = age.map_or(Duration::ZERO, |uptime| {
                    uptime.saturating_sub(Duration::from_micros(record.micros))
                });
                self.tally.take(record.text, age, now);
            }
        }
    }
}

impl Look for Source {
    const NAME: &'static str = "kernel-log";
    const PERIOD: Duration = Duration::from_secs(5);

    async fn look(&mut self) -> Vec<Verdict> {
        let now = Instant::now();
        let batch = match self.reader.read() {
            Ok(batch) => batch,
            Err(error) => return blind(&error),
        };
        self.flood.lose(batch.lost, now);
        self.take(&batch.lines, uptime(&self.uptime), now);
        self.is_current |= batch.is_all;
        let log = assess(self.lines, self.flood.of_late(now));
        let others = SIGNALS.map(|signal| self.tally.assess(signal, now));
        std::iter::once(log).chain(others).collect()
    }
}

fn uptime(file: &Path) -> Option<Duration> {
    let told = Uptime::from_read(fs::File::open(file).ok()?).ok()?;
    Some(told.uptime_duration())
}

fn blind(error: &io::Error) -> Vec<Verdict> {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => " (the agent needs CAP_SYSLOG)",
        _ => "",
    };
    let why = format!("the kernel's log cannot be read: {error}{advice}");
    std::iter::once(LOG)
        .chain(SIGNALS)
        .map(|signal| Verdict::unclear(signal, why.clone()))
        .collect()
}

/// What the log itself says: whether all of it was read.
fn assess(lines: u64, passed_over: Option<u64>) -> Verdict {
    let value = format!("{lines} lines read");
    let Some(passed_over) = passed_over else {
        return Verdict::good(LOG, value);
    };
    let trouble = Trouble {
        kind: "flood",
        message: format!(
            "the kernel writes more than the agent reads: {passed_over} lines were passed over since it started, some of them within the last 10 min"
        ),
        impact: "what the kernel tells besides may be seen late or not; whatever makes it write so much mostly is a trouble of its own".to_owned(),
        advice: "dmesg on the node shows what it writes; the other kernel signals say what is known".to_owned(),
    };
    Verdict::bad(LOG, value, trouble)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Write as _;

    use super::*;
    use crate::health::signal::Finding;

    const HUNG: &str = "INFO: task dd:1 blocked for more than 120 seconds.";

    struct World {
        temp: tempfile::TempDir,
    }

    impl World {
        fn new(uptime: &str) -> Self {
            let temp = tempfile::tempdir().unwrap();
            fs::write(temp.path().join("uptime"), uptime).unwrap();
            fs::write(temp.path().join("kmsg"), "").unwrap();
            Self { temp }
        }

        fn source(&self) -> Source {
            Source::new(self.temp.path().join("kmsg"), self.temp.path(), None)
        }

        fn write(&self, lines: &str) {
            let file = fs::OpenOptions::new()
                .append(true)
                .open(self.temp.path().join("kmsg"));
            file.unwrap().write_all(lines.as_bytes()).unwrap();
        }
    }

    async fn wrong(source: &mut Source) -> Vec<&'static str> {
        let verdicts = source.look().await;
        assert_eq!(verdicts.len(), RULES.len());
        let bad = verdicts
            .iter()
            .filter(|it| matches!(it.finding, Finding::Bad(_)));
        bad.map(|it| it.signal.as_str()).collect()
    }

    #[tokio::test]
    async fn what_the_kernel_said_before_this_process_counts_by_its_own_time() {
        let world = World::new("10000.00 1.00\n");
        // 1000 s and 100 s ago; the span is 600 s.
        world.write(&format!("4,1,9000000000,-;{HUNG}\n"));
        let mut old = world.source();
        assert!(wrong(&mut old).await.is_empty());
        world.write(&format!("4,2,9900000000,-;{HUNG}\n"));
        // The one process sees it come, the other finds it.
        assert_eq!(wrong(&mut old).await, ["kernel-task"]);
        assert_eq!(wrong(&mut world.source()).await, ["kernel-task"]);
    }

    #[tokio::test]
    async fn what_programs_write_does_not_count() {
        let world = World::new("100.00 1.00\n");
        world.write(&format!("12,1,99000000,-;{HUNG}\n"));
        assert!(wrong(&mut world.source()).await.is_empty());
    }

    #[tokio::test]
    async fn trouble_within_a_flood_is_seen_and_the_flood_is_told() {
        let world = World::new("100.00 1.00\n");
        let mut source = world.source();
        let mut lines = String::new();
        for number in 0..9000 {
            let text = if number % 40 == 0 {
                HUNG
            } else {
                "br-eth0: port 2(bth1) entered disabled state"
            };
            writeln!(lines, "6,{number},99000000,-;{text}").unwrap();
        }
        assert!(wrong(&mut source).await.is_empty());
        world.write(&lines);
        assert_eq!(wrong(&mut source).await, ["kernel-log", "kernel-task"]);
        // What was there before a process came is none.
        assert_eq!(wrong(&mut world.source()).await, ["kernel-task"]);
    }

    #[tokio::test]
    async fn log_that_cannot_be_read_says_nothing_and_is_read_again() {
        let world = World::new("100.00 1.00\n");
        let path = world.temp.path().join("kmsg");
        fs::remove_file(&path).unwrap();
        let mut source = world.source();
        let verdicts = source.look().await;
        assert_eq!(verdicts.len(), RULES.len());
        assert!(
            verdicts
                .iter()
                .all(|it| matches!(it.finding, Finding::Unclear { .. }))
        );
        fs::write(&path, format!("6,1,99000000,-;{HUNG}\n")).unwrap();
        assert_eq!(wrong(&mut source).await, ["kernel-task"]);
    }
}
