//! The error a plugin answers: codes of the specification and the JSON form.

use serde::{Deserialize, Serialize};

use crate::CniVersion;

/// Codes that the specification gives a meaning ("Error"). Plugins have those from 100 to themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum SpecCode {
    /// The configuration's version is not spoken, or lacks the verb.
    IncompatibleVersion = 1,
    /// A field or value of the configuration that the plugin must not ignore and does not know.
    UnsupportedField = 2,
    /// The container does not exist; the runtime need not call DEL.
    UnknownContainer = 3,
    /// A required environment variable is missing or malformed.
    InvalidEnvironment = 4,
    /// Reading or writing failed, stdin for one.
    Io = 5,
    /// Something could not be decoded.
    Decode = 6,
    /// The configuration was understood and makes no sense.
    InvalidConfig = 7,
    /// A transient condition: the runtime should try again later.
    TryAgainLater = 11,
    /// STATUS: no ADD can succeed.
    NotAvailable = 50,
    /// STATUS: no ADD can succeed, and running containers may have limited connectivity.
    NotAvailableLimited = 51,
}

impl From<SpecCode> for u32 {
    fn from(code: SpecCode) -> Self {
        code as Self
    }
}

/// The error object a plugin prints on standard output before it exits with 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Version of the configuration; the newest where that could not be read.
    #[serde(rename = "cniVersion")]
    pub cni_version: String,
    /// What happened, for programs.
    pub code: u32,
    /// What happened, in words.
    pub msg: String,
    /// Causes and advice; empty where `msg` says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl Failure {
    /// An error in the version of the configuration, where it is known.
    pub fn new(version: Option<CniVersion>, code: u32, msg: String, details: String) -> Self {
        Self {
            cni_version: version.unwrap_or(CniVersion::LATEST).to_string(),
            code,
            msg,
            details,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_has_the_keys_of_the_specification() {
        let failure = Failure::new(
            Some(CniVersion::V0_4_0),
            SpecCode::InvalidConfig.into(),
            "missing network name".to_owned(),
            String::new(),
        );
        assert_eq!(
            serde_json::to_string(&failure).unwrap(),
            r#"{"cniVersion":"0.4.0","code":7,"msg":"missing network name"}"#
        );
    }

    #[test]
    fn unknown_version_is_answered_in_the_newest() {
        let failure = Failure::new(None, 6, "no".to_owned(), "why".to_owned());
        assert_eq!(
            serde_json::to_string(&failure).unwrap(),
            r#"{"cniVersion":"1.1.0","code":6,"msg":"no","details":"why"}"#
        );
    }
}
