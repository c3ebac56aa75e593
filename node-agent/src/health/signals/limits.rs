//! Signals `pids` and `files`: the node's limits of threads and of open files are not nearly reached. One look for both.
//!
//! Every thread takes a number (`pid_max`) and counts against `threads-max`: the lower of the two is the limit, and threads are
//! what counts, not processes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::{FromRead as _, LoadAverage};
use proto_crd::node_health::Decision;

use super::Look;
use crate::health::assess::{PERIOD, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};

/// Threads.
pub(in crate::health) const PIDS: Signal = Signal::new("pids");

/// Open files.
pub(in crate::health) const FILES: Signal = Signal::new("files");

/// How threads are judged: told at 80 %, and no new Pods from 90 % on (Huawei's CCE: 90 % of the lower limit).
pub(in crate::health) const PIDS_RULE: Rule = Rule {
    signal: PIDS,
    period: PERIOD,
    ttl: TTL,
    set: 3,
    clear: 3,
    decision: Decision::Observe,
    escalation: None,
    threshold: "threads below 80 % of pid_max and of threads-max, cordon from 90 %; wrong at 3 looks, 10 s apart",
};

/// How open files are judged: 80 % is Tencent's TKE's, 90 % Huawei's CCE's.
pub(in crate::health) const FILES_RULE: Rule = Rule {
    signal: FILES,
    threshold: "open files below 80 % of file-max, cordon from 90 %; wrong at 3 looks, 10 s apart",
    ..PIDS_RULE
};

/// Of a hundred.
const WRONG_PERCENT: u64 = 80;

/// Of a hundred.
const URGENT_PERCENT: u64 = 90;

/// The node's limits.
#[derive(Clone, Debug)]
pub(in crate::health) struct Source {
    proc: PathBuf,
}

/// What is used of what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Use {
    used: u64,
    limit: u64,
    /// What sets the limit.
    by: &'static str,
}

/// A file does not say what it should.
#[derive(Debug, thiserror::Error)]
enum ReadUseError {
    /// It could not be read.
    #[error("reading {}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It says something else.
    #[error("{} says {text:?}", file.display())]
    Parse { file: PathBuf, text: String },
}

impl Use {
    fn percent(&self) -> u64 {
        self.used.saturating_mul(100) / self.limit.max(1)
    }
}

impl Source {
    /// Looks at the limits of the node whose `/proc` this is.
    pub(in crate::health) const fn new(proc: PathBuf) -> Self {
        Self { proc }
    }
}

impl Look for Source {
    const NAME: &'static str = "limits";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        vec![
            assess(PIDS, &read_pids(&self.proc)),
            assess(FILES, &read_files(&self.proc)),
        ]
    }
}

fn read(file: &Path) -> Result<String, ReadUseError> {
    fs::read_to_string(file).map_err(|source| ReadUseError::Read {
        file: file.to_owned(),
        source,
    })
}

fn parse_error(file: &Path, text: &str) -> ReadUseError {
    ReadUseError::Parse {
        file: file.to_owned(),
        text: text.trim_end().to_owned(),
    }
}

fn number(file: &Path) -> Result<u64, ReadUseError> {
    let text = read(file)?;
    let number = text.trim_end().parse();
    number.map_err(|_| parse_error(file, &text))
}

fn read_pids(proc: &Path) -> Result<Use, ReadUseError> {
    let file = proc.join("loadavg");
    let text = read(&file)?;
    let load = LoadAverage::from_read(text.as_bytes()).map_err(|_| parse_error(&file, &text))?;
    // Since Linux 6.14 the kernel tells the limit of the reader's own PID namespace: the agent runs in the node's (hostPID).
    let numbers = number(&proc.join("sys/kernel/pid_max"))?;
    let threads = number(&proc.join("sys/kernel/threads-max"))?;
    let (limit, by) = if numbers <= threads {
        (numbers, "kernel.pid_max")
    } else {
        (threads, "kernel.threads-max")
    };
    Ok(Use {
        used: load.max.into(),
        limit,
        by,
    })
}

fn read_files(proc: &Path) -> Result<Use, ReadUseError> {
    let file = proc.join("sys/fs/file-nr");
    let text = read(&file)?;
    let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
    match numbers.as_deref() {
        Ok([allocated, free, limit]) => Ok(Use {
            used: allocated.saturating_sub(*free),
            limit: *limit,
            by: "fs.file-max",
        }),
        _ => Err(parse_error(&file, &text)),
    }
}

/// What a count says.
fn assess(signal: Signal, counted: &Result<Use, ReadUseError>) -> Verdict {
    let counted = match counted {
        Ok(counted) => counted,
        Err(error) => return Verdict::unclear(signal, ipamd_daemon::chain(error)),
    };
    let Use { used, limit, by } = counted;
    let percent = counted.percent();
    let value = format!("{used} of {limit} ({by})");
    if percent < WRONG_PERCENT {
        return Verdict::good(signal, value);
    }
    let (what, impact) = if signal == PIDS {
        (
            "threads",
            "at the limit nothing on this node can start a process or a thread: Pods fail, and so do kubelet, the runtime and every login",
        )
    } else {
        (
            "open files",
            "at the limit nothing but root can open a file or a connection on this node: Pods fail in every way",
        )
    };
    let trouble = Trouble {
        kind: if percent < URGENT_PERCENT { "high" } else { "nearly-all" },
        message: format!("{used} {what} are {percent} % of the limit {by}={limit}"),
        impact: impact.to_owned(),
        advice: if signal == PIDS {
            "on the node: ps -eLo pid,comm | sort | uniq -c | sort -n shows whose threads they are; limit that Pod (podPidsLimit of kubelet), \
             or raise the limit by sysctl"
        } else {
            "on the node: the process with most entries in /proc/PID/fd leaks; restart its Pod, or raise the limit by sysctl"
        }
        .to_owned(),
    };
    let verdict = Verdict::bad(signal, value, trouble);
    if percent < URGENT_PERCENT {
        verdict
    } else {
        verdict.urging(Decision::Cordon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    /// A `/proc` with these files.
    fn proc(files: &[(&str, &str)]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = temp.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        temp
    }

    fn kind(verdict: &Verdict) -> (Option<&'static str>, Option<Decision>) {
        let kind = match &verdict.finding {
            Finding::Good => Some("good"),
            Finding::Bad(trouble) => Some(trouble.kind),
            Finding::Unclear { .. } | Finding::Absent => None,
        };
        (kind, verdict.urges)
    }

    #[test]
    fn use_is_judged_by_the_table() {
        let table = [
            (0, 100, (Some("good"), None)),
            (79, 100, (Some("good"), None)),
            (80, 100, (Some("high"), None)),
            (89, 100, (Some("high"), None)),
            (90, 100, (Some("nearly-all"), Some(Decision::Cordon))),
            // The limit was lowered below what there is.
            (150, 100, (Some("nearly-all"), Some(Decision::Cordon))),
            (1, 0, (Some("nearly-all"), Some(Decision::Cordon))),
            (1000, u64::MAX, (Some("good"), None)),
        ];
        for (used, limit, expected) in table {
            let by = "limit";
            for signal in [PIDS, FILES] {
                let verdict = assess(signal, &Ok(Use { used, limit, by }));
                assert_eq!(kind(&verdict), expected, "{used} of {limit}");
            }
        }
    }

    #[test]
    fn lower_of_both_limits_of_threads_counts() {
        for (pid_max, threads_max, limit, by) in [
            ("32768\n", "192731\n", 32768, "kernel.pid_max"),
            ("4194304\n", "5000\n", 5000, "kernel.threads-max"),
        ] {
            let proc = proc(&[
                ("loadavg", "0.10 0.20 0.30 2/4200 12345\n"),
                ("sys/kernel/pid_max", pid_max),
                ("sys/kernel/threads-max", threads_max),
            ]);
            let used = 4200;
            let read = read_pids(proc.path()).unwrap();
            assert_eq!(read, Use { used, limit, by });
        }
    }

    #[test]
    fn free_entries_of_files_are_not_used() {
        let proc = proc(&[("sys/fs/file-nr", "1500\t500\t9223372036854775807\n")]);
        let read = read_files(proc.path()).unwrap();
        assert_eq!((read.used, read.limit), (1000, 9_223_372_036_854_775_807));
    }

    #[test]
    fn files_that_say_nothing_are_unclear() {
        let proc = proc(&[("sys/fs/file-nr", "1 2\n"), ("loadavg", "what?\n")]);
        let said = [read_pids(proc.path()), read_files(proc.path())];
        for read in said {
            let verdict = assess(PIDS, &read);
            assert!(matches!(verdict.finding, Finding::Unclear { .. }));
        }
    }
}
