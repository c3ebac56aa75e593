//! What a run was started for: environment, program name and standard input, read once.
//!
//! Standard input is bounded and decoded by `cni-spec`; no text of the runtime is used before it was parsed there.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;

use cni_spec::{Call, Document};

use crate::error::CallError;

/// Who started the program, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Nobody: no verb and no arguments.
    About,
    /// A person or a unit file, with arguments.
    Operator,
    /// A container runtime or a main plugin.
    Call {
        /// Under which name.
        role: Role,
    },
}

/// What the program's name makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `berth`: wires.
    Plugin,
    /// `berth-ipam`: only hands out addresses.
    Ipam,
}

/// Name under which the program is an IPAM plugin.
const IPAM_NAME: &str = "berth-ipam";
/// A configuration is a few kilobytes; `cni.dev/valid-attachments` of 256 Pods some 30. More is no configuration.
const STDIN_LIMIT_BYTES: u64 = 1024 * 1024;

/// Looks at program name, arguments and `CNI_COMMAND`.
pub(crate) fn incoming() -> Incoming {
    let mut arguments = env::args_os();
    let program = arguments.next();
    decide(
        program.as_deref(),
        arguments.next().is_some(),
        env::var_os("CNI_COMMAND").is_some_and(|command| !command.is_empty()),
    )
}

fn decide(program: Option<&OsStr>, has_arguments: bool, has_command: bool) -> Incoming {
    if has_command {
        let name = program.and_then(|program| Path::new(program).file_name());
        let role = if name == Some(OsStr::new(IPAM_NAME)) {
            Role::Ipam
        } else {
            Role::Plugin
        };
        return Incoming::Call { role };
    }
    if has_arguments {
        Incoming::Operator
    } else {
        Incoming::About
    }
}

/// The call that the environment describes.
pub(crate) fn call() -> Result<Call, CallError> {
    Call::parse(env::var_os).map_err(CallError::Environment)
}

/// Whether the plugin's own namespace is allowed as the container's: for tests of chains on one namespace.
pub(crate) fn may_use_own_namespace() -> bool {
    env::var_os("CNI_NETNS_OVERRIDE")
        .is_some_and(|value| matches!(value.to_str(), Some("1" | "true" | "TRUE" | "True")))
}

/// The configuration on standard input.
pub(crate) fn document() -> Result<Document, CallError> {
    read_document(io::stdin().lock())
}

fn read_document(input: impl Read) -> Result<Document, CallError> {
    let mut bytes = Vec::new();
    input
        .take(STDIN_LIMIT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| CallError::ReadStdin { source })?;
    if bytes.len() as u64 > STDIN_LIMIT_BYTES {
        return Err(CallError::LongStdin {
            limit_bytes: STDIN_LIMIT_BYTES,
        });
    }
    Document::decode(&bytes).map_err(CallError::Conf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_arguments_and_command_decide_what_a_run_is() {
        let plugin = Incoming::Call { role: Role::Plugin };
        let ipam = Incoming::Call { role: Role::Ipam };
        let cases = [
            (Some("berth"), false, false, Incoming::About),
            (Some("berth-ipam"), false, false, Incoming::About),
            (Some("/opt/cni/bin/berth"), false, true, plugin),
            (Some("/opt/cni/bin/berth-ipam"), false, true, ipam),
            (Some("berth-ipam"), true, true, ipam),
            (Some("berth-ipamd"), false, true, plugin),
            (None, false, true, plugin),
            (Some("berth"), true, true, plugin),
            (Some("berth"), true, false, Incoming::Operator),
        ];
        for (program, arguments, command, wanted) in cases {
            let got = decide(program.map(OsStr::new), arguments, command);
            assert_eq!(got, wanted, "{program:?} {arguments} {command}");
        }
    }

    #[test]
    fn standard_input_is_bounded() {
        let endless = io::repeat(b' ');
        assert!(matches!(
            read_document(endless),
            Err(CallError::LongStdin { .. })
        ));
        let full = format!("{{{}}}", " ".repeat(1024 * 1024 - 2));
        assert!(read_document(full.as_bytes()).is_ok());
    }

    #[test]
    fn unreadable_standard_input_has_its_own_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        assert!(matches!(
            read_document(Broken),
            Err(CallError::ReadStdin { .. })
        ));
    }
}
