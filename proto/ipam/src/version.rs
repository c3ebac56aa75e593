//! Which releases of plugin and daemon understand each other, and how each learns the other's: by the metadata of every
//! call and of its answer, which is read before a message of an unknown form is.
//!
//! A side that names no release is of unknown age and is served: programs from before the handshake, people's tools, and
//! berth-agent, which asks for nothing but the status.

use std::fmt;
use std::str::FromStr;

use tonic::metadata::{MetadataMap, MetadataValue};

use crate::refusal::Refusal;
use crate::v1::Reason;

/// Metadata key under which each side names its release.
pub const KEY: &str = "berth-version";

/// This release, as it is written.
pub const OWN_TEXT: &str = env!("CARGO_PKG_VERSION");

/// This release.
pub const OWN: Version = Version {
    major: number(env!("CARGO_PKG_VERSION_MAJOR")),
    minor: number(env!("CARGO_PKG_VERSION_MINOR")),
    patch: number(env!("CARGO_PKG_VERSION_PATCH")),
};

/// How many minor versions two sides may be apart: what a rolling update makes of consecutive releases.
const REACH: u64 = 1;

/// A release: `MAJOR.MINOR.PATCH`. What follows a `-` or `+` does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Changes when old and new cannot work together.
    pub major: u64,
    /// Changes when something is added.
    pub minor: u64,
    /// Changes when something is corrected.
    pub patch: u64,
}

/// A text that is no release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not MAJOR.MINOR.PATCH")]
pub struct ParseVersionError {
    /// The text, cut to 64 characters.
    pub text: String,
}

/// Two releases that do not work together: the one to upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Apart {
    /// Our side.
    #[error("this side is the older one")]
    OwnOlder,
    /// The other side.
    #[error("the other side is the older one")]
    PeerOlder,
}

/// Digits to number, at build time; the text is cargo's.
const fn number(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let (mut value, mut at) = (0, 0);
    while at < bytes.len() {
        value = value * 10 + (bytes[at] - b'0') as u64;
        at += 1;
    }
    value
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            major,
            minor,
            patch,
        } = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseVersionError {
            text: text.chars().take(64).collect(),
        })
    }
}

fn parse(text: &str) -> Option<Version> {
    let release = text.split(['-', '+']).next()?;
    let mut parts = release.split('.').map(|part| {
        // `parse` alone would take "+1".
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|_| digits)
    });
    let mut next = || parts.next().flatten();
    let version = Version {
        major: next()?,
        minor: next()?,
        patch: next()?,
    };
    parts.next().is_none().then_some(version)
}

/// Whether two releases work together: the same major version, minor versions at most one apart.
///
/// # Errors
/// Which side is the older one.
pub fn compatible(own: Version, peer: Version) -> Result<(), Apart> {
    if own.major == peer.major && own.minor.abs_diff(peer.minor) <= REACH {
        Ok(())
    } else if own < peer {
        Err(Apart::OwnOlder)
    } else {
        Err(Apart::PeerOlder)
    }
}

/// What the plugin says of a daemon that names this release; `None` where they work together.
pub fn refuse_daemon(claimed: &str) -> Option<Refusal> {
    refuse(OWN_TEXT, claimed)
}

/// What the daemon says of a plugin that names this release; `None` where they work together.
pub fn refuse_plugin(claimed: &str) -> Option<Refusal> {
    refuse(claimed, OWN_TEXT)
}

/// Why plugin and daemon of these releases do not work together, and which to upgrade.
fn refuse(plugin: &str, daemon: &str) -> Option<Refusal> {
    let (message, advice) = match (plugin.parse::<Version>(), daemon.parse::<Version>()) {
        (Ok(plugin), Ok(daemon)) => {
            let apart = compatible(plugin, daemon).err()?;
            let advice = match apart {
                Apart::OwnOlder => UPGRADE_PLUGIN,
                Apart::PeerOlder => UPGRADE_DAEMON,
            };
            let message = format!(
                "the plugin berth is of version {plugin} and berth-ipamd of version {daemon}: they work together only \
                 within one minor version"
            );
            (message, advice)
        }
        (Err(error), _) => (format!("the version of the plugin berth: {error}"), BOTH),
        (_, Err(error)) => (format!("the version of berth-ipamd: {error}"), BOTH),
    };
    Some(Refusal {
        reason: Reason::VersionSkew,
        message,
        advice: advice.to_owned(),
    })
}

const UPGRADE_PLUGIN: &str = "upgrade the plugin, it is the older one: the init container of DaemonSet berth-ipamd puts \
    the plugin of its own image on the node, so delete the node's Pod of berth-ipamd, or run `berth-install plugin`";
const UPGRADE_DAEMON: &str = "upgrade berth-ipamd, it is the older one: give DaemonSet berth-ipamd the image of the \
    plugin's release, or put the plugin of its release back with `berth-install plugin`";
const BOTH: &str = "install plugin and berth-ipamd of one release";

/// Names our release in a call or an answer.
pub fn claim(metadata: &mut MetadataMap) {
    metadata.insert(KEY, MetadataValue::from_static(OWN_TEXT));
}

/// The release that the other side names; `None` where it names none.
pub fn claimed(metadata: &MetadataMap) -> Option<String> {
    let value = metadata.get(KEY)?;
    Some(String::from_utf8_lossy(value.as_encoded_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn own_release_is_cargos() {
        assert_eq!(OWN.to_string(), OWN_TEXT);
        assert_eq!(version(OWN_TEXT), OWN);
    }

    #[test]
    fn release_is_three_numbers_and_what_follows_them_does_not_count() {
        for (text, wanted) in [
            ("0.1.0", "0.1.0"),
            ("1.20.300", "1.20.300"),
            ("1.2.3-rc.1", "1.2.3"),
            ("1.2.3+build-7", "1.2.3"),
            ("01.2.3", "1.2.3"),
        ] {
            assert_eq!(version(text).to_string(), wanted, "{text}");
        }
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "1.2.x",
            "1..3",
            "+1.2.3",
            "1.+2.3",
            "1.2.-3",
            " 1.2.3",
            "99999999999999999999.0.0",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        let long = "x".repeat(1000).parse::<Version>().unwrap_err();
        assert!(long.to_string().len() < 100);
    }

    #[test]
    fn releases_work_together_within_one_minor_of_the_same_major_both_ways() {
        for (one, other, together) in [
            ("0.1.0", "0.1.0", true),
            ("0.1.0", "0.1.9", true),
            ("0.1.0", "0.2.0", true),
            ("0.1.9", "0.2.0", true),
            ("0.0.1", "0.1.0", true),
            ("0.1.0", "0.3.0", false),
            ("0.1.0", "0.4.0", false),
            ("0.1.0", "1.0.0", false),
            ("0.1.0", "1.1.0", false),
            ("1.9.0", "2.0.0", false),
            ("1.9.0", "1.10.0", true),
            ("1.9.0", "1.11.0", false),
            ("3.0.0", "3.1.0-rc.1", true),
            ("0.0.0", "0.18446744073709551615.0", false),
        ] {
            let (one, other) = (version(one), version(other));
            let outcome = compatible(one, other);
            assert_eq!(outcome.is_ok(), together, "{one} {other}");
            let back = compatible(other, one);
            match (outcome, back) {
                (Ok(()), Ok(())) => {}
                // The second of each pair is the newer one.
                pair => assert_eq!(pair, (Err(Apart::OwnOlder), Err(Apart::PeerOlder))),
            }
        }
    }

    #[test]
    fn refusal_names_both_releases_and_the_one_to_upgrade() {
        for (plugin, daemon, advice) in [
            ("0.1.0", "0.4.0", "upgrade the plugin"),
            ("0.4.0", "0.1.0", "upgrade berth-ipamd"),
            ("1.0.0", "0.9.0", "upgrade berth-ipamd"),
            ("newest", "0.1.0", "of one release"),
            ("0.1.0", "", "of one release"),
        ] {
            let refusal = refuse(plugin, daemon).unwrap();
            assert_eq!(refusal.reason, Reason::VersionSkew);
            assert!(refusal.advice.contains(advice), "{refusal}");
            if advice != "of one release" {
                assert!(refusal.message.contains(plugin), "{refusal}");
                assert!(refusal.message.contains(daemon), "{refusal}");
            }
        }
        assert_eq!(refuse("0.1.0", "0.2.5"), None);
    }

    #[test]
    fn each_side_refuses_what_is_beyond_its_own_release() {
        let beyond = Version {
            minor: OWN.minor + 2,
            ..OWN
        };
        let next = Version {
            minor: OWN.minor + 1,
            ..OWN
        };
        let daemon = refuse_daemon(&beyond.to_string()).unwrap();
        assert!(
            daemon
                .message
                .contains(&format!("berth-ipamd of version {beyond}")),
            "{daemon}"
        );
        let plugin = refuse_plugin(&beyond.to_string()).unwrap();
        assert!(
            plugin
                .message
                .contains(&format!("berth is of version {beyond}")),
            "{plugin}"
        );
        assert_eq!(refuse_daemon(&next.to_string()), None);
        assert_eq!(refuse_plugin(OWN_TEXT), None);
    }

    #[test]
    fn claimed_release_is_read_from_the_metadata() {
        let mut metadata = MetadataMap::new();
        assert_eq!(claimed(&metadata), None);
        claim(&mut metadata);
        assert_eq!(claimed(&metadata).as_deref(), Some(OWN_TEXT));
    }
}
