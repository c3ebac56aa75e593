//! Points in time as the caller tells them: milliseconds since the Unix epoch.
//!
//! Arithmetic saturates: a clock that jumps or a hold of a thousand years never wraps. The latest value is the last
//! millisecond of the year 9999, the last one RFC 3339 can write.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// A point in time, in milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "u64", into = "u64")]
pub struct Timestamp(u64);

/// Why a text is not a point in time.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{text:?} is not a time of RFC 3339, such as 2026-01-31T12:00:00Z")]
pub struct ParseTimestampError {
    text: String,
    #[source]
    source: humantime::TimestampError,
}

/// 9999-12-31T23:59:59.999Z.
const LATEST_MILLISECONDS: u64 = 253_402_300_799_999;

impl Timestamp {
    /// The point so many milliseconds after the Unix epoch.
    pub const fn from_unix_milliseconds(milliseconds: u64) -> Self {
        if milliseconds > LATEST_MILLISECONDS {
            Self(LATEST_MILLISECONDS)
        } else {
            Self(milliseconds)
        }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_milliseconds(self) -> u64 {
        self.0
    }

    /// This much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self::from_unix_milliseconds(self.0.saturating_add(milliseconds(duration)))
    }

    /// This much earlier, at the earliest the Unix epoch.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(milliseconds(duration)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<u64> for Timestamp {
    fn from(milliseconds: u64) -> Self {
        Self::from_unix_milliseconds(milliseconds)
    }
}

impl From<Timestamp> for u64 {
    fn from(time: Timestamp) -> Self {
        time.0
    }
}

impl From<SystemTime> for Timestamp {
    /// A time before the Unix epoch becomes the epoch.
    fn from(time: SystemTime) -> Self {
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self::from_unix_milliseconds(milliseconds(since))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        Self::UNIX_EPOCH + Duration::from_millis(time.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_rfc3339_millis((*self).into()).to_string();
        f.pad(&text)
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        humantime::parse_rfc3339_weak(text)
            .map(Self::from)
            .map_err(|source| ParseTimestampError {
                text: text.chars().take(64).collect(),
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_is_rfc_3339() {
        let time = Timestamp::from_unix_milliseconds(1_767_225_600_123);
        assert_eq!(time.to_string(), "2026-01-01T00:00:00.123Z");
        assert_eq!("2026-01-01T00:00:00.123Z".parse(), Ok(time));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn arithmetic_saturates_at_both_ends_and_can_still_be_written() {
        let latest = Timestamp::from_unix_milliseconds(u64::MAX);
        assert_eq!(latest.after(Duration::MAX), latest);
        assert_eq!(latest.to_string(), "9999-12-31T23:59:59.999Z");
        let epoch = Timestamp::default();
        assert_eq!(epoch.before(Duration::MAX), epoch);
        assert_eq!(epoch.since(latest), Duration::ZERO);
    }

    #[test]
    fn serde_writes_an_integer() {
        let time = Timestamp::from_unix_milliseconds(5);
        assert_eq!(serde_json::to_string(&time).unwrap(), "5");
        assert_eq!(serde_json::from_str::<Timestamp>("5").unwrap(), time);
    }
}
