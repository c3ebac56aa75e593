//! The rack of this node: configured, read from the label of the Node, or not known.
//!
//! Nothing is handed out while it is not known: an address of another rack would be one that no switch here leads to.
//! What is bound already is kept, checked and released all the same.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use proto_ids::{NetworkName, NodeName, ParseNameError, RackName};

use crate::pool::Pool;
use crate::settings::Settings;

/// The rack of this node, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRack {
    /// The configuration.
    Configured(RackName),
    /// The label of the Node.
    Labelled {
        /// The label's key.
        label: Box<str>,
        /// The rack.
        rack: RackName,
    },
    /// Nobody, at least for now.
    Unknown(Box<RackUnknown>),
}

/// Why no rack is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RackUnknown {
    /// What is the case.
    pub cause: String,
    /// What an operator does about it.
    pub advice: String,
    /// Whether it may be otherwise in a moment, so that a caller had better ask again.
    pub passing: bool,
}

/// Why a node can have no address of any network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// What is the case.
    pub cause: String,
    /// What an operator does about it.
    pub advice: String,
    /// Whether the rack is known, and only has no pool.
    pub known: bool,
}

impl NodeRack {
    /// The rack, where it is known.
    pub const fn name(&self) -> Option<&RackName> {
        match self {
            Self::Configured(rack) | Self::Labelled { rack, .. } => Some(rack),
            Self::Unknown(_) => None,
        }
    }

    /// Whether it is not known yet and may be in a moment.
    pub const fn is_awaited(&self) -> bool {
        match self {
            Self::Unknown(unknown) => unknown.passing,
            Self::Configured(_) | Self::Labelled { .. } => false,
        }
    }

    /// The label that says it.
    pub const fn label(&self) -> Option<&str> {
        match self {
            Self::Labelled { label, .. } => Some(label),
            Self::Configured(_) | Self::Unknown(_) => None,
        }
    }
}

impl FromStr for NodeRack {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        text.parse().map(Self::Configured)
    }
}

/// The rack's name, or `unknown`.
impl fmt::Display for NodeRack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().map_or("unknown", RackName::as_str))
    }
}

/// The command that gives a node its rack.
pub fn label_command(node: &NodeName, label: &str, rack: &str, overwrite: bool) -> String {
    let overwrite = if overwrite { " --overwrite" } else { "" };
    format!("kubectl label node {node} {label}={rack}{overwrite}")
}

impl Settings {
    /// Whether a pool is this node's to use, in whatever rack it may be.
    pub fn owns(&self, pool: &Pool) -> bool {
        pool.node.as_ref().is_none_or(|node| *node == self.node)
    }

    /// Whether addresses are taken from a pool: it is this node's, and of its rack.
    pub fn uses(&self, pool: &Pool) -> bool {
        self.owns(pool) && self.rack.name() == Some(&pool.rack)
    }

    /// The racks in which this node has pools (of one network, or any).
    pub fn racks(&self, network: Option<&NetworkName>) -> BTreeSet<RackName> {
        let wanted =
            |pool: &&Pool| self.owns(pool) && network.is_none_or(|name| *name == pool.network);
        let pools = self.pools.iter().filter(wanted);
        pools.map(|pool| pool.rack.clone()).collect()
    }

    /// Why this node can have no address of any network, where that depends on its label: the rack is not known, or has
    /// no pool for this node.
    pub fn unplaced(&self) -> Option<Unplaced> {
        let (label, rack) = match &self.rack {
            NodeRack::Configured(_) => return None,
            NodeRack::Unknown(unknown) => {
                return Some(Unplaced {
                    cause: unknown.cause.clone(),
                    advice: unknown.advice.clone(),
                    known: false,
                });
            }
            NodeRack::Labelled { label, rack } => (label, rack),
        };
        if self.pools.iter().any(|pool| self.uses(pool)) {
            return None;
        }
        let node = &self.node;
        let labelled = (label.clone(), self.racks(None));
        let cause = if self.claiming {
            format!("no network has a pool in rack {rack}, the rack of node {node}")
        } else {
            let elsewhere = match list(&labelled.1).as_str() {
                "" => "no rack".to_owned(),
                names => format!("rack {names}"),
            };
            format!(
                "node {node} is in rack {rack} and has no pool there; it has pools in {elsewhere}"
            )
        };
        Some(Unplaced {
            cause,
            advice: advice(None, node, rack, Some(&labelled), self.claiming),
            known: true,
        })
    }
}

/// What to do where a node has no pool in its rack. `claiming`: pools are objects of the cluster.
pub(crate) fn advice(
    network: Option<&NetworkName>,
    node: &NodeName,
    rack: &RackName,
    labelled: Option<&(Box<str>, BTreeSet<RackName>)>,
    claiming: bool,
) -> String {
    let of = network.map_or_else(String::new, |network| format!(" of network {network}"));
    let Some((label, racks)) = labelled else {
        return format!(
            "add a pool{of} for rack {rack}, or correct the network's name or the node's rack"
        );
    };
    if claiming {
        let of = if network.is_none() {
            " of the network"
        } else {
            &of
        };
        return format!(
            "create a Pool{of} and rack {rack} (`kubectl -n berth-system get pools` shows those that exist), or correct \
             the node's rack: `{}`",
            label_command(node, label, "RACK", true)
        );
    }
    let add = format!("add a pool{of} with `node = \"{node}\"` and `rack = \"{rack}\"`");
    let commands: Vec<_> = racks
        .iter()
        .map(|rack| format!("`{}`", label_command(node, label, rack.as_str(), true)))
        .collect();
    if commands.is_empty() {
        return add;
    }
    format!(
        "{add}, or correct the node's rack: {}",
        commands.join(" or ")
    )
}

/// Names as they are listed in a sentence.
fn list(racks: &BTreeSet<RackName>) -> String {
    let names: Vec<_> = racks.iter().map(RackName::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
