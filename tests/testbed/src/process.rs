//! Programs run inside a namespace: once with their output, or as daemons that can be killed.
//!
//! `nsenter` stands between us and the program (it forks to enter the PID namespace), so signals go to its child.
//! A [`Process`] never outlives its handle, unless the world is kept.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{sys::signal, sys::signal::Signal, unistd::Pid};

use crate::wait::{Pending, wait_until};

/// How long a killed process may take to be gone: it is the kernel's work only.
const KILL_DEADLINE: Duration = Duration::from_secs(60);

/// What a program that has ended said.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// How long it ran.
    pub elapsed: Duration,
    command: String,
}

impl Output {
    /// Whether it ended with 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// The standard output of a program that had to succeed.
    ///
    /// # Errors
    /// It ended otherwise; with everything it said.
    pub fn ok(self) -> Result<String> {
        if self.success() {
            return Ok(self.stdout);
        }
        bail!(
            "`{}` ended with {}\nstdout: {}\nstderr: {}",
            self.command,
            self.status,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
    }
}

/// Runs a command to its end, with `stdin` as its input.
pub(crate) fn run(mut command: Command, stdin: &[u8]) -> Result<Output> {
    let text = describe(&command);
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start `{text}`"))?;
    feed(&mut child, stdin, &text)?;
    let output = child
        .wait_with_output()
        .with_context(|| format!("wait for `{text}`"))?;
    Ok(Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        elapsed: start.elapsed(),
        command: text,
    })
}

/// Writes the whole input, which must fit into a pipe's buffer unless the program reads it, and closes it.
pub(crate) fn feed(child: &mut Child, stdin: &[u8], command: &str) -> Result<()> {
    if let Some(mut pipe) = child.stdin.take() {
        match pipe.write_all(stdin) {
            // A program may end without having read its input.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(error).with_context(|| format!("write the input of `{command}`"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A program that runs until it is told otherwise.
#[derive(Debug)]
pub struct Process {
    name: String,
    nsenter: Child,
    log: PathBuf,
    keep: bool,
}

impl Process {
    /// Starts a command of [`crate::Namespace::command`] with both outputs appended to `log`.
    pub(crate) fn start(name: &str, mut command: Command, log: &Path, keep: bool) -> Result<Self> {
        let out = open_log(log)?;
        let err = out.try_clone().context("duplicate the log's descriptor")?;
        let nsenter = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .with_context(|| format!("start `{}`", describe(&command)))?;
        Ok(Self {
            name: name.to_owned(),
            nsenter,
            log: log.to_owned(),
            keep,
        })
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id of the program itself, as the caller sees it.
    ///
    /// # Errors
    /// It has ended.
    pub fn pid(&mut self) -> Result<i32> {
        let name = self.name.clone();
        wait_until(&format!("the start of {name}"), KILL_DEADLINE, || {
            if let Some(pid) = child_of(self.nsenter.id()) {
                return Ok(Some(pid));
            }
            match self.nsenter.try_wait() {
                Ok(Some(_)) => Ok(None),
                _ => Err(Pending::because("nsenter has no child yet")),
            }
        })?
        .with_context(|| format!("{name} has ended; its log says:\n{}", self.log_tail()))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.nsenter.try_wait(), Ok(None))
    }

    /// Sends a signal to the program.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        let pid = self.pid()?;
        if signal == Signal::SIGCONT {
            // nsenter stops itself when its child is stopped; nobody else would wake it.
            let nsenter = i32::try_from(self.nsenter.id()).context("read a process id")?;
            signal::kill(Pid::from_raw(nsenter), signal).context("wake nsenter")?;
        }
        signal::kill(Pid::from_raw(pid), signal)
            .with_context(|| format!("send {signal} to {} ({pid})", self.name))
    }

    /// Kills it without warning, as the OOM killer or a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// It did not go within seconds.
    pub fn kill(&mut self) -> Result<()> {
        if self.is_running()
            && let Ok(pid) = self.pid()
        {
            // Gone already is what was wanted.
            let _ = signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        self.wait(KILL_DEADLINE).map(|_| ())
    }

    /// Asks it to end by SIGTERM and waits.
    ///
    /// # Errors
    /// It still runs at the deadline.
    pub fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        if self.is_running()
            && let Ok(pid) = self.pid()
        {
            let _ = signal::kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        self.wait(deadline)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It still runs at the deadline.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        wait_until(&what, deadline, || match self.nsenter.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(Pending::because("it runs")),
            Err(error) => Err(Pending::because(error)),
        })
    }

    /// Everything it has said so far, all its starts together.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines it said, for failure messages.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Its log file.
    pub fn log_path(&self) -> &Path {
        &self.log
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.keep {
            let _ = self.kill();
        }
    }
}

fn open_log(log: &Path) -> Result<File> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open {}", log.display()))
}

/// The first child of a process.
pub(crate) fn child_of(pid: u32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
