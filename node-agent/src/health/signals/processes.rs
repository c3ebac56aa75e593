//! Signals `zombies` and `blocked`: processes that nobody reaps, and processes that the kernel does not let go. One scan for both.
//!
//! Only main threads are counted, so that a look of the agent's own that hangs (a thread) is none of them. A scan costs some 15 µs of
//! a busy processor for a process, nearly all of it the kernel's: 30 ms for 2,000. Thread by thread it would be many times that.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::FromRead as _;
use procfs::process::Stat;
use proto_crd::node_health::Decision;

use super::Look;
use crate::health::assess::{Escalation, Rule};
use crate::health::signal::{Signal, Trouble, Verdict};

/// Dead, and not reaped by their parents.
pub(in crate::health) const ZOMBIES: Signal = Signal::new("zombies");

/// Waiting in the kernel, uninterruptibly.
pub(in crate::health) const BLOCKED: Signal = Signal::new("blocked");

/// How zombies are judged. They cost a process number each and nothing else.
pub(in crate::health) const ZOMBIES_RULE: Rule = Rule {
    signal: ZOMBIES,
    period: Source::PERIOD,
    ttl: Duration::from_secs(150),
    set: 2,
    clear: 2,
    decision: Decision::Observe,
    escalation: None,
    threshold: "fewer than 50 zombies; wrong when more at 2 scans, 30 s apart",
};

/// How blocked processes are judged: ten in three rounds are Huawei's CCE's. A disk or a file server that stays away for minutes takes
/// whatever Pods come.
pub(in crate::health) const BLOCKED_RULE: Rule = Rule {
    signal: BLOCKED,
    set: 3,
    clear: 2,
    escalation: Some(Escalation {
        after: Duration::from_secs(300),
        to: Decision::Cordon,
    }),
    threshold: "fewer than 10 processes in state D; wrong when more at 3 scans, 30 s apart",
    ..ZOMBIES_RULE
};

const MOST_ZOMBIES: usize = 50;

const MOST_BLOCKED: usize = 10;

/// Names that a message lists.
const NAMES: usize = 3;

/// The node's processes.
#[derive(Clone, Debug)]
pub(in crate::health) struct Source {
    proc: PathBuf,
}

/// What a scan saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Scan {
    processes: usize,
    /// How many of each name are blocked.
    blocked: Names,
    /// How many each parent has not reaped.
    zombies: BTreeMap<i32, usize>,
    /// The name of the parent that has not reaped most.
    worst: Option<String>,
}

/// Names and how many have them.
type Names = BTreeMap<String, usize>;

impl Source {
    /// Looks at the processes of the node whose `/proc` this is.
    pub(in crate::health) const fn new(proc: PathBuf) -> Self {
        Self { proc }
    }
}

impl Look for Source {
    const NAME: &'static str = "processes";
    const PERIOD: Duration = Duration::from_secs(30);

    async fn look(&mut self) -> Vec<Verdict> {
        let scan = scan(&self.proc);
        vec![assess_zombies(&scan), assess_blocked(&scan)]
    }
}

/// Reads the state of every process. One that has gone meanwhile is none.
fn scan(proc: &Path) -> io::Result<Scan> {
    let mut scan = Scan::default();
    for entry in fs::read_dir(proc)? {
        let name = entry?.file_name();
        let is_process = name
            .as_encoded_bytes()
            .first()
            .is_some_and(u8::is_ascii_digit);
        if !is_process {
            continue;
        }
        let Some(stat) = read(&proc.join(name)) else {
            continue;
        };
        scan.processes += 1;
        match stat.state {
            'D' => *scan.blocked.entry(stat.comm).or_default() += 1,
            'Z' => *scan.zombies.entry(stat.ppid).or_default() += 1,
            _ => {}
        }
    }
    let worst = scan.zombies.iter().max_by_key(|(_, count)| **count);
    let stat = worst.and_then(|(parent, _)| read(&proc.join(parent.to_string())));
    scan.worst = stat.map(|stat| stat.comm);
    Ok(scan)
}

/// `stat` never waits for the process, as `cmdline` does: that takes a lock which a blocked process may hold. The kernel tells it in one
/// piece, and a second read to find the end would cost a fifth of the scan.
fn read(process: &Path) -> Option<Stat> {
    let mut line = [0; 2048];
    let mut file = fs::File::open(process.join("stat")).ok()?;
    let read = file.read(&mut line).ok()?;
    Stat::from_read(&line[..read]).ok()
}

fn unclear(signal: Signal, error: &io::Error) -> Verdict {
    Verdict::unclear(signal, format!("listing the node's processes: {error}"))
}

fn assess_zombies(scan: &io::Result<Scan>) -> Verdict {
    let scan = match scan {
        Ok(scan) => scan,
        Err(error) => return unclear(ZOMBIES, error),
    };
    let zombies: usize = scan.zombies.values().sum();
    let value = format!("{zombies} of {} processes", scan.processes);
    let worst = scan.zombies.iter().max_by_key(|(_, count)| **count);
    let Some((parent, count)) = worst.filter(|_| zombies >= MOST_ZOMBIES) else {
        return Verdict::good(ZOMBIES, value);
    };
    let name = scan.worst.as_deref().unwrap_or("which has gone");
    let trouble = Trouble {
        kind: "many",
        message: format!(
            "{zombies} processes are dead and not reaped, {count} of them by their parent {parent} ({name})"
        ),
        impact:
            "each takes a process number; when none is left nothing can be started on this node"
                .to_owned(),
        advice: format!(
            "restart the Pod whose process {parent} is, or give it an init that reaps (shareProcessNamespace, tini); where it is containerd-shim, \
             restart the Pod below it"
        ),
    };
    Verdict::bad(ZOMBIES, value, trouble)
}

fn assess_blocked(scan: &io::Result<Scan>) -> Verdict {
    let scan = match scan {
        Ok(scan) => scan,
        Err(error) => return unclear(BLOCKED, error),
    };
    let blocked: usize = scan.blocked.values().sum();
    let value = format!("{blocked} of {} processes", scan.processes);
    if blocked < MOST_BLOCKED {
        return Verdict::good(BLOCKED, value);
    }
    let trouble = Trouble {
        kind: "many",
        message: format!(
            "{blocked} processes wait in the kernel and cannot be ended: {}",
            listed(&scan.blocked)
        ),
        impact: "their Pods do not work and cannot be stopped; a disk or a file server that they wait for is slow or away".to_owned(),
        advice: "on the node: echo w > /proc/sysrq-trigger writes to the kernel's log what they wait for; mend that disk or server; what hangs for \
                 ever ends only with a reboot"
            .to_owned(),
    };
    Verdict::bad(BLOCKED, value, trouble)
}

fn listed(names: &Names) -> String {
    let mut all: Vec<_> = names.iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let more = all.len().saturating_sub(NAMES);
    let texts = all.iter().take(NAMES);
    let mut texts: Vec<_> = texts
        .map(|(name, count)| format!("{name} x{count}"))
        .collect();
    if more > 0 {
        texts.push(format!("{more} other names"));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    /// What the kernel says of a process.
    fn stat(pid: i32, comm: &str, state: char, parent: i32) -> String {
        let zeros = " 0".repeat(48);
        format!("{pid} ({comm}) {state} {parent}{zeros}\n")
    }

    fn proc(processes: &[(i32, &str, char, i32)]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for name in ["self", "sys", "fs"] {
            fs::create_dir(temp.path().join(name)).unwrap();
        }
        for (pid, comm, state, parent) in processes {
            let folder = temp.path().join(pid.to_string());
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("stat"), stat(*pid, comm, *state, *parent)).unwrap();
        }
        temp
    }

    #[test]
    fn states_and_parents_are_seen_whatever_the_names() {
        let proc = proc(&[
            (1, "init", 'S', 0),
            (7, "a) Z 1 (b", 'S', 1),
            (8, "sh", 'Z', 7),
            (9, "sh", 'Z', 7),
            (10, "sh", 'Z', 1),
            (11, "dd", 'D', 1),
        ]);
        let scan = scan(proc.path()).unwrap();
        let expected = Scan {
            processes: 6,
            blocked: [("dd".to_owned(), 1)].into(),
            zombies: [(1, 1), (7, 2)].into(),
            worst: Some("a) Z 1 (b".to_owned()),
        };
        assert_eq!(scan, expected);
    }

    #[test]
    fn process_that_goes_during_the_scan_is_none() {
        let proc = proc(&[(1, "init", 'S', 0), (2, "sh", 'S', 1)]);
        fs::remove_file(proc.path().join("2/stat")).unwrap();
        assert_eq!(scan(proc.path()).unwrap().processes, 1);
        assert!(scan(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn scans_are_judged_by_the_table() {
        for (zombies, blocked, expected) in [
            (0, 0, (true, true)),
            (49, 9, (true, true)),
            (50, 9, (false, true)),
            (49, 10, (true, false)),
            (900, 900, (false, false)),
        ] {
            let scan = Ok(Scan {
                processes: 2000,
                blocked: [("dd".to_owned(), blocked)].into(),
                zombies: [(7, zombies)].into(),
                worst: Some("sh".to_owned()),
            });
            let good = |verdict: &Verdict| verdict.finding == Finding::Good;
            let found = (good(&assess_zombies(&scan)), good(&assess_blocked(&scan)));
            assert_eq!(found, expected, "{zombies} {blocked}");
        }
    }

    #[test]
    fn offenders_are_named_those_with_most_first() {
        let names = [("a", 1), ("b", 5), ("c", 2), ("d", 3), ("e", 1)];
        let names = names.map(|(name, count)| (name.to_owned(), count)).into();
        assert_eq!(listed(&names), "b x5, d x3, c x2, 2 other names");
        let scan = Scan {
            zombies: [(7, 60), (9, 1)].into(),
            worst: Some("sh".to_owned()),
            ..Scan::default()
        };
        let verdict = assess_zombies(&Ok(scan));
        let Finding::Bad(trouble) = verdict.finding else {
            panic!("{verdict:?}");
        };
        assert!(
            trouble
                .message
                .contains("60 of them by their parent 7 (sh)"),
            "{}",
            trouble.message
        );
    }
}
