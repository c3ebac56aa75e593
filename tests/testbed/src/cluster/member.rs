//! The daemons of one node of a cluster: which there are, how each is started, killed and looked at.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::{
    containerd::Containerd, control_plane::ControlPlane, ipamd::Ipamd, node::Node,
    process::Process, programs::Runtime,
};

/// kubelet and containerd end in less; nothing on a node has more to finish.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// A daemon of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// The container runtime; its containers live on without it.
    Containerd,
    /// Berth's address daemon.
    Ipamd,
    /// Kubernetes' node agent.
    Kubelet,
    /// Services.
    KubeProxy,
}

impl Daemon {
    /// All, in the order in which they start.
    pub const ALL: [Self; 4] = [
        Self::Containerd,
        Self::Ipamd,
        Self::Kubelet,
        Self::KubeProxy,
    ];

    /// Its name, also that of its log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Ipamd => "ipamd",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
        }
    }
}

/// What runs on a node.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) runtime: Runtime,
    /// Which part of its rack's addresses are its Pods'.
    pub(crate) share: u8,
    pub(crate) containerd: Option<Containerd>,
    pub(crate) ipamd: Option<Ipamd>,
    pub(crate) kubelet: Option<Process>,
    pub(crate) kube_proxy: Option<Process>,
}

impl Member {
    pub(crate) fn new(runtime: Runtime, share: u8) -> Self {
        Self {
            runtime,
            share,
            containerd: None,
            ipamd: None,
            kubelet: None,
            kube_proxy: None,
        }
    }

    pub(crate) fn process(&mut self, daemon: Daemon) -> Option<&mut Process> {
        match daemon {
            Daemon::Containerd => self.containerd.as_deref_mut(),
            Daemon::Ipamd => self.ipamd.as_deref_mut(),
            Daemon::Kubelet => self.kubelet.as_mut(),
            Daemon::KubeProxy => self.kube_proxy.as_mut(),
        }
    }

    pub(crate) fn is_running(&mut self, daemon: Daemon) -> bool {
        self.process(daemon).is_some_and(Process::is_running)
    }

    pub(crate) fn signal(&mut self, daemon: Daemon, signal: Signal) -> Result<()> {
        let process = self.process(daemon);
        process
            .with_context(|| format!("{} does not run", daemon.name()))?
            .signal(signal)
    }

    pub(crate) fn kill(&mut self, daemon: Daemon) -> Result<()> {
        self.process(daemon).map_or(Ok(()), Process::kill)
    }

    pub(crate) fn stop(&mut self, daemon: Daemon) -> Result<()> {
        self.process(daemon).map_or(Ok(()), |process| {
            process.terminate(STOP_DEADLINE).map(|_| ())
        })
    }

    /// The machine is gone, and every process with it.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.runtime.clone(), self.share);
    }

    /// Starts containerd, and Berth's daemon where there is one: what a node does before it knows the API server.
    pub(crate) fn start_runtime(&mut self, node: &Node, berth: bool) -> Result<()> {
        node.prepare_for_kubernetes()?;
        if berth {
            self.start_berth(node)?;
        }
        self.containerd = Some(node.start_runtime(&self.runtime)?);
        if berth {
            self.serve_berth(node)?;
        }
        Ok(())
    }

    /// Starts kubelet and kube-proxy.
    pub(crate) fn start_kubernetes(
        &mut self,
        node: &Node,
        control_plane: &ControlPlane,
    ) -> Result<()> {
        node.enlist(control_plane)?;
        self.kubelet = Some(node.start_kubelet(control_plane)?);
        self.kube_proxy = Some(node.start_kube_proxy(control_plane)?);
        Ok(())
    }

    /// Starts a daemon that does not run, with the configuration that is there.
    pub(crate) fn start(
        &mut self,
        daemon: Daemon,
        node: &Node,
        control_plane: &ControlPlane,
    ) -> Result<()> {
        if self.is_running(daemon) {
            return Ok(());
        }
        match daemon {
            Daemon::Containerd => self.containerd = Some(node.start_runtime(&self.runtime)?),
            Daemon::Ipamd => self.ipamd = Some(node.spawn_ipamd()?),
            Daemon::Kubelet => self.kubelet = Some(node.start_kubelet(control_plane)?),
            Daemon::KubeProxy => self.kube_proxy = Some(node.start_kube_proxy(control_plane)?),
        }
        Ok(())
    }

    pub(crate) fn kubelet_tail(&self) -> String {
        let tail = self.kubelet.as_ref().map(Process::log_tail);
        tail.unwrap_or_else(|| "it was not started".to_owned())
    }
}
