//! The cluster's controllers, hosted by the agents of a few nodes; one of them leads.
//!
//! Each looks at the world ([`World`](world::World), by watches), decides (pure), asks the API server again where an old view could do
//! harm, and writes. **Always holds:** nothing is written but under a [`Term`](term::Term), paced, at the version that was looked at; a
//! controller has no other way. Crashing at any step, or two leaders for a moment, leaves nothing half done that the next pass does
//! not finish.

mod cache;
mod claim;
mod duties;
mod election;
mod endpoints;
mod fleet;
mod follow;
mod heartbeats;
mod inplaceset;
mod lean;
mod lifecycle;
mod metrics;
mod mirror;
mod paced;
mod peer;
mod pool;
mod protection;
mod read;
mod reign;
mod term;
mod world;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use ipamd_daemon::Tasks;
use ipamd_daemon::readiness::Readiness;
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use claim::Claims;
use duties::Duties;
pub use duties::NodeCollector;
use election::Election;
use fleet::{FleetHandle, FleetWatch};
use heartbeats::{HeartbeatsHandle, HeartbeatsWatch};
use inplaceset::InPlaceSets;
use lifecycle::Lifecycle;
pub use metrics::ControllersMetrics;
pub use paced::Paced;
use peer::Peers;
use pool::Pools;
use protection::Protections;
use read::Reader;
use reign::Reign;
use term::Term;
use world::{Watch, WorldHandle};
use write::Writer;

/// What the controllers work with.
pub struct Controllers {
    /// The way to the API server, under the controllers' identity. Its reads must wait for as long as a watch is silent.
    pub client: Client,
    /// Where Berth's own objects are.
    pub namespace: String,
    /// Label of a Node: its rack.
    pub rack_label: String,
    /// The node this process runs on: for the Lease only.
    pub node: String,
    /// Where decisions about nodes are archived on this machine.
    pub archive: Option<PathBuf>,
    /// Where the controllers' processes of this machine sign, so that the next one knows who is dead.
    pub election_roll: Option<PathBuf>,
    /// Follows the Lease.
    pub readiness: Arc<Readiness>,
    /// What is counted.
    pub metrics: ControllersMetrics,
    /// What is counted of nodes, where kube-controller-manager does not.
    pub node_collector: NodeCollector,
}

/// Starts to stand for election, and to work whenever it is won.
pub fn spawn_controllers(tasks: &Tasks, controllers: Controllers) {
    let (election, standing) = Election::new(
        controllers.client.clone(),
        &controllers.namespace,
        (&controllers.node, controllers.election_roll.clone()),
        Arc::clone(&controllers.readiness),
        controllers.metrics.clone(),
    );
    let token = tasks.token();
    tasks.spawn("election", election.run(token.clone()));
    tasks.spawn("controllers", run(controllers, standing, token));
}

async fn run(
    controllers: Controllers,
    mut standing: watch::Receiver<Option<Term>>,
    stop: CancellationToken,
) {
    // All terms share it: the pace is the process's.
    let writer = Writer::new(controllers.client.clone(), controllers.metrics.clone());
    loop {
        let term = tokio::select! {
            () = stop.cancelled() => return,
            term = standing.wait_for(Option::is_some) => term.map(|term| term.clone()),
        };
        let Ok(term) = term else {
            // The election ends only with the process.
            return stop.cancelled().await;
        };
        let Some(term) = term else { continue };
        let reign = Reign::new(term, standing.clone(), stop.clone());
        controllers.lead(writer.clone(), &reign).await;
        info!(term = reign.term().number(), "controllers stopped");
        let over = reign.term().number();
        let next = |term: &Option<Term>| term.as_ref().is_none_or(|term| term.number() != over);
        tokio::select! {
            () = stop.cancelled() => return,
            _ = standing.wait_for(next) => {}
        }
    }
}

impl Controllers {
    /// Works through one term. What was seen in an earlier one is not trusted.
    async fn lead(&self, writer: Writer, reign: &Reign) {
        let client = || self.client.clone();
        let (namespace, label) = (&self.namespace, &self.rack_label);
        let (watch, world) = Watch::new(client(), namespace, label, self.metrics.clone());
        let (heartbeats_watch, heartbeats) =
            HeartbeatsWatch::new(client(), namespace, self.metrics.clone());
        // Pods and endpoints, for those controllers that look at them.
        let (fleet_watch, fleet) = FleetWatch::new(client(), self.metrics.clone());
        let views = Views {
            world,
            fleet,
            heartbeats,
        };
        let work = async {
            tokio::join!(
                self.addresses(&writer, &views, reign),
                self.workloads(&writer, &views, reign),
                Box::pin(self.nodes(&writer, &views, reign)),
            );
        };
        tokio::select! {
            // Lists and their parsers: large, and made once a term.
            () = Box::pin(watch.run()) => {}
            () = Box::pin(fleet_watch.run()) => {}
            () = Box::pin(heartbeats_watch.run()) => {}
            () = Box::pin(work) => {}
        }
    }

    /// Claims and pools.
    async fn addresses(&self, writer: &Writer, views: &Views, reign: &Reign) {
        let claims = Claims {
            reader: Reader::new(self.client.clone()),
            writer: writer.clone(),
            world: views.world.clone(),
            heartbeats: views.heartbeats.clone(),
            namespace: self.namespace.clone(),
            instance: self.node.clone(),
            metrics: self.metrics.clone(),
        };
        let pools = Pools {
            writer: writer.clone(),
            world: views.world.clone(),
            namespace: self.namespace.clone(),
            metrics: self.metrics.clone(),
        };
        tokio::join!(claims.run(reign.clone()), pools.run(reign.clone()));
    }

    /// Sets, and who sends traffic to Pods.
    async fn workloads(&self, writer: &Writer, views: &Views, reign: &Reign) {
        let protections = Protections {
            reader: Reader::new(self.client.clone()),
            writer: writer.clone(),
            fleet: views.fleet.clone(),
            metrics: self.metrics.clone(),
        };
        let sets = InPlaceSets {
            client: self.client.clone(),
            writer: writer.clone(),
            fleet: views.fleet.clone(),
            world: views.world.clone(),
            namespace: self.namespace.clone(),
            rack_label: self.rack_label.clone(),
            instance: self.node.clone(),
            metrics: self.metrics.clone(),
        };
        tokio::join!(protections.run(reign.clone()), sets.run(reign.clone()));
    }

    /// Who looks at whom, and what becomes of who is not well.
    async fn nodes(&self, writer: &Writer, views: &Views, reign: &Reign) {
        let peers = Peers {
            reader: Reader::new(self.client.clone()),
            writer: writer.clone(),
            world: views.world.clone(),
            namespace: self.namespace.clone(),
            metrics: self.metrics.clone(),
        };
        let duties = Duties {
            client: self.client.clone(),
            writer: writer.clone(),
            namespace: self.namespace.clone(),
            metrics: self.metrics.clone(),
            figures: self.node_collector.clone(),
        };
        let lifecycle = Lifecycle {
            client: self.client.clone(),
            writer: writer.clone(),
            world: views.world.clone(),
            fleet: views.fleet.clone(),
            heartbeats: views.heartbeats.clone(),
            namespace: self.namespace.clone(),
            instance: self.node.clone(),
            archive: self.archive.clone(),
            metrics: self.metrics.clone(),
        };
        tokio::join!(
            peers.run(reign.clone()),
            duties.run(reign.clone()),
            lifecycle.run(reign.clone())
        );
    }
}

/// What the watches of one term keep up to date.
struct Views {
    world: WorldHandle,
    fleet: FleetHandle,
    heartbeats: HeartbeatsHandle,
}
