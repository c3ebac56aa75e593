//! The Leases of all nodes: kubelet's (`kube-node-lease`) and our agent's (Berth's namespace), and when each was seen to change.
//!
//! Ten thousand nodes renew a thousand times a second: an event is a version and a moment, and wakes nobody; whoever needs them reads what
//! is there. **Always holds:** an age is of this process's monotonic clock, from when it saw a version change; what a Lease says
//! of times is not read. A list that begins anew keeps the ages of what did not change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use k8s_openapi::api::coordination::v1::Lease;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Event, watcher};
use kube::{Api, Client, ResourceExt as _};

use crate::follow::{config, follow, kept};
use crate::metrics::ControllersMetrics;

/// Where kubelets keep their Leases.
pub(crate) const KUBELETS_NAMESPACE: &str = "kube-node-lease";

/// A Lease, as it was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    /// Its version.
    pub(crate) version: Box<str>,
    /// Since when it is that.
    pub(crate) since: Instant,
    /// It was seen to change: before that its age is only a lower bound.
    pub(crate) is_proven: bool,
}

/// The Leases of one namespace.
#[derive(Debug, Default)]
pub(crate) struct Beats {
    of: BTreeMap<String, Beat>,
    listed: Option<BTreeMap<String, Box<str>>>,
    is_complete: bool,
    /// When anything of them was last seen to change.
    changed: Option<Instant>,
}

impl Beats {
    /// Of a node.
    pub(crate) fn get(&self, name: &str) -> Option<&Beat> {
        self.of.get(name)
    }

    /// Of all nodes.
    pub(crate) const fn all(&self) -> &BTreeMap<String, Beat> {
        &self.of
    }

    /// Whether a list has been read to its end.
    pub(crate) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// When anything of them was last seen to change.
    pub(crate) const fn changed(&self) -> Option<Instant> {
        self.changed
    }

    /// What was read from the API server itself.
    pub(crate) fn saw(&mut self, name: &str, version: Option<&str>, now: Instant) {
        match version {
            Some(version) => self.apply(name, version, now),
            None => drop(self.of.remove(name)),
        }
    }

    fn take(&mut self, event: Event<(String, Box<str>)>, now: Instant) {
        match event {
            Event::Init => self.listed = Some(BTreeMap::new()),
            Event::InitApply((name, version)) => {
                self.listed.get_or_insert_default().insert(name, version);
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                self.of.retain(|name, _| listed.contains_key(name));
                for (name, version) in listed {
                    self.apply(&name, &version, now);
                }
                self.is_complete = true;
                self.changed = Some(now);
            }
            Event::Apply((name, version)) => self.apply(&name, &version, now),
            Event::Delete((name, _)) => drop(self.of.remove(&name)),
        }
    }

    fn apply(&mut self, name: &str, version: &str, now: Instant) {
        match self.of.get_mut(name) {
            // What a watch that lags tells after a read of the object itself is no renewal.
            Some(beat) if !is_later(&beat.version, version) => {}
            Some(beat) => {
                *beat = Beat {
                    version: version.into(),
                    since: now,
                    is_proven: true,
                };
                self.changed = Some(now);
            }
            None => {
                let beat = Beat {
                    version: version.into(),
                    since: now,
                    is_proven: false,
                };
                self.of.insert(name.to_owned(), beat);
            }
        }
    }
}

/// Whether a version is a later one: as numbers, which they are (Kubernetes says so from 1.35 on, and etcd always did).
fn is_later(before: &str, now: &str) -> bool {
    match (before.parse::<u64>(), now.parse::<u64>()) {
        (Ok(before), Ok(now)) => before < now,
        _ => before != now,
    }
}

/// All Leases.
#[derive(Debug, Default)]
pub(crate) struct Heartbeats {
    /// Of kubelets, by node.
    pub(crate) kubelets: Beats,
    /// Of agents, by node; and the controllers' own.
    pub(crate) agents: Beats,
}

impl Heartbeats {
    /// Whether both lists have been read to their end.
    pub(crate) const fn is_complete(&self) -> bool {
        self.kubelets.is_complete() && self.agents.is_complete()
    }
}

/// Heartbeats that are kept up to date by [`HeartbeatsWatch::run`]. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeartbeatsHandle {
    heartbeats: Arc<Mutex<Heartbeats>>,
}

impl HeartbeatsHandle {
    /// The heartbeats now. Never held across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Heartbeats> {
        self.heartbeats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps heartbeats up to date.
pub(crate) struct HeartbeatsWatch {
    client: Client,
    namespace: String,
    handle: HeartbeatsHandle,
    metrics: ControllersMetrics,
}

impl HeartbeatsWatch {
    /// Heartbeats of which nothing is known yet.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        metrics: ControllersMetrics,
    ) -> (Self, HeartbeatsHandle) {
        let handle = HeartbeatsHandle::default();
        let watch = Self {
            client,
            namespace: namespace.to_owned(),
            handle: handle.clone(),
            metrics,
        };
        (watch, handle)
    }

    /// Watches; has no end of its own.
    ///
    /// # Cancellation
    /// Ends the watches; what was seen stays.
    pub(crate) async fn run(&self) {
        tokio::join!(
            self.follow("kubelets' leases", KUBELETS_NAMESPACE, |all| &mut all
                .kubelets),
            self.follow("agents' leases", &self.namespace, |all| &mut all.agents),
        );
    }

    async fn follow(
        &self,
        kind: &'static str,
        namespace: &str,
        part: impl Fn(&mut Heartbeats) -> &mut Beats,
    ) {
        // Metadata alone is sent.
        let leases = Api::<PartialObjectMeta<Lease>>::namespaced(self.client.clone(), namespace);
        let events = watcher(leases, config());
        let take = |event: Event<PartialObjectMeta<Lease>>| {
            let event = kept(&event, |lease| {
                let version = lease.metadata.resource_version.as_deref();
                (lease.name_any(), Box::from(version.unwrap_or_default()))
            });
            part(&mut self.handle.lock()).take(event, Instant::now());
        };
        follow(kind, events, &self.metrics, take).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn beat(name: &str, version: &str) -> (String, Box<str>) {
        (name.to_owned(), version.into())
    }

    #[test]
    fn ages_begin_when_a_version_is_seen_to_change_and_outlive_a_new_list() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut beats = Beats::default();
        let list = |beats: &mut Beats, all: &[(&str, &str)], now| {
            beats.take(Event::Init, now);
            for (name, version) in all {
                beats.take(Event::InitApply(beat(name, version)), now);
            }
            beats.take(Event::InitDone, now);
        };
        list(&mut beats, &[("n1", "1"), ("n2", "1")], start);
        assert!(beats.is_complete() && !beats.get("n1").unwrap().is_proven);
        beats.take(Event::Apply(beat("n1", "2")), later(10));
        beats.take(Event::Apply(beat("n1", "2")), later(11));
        let n1 = beats.get("n1").unwrap();
        assert!(n1.is_proven && n1.since == later(10));
        // The watch broke and lists anew: n2 was renewed meanwhile, n1 was not, n3 is new.
        list(
            &mut beats,
            &[("n1", "2"), ("n2", "7"), ("n3", "4")],
            later(40),
        );
        assert_eq!(beats.get("n1").unwrap().since, later(10));
        let n2 = beats.get("n2").unwrap();
        assert!(n2.is_proven && n2.since == later(40));
        assert!(!beats.get("n3").unwrap().is_proven);
        // Read from the API server itself, and then the watch tells what was before.
        beats.saw("n1", Some("9"), later(41));
        beats.take(Event::Apply(beat("n1", "8")), later(42));
        assert_eq!(beats.get("n1").unwrap().since, later(41));
        beats.take(Event::Delete(beat("n3", "4")), later(41));
        assert_eq!(beats.get("n3"), None);
    }
}
