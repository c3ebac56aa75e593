//! What the operator configured, checked whole before anything uses it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use proto_ids::{NodeName, PoolName, RackName};

use crate::pool::Pool;
use crate::rule::Rule;

/// What the operator configured for this node, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This node.
    pub node: NodeName,
    /// The rack of this node; addresses are taken from its pools only.
    pub rack: RackName,
    /// All pools, in the order in which they are used.
    pub pools: Vec<Pool>,
    /// Stickiness rules; the first that fits decides.
    pub rules: Vec<Rule>,
    /// How long the audit log is kept. Trimming it is the store's work.
    pub audit_keep: Duration,
    /// Whether STATUS answers 50 when a network has no free address.
    pub refuse_when_exhausted: bool,
}

/// What a [`SettingsError`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The settings of the node itself.
    Node,
    /// A pool.
    Pool {
        /// Its place among the pools, from 0.
        index: usize,
        /// Its name.
        name: PoolName,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("settings"),
            Self::Pool { name, .. } => write!(f, "pool {name}"),
        }
    }
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: {field}: {reason}")]
pub struct SettingsError {
    /// What it is about.
    pub subject: Subject,
    /// The key, as in the configuration file: `name`, `subnet`, `ranges`, `exclude`, `gateway`, `routes`, `rack`.
    pub field: &'static str,
    /// What is wrong, in words.
    pub reason: String,
}

/// Settings that were found free of contradictions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ValidSettings(Arc<Checked>);

#[derive(Debug)]
struct Checked {
    settings: Settings,
}

impl Settings {
    /// Checks the whole, and finds everything that is wrong, not only the first.
    ///
    /// # Errors
    /// One entry for each contradiction.
    pub fn validate(self) -> Result<ValidSettings, Vec<SettingsError>> {
        Ok(ValidSettings(Arc::new(Checked { settings: self })))
    }
}

impl ValidSettings {
    /// The settings as typed.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }
}
