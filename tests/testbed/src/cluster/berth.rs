//! Berth in a cluster, as an operator installs it: an image on the nodes, and `kubectl apply -k` of an overlay over the project's manifests.
//!
//! What is done here an operator could do: by manifests, labels, commands. Never by a file that the testbed puts on a node.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    Cluster,
    build::find,
    contained::{Contained, Program},
    member::Daemon,
    overlay::{BASE, OFF_LABEL, Overlay, REPLACE},
};
use crate::{
    binaries,
    node::{Node, create},
    process::{Output, run},
    product::Product,
    wait::{Pending, wait_until},
};

/// A `DaemonSet`'s Pod that may not stay is deleted at once, and ends within its grace period.
const LEAVE_DEADLINE: Duration = Duration::from_secs(120);

impl Cluster {
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
        // The controllers have a label of their own.
        let daemons = [Daemon::Ipamd, Daemon::Agent];
        if on {
            for daemon in daemons {
                self.start_daemon(name, daemon)?;
            }
            return Ok(());
        }
        let node = find(&self.world, name)?;
        wait_until("the end of Berth's Pods", LEAVE_DEADLINE, || {
            let mut running = daemons.iter().filter(|it| is_there(node, **it));
            match running.next() {
                Some(daemon) => Err(Pending::because(format!("{} runs", daemon.name()))),
                None => Ok(()),
            }
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
    pub fn ipamd_command(&self, name: &str, args: &[&str]) -> Result<Output> {
        let node = find(&self.world, name)?;
        let daemon = Contained::find(node, Program::IPAMD);
        let daemon = daemon.with_context(|| format!("berth-ipamd does not run on {name}"))?;
        let program = daemon.program(node)?;
        let words: Vec<&str> = std::iter::once(&*program)
            .chain(args.iter().copied())
            .collect();
        node.exec(&words)
    }

    /// An operator's `kubectl berth ARGS…`, as administrator. How it ended is in the output.
    ///
    /// # Errors
    /// The program is missing or could not be started.
    pub fn kubectl_berth(&self, args: &[&str]) -> Result<Output> {
        let program = binaries::binary("kubectl-berth")?;
        let mut command = self.control_plane.machine().command(program);
        command
            .args(args)
            .env("KUBECONFIG", self.control_plane.kubeconfig());
        run(command, b"")
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
        if !self.control_plane.has_lifecycle() {
            let mut copy = Command::new("cp");
            copy.arg("-rLT")
                .arg(product.manifests().join("../overlays").join(REPLACE))
                .arg(folder.join(REPLACE));
            run(copy, b"")?.ok()?;
        }
        let overlay = Overlay {
            pools: &self.pools()?,
            agent_settings: &self.agent_settings,
            kube_proxy: self.kube_proxy,
            upstream_lifecycle: self.control_plane.has_lifecycle(),
        };
        let file = folder.join("kustomization.yaml");
        fs::write(&file, format!("{:#}", overlay.kustomization()))
            .with_context(|| format!("write {}", file.display()))?;
        let folder = folder.to_string_lossy();
        self.kubectl(&["apply", "--kustomize", &folder])
            .context("install Berth")?;
        self.install_pools()
    }

    /// What keeps Berth on a node from working; nothing where all of it runs and serves, or where none is expected.
    pub(super) fn berth_trouble(&self, name: &str) -> Option<String> {
        let member = self.members.get(name)?;
        if self.product.is_none() || !member.berth {
            return None;
        }
        let node = find(&self.world, name).ok()?;
        let daemons = self.berth_daemons(name);
        let away = daemons.into_iter().find(|daemon| !is_there(node, *daemon));
        if let Some(daemon) = away {
            return Some(format!("{} does not run", daemon.name()));
        }
        match self.ipamd_command(name, &["status"]) {
            Ok(said) if said.success() => None,
            Ok(said) => Some(said.stdout + &said.stderr),
            Err(error) => Some(format!("{error:#}")),
        }
    }

    /// Which of Berth's daemons a node has when it has any.
    fn berth_daemons(&self, name: &str) -> Vec<Daemon> {
        let mut daemons = vec![Daemon::Ipamd, Daemon::Agent];
        let member = self.members.get(name);
        if member.is_some_and(|it| it.controllers) {
            daemons.push(Daemon::Controllers);
        }
        daemons
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

fn is_there(node: &Node, daemon: Daemon) -> bool {
    let program = daemon.contained();
    program.is_some_and(|program| Contained::find(node, program).is_some())
}
