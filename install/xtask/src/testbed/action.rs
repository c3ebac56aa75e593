//! What can be done to a running cluster: the words for it, which are also what goes over the holder's socket.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use tests_testbed::{Cluster, Component, Daemon, Net, Runtime};

use super::RuntimeName;

/// Something that happens to a cluster.
#[derive(Clone, Debug, Subcommand, Serialize, Deserialize)]
pub(crate) enum Action {
    /// Power a node off without warning
    PowerOff {
        /// The node
        node: String,
    },
    /// Power a node on: new boot id
    PowerOn {
        /// The node
        node: String,
    },
    /// Power a node off and on, and wait until all nodes are Ready
    Reboot {
        /// The node
        node: String,
    },
    /// Kill a daemon of a node without warning; it stays away, but for Berth's, which kubelet starts again
    Kill {
        /// The node
        node: String,
        /// The daemon
        daemon: DaemonName,
    },
    /// Start a daemon that was killed; wait for one of Berth's
    Start {
        /// The node
        node: String,
        /// The daemon
        daemon: DaemonName,
    },
    /// End a daemon in an orderly way and start it again
    Restart {
        /// The node
        node: String,
        /// The daemon
        daemon: DaemonName,
    },
    /// Take Berth's Pods off a node, or let them come back
    Berth {
        /// The node
        node: String,
        /// Off or on
        state: State,
    },
    /// Take a NIC out of a node, or put it in; the node may be off
    Nic {
        /// The node
        node: String,
        /// The network it is for
        net: NetName,
        /// Out or in
        state: State,
    },
    /// Give a node's NIC another name, now and at each boot
    RenameNic {
        /// The node
        node: String,
        /// The network it is for
        net: NetName,
        /// The new name
        to: String,
    },
    /// Pull or plug a node's uplink
    Uplink {
        /// The node
        node: String,
        /// The network
        net: NetName,
        /// Pulled or plugged
        state: State,
    },
    /// Pull and plug a node's uplink some times
    Flap {
        /// The node
        node: String,
        /// The network
        net: NetName,
        /// How often
        #[arg(default_value_t = 10)]
        times: usize,
    },
    /// Make a rack's gateway silent (`down`), or let it answer again
    Gateway {
        /// The rack
        rack: String,
        /// The network
        net: NetName,
        /// Silent or answering
        state: State,
    },
    /// Cut a rack from everything else, or join it again
    Rack {
        /// The rack
        rack: String,
        /// Cut or joined
        state: State,
    },
    /// Cut a node from the API server only, or join it again
    ApiPath {
        /// The node
        node: String,
        /// Cut or joined
        state: State,
    },
    /// Stop the API server for everyone, or start it again
    ApiServer {
        /// Stopped or started
        state: State,
    },
    /// Kill one process of the control plane
    KillControl {
        /// The process
        component: ComponentName,
    },
    /// Start one process of the control plane
    StartControl {
        /// The process
        component: ComponentName,
    },
    /// Fill a node's disk to the last byte
    FillDisk {
        /// The node
        node: String,
    },
    /// Free a node's disk again
    FreeDisk {
        /// The node
        node: String,
    },
    /// Make a node's disk fail: read-only until its next boot
    BreakDisk {
        /// The node
        node: String,
    },
    /// Add a node
    AddNode {
        /// Its name
        node: String,
        /// Its rack
        rack: String,
        /// Its runtime
        #[arg(long, value_enum, default_value_t)]
        runtime: RuntimeName,
        /// Folder of containerd 2.x
        #[arg(skip)]
        programs: Option<PathBuf>,
    },
    /// Power a node off for good; its object and its disk go too
    RemoveNode {
        /// The node
        node: String,
    },
    /// Write a line into a node's kernel log, in the form of /dev/kmsg
    KernelLog {
        /// The node
        node: String,
        /// The line
        line: String,
    },
}

/// A state and its opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum State {
    /// It works
    Up,
    /// It does not
    Down,
}

/// A daemon of a node.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
pub(crate) enum DaemonName {
    /// The container runtime
    Containerd,
    /// Kubernetes' node agent
    Kubelet,
    /// Services
    KubeProxy,
    /// Berth's address daemon
    Ipamd,
    /// Berth's node agent
    Agent,
    /// Berth's controllers, on the first node
    Controllers,
}

/// A network.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
pub(crate) enum NetName {
    /// With the default route
    External,
    /// The other one
    Internal,
}

/// A process of the control plane.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
pub(crate) enum ComponentName {
    /// The store
    Etcd,
    /// The API server
    ApiServer,
    /// Kubernetes' own controllers
    Controllers,
    /// The scheduler
    Scheduler,
}

impl Action {
    /// Names the programs that it needs and that the holder may not have.
    pub(crate) fn provide(&mut self, containerd: impl FnOnce() -> Result<PathBuf>) -> Result<()> {
        if let Self::AddNode {
            runtime: RuntimeName::Containerd2,
            programs,
            ..
        } = self
        {
            *programs = Some(containerd()?);
        }
        Ok(())
    }

    /// Does it; what to tell the person.
    pub(crate) fn perform(&self, cluster: &mut Cluster) -> Result<String> {
        match self {
            Self::PowerOff { node } => cluster.power_off(node)?,
            Self::PowerOn { node } => cluster.power_on(node)?,
            Self::Reboot { node } => {
                cluster.reboot(node)?;
                cluster.wait_nodes()?;
            }
            Self::Kill { node, daemon } => cluster.kill_daemon(node, daemon.real())?,
            Self::Start { node, daemon } => cluster.start_daemon(node, daemon.real())?,
            Self::Restart { node, daemon } => cluster.restart_daemon(node, daemon.real())?,
            Self::Berth { node, state } => cluster.set_berth(node, state.is_up())?,
            Self::Nic { node, net, state } => cluster.set_nic(node, net.real(), state.is_up())?,
            Self::RenameNic { node, net, to } => cluster.rename_nic(node, net.real(), to)?,
            Self::Uplink { node, net, state } => {
                cluster.set_uplink(node, net.real(), state.is_up())?;
            }
            Self::Flap { node, net, times } => cluster.flap_uplink(node, net.real(), *times)?,
            Self::Gateway { rack, net, state } => {
                cluster.set_gateway(rack, net.real(), state.is_up())?;
            }
            Self::Rack { rack, state } => cluster.set_rack_link(rack, state.is_up())?,
            Self::ApiPath { node, state } => cluster.set_api_path(node, state.is_up())?,
            Self::ApiServer { state } => cluster.set_api_server(state.is_up())?,
            Self::KillControl { component } => cluster.control_plane().kill(component.real())?,
            Self::StartControl { component } => {
                cluster.control_plane().start_component(component.real())?;
            }
            Self::FillDisk { node } => cluster.set_disk_full(node, true)?,
            Self::FreeDisk { node } => cluster.set_disk_full(node, false)?,
            Self::BreakDisk { node } => cluster.break_disk(node)?,
            Self::AddNode {
                node,
                rack,
                runtime: _,
                programs,
            } => {
                let runtime = match programs {
                    Some(folder) => Runtime::module(folder.clone())?,
                    None => Runtime::Debian,
                };
                cluster.add_node(node, rack, runtime)?;
                cluster.wait_nodes()?;
            }
            Self::RemoveNode { node } => cluster.remove_node(node)?,
            Self::KernelLog { node, line } => cluster.write_kernel_log(node, line)?,
        }
        Ok("done".to_owned())
    }
}

impl RuntimeName {
    /// The runtime of this name; its programs are where the holder's environment says.
    pub(crate) fn real(self) -> Result<Runtime> {
        match self {
            Self::Containerd2 => Runtime::module_from_environment(),
            Self::Containerd16 => Ok(Runtime::Debian),
        }
    }
}

impl State {
    fn is_up(self) -> bool {
        self == Self::Up
    }
}

impl DaemonName {
    fn real(self) -> Daemon {
        match self {
            Self::Containerd => Daemon::Containerd,
            Self::Ipamd => Daemon::Ipamd,
            Self::Agent => Daemon::Agent,
            Self::Controllers => Daemon::Controllers,
            Self::Kubelet => Daemon::Kubelet,
            Self::KubeProxy => Daemon::KubeProxy,
        }
    }
}

impl NetName {
    fn real(self) -> Net {
        match self {
            Self::External => Net::External,
            Self::Internal => Net::Internal,
        }
    }
}

impl ComponentName {
    fn real(self) -> Component {
        match self {
            Self::Etcd => Component::Etcd,
            Self::ApiServer => Component::ApiServer,
            Self::Controllers => Component::Controllers,
            Self::Scheduler => Component::Scheduler,
        }
    }
}
