//! Points in time that are reckoned with: milliseconds since the Unix epoch, written as RFC 3339 in whole seconds.
//!
//! Arithmetic saturates. Kubernetes keeps whole seconds only: what is stored and must not be too early is
//! [rounded up](Timestamp::rounded_up) first.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A point in time, in milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(u64);

/// Why a text is not a point in time.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{text:?} is not a time of RFC 3339, such as 2026-01-31T12:00:00Z")]
pub struct ParseTimestampError {
    text: String,
    #[source]
    source: humantime::TimestampError,
}

/// 9999-12-31T23:59:59Z: the last second RFC 3339 can write.
const LATEST_MILLISECONDS: u64 = 253_402_300_799_000;

impl Timestamp {
    /// The point so many milliseconds after the Unix epoch.
    pub const fn from_unix_milliseconds(milliseconds: u64) -> Self {
        if milliseconds > LATEST_MILLISECONDS {
            Self(LATEST_MILLISECONDS)
        } else {
            Self(milliseconds)
        }
    }

    /// This much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self::from_unix_milliseconds(self.0.saturating_add(milliseconds))
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The next whole second: not lost by being written.
    #[must_use]
    pub const fn rounded_up(self) -> Self {
        Self::from_unix_milliseconds(self.0.div_ceil(1000) * 1000)
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        Self::UNIX_EPOCH + Duration::from_millis(time.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_rfc3339_seconds((*self).into()).to_string();
        f.pad(&text)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        let time = humantime::parse_rfc3339_weak(text).map_err(|source| ParseTimestampError {
            text: text.chars().take(64).collect(),
            source,
        })?;
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Self::default().after(since))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = ParseTimestampError;

    fn try_from(text: String) -> Result<Self, ParseTimestampError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_loses_the_fraction_and_what_is_rounded_up_does_not() {
        let time = Timestamp::from_unix_milliseconds(1_767_225_600_123);
        assert_eq!(
            serde_json::to_string(&time).unwrap(),
            r#""2026-01-01T00:00:00Z""#
        );
        let up = time.rounded_up();
        assert_eq!(up.to_string(), "2026-01-01T00:00:01Z");
        assert_eq!("2026-01-01T00:00:01Z".parse(), Ok(up));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let latest = Timestamp::from_unix_milliseconds(u64::MAX);
        assert_eq!(latest.after(Duration::MAX), latest);
        assert_eq!(latest.rounded_up(), latest);
        assert_eq!(Timestamp::default().since(latest), Duration::ZERO);
    }
}
