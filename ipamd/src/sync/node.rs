//! What follows from what is seen of the own Node: the rack, and what is to be remembered and told. Pure.
//!
//! A label that is read decides at once, whatever was known. Only where nothing can be read does the last known rack count:
//! nodes are moved between racks by people, and rarely; API servers are away often.

use std::collections::BTreeSet;
use std::fmt;

use ipamd_core::{NodeRack, RackUnknown, label_command};
use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use proto_ids::{NodeName, RackName};

use super::last::Last;

/// This node, and the label that says its rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) node: NodeName,
    pub(super) label: Box<str>,
}

/// What was seen of the own Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    /// It is there, and its label says this.
    Present {
        /// The label's value; `None`: it has no such label.
        value: Option<String>,
    },
    /// The cluster has no such Node.
    Absent,
    /// The API server could not be asked.
    Away {
        /// Why.
        problem: String,
        /// What an operator does about it.
        advice: String,
    },
}

impl Observed {
    /// What an answer says.
    pub(super) fn of(object: Option<PartialObjectMeta<Node>>, own: &Own) -> Self {
        let Some(node) = object else {
            return Self::Absent;
        };
        let mut labels = node.metadata.labels.unwrap_or_default();
        Self::Present {
            // Kubernetes allows an empty value, which names no rack.
            value: labels.remove(&*own.label).filter(|value| !value.is_empty()),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// The rack from now on, or why none is known.
    pub(super) rack: NodeRack,
    /// What is to be remembered, where that is new.
    pub(super) remember: Option<Last>,
    /// The node is in another rack than before.
    pub(super) moved: Option<Moved>,
}

/// A node that is in another rack now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) node: NodeName,
    pub(super) from: RackName,
    pub(super) to: RackName,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, from, to } = self;
        write!(
            f,
            "node {node} was in rack {from} and is in rack {to} now: running Pods keep their addresses of rack {from}, which \
             work only where its subnets reach; new Pods get addresses of rack {to}; delete the running ones to move them"
        )
    }
}

/// What follows. `racks` are those in which this node has pools.
pub(super) fn plan(
    own: &Own,
    racks: &BTreeSet<RackName>,
    observed: Observed,
    last: Option<&Last>,
) -> Decision {
    match observed {
        Observed::Present { value: Some(value) } => match value.parse::<RackName>() {
            Ok(rack) => labelled(own, rack, last),
            Err(error) => unlabelled(
                last,
                RackUnknown {
                    cause: format!(
                        "label {} of node {} says {value:?}, which is no rack: {error}",
                        own.label, own.node
                    ),
                    advice: set_label(own, racks, true),
                    passing: false,
                },
            ),
        },
        Observed::Present { value: None } => unlabelled(
            last,
            RackUnknown {
                cause: format!(
                    "node {} has no label {}, so its rack is not known",
                    own.node, own.label
                ),
                advice: set_label(own, racks, false),
                passing: false,
            },
        ),
        // Whoever deletes a Node under running Pods does not move it to another rack.
        Observed::Absent => known(own, last).unwrap_or_else(|| {
            unknown(RackUnknown {
                cause: format!(
                    "the cluster has no Node {}, so its rack is not known",
                    own.node
                ),
                advice: "start its kubelet, or name the node as `kubectl get nodes` does, by --node or the key `node`"
                    .to_owned(),
                passing: false,
            })
        }),
        Observed::Away { problem, advice } => known(own, last).unwrap_or_else(|| {
            unknown(RackUnknown {
                cause: format!(
                    "the rack of node {} is not known, and {problem}",
                    own.node
                ),
                advice,
                passing: true,
            })
        }),
    }
}

fn labelled(own: &Own, rack: RackName, last: Option<&Last>) -> Decision {
    let new = Last {
        rack: rack.clone(),
        stands: true,
    };
    let moved = last.filter(|last| last.rack != rack).map(|last| Moved {
        node: own.node.clone(),
        from: last.rack.clone(),
        to: rack.clone(),
    });
    Decision {
        rack: NodeRack::Labelled {
            label: own.label.clone(),
            rack,
        },
        remember: (last != Some(&new)).then_some(new),
        moved,
    }
}

/// The label was looked at and says nothing: what was known before does not stand any more.
fn unlabelled(last: Option<&Last>, why: RackUnknown) -> Decision {
    let fallen = last.filter(|last| last.stands).map(|last| Last {
        rack: last.rack.clone(),
        stands: false,
    });
    Decision {
        remember: fallen,
        ..unknown(why)
    }
}

fn known(own: &Own, last: Option<&Last>) -> Option<Decision> {
    let last = last.filter(|last| last.stands)?;
    Some(labelled(own, last.rack.clone(), Some(last)))
}

fn unknown(why: RackUnknown) -> Decision {
    Decision {
        rack: NodeRack::Unknown(Box::new(why)),
        remember: None,
        moved: None,
    }
}

fn set_label(own: &Own, racks: &BTreeSet<RackName>, overwrite: bool) -> String {
    let command = |rack: &str| label_command(&own.node, &own.label, rack, overwrite);
    let names: Vec<_> = racks.iter().map(RackName::as_str).collect();
    match names.as_slice() {
        [] => format!(
            "run `{}`, with the rack whose switch the node is on",
            command("RACK")
        ),
        [rack] => format!("run `{}`", command(rack)),
        several => format!(
            "run `{}`, with one of the racks in which it has pools: {}",
            command("RACK"),
            several.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests;
