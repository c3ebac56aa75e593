//! What is looked at of the machine itself: disks, memory, limits, processes, the kernel's log, reboots.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipamd_daemon::Tasks;
use tokio::sync::mpsc;

use super::keeper::Notice;
use super::signals::{
    disk_write, kernel_log, limits, memory, mounts, pressure, processes, reboots, space,
    spawn_source,
};
use crate::roots::Roots;

/// What is looked at of the machine.
#[derive(Clone, Debug, Args)]
pub(crate) struct MachineArgs {
    /// Folders of the node whose file systems must take writes and have room, separated by commas; one that is not there is left
    /// out. That / is mounted read-only is no fault
    #[arg(
        long,
        value_name = "FOLDERS",
        value_delimiter = ',',
        value_parser = folder,
        default_value = "/,/var/lib/kubelet,/var/lib/containerd,/var/lib/berth",
        env = "BERTH_AGENT_WATCHED_FOLDERS"
    )]
    watched_folders: Vec<PathBuf>,

    /// How long a line of the kernel's log counts; default: by what it tells of, 5 min to 24 h
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = humantime::parse_duration,
        env = "BERTH_AGENT_KERNEL_LOG_SPAN"
    )]
    kernel_log_span: Option<Duration>,
}

fn folder(text: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        return Ok(path);
    }
    Err("it must begin with /, as the node sees it")
}

/// Starts to look at the machine.
pub(super) fn spawn_machine(
    tasks: &Tasks,
    args: &MachineArgs,
    roots: &Roots,
    boot_id: &str,
    notices: &mpsc::Sender<Notice>,
) {
    let notices = || notices.clone();
    let (proc, folders) = (&roots.proc, || args.watched_folders.clone());
    let log = kernel_log::Source::new(roots.kmsg.clone(), proc, args.kernel_log_span);
    let boots = reboots::Source::new(roots.state.clone(), proc, boot_id.to_owned());
    spawn_source(
        tasks,
        disk_write::Source::new(roots.state.clone()),
        notices(),
    );
    spawn_source(tasks, mounts::Source::new(proc, folders()), notices());
    spawn_source(tasks, space::Source::new(&roots.root, folders()), notices());
    spawn_source(tasks, pressure::Source::new(proc, &roots.sys), notices());
    spawn_source(tasks, memory::Source::new(proc.clone()), notices());
    spawn_source(tasks, limits::Source::new(proc.clone()), notices());
    spawn_source(tasks, processes::Source::new(proc.clone()), notices());
    spawn_source(tasks, log, notices());
    spawn_source(tasks, boots, notices());
}
