//! What the node lifecycle wrote down from a moment on.

use std::time::Duration;

use proto_crd::node_decision::{ChangeType, NodeDecisionSpec, OutcomeType};
use tests_testbed::{Cluster, Pending, wait_patiently};

/// A node that was lost is healthy again after two minutes, one that was lost twice after four; on a busy machine.
const DEADLINE: Duration = Duration::from_secs(600);

/// Waits for what a look says.
pub(super) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    wait_patiently(what, DEADLINE, || look().map_err(Pending)).unwrap()
}

/// The UID of the one Pod that a decision is about.
pub(super) fn target(decision: &NodeDecisionSpec) -> &str {
    assert_eq!(decision.targets.len(), 1, "{decision:?}");
    &decision.targets[0].uid
}

/// How long after one the next was made.
pub(super) fn gap(one: &NodeDecisionSpec, next: &NodeDecisionSpec) -> Duration {
    next.time.since(one.time)
}

/// Term and sequence: the order in which they were made.
pub(super) fn order(decision: &NodeDecisionSpec) -> (u64, u64) {
    (decision.term, decision.sequence)
}

/// What is looked for.
#[derive(Debug)]
pub(super) struct Wanted {
    node: String,
    r#type: ChangeType,
    what: String,
    became: OutcomeType,
}

impl Wanted {
    pub(super) fn verdict(node: &str, to: &str) -> Self {
        Self::new(node, ChangeType::Verdict, to)
    }

    pub(super) fn phase(node: &str, to: &str) -> Self {
        Self::new(node, ChangeType::Phase, to)
    }

    /// That it is to be done.
    pub(super) fn action(node: &str, action: &str) -> Self {
        Self::new(node, ChangeType::Action, action)
    }

    /// That it was done.
    pub(super) fn done(node: &str, action: &str) -> Self {
        Self::new(node, ChangeType::Outcome, action)
    }

    /// That it could not be done.
    pub(super) fn failed(node: &str, action: &str) -> Self {
        Self {
            became: OutcomeType::Failed,
            ..Self::done(node, action)
        }
    }

    pub(super) fn held(node: &str, by: &str) -> Self {
        Self::new(node, ChangeType::Held, by)
    }

    fn new(node: &str, r#type: ChangeType, what: &str) -> Self {
        Self {
            node: node.to_owned(),
            r#type,
            what: what.to_owned(),
            became: match r#type {
                ChangeType::Action => OutcomeType::Ordered,
                ChangeType::Outcome => OutcomeType::Done,
                _ => OutcomeType::Recorded,
            },
        }
    }

    fn is(&self, decision: &NodeDecisionSpec) -> bool {
        let change = &decision.change;
        if decision.node.as_ref() != Some(&self.node) || change.r#type != self.r#type {
            return false;
        }
        let begins = |text: &Option<String>| {
            let text = text.as_deref();
            text.is_some_and(|text| text.starts_with(&self.what))
        };
        let is_so = match self.r#type {
            ChangeType::Verdict | ChangeType::Phase => begins(&change.to),
            ChangeType::Held => begins(&change.hold),
            _ => begins(&change.action),
        };
        is_so && decision.outcome.r#type == self.became
    }
}

/// From here on.
pub(super) struct Journal {
    after: (u64, u64),
}

impl Journal {
    pub(super) fn begin(cluster: &Cluster) -> Self {
        let after = read(cluster).last().map_or((0, 0), order);
        Self { after }
    }

    pub(super) fn wait(&self, cluster: &Cluster, wanted: &Wanted) -> NodeDecisionSpec {
        wait_for(&format!("{wanted:?}"), || {
            let all = self.since(cluster);
            match all.iter().find(|it| wanted.is(it)) {
                Some(found) => Ok(found.clone()),
                None => Err(told(&all)),
            }
        })
    }

    pub(super) fn all(&self, cluster: &Cluster, wanted: &Wanted) -> Vec<NodeDecisionSpec> {
        let all = self.since(cluster).into_iter();
        all.filter(|it| wanted.is(it)).collect()
    }

    pub(super) fn assert_never(&self, cluster: &Cluster, wanted: &Wanted) {
        let all = self.all(cluster, wanted);
        assert!(all.is_empty(), "{all:?}");
    }

    /// The newest term.
    pub(super) fn term(&self, cluster: &Cluster) -> u64 {
        let all = self.since(cluster);
        all.last().map_or(self.after.0, |it| it.term)
    }

    /// Waits until somebody leads in a later term.
    pub(super) fn wait_term(&self, cluster: &Cluster, after: u64) {
        wait_for(&format!("a term after {after}"), || {
            let now = self.term(cluster);
            (now > after).then_some(()).ok_or_else(|| now.to_string())
        });
    }

    fn since(&self, cluster: &Cluster) -> Vec<NodeDecisionSpec> {
        let all = read(cluster).into_iter();
        all.filter(|it| order(it) > self.after).collect()
    }
}

/// All of them, oldest first.
fn read(cluster: &Cluster) -> Vec<NodeDecisionSpec> {
    let words = ["get", "nodedecisions", "-n", "berth-system"];
    let list = cluster.kubectl_json(&words).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    let specs = items.map(|it| serde_json::from_value(it["spec"].clone()).unwrap());
    let mut all: Vec<NodeDecisionSpec> = specs.collect();
    all.sort_by_key(order);
    all
}

/// For whoever reads why a test failed.
fn told(all: &[NodeDecisionSpec]) -> String {
    let line = |it: &NodeDecisionSpec| {
        let name = it.subject.name.as_deref().unwrap_or("the cluster");
        format!("{} {name}: {}", it.id, it.change.text)
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}
