//! How long kubelet will keep a container down once it has been stopped, foreseen from the runs the runtime still knows.
//!
//! What kubelet 1.36 does (`doBackOff`, `newCrashLoopBackOff`, client-go's `flowcontrol.Backoff`): per Pod UID, container
//! name, image and resources it remembers a delay and when it last started the container again. The first restart waits
//! for nothing and sets the delay to the base of 10 s; each further one waits the delay since the container *finished*,
//! then doubles it, up to `crashLoopBackOff.maxContainerRestartPeriod` (300 s; a smaller one is the base as well). It is
//! forgotten once a container finished more than 600 s after the last start; those 600 s are fixed, also with a smaller
//! period. A restart of kubelet forgets everything. Why the container ended, and with which exit code, plays no part.

use std::time::Duration;

use proto_crd::time::Timestamp;

/// kubelet's `initialCrashLoopBackOff`.
const BASE: Duration = Duration::from_secs(10);

/// kubelet's `crashLoopBackOff.HasExpiredFunc`.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// A worker of kubelet that is told to wait waits up to half as long again (`workerBackOffPeriodJitterFactor`).
const JITTER_DIVISOR: u32 = 2;

/// A longer wait is cut in pieces of kubelet's `syncFrequency` (60 s), so that only the last one's jitter counts.
const JITTER_LIMIT: Duration = Duration::from_secs(30);

/// kubelet looks for workers that are due once a second (`syncLoop`).
const TICK: Duration = Duration::from_secs(1);

/// kubelet's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    base: Duration,
    max: Duration,
}

/// One run of a container, as the runtime tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// kubelet's hash of name and image (`io.kubernetes.container.hash`): another one is another back-off.
    pub hash: u64,
    /// How often the container had been restarted before it.
    pub restart_count: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended; none while it runs.
    pub finished_at: Option<Timestamp>,
}

/// The delay kubelet remembers for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    least: Duration,
    most: Duration,
    last_start: Timestamp,
}

/// When kubelet starts a container that has finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// Not before.
    pub earliest: Timestamp,
    /// Not after, were there nothing else to wait for (image, volumes, a kubelet that is away).
    pub latest: Timestamp,
}

impl Default for BackOff {
    fn default() -> Self {
        Self::with_longest(Duration::from_secs(300))
    }
}

impl BackOff {
    /// With this `crashLoopBackOff.maxContainerRestartPeriod`.
    pub fn with_longest(max: Duration) -> Self {
        Self {
            base: BASE.min(max),
            max,
        }
    }

    /// What kubelet remembers of the container whose runs these are, in order of their start; none when nothing.
    ///
    /// Runs the runtime has forgotten are reckoned with: `most` is what the count of restarts and the pauses that were
    /// seen allow at most, `least` what the runs themselves say. With all runs known both are kubelet's own figure.
    pub fn remembered(
        &self,
        runs: &[Run],
        kubelet_started_at: Option<Timestamp>,
    ) -> Option<Remembered> {
        let hash = runs.last()?.hash;
        let mut memory = None;
        let mut previous: Option<&Run> = None;
        for run in runs {
            if kubelet_started_at.is_some_and(|start| run.started_at < start) {
                memory = None;
            } else if run.hash == hash {
                memory = self.started(memory, previous, run);
            }
            previous = Some(run);
        }
        memory
    }

    fn started(
        &self,
        memory: Option<Remembered>,
        previous: Option<&Run>,
        run: &Run,
    ) -> Option<Remembered> {
        let Some(previous) = previous else {
            return (run.restart_count > 0).then(|| self.unseen(run));
        };
        let known = memory.filter(|known| !known.is_forgotten(run.started_at));
        match previous.finished_at {
            // kubelet replaces a container of another image at once; whether it begins to count depends on whether an
            // older, finished one was still there.
            _ if previous.hash != run.hash => Some(Remembered {
                least: Duration::ZERO,
                most: known.map_or(self.base, |known| self.doubled(known.most)),
                last_start: run.started_at,
            }),
            Some(finished_at)
                if previous.restart_count.checked_add(1) == Some(run.restart_count) =>
            {
                Some(self.next(memory, finished_at, run.started_at))
            }
            _ => Some(self.unseen(run)),
        }
    }

    fn doubled(&self, delay: Duration) -> Duration {
        (delay * 2).min(self.max).max(self.base)
    }

    /// After so many restarts of which nothing else is known.
    fn unseen(&self, run: &Run) -> Remembered {
        let doublings = run.restart_count.saturating_sub(1).min(16);
        Remembered {
            least: Duration::ZERO,
            most: self.base.saturating_mul(1 << doublings).min(self.max),
            last_start: run.started_at,
        }
    }

    /// After a container that finished was started again: `Backoff.Next`.
    fn next(
        &self,
        memory: Option<Remembered>,
        finished_at: Timestamp,
        started_at: Timestamp,
    ) -> Remembered {
        let known = memory.filter(|known| !known.is_forgotten(finished_at));
        // A delay that is longer than the pause was not in force: kubelet had forgotten it, and began anew.
        let pause = started_at.since(finished_at);
        Remembered {
            least: known.map_or(self.base, |known| {
                if known.least > pause || started_at.since(known.last_start) >= FORGOTTEN_AFTER {
                    self.base
                } else {
                    self.doubled(known.least)
                }
            }),
            most: known.map_or(self.base, |known| self.doubled(known.most.min(pause))),
            last_start: started_at,
        }
    }
}

impl Remembered {
    fn is_forgotten(&self, finished_at: Timestamp) -> bool {
        finished_at.since(self.last_start) > FORGOTTEN_AFTER
    }

    /// How long at most kubelet keeps the container down when it finishes then.
    pub fn longest(&self, finished_at: Timestamp) -> Duration {
        self.foresee(finished_at).latest.since(finished_at)
    }

    /// When kubelet starts the container again that finishes then.
    pub fn foresee(&self, finished_at: Timestamp) -> Foreseen {
        if self.is_forgotten(finished_at) {
            return Foreseen::at_once(finished_at);
        }
        Foreseen {
            // kubelet's cleaning drops what is 600 s old, also while a container waits.
            earliest: finished_at
                .after(self.least)
                .min(self.forgotten_at())
                .max(finished_at),
            latest: latest(finished_at, self.most),
        }
    }

    /// From when on a container that finishes is started at once.
    pub fn forgotten_at(&self) -> Timestamp {
        self.last_start.after(FORGOTTEN_AFTER).after(TICK)
    }
}

impl Foreseen {
    /// Of a container that kubelet remembers no delay for.
    pub fn at_once(finished_at: Timestamp) -> Self {
        Self {
            earliest: finished_at,
            latest: finished_at.after(TICK),
        }
    }

    /// As kubelet itself says it of a container in `CrashLoopBackOff`; none when the message is not of that kind.
    pub fn told(finished_at: Timestamp, message: &str) -> Option<Self> {
        let (delay, _) = message
            .strip_prefix("back-off ")?
            .split_once(" restarting failed container")?;
        let delay = humantime::parse_duration(delay).ok()?;
        Some(Self {
            earliest: finished_at.after(delay),
            latest: latest(finished_at, delay),
        })
    }
}

fn latest(finished_at: Timestamp, delay: Duration) -> Timestamp {
    let late = (delay / JITTER_DIVISOR).min(JITTER_LIMIT) + TICK;
    finished_at.after(delay).after(late)
}

#[cfg(test)]
mod tests;
