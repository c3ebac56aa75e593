//! Signals `memory` and `oom-kills`: memory can be had, and the kernel does not keep killing for it. One look for both.
//!
//! A single kill by a Pod's own limit is that Pod's business; what the kernel kills for want of memory on the whole node is told by
//! its log (`kernel-memory`).

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procfs::{FromRead as _, Meminfo, ProcError};
use proto_crd::node_health::Decision;

use super::Look;
use crate::health::assess::{PERIOD, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};

/// What can be had.
pub(in crate::health) const MEMORY: Signal = Signal::new("memory");

/// What was killed.
pub(in crate::health) const KILLS: Signal = Signal::new("oom-kills");

/// How memory is judged: told before kubelet removes Pods (100 MiB), which is its own business.
pub(in crate::health) const MEMORY_RULE: Rule = Rule {
    signal: MEMORY,
    period: PERIOD,
    ttl: TTL,
    set: 3,
    clear: 3,
    decision: Decision::Observe,
    escalation: None,
    threshold: "10 % of memory available; wrong when less at 3 looks, 10 s apart",
};

/// How kills are judged: by a window, so that one look is enough.
pub(in crate::health) const KILLS_RULE: Rule = Rule {
    signal: KILLS,
    set: 1,
    clear: 1,
    threshold: "fewer than 5 processes killed for memory in 20 min, by limits of Pods or for the node's want",
    ..MEMORY_RULE
};

/// Of a hundred.
const LEAST_PERCENT: u64 = 10;

/// As many as of other restarts (node-problem-detector: 5 in 20 min).
const MOST_KILLS: u64 = 5;

/// See [`MOST_KILLS`].
const SPAN: Duration = Duration::from_secs(20 * 60);

/// The node's memory.
#[derive(Clone, Debug)]
pub(in crate::health) struct Source {
    proc: PathBuf,
    kills: Kills,
}

/// The kernel's counter, and when it went up of late.
#[derive(Clone, Debug, Default)]
struct Kills {
    last: Option<u64>,
    /// At most one a look.
    rises: VecDeque<(Instant, u64)>,
}

impl Kills {
    /// How many there were within the span that ends now. When those before the first look were, nobody knows.
    fn note(&mut self, now: Instant, total: u64) -> u64 {
        let last = self.last.replace(total).unwrap_or(total);
        // It never goes down but where another kernel's is read.
        if total > last {
            self.rises.push_back((now, total - last));
        }
        let expired = |(at, _): &(Instant, u64)| now.saturating_duration_since(*at) >= SPAN;
        while self.rises.front().is_some_and(expired) {
            self.rises.pop_front();
        }
        self.rises.iter().map(|(_, rise)| rise).sum()
    }
}

impl Source {
    /// Looks at the memory of the node whose `/proc` this is.
    pub(in crate::health) fn new(proc: PathBuf) -> Self {
        Self {
            proc,
            kills: Kills::default(),
        }
    }
}

impl Look for Source {
    const NAME: &'static str = "memory";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        let kills = match read_kills(&self.proc.join("vmstat")) {
            Ok(Some(total)) => assess_kills(self.kills.note(Instant::now(), total)),
            Ok(None) => Verdict::absent(KILLS, "this kernel does not count them (before 4.13)"),
            Err(error) => Verdict::unclear(KILLS, error),
        };
        vec![assess_memory(read_memory(&self.proc)), kills]
    }
}

/// One line of some 170: the whole table is not worth a map.
fn read_kills(file: &Path) -> Result<Option<u64>, String> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| format!("reading {}: {error}", file.display()))?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    Ok(count)
}

fn read_memory(proc: &Path) -> Result<Meminfo, ProcError> {
    let file = fs::File::open(proc.join("meminfo"))?;
    Meminfo::from_read(file)
}

fn assess_memory(read: Result<Meminfo, ProcError>) -> Verdict {
    let told = match read {
        Ok(told) => told,
        Err(error) => return Verdict::unclear(MEMORY, format!("reading meminfo: {error}")),
    };
    let Some(available) = told.mem_available else {
        return Verdict::absent(MEMORY, "this kernel does not say what is available");
    };
    let percent = |part: u64| part.saturating_mul(100) / told.mem_total.max(1);
    let slab = told.s_unreclaim.unwrap_or_default();
    let value = format!(
        "{} % available ({} MiB), kernel's own {} %",
        percent(available),
        available >> 20,
        percent(slab)
    );
    if percent(available) >= LEAST_PERCENT {
        return Verdict::good(MEMORY, value);
    }
    let trouble = Trouble {
        kind: "low",
        message: format!("little memory can be had: {value}"),
        impact: "kubelet soon removes Pods from this node, or the kernel kills processes; what runs may get slow".to_owned(),
        advice: "kubectl top pods -A on this node, and systemd-cgtop on it, show who has it; where the kernel's own part is large, slabtop shows \
                 what leaks, and a planned reboot frees it"
            .to_owned(),
    };
    Verdict::bad(MEMORY, value, trouble)
}

fn assess_kills(kills: u64) -> Verdict {
    let value = format!("{kills} in 20 min");
    if kills < MOST_KILLS {
        return Verdict::good(KILLS, value);
    }
    let trouble = Trouble {
        kind: "many",
        message: format!("the kernel has killed {kills} processes for memory within 20 min"),
        impact: "containers of Pods on this node keep dying (OOMKilled)".to_owned(),
        advice: "kubectl get pods -A and the kernel's log on the node (Killed process) name the victims; raise the memory limit of the Pod that keeps \
                 dying, or find its leak"
            .to_owned(),
    };
    Verdict::bad(KILLS, value, trouble)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    fn meminfo(total_kb: u64, available_kb: u64) -> Result<Meminfo, ProcError> {
        let text = format!(
            "MemTotal: {total_kb} kB\nMemFree: 1 kB\nMemAvailable: {available_kb} kB\nBuffers: 1 kB\nCached: 1 kB\n\
             SwapCached: 0 kB\nActive: 1 kB\nInactive: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 0 kB\n\
             Writeback: 0 kB\nMapped: 1 kB\nSlab: 9 kB\nSReclaimable: 1 kB\nSUnreclaim: {} kB\nCommitted_AS: 1 kB\n\
             VmallocTotal: 1 kB\nVmallocUsed: 1 kB\nVmallocChunk: 0 kB\n",
            total_kb / 20
        );
        Meminfo::from_read(text.as_bytes())
    }

    #[test]
    fn memory_is_judged_by_the_table() {
        for (available, expected) in [(1000, "good"), (100, "good"), (99, "low"), (0, "low")] {
            let verdict = assess_memory(meminfo(1000, available));
            let found = match &verdict.finding {
                Finding::Good => "good",
                Finding::Bad(trouble) => trouble.kind,
                other => panic!("{other:?}"),
            };
            assert_eq!(found, expected, "{available}");
            assert!(verdict.value.ends_with("kernel's own 5 %"), "{verdict:?}");
        }
        let verdict = assess_memory(Meminfo::from_read(&b"nonsense"[..]));
        assert!(matches!(verdict.finding, Finding::Unclear { .. }));
    }

    #[test]
    fn kills_count_for_twenty_minutes() {
        let start = Instant::now();
        let mut kills = Kills::default();
        let steps = [
            // Minute, counter, kills within the span.
            (0, 100, 0),
            (1, 100, 0),
            (2, 103, 3),
            (10, 105, 5),
            (21, 105, 5),
            (22, 105, 2),
            (30, 105, 0),
            (32, 110, 5),
            // Another kernel's.
            (33, 2, 5),
            (34, 3, 6),
            (52, 3, 1),
        ];
        for (minute, total, expected) in steps {
            let now = start + Duration::from_secs(minute * 60);
            assert_eq!(kills.note(now, total), expected, "minute {minute}");
        }
    }

    #[test]
    fn memory_of_kills_is_bounded_by_the_span() {
        let start = Instant::now();
        let mut kills = Kills::default();
        for look in 0..2000 {
            kills.note(start + Duration::from_secs(look * 10), look);
        }
        assert_eq!(kills.rises.len(), 120);
    }

    #[test]
    fn kills_are_judged_by_the_table() {
        for (kills, good) in [(0, true), (4, true), (5, false), (5000, false)] {
            let verdict = assess_kills(kills);
            assert_eq!(verdict.finding == Finding::Good, good, "{kills}");
        }
    }

    #[test]
    fn counter_is_found_in_its_table() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("vmstat");
        for (text, expected) in [
            ("nr_free_pages 1\noom_kill 9\nnumb 2\n", Some(9)),
            ("nr_free_pages 1\n", None),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(read_kills(&file), Ok(expected));
        }
        assert!(read_kills(Path::new("/nonexistent")).is_err());
    }
}
