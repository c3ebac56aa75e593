//! Network namespaces of Pods on a node, as a runtime makes them: named files below `/run/netns`.

use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::{
    namespace::parse_json,
    node::Node,
    process::{Output, run},
};

/// The path of a Pod's namespace inside the node.
fn path(name: &str) -> String {
    format!("/run/netns/{name}")
}

impl Node {
    /// Makes a Pod's network namespace with only `lo`, up; its path inside the node, for `CNI_NETNS`.
    ///
    /// # Errors
    /// There is one of that name.
    pub fn make_pod_netns(&self, name: &str) -> Result<String> {
        self.script(&format!(
            "ip netns add {name}; ip -netns {name} link set lo up"
        ))?;
        Ok(path(name))
    }

    /// Removes a Pod's network namespace, as a runtime does after DEL or without it.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove_pod_netns(&self, name: &str) -> Result<()> {
        self.run(&["ip", "netns", "del", name]).map(|_| ())
    }

    /// A command that will run in a Pod's network namespace.
    pub fn pod_command(&self, name: &str, program: &str) -> Command {
        self.command_in_netns(path(name), program)
    }

    /// Runs a command in a Pod's network namespace to its end.
    ///
    /// # Errors
    /// It could not be started. How it ended is in the output.
    pub fn pod_exec(&self, name: &str, words: &[&str]) -> Result<Output> {
        let (program, args) = words.split_first().unwrap_or((&"true", &[]));
        let mut command = self.pod_command(name, program);
        command.args(args);
        run(command, b"")
    }

    /// Runs a command in a Pod's network namespace that must succeed; its standard output.
    ///
    /// # Errors
    /// It failed; with everything it said.
    pub fn pod_run(&self, name: &str, words: &[&str]) -> Result<String> {
        self.pod_exec(name, words)?.ok()
    }

    /// What `ip -json …` says in a Pod's network namespace.
    ///
    /// # Errors
    /// `ip` failed, or did not answer JSON.
    pub fn pod_ip_json(&self, name: &str, args: &[&str]) -> Result<Value> {
        let words: Vec<&str> = ["ip", "-json", "-details"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        parse_json(&self.pod_run(name, &words)?)
    }

    /// Whether one ping from a Pod is answered within a second.
    ///
    /// # Errors
    /// `ping` could not be run.
    pub fn pod_ping_once(&self, name: &str, address: &str) -> Result<bool> {
        Ok(self
            .pod_exec(name, &["ping", "-n", "-q", "-c", "1", "-W", "1", address])?
            .success())
    }
}
