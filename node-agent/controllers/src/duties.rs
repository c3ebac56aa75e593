//! The duties of `node-lifecycle-controller`, where a cluster runs without it (`spec.replace` of the `LifecyclePolicy`).
//!
//! Each is a pure function: conditions of silent kubelets ([`unknown`], [`silence`]), taints that follow from conditions ([`taints`]),
//! labels ([`labels`]), figures ([`figures`]). **Always holds:** nothing is done unless the policy says so, and nothing any more as soon as it
//! says otherwise; a node is called silent only when its Lease and its Node, read again from the API server, still say so.
//! **Never:** deletes, evicts or marks a Pod: that is the lifecycle's.

mod figures;
mod labels;
mod node;
mod silence;
mod taints;
mod unknown;
mod watch;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::{Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use proto_crd::lifecycle_policy::LifecyclePolicy;
use proto_crd::names;
use serde_json::{Value, json};
use tokio::sync::watch::{Receiver, Sender, channel};
use tracing::{info, warn};

use crate::follow::{config, follow};
use crate::metrics::{Controller, ControllersMetrics, PassResult};
use crate::mirror::version_of;
use crate::read::{ReadError, Reader};
use crate::reign::Reign;
use crate::write::{WriteError, WriteKind, Writer};
use figures::GivenUp;
pub use figures::NodeCollector;
use node::{LeanNode, NodeView};
use silence::Silence;
use watch::{DutyWatch, LEASES, SeenHandle};

/// From one pass to the next at least: a new node takes Pods within a second or two.
const PASS_GAP: Duration = Duration::from_secs(1);
/// Without any change, all the same: silence is no change. As often as kube-controller-manager looks.
const TICK: Duration = Duration::from_secs(5);
/// Silent nodes that are asked and written of in one pass: so that a great failure keeps no new node waiting.
const BATCH: usize = 50;
/// A `NoExecute` taint that was taken off so often on one node is somebody's who puts it on again.
const RIVAL_AFTER: u32 = 4;

/// The duties.
pub(crate) struct Duties {
    pub(crate) client: Client,
    pub(crate) writer: Writer,
    pub(crate) namespace: String,
    pub(crate) metrics: ControllersMetrics,
    pub(crate) figures: NodeCollector,
}

/// Why a pass was broken off.
#[derive(Debug, thiserror::Error)]
enum PassError {
    /// Whether a node is silent could not be asked.
    #[error("asking whether kubelets are silent")]
    Read(#[source] ReadError),
    /// Something was not written.
    #[error("writing Nodes")]
    Write(#[source] WriteError),
}

/// What a pass does.
#[derive(Debug, Default)]
struct Plan {
    /// Taints and labels, by node.
    changes: Vec<(String, Change)>,
    /// Nodes whose kubelet is silent, and that do not say so.
    silent: Vec<String>,
    is_complete: bool,
}

/// Fields of a Node.
#[derive(Debug)]
struct Change {
    /// As it was when it was decided.
    node: NodeView,
    kind: WriteKind,
    fields: Value,
}

/// What one pass remembers for the next; each term, and each time that the policy says so, begins without.
#[derive(Debug, Default)]
struct Memory {
    silence: Silence,
    given_up: GivenUp,
    /// How often a `NoExecute` taint of kube-controller-manager's was to be taken off, by node.
    sentences: BTreeMap<String, u32>,
    is_rival_told: bool,
}

impl Duties {
    /// Works until the reign is over.
    pub(crate) async fn run(self, reign: Reign) {
        let (sender, ours) = channel(false);
        let policies = Api::<LifecyclePolicy>::namespaced(self.client.clone(), &self.namespace);
        let policies = watcher(policies, config());
        let mut pending = None;
        let take = |event| hear(&sender, &mut pending, event);
        let hearing = follow("lifecyclepolicies", policies, &self.metrics, take);
        tokio::select! {
            () = Box::pin(hearing) => {}
            () = self.work(ours, &reign) => {}
        }
    }

    async fn work(&self, mut ours: Receiver<bool>, reign: &Reign) {
        while reign.goes_on() {
            let until_ours = reign.unless_over(ours.wait_for(|it| *it));
            if until_ours.await.is_none_or(|it| it.is_err()) {
                return;
            }
            info!(
                "doing the duties of node-lifecycle-controller: spec.replace of the LifecyclePolicy says so"
            );
            let (watch, seen) = DutyWatch::new(self.client.clone(), self.metrics.clone());
            tokio::select! {
                () = Box::pin(watch.run()) => {}
                () = self.passes(&seen, ours.clone(), reign) => {}
            }
            self.figures.forget();
            info!("the duties of node-lifecycle-controller are not done any more");
        }
    }

    /// Pass after pass, for as long as they are ours.
    async fn passes(&self, seen: &SeenHandle, mut ours: Receiver<bool>, reign: &Reign) {
        let mut memory = Memory::default();
        let mut changes = seen.changes();
        let mut is_told = false;
        while reign.goes_on() && *ours.borrow() {
            let began = Instant::now();
            changes.mark_unchanged();
            let plan = self.plan(seen, &mut memory);
            let is_complete = plan.is_complete;
            let outcome = self.apply(plan, &mut memory, &ours, reign).await;
            let result = match &outcome {
                Ok(()) => PassResult::done,
                Err(_) => PassResult::failed,
            };
            self.metrics.passed(Controller::duties, result);
            match outcome {
                Err(error) if !is_told && reign.goes_on() => {
                    warn!(error = %chain(&error), "duties not all done; trying on");
                    is_told = true;
                }
                outcome => is_told &= outcome.is_err(),
            }
            if is_complete {
                tokio::select! {
                    () = reign.until(began + PASS_GAP) => {}
                    _ = ours.wait_for(|it| !*it) => {}
                }
            }
            tokio::select! {
                // Its owner goes only when the reign is over.
                _ = changes.changed() => {}
                _ = ours.wait_for(|it| !*it) => {}
                () = reign.until(began + TICK) => {}
            }
        }
    }

    fn plan(&self, seen: &SeenHandle, memory: &mut Memory) -> Plan {
        let seen = seen.lock();
        if !seen.is_complete() {
            return Plan::default();
        }
        let began = Instant::now();
        let now = Time(Timestamp::now());
        let nodes = seen.nodes();
        let mut plan = Plan {
            is_complete: true,
            ..Plan::default()
        };
        memory.silence.keep(|name| nodes.contains_key(name));
        memory.sentences.retain(|name, _| nodes.contains_key(name));
        for (name, node) in nodes {
            if memory.silence.look(name, node, seen.lease(name), began)
                && !unknown::plan(node, "").is_empty()
            {
                plan.silent.push(name.clone());
            }
            if let Some(change) = memory.change(name, node, &now) {
                plan.changes.push((name.clone(), change));
            }
        }
        let given_up = memory.given_up.look(nodes.values());
        let zones = figures::zones(nodes.values());
        self.figures.passed(&zones, given_up, began.elapsed());
        plan
    }

    async fn apply(
        &self,
        plan: Plan,
        memory: &mut Memory,
        ours: &Receiver<bool>,
        reign: &Reign,
    ) -> Result<(), PassError> {
        let goes_on = || reign.goes_on() && *ours.borrow();
        // What lets Pods start comes first.
        for (name, change) in plan.changes {
            if !goes_on() {
                return Ok(());
            }
            let (node, fields) = (&change.node, change.fields);
            let written = self.writer.patch_of_cluster::<Node>(
                reign.term(),
                change.kind,
                node.basis(&name),
                fields,
            );
            settle(&name, written.await)?;
        }
        for name in plan.silent.into_iter().take(BATCH) {
            if !goes_on() {
                return Ok(());
            }
            let began = Instant::now();
            let asked = reign.unless_over(self.ask(&name, &mut memory.silence));
            if let Some(asked) = asked.await
                && let Some(node) = asked.map_err(PassError::Read)?
            {
                self.tell_silence(&name, &node, reign).await?;
            }
            self.figures.looked_at(began.elapsed());
        }
        Ok(())
    }

    /// The Node of a kubelet that is silent also by what the API server itself says now.
    async fn ask(&self, name: &str, silence: &mut Silence) -> Result<Option<NodeView>, ReadError> {
        let reader = Reader::new(self.client.clone());
        let lease = reader.object::<Lease>("Lease", LEASES, name).await?;
        let node = reader.object_of_cluster::<LeanNode>("Node", name).await?;
        let Some(node) = node.as_ref().map(NodeView::from) else {
            return Ok(None);
        };
        let lease = lease.as_ref().map(version_of);
        let is_silent = silence.look(name, &node, lease, Instant::now());
        Ok(is_silent.then_some(node))
    }

    async fn tell_silence(
        &self,
        name: &str,
        node: &NodeView,
        reign: &Reign,
    ) -> Result<(), PassError> {
        let conditions = unknown::plan(node, &Timestamp::now().to_string());
        if conditions.is_empty() {
            return Ok(());
        }
        let status = json!({ "conditions": conditions });
        let kind = WriteKind::NodeCondition;
        let (term, basis) = (reign.term(), node.basis(name));
        let written = self
            .writer
            .merge_status_of_cluster::<Node>(term, kind, basis, status)
            .await;
        if written.is_ok() {
            info!(node = name, "kubelet is silent: its conditions are Unknown");
        }
        settle(name, written)
    }
}

impl Memory {
    /// What taints and labels of a Node are to be.
    fn change(&mut self, name: &str, node: &NodeView, now: &Time) -> Option<Change> {
        let labels = labels::plan(&node.labels);
        let taints = taints::plan(node, now);
        if taints.as_ref().is_some_and(|taints| taints.lifts_sentence) {
            self.note_sentence(name);
        }
        let kind = match (&taints, labels.is_empty()) {
            (None, true) => return None,
            (None, false) => WriteKind::NodeLabel,
            (Some(_), _) => WriteKind::NodeTaint,
        };
        let mut fields = json!({});
        if !labels.is_empty() {
            fields["metadata"]["labels"] = json!(labels);
        }
        if let Some(taints) = taints {
            fields["spec"]["taints"] = json!(taints.all);
        }
        Some(Change {
            node: node.clone(),
            kind,
            fields,
        })
    }

    /// One that comes back after it was taken off is somebody's who is still there.
    fn note_sentence(&mut self, name: &str) {
        let times = self.sentences.entry(name.to_owned()).or_default();
        *times += 1;
        // Once may be what was left, and twice our own view of it that is behind.
        if *times >= RIVAL_AFTER && !self.is_rival_told {
            self.is_rival_told = true;
            warn!(
                node = name,
                "a NoExecute taint comes back again and again: kube-controller-manager does its own node lifecycle beside Berth's; start it with \
                 --controllers=*,-node-lifecycle-controller,-taint-eviction-controller, or set spec.replace of the LifecyclePolicy to false"
            );
        }
    }
}

/// Whether the duties are ours: what the policy says, or no where there is none.
fn hear(ours: &Sender<bool>, pending: &mut Option<bool>, event: Event<LifecyclePolicy>) {
    let says_so = |policy: &LifecyclePolicy| {
        (policy.name_any() == names::LIFECYCLE_POLICY).then(|| policy.spec.replace.unwrap_or(false))
    };
    let heard = match event {
        Event::Init => {
            *pending = None;
            return;
        }
        Event::InitApply(policy) => {
            *pending = says_so(&policy).or(*pending);
            return;
        }
        Event::InitDone => Some(pending.take().unwrap_or(false)),
        Event::Apply(policy) => says_so(&policy),
        Event::Delete(policy) => says_so(&policy).map(|_| false),
    };
    if let Some(heard) = heard {
        ours.send_if_modified(|it| std::mem::replace(it, heard) != heard);
    }
}

/// What a write came to: one that was overtaken is decided anew.
fn settle(name: &str, written: Result<(), WriteError>) -> Result<(), PassError> {
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.is_overtaken() => Ok(()),
        Err(error) if error.is_of_this_object() => {
            warn!(node = name, error = %chain(&error), "Node not written");
            Ok(())
        }
        Err(error) => Err(PassError::Write(error)),
    }
}

#[cfg(test)]
mod tests {
    use proto_crd::lifecycle_policy::LifecyclePolicySpec;

    use super::*;

    fn policy(replace: Option<bool>) -> LifecyclePolicy {
        let spec = LifecyclePolicySpec {
            replace,
            ..LifecyclePolicySpec::default()
        };
        LifecyclePolicy::new(names::LIFECYCLE_POLICY, spec)
    }

    #[test]
    fn the_duties_are_ours_while_the_policy_says_so() {
        let (sender, ours) = channel(false);
        let mut pending = None;
        for (event, is_ours) in [
            (Event::Init, false),
            (Event::InitApply(policy(Some(true))), false),
            (Event::InitDone, true),
            (Event::Apply(policy(Some(false))), false),
            (Event::Apply(policy(Some(true))), true),
            (Event::Apply(policy(None)), false),
            (Event::Apply(policy(Some(true))), true),
            // A list that begins anew takes nothing back before its end.
            (Event::Init, true),
            (Event::InitDone, false),
            (Event::Apply(policy(Some(true))), true),
            (Event::Delete(policy(Some(true))), false),
        ] {
            hear(&sender, &mut pending, event.clone());
            assert_eq!(*ours.borrow(), is_ours, "{event:?}");
        }
    }

    #[test]
    fn taints_and_labels_of_a_node_are_one_write() {
        let node = NodeView {
            labels: [("kubernetes.io/os".to_owned(), "linux".to_owned())].into(),
            conditions: [("Ready".to_owned(), "False".to_owned())].into(),
            ..NodeView::default()
        };
        let now = Time(Timestamp::UNIX_EPOCH);
        let change = Memory::default().change("n1", &node, &now).unwrap();
        assert_eq!(change.kind, WriteKind::NodeTaint);
        assert_eq!(
            change.fields,
            json!({
                "metadata": {"labels": {"beta.kubernetes.io/os": "linux"}},
                "spec": {"taints": [{
                    "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule", "timeAdded": "1970-01-01T00:00:00Z",
                }]},
            })
        );
    }
}
