//! One round: all attachments added, then all deleted, by a fixed number of workers, each call timed from exec to exit.
//!
//! Everything a call needs is prepared before the clock starts. A call that fails ends the bench: a time of a failure
//! is no figure.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use std::io::Write;

use anyhow::{Context, Result, anyhow, ensure};

use crate::samples::Samples;

/// One process to run: program, arguments, environment, standard input.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(&'static str, String)>,
    pub(crate) stdin: String,
}

impl Shot {
    /// Runs it and gives the time from before the exec to after the exit, with what it printed.
    pub(crate) fn fire(&self) -> Result<(Duration, String)> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let begin = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("start {}", self.program))?;
        if let Some(mut stdin) = child.stdin.take() {
            // VERSION may be answered without reading.
            let _ = stdin.write_all(self.stdin.as_bytes());
        }
        let output = child.wait_with_output()?;
        let took = begin.elapsed();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "{} {:?} ended with {}: {stdout} {}",
            self.program,
            self.env,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok((took, stdout))
    }
}

/// Times and rate of one verb in one round.
#[derive(Clone, Debug)]
pub(crate) struct Volley {
    pub(crate) samples: Samples,
    /// Calls per second of wall time.
    pub(crate) rate: f64,
    /// What each call printed.
    pub(crate) answers: Vec<String>,
}

/// Fires all shots with this many workers.
pub(crate) fn volley(shots: &[Shot], concurrency: usize) -> Result<Volley> {
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    let fired: Vec<Vec<Result<(Duration, String)>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..concurrency)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    while let Some(shot) = shots.get(next.fetch_add(1, Ordering::Relaxed)) {
                        mine.push(shot.fire());
                    }
                    mine
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| anyhow!("a worker panicked")))
            .collect::<Result<_>>()
    })?;
    let wall = begin.elapsed();
    let mut durations = Vec::new();
    let mut answers = Vec::new();
    for shot in fired.into_iter().flatten() {
        let (took, answer) = shot?;
        durations.push(took);
        answers.push(answer);
    }
    #[allow(
        clippy::cast_precision_loss,
        reason = "some hundred calls fit a mantissa"
    )]
    let rate = durations.len() as f64 / wall.as_secs_f64();
    Ok(Volley {
        samples: Samples::new(durations),
        rate,
        answers,
    })
}
