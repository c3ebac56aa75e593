//! Versions of the specification, and which verb came with which.
//!
//! Versions are compared as texts, exactly: `1.0` and `v1.0.0` are not `1.0.0`.

use std::fmt;

/// A version of the CNI specification that Berth speaks, in order of age.
///
/// 0.1.0 and 0.2.0 are left out: their results hold one address per family and no interfaces, so a Pod with two
/// networks could not be described truthfully.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CniVersion {
    /// 0.3.0
    V0_3_0,
    /// 0.3.1, the same formats as 0.3.0.
    V0_3_1,
    /// 0.4.0: CHECK.
    V0_4_0,
    /// 1.0.0: no `version` in addresses.
    V1_0_0,
    /// 1.1.0: GC, STATUS, MTU and priority in results.
    V1_1_0,
}

/// An operation a runtime asks for (`CNI_COMMAND`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Join a container to the network.
    Add,
    /// Take it out again.
    Del,
    /// Compare what is with what was answered.
    Check,
    /// End everything that is not listed.
    Gc,
    /// Say whether an ADD could succeed.
    Status,
    /// Name the versions spoken.
    Version,
}

impl CniVersion {
    /// All of them, oldest first, as VERSION lists them.
    pub const ALL: [Self; 5] = [
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];
    /// The newest.
    pub const LATEST: Self = Self::V1_1_0;

    /// The version as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version of exactly this text.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    /// Whether this version of the specification has the verb.
    pub fn permits(self, verb: Verb) -> bool {
        match verb {
            Verb::Add | Verb::Del | Verb::Version => true,
            Verb::Check => self >= Self::V0_4_0,
            Verb::Gc | Verb::Status => self >= Self::V1_1_0,
        }
    }
}

impl fmt::Display for CniVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Verb {
    /// The verb of a `CNI_COMMAND`.
    pub fn of(text: &str) -> Option<Self> {
        Some(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            "VERSION" => Self::Version,
            _ => return None,
        })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_match_exactly_or_not_at_all() {
        for version in CniVersion::ALL {
            assert_eq!(CniVersion::of(version.as_str()), Some(version));
        }
        for text in [
            "", "0.1.0", "0.2.0", "1.0", "v1.0.0", "1.1.0 ", "1.2.0", "9.9.9",
        ] {
            assert_eq!(CniVersion::of(text), None, "{text:?}");
        }
    }

    #[test]
    fn verbs_come_with_their_version() {
        let since = |verb| {
            CniVersion::ALL
                .into_iter()
                .find(|v| v.permits(verb))
                .map(CniVersion::as_str)
        };
        assert_eq!(since(Verb::Add), Some("0.3.0"));
        assert_eq!(since(Verb::Del), Some("0.3.0"));
        assert_eq!(since(Verb::Check), Some("0.4.0"));
        assert_eq!(since(Verb::Gc), Some("1.1.0"));
        assert_eq!(since(Verb::Status), Some("1.1.0"));
    }

    #[test]
    fn every_verb_is_read_as_it_is_written() {
        for verb in [
            Verb::Add,
            Verb::Del,
            Verb::Check,
            Verb::Gc,
            Verb::Status,
            Verb::Version,
        ] {
            assert_eq!(Verb::of(&verb.to_string()), Some(verb));
        }
        assert_eq!(Verb::of("add"), None);
    }
}
