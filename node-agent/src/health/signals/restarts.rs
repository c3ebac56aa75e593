//! Signals `runtime-restarts` and `kubelet-restarts`: neither daemon is started over and over. Told by the process of its name, with
//! the time at which it started, in the node's /proc: no socket and no system manager is asked. One look for both.
//!
//! The times are kept over restarts of the agent, which a restart of kubelet's or of the runtime's may come with.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procfs::process::{Process, all_processes_with_root};
use proto_crd::node_health::Decision;
use serde_json::{Value, json};

use super::Look;
use crate::health::aside::{Aside, Outcome};
use crate::health::assess::{PERIOD, Rule, TTL};
use crate::health::moment::Moment;
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::metrics::{HealthMetrics, Restarted};

/// The container runtime's.
pub(in crate::health) const RUNTIME: Signal = Signal::new("runtime-restarts");

/// kubelet's.
pub(in crate::health) const KUBELET: Signal = Signal::new("kubelet-restarts");

/// How the runtime's are judged.
pub(in crate::health) const RUNTIME_RULE: Rule = Rule {
    signal: RUNTIME,
    period: PERIOD,
    ttl: TTL,
    set: 1,
    clear: 2,
    decision: Decision::Observe,
    escalation: None,
    threshold: "fewer than 5 restarts in 20 min",
};

/// How kubelet's are.
pub(in crate::health) const KUBELET_RULE: Rule = Rule {
    signal: KUBELET,
    ..RUNTIME_RULE
};

/// So many within the window are wrong, as node-problem-detector has it.
const LIMIT: usize = 5;

/// What is kept of each: no more than decides.
const ROOM: usize = 16;

/// What is kept is kept by then, or not.
const KEEP_DEADLINE: Duration = Duration::from_secs(2);

/// What is kept, in the agent's folder.
const FILE: &str = "restarts.json";

/// Both daemons.
#[derive(Debug)]
pub(in crate::health) struct Source {
    proc: PathBuf,
    /// How long a restart counts.
    window: Duration,
    boot_id: String,
    daemons: [Daemon; 2],
    file: PathBuf,
    disk: Aside<Option<Vec<u8>>>,
    is_recalled: bool,
    metrics: HealthMetrics,
}

/// Where to look, and for how long.
#[derive(Clone, Debug)]
pub(in crate::health) struct Watched {
    /// The node's /proc.
    pub(in crate::health) proc: PathBuf,
    /// The runtime's socket: its daemon has the same name.
    pub(in crate::health) runtime: PathBuf,
    /// What is kept lies there.
    pub(in crate::health) state: PathBuf,
    /// The boot: what was kept in another one counts no more.
    pub(in crate::health) boot_id: String,
    /// How long a restart counts.
    pub(in crate::health) window: Duration,
}

/// One daemon.
#[derive(Clone, Debug)]
struct Daemon {
    signal: Signal,
    label: Restarted,
    /// As the kernel has it: fifteen bytes at most.
    name: String,
    process: Option<Run>,
    /// When it was started again, as far as that counts.
    restarts: VecDeque<Moment>,
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    pid: i32,
    /// Since the boot, in ticks of the kernel's.
    started: u64,
}

/// What became of a daemon's process from one look to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Same,
    Restarted,
    /// It does not run now, or never did: no restart yet.
    Away,
}

impl Source {
    /// Looks for the daemons.
    pub(in crate::health) fn new(watched: Watched, metrics: HealthMetrics) -> Self {
        let name = watched.runtime.file_stem().unwrap_or_default();
        let daemon = |signal, label, name: &str| Daemon {
            signal,
            label,
            name: name.chars().take(15).collect(),
            process: None,
            restarts: VecDeque::new(),
        };
        Self {
            daemons: [
                daemon(RUNTIME, Restarted::runtime, &name.to_string_lossy()),
                daemon(KUBELET, Restarted::kubelet, "kubelet"),
            ],
            proc: watched.proc,
            window: watched.window,
            boot_id: watched.boot_id,
            file: watched.state.join(FILE),
            disk: Aside::new("restarts"),
            is_recalled: false,
            metrics,
        }
    }

    /// What an earlier process kept. A disk that hangs or is empty has nothing.
    async fn recall(&mut self, now: Moment) {
        let file = self.file.clone();
        let read = self
            .disk
            .run(KEEP_DEADLINE, move || std::fs::read(file).ok());
        if let Outcome::Done(Some(bytes)) = read.await
            && let Ok(kept) = serde_json::from_slice::<Value>(&bytes)
            && kept["boot"] == *self.boot_id
        {
            for daemon in &mut self.daemons {
                daemon.recall(&kept, now);
            }
        }
    }

    async fn keep(&mut self) {
        let mut kept: serde_json::Map<_, _> = self.daemons.iter().map(Daemon::kept).collect();
        kept.insert("boot".to_owned(), self.boot_id.clone().into());
        let (file, text) = (self.file.clone(), Value::from(kept).to_string());
        let write = move || {
            let fresh = file.with_extension("new");
            // A disk that takes nothing is another signal's; then the next agent counts from none.
            let written =
                std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &file));
            written.ok().map(|()| Vec::new())
        };
        let _ = self.disk.run(KEEP_DEADLINE, write).await;
    }
}

impl Look for Source {
    const NAME: &'static str = "restarts";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        let now = Moment::now();
        if !self.is_recalled {
            self.is_recalled = true;
            self.recall(now).await;
        }
        let mut is_changed = false;
        let mut verdicts = Vec::new();
        for daemon in &mut self.daemons {
            let found = observe(&self.proc, &daemon.name, daemon.process);
            let verdict = match found {
                Ok(found) => {
                    if daemon.step(found, now) == Step::Restarted {
                        is_changed = true;
                        self.metrics.restarted(daemon.label);
                    }
                    daemon.assess(self.window, now)
                }
                Err(error) => {
                    let why = format!("the node's processes cannot be read: {error}");
                    Verdict::unclear(daemon.signal, why)
                }
            };
            verdicts.push(verdict);
        }
        if is_changed {
            self.keep().await;
        }
        verdicts
    }
}

/// The process of this name that has run for longest. Where the one that was known still runs, only that one is looked at.
fn observe(proc: &Path, name: &str, known: Option<Run>) -> procfs::ProcResult<Option<Run>> {
    if let Some(known) = known
        && let Ok(process) = Process::new_with_root(proc.join(known.pid.to_string()))
        && run(&process, name) == Some(known)
    {
        return Ok(Some(known));
    }
    let all = all_processes_with_root(proc)?;
    // One that ends while it is looked at is none.
    let named = all.flatten().filter_map(|process| run(&process, name));
    Ok(named.min_by_key(|run| run.started))
}

fn run(process: &Process, name: &str) -> Option<Run> {
    let stat = process.stat().ok().filter(|stat| stat.comm == name)?;
    Some(Run {
        pid: stat.pid,
        started: stat.starttime,
    })
}

impl Daemon {
    fn step(&mut self, found: Option<Run>, now: Moment) -> Step {
        let Some(found) = found else {
            return Step::Away;
        };
        let step = match self.process {
            Some(known) if known != found && found.started >= known.started => Step::Restarted,
            _ => Step::Same,
        };
        if step == Step::Restarted {
            self.restarts.push_back(now);
            if self.restarts.len() > ROOM {
                self.restarts.pop_front();
            }
        }
        self.process = Some(found);
        step
    }

    fn assess(&mut self, window: Duration, now: Moment) -> Verdict {
        self.restarts.retain(|at| now.since(*at) < window);
        let Some(process) = self.process else {
            return Verdict::absent(self.signal, format!("no process is called {}", self.name));
        };
        let count = self.restarts.len();
        let minutes = window.as_secs_f64() / 60.0;
        let value = format!("{count} in {minutes:.0} min, process {}", process.pid);
        if count < LIMIT {
            return Verdict::good(self.signal, value);
        }
        let name = &self.name;
        let trouble = Trouble {
            kind: "often",
            message: format!("{name} was started again {count} times within {minutes:.0} min"),
            impact: "each time no container is started, stopped or probed for a while; those that run go on".to_owned(),
            advice: format!("on the node: journalctl -u {name} says why it ends; systemctl status {name} how often"),
        };
        Verdict::bad(self.signal, value, trouble)
    }

    /// The times by the wall clock, which outlives the process, and the process they were counted up to.
    fn kept(&self) -> (String, Value) {
        let times: Vec<_> = self.restarts.iter().map(|at| at.wall.as_second()).collect();
        let process = self.process.map(|run| json!([run.pid, run.started]));
        (
            self.signal.as_str().to_owned(),
            json!({"process": process, "restarts": times}),
        )
    }

    fn recall(&mut self, kept: &Value, now: Moment) {
        let kept = &kept[self.signal.as_str()];
        let number = |value: &Value| value.as_u64();
        if let (Some(pid), Some(started)) =
            (number(&kept["process"][0]), number(&kept["process"][1]))
        {
            self.process = i32::try_from(pid).ok().map(|pid| Run { pid, started });
        }
        let times = kept["restarts"].as_array().into_iter().flatten();
        let ago = |second: i64| {
            let passed = now.wall.as_second().checked_sub(second)?;
            let passed = Duration::from_secs(passed.try_into().ok()?);
            Some(Moment {
                at: Instant::now().checked_sub(passed)?,
                wall: now.wall,
            })
        };
        let times = times.filter_map(Value::as_i64).filter_map(ago);
        self.restarts = times.take(ROOM).collect();
    }
}

#[cfg(test)]
mod tests;
