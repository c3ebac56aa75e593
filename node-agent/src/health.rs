//! How this node is: looks at it, judges by rules of set, clear and time to live, and reports.
//!
//! One task owns the judgement ([`board`]); each source of signals has a task that looks and tells it; one task writes
//! what is judged to the API ([`report`] decides when). What is not seen in time is unknown, never fine. Nothing is done
//! about what is found.

mod area;
mod aside;
mod assess;
mod board;
mod course;
mod daemons;
mod events;
mod keeper;
mod lease;
mod machine;
mod moment;
mod network;
mod node_status;
mod outbox;
mod pace;
mod processors;
mod report;
mod reporter;
mod rooted;
mod signal;
mod signals;
mod tracker;
mod underlay;
mod window;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use ipamd_daemon::Tasks;
use ipamd_daemon::readiness::Readiness;
use node_agent_cri::Runtime;
use tokio::sync::{mpsc, watch};
use tracing::info;

pub(crate) use self::moment::Moment;
pub(crate) use self::report::Chance;
#[cfg(test)]
pub(crate) use self::signal::Trouble;
pub(crate) use self::signal::{Finding, Signal, Verdict};
pub(crate) use self::writer::{Place, Writer};

use self::assess::TABLE;
use self::board::{Board, Origin, Report};
use self::daemons::{DaemonArgs, Daemons, spawn_daemons};
use self::events::{Events, spawn_events};
use self::keeper::spawn_keeper;
use self::lease::{Beats, spawn_lease};
use self::machine::{MachineArgs, spawn_machine};
use self::network::{NetworkArgs, spawn_network};
use self::node_status::{Conditions, spawn_conditions};
use self::processors::spawn_processors;
use self::reporter::{Reporter, spawn_reporter};
use self::signals::{ipamd, kubelet};
use crate::contact::Contact;
use crate::guard::Storms;
use crate::lost::{Lost, spawn_lost};
use crate::metrics::HealthMetrics;
use crate::peers::{Peers, PeersArgs, spawn_peers};
use crate::pods::Pods;
use crate::pulse::Pulse;
use crate::roots::Roots;

/// Looks that wait to be judged. Judging takes microseconds; more than a few waiting means that the process is starved.
const QUEUE: usize = 16;

/// What is looked at, and where.
#[derive(Clone, Debug, Args)]
pub(crate) struct HealthArgs {
    /// Socket of berth-ipamd
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/berth/ipamd.sock",
        env = "BERTH_AGENT_IPAMD_SOCKET"
    )]
    pub(crate) ipamd_socket: PathBuf,

    /// Where kubelet says whether it is well
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:10248/healthz",
        env = "BERTH_AGENT_KUBELET_HEALTHZ"
    )]
    pub(crate) kubelet_healthz: kubelet::HealthzUrl,

    /// Where the kernel names this boot
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/proc/sys/kernel/random/boot_id",
        env = "BERTH_AGENT_BOOT_ID_FILE"
    )]
    pub(crate) boot_id_file: PathBuf,

    #[command(flatten)]
    pub(crate) peers: PeersArgs,

    #[command(flatten)]
    pub(crate) daemons: DaemonArgs,

    #[command(flatten)]
    pub(crate) machine: MachineArgs,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// What the parts of health are made with.
pub(crate) struct Health {
    /// What is looked at.
    pub(crate) args: HealthArgs,
    /// Where this node's things are.
    pub(crate) roots: Roots,
    /// The boot.
    pub(crate) boot_id: String,
    /// The node's name.
    pub(crate) node: String,
    /// How reports are written.
    pub(crate) writer: Writer,
    /// What is counted.
    pub(crate) metrics: HealthMetrics,
    /// Follows the reports.
    pub(crate) readiness: Arc<Readiness>,
    /// The node's Pods.
    pub(crate) watched: Watched,
    /// Beats while signals are judged.
    pub(crate) pulse: Pulse,
}

/// The node's Pods, as they are told.
pub(crate) struct Watched {
    /// They.
    pub(crate) pods: Pods,
    /// Storms of Pods that end.
    pub(crate) storms: Storms,
    /// Told when the API server is heard.
    pub(crate) contact: Contact,
}

/// Starts to look, to judge and to report.
pub(crate) fn spawn_health(tasks: &Tasks, health: Health) {
    let (notices, heard) = mpsc::channel(QUEUE);
    let roots = health.roots;
    tell_roots(&roots);
    let origin = Origin {
        boot_id: health.boot_id,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let board = Board::new(TABLE, Moment::now());
    let writer = Arc::new(health.writer);
    let peers = Peers {
        args: health.args.peers,
        node: health.node.clone(),
        boot_id: origin.boot_id.clone(),
        state: roots.state.clone(),
        writer: Arc::clone(&writer),
        metrics: health.metrics.peers.clone(),
    };
    let ways = spawn_peers(tasks, peers);
    let (metrics, pulse) = (health.metrics.clone(), health.pulse.clone());
    let besides = (ways, spawn_processors(tasks, roots.proc.clone()));
    let reports = spawn_keeper(tasks, board, heard, metrics, pulse, besides);
    let (machine, boot_id) = (&health.args.machine, &origin.boot_id);
    spawn_machine(tasks, machine, &roots, boot_id, &notices);
    let (metrics, pulse) = (&health.metrics, health.pulse);
    let alive = (pulse, health.watched.contact);
    spawn_tellers(tasks, &writer, &reports, metrics, alive, &roots.state);
    let gateways = spawn_network(tasks, health.args.network, &roots, &health.node, &notices);
    let daemons = Daemons {
        args: &health.args.daemons,
        roots: &roots,
        boot_id: origin.boot_id.clone(),
        client: writer.client(),
        node: health.node.clone(),
        pods: health.watched.pods,
        storms: health.watched.storms,
        metrics: &health.metrics,
    };
    spawn_daemons(tasks, daemons, &notices);
    let lost = spawn_lost_addresses(tasks, &roots);
    let ipamd = ipamd::Source {
        socket: health.args.ipamd_socket,
        node: health.node,
        lost,
        gateways,
    };
    signals::spawn_source(tasks, ipamd, notices.clone());
    let kubelet = kubelet::Source {
        healthz: health.args.kubelet_healthz,
    };
    signals::spawn_source(tasks, kubelet, notices.clone());
    let reporter = Reporter {
        writer,
        origin,
        reports,
        notices,
        metrics: health.metrics,
        readiness: health.readiness,
    };
    spawn_reporter(tasks, reporter);
}

/// Starts what acts on addresses that were lost to others; who says which.
fn spawn_lost_addresses(tasks: &Tasks, roots: &Roots) -> watch::Sender<Vec<Lost>> {
    let (told, lost) = watch::channel(Vec::new());
    spawn_lost(tasks, Runtime::new(roots.runtime.clone()), lost);
    told
}

fn tell_roots(roots: &Roots) {
    info!(
        proc = %roots.proc.display(),
        sys = %roots.sys.display(),
        kmsg = %roots.kmsg.display(),
        root = %roots.root.display(),
        runtime = %roots.runtime.display(),
        state = %roots.state.display(),
        "looking at this node"
    );
}

/// Starts what tells besides the report: conditions of the Node, Events, the Lease.
fn spawn_tellers(
    tasks: &Tasks,
    writer: &Arc<Writer>,
    reports: &watch::Receiver<Report>,
    metrics: &HealthMetrics,
    (pulse, contact): (Pulse, Contact),
    state: &Path,
) {
    let place = writer.place();
    let conditions = Conditions {
        client: writer.client(),
        node: place.node.clone(),
        reports: reports.clone(),
        metrics: metrics.clone(),
    };
    spawn_conditions(tasks, conditions);
    let events = Events {
        client: writer.client(),
        writer: Arc::clone(writer),
        node: place.node.clone(),
        reports: reports.clone(),
        metrics: metrics.clone(),
    };
    spawn_events(tasks, events, state);
    let beats = Beats {
        client: writer.client(),
        writer: Arc::clone(writer),
        place: place.clone(),
        pulse,
        contact,
        metrics: metrics.clone(),
    };
    spawn_lease(tasks, beats);
}
