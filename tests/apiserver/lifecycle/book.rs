//! The record, read: decisions in their order, and what of Pods and Nodes is judged. Judged by objects only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::inplaceset::record::{Kind, Record};

/// From one Pod that ends on a node to the next, by the leader's clock.
const GAP: Duration = Duration::from_secs(5);

/// All decisions, as they were decided.
pub(super) struct Book(Vec<Arc<Value>>);

impl Book {
    pub(super) fn of(record: &Record) -> Self {
        let all = record.last(Kind::Decision).into_iter();
        let mut all: Vec<_> = all.map(|seen| seen.object).collect();
        all.sort_by_key(|it| id(it));
        Self(all)
    }

    pub(super) fn of_id(&self, wanted: &str) -> &Value {
        let mut all = self.0.iter();
        let found = all.find(|it| it["spec"]["id"] == wanted);
        found.unwrap_or_else(|| panic!("no decision {wanted}"))
    }

    /// The terms in which something was decided.
    pub(super) fn terms(&self) -> BTreeSet<u64> {
        self.0.iter().map(|it| id(it).0).collect()
    }

    fn about(&self, node: &str) -> impl Iterator<Item = &Arc<Value>> {
        self.0.iter().filter(move |it| it["spec"]["node"] == node)
    }

    /// The last decision that took a node for this.
    pub(super) fn verdict(&self, node: &str, to: &str) -> Option<&Value> {
        self.change(node, "Verdict", to)
    }

    /// The last decision by which a node came there.
    pub(super) fn phase(&self, node: &str, to: &str) -> Option<&Value> {
        self.change(node, "Phase", to)
    }

    fn change(&self, node: &str, kind: &str, to: &str) -> Option<&Value> {
        let change = |it: &&Arc<Value>| {
            let change = &it["spec"]["change"];
            change["type"] == kind && change["to"] == to
        };
        self.about(node).filter(change).last().map(|it| &**it)
    }

    /// The first record that something about a node was held by this freeze: when it was due, or, ordered just before, when its turn came.
    pub(super) fn held_by(&self, node: &str, freeze: &str) -> Option<Arc<Value>> {
        let of_node: BTreeSet<&str> = self.about(node).map(|it| text(&it["spec"]["id"])).collect();
        let is_held = |it: &&Arc<Value>| {
            let spec = &it["spec"];
            let is_about = spec["node"] == node || of_node.contains(text(&spec["of"]));
            let says = [&spec["change"]["hold"], &spec["outcome"]["message"]];
            is_about && says.iter().any(|words| text(words).contains(freeze))
        };
        self.0.iter().find(is_held).cloned()
    }

    /// How many orders were carried out after this.
    pub(super) fn done_after(&self, decision: &Value) -> usize {
        let later = self.0.iter().filter(|it| id(it) > id(decision));
        later
            .filter(|it| it["spec"]["outcome"]["type"] == "Done")
            .count()
    }

    /// What was to be done.
    fn actions(&self) -> impl Iterator<Item = &Arc<Value>> {
        let is_action = |it: &&Arc<Value>| it["spec"]["change"]["type"] == "Action";
        self.0.iter().filter(is_action)
    }

    /// What was to be done to a node.
    pub(super) fn actions_of(&self, node: &str) -> Vec<Arc<Value>> {
        let all = self.actions().filter(|it| it["spec"]["node"] == node);
        all.cloned().collect()
    }

    /// What was done to a node, of one action.
    pub(super) fn done(&self, node: &str, wanted: &str) -> Vec<Arc<Value>> {
        let outcomes = self.0.iter().filter_map(|it| {
            let of = it["spec"]["of"].as_str()?;
            Some((of, text(&it["spec"]["outcome"]["type"])))
        });
        let outcomes: BTreeMap<&str, &str> = outcomes.collect();
        let mut all = self.actions_of(node);
        all.retain(|it| {
            let outcome = outcomes.get(text(&it["spec"]["id"]));
            action(it) == wanted && outcome == Some(&"Done")
        });
        all
    }

    /// Everything about a node and its outcomes, for people who look why a test failed.
    pub(super) fn told(&self, node: &str) -> String {
        let about: BTreeSet<&str> = self.about(node).map(|it| text(&it["spec"]["id"])).collect();
        let is_told = |it: &&Arc<Value>| {
            let of = it["spec"]["of"].as_str();
            it["spec"]["node"] == node
                || of.is_some_and(|of| about.contains(of))
                || it["spec"]["subject"]["kind"] == "Cluster" && of.is_none()
        };
        let lines = self.0.iter().filter(is_told).map(|it| {
            let spec = &it["spec"];
            format!(
                "{} {} {} {}",
                spec["time"], spec["id"], spec["change"]["text"], spec["outcome"]
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Each follows the one before, over the leaders' ends; in each term they are counted from one.
    #[track_caller]
    pub(super) fn assert_chain(&self) {
        let first = &self.0[0]["spec"];
        assert_eq!(first["previous"], "0".repeat(64), "{first}");
        for two in self.0.windows(2) {
            let (before, after) = (&two[0]["spec"], &two[1]["spec"]);
            assert_eq!(after["previous"], before["hash"], "{before}\n{after}");
            let ((term, number), next) = (id(&two[0]), id(&two[1]));
            let is_next = next == (term, number + 1) || (next.0 > term && next.1 == 1);
            assert!(is_next, "{before}\n{after}");
            assert!(version(&two[0]) < version(&two[1]), "{before}\n{after}");
        }
    }
}

/// The ends of Pods of one node keep their distance, by the leader's monotonic clock.
#[track_caller]
pub(super) fn assert_gaps(decisions: &[Arc<Value>]) {
    for two in decisions.windows(2) {
        let (before, after) = (moment(&two[0]), moment(&two[1]));
        if id(&two[0]).0 == id(&two[1]).0 {
            assert!(after >= before + GAP, "{}\n{}", two[0], two[1]);
        }
    }
}

/// When it was decided, by the clock of the leader of that term.
fn moment(decision: &Value) -> Duration {
    let record: Value = serde_json::from_str(text(&decision["spec"]["record"])).unwrap();
    let part = |name: &str| record["at"][name].as_u64().unwrap();
    Duration::from_secs(part("secs")) + Duration::from_nanos(part("nanos"))
}

/// How many Pods of a node were ever ending at once.
pub(super) fn most_ending_at_once(record: &Record, node: &str) -> usize {
    let rows = record.all_pods();
    let rows = rows.iter().flat_map(|(_, row)| row);
    let mut rows: Vec<_> = rows
        .filter(|it| it.object["spec"]["nodeName"] == node)
        .collect();
    rows.sort_by_key(|seen| seen.version);
    let (mut ending, mut most) = (BTreeSet::new(), 0);
    for seen in rows {
        let uid = uid(&seen.object);
        if seen.gone {
            ending.remove(uid);
        } else if !seen.object["metadata"]["deletionTimestamp"].is_null() {
            ending.insert(uid);
        }
        most = most.max(ending.len());
    }
    most
}

/// The Pods of a node that are gone, in the order in which they went, each with the version at which it did.
pub(super) fn gone_from(record: &Record, node: &str) -> Vec<(u64, Arc<Value>)> {
    let rows = record.all_pods();
    let rows = rows.iter().flat_map(|(_, row)| row);
    let gone = rows.filter(|it| it.gone && it.object["spec"]["nodeName"] == node);
    let mut gone: Vec<_> = gone
        .map(|seen| (seen.version, Arc::clone(&seen.object)))
        .collect();
    gone.sort_by_key(|(version, _)| *version);
    gone
}

/// Term and number of a decision.
pub(super) fn id(decision: &Value) -> (u64, u64) {
    let part = |name: &str| decision["spec"][name].as_u64().unwrap();
    (part("term"), part("sequence"))
}

pub(super) fn action(decision: &Value) -> &str {
    text(&decision["spec"]["change"]["action"])
}

/// The UID of the Pod that it is about.
pub(super) fn target(decision: &Value) -> &str {
    text(&decision["spec"]["targets"][0]["uid"])
}

/// A condition, whole.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|it| it["type"] == kind)
}

pub(super) fn taint<'a>(node: &'a Value, key: &str) -> Option<&'a Value> {
    let taints = node["spec"]["taints"].as_array()?;
    taints.iter().find(|it| it["key"] == key)
}

pub(super) fn uid(object: &Value) -> &str {
    text(&object["metadata"]["uid"])
}

pub(super) fn version(object: &Value) -> u64 {
    text(&object["metadata"]["resourceVersion"])
        .parse()
        .unwrap()
}

/// Text; empty where it is none.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
