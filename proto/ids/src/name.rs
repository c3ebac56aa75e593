//! Names with one fallible parse each.
//!
//! Every type keeps its text exactly as parsed. No name can hold a path separator, white space or a
//! control character, so none can escape into a path, an interface name or a log line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a name of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    /// The text is empty.
    #[error("{kind} is empty")]
    Empty {
        /// What was being parsed.
        kind: &'static str,
    },
    /// The text is longer than its kind allows.
    #[error("{kind} {text:?} is longer than {limit_bytes} bytes")]
    Long {
        /// What was being parsed.
        kind: &'static str,
        /// The text, cut to 64 characters.
        text: String,
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// The text holds a character its kind does not allow.
    #[error("{kind} {text:?} is not allowed: {rule}")]
    Character {
        /// What was being parsed.
        kind: &'static str,
        /// The text, cut to 64 characters.
        text: String,
        /// The rule in words.
        rule: &'static str,
    },
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

struct Rule {
    kind: &'static str,
    limit_bytes: usize,
    words: &'static str,
    first: fn(char) -> bool,
    rest: fn(char) -> bool,
    whole: fn(&str) -> bool,
}

impl Rule {
    fn check(&self, text: &str) -> Result<(), ParseNameError> {
        let kind = self.kind;
        let Some(first) = text.chars().next() else {
            return Err(ParseNameError::Empty { kind });
        };
        if text.len() > self.limit_bytes {
            return Err(ParseNameError::Long {
                kind,
                text: shown(text),
                limit_bytes: self.limit_bytes,
            });
        }
        if (self.first)(first) && text.chars().all(self.rest) && (self.whole)(text) {
            return Ok(());
        }
        Err(ParseNameError::Character {
            kind,
            text: shown(text),
            rule: self.words,
        })
    }
}

const fn alphanumeric(c: char) -> bool {
    c.is_ascii_alphanumeric()
}

const fn token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

const fn dns(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-')
}

const fn interface(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '/' | ':')
}

const fn graphic(c: char) -> bool {
    c.is_ascii_graphic()
}

const fn any(_: &str) -> bool {
    true
}

fn ends_alphanumeric(text: &str) -> bool {
    text.ends_with(alphanumeric)
}

fn not_dots(text: &str) -> bool {
    text != "." && text != ".."
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Box<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, ParseNameError> {
                $rule.check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = ParseNameError;

            fn try_from(text: String) -> Result<Self, ParseNameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.into()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

const TOKEN_WORDS: &str =
    "letters, digits, '_', '.' and '-' only, beginning with a letter or a digit";
const DNS_WORDS: &str =
    "lower-case letters, digits, '.' and '-' only, beginning and ending with a letter or a digit";

name!(
    /// A CNI container id: `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$` (CNI specification, "Parameters"), at most 255 bytes.
    SandboxId,
    Rule { kind: "container id", limit_bytes: 255, words: TOKEN_WORDS, first: alphanumeric, rest: token, whole: any }
);
name!(
    /// The name of a CNI network configuration, same alphabet as a container id.
    CniNetworkName,
    Rule { kind: "network name", limit_bytes: 255, words: TOKEN_WORDS, first: alphanumeric, rest: token, whole: any }
);
name!(
    /// A Linux interface name: 1 to 15 bytes (`IFNAMSIZ`), not `.` or `..`, without `/`, `:` or white space.
    IfName,
    Rule {
        kind: "interface name", limit_bytes: 15,
        words: "printable characters without '/', ':' or white space, and not \".\" or \"..\"",
        first: interface, rest: interface, whole: not_dots
    }
);
name!(
    /// A named underlay segment that Pods can join, such as `external`. At most 32 bytes, so that it fits a link alias.
    NetworkName,
    Rule { kind: "network", limit_bytes: 32, words: DNS_WORDS, first: alphanumeric, rest: dns, whole: ends_alphanumeric }
);
name!(
    /// The addresses of one network in one rack.
    PoolName,
    Rule { kind: "pool name", limit_bytes: 63, words: DNS_WORDS, first: alphanumeric, rest: dns, whole: ends_alphanumeric }
);
name!(
    /// The failure and routing domain of one top-of-rack switch.
    RackName,
    Rule { kind: "rack", limit_bytes: 63, words: TOKEN_WORDS, first: alphanumeric, rest: token, whole: ends_alphanumeric }
);
name!(
    /// A node, by its Kubernetes or host name.
    NodeName,
    Rule { kind: "node name", limit_bytes: 253, words: TOKEN_WORDS, first: alphanumeric, rest: token, whole: ends_alphanumeric }
);
name!(
    /// The UID of a Pod.
    PodUid,
    Rule { kind: "pod uid", limit_bytes: 63, words: TOKEN_WORDS, first: alphanumeric, rest: token, whole: ends_alphanumeric }
);
name!(
    /// What an address sticks to: by default `namespace/pod`; a Pod may name another.
    Identity,
    Rule {
        kind: "identity", limit_bytes: 320,
        words: "printable characters without white space",
        first: graphic, rest: graphic, whole: any
    }
);

impl From<&PodKey> for Identity {
    fn from(pod: &PodKey) -> Self {
        // A PodKey is two DNS names and a slash: always a valid identity (63 + 1 + 253 bytes).
        Self(pod.to_string().into())
    }
}

impl From<&SandboxId> for Identity {
    /// The identity of a sandbox that belongs to no Pod: it sticks to nothing else.
    fn from(sandbox: &SandboxId) -> Self {
        Self(format!("sandbox:{sandbox}").into())
    }
}

const NAMESPACE: Rule = Rule {
    kind: "pod namespace",
    limit_bytes: 63,
    words: DNS_WORDS,
    first: alphanumeric,
    rest: dns,
    whole: ends_alphanumeric,
};
const POD: Rule = Rule {
    kind: "pod name",
    limit_bytes: 253,
    words: DNS_WORDS,
    first: alphanumeric,
    rest: dns,
    whole: ends_alphanumeric,
};

/// A Pod by namespace and name, written `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodKey {
    namespace: Box<str>,
    name: Box<str>,
}

impl PodKey {
    /// Parses namespace and name.
    ///
    /// # Errors
    /// When either is not a DNS name of Kubernetes' rules.
    pub fn new(namespace: &str, name: &str) -> Result<Self, ParseNameError> {
        NAMESPACE.check(namespace)?;
        POD.check(name)?;
        Ok(Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name inside its namespace.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for PodKey {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let Some((namespace, name)) = text.split_once('/') else {
            return Err(ParseNameError::Character {
                kind: "pod",
                text: shown(text),
                rule: "written as namespace/name",
            });
        };
        Self::new(namespace, name)
    }
}

impl TryFrom<String> for PodKey {
    type Error = ParseNameError;

    fn try_from(text: String) -> Result<Self, ParseNameError> {
        text.parse()
    }
}

impl From<PodKey> for String {
    fn from(pod: PodKey) -> Self {
        pod.to_string()
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_escape_are_refused() {
        for text in ["../x", "a/b", "a b", "", "-a", "a\n", "ä", ".", ".."] {
            assert!(text.parse::<SandboxId>().is_err(), "{text:?}");
        }
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "sixteen-bytes-xx",
            "a\u{7f}",
        ] {
            assert!(text.parse::<IfName>().is_err(), "{text:?}");
        }
        for text in ["", "a b", "a\tb", "\u{1b}[31m"] {
            assert!(text.parse::<Identity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_of_the_field_are_accepted() {
        assert!("eth0".parse::<IfName>().is_ok());
        assert!("fifteen-bytes-x".parse::<IfName>().is_ok());
        assert!("3f9a_b.c-d".parse::<SandboxId>().is_ok());
        let pod: PodKey = "prod/db-0".parse().unwrap();
        assert_eq!((pod.namespace(), pod.name()), ("prod", "db-0"));
        assert_eq!(Identity::from(&pod).as_str(), "prod/db-0");
    }

    #[test]
    fn serde_checks_as_parse_does() {
        assert!(serde_json::from_str::<IfName>("\"a/b\"").is_err());
        assert_eq!(
            serde_json::to_string(&"eth0".parse::<IfName>().unwrap()).unwrap(),
            "\"eth0\""
        );
    }
}
