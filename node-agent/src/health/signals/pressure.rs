//! Signals `memory-pressure` and `io-pressure`: how much of the time nothing on the node could go on for want of memory or disks (PSI).
//!
//! `full` only, of the whole node. What waits for the processor decides nothing: one Pod that its own limit throttles raises that
//! figure for the node (kubernetes/enhancements#5062). Kernels without PSI (before 4.20, or not switched on) have no such signals.

mod offender;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::{FromRead as _, IoPressure, MemoryPressure, PressureRecord};
use proto_crd::node_health::Decision;

use self::offender::{Offender, worst};
use super::Look;
use crate::health::assess::{PERIOD, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};

/// Memory.
pub(in crate::health) const MEMORY: Signal = Signal::new("memory-pressure");

/// Disks.
pub(in crate::health) const IO: Signal = Signal::new("io-pressure");

/// How memory is judged: over 20 % for a minute is told, over 50 % takes no new Pods (systemd-oomd kills at 60 % for 30 s).
pub(in crate::health) const MEMORY_RULE: Rule = Rule {
    signal: MEMORY,
    period: PERIOD,
    ttl: Duration::from_secs(120),
    set: 6,
    clear: 3,
    decision: Decision::Observe,
    escalation: None,
    threshold: "nothing goes on in at most 20 % of 10 s, cordon from 50 %; wrong at 6 looks, 10 s apart",
};

/// How disks are judged: by a minute's mean, so that two looks are enough. It is the Pod that is to be acted upon, not the node.
pub(in crate::health) const IO_RULE: Rule = Rule {
    signal: IO,
    ttl: TTL,
    set: 2,
    clear: 2,
    threshold: "nothing goes on in at most 20 % of a minute; wrong at 2 looks, 10 s apart",
    ..MEMORY_RULE
};

/// Of a hundred.
const WRONG_PERCENT: f32 = 20.0;

/// Of a hundred, for memory.
const URGENT_PERCENT: f32 = 50.0;

/// The node's pressure, and its Pods' cgroups.
#[derive(Clone, Debug)]
pub(in crate::health) struct Source {
    pressure: PathBuf,
    cgroups: PathBuf,
}

/// What is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Memory,
    Io,
}

/// What the kernel says of one of them.
#[derive(Clone, Debug, PartialEq)]
enum Sight {
    /// In so many of a hundred nothing goes on.
    Full(f32),
    /// It does not measure.
    Without,
    /// It could not be read.
    Blind(String),
}

impl Resource {
    const fn file(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Io => "io",
        }
    }

    const fn signal(self) -> Signal {
        match self {
            Self::Memory => MEMORY,
            Self::Io => IO,
        }
    }

    /// The mean that is judged: memory by ten seconds, since a node may die of it within a minute.
    const fn mean(self, full: &PressureRecord) -> f32 {
        match self {
            Self::Memory => full.avg10,
            Self::Io => full.avg60,
        }
    }
}

impl Source {
    /// Looks at the node whose `/proc` and `/sys` these are.
    pub(in crate::health) fn new(proc: &Path, sys: &Path) -> Self {
        Self {
            pressure: proc.join("pressure"),
            cgroups: sys.join("fs/cgroup"),
        }
    }

    fn judge(&self, resource: Resource) -> Verdict {
        let file = self.pressure.join(resource.file());
        let sight = see(resource, fs::read(file));
        // Walking the cgroups is worth it only where something is wrong.
        let is_wrong = matches!(sight, Sight::Full(percent) if percent > WRONG_PERCENT);
        let offender = is_wrong.then(|| worst(&self.cgroups, resource.file()));
        assess(resource, &sight, offender.as_ref())
    }
}

impl Look for Source {
    const NAME: &'static str = "pressure";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        vec![self.judge(Resource::Memory), self.judge(Resource::Io)]
    }
}

fn see(resource: Resource, read: io::Result<Vec<u8>>) -> Sight {
    let text = match read {
        Ok(text) => text,
        // Switched off (psi=0) the files may be there and not be readable.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::Unsupported
            ) =>
        {
            return Sight::Without;
        }
        Err(error) => return Sight::Blind(error.to_string()),
    };
    let full = match resource {
        Resource::Memory => MemoryPressure::from_read(&*text).map(|told| told.full),
        Resource::Io => IoPressure::from_read(&*text).map(|told| told.full),
    };
    full.map_or_else(
        |error| Sight::Blind(error.to_string()),
        |full| Sight::Full(resource.mean(&full)),
    )
}

/// What the kernel's figure says.
fn assess(resource: Resource, sight: &Sight, offender: Option<&Offender>) -> Verdict {
    let signal = resource.signal();
    let percent = match sight {
        Sight::Full(percent) => *percent,
        Sight::Without => {
            return Verdict::absent(signal, "this kernel does not measure pressure (PSI)");
        }
        Sight::Blind(why) => {
            return Verdict::unclear(
                signal,
                format!("reading the kernel's pressure figures: {why}"),
            );
        }
    };
    let value = format!("{percent:.1} %");
    if percent <= WRONG_PERCENT {
        return Verdict::good(signal, value);
    }
    let whose = offender.map_or_else(String::new, |it| format!("; {it}"));
    let (what, advice) = match resource {
        Resource::Memory => (
            "memory",
            "give the Pod that presses most a limit that fits it, or move it; kubectl top pods -A shows who grows",
        ),
        Resource::Io => (
            "a disk",
            "limit what the Pod that presses most reads and writes, or move it; iostat -x on the node shows which disk is busy or failing",
        ),
    };
    let trouble = Trouble {
        kind: if percent > URGENT_PERCENT {
            "high"
        } else {
            "raised"
        },
        message: format!(
            "in {percent:.0} % of the time nothing on this node goes on, for want of {what}{whose}"
        ),
        impact: "all Pods on this node are slow, also those that do nothing wrong; probes time out"
            .to_owned(),
        advice: advice.to_owned(),
    };
    let verdict = Verdict::bad(signal, value, trouble);
    if resource == Resource::Memory && percent > URGENT_PERCENT {
        return verdict.urging(Decision::Cordon);
    }
    verdict
}

#[cfg(test)]
mod tests;
