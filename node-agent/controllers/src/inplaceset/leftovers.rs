//! What nodes were asked for and no set needs any more: taken back some time later, of all sets together, one write a node. What is
//! there is no harm: a node that has an image does nothing.
//!
//! **Always holds:** what a set asks for anew is not taken back: its note goes before it asks, and what is written is decided on a read
//! that is older than the notes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use kube::Resource;
use kube::core::ObjectMeta;
use proto_crd::image_pull::ImagePull;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::warn;

use super::body::asked_for;
use super::carry::DeedError;
use super::lean::{MANAGER_PREFIX, asked_by_managers};
use super::{Work, lock};
use crate::write::{Basis, Fields, Part, WriteKind};

/// From one look at what is left over to the next.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// How long it stays: sets of one node are often done together.
const STAYS: Duration = Duration::from_secs(60);
/// So many sets of one node are enough: a node takes 64 images.
const ENOUGH: usize = 16;

/// By node: the sets, by UID, that need nothing there any more.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    nodes: BTreeMap<String, Leftover>,
}

#[derive(Debug)]
struct Leftover {
    due: Instant,
    sets: BTreeSet<String>,
}

impl Leftovers {
    /// A set needs nothing of a node any more.
    pub(super) fn note(&mut self, node: &str, set: &str, now: Instant) {
        self.enter(node, set, now + STAYS);
    }

    fn enter(&mut self, node: &str, set: &str, due: Instant) {
        let left = self.nodes.entry(node.to_owned());
        let left = left.or_insert_with(|| Leftover {
            due,
            sets: BTreeSet::new(),
        });
        left.due = left.due.min(due);
        left.sets.insert(set.to_owned());
    }

    /// A set is about to ask a node.
    pub(super) fn asks(&mut self, node: &str, set: &str) {
        if let Some(left) = self.nodes.get_mut(node) {
            left.sets.remove(set);
            if left.sets.is_empty() {
                self.nodes.remove(node);
            }
        }
    }

    /// The nodes whose time has come.
    fn due(&self, now: Instant) -> Vec<String> {
        let due = self
            .nodes
            .iter()
            .filter(|(_, left)| left.due <= now || left.sets.len() >= ENOUGH);
        due.map(|(node, _)| node.clone()).collect()
    }

    fn of(&self, node: &str) -> BTreeSet<String> {
        let left = self.nodes.get(node);
        left.map(|left| left.sets.clone()).unwrap_or_default()
    }

    /// They are taken back.
    fn done(&mut self, node: &str, sets: &BTreeSet<String>) {
        for set in sets {
            self.asks(node, set);
        }
    }
}

/// The list of a node with its entries as they are: what is not known of them must not be lost.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = ImagePull)]
struct PullList {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

/// The entries that stay when these sets need theirs no more; nothing: all do. What somebody else asks for besides stays.
fn remaining(list: &PullList, sets: &BTreeSet<String>) -> Option<Vec<Value>> {
    let askers = asked_by_managers(&list.metadata);
    let is_left = |image: &str| {
        let mut askers = askers
            .iter()
            .filter(|(_, images)| images.contains(image))
            .map(|(manager, _)| manager.strip_prefix(MANAGER_PREFIX))
            .peekable();
        askers.peek().is_some() && askers.all(|uid| uid.is_some_and(|uid| sets.contains(uid)))
    };
    let all = list.spec["images"].as_array()?;
    let stay: Vec<Value> = all
        .iter()
        .filter(|entry| !entry["image"].as_str().is_some_and(is_left))
        .cloned()
        .collect();
    (stay.len() < all.len()).then_some(stay)
}

impl Work {
    /// Gives back Pods that outlived their sets; takes back what is left over, and what sets asked for that are gone, until the reign is over.
    pub(super) async fn sweep(&self) {
        while self.reign.goes_on() {
            if let Err(error) = self.give_back().await
                && self.reign.goes_on()
            {
                warn!(error = %chain(&error), "a Pod that outlived its set is still held unready; trying on");
            }
            self.note_gone(Instant::now());
            let due = lock(&self.leftovers).due(Instant::now());
            for node in due {
                if !self.reign.goes_on() {
                    return;
                }
                match self.take_back(&node).await {
                    Ok(()) => {}
                    Err(error) if !error.is_of_the_api_server() => {
                        if !error.is_overtaken() {
                            warn!(node, error = %chain(&error), "images that nobody needs are still asked for");
                        }
                    }
                    Err(_) => break,
                }
            }
            self.reign.until(Instant::now() + SWEEP_EVERY).await;
        }
    }

    fn note_gone(&self, now: Instant) {
        let stock = self.stock.lock();
        if !stock.is_complete() {
            return;
        }
        let mut leftovers = lock(&self.leftovers);
        for set in stock.gone_askers() {
            for node in stock.nodes_asked_by(&set) {
                leftovers.enter(node, &set, now);
            }
        }
    }

    async fn take_back(&self, node: &str) -> Result<(), DeedError> {
        let namespace = self.namespace.as_str();
        let read = self
            .reader
            .object::<PullList>("ImagePull", namespace, node)
            .await?;
        let sets = lock(&self.leftovers).of(node);
        if let Some(list) = read
            && let Some(images) = remaining(&list, &sets)
        {
            let basis = Basis::of(&list.metadata);
            let said: BTreeMap<_, _> = sets
                .iter()
                .map(|uid| (asked_for(uid), Value::Null))
                .collect();
            let fields = json!({"metadata": {"annotations": said}, "spec": {"images": images}});
            let fields = Fields::Merge(fields);
            let (term, kind) = (self.reign.term(), WriteKind::EndPull);
            let written = self
                .writer
                .change::<ImagePull>(term, kind, basis, Part::Main, fields)
                .await?;
            self.stock.lock().saw_pull(&written);
        }
        lock(&self.leftovers).done(node, &sets);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> PullList {
        let asks = |manager: &str, images: &[&str]| {
            let images = images.iter().map(|image| {
                let key = format!("k:{}", json!({"image": image}));
                (key, json!({".": {}}))
            });
            let images: serde_json::Map<String, Value> = images.collect();
            json!({"manager": manager, "operation": "Apply", "apiVersion": "berth.dev/v1alpha1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:images": images}}})
        };
        serde_json::from_value(json!({
            "metadata": {"name": "n1", "managedFields": [
                asks("berth-inplaceset-s1", &["a", "both"]),
                asks("berth-inplaceset-s2", &["b", "both", "shared"]),
                asks("kubectl", &["mine", "shared"]),
            ]},
            "spec": {"nodeName": "n1", "images": [
                {"image": "a"}, {"image": "b", "ofLater": 1}, {"image": "both"}, {"image": "mine"}, {"image": "shared"},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn only_what_nobody_else_asks_for_is_taken_back_and_the_rest_stays_as_it_is() {
        let left = |sets: &[&str]| {
            let sets = sets.iter().map(|uid| (*uid).to_owned()).collect();
            let stay = remaining(&list(), &sets);
            stay.map(|stay| {
                let images = stay.iter().map(|it| it["image"].as_str().unwrap());
                images.collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(left(&[]), None);
        assert_eq!(left(&["s3"]), None);
        assert_eq!(left(&["s1"]).unwrap(), "b both mine shared");
        assert_eq!(left(&["s2"]).unwrap(), "a both mine shared");
        assert_eq!(left(&["s1", "s2"]).unwrap(), "mine shared");
        let stay = remaining(&list(), &["s1".to_owned()].into()).unwrap();
        assert_eq!(stay[0]["ofLater"], 1);
    }

    #[test]
    fn sets_of_one_node_are_taken_back_together_and_none_that_asks_anew() {
        let mut leftovers = Leftovers::default();
        let start = Instant::now();
        leftovers.note("n1", "s1", start);
        leftovers.note("n1", "s2", start + STAYS / 2);
        leftovers.note("n2", "s1", start + STAYS / 2);
        assert_eq!(leftovers.due(start + STAYS / 2), [""; 0]);
        assert_eq!(leftovers.due(start + STAYS), ["n1"]);
        leftovers.asks("n1", "s1");
        assert_eq!(leftovers.of("n1"), ["s2".to_owned()].into());
        // One that is gone has no time.
        leftovers.enter("n2", "s3", start);
        assert_eq!(leftovers.due(start), ["n2"]);
        let sets = leftovers.of("n2");
        leftovers.done("n2", &sets);
        leftovers.asks("n1", "s2");
        assert_eq!(leftovers.due(start + STAYS * 2), [""; 0]);
        for number in 0..ENOUGH {
            leftovers.note("n3", &format!("s{number}"), start);
        }
        assert_eq!(leftovers.due(start), ["n3"]);
    }
}
