//! Whether what runs on the node waits for processors: a field of the report, and no signal.
//!
//! It decides nothing about the node and is nothing wrong with it: one Pod that its own limit throttles raises the figure of the whole node
//! (kubernetes/enhancements#5062), and a node that computes all day is well. Who is about to end Pods there waits for as long as it is
//! so. By PSI (`cpu`, `some`), or by the run queue where the kernel has none. **Always holds:** what was not seen for a minute is not
//! known.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipamd_daemon::Tasks;
use procfs::{CpuPressure, FromRead as _};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// As the kernel's shortest mean.
const PERIOD: Duration = Duration::from_secs(10);

/// Without a look for so long nothing is known.
const TTL: Duration = Duration::from_secs(60);

/// Of a hundred: something waits for a processor.
const PRESSED_PERCENT: f32 = 40.0;

/// Of each processor: what runs, and what waits for it.
const PRESSED_QUEUE: usize = 2;

/// It is over when so many looks in a row say so: each change is worth a report, and a node that is busy now and then has many.
const CALM_LOOKS: u32 = 6;

/// What a look saw.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sight {
    /// In so many of a hundred something waited, of late.
    Waiting(f32),
    /// So much is runnable on so many processors.
    Queue { runnable: usize, processors: usize },
}

impl Sight {
    fn is_pressed(self) -> bool {
        match self {
            Self::Waiting(percent) => percent > PRESSED_PERCENT,
            Self::Queue {
                runnable,
                processors,
            } => runnable > PRESSED_QUEUE.saturating_mul(processors.max(1)),
        }
    }
}

/// What the looks come to. Pure.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    is_pressed: Option<bool>,
    calm: u32,
    seen: Option<Instant>,
}

impl Course {
    fn note(&mut self, sight: Option<Sight>, now: Instant) -> Option<bool> {
        let Some(sight) = sight else {
            let is_old = |seen: Instant| now.saturating_duration_since(seen) >= TTL;
            if self.seen.is_none_or(is_old) {
                *self = Self::default();
            }
            return self.is_pressed;
        };
        self.seen = Some(now);
        if sight.is_pressed() {
            self.calm = 0;
            self.is_pressed = Some(true);
        } else {
            self.calm = self.calm.saturating_add(1);
            if self.is_pressed.is_none() || self.calm >= CALM_LOOKS {
                self.is_pressed = Some(false);
            }
        }
        self.is_pressed
    }
}

/// Starts to look, at the node whose `/proc` this is. The receiver has what is known: nothing, at first.
pub(super) fn spawn_processors(tasks: &Tasks, proc: PathBuf) -> watch::Receiver<Option<bool>> {
    let (sender, receiver) = watch::channel(None);
    let token = tasks.token();
    tasks.spawn("processors", async move {
        let mut course = Course::default();
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                _ = tick.tick() => {}
            }
            let known = course.note(see(&proc), Instant::now());
            sender.send_if_modified(|it| std::mem::replace(it, known) != known);
        }
    });
    receiver
}

/// Files of the kernel's own memory: they do not hang.
fn see(proc: &std::path::Path) -> Option<Sight> {
    match fs::read(proc.join("pressure/cpu")) {
        Ok(text) => {
            let told = CpuPressure::from_read(&*text).ok()?;
            Some(Sight::Waiting(told.some.avg10))
        }
        // Switched off (psi=0) the file may be there and not be readable.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::Unsupported
            ) =>
        {
            let stat = fs::read_to_string(proc.join("stat")).ok()?;
            queue(&stat)
        }
        Err(_) => None,
    }
}

fn queue(stat: &str) -> Option<Sight> {
    let is_processor = |line: &&str| {
        let rest = line.strip_prefix("cpu");
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let running = stat
        .lines()
        .find_map(|it| it.strip_prefix("procs_running "));
    Some(Sight::Queue {
        runnable: running?.trim().parse().ok()?,
        processors: stat.lines().filter(is_processor).count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_told_at_once_and_its_end_after_a_minute() {
        let (busy, calm) = (Some(Sight::Waiting(55.0)), Some(Sight::Waiting(40.0)));
        let start = Instant::now();
        let mut course = Course::default();
        // A look every ten seconds, and what is known after it.
        let looks = [
            (None, None),
            (calm, Some(false)),
            (busy, Some(true)),
            (calm, Some(true)),
            (busy, Some(true)),
            (calm, Some(true)),
            (calm, Some(true)),
            (calm, Some(true)),
            (calm, Some(true)),
            (calm, Some(true)),
            (calm, Some(false)),
            // Looks that see nothing: what was known holds for a minute.
            (None, Some(false)),
            (None, Some(false)),
            (None, Some(false)),
            (None, Some(false)),
            (None, Some(false)),
            (None, None),
            (busy, Some(true)),
        ];
        for (number, (sight, known)) in (0..).zip(looks) {
            let now = start + PERIOD * number;
            assert_eq!(course.note(sight, now), known, "look {number}");
        }
    }

    #[test]
    fn without_psi_the_run_queue_says_it() {
        let stat = |running: usize| {
            format!(
                "cpu  1 2 3\ncpu0 1 2\ncpu1 1 2\nintr 5\nprocs_running {running}\nprocs_blocked 0\n"
            )
        };
        for (running, is_pressed) in [(1, false), (4, false), (5, true), (40, true)] {
            let sight = queue(&stat(running)).unwrap();
            assert_eq!(
                sight,
                Sight::Queue {
                    runnable: running,
                    processors: 2
                }
            );
            assert_eq!(sight.is_pressed(), is_pressed, "{running}");
        }
        assert_eq!(queue("cpu 1 2 3\n"), None);
    }

    #[test]
    fn the_kernel_is_read_where_it_is() {
        let proc = tempfile::tempdir().unwrap();
        assert_eq!(see(proc.path()), None);
        fs::write(proc.path().join("stat"), "cpu0 1\nprocs_running 3\n").unwrap();
        let queue = Sight::Queue {
            runnable: 3,
            processors: 1,
        };
        assert_eq!(see(proc.path()), Some(queue));
        fs::create_dir(proc.path().join("pressure")).unwrap();
        let text = "some avg10=62.50 avg60=1.00 avg300=0.10 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        fs::write(proc.path().join("pressure/cpu"), text).unwrap();
        assert_eq!(see(proc.path()), Some(Sight::Waiting(62.5)));
    }
}
