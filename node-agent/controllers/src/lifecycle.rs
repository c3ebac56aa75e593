//! Node lifecycle: the core [`node_agent_lifecycle`] with eyes, a hand and a journal.
//!
//! Once a second all nodes are looked at (Nodes, Leases and reports by watches; Pods of nodes that something is done about, read live), the
//! core decides, what it decides is written down, and what it orders is done, each after a live look. **Always holds:** nothing is
//! done that was not written down before; nothing while freezes cannot be read; without a `LifecyclePolicy` everything is in dry-run.
//! The parts run side by side, so that a slow API server delays what is done and not what is seen.

mod archive;
mod carry;
mod desk;
mod event;
mod figures;
mod freezes;
mod journal;
mod object;
mod owner;
mod pods;
mod replacement;
pub(crate) mod report;
mod rules;
mod scene;
mod soft;
mod taints;
mod upkeep;

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt as _};
use node_agent_lifecycle::Core;
use proto_ids::NodeName;
use tracing::{debug, info, warn};

use crate::election::TERM;
use crate::fleet::FleetHandle;
use crate::heartbeats::{HeartbeatsHandle, KUBELETS_NAMESPACE};
use crate::metrics::ControllersMetrics;
use crate::read::{ReadError, Reader};
use crate::reign::Reign;
use crate::world::WorldHandle;
use crate::write::Writer;
use archive::Archive;
use carry::Hands;
use desk::{Desk, Lane};
pub(crate) use figures::LifecycleMetrics;
use figures::OrderResult;
use journal::{Journal, Known};
use pods::Book;
use rules::Rules;
use scene::Clock;
use upkeep::{Upkeep, wall_clock};

/// All nodes are looked at so often.
const STEP: Duration = Duration::from_secs(1);
/// The leader renews its Lease so often.
const RENEWAL: Duration = Duration::from_secs(2);
/// How long a slow renewal of the own Lease counts.
const RENEWALS_KEPT: usize = 60;
/// At the beginning of a term what is needed is asked for so often.
const BEGIN: Duration = Duration::from_millis(500);
/// More Leases than these are listed, not asked for one by one.
const LEASES_ONE_BY_ONE: usize = 30;

/// The node lifecycle.
pub(crate) struct Lifecycle {
    pub(crate) client: Client,
    pub(crate) writer: Writer,
    pub(crate) world: WorldHandle,
    pub(crate) fleet: FleetHandle,
    pub(crate) heartbeats: HeartbeatsHandle,
    pub(crate) namespace: String,
    /// The node that this process runs on.
    pub(crate) instance: String,
    /// Where decisions are archived.
    pub(crate) archive: Option<PathBuf>,
    pub(crate) metrics: ControllersMetrics,
}

impl Lifecycle {
    /// Looks, decides and does, until the term is over.
    pub(crate) async fn run(self, reign: Reign) {
        let Some((known, rules)) = self.begin(&reign).await else {
            return;
        };
        let metrics = self.metrics.lifecycle();
        let clock = Clock::start();
        let term = known.term(reign.term().number());
        let core = Core::new(rules.config.clone(), term, clock.now(), known.previous);
        info!(term, policy = %core.policy(), "looking at nodes");
        let desk = Desk::new(core, rules, clock);
        let reader = || Reader::new(self.client.clone());
        let journal = Journal {
            reader: reader(),
            writer: self.writer.clone(),
            namespace: self.namespace.clone(),
            leader: self.instance.clone(),
            archive: self.archive.as_deref().map(Archive::new),
            metrics: metrics.clone(),
            known,
            told: event::Told::default(),
            is_unarchived: false,
        };
        let hands = Hands {
            reader: reader(),
            writer: self.writer.clone(),
            world: self.world.clone(),
            heartbeats: self.heartbeats.clone(),
            namespace: self.namespace.clone(),
            metrics: metrics.clone(),
            term,
        };
        let upkeep = Upkeep {
            reader: reader(),
            writer: self.writer.clone(),
            namespace: self.namespace.clone(),
            is_blind: false,
            told_at: None,
        };
        tokio::join!(
            self.look(&desk, &reign, term, &metrics),
            self.read_leases(&desk, &reign),
            self.read_pods(&desk, &reign),
            Box::pin(journal.run(&desk, &reign)),
            Box::pin(upkeep.run(&desk, &reign)),
            Box::pin(hands.run(&desk, &reign, Lane::Marks)),
            Box::pin(hands.run(&desk, &reign, Lane::Endpoints)),
            Box::pin(hands.run(&desk, &reign, Lane::Endpoints)),
            Box::pin(hands.run(&desk, &reign, Lane::Pods)),
        );
        metrics.ended();
    }

    /// What is there, once everything can be seen; none, where the term is over before.
    async fn begin(&self, reign: &Reign) -> Option<(Known, Rules)> {
        let reader = Reader::new(self.client.clone());
        let mut is_told = false;
        while reign.goes_on() {
            if self.sees() {
                match self.ask(&reader).await {
                    Ok(begun) => return Some(begun),
                    Err(error) if is_told => debug!(error = %chain(&error), "still not asked"),
                    Err(error) => {
                        warn!(error = %chain(&error), "decisions and policy cannot be read: nodes are not looked at yet");
                        is_told = true;
                    }
                }
            }
            reign.until(Instant::now() + BEGIN).await;
        }
        None
    }

    /// Whether every list has been read to its end.
    fn sees(&self) -> bool {
        let world = {
            let world = self.world.lock();
            world.is_complete() && world.reports.is_complete()
        };
        world && self.fleet.lock().is_complete() && self.heartbeats.lock().is_complete()
    }

    async fn ask(&self, reader: &Reader) -> Result<(Known, Rules), ReadError> {
        let known = journal::known(reader, &self.namespace).await?;
        let (_, rules) = upkeep::read_policy(reader, &self.namespace).await?;
        Ok((known, rules.unwrap_or_default()))
    }

    /// A step a second.
    async fn look(&self, desk: &Desk, reign: &Reign, term: u64, metrics: &LifecycleMetrics) {
        let mut renewals = VecDeque::new();
        while reign.goes_on() {
            let began = Instant::now();
            renewals.push_back(renewal_delay(reign, began));
            if renewals.len() > RENEWALS_KEPT {
                renewals.pop_front();
            }
            let now = wall_clock();
            let cancelled = {
                let mut state = desk.lock();
                let state = &mut *state;
                {
                    let (world, heartbeats) = (self.world.lock(), self.heartbeats.lock());
                    scene::refresh(&mut state.seen, &world, &heartbeats, now);
                    let nodes = state.seen.nodes.len();
                    state.seen.controller.watch_lag = scene::lag(&heartbeats, nodes, began);
                }
                state.seen.controller.term = reign.goes_on().then_some(term);
                state.seen.controller.lease_write_p99 = usual_worst(&renewals);
                state.seen.week = Some(scene::week(now));
                state.seen.freezes = state.freezes.clone();
                let step = state.core.step(desk.clock.moment(began), &state.seen);
                let census = scene::census(&state.core);
                let breakers = state.core.breakers().len();
                metrics.stepped(began.elapsed(), &census, breakers);
                state.take(step, now)
            };
            for order in cancelled {
                metrics.ordered(&order.action, OrderResult::cancelled);
            }
            desk.news.notify_waiters();
            reign.until(began + STEP).await;
        }
    }

    /// Leases that look stale are read from the API server itself.
    async fn read_leases(&self, desk: &Desk, reign: &Reign) {
        let reader = Reader::new(self.client.clone());
        while reign.goes_on() {
            let wanted = std::mem::take(&mut desk.lock().reread);
            if let Err(error) = self.read_these_leases(desk, &reader, wanted).await {
                debug!(error = %chain(&error), "Leases not read");
            }
            tokio::select! {
                () = desk.news.notified() => {}
                () = reign.until(Instant::now() + STEP) => {}
            }
        }
    }

    async fn read_these_leases(
        &self,
        desk: &Desk,
        reader: &Reader,
        wanted: BTreeSet<NodeName>,
    ) -> Result<(), ReadError> {
        if wanted.len() > LEASES_ONE_BY_ONE {
            let sent = Instant::now();
            let params = ListParams::default();
            let leases =
                reader.list::<PartialObjectMeta<Lease>>("Leases", Some(KUBELETS_NAMESPACE), params);
            let leases = leases.await?;
            let versions: std::collections::BTreeMap<String, Option<String>> = leases
                .into_iter()
                .map(|lease| (lease.name_any(), lease.resource_version()))
                .collect();
            for name in wanted {
                let version = versions.get(name.as_str()).cloned().flatten();
                self.saw_lease(desk, &name, version.as_deref(), sent);
            }
            return Ok(());
        }
        for name in wanted {
            let sent = Instant::now();
            let lease: Option<Lease> = reader
                .object("Lease", KUBELETS_NAMESPACE, name.as_str())
                .await?;
            let version = lease.and_then(|lease| lease.metadata.resource_version);
            self.saw_lease(desk, &name, version.as_deref(), sent);
        }
        Ok(())
    }

    fn saw_lease(&self, desk: &Desk, name: &NodeName, version: Option<&str>, sent: Instant) {
        let beat = {
            let mut heartbeats = self.heartbeats.lock();
            heartbeats
                .kubelets
                .saw(name.as_str(), version, Instant::now());
            heartbeats.kubelets.get(name.as_str()).cloned()
        };
        let mut state = desk.lock();
        if let Some(seen) = state.seen.nodes.get_mut(name) {
            scene::version(&mut seen.kubelet_lease, beat.as_ref());
            seen.kubelet_lease_read = Some(desk.clock.moment(sent));
        }
    }

    /// Pods of nodes that something is done about.
    async fn read_pods(&self, desk: &Desk, reign: &Reign) {
        let reader = Reader::new(self.client.clone());
        let mut book = Book::default();
        while reign.goes_on() {
            let began = Instant::now();
            let evicted = pods::with_evicted(&self.fleet);
            let (wanted, lost) = {
                let mut state = desk.lock();
                book.touch(&std::mem::take(&mut state.touched));
                let lost = state.core.nodes().filter(|(_, _, phase)| phase.is_lost());
                let lost: BTreeSet<NodeName> = lost.map(|(name, _, _)| name.clone()).collect();
                let mut wanted: BTreeSet<NodeName> = state.core.wants_pods().cloned().collect();
                wanted.extend(
                    evicted
                        .into_iter()
                        .filter(|name| state.seen.nodes.contains_key(name)),
                );
                (wanted, lost)
            };
            if let Some(Err(error)) = reign.unless_over(book.read(&reader, &wanted)).await {
                debug!(error = %chain(&error), "Pods not read");
            }
            {
                let mut state = desk.lock();
                let told = pods::observe(&book, &self.fleet.lock(), &state.seen, &lost);
                told.into_seen(&mut state.seen);
            }
            reign.until(began + STEP).await;
        }
    }
}

/// What nine of ten looks at the own Lease found, at most: one slow renewal in a minute is none, a slow API server is.
fn usual_worst(renewals: &VecDeque<Duration>) -> Duration {
    let mut sorted: Vec<Duration> = renewals.iter().copied().collect();
    sorted.sort_unstable();
    let index = sorted.len().saturating_sub(1) * 9 / 10;
    sorted.get(index).copied().unwrap_or_default()
}

/// How much longer than it should the last renewal of the own Lease has taken: the term ends so long after it was sent.
fn renewal_delay(reign: &Reign, now: Instant) -> Duration {
    let left = reign.term().until();
    let left = left.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
    TERM.saturating_sub(left).saturating_sub(RENEWAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_renewal_is_none_and_many_are() {
        let of = |slow: usize| {
            let seconds = (0..60).map(|index| if index < slow { 5 } else { 0 });
            usual_worst(&seconds.map(Duration::from_secs).collect())
        };
        assert_eq!(of(0), Duration::ZERO);
        assert_eq!(of(5), Duration::ZERO);
        assert_eq!(of(8), Duration::from_secs(5));
        assert_eq!(usual_worst(&VecDeque::new()), Duration::ZERO);
    }
}
