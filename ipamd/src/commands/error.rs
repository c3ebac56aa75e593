//! How a sub-command went, and its exit code: 0 done, 1 could not, 2 wrong usage (clap), 3 refused by the daemon or the
//! configuration, 4 daemon not reachable or
//! not answering in time, 5 done and the answer is "no" (nobody has the address, findings, not serving).

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use proto_ipam::refusal::Refusal;
use tonic::{Code, Status};

use crate::config::LoadConfigError;

/// What a command that worked found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// What was asked for is done or is so.
    Yes,
    /// It is not so; what was printed says how.
    No,
}

impl Answer {
    /// Yes, if it is so.
    pub(crate) const fn when(so: bool) -> Self {
        if so { Self::Yes } else { Self::No }
    }

    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Yes => 0,
            Self::No => 5,
        })
    }
}

/// Why a command did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// No runtime.
    #[error("starting")]
    Runtime {
        #[source]
        source: io::Error,
    },
    /// Nobody answers on the socket.
    #[error(
        "no daemon answers on {socket}; is berth-ipamd running (`systemctl status berth-ipamd`), \
         and is this its socket (--socket, --config)?"
    )]
    Unreachable {
        socket: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The socket may not be opened.
    #[error("{socket} may not be opened by this user; run as root")]
    Forbidden {
        socket: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The connection broke down, or the daemon is of another age.
    #[error("the daemon could not be asked to {verb} ({code:?}: {message}); its log may say more")]
    Call {
        verb: &'static str,
        code: Code,
        message: String,
    },
    /// No answer in time.
    #[error(
        "the daemon did not {verb} in time; it goes on if it was asked to change something. \
         Look at its log and the load of its disk, or wait longer (--deadline)"
    )]
    Deadline { verb: &'static str },
    /// The connection could not be set up.
    #[error("setting up the connection to {socket}")]
    Connect {
        socket: PathBuf,
        #[source]
        source: tonic::transport::Error,
    },
    /// The daemon said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The configuration is needed and cannot be used.
    #[error(transparent)]
    Config(#[from] LoadConfigError),
    /// The store of a daemon that is down could not be read.
    #[error("no daemon answers on {socket}, and its store cannot be read without it")]
    ReadStore {
        socket: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The audit log could not be read.
    #[error(transparent)]
    ReadLog(#[from] crate::ledger::offline::ReadLogError),
    /// The daemon runs, since it holds its store, but its socket is dead.
    #[error(
        "a daemon holds the store {store}, but does not answer on {socket}: it is starting, hangs, or serves another \
         socket; look at its log, and restart it if it hangs"
    )]
    SocketDead { store: PathBuf, socket: PathBuf },
    /// A file of the operator.
    #[error("{doing} {path}")]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// host-local does not know Berth's networks.
    #[error("--network is missing: which of Berth's networks do host-local's addresses belong to?")]
    NetworkMissing,
    /// stdout is gone.
    #[error("writing the answer")]
    Write {
        #[source]
        source: io::Error,
    },
    /// A file of another IPAM is not understood.
    #[error(transparent)]
    HostLocal(#[from] super::host_local::ReadHostLocalError),
}

impl CommandError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) | Self::Config(LoadConfigError::Refused { .. }) => 3,
            Self::Unreachable { .. }
            | Self::SocketDead { .. }
            | Self::Connect { .. }
            | Self::Deadline { .. } => 4,
            _ => 1,
        })
    }

    /// What a status of the daemon means: its refusal, where it carries one.
    pub(crate) fn call(verb: &'static str, status: &Status) -> Self {
        if let Some(refusal) = Refusal::from_status(status) {
            return Self::Refused(refusal);
        }
        match status.code() {
            // Our own deadline cancels the call; the daemon's is told as exceeded.
            Code::Cancelled | Code::DeadlineExceeded => Self::Deadline { verb },
            code => Self::Call {
                verb,
                code,
                message: status.message().to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proto_ipam::v1::Reason;

    use super::*;

    #[test]
    fn exit_code_tells_refusal_deadline_and_failure_apart() {
        let refusal = Refusal {
            reason: Reason::AddressTaken,
            message: "taken".to_owned(),
            advice: "wait".to_owned(),
        };
        let cases = [
            (refusal.into_status(Code::AlreadyExists), 3, "taken; wait"),
            (
                Status::cancelled("Timeout expired"),
                4,
                "did not list in time",
            ),
            (Status::deadline_exceeded(""), 4, "did not list in time"),
            (Status::unimplemented("no such call"), 1, "no such call"),
        ];
        for (status, code, words) in cases {
            let error = CommandError::call("list", &status);
            assert_eq!(error.exit_code(), ExitCode::from(code), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
