//! Pods that outlived their set in the middle of a drain (`kubectl delete --cascade=orphan`): held unready for a set that is no more, they
//! are given back.
//!
//! **Always holds:** only what is nobody's and held for a set that is not there is touched, and only its gate and the operation: a set of
//! that name that comes back adopts it as it is then.

use std::sync::Arc;

use kube::{Resource as _, ResourceExt as _};
use node_agent_inplace::pod::Gate;
use tracing::info;

use super::carry::DeedError;
use super::look::now;
use super::stock::Stock;
use super::{Work, body, view};
use crate::fleet::{Fleet, LeanPod};
use crate::world::Key;
use crate::write::{Basis, Fields, Part, WriteKind};

/// What a set is called as a holder of a Pod's gate begins with it.
const HOLDER_PREFIX: &str = "InPlaceSet/";

/// The set that holds a Pod which nobody controls; nothing: none does.
fn holder(pod: &LeanPod, gate: &Gate) -> Option<Key> {
    let mut owners = pod.owner_references().iter();
    if owners.any(|owner| owner.controller == Some(true)) || gate.is_true() {
        return None;
    }
    if pod.meta().deletion_timestamp.is_some() {
        return None;
    }
    let holders = gate.holders().ok()?;
    let set = holders
        .iter()
        .find_map(|one| one.holder.strip_prefix(HOLDER_PREFIX))?;
    Some((pod.namespace()?, set.to_owned()))
}

/// Pods that are held for sets that are no more, with the set's name.
fn left_held(fleet: &Fleet, stock: &Stock) -> Vec<(Arc<LeanPod>, String)> {
    if !fleet.is_complete() || !stock.is_complete() {
        return Vec::new();
    }
    let pods = fleet.pods().values();
    let held = pods.filter_map(|pod| {
        let set = holder(pod, &view::gate(pod))?;
        (!stock.sets().contains_key(&set)).then(|| (Arc::clone(pod), set.1))
    });
    held.collect()
}

impl Work {
    /// Gives back what is held for sets that are no more.
    pub(super) async fn give_back(&self) -> Result<(), DeedError> {
        let left = left_held(&self.fleet.lock(), &self.stock.lock());
        for (pod, set) in left {
            if !self.reign.goes_on() {
                return Ok(());
            }
            let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
            let gate = view::gate(&pod);
            let (annotations, holder) = (body::annotations(None, None), body::holder_of(&set));
            let fields = body::gate(&gate, body::Hold::Leave, &holder, &annotations, now())?;
            let basis = Basis::of(&pod.metadata);
            let (term, kind, fields) = (
                self.reign.term(),
                WriteKind::ReleasePod,
                Fields::ByKeys(fields),
            );
            let written = self
                .writer
                .change::<LeanPod>(term, kind, basis, Part::Status, fields);
            match written.await {
                Ok(after) => {
                    self.fleet.lock().saw(&after);
                    info!(namespace, pod = name, set, "given back: its set is no more");
                }
                // It is another one than what was looked at: the next look says which.
                Err(error) if error.is_overtaken() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn held_for(pod: &Value) -> Option<String> {
        let pod: LeanPod = serde_json::from_value(pod.clone()).unwrap();
        holder(&pod, &view::gate(&pod)).map(|(namespace, set)| format!("{namespace}/{set}"))
    }

    #[test]
    fn only_what_nobody_controls_and_a_set_holds_is_given_back() {
        let by =
            |holder: &str| json!([{"holder": holder, "since": "2026-01-01T00:00:00Z"}]).to_string();
        let pod = |status: &str, message: &str| {
            json!({
                "metadata": {"name": "shop-0", "namespace": "prod", "uid": "u"},
                "spec": {"readinessGates": [{"conditionType": "berth.dev/ServiceReady"}]},
                "status": {"conditions": [{
                    "type": "berth.dev/ServiceReady", "status": status, "message": message,
                }]},
            })
        };
        let held = pod("False", &by("InPlaceSet/shop"));
        assert_eq!(held_for(&held).as_deref(), Some("prod/shop"));
        assert_eq!(held_for(&pod("False", &by("ContainerRestart/r1"))), None);
        assert_eq!(held_for(&pod("False", "by hand")), None);
        assert_eq!(held_for(&pod("True", "")), None);
        let mut owned = held.clone();
        owned["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet", "name": "shop", "uid": "gone", "controller": true,
        }]);
        assert_eq!(held_for(&owned), None);
        let mut leaves = held;
        leaves["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(held_for(&leaves), None);
    }
}
