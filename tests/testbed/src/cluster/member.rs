//! The daemons of one node of a cluster: which there are, how each is started, killed and looked at.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::contained::{Contained, Program};
use crate::{
    containerd::Containerd, control_plane::ControlPlane, node::Node, process::Process,
    programs::Runtime,
};

/// kubelet and containerd end in less; nothing on a node has more to finish.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// A daemon of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// The container runtime; its containers live on without it.
    Containerd,
    /// Kubernetes' node agent.
    Kubelet,
    /// Services.
    KubeProxy,
    /// Berth's address daemon, in a container: kubelet starts it again.
    Ipamd,
    /// Berth's node agent, in a container too.
    Agent,
    /// Berth's controllers, on nodes with the label for them.
    Controllers,
}

impl Daemon {
    /// All that every node has, in the order in which they start.
    pub const ALL: [Self; 5] = [
        Self::Containerd,
        Self::Kubelet,
        Self::KubeProxy,
        Self::Ipamd,
        Self::Agent,
    ];

    /// Its name: that of its log, or of its container.
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::Ipamd => "ipamd",
            Self::Agent => "agent",
            Self::Controllers => "controllers",
        }
    }

    /// The program of a daemon that runs in a container.
    pub(crate) fn contained(self) -> Option<Program> {
        match self {
            Self::Ipamd => Some(Program::IPAMD),
            Self::Agent => Some(Program::AGENT),
            Self::Controllers => Some(Program::CONTROLLERS),
            Self::Containerd | Self::Kubelet | Self::KubeProxy => None,
        }
    }
}

/// What runs on a node.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) runtime: Runtime,
    /// Which part of its rack's addresses are its Pods'.
    pub(crate) share: u8,
    /// Whether it has Pods of Berth's `DaemonSets`.
    pub(crate) berth: bool,
    /// Whether it has the controllers too.
    pub(crate) controllers: bool,
    containerd: Option<Containerd>,
    kubelet: Option<Process>,
    kube_proxy: Option<Process>,
}

impl Member {
    pub(crate) fn new(runtime: Runtime, share: u8) -> Self {
        Self {
            runtime,
            share,
            berth: true,
            controllers: false,
            containerd: None,
            kubelet: None,
            kube_proxy: None,
        }
    }

    /// A daemon that is a process of the testbed.
    pub(crate) fn process(&mut self, daemon: Daemon) -> Option<&mut Process> {
        match daemon {
            Daemon::Containerd => self.containerd.as_deref_mut(),
            Daemon::Kubelet => self.kubelet.as_mut(),
            Daemon::KubeProxy => self.kube_proxy.as_mut(),
            Daemon::Ipamd | Daemon::Agent | Daemon::Controllers => None,
        }
    }

    pub(crate) fn is_running(&mut self, daemon: Daemon, node: &Node) -> bool {
        match daemon.contained() {
            Some(program) => Contained::find(node, program).is_some(),
            None => self.process(daemon).is_some_and(Process::is_running),
        }
    }

    /// The folder of a daemon of Berth's in the node's `/proc`.
    pub(crate) fn folder(daemon: Daemon, node: &Node) -> Result<PathBuf> {
        let program = daemon.contained();
        let program = program.with_context(|| format!("{} is none of Berth's", daemon.name()))?;
        let found = Contained::find(node, program);
        let found = found.with_context(|| format!("{} does not run", daemon.name()))?;
        Ok(found.folder())
    }

    pub(crate) fn signal(&mut self, daemon: Daemon, node: &Node, signal: Signal) -> Result<()> {
        let away = || format!("{} does not run", daemon.name());
        match daemon.contained() {
            Some(program) => Contained::find(node, program)
                .with_context(away)?
                .signal(node, signal),
            None => self.process(daemon).with_context(away)?.signal(signal),
        }
    }

    pub(crate) fn kill(&mut self, daemon: Daemon, node: &Node) -> Result<()> {
        match daemon.contained() {
            Some(program) => Contained::find(node, program)
                .map_or(Ok(()), |process| process.end(node, Signal::SIGKILL)),
            None => self.process(daemon).map_or(Ok(()), Process::kill),
        }
    }

    pub(crate) fn stop(&mut self, daemon: Daemon, node: &Node) -> Result<()> {
        match daemon.contained() {
            Some(program) => Contained::find(node, program)
                .map_or(Ok(()), |process| process.end(node, Signal::SIGTERM)),
            None => self.process(daemon).map_or(Ok(()), |process| {
                process.terminate(STOP_DEADLINE).map(|_| ())
            }),
        }
    }

    /// The machine is gone, and every process with it.
    pub(crate) fn forget(&mut self) {
        self.containerd = None;
        self.kubelet = None;
        self.kube_proxy = None;
    }

    /// Starts containerd: what a node does before it knows the API server.
    pub(crate) fn start_runtime(&mut self, node: &Node) -> Result<()> {
        node.prepare_for_kubernetes()?;
        self.containerd = Some(node.start_runtime(&self.runtime)?);
        Ok(())
    }

    /// Starts kubelet, and kube-proxy where the cluster has it.
    pub(crate) fn start_kubernetes(
        &mut self,
        node: &Node,
        control_plane: &ControlPlane,
        kube_proxy: bool,
    ) -> Result<()> {
        node.enlist(control_plane)?;
        self.kubelet = Some(node.start_kubelet(control_plane)?);
        if kube_proxy {
            self.kube_proxy = Some(node.start_kube_proxy(control_plane)?);
        }
        Ok(())
    }

    /// Starts a daemon that does not run, with the configuration that is there; waits for one that kubelet starts.
    pub(crate) fn start(
        &mut self,
        daemon: Daemon,
        node: &Node,
        control_plane: &ControlPlane,
    ) -> Result<()> {
        if self.is_running(daemon, node) {
            return Ok(());
        }
        match daemon {
            Daemon::Containerd => self.containerd = Some(node.start_runtime(&self.runtime)?),
            Daemon::Kubelet => self.kubelet = Some(node.start_kubelet(control_plane)?),
            Daemon::KubeProxy => self.kube_proxy = Some(node.start_kube_proxy(control_plane)?),
            Daemon::Ipamd | Daemon::Agent | Daemon::Controllers => {
                let program = daemon.contained();
                program.map_or(Ok(()), |it| Contained::wait(node, it).map(drop))?;
            }
        }
        Ok(())
    }

    pub(crate) fn kubelet_tail(&self) -> String {
        let tail = self.kubelet.as_ref().map(Process::log_tail);
        tail.unwrap_or_else(|| "it was not started".to_owned())
    }
}
