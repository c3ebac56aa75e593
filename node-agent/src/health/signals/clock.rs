//! Signals `clock` and `clock-steps`: somebody keeps the wall clock right, and nobody has set it by more than a second of late.
//!
//! Asks the kernel, whoever keeps it right (chrony, ntpd, timesyncd, ptp): that a daemon runs says nothing of the clock.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use nix::time::{ClockId, clock_gettime};
use node_agent_kernel::{ClockState, clock_state};
use proto_crd::node_health::Decision;

use super::Look;
use crate::health::assess::{PERIOD, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::health::window::Window;

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("clock");

/// Of the other.
pub(in crate::health) const STEPS: Signal = Signal::new("clock-steps");

/// How it is judged.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: TTL,
    // What is being corrected is so within a look or two after somebody set it right.
    set: 3,
    clear: 3,
    // Far off it urges more.
    decision: Decision::Observe,
    escalation: None,
    threshold: "kept right, less than 50 ms off; cordon from 500 ms",
};

/// How it is judged.
pub(in crate::health) const STEPS_RULE: Rule = Rule {
    signal: STEPS,
    period: PERIOD,
    ttl: TTL,
    set: 1,
    clear: 1,
    decision: Decision::Observe,
    escalation: None,
    threshold: "not set by more than 1 s within 10 minutes",
};

/// CCE tells from 8 s on, far too late for who trades.
const OFF: Duration = Duration::from_millis(50);
const FAR_OFF: Duration = Duration::from_millis(500);
/// Without news the kernel adds 0.5 ms a second: this is half an hour after the daemon was last heard.
const STALE: Duration = Duration::from_secs(1);
/// Corrections below it are slewed, at 0.5 ms a second.
const STEP: Duration = Duration::from_secs(1);
const STEP_SPAN: Duration = Duration::from_secs(600);
/// Between two readings of one clock; longer, and the process was put aside in the middle.
const READING: Duration = Duration::from_millis(50);

/// Who says whether the clock is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clock {
    /// The kernel, which a daemon on the node tells
    Kernel,
    /// Nobody here: it is kept from outside, as hypervisors do
    Host,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Host => "host",
        })
    }
}

/// The wall clock.
#[derive(Debug)]
pub(in crate::health) struct Source {
    clock: Clock,
    /// It was kept right at an earlier look.
    was_kept: bool,
    steps: Steps,
}

impl Source {
    /// Looks at the clock that `clock` knows of.
    pub(in crate::health) fn new(clock: Clock) -> Self {
        Self {
            clock,
            was_kept: false,
            steps: Steps::default(),
        }
    }
}

impl Look for Source {
    const NAME: &'static str = "clock";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        let state = clock_state();
        let verdict = assess(&state, self.clock, self.was_kept);
        self.was_kept |= state.is_ok_and(|state| state.is_synchronised);
        // Put aside in the middle of it: the next look will do.
        let steps = read_wall().map(|wall| self.steps.judge(wall, Instant::now()));
        [verdict].into_iter().chain(steps).collect()
    }
}

/// What the wall clock says at the boot, in milliseconds: the same for ever, unless it is set. By the clock that also counts while the
/// machine sleeps.
fn read_wall() -> Option<i64> {
    let read = |clock| {
        let time = clock_gettime(clock).ok()?;
        let milliseconds = time.tv_sec().checked_mul(1000)?;
        milliseconds.checked_add(time.tv_nsec() / 1_000_000)
    };
    let before = read(ClockId::CLOCK_BOOTTIME)?;
    let wall = read(ClockId::CLOCK_REALTIME)?;
    let after = read(ClockId::CLOCK_BOOTTIME)?;
    let took = Duration::from_millis((after - before).unsigned_abs());
    (took < READING).then(|| wall - after)
}

fn assess(state: &io::Result<ClockState>, clock: Clock, was_kept: bool) -> Verdict {
    let state = match state {
        Ok(state) => state,
        Err(error) => return Verdict::unclear(SIGNAL, format!("adjtimex: {error}")),
    };
    let bad = |kind, value: String, message: String| {
        let trouble = Trouble {
            kind,
            message,
            impact: "times in logs and records of this node's Pods are wrong; certificates and tokens may seem not yet or no longer valid, \
                     and leases that are renewed in the past are not believed"
                .to_owned(),
            advice: "chronyc tracking and chronyc sources (or timedatectl timesync-status, or pmc) on the node say whom it hears; chrony needs \
                     rtcsync to tell the kernel. A clock that is far off: cordon, and let the Pods' owners decide before it is set"
                .to_owned(),
        };
        Verdict::bad(SIGNAL, value, trouble)
    };
    if !state.is_synchronised {
        return match (clock, was_kept) {
            (Clock::Host, false) => Verdict::absent(SIGNAL, "kept from outside the node"),
            (_, true) => {
                let message = "nobody has told the kernel for hours that its clock is right";
                bad(
                    "lost",
                    "not kept right any more".to_owned(),
                    message.to_owned(),
                )
            }
            (Clock::Kernel, false) => Verdict::unclear(
                SIGNAL,
                "nobody has told the kernel since boot that its clock is right: run chrony (with rtcsync), timesyncd or ptp on the node, or say \
                 --clock=host where the hypervisor keeps it",
            ),
        };
    }
    let (offset, most) = (milliseconds(state.offset), milliseconds(state.max_error));
    let value = format!("{offset} off, at most {most} wrong");
    if state.offset >= OFF {
        let verdict = bad("off", value, format!("the wall clock is {offset} off"));
        return if state.offset >= FAR_OFF {
            verdict.urging(Decision::Cordon)
        } else {
            verdict
        };
    }
    if state.max_error >= STALE {
        let message =
            format!("who keeps the wall clock has not been heard for long: it may be {most} wrong");
        return bad("stale", value, message);
    }
    Verdict::good(SIGNAL, value)
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// How the wall clock ran.
#[derive(Debug)]
struct Steps {
    last: Option<i64>,
    latest: i64,
    window: Window,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            last: None,
            latest: 0,
            window: Window::new(STEP_SPAN, 64),
        }
    }
}

impl Steps {
    fn judge(&mut self, wall: i64, now: Instant) -> Verdict {
        let step = self.last.map_or(0, |last| wall - last);
        self.last = Some(wall);
        if Duration::from_millis(step.unsigned_abs()) >= STEP {
            self.latest = step;
            self.window.note(now);
        }
        let count = self.window.count(now);
        if count == 0 {
            return Verdict::good(STEPS, "not set within 10 minutes");
        }
        let (way, milliseconds) = if self.latest < 0 {
            ("back", self.latest.unsigned_abs())
        } else {
            ("forward", self.latest.unsigned_abs())
        };
        let last = Duration::from_millis(milliseconds).as_secs_f64();
        let value = format!("set {count} times within 10 min, last {way} by {last:.1} s");
        let trouble = Trouble {
            kind: "step",
            message: format!("the wall clock was {value}"),
            impact: "timers and records of Pods that go by the wall clock jumped; after a step back the cluster may not believe this node's \
                     Lease for as long"
                .to_owned(),
            advice: "journalctl -u chronyd (ntpd, systemd-timesyncd) around that time says who set it and why; let it step at boot only \
                     (chrony: makestep 1 3)"
                .to_owned(),
        };
        Verdict::bad(STEPS, value, trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    fn kind(verdict: &Verdict) -> &'static str {
        match &verdict.finding {
            Finding::Good => "good",
            Finding::Bad(trouble) => trouble.kind,
            Finding::Absent => "absent",
            Finding::Unclear { .. } => "unclear",
        }
    }

    fn state(is_synchronised: bool, offset: u64, max_error: u64) -> ClockState {
        ClockState {
            is_synchronised,
            offset: Duration::from_millis(offset),
            max_error: Duration::from_millis(max_error),
        }
    }

    #[test]
    fn clock_is_judged_by_the_table() {
        let cordon = Some(Decision::Cordon);
        let table = [
            (state(true, 0, 20), Clock::Kernel, true, "good", None),
            (state(true, 49, 20), Clock::Kernel, true, "good", None),
            (state(true, 50, 20), Clock::Kernel, true, "off", None),
            (state(true, 500, 20), Clock::Kernel, true, "off", cordon),
            (state(true, 60, 20), Clock::Host, false, "off", None),
            (state(true, 0, 1000), Clock::Kernel, true, "stale", None),
            (state(false, 0, 16_000), Clock::Kernel, true, "lost", None),
            (state(false, 0, 16_000), Clock::Host, true, "lost", None),
            (
                state(false, 0, 16_000),
                Clock::Kernel,
                false,
                "unclear",
                None,
            ),
            (state(false, 0, 16_000), Clock::Host, false, "absent", None),
        ];
        for (state, clock, was_kept, expected, urges) in table {
            let state = Ok(state);
            let verdict = assess(&state, clock, was_kept);
            let found = (kind(&verdict), verdict.urges);
            assert_eq!(found, (expected, urges), "{state:?} {clock} {was_kept}");
        }
        let forbidden = Err(io::ErrorKind::PermissionDenied.into());
        assert_eq!(kind(&assess(&forbidden, Clock::Kernel, true)), "unclear");
    }

    #[test]
    fn steps_are_told_for_ten_minutes_and_slewing_is_none() {
        let start = Instant::now();
        let mut steps = Steps::default();
        let mut at = |second, wall| {
            let verdict = steps.judge(wall, start + Duration::from_secs(second));
            (kind(&verdict), verdict.value)
        };
        assert_eq!(at(0, 1_000_000).0, "good", "nothing to compare with");
        assert_eq!(at(10, 1_000_005).0, "good");
        assert_eq!(at(20, 1_000_999).0, "good");
        let (kind, value) = at(30, 999_000);
        assert_eq!(kind, "step");
        assert_eq!(value, "set 1 times within 10 min, last back by 2.0 s");
        assert_eq!(
            at(40, 4_599_000).1,
            "set 2 times within 10 min, last forward by 3600.0 s"
        );
        assert_eq!(at(639, 4_599_000).0, "step");
        assert_eq!(at(640, 4_599_000).0, "good");
    }

    #[test]
    fn wall_clock_at_boot_is_the_same_at_each_reading() {
        // A reading in which the process is put aside is none.
        let mut readings = std::iter::repeat_with(read_wall).flatten();
        let (one, other) = (readings.next().unwrap(), readings.next().unwrap());
        assert!((one - other).abs() < 1000);
    }
}
