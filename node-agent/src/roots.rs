//! Where this node's things are seen from the process: its own paths by default, what is mounted for it in a container.
//!
//! Nothing else in the agent names an absolute path of the node.

use std::path::PathBuf;

use clap::Args;

/// Where this node's things are.
#[derive(Clone, Debug, Args)]
pub(crate) struct Roots {
    /// The node's /proc
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/proc",
        env = "BERTH_AGENT_PROC"
    )]
    pub(crate) proc: PathBuf,

    /// The node's /sys
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/sys",
        env = "BERTH_AGENT_SYS"
    )]
    pub(crate) sys: PathBuf,

    /// The kernel's log, in the format of /dev/kmsg
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/dev/kmsg",
        env = "BERTH_AGENT_KMSG"
    )]
    pub(crate) kmsg: PathBuf,

    /// The node's file tree
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/",
        env = "BERTH_AGENT_ROOT"
    )]
    pub(crate) root: PathBuf,

    /// Socket of the container runtime
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/containerd/containerd.sock",
        env = "BERTH_AGENT_RUNTIME"
    )]
    pub(crate) runtime: PathBuf,

    /// Where the agent keeps what must survive it
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/var/lib/berth/agent",
        env = "BERTH_AGENT_STATE"
    )]
    pub(crate) state: PathBuf,
}
