//! What people have frozen. Looked at before every action; what cannot be read is frozen.

use proto_ids::{NodeName, RackName};
use serde::{Deserialize, Serialize};

use crate::observation::{AppName, NodeObservation};

/// The freezes in force. The caller leaves out what has expired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Freezes {
    /// Nobody can say: everything is frozen.
    Unreadable,
    /// These.
    Known(Vec<Freeze>),
}

/// One freeze.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Its name, for decisions.
    pub name: String,
    /// What is frozen.
    pub scope: Scope,
}

/// What is frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Everything.
    Cluster,
    /// A rack's nodes and their Pods.
    Rack(RackName),
    /// A node and its Pods.
    Node(NodeName),
    /// An application's Pods.
    App(AppName),
}

impl Freezes {
    /// None.
    pub const fn none() -> Self {
        Self::Known(Vec::new())
    }

    /// By what this is frozen, if it is.
    pub fn hold(
        &self,
        name: &NodeName,
        node: &NodeObservation,
        app: Option<&AppName>,
    ) -> Option<&str> {
        let freezes = match self {
            Self::Unreadable => return Some("unreadable"),
            Self::Known(freezes) => freezes,
        };
        let by = freezes.iter().find(|freeze| match &freeze.scope {
            Scope::Cluster => true,
            Scope::Rack(rack) => *rack == node.rack,
            Scope::Node(frozen) => frozen == name,
            Scope::App(frozen) => Some(frozen) == app,
        });
        by.map(|freeze| freeze.name.as_str())
    }

    /// By what a whole rack is frozen, if it is.
    pub fn rack_hold(&self, rack: &RackName) -> Option<&str> {
        let freezes = match self {
            Self::Unreadable => return Some("unreadable"),
            Self::Known(freezes) => freezes,
        };
        let by = freezes.iter().find(|freeze| match &freeze.scope {
            Scope::Cluster => true,
            Scope::Rack(frozen) => frozen == rack,
            Scope::Node(_) | Scope::App(_) => false,
        });
        by.map(|freeze| freeze.name.as_str())
    }
}
