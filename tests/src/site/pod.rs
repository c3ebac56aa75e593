//! A Pod's network namespace, and what of a world can be compared before and after.
//!
//! Asserts with `ip -j` only, inside the namespace.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests_testbed::Node;

/// A Pod's network namespace.
#[derive(Debug)]
pub struct Pod<'a> {
    pub(super) node: &'a Node,
    pub(super) name: String,
    pub(super) path: PathBuf,
}

impl Pod<'_> {
    /// Its path inside the node, for `CNI_NETNS`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name below `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `ip -json -details …` says inside.
    #[track_caller]
    pub fn ip(&self, args: &[&str]) -> Value {
        self.node.pod_ip_json(&self.name, args).unwrap()
    }

    /// An `ip` command inside that must succeed.
    #[track_caller]
    pub fn does(&self, args: &[&str]) {
        let words: Vec<&str> = ["ip"].iter().chain(args).copied().collect();
        self.run(&words);
    }

    /// A command inside that must succeed; its output.
    #[track_caller]
    pub fn run(&self, argv: &[&str]) -> String {
        self.node.pod_run(&self.name, argv).unwrap()
    }

    /// Names of the interfaces, sorted.
    #[track_caller]
    pub fn interfaces(&self) -> Vec<String> {
        let links = self.ip(&["link", "show"]);
        let mut names: Vec<String> = links
            .as_array()
            .unwrap()
            .iter()
            .map(|link| link["ifname"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// One interface; null where there is none.
    #[track_caller]
    pub fn link(&self, name: &str) -> Value {
        let links = self.ip(&["link", "show"]);
        let found = links
            .as_array()
            .unwrap()
            .iter()
            .find(|link| link["ifname"] == name);
        found.cloned().unwrap_or_default()
    }

    /// Global addresses of an interface with prefix length, IPv4 first.
    #[track_caller]
    pub fn addresses(&self, interface: &str) -> Vec<String> {
        let links = self.ip(&["addr", "show"]);
        let link = links
            .as_array()
            .unwrap()
            .iter()
            .find(|link| link["ifname"] == interface)
            .unwrap_or_else(|| panic!("no {interface} in {links}"));
        link["addr_info"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|address| address["scope"] == "global")
            .map(|address| {
                format!(
                    "{}/{}",
                    address["local"].as_str().unwrap(),
                    address["prefixlen"]
                )
            })
            .collect()
    }

    /// Whether one ping is answered within a second.
    #[track_caller]
    pub fn ping_once(&self, address: &str) -> bool {
        self.node.pod_ping_once(&self.name, address).unwrap()
    }

    /// Fails unless a ping is answered at once, without a second try.
    #[track_caller]
    pub fn pings(&self, address: &str) {
        assert!(
            self.ping_once(address),
            "{address} does not answer {}: {:#}",
            self.name,
            self.snapshot()
        );
    }

    /// Links, addresses and routes.
    #[track_caller]
    pub fn snapshot(&self) -> Value {
        snapshot(|args| self.ip(args))
    }
}

/// Addresses, routes and rules as `ip -j` says.
pub(super) fn snapshot(ip: impl Fn(&[&str]) -> Value) -> Value {
    json!({
        "addresses": ip(&["addr", "show"]),
        "routes": ip(&["-4", "route", "show", "table", "all"]),
        "routes6": ip(&["-6", "route", "show", "table", "all"]),
        "rules": ip(&["rule", "show"]),
    })
}

/// Fails with the lines that differ, unless the world looks as before.
#[track_caller]
pub fn assert_unchanged(now: &Value, before: &Value) {
    let lines = |value: &Value| -> Vec<String> {
        let text = format!("{value:#}");
        text.lines().map(str::to_owned).collect()
    };
    let (now, before) = (lines(now), lines(before));
    let only = |these: &[String], others: &[String], mark: &str| -> Vec<String> {
        these
            .iter()
            .filter(|line| !others.contains(line))
            .map(|line| format!("{mark}{line}"))
            .collect()
    };
    let mut changes = only(&before, &now, "- ");
    changes.extend(only(&now, &before, "+ "));
    assert!(
        now == before,
        "the world is not as before ({} lines, then {}):\n{}",
        before.len(),
        now.len(),
        changes.join("\n")
    );
}

/// An address without its prefix length.
pub fn bare_address(address: &str) -> String {
    address.split('/').next().unwrap_or_default().to_owned()
}
