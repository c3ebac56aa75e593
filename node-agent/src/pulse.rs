//! Whether the agent's own work goes on: counted by the task that judges, looked at by a thread of its own.
//!
//! No probe of kubelet's decides about the agent's life: one by HTTP fails with the network that the agent is to report, and one by
//! `exec` fails with a runtime that hangs (kubelet gives up after two minutes and ten seconds and counts that as a failure). The
//! thread needs neither, and no disk: when nothing was judged for two minutes the process ends itself, and kubelet starts it again.

use std::process::abort;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tracing::error;

/// From one look of the thread to the next.
const PERIOD: Duration = Duration::from_secs(10);

/// Looks without a beat between them until the process is taken for stuck: two minutes, since a node that swaps or throttles must not
/// lose its agent on top. Looks are counted, not time: a process that was stopped or frozen has looked only once when it goes on.
const SILENT_LOOKS: u32 = 12;

/// Enough for two numbers and a line of the log; locked memory is really there.
const STACK_BYTES: usize = 64 * 1024;

/// Counts the beats. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse(Arc<AtomicU64>);

/// What a look at the pulse remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Silence {
    last: u64,
    looks: u32,
}

impl Pulse {
    /// Something was judged.
    pub(crate) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something was.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Silence {
    /// Takes a look into account; answers whether the process is stuck.
    fn look(&mut self, count: u64) -> bool {
        let looks = if count == self.last {
            self.looks + 1
        } else {
            0
        };
        *self = Self { last: count, looks };
        looks >= SILENT_LOOKS
    }
}

/// Starts the thread.
///
/// # Errors
/// The kernel gives no thread.
pub(crate) fn watch(pulse: Pulse) -> std::io::Result<()> {
    let thread = thread::Builder::new()
        .name("pulse".to_owned())
        .stack_size(STACK_BYTES);
    // Never joined: it ends with the process.
    thread.spawn(move || {
        let mut silence = Silence::default();
        loop {
            thread::sleep(PERIOD);
            if silence.look(pulse.count()) {
                let seconds = PERIOD.as_secs() * u64::from(SILENT_LOOKS);
                error!(
                    seconds,
                    "nothing was judged for so long: the agent is stuck and ends itself"
                );
                abort();
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_stuck_after_as_many_looks_without_a_beat() {
        let pulse = Pulse::default();
        let mut silence = Silence::default();
        pulse.beat();
        assert!(!silence.look(pulse.count()));
        for _ in 1..SILENT_LOOKS {
            assert!(!silence.look(pulse.count()));
        }
        assert!(silence.look(pulse.count()));
    }

    #[test]
    fn one_beat_begins_the_count_anew() {
        let pulse = Pulse::default();
        let mut silence = Silence::default();
        for _ in 0..5 {
            for _ in 1..SILENT_LOOKS {
                assert!(!silence.look(pulse.count()));
            }
            pulse.beat();
            assert!(!silence.look(pulse.count()));
        }
    }
}
