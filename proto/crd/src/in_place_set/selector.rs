//! Which Pods are a set's: `metav1.LabelSelector` with bounds.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which Pods are a set's, by their labels: all of both must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63})
    )]
    pub match_labels: BTreeMap<String, String>,
    /// What else must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<Requirement>,
}

/// What must hold of one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requirement {
    /// Its key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// What must hold of it.
    pub operator: Operator,
    /// The values that are meant; of `Exists` and `DoesNotExist` none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// What must hold of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// It has one of the values.
    In,
    /// It has none of the values, or there is none.
    NotIn,
    /// There is one.
    Exists,
    /// There is none.
    DoesNotExist,
}

impl Selector {
    /// Whether these labels are those of a Pod of the set.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let label = labels.get(&self.key);
        match self.operator {
            Operator::In => label.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => !label.is_some_and(|value| self.values.contains(value)),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
        }
    }
}

/// As the API server and `kubectl` read it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (key, value) in &self.match_labels {
            write!(f, "{between}{key}={value}")?;
            between = ",";
        }
        for Requirement {
            key,
            operator,
            values,
        } in &self.match_expressions
        {
            let values = values.join(",");
            match operator {
                Operator::In => write!(f, "{between}{key} in ({values})"),
                Operator::NotIn => write!(f, "{between}{key} notin ({values})"),
                Operator::Exists => write!(f, "{between}{key}"),
                Operator::DoesNotExist => write!(f, "{between}!{key}"),
            }?;
            between = ",";
        }
        Ok(())
    }
}
