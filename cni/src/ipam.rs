//! The plugin's side of the conversation with `berth-ipamd`.
//!
//! A daemon that is restarting or recovering is waited for where there is no other way ([`Patience`]), with the request
//! repeated until the deadline: all of them are idempotent. Nothing is started (runtime, socket) before the first request.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proto_ids::{AllocateRequest, Attachment, CniNetworkName, Grant};
use proto_ipam::convert::ConvertError;
use proto_ipam::refusal::Refusal;
use proto_ipam::v1::ipam_client::IpamClient;
use proto_ipam::v1::{self, Reason};
use tokio::net::UnixStream;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use crate::error::chain;

/// The daemon behind a socket, asked within a deadline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ipam<'a> {
    /// Its socket.
    pub(crate) socket: &'a Path,
    /// How long a request may take, waiting for the daemon included.
    pub(crate) deadline: Duration,
    /// Whether a daemon that is away or recovering is waited for.
    pub(crate) patience: Patience,
}

/// What to do while the daemon is away or recovering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Ask again until the deadline.
    Wait,
    /// Say so at once: there is another way.
    GiveUp,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskIpamdError {
    /// The runtime of the client could not start.
    #[error("start the gRPC client")]
    Start {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Nobody listens.
    #[error("berth-ipamd does not listen on {socket:?}")]
    Away {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Somebody listens, but no answer came.
    #[error("berth-ipamd on {socket:?} did not answer within {deadline:?}")]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// The deadline.
        deadline: Duration,
    },
    /// The connection broke under the call.
    #[error("the connection to berth-ipamd broke: {problem}")]
    Broken {
        /// The causes that the client library names.
        problem: String,
    },
    /// The daemon refused.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The daemon failed otherwise, or is something else.
    #[error("berth-ipamd answered {code:?}: {message:?}")]
    Call {
        /// The gRPC code.
        code: Code,
        /// Its message.
        message: String,
    },
    /// The answer is not what the contract says.
    #[error(
        "the answer of berth-ipamd cannot be read; plugin and daemon are of different versions"
    )]
    Answer(#[source] ConvertError),
}

impl AskIpamdError {
    /// Whether the daemon has surely done nothing.
    pub(crate) const fn changed_nothing(&self) -> bool {
        matches!(
            self,
            Self::Refused(_) | Self::Away { .. } | Self::Start { .. }
        )
    }

    /// Whether the daemon may answer otherwise in a moment.
    fn is_passing(&self) -> bool {
        match self {
            Self::Away { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ),
            Self::Refused(refusal) => {
                matches!(refusal.reason, Reason::Recovering | Reason::Busy)
            }
            // The daemon was killed, and its supervisor starts it again.
            Self::Broken { .. } => true,
            Self::Start { .. } | Self::Silent { .. } | Self::Call { .. } | Self::Answer(_) => false,
        }
    }
}

/// Pauses between attempts: short at first, since a restart is a matter of milliseconds; never so long that a daemon
/// which is back waits for its plugin.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Ipam<'_> {
    /// Asks for the addresses of one ADD.
    pub(crate) fn allocate(&self, request: &AllocateRequest) -> Result<Grant, AskIpamdError> {
        let wire = v1::AllocateRequest::from(request);
        let answer = self.ask(async |mut client| client.allocate(wire.clone()).await)?;
        Grant::try_from(answer).map_err(AskIpamdError::Answer)
    }

    /// Ends an attachment.
    pub(crate) fn release(&self, attachment: &Attachment) -> Result<(), AskIpamdError> {
        let wire = v1::ReleaseRequest {
            attachment: Some(attachment.into()),
        };
        self.ask(async |mut client| client.release(wire.clone()).await)?;
        Ok(())
    }

    /// Compares interfaces with the book.
    pub(crate) fn check(
        &self,
        attachment: &Attachment,
        interfaces: Vec<v1::CheckInterface>,
    ) -> Result<(), AskIpamdError> {
        let wire = v1::CheckRequest {
            attachment: Some(attachment.into()),
            interfaces,
        };
        self.ask(async |mut client| client.check(wire.clone()).await)?;
        Ok(())
    }

    /// Ends every attachment of a configuration that is not to be kept.
    pub(crate) fn collect<'k>(
        &self,
        cni_network: &CniNetworkName,
        keep: impl Iterator<Item = &'k Attachment>,
    ) -> Result<v1::CollectResponse, AskIpamdError> {
        let wire = v1::CollectRequest {
            cni_network: cni_network.to_string(),
            keep: keep.map(Into::into).collect(),
        };
        self.ask(async |mut client| client.collect(wire.clone()).await)
    }

    /// Whether new Pods can be given addresses in these networks.
    pub(crate) fn status(
        &self,
        networks: Vec<String>,
    ) -> Result<v1::StatusResponse, AskIpamdError> {
        let wire = v1::StatusRequest { networks };
        self.ask(async |mut client| client.status(wire.clone()).await)
    }

    fn ask<T>(
        &self,
        call: impl AsyncFn(IpamClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, AskIpamdError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| AskIpamdError::Start { source })?
            .block_on(self.ask_until_deadline(call))
    }

    async fn ask_until_deadline<T>(
        &self,
        call: impl AsyncFn(IpamClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, AskIpamdError> {
        let end = Instant::now() + self.deadline;
        let mut pause = FIRST_PAUSE;
        loop {
            let attempt = async {
                let client = self.connect().await?;
                call(client).await.map_err(|status| read_status(&status))
            };
            let error = match tokio::time::timeout_at(end, attempt).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(error)) => error,
                Err(_) => {
                    return Err(AskIpamdError::Silent {
                        socket: self.socket.to_owned(),
                        deadline: self.deadline,
                    });
                }
            };
            let waits = self.patience == Patience::Wait && error.is_passing();
            if !waits || Instant::now() + pause >= end {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connect(&self) -> Result<IpamClient<Channel>, AskIpamdError> {
        let away = |source| AskIpamdError::Away {
            socket: self.socket.to_owned(),
            source,
        };
        // Connected here, not in the connector: there, the kernel's error would be lost in a boxed one.
        let mut stream = Some(UnixStream::connect(self.socket).await.map_err(away)?);
        // The name of the authority is never resolved; a URI must have one.
        let channel = Endpoint::from_static("http://berth-ipamd")
            .connect_with_connector(tower::service_fn(move |_| {
                let stream = stream.take();
                async move {
                    stream
                        .map(TokioIo::new)
                        .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
                }
            }))
            .await
            // Accepted and then dropped: the daemon ended in between, which is as good as refused.
            .map_err(|error| away(io::Error::new(io::ErrorKind::ConnectionRefused, error)))?;
        Ok(IpamClient::new(channel))
    }
}

fn read_status(status: &Status) -> AskIpamdError {
    match (Refusal::from_status(status), status.source()) {
        (Some(refusal), _) => AskIpamdError::Refused(refusal),
        // Only a status made on this side has a source.
        (None, Some(source)) => AskIpamdError::Broken {
            problem: chain(source),
        },
        (None, None) => AskIpamdError::Call {
            code: status.code(),
            message: status.message().to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: Reason) -> AskIpamdError {
        AskIpamdError::Refused(Refusal {
            reason,
            message: "m".to_owned(),
            advice: "a".to_owned(),
        })
    }

    fn away(kind: io::ErrorKind) -> AskIpamdError {
        AskIpamdError::Away {
            socket: "/x".into(),
            source: kind.into(),
        }
    }

    #[test]
    fn only_passing_trouble_is_waited_out() {
        for error in [
            away(io::ErrorKind::NotFound),
            away(io::ErrorKind::ConnectionRefused),
            refused(Reason::Recovering),
            refused(Reason::Busy),
            AskIpamdError::Broken {
                problem: "broken pipe".to_owned(),
            },
        ] {
            assert!(error.is_passing(), "{error}");
        }
        for error in [
            away(io::ErrorKind::PermissionDenied),
            refused(Reason::Exhausted),
            refused(Reason::StoreUnavailable),
            AskIpamdError::Call {
                code: Code::Unimplemented,
                message: String::new(),
            },
        ] {
            assert!(!error.is_passing(), "{error}");
        }
    }

    #[test]
    fn absent_daemon_is_reported_when_the_deadline_is_over() {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("no.sock");
        let error = Ipam {
            socket: &socket,
            deadline: Duration::from_millis(50),
            patience: Patience::Wait,
        }
        .status(Vec::new())
        .unwrap_err();
        assert!(matches!(error, AskIpamdError::Away { .. }), "{error}");
    }

    #[test]
    fn who_has_another_way_does_not_wait_for_an_absent_daemon() {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("no.sock");
        let begun = std::time::Instant::now();
        let error = Ipam {
            socket: &socket,
            deadline: Duration::from_secs(60),
            patience: Patience::GiveUp,
        }
        .status(Vec::new())
        .unwrap_err();
        assert!(matches!(error, AskIpamdError::Away { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn daemon_that_accepts_and_says_nothing_is_silent() {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("ipamd.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = Ipam {
            socket: &socket,
            deadline: Duration::from_millis(50),
            patience: Patience::Wait,
        }
        .status(Vec::new())
        .unwrap_err();
        assert!(matches!(error, AskIpamdError::Silent { .. }), "{error}");
        assert!(!error.changed_nothing());
    }

    #[test]
    fn refusal_is_read_from_the_status() {
        let refusal = Refusal {
            reason: Reason::Exhausted,
            message: "pool external-a has no free address".to_owned(),
            advice: "add a range".to_owned(),
        };
        let error = read_status(&refusal.into_status(Code::ResourceExhausted));
        assert!(matches!(
            &error,
            AskIpamdError::Refused(refusal) if refusal.reason == Reason::Exhausted
        ));
        assert_eq!(error.to_string(), "pool external-a has no free address");
    }
}
