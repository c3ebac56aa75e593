//! Daemons that run in containers of a node: found in the node's PID namespace by their names, signalled there, started by kubelet.
//!
//! A container's first process is meant, never what a probe runs beside it. A number alone is no proof: the start is compared too.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::{
    node::Node,
    state,
    wait::{Pending, wait_until},
};

/// A killed process is gone in milliseconds; one that is asked to end may finish what it does.
const GONE_DEADLINE: Duration = Duration::from_secs(60);

/// kubelet's longest back-off is ten seconds here, and the node may be booting.
const START_DEADLINE: Duration = Duration::from_secs(180);

/// What tells a container's first process from others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// As the kernel calls it.
    name: &'static str,
    /// A word of its command line: one program may run in several roles.
    word: Option<&'static str>,
    /// A word that another container's of the same program has.
    without: Option<&'static str>,
    /// It has the node's PID namespace and none of its own, and is told by its words alone.
    host_pid: bool,
}

impl Program {
    /// The address daemon.
    pub(crate) const IPAMD: Self = Self {
        name: "berth-ipamd",
        word: None,
        without: Some("relay-sandboxes"),
        host_pid: false,
    };

    /// The node's agent.
    pub(crate) const AGENT: Self = Self {
        name: "berth-agent",
        word: Some("--role=node"),
        without: None,
        host_pid: true,
    };

    /// The cluster's controllers.
    pub(crate) const CONTROLLERS: Self = Self {
        name: "berth-agent",
        word: Some("--role=controllers"),
        without: None,
        host_pid: false,
    };

    /// Whether a process is one, by its name and its command line as the kernel has them.
    fn is(self, name: &str, line: &str) -> bool {
        let has = |word| line.split('\0').any(|it| it == word);
        name.trim_end() == self.name && self.word.is_none_or(has) && !self.without.is_some_and(has)
    }
}

/// The first process of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contained {
    /// Its number in the node's PID namespace.
    pid: i32,
    folder: PathBuf,
    started: u64,
}

impl Contained {
    /// The process of this program, unless the node is off or none runs.
    pub(crate) fn find(node: &Node, program: Program) -> Option<Self> {
        let proc = node.namespace()?.path("/proc");
        let folders = fs::read_dir(proc).ok()?.flatten().map(|it| it.path());
        folders
            .filter_map(|folder| {
                let pid = folder.file_name()?.to_str()?.parse().ok()?;
                let name = fs::read_to_string(folder.join("comm")).ok()?;
                let line = fs::read_to_string(folder.join("cmdline")).ok()?;
                let is_first = is_first(&fs::read_to_string(folder.join("status")).ok()?);
                let started = state::started(&folder)?;
                (program.is(&name, &line) && (is_first || program.host_pid)).then_some(Self {
                    pid,
                    folder,
                    started,
                })
            })
            // While one follows the other for a moment there are two.
            .max_by_key(|it| it.started)
    }

    /// Waits until a process of this program runs.
    pub(crate) fn wait(node: &Node, program: Program) -> Result<Self> {
        let what = format!("{} running on {}", program.name, node.spec_name());
        wait_until(&what, START_DEADLINE, || {
            Self::find(node, program).ok_or_else(|| Pending::because("no such process"))
        })
    }

    /// Its program as a file inside the node: the image's own, which no folder of the node has.
    pub(crate) fn program(&self, node: &Node) -> Result<String> {
        self.ensure_lives(node)?;
        Ok(format!("/proc/{}/exe", self.pid))
    }

    /// Its folder of the node's `/proc`, as it is seen from here.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, node: &Node, signal: Signal) -> Result<()> {
        self.ensure_lives(node)?;
        let signal = format!("-{}", signal as i32);
        node.run(&["kill", &signal, &self.pid.to_string()])
            .map(|_| ())
    }

    /// Sends it a signal that ends it, and waits until it is gone.
    pub(crate) fn end(&self, node: &Node, signal: Signal) -> Result<()> {
        // Gone already is what was wanted.
        if self.lives() && self.signal(node, signal).is_err() && self.lives() {
            bail!(
                "process {} of {} takes no signal",
                self.pid,
                node.spec_name()
            );
        }
        let what = format!("the end of process {} of {}", self.pid, node.spec_name());
        wait_until(&what, GONE_DEADLINE, || {
            if self.lives() {
                return Err(Pending::because("it lives"));
            }
            Ok(())
        })
    }

    fn lives(&self) -> bool {
        state::started(&self.folder) == Some(self.started)
    }

    fn ensure_lives(&self, node: &Node) -> Result<()> {
        let lives = self.lives().then_some(());
        lives.with_context(|| format!("process {} of {} has ended", self.pid, node.spec_name()))
    }
}

/// Whether a process is the first of a PID namespace below the node's, by the numbers it has in each.
fn is_first(status: &str) -> bool {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .unwrap_or_default();
    let mut numbers = line.split_whitespace();
    numbers.clone().count() > 1 && numbers.next_back() == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_of_one_program_are_told_by_their_command_lines() {
        let line = "berth-agent\0--role=controllers\0--log-format=json\0";
        assert!(Program::CONTROLLERS.is("berth-agent\n", line));
        assert!(!Program::AGENT.is("berth-agent\n", line));
        assert!(!Program::IPAMD.is("berth-agent\n", line));
        assert!(Program::IPAMD.is("berth-ipamd\n", "berth-ipamd\0"));
        let line = "berth-ipamd\0relay-sandboxes\0";
        assert!(!Program::IPAMD.is("berth-ipamd\n", line));
    }

    #[test]
    fn first_process_of_a_container_is_told_from_the_nodes_and_from_a_probe() {
        assert!(is_first("Name:\tx\nNSpid:\t312\t1\n"));
        assert!(!is_first("Name:\tx\nNSpid:\t1\n"));
        assert!(!is_first("Name:\tx\nNSpid:\t340\t17\n"));
        assert!(!is_first("Name:\tx\n"));
    }
}
