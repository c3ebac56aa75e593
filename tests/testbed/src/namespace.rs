//! One machine of the world: a network, mount, PID and UTS namespace held by a process that lives as long as our pipe to it.
//!
//! The holder is PID 1 in there: when it dies, everything in there dies, links and mounts included. It dies when the
//! maker of the world dies (end of file on its input), unless the world is kept.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::{sys::signal, sys::signal::Signal, unistd::Pid};
use serde_json::Value;

use crate::{
    process::{Output, Process, run},
    wait::{Pending, wait_until},
};

/// Where programs are looked for: what a login shell of root has, so that it does not depend on the caller's.
pub(crate) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long the kernel may take to tear a whole namespace down.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Read before `/proc` is mounted anew, `/proc/self` shows the number that the maker sees.
const PROLOGUE: &str = "set -eu
read -r pid rest < /proc/self/stat
mount -t proc proc /proc
hostname \"$BERTH_HOST\"
ip link set lo up
";

/// The namespace's own `/sys`, with the machine's cgroups kept where it has some: a bare sysfs would hide them from runc.
const SYSFS: &str = "if mountpoint -q /sys/fs/cgroup; then
  mount -t tmpfs tmpfs /run; mkdir /run/cgroup; mount --rbind /sys/fs/cgroup /run/cgroup
  mount -t sysfs sysfs /sys; mount --rbind /run/cgroup /sys/fs/cgroup; umount -l /run
else
  mount -t sysfs sysfs /sys
fi
";

const EPILOGUE: &str = "echo \"ready $pid\"
";

/// A PID 1 that ignores SIGCHLD has its orphans reaped by the kernel, so that no init is needed. A shell's `trap` does not do it: it
/// catches this signal itself, whatever it is told. `cat` ends with its input.
const HOLD: &str = "exec env --ignore-signal=CHLD cat";

/// The same for a machine that outlives its maker.
const HOLD_KEPT: &str = "exec env --ignore-signal=CHLD sleep infinity";

/// A running machine of the world.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    pid: i32,
    holder: Child,
    /// A cgroup namespace that is entered too, by its file as the caller reaches it.
    cgroup: Option<PathBuf>,
    dir: PathBuf,
    keep: bool,
}

/// What a machine is started with.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) name: &'a str,
    /// Folder of its logs.
    pub(crate) dir: &'a Path,
    /// Shell lines run as PID 1 before anything else.
    pub(crate) script: &'a str,
    /// Variables the script reads.
    pub(crate) variables: &'a [(&'a str, &'a OsStr)],
    /// It outlives its maker.
    pub(crate) keep: bool,
}

impl Namespace {
    pub(crate) fn start(start: &Start<'_>) -> Result<Self> {
        let Start { name, dir, .. } = *start;
        fs::create_dir_all(dir.join("log")).with_context(|| format!("create {}", dir.display()))?;
        let hold = if start.keep { HOLD_KEPT } else { HOLD };
        let script = format!("{PROLOGUE}{SYSFS}{}\n{EPILOGUE}{hold}\n", start.script);
        let mut holder = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--uts",
                "--fork",
                "--kill-child",
                "--",
            ])
            .args(["sh", "-c", &script])
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("BERTH_HOST", name)
            .envs(start.variables.iter().copied())
            .stdin(if start.keep {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start unshare (package util-linux)")?;
        match read_ready(&mut holder) {
            Ok(pid) => Ok(Self {
                name: name.to_owned(),
                pid,
                holder,
                cgroup: None,
                dir: dir.to_owned(),
                keep: start.keep,
            }),
            Err(error) => {
                let _ = holder.kill();
                let mut said = String::new();
                if let Some(mut stderr) = holder.stderr.take() {
                    let _ = stderr.read_to_string(&mut said);
                }
                let _ = holder.wait();
                Err(error.context(format!(
                    "start the namespace {name} (needs root, or to run inside `unshare --user --map-root-user`): {}",
                    said.trim_end()
                )))
            }
        }
    }

    /// Its name in the world.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id of its PID 1, as the caller sees it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its network namespace as a file, for `setns` and for `nsenter --net=`.
    pub fn net_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid))
    }

    /// A file inside, as the caller reaches it: sockets of its daemons can be connected to by this path.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        PathBuf::from(format!("/proc/{}/root", self.pid))
            .join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// The folder of its logs, on the machine's disk.
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The command with which a person steps inside.
    pub fn enter_command(&self) -> String {
        format!("nsenter -t {} -n -m -p -u", self.pid)
    }

    /// Everything started from now on is in this cgroup namespace too, named by its file inside.
    pub(crate) fn enter_cgroup_namespace(&mut self, inside: &str) {
        self.cgroup = Some(self.path(inside));
    }

    /// A command that will run inside, with an empty environment but for PATH. The program is found inside.
    ///
    /// What it starts is `nsenter`, which forks: a signal to that process does not reach the program. Where signals
    /// matter, give the command to [`Self::spawn_command`] and use [`Process::kill`], [`Process::signal`], [`Process::pid`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.pid.to_string(), "-n", "-m", "-p", "-u"])
            .args(
                self.cgroup
                    .iter()
                    .map(|file| format!("--cgroup={}", file.display())),
            )
            .arg("--")
            .arg(program)
            .env_clear()
            .env("PATH", SEARCH_PATH);
        command
    }

    /// Like [`Self::command`], in another network namespace of this machine: that of a Pod, by its path inside.
    pub fn command_in_netns(&self, netns: impl AsRef<Path>, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.pid.to_string(), "-m", "-p", "-u"])
            .arg(format!("--net={}", self.path(netns).display()))
            .arg("--")
            .arg(program)
            .env_clear()
            .env("PATH", SEARCH_PATH);
        command
    }

    /// Runs a command inside to its end.
    ///
    /// # Errors
    /// It could not be started. How it ended is in the output.
    pub fn exec(&self, words: &[&str]) -> Result<Output> {
        let (program, args) = words.split_first().context("an empty command")?;
        let mut command = self.command(program);
        command.args(args);
        run(command, b"")
    }

    /// Runs a command inside that must succeed; its standard output.
    ///
    /// # Errors
    /// It failed; with everything it said.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        self.exec(words)?
            .ok()
            .with_context(|| format!("in {}", self.name))
    }

    /// Runs lines of shell inside, stopping at the first that fails; the standard output.
    ///
    /// # Errors
    /// A line failed; with everything said.
    pub fn script(&self, lines: &str) -> Result<String> {
        self.run(&["sh", "-euc", lines])
    }

    /// Runs `ip`-lines in one process. Only the network namespace is entered, so that process ids in them are the caller's.
    pub(crate) fn ip_batch(&self, lines: &str) -> Result<()> {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.pid.to_string(), "-n", "--", "ip", "-batch", "-"])
            .env_clear()
            .env("PATH", SEARCH_PATH);
        run(command, lines.as_bytes())?
            .ok()
            .with_context(|| format!("in {}: ip -batch\n{lines}", self.name))
            .map(|_| ())
    }

    /// What `ip -json …` says inside.
    ///
    /// # Errors
    /// `ip` failed, or did not answer JSON.
    pub fn ip_json(&self, args: &[&str]) -> Result<Value> {
        let words: Vec<&str> = ["ip", "-json", "-details"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        parse_json(&self.run(&words)?)
    }

    /// Starts a daemon inside; its outputs go to `log/<name>.log`.
    ///
    /// # Errors
    /// It could not be started.
    pub fn spawn(&self, name: &str, words: &[&str]) -> Result<Process> {
        let (program, args) = words.split_first().context("an empty command")?;
        let mut command = self.command(program);
        command.args(args);
        self.spawn_command(name, command)
    }

    /// Starts a daemon from a command of [`Self::command`].
    ///
    /// # Errors
    /// It could not be started.
    pub fn spawn_command(&self, name: &str, command: Command) -> Result<Process> {
        let log = self.log_dir().join(format!("{name}.log"));
        Process::start(name, command, &log, self.keep)
    }

    /// Whether one ping to `address` is answered within a second. No waiting, no repetition.
    ///
    /// # Errors
    /// `ping` could not be run.
    pub fn ping_once(&self, address: &str) -> Result<bool> {
        Ok(self
            .exec(&["ping", "-n", "-q", "-c", "1", "-W", "1", address])?
            .success())
    }

    /// Pings until an answer comes.
    ///
    /// # Errors
    /// None came within `deadline`.
    pub fn ping(&self, address: &str, deadline: Duration) -> Result<()> {
        let what = format!("an answer of {address} to {}", self.name);
        wait_until(&what, deadline, || {
            let output = self
                .exec(&["ping", "-n", "-c", "1", "-W", "1", address])
                .map_err(|error| Pending::because(format!("{error:#}")))?;
            if output.success() {
                return Ok(());
            }
            Err(Pending::because(format!(
                "{}{}",
                output.stdout, output.stderr
            )))
        })
    }

    /// Kills everything inside and waits until it is gone: what a power cut does.
    pub(crate) fn stop(&mut self) -> Result<()> {
        // SIGKILL to a PID 1 from outside takes its whole namespace along, before the parent's wait returns.
        let _ = signal::kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        wait_until(
            &format!("the end of {}", self.name),
            STOP_DEADLINE,
            || match self.holder.try_wait() {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err(Pending::because("its holder runs")),
                Err(error) => Err(Pending::because(error)),
            },
        )
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.keep {
            let _ = self.stop();
        }
    }
}

fn read_ready(holder: &mut Child) -> Result<i32> {
    let stdout = holder.stdout.take().context("no pipe to the holder")?;
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .context("read from the holder")?;
    let pid = line.trim_end().strip_prefix("ready ");
    ensure!(pid.is_some(), "the holder ended before it was ready");
    pid.and_then(|pid| pid.parse().ok())
        .ok_or_else(|| anyhow!("the holder said {line:?}"))
}

pub(crate) fn parse_json(text: &str) -> Result<Value> {
    if text.trim().is_empty() {
        // `ip -json` says nothing at all where it has nothing to list.
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_str(text).with_context(|| format!("no JSON: {text}"))
}
