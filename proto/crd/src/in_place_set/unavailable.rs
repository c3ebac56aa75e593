//! How many Pods may be unavailable: a number, or a percentage.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::REPLICAS_LIMIT;

/// A number of Pods, or a percentage of them such as `25%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum MaxUnavailable {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

/// Why a text is no percentage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is neither a number nor a percentage from 1% to 100%")]
pub struct ParsePercentError {
    text: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Count(u32),
    Text(String),
}

impl MaxUnavailable {
    /// Of so many Pods: a percentage is rounded down, and at least one may be unavailable, else nothing would ever be released.
    pub fn of(self, replicas: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let share = u64::from(replicas) * u64::from(percent) / 100;
                u32::try_from(share).unwrap_or(u32::MAX)
            }
        }
        .max(1)
    }
}

impl Default for MaxUnavailable {
    fn default() -> Self {
        Self::Count(1)
    }
}

impl TryFrom<Written> for MaxUnavailable {
    type Error = ParsePercentError;

    fn try_from(written: Written) -> Result<Self, ParsePercentError> {
        match written {
            Written::Count(count) => Ok(Self::Count(count)),
            Written::Text(text) => text
                .strip_suffix('%')
                .and_then(|number| number.parse().ok())
                .filter(|percent| (1..=100).contains(percent))
                .map(Self::Percent)
                .ok_or_else(|| ParsePercentError {
                    text: text.chars().take(16).collect(),
                }),
        }
    }
}

impl From<MaxUnavailable> for Written {
    fn from(max: MaxUnavailable) -> Self {
        match max {
            MaxUnavailable::Count(count) => Self::Count(count),
            MaxUnavailable::Percent(percent) => Self::Text(format!("{percent}%")),
        }
    }
}

impl JsonSchema for MaxUnavailable {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MaxUnavailable".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maximum": REPLICAS_LIMIT,
            "maxLength": 4,
            "pattern": "^(100|[1-9][0-9]?)%$",
        })
    }
}
