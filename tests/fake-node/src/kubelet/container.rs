//! One container as kubelet and the runtime treat it: pulled, started, ended, held back, replaced when its image changes.
//!
//! Always holds: a container has an id of its own for each start, and is started only when nothing of its name runs. Crashes are
//! held back by kubelet's rules (`doBackOff` and `client-go`'s `flowcontrol.Backoff` of 1.36.3); another image begins anew.

use std::collections::BTreeSet;
use std::time::Duration;

use proto_crd::time::Timestamp;

use crate::rules::{FORGOTTEN_AFTER, Faults, LEAST_TERM, Pace};

/// What the Pod says of a container.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) image: &'a str,
    /// How long its hook sleeps before TERM.
    pub(crate) pre_stop: Duration,
}

/// What stands around it while it takes a step.
pub(crate) struct Around<'a> {
    /// `NAMESPACE/NAME` of its Pod.
    pub(crate) pod: &'a str,
    /// Whether the Pod is being deleted.
    pub(crate) ending: bool,
    /// How long it may take to end.
    pub(crate) grace: Duration,
    pub(crate) pace: &'a Pace,
    pub(crate) faults: &'a Faults,
    /// The images of the node.
    pub(crate) images: &'a mut BTreeSet<String>,
    /// The last number that an id was made of.
    pub(crate) last_id: &'a mut u64,
    pub(crate) now: Timestamp,
}

/// A container that runs or has run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) image: String,
    pub(crate) since: Timestamp,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) run: Run,
    pub(crate) at: Timestamp,
    pub(crate) exit_code: i32,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing runs, and nothing is under way.
    Idle,
    Pulling {
        image: String,
        until: Timestamp,
        tries: u32,
    },
    /// The pull failed.
    Refused {
        image: String,
        since: Timestamp,
        until: Timestamp,
        tries: u32,
    },
    Starting {
        image: String,
        until: Timestamp,
    },
    Running(Run),
    /// It has its hook and TERM.
    Stopping {
        run: Run,
        until: Timestamp,
        exit_code: i32,
    },
    /// kubelet's back-off of crashes.
    Down {
        image: String,
        until: Timestamp,
    },
}

/// kubelet's memory of starts of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BackOff {
    image: String,
    delay: Duration,
    updated: Timestamp,
}

/// One container of a Pod.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) state: State,
    /// How often it was started.
    pub(crate) starts: u32,
    pub(crate) last: Option<Ended>,
    back_off: Option<BackOff>,
}

impl Default for Container {
    fn default() -> Self {
        Self {
            state: State::Idle,
            starts: 0,
            last: None,
            back_off: None,
        }
    }
}

impl Container {
    /// What runs, also while it is being stopped.
    pub(crate) const fn run(&self) -> Option<&Run> {
        match &self.state {
            State::Running(run) | State::Stopping { run, .. } => Some(run),
            _ => None,
        }
    }

    /// Whether its probe says so. What is being stopped stays what it was: kubelet's probe goes on until the container has ended.
    pub(crate) fn is_ready(&self, around: &Around<'_>) -> bool {
        self.run().is_some_and(|run| {
            around.now >= run.since.after(around.pace.ready)
                && !around.faults.never_ready(around.pod, &run.image)
        })
    }

    /// Somebody other than kubelet stops it, if it is this one that runs.
    pub(crate) fn stop_run(&mut self, id: &str, wanted: &Wanted<'_>, around: &Around<'_>) {
        if let State::Running(run) = &self.state
            && run.id == id
        {
            self.state = stopping(run.clone(), wanted, around);
        }
    }

    /// The node lost its power.
    pub(crate) fn lose_power(&mut self, now: Timestamp) {
        if let Some(run) = self.run().cloned() {
            self.last = Some(Ended {
                run,
                at: now,
                exit_code: 255,
            });
        }
        self.state = State::Idle;
        // kubelet's memory goes with it.
        self.back_off = None;
    }

    /// Whatever is due now; when something is due next.
    pub(crate) fn step(
        &mut self,
        wanted: &Wanted<'_>,
        around: &mut Around<'_>,
    ) -> Option<Timestamp> {
        loop {
            let (next, due) = self.next(wanted, around);
            match next {
                Some(state) => self.state = state,
                None => return due,
            }
        }
    }

    /// The state that follows now, else when to look again.
    fn next(
        &mut self,
        wanted: &Wanted<'_>,
        around: &mut Around<'_>,
    ) -> (Option<State>, Option<Timestamp>) {
        let now = around.now;
        let is_other = |image: &str| image != wanted.image;
        let wait = |until: Timestamp| (None, Some(until));
        match self.state.clone() {
            State::Idle if around.ending => (None, None),
            State::Idle => (Some(self.begin(wanted.image, around)), None),
            // Nothing runs yet: another image, or the end of the Pod, is followed at once.
            State::Pulling { image, .. }
            | State::Refused { image, .. }
            | State::Down { image, .. }
                if around.ending || is_other(&image) =>
            {
                (Some(State::Idle), None)
            }
            State::Pulling { until, .. }
            | State::Refused { until, .. }
            | State::Starting { until, .. }
            | State::Stopping { until, .. }
            | State::Down { until, .. }
                if now < until =>
            {
                wait(until)
            }
            State::Pulling { image, tries, .. } => (Some(pulled(image, tries, around)), None),
            State::Refused { image, tries, .. } => {
                let until = now.after(around.pace.pull);
                let tries = tries + 1;
                let again = State::Pulling {
                    image,
                    until,
                    tries,
                };
                (Some(again), None)
            }
            State::Starting { image, .. } => {
                *around.last_id += 1;
                self.starts += 1;
                let id = format!("{:064x}", *around.last_id);
                let since = now;
                (Some(State::Running(Run { id, image, since })), None)
            }
            State::Running(run) if around.ending || is_other(&run.image) => {
                (Some(stopping(run, wanted, around)), None)
            }
            State::Running(run) => self.watch(run, around),
            State::Stopping { run, exit_code, .. } => {
                let at = now;
                self.last = Some(Ended { run, at, exit_code });
                (Some(State::Idle), None)
            }
            State::Down { .. } => (Some(State::Idle), None),
        }
    }

    fn watch(&mut self, run: Run, around: &Around<'_>) -> (Option<State>, Option<Timestamp>) {
        let now = around.now;
        let crash = around.faults.crash(around.pod, &run.image);
        let crash = crash.map(|after| run.since.after(after));
        if crash.is_some_and(|at| at <= now) {
            let (at, exit_code) = (now, 1);
            self.last = Some(Ended { run, at, exit_code });
            return (Some(State::Idle), None);
        }
        let ready = Some(run.since.after(around.pace.ready)).filter(|at| *at > now);
        (None, [crash, ready].into_iter().flatten().min())
    }

    /// kubelet's `doBackOff`: by when the last container of this name ended, and how often this image was started.
    fn begin(&mut self, image: &str, around: &Around<'_>) -> State {
        let now = around.now;
        if let Some(last) = &self.last {
            let known = self
                .back_off
                .take_if(|it| it.image != image || last.at.since(it.updated) > FORGOTTEN_AFTER);
            // What was taken is forgotten; what is left counts.
            drop(known);
            let delay = match &self.back_off {
                Some(known) if now.since(last.at) < known.delay => {
                    return State::Down {
                        image: image.to_owned(),
                        until: last.at.after(known.delay),
                    };
                }
                Some(known) => (known.delay * 2).min(around.pace.most_back_off),
                None => around.pace.back_off,
            };
            self.back_off = Some(BackOff {
                image: image.to_owned(),
                delay,
                updated: now,
            });
        }
        let image = image.to_owned();
        if around.images.contains(&image) {
            let until = now.after(around.pace.start);
            return State::Starting { image, until };
        }
        State::Pulling {
            image,
            until: now.after(around.pace.pull),
            tries: 1,
        }
    }
}

fn pulled(image: String, tries: u32, around: &mut Around<'_>) -> State {
    let (now, pace) = (around.now, around.pace);
    if around.faults.has_image(&image) {
        around.images.insert(image.clone());
        let until = now.after(pace.start);
        return State::Starting { image, until };
    }
    let wait = pace.back_off * 2_u32.pow((tries - 1).min(16));
    State::Refused {
        image,
        since: now,
        until: now.after(wait.min(pace.most_back_off)),
        tries,
    }
}

/// The hook's time counts for the grace period; TERM has a little in any case, then it is killed.
fn stopping(run: Run, wanted: &Wanted<'_>, around: &Around<'_>) -> State {
    let term = around
        .faults
        .slow_stop(around.pod, &run.image)
        .unwrap_or(around.pace.stop);
    let for_term = around.grace.saturating_sub(wanted.pre_stop).max(LEAST_TERM);
    let hook = wanted.pre_stop.min(around.grace);
    State::Stopping {
        run,
        until: around.now.after(hook + term.min(for_term)),
        exit_code: if term > for_term { 137 } else { 0 },
    }
}

#[cfg(test)]
mod tests;
