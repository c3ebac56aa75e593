//! Stickiness rules: what becomes of a binding when its Pod goes away.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use globset::{Glob, GlobMatcher};
use proto_ids::PodKey;
use serde::{Deserialize, Serialize};

/// How long a binding is kept after release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Hold {
    /// Until an operator frees it. Written `forever`.
    Forever,
    /// This long. Written as a duration, such as `30m`.
    For(Duration),
    /// Not at all: the addresses go into quarantine. Written `none`.
    None,
}

/// Why a text is not a hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("hold {text:?} is not \"forever\", \"none\" or a duration such as \"30m\"")]
pub struct ParseHoldError {
    text: String,
    #[source]
    source: humantime::DurationError,
}

impl FromStr for Hold {
    type Err = ParseHoldError;

    fn from_str(text: &str) -> Result<Self, ParseHoldError> {
        match text {
            "forever" => Ok(Self::Forever),
            "none" => Ok(Self::None),
            _ => humantime::parse_duration(text)
                .map(|duration| {
                    if duration.is_zero() {
                        Self::None
                    } else {
                        Self::For(duration)
                    }
                })
                .map_err(|source| ParseHoldError {
                    text: text.chars().take(64).collect(),
                    source,
                }),
        }
    }
}

impl From<Hold> for String {
    fn from(hold: Hold) -> Self {
        hold.to_string()
    }
}

impl TryFrom<String> for Hold {
    type Error = ParseHoldError;

    fn try_from(text: String) -> Result<Self, ParseHoldError> {
        text.parse()
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.pad("forever"),
            Self::None => f.pad("none"),
            Self::For(duration) => f.pad(&humantime::format_duration(*duration).to_string()),
        }
    }
}

/// A shell pattern over a namespace or a Pod name: `*`, `?`, `[0-9]`, `{a,b}`.
#[derive(Clone, Debug)]
pub struct Pattern(GlobMatcher);

/// Why a text is not a shell pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a shell pattern")]
pub struct ParsePatternError {
    text: String,
    #[source]
    source: globset::Error,
}

impl Pattern {
    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        self.0.glob().glob()
    }

    /// Whether the whole text fits the pattern.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.glob() == other.0.glob()
    }
}

impl Eq for Pattern {}

impl FromStr for Pattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, ParsePatternError> {
        Glob::new(text)
            .map(|glob| Self(glob.compile_matcher()))
            .map_err(|source| ParsePatternError {
                text: text.chars().take(64).collect(),
                source,
            })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One stickiness rule. The first that fits the Pod decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Namespaces it fits.
    pub namespace: Pattern,
    /// Pod names it fits.
    pub pod: Pattern,
    /// What it decides.
    pub hold: Hold,
}

impl Rule {
    pub(crate) fn fits(&self, pod: &PodKey) -> bool {
        self.namespace.matches(pod.namespace()) && self.pod.matches(pod.name())
    }
}

/// Whether a Pod's name ends in `-` and digits, as a `StatefulSet` names its Pods.
pub(crate) fn has_ordinal(pod: &PodKey) -> bool {
    pod.name().rsplit_once('-').is_some_and(|(stem, ordinal)| {
        !stem.is_empty() && !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_behind_a_dash_is_an_ordinal() {
        for (name, ordinal) in [
            ("db-0", true),
            ("db-a-12", true),
            ("db0", false),
            ("db-7f", false),
            ("web-5d8f-x2x4", false),
            ("0", false),
        ] {
            let pod = PodKey::new("prod", name).unwrap();
            assert_eq!(has_ordinal(&pod), ordinal, "{name}");
        }
    }

    #[test]
    fn hold_is_forever_none_or_a_duration() {
        assert_eq!("forever".parse(), Ok(Hold::Forever));
        assert_eq!("none".parse(), Ok(Hold::None));
        assert_eq!("0s".parse(), Ok(Hold::None));
        let hold: Hold = "1h 30m".parse().unwrap();
        assert_eq!(hold, Hold::For(Duration::from_secs(5400)));
        assert_eq!(hold.to_string().parse(), Ok(hold));
        assert!("for a while".parse::<Hold>().is_err());
    }

    #[test]
    fn patterns_are_those_of_a_shell() {
        for (pattern, text, fits) in [
            ("*", "anything", true),
            ("*-[0-9]*", "db-0", true),
            ("*-[0-9]*", "db", false),
            ("db-?", "db-10", false),
            ("{db,mq}-*", "mq-1", true),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(text), fits, "{pattern} {text}");
        }
        assert!("[".parse::<Pattern>().is_err());
    }
}
