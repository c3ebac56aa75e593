//! Berth in a cluster, as an operator installs it: an image on the nodes, and `kubectl apply -k` of an overlay over the project's manifests.
//!
//! Pools are each one node's, in the one `ConfigMap` that all nodes read; they change when nodes come and go, and nothing is restarted for it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    Cluster,
    build::find,
    contained::Contained,
    member::Daemon,
    overlay::{BASE, NAMESPACE, OFF_LABEL, Overlay, POOLS, config_map},
};
use crate::{
    ipamd::{IpamdConfig, Owner},
    kubelet::RACK_LABEL,
    node::create,
    process::run,
    product::Product,
    wait::{Pending, wait_until},
};

/// The first last byte that Pods get. Nodes have those before, outside hosts those from 240.
const FIRST: u8 = 60;

/// How many addresses a node's Pods share, per network; five nodes in a rack have room.
const SHARE: u8 = 36;

/// How many nodes of a rack have addresses for Pods.
pub const NODES_PER_RACK: u8 = 5;

/// A `DaemonSet`'s Pod that may not stay is deleted at once, and ends within its grace period.
const LEAVE_DEADLINE: Duration = Duration::from_secs(120);

impl Cluster {
    /// What `ipamd.toml` says: pools of every node of the cluster.
    ///
    /// # Errors
    /// A node is not known.
    pub fn pools(&self) -> Result<String> {
        let mut text = format!("[kubernetes]\nrack_label = \"{RACK_LABEL}\"\n");
        for (name, member) in &self.members {
            let node = find(&self.world, name)?;
            let first = FIRST + member.share * SHARE;
            IpamdConfig::of(node)
                .range(first, first + SHARE - 1)
                .write_pools(&mut text, Owner::Node);
        }
        // A Pod with an ordinal keeps its addresses for ever.
        let _ = write!(
            text,
            "\n[[rule]]\nnamespace = \"*\"\npod = \"*-[0-9]*\"\nhold = \"forever\"\n"
        );
        Ok(text)
    }

    /// Changes `ipamd.toml` for all nodes, as `kubectl edit` would; each reads it when its kubelet has brought it, some seconds later.
    ///
    /// # Errors
    /// The API server refused.
    pub fn set_pools(&self, toml: &str) -> Result<()> {
        let (name, _) = POOLS;
        let patch = config_map(POOLS, toml).to_string();
        let words = ["patch", "configmap", name, "--namespace", NAMESPACE];
        let mut all = words.to_vec();
        all.extend(["--type=merge", "--patch", &patch]);
        self.kubectl(&all).map(|_| ())
    }

    /// Takes Berth's Pods off a node, or lets them come back. What they have put on the node stays.
    ///
    /// # Errors
    /// There is no such node, the API server refused, or they do not go or come.
    pub fn set_berth(&mut self, name: &str, on: bool) -> Result<()> {
        let label = if on {
            format!("{OFF_LABEL}-")
        } else {
            format!("{OFF_LABEL}=true")
        };
        self.kubectl(&["label", "node", name, "--overwrite", &label])?;
        self.member(name)?.berth = on;
        if on {
            for daemon in [Daemon::Ipamd, Daemon::Agent] {
                self.start_daemon(name, daemon)?;
            }
            return Ok(());
        }
        let node = find(&self.world, name)?;
        let programs = [Daemon::Ipamd, Daemon::Agent].map(|it| it.contained().unwrap_or_default());
        wait_until("the end of Berth's Pods", LEAVE_DEADLINE, || match programs
            .iter()
            .find(|it| Contained::find(node, it).is_some())
        {
            Some(program) => Err(Pending::because(format!("{program} runs"))),
            None => Ok(()),
        })
    }

    /// Puts the images of an archive into every node that is on: another version of Berth, for an upgrade.
    ///
    /// # Errors
    /// One does not take it.
    pub fn load_images(&self, archive: &Path) -> Result<()> {
        for (name, member) in &self.members {
            let node = find(&self.world, name)?;
            if node.is_on() {
                node.load_images(&member.runtime, archive)?;
            }
        }
        Ok(())
    }

    /// The operator's command on a node: `berth-ipamd ARGS…`, the program that runs there.
    ///
    /// # Errors
    /// There is no such node, or the daemon does not run. How the command ended is in the output.
    pub fn ipamd_command(&self, name: &str, args: &[&str]) -> Result<crate::Output> {
        let node = find(&self.world, name)?;
        let daemon = Contained::find(node, "berth-ipamd");
        let daemon = daemon.with_context(|| format!("berth-ipamd does not run on {name}"))?;
        let program = daemon.program(node)?;
        let words: Vec<&str> = std::iter::once(&*program)
            .chain(args.iter().copied())
            .collect();
        node.exec(&words)
    }

    /// The folder of the overlay that Berth was installed by: for `kubectl apply -k` and `delete -k`.
    pub fn overlay(&self) -> PathBuf {
        self.world.dir().join("overlay")
    }

    /// Writes the overlay and applies it.
    pub(super) fn install(&self, product: &Product) -> Result<()> {
        let folder = self.overlay();
        create(&folder)?;
        let mut copy = Command::new("cp");
        copy.arg("-rLT")
            .arg(product.manifests())
            .arg(folder.join(BASE));
        run(copy, b"")?.ok()?;
        let overlay = Overlay {
            pools: &self.pools()?,
            kube_proxy: self.kube_proxy,
        };
        let file = folder.join("kustomization.yaml");
        fs::write(&file, format!("{:#}", overlay.kustomization()))
            .with_context(|| format!("write {}", file.display()))?;
        let folder = folder.to_string_lossy();
        self.kubectl(&["apply", "--kustomize", &folder])
            .context("install Berth")
            .map(|_| ())
    }

    /// What keeps Berth on a node from working; nothing where all of it runs and serves, or where none is expected.
    pub(super) fn berth_trouble(&self, name: &str) -> Option<String> {
        let member = self.members.get(name)?;
        if self.product.is_none() || !member.berth {
            return None;
        }
        let node = find(&self.world, name).ok()?;
        let away = [Daemon::Ipamd, Daemon::Agent].into_iter().find(|daemon| {
            let program = daemon.contained().unwrap_or_default();
            Contained::find(node, program).is_none()
        });
        if let Some(daemon) = away {
            return Some(format!("{} does not run", daemon.name()));
        }
        match self.ipamd_command(name, &["status"]) {
            Ok(said) if said.success() => None,
            Ok(said) => Some(said.stdout + &said.stderr),
            Err(error) => Some(format!("{error:#}")),
        }
    }

    pub(super) fn ensure_berth(&self, daemon: Daemon) -> Result<()> {
        if self.product.is_none() && daemon.contained().is_some() {
            bail!(
                "{} is not here: the cluster was made without Berth",
                daemon.name()
            );
        }
        Ok(())
    }
}
