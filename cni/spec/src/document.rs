//! The network configuration on standard input, decoded once and read in parts.
//!
//! Parts, because verbs need different ones: a DEL must find name and daemon in a configuration whose `networks` an
//! operator has broken since the ADD. What a runtime adds at the top level is accepted; Berth's own objects are closed:
//! an unknown key there is a slip of the pen that would otherwise do nothing, silently.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use proto_ids::{Attachment, CniNetworkName, ParseNameError};
use serde_json::{Map, Value};

use crate::cni_args::shown;
use crate::object::Object;
use crate::{CniResult, CniVersion, ParseResultError, SpecCode, Verb};

/// A decoded configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Document(Map<String, Value>);

/// What every verb but VERSION needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `cniVersion`
    pub version: CniVersion,
    /// `name`
    pub name: CniNetworkName,
}

/// How to reach `berth-ipamd`, and what to do while it is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// `ipamd`: its socket.
    pub socket: PathBuf,
    /// `spool`: folder of the notes that DEL leaves while the daemon is away.
    pub spool: PathBuf,
    /// `timeouts.allocateSeconds`: how long ADD, CHECK and GC wait for an answer, a restart of the daemon included.
    pub allocate: Duration,
    /// `timeouts.releaseSeconds`: how long DEL waits before it leaves a note.
    pub release: Duration,
    /// `timeouts.statusSeconds`: how long STATUS waits for a daemon that is away, recovering or silent.
    pub status: Duration,
    /// `timeouts.gatewaySeconds`: how long a gateway may take to answer after a take-over.
    pub gateway: Duration,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            socket: "/run/berth/ipamd.sock".into(),
            spool: "/run/berth/spool".into(),
            // A daemon's restart with recovery takes a second or two; kubelet waits minutes for a sandbox.
            allocate: Duration::from_secs(10),
            // A note is as good as an answer, so a Pod's end does not wait for a slow daemon.
            release: Duration::from_secs(3),
            // An upgrade of the daemon takes some seconds, and a node that says NotReady meanwhile loses all its Pods from
            // their Services. kubelet asks 5 s after the last answer and takes a runtime for dead whose last answer is
            // older than 30 s (kubelet.go: updateRuntimeUp, maxWaitForContainerRuntime), and containerd sets STATUS no
            // deadline (go-cni: Status): 10 s leave room for both.
            status: Duration::from_secs(10),
            gateway: Duration::from_secs(5),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ParseConfError {
    /// Not JSON.
    #[error("network configuration is not valid JSON")]
    Json {
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// JSON, but no object.
    #[error("network configuration is not a JSON object")]
    NotObject,
    /// `cniVersion` is not a text.
    #[error("cniVersion is not a string")]
    VersionForm,
    /// A version nobody here speaks.
    #[error("incompatible CNI versions")]
    Version {
        /// The version asked for, cut to 64 characters.
        found: String,
    },
    /// The version has no such verb.
    #[error("config version does not allow {verb}")]
    VerbVersion {
        /// The verb.
        verb: Verb,
        /// The configuration's version.
        version: CniVersion,
    },
    /// No `name`.
    #[error("missing network name")]
    NameMissing,
    /// A `name` that must not be used.
    #[error("invalid network name")]
    Name {
        /// Why.
        #[source]
        source: ParseNameError,
    },
    /// A key that does nothing.
    #[error("unknown key {key:?} in {place}")]
    UnknownKey {
        /// Path of the object.
        place: String,
        /// The key, cut to 64 characters.
        key: String,
        /// The keys there are.
        known: &'static [&'static str],
    },
    /// Something asked for that Berth does not do.
    #[error("{place}: {problem}")]
    Unsupported {
        /// Path of the value.
        place: String,
        /// Why not, and what to do.
        problem: String,
    },
    /// A value that makes no sense.
    #[error("{place}: {problem}")]
    Value {
        /// Path of the value.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// `prevResult` cannot be read.
    #[error("prevResult cannot be read")]
    PrevResult {
        /// Why.
        #[source]
        source: ParseResultError,
    },
}

impl ParseConfError {
    /// A value at `place` that makes no sense.
    pub fn value(place: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self::Value {
            place: place.into(),
            problem: problem.to_string(),
        }
    }

    /// The code the specification gives this error.
    pub const fn code(&self) -> SpecCode {
        match self {
            Self::Json { .. } | Self::NotObject | Self::VersionForm | Self::PrevResult { .. } => {
                SpecCode::Decode
            }
            Self::Version { .. } | Self::VerbVersion { .. } => SpecCode::IncompatibleVersion,
            Self::UnknownKey { .. } | Self::Unsupported { .. } => SpecCode::UnsupportedField,
            Self::NameMissing | Self::Name { .. } | Self::Value { .. } => SpecCode::InvalidConfig,
        }
    }

    /// What an operator needs besides message and cause.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Version { found } => Some(format!(
                "config is {found:?}, plugin supports {:?}",
                CniVersion::ALL.map(CniVersion::as_str)
            )),
            Self::VerbVersion { version, .. } => Some(format!("config is \"{version}\"")),
            Self::UnknownKey { known, .. } => Some(format!("known keys: {}", known.join(", "))),
            _ => None,
        }
    }
}

const TIMEOUTS: &[&str] = &[
    "allocateSeconds",
    "releaseSeconds",
    "statusSeconds",
    "gatewaySeconds",
];
/// Both spellings that runtimes use for the list of a GC.
const VALID_ATTACHMENTS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

impl Document {
    /// Decodes standard input.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn decode(bytes: &[u8]) -> Result<Self, ParseConfError> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(ParseConfError::NotObject),
            Err(source) => Err(ParseConfError::Json { source }),
        }
    }

    /// The version, where it is one that is spoken: for the form of an error.
    pub fn version(&self) -> Option<CniVersion> {
        CniVersion::of(self.get("cniVersion")?.as_str()?)
    }

    /// The network's name, where it is valid: enough for a DEL.
    pub fn name(&self) -> Option<CniNetworkName> {
        self.get("name")?.as_str()?.parse().ok()
    }

    /// Checks name and version, and that the version has the verb.
    ///
    /// # Errors
    /// See [`ParseConfError`]. A configuration without `cniVersion` is of version 0.1.0, which is not spoken.
    pub fn header(&self, verb: Verb) -> Result<Header, ParseConfError> {
        let name = match self.get("name") {
            None => return Err(ParseConfError::NameMissing),
            Some(Value::String(name)) if name.is_empty() => {
                return Err(ParseConfError::NameMissing);
            }
            Some(Value::String(name)) => name
                .parse()
                .map_err(|source| ParseConfError::Name { source })?,
            Some(_) => return Err(ParseConfError::value("name", "is not a string")),
        };
        let version = match self.get("cniVersion") {
            None => "0.1.0",
            Some(Value::String(text)) if text.is_empty() => "0.1.0",
            Some(Value::String(text)) => text,
            Some(_) => return Err(ParseConfError::VersionForm),
        };
        let version = CniVersion::of(version).ok_or_else(|| ParseConfError::Version {
            found: shown(version),
        })?;
        if !version.permits(verb) {
            return Err(ParseConfError::VerbVersion { verb, version });
        }
        Ok(Header { version, name })
    }

    /// The daemon as the top level says.
    ///
    /// # Errors
    /// When a value is not what it should be.
    pub fn daemon(&self) -> Result<Daemon, ParseConfError> {
        daemon(&self.root())
    }

    /// `prevResult`, in whatever version it is written; `None` where there is none.
    ///
    /// # Errors
    /// When it is there but is no result.
    pub fn prev_result(&self) -> Result<Option<CniResult>, ParseConfError> {
        self.get("prevResult")
            .map(CniResult::parse)
            .transpose()
            .map_err(|source| ParseConfError::PrevResult { source })
    }

    /// The attachments that a GC shall keep. `None`: the runtime gave no list, so nothing may be removed.
    /// `null` and `[]` are the empty list: a runtime without Pods sends that.
    ///
    /// # Errors
    /// When an entry is not an attachment: half a list must not decide what is removed.
    pub fn valid_attachments(&self) -> Result<Option<BTreeSet<Attachment>>, ParseConfError> {
        let Some(name) = self.name() else {
            return Err(ParseConfError::NameMissing);
        };
        let mut keep = None::<BTreeSet<Attachment>>;
        for key in VALID_ATTACHMENTS {
            let entries = match self.0.get(key) {
                None => continue,
                Some(Value::Null) => &[],
                Some(Value::Array(entries)) => entries.as_slice(),
                Some(_) => return Err(ParseConfError::value(key, "is not a list")),
            };
            let keep = keep.get_or_insert_default();
            for (index, entry) in entries.iter().enumerate() {
                let entry = Object::of(entry, format!("{key}[{index}]"))?;
                keep.insert(Attachment {
                    cni_network: name.clone(),
                    sandbox: entry.required("containerID")?,
                    ifname: entry.required("ifname")?,
                });
            }
        }
        Ok(keep)
    }

    /// The object below `key`; `None` where it is absent or null.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Object<'_>>, ParseConfError> {
        self.get(key)
            .map(|value| Object::of(value, key.to_owned()))
            .transpose()
    }

    pub(crate) fn root(&self) -> Object<'_> {
        Object::root(&self.0)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }
}

/// Reads `ipamd`, `spool` and `timeouts` of an object.
pub(crate) fn daemon(object: &Object<'_>) -> Result<Daemon, ParseConfError> {
    let mut daemon = Daemon::default();
    for (key, path) in [("ipamd", &mut daemon.socket), ("spool", &mut daemon.spool)] {
        if let Some(given) = object.parsed::<PathBuf>(key)? {
            if !given.is_absolute() {
                return Err(object.value_error(key, "is not an absolute path"));
            }
            *path = given;
        }
    }
    let Some(timeouts) = object.object("timeouts")? else {
        return Ok(daemon);
    };
    timeouts.only(TIMEOUTS)?;
    for (key, duration) in [
        ("allocateSeconds", &mut daemon.allocate),
        ("releaseSeconds", &mut daemon.release),
        ("statusSeconds", &mut daemon.status),
        ("gatewaySeconds", &mut daemon.gateway),
    ] {
        if let Some(seconds) = timeouts.typed::<f64>(key)? {
            *duration = Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|duration| !duration.is_zero() && duration.as_secs() <= 600)
                .ok_or_else(|| timeouts.value_error(key, "is not between 0 and 600 seconds"))?;
        }
    }
    Ok(daemon)
}

#[cfg(test)]
mod tests;
