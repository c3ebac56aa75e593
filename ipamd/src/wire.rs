//! Watches the wire: asks ahead of time whether free and held addresses are really unused, and hears at once when a
//! foreign host claims an address of ours.
//!
//! Owns one ARP and one ND socket for each segment of this node. Always: memory and the rate of questions are bounded,
//! whatever is on the wire; only the ledger decides whether a claim is foreign; silence counts only while the segment
//! has a way out. Never: an answer to anybody, a change of an interface, a claim in a Pod's name.
//!
//! A probe of somebody else's (RFC 5227, RFC 4862) is no claim: other nodes' daemons probe the same addresses.

mod assess;
mod claims;
mod handle;
mod metrics;
mod rate;
mod schedule;
mod segments;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use ipamd_core::ValidSettings;
use ipamd_daemon::Tasks;
use ipnet::IpNet;
use proto_ids::NetworkName;
use tokio::sync::watch as state;

pub(crate) use handle::WireHandle;
pub(crate) use metrics::WireMetrics;

use crate::ledger::LedgerHandle;

/// How the wire is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireSettings {
    /// Questions per second on one segment, at most.
    pub(crate) probes_per_second: u32,
    /// How many of the addresses to be handed out next are known to be unused, for each pool.
    pub(crate) ahead: usize,
    /// Time until an address that nobody answered for is asked for again.
    pub(crate) probe_again: Duration,
    /// Time without a sign of a foreign host after which its conflict is over.
    pub(crate) silence: Duration,
}

impl Default for WireSettings {
    fn default() -> Self {
        Self {
            // A hundredth of what a switch's control plane is commonly policed to for a whole port.
            probes_per_second: 50,
            // Some nodes' worth of Pods started at once.
            ahead: 64,
            probe_again: Duration::from_secs(3 * 60),
            silence: Duration::from_secs(10 * 60),
        }
    }
}

/// A subnet of a pool whose addresses are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    /// The pool's network.
    pub(crate) network: NetworkName,
    /// The pool's subnet.
    pub(crate) subnet: IpNet,
}

impl Guard {
    /// The subnets of this rack's pools that want the wire watched.
    pub(crate) fn of(settings: &ValidSettings) -> Arc<[Self]> {
        let settings = settings.settings();
        (settings.pools.iter())
            .filter(|pool| pool.probe && settings.uses(pool))
            .map(|pool| Self {
                network: pool.network.clone(),
                subnet: pool.subnet,
            })
            .collect()
    }
}

/// Starts to watch the wire, until the tasks are stopped.
pub(crate) fn spawn_wire(
    tasks: &Tasks,
    settings: &WireSettings,
    ledger: LedgerHandle,
    guards: state::Receiver<Arc<[Guard]>>,
    metrics: &WireMetrics,
) -> WireHandle {
    let (handle, named, searched) = WireHandle::new(guards.clone());
    let (sender, world) = state::channel(Arc::default());
    tasks.spawn("wire-segments", segments::run(tasks.token(), named, sender));
    let watchers = watch::Watchers {
        tasks: tasks.clone(),
        settings: settings.clone(),
        ledger,
        guards,
        world,
        searched,
        metrics: metrics.clone(),
    };
    tasks.spawn("wire", watchers.run());
    handle
}
