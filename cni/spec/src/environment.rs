//! The environment of one call: which verb, for which container.
//!
//! A variable that is empty counts as missing, as the reference library has it.

use std::ffi::OsString;
use std::path::PathBuf;

use proto_ids::{IfName, ParseNameError, SandboxId};

use crate::cni_args::shown;
use crate::{CniArgs, ParseArgsError, Verb};

/// A call with everything its verb needs from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// ADD
    Add(Target),
    /// DEL
    Del(Ended),
    /// CHECK
    Check(Target),
    /// GC
    Gc,
    /// STATUS
    Status,
    /// VERSION
    Version,
}

/// The container of an ADD or CHECK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `CNI_CONTAINERID`
    pub sandbox: SandboxId,
    /// `CNI_IFNAME`
    pub ifname: IfName,
    /// `CNI_NETNS`
    pub netns: PathBuf,
    /// `CNI_ARGS`
    pub args: CniArgs,
}

/// The container of a DEL. `CNI_ARGS` is not read: whatever it holds, a container that ended must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `CNI_CONTAINERID`
    pub sandbox: SandboxId,
    /// `CNI_IFNAME`
    pub ifname: IfName,
    /// `CNI_NETNS`; absent when the namespace is gone already.
    pub netns: Option<PathBuf>,
}

/// Why a call cannot be made of an environment. Always [`crate::SpecCode::InvalidEnvironment`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseEnvironmentError {
    /// Required variables are missing or empty: all of them.
    #[error("required env variables [{}] missing", names.join(","))]
    Missing {
        /// The variables.
        names: Vec<&'static str>,
    },
    /// `CNI_COMMAND` is no verb.
    #[error("unknown CNI_COMMAND: {command:?}")]
    Command {
        /// What it is, cut to 64 characters.
        command: String,
    },
    /// A variable that is not UTF-8.
    #[error("{variable} is not UTF-8")]
    Text {
        /// The variable.
        variable: &'static str,
    },
    /// A name that must not be used.
    #[error("{variable} is invalid")]
    Name {
        /// The variable.
        variable: &'static str,
        /// Why.
        #[source]
        source: ParseNameError,
    },
    /// `CNI_ARGS` cannot be used.
    #[error("CNI_ARGS is invalid")]
    Args {
        /// Why.
        #[source]
        source: ParseArgsError,
    },
}

const COMMAND: &str = "CNI_COMMAND";
const CONTAINER: &str = "CNI_CONTAINERID";
const NETNS: &str = "CNI_NETNS";
const IFNAME: &str = "CNI_IFNAME";
const PATH: &str = "CNI_PATH";
const ARGS: &str = "CNI_ARGS";

impl Call {
    /// Reads the call from an environment, given as a look-up.
    ///
    /// # Errors
    /// When a variable the verb needs is missing (all are named at once) or malformed.
    pub fn parse(
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, ParseEnvironmentError> {
        let present = |name| variable(name).filter(|value| !value.is_empty());
        let text = |name: &'static str| {
            present(name)
                .unwrap_or_default()
                .into_string()
                .map_err(|_| ParseEnvironmentError::Text { variable: name })
        };
        let command = text(COMMAND)?;
        let verb = Verb::of(&command);
        let required: &[&'static str] = match verb {
            Some(Verb::Version | Verb::Status | Verb::Gc) => &[],
            // The reference library reads these before it looks at the verb, so an unknown verb is not asked for more.
            None if !command.is_empty() => &[],
            Some(Verb::Del) => &[CONTAINER, IFNAME, PATH],
            Some(Verb::Add | Verb::Check) | None => &[COMMAND, CONTAINER, NETNS, IFNAME, PATH],
        };
        let names: Vec<_> = required
            .iter()
            .copied()
            .filter(|name| present(name).is_none())
            .collect();
        if !names.is_empty() {
            return Err(ParseEnvironmentError::Missing { names });
        }
        let target = || {
            Ok(Target {
                sandbox: name(CONTAINER, &text(CONTAINER)?)?,
                ifname: name(IFNAME, &text(IFNAME)?)?,
                netns: present(NETNS).unwrap_or_default().into(),
                args: CniArgs::parse(&text(ARGS)?)
                    .map_err(|source| ParseEnvironmentError::Args { source })?,
            })
        };
        Ok(match verb {
            Some(Verb::Add) => Self::Add(target()?),
            Some(Verb::Check) => Self::Check(target()?),
            Some(Verb::Del) => Self::Del(Ended {
                sandbox: name(CONTAINER, &text(CONTAINER)?)?,
                ifname: name(IFNAME, &text(IFNAME)?)?,
                netns: present(NETNS).map(PathBuf::from),
            }),
            Some(Verb::Gc) => Self::Gc,
            Some(Verb::Status) => Self::Status,
            Some(Verb::Version) => Self::Version,
            None => {
                return Err(ParseEnvironmentError::Command {
                    command: shown(&command),
                });
            }
        })
    }

    /// The verb.
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Add(_) => Verb::Add,
            Self::Del(_) => Verb::Del,
            Self::Check(_) => Verb::Check,
            Self::Gc => Verb::Gc,
            Self::Status => Verb::Status,
            Self::Version => Verb::Version,
        }
    }
}

fn name<T: std::str::FromStr<Err = ParseNameError>>(
    variable: &'static str,
    text: &str,
) -> Result<T, ParseEnvironmentError> {
    text.parse()
        .map_err(|source| ParseEnvironmentError::Name { variable, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &[(&str, &str)] = &[
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];

    fn parse(command: &str, changes: &[(&str, &str)]) -> Result<Call, ParseEnvironmentError> {
        Call::parse(|name| {
            if name == COMMAND {
                return Some(command.into());
            }
            changes
                .iter()
                .chain(FULL)
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.into())
        })
    }

    #[test]
    fn each_verb_is_read_with_what_it_needs() {
        for (command, verb) in [
            ("ADD", Verb::Add),
            ("DEL", Verb::Del),
            ("CHECK", Verb::Check),
            ("GC", Verb::Gc),
            ("STATUS", Verb::Status),
            ("VERSION", Verb::Version),
        ] {
            assert_eq!(parse(command, &[]).unwrap().verb(), verb);
        }
    }

    #[test]
    fn all_missing_variables_are_named_at_once() {
        let cases: &[(&str, &[&str], &str)] = &[
            ("ADD", &["CNI_IFNAME", "CNI_PATH"], "[CNI_IFNAME,CNI_PATH]"),
            ("ADD", &["CNI_CONTAINERID"], "[CNI_CONTAINERID]"),
            (
                "CHECK",
                &["CNI_CONTAINERID", "CNI_NETNS"],
                "[CNI_CONTAINERID,CNI_NETNS]",
            ),
            (
                "DEL",
                &["CNI_CONTAINERID", "CNI_NETNS"],
                "[CNI_CONTAINERID]",
            ),
            ("", &[], "[CNI_COMMAND]"),
        ];
        for (command, empty, part) in cases {
            let changes: Vec<_> = empty.iter().map(|name| (*name, "")).collect();
            let error = parse(command, &changes).unwrap_err().to_string();
            assert_eq!(error, format!("required env variables {part} missing"));
        }
    }

    #[test]
    fn verbs_without_a_container_need_nothing_else() {
        let nothing = [
            ("CNI_CONTAINERID", ""),
            ("CNI_NETNS", ""),
            ("CNI_IFNAME", ""),
            ("CNI_PATH", ""),
        ];
        assert_eq!(parse("VERSION", &nothing), Ok(Call::Version));
        assert_eq!(parse("STATUS", &nothing), Ok(Call::Status));
        assert_eq!(parse("GC", &nothing), Ok(Call::Gc));
    }

    #[test]
    fn del_needs_no_namespace_and_reads_no_arguments() {
        let changes = [("CNI_NETNS", ""), ("CNI_ARGS", "nonsense")];
        let Call::Del(ended) = parse("DEL", &changes).unwrap() else {
            panic!("not DEL");
        };
        assert_eq!(ended.netns, None);
    }

    #[test]
    fn names_that_could_escape_are_refused_by_variable() {
        for (variable, value) in [
            ("CNI_CONTAINERID", "../x"),
            ("CNI_CONTAINERID", "a b"),
            ("CNI_IFNAME", "sixteen-bytes-xx"),
            ("CNI_IFNAME", "a/b"),
            ("CNI_IFNAME", ".."),
        ] {
            let error = parse("ADD", &[(variable, value)]).unwrap_err();
            assert!(error.to_string().contains(variable), "{error}");
            assert!(parse("DEL", &[(variable, value)]).is_err());
        }
    }

    #[test]
    fn unknown_command_is_named() {
        assert_eq!(
            parse("PLUG", &[]).unwrap_err().to_string(),
            "unknown CNI_COMMAND: \"PLUG\""
        );
    }
}
