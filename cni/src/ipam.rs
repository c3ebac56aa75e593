//! The plugin's side of the conversation with `berth-ipamd`.
//!
//! A daemon that is restarting or recovering is waited for where there is no other way ([`Patience`]), with the request
//! repeated until the deadline: all of them are idempotent. Nothing is started (runtime, socket) before the first request.
//! Every request names our release, and a daemon too far from it is refused, but for the release of addresses.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proto_ids::{AllocateRequest, Attachment, CniNetworkName, Grant};
use proto_ipam::convert::ConvertError;
use proto_ipam::refusal::Refusal;
use proto_ipam::v1::ipam_client::IpamClient;
use proto_ipam::v1::{self, Phase, Reason};
use proto_ipam::version;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

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
    /// The same, and anew where an answer is long in coming: for a question that costs the daemon nothing.
    Insist,
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
    /// It was to be asked again, and then no answer came: what it said before, and nobody knows what it did since.
    #[error("{}", .0.message)]
    Unfinished(Refusal),
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
    /// The daemon is of a release too far from ours.
    #[error("{}", .0.message)]
    Skew(Refusal),
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

    /// What an operator does about it.
    pub(crate) fn advice(&self) -> Option<&str> {
        let advice = match self {
            Self::Refused(refusal) | Self::Unfinished(refusal) | Self::Skew(refusal) => {
                refusal.advice.as_str()
            }
            Self::Away { .. } | Self::Silent { .. } | Self::Broken { .. } => {
                "see whether berth-ipamd runs on this node and what it logs; the runtime tries again"
            }
            Self::Start { .. } | Self::Call { .. } | Self::Answer(_) => return None,
        };
        Some(advice).filter(|advice| !advice.is_empty())
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
            Self::Start { .. }
            | Self::Silent { .. }
            | Self::Unfinished(_)
            | Self::Call { .. }
            | Self::Skew(_)
            | Self::Answer(_) => false,
        }
    }
}

/// Pauses between attempts: short at first, since a restart is a matter of milliseconds; never so long that a daemon
/// which is back waits for its plugin.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long who insists waits for one answer: a status takes milliseconds, and a daemon that took the place of a hung one
/// is on another socket of the same name.
const ONE_ANSWER: Duration = Duration::from_secs(3);

/// A client whose every request names our release.
type Client = IpamClient<InterceptedService<Channel, Claim>>;
type Claim = fn(Request<()>) -> Result<Request<()>, Status>;

impl Ipam<'_> {
    /// Asks for the addresses of one ADD.
    pub(crate) fn allocate(&self, request: &AllocateRequest) -> Result<Grant, AskIpamdError> {
        let wire = v1::AllocateRequest::from(request);
        let answer = self.ask(
            async |mut client| client.allocate(wire.clone()).await,
            within_reach,
            |_| false,
        )?;
        Grant::try_from(answer).map_err(AskIpamdError::Answer)
    }

    /// Ends an attachment. A daemon of any release that answers has understood: there is nothing in it to misread.
    pub(crate) fn release(&self, attachment: &Attachment) -> Result<(), AskIpamdError> {
        let wire = v1::ReleaseRequest {
            attachment: Some(attachment.into()),
        };
        self.ask(
            async |mut client| client.release(wire.clone()).await,
            as_told,
            |_| false,
        )?;
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
        self.ask(
            async |mut client| client.check(wire.clone()).await,
            within_reach,
            |_| false,
        )?;
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
        self.ask(
            async |mut client| client.collect(wire.clone()).await,
            within_reach,
            |_| false,
        )
    }

    /// Whether new Pods can be given addresses in these networks. A daemon that recovers is asked again until the
    /// deadline; what it says then is the answer.
    pub(crate) fn status(
        &self,
        networks: Vec<String>,
    ) -> Result<v1::StatusResponse, AskIpamdError> {
        let wire = v1::StatusRequest { networks };
        self.ask(
            async |mut client| client.status(wire.clone()).await,
            within_reach,
            |answer| answer.phase() == Phase::Recovering,
        )
    }

    /// Asks until there is an answer that `read` takes and `again` does not want better, or the deadline is over.
    fn ask<T>(
        &self,
        call: impl AsyncFn(Client) -> Result<Response<T>, Status>,
        read: fn(Result<Response<T>, Status>) -> Result<T, AskIpamdError>,
        again: fn(&T) -> bool,
    ) -> Result<T, AskIpamdError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| AskIpamdError::Start { source })?
            .block_on(self.ask_until_deadline(call, read, again))
    }

    async fn ask_until_deadline<T>(
        &self,
        call: impl AsyncFn(Client) -> Result<Response<T>, Status>,
        read: fn(Result<Response<T>, Status>) -> Result<T, AskIpamdError>,
        again: fn(&T) -> bool,
    ) -> Result<T, AskIpamdError> {
        let end = Instant::now() + self.deadline;
        let mut pause = FIRST_PAUSE;
        let mut said = None;
        loop {
            let attempt = async {
                let client = self.connect().await?;
                read(call(client).await)
            };
            let outcome = tokio::time::timeout_at(self.attempt_end(end), attempt)
                .await
                .unwrap_or_else(|_| {
                    Err(AskIpamdError::Silent {
                        socket: self.socket.to_owned(),
                        deadline: self.deadline,
                    })
                });
            if !self.asks_again(&outcome, again) || Instant::now() + pause >= end {
                return with_last_words(outcome, said);
            }
            if let Err(AskIpamdError::Refused(refusal)) = outcome {
                said = Some(refusal);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn attempt_end(&self, end: Instant) -> Instant {
        match self.patience {
            Patience::Wait | Patience::GiveUp => end,
            Patience::Insist => end.min(Instant::now() + ONE_ANSWER),
        }
    }

    fn asks_again<T>(&self, outcome: &Result<T, AskIpamdError>, again: fn(&T) -> bool) -> bool {
        match (self.patience, outcome) {
            (Patience::GiveUp, _) => false,
            (Patience::Insist, Err(AskIpamdError::Silent { .. })) => true,
            (Patience::Wait | Patience::Insist, Ok(answer)) => again(answer),
            (Patience::Wait | Patience::Insist, Err(error)) => error.is_passing(),
        }
    }

    async fn connect(&self) -> Result<Client, AskIpamdError> {
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
        Ok(IpamClient::with_interceptor(channel, claim as Claim))
    }
}

/// What a daemon waits for, as it said once, tells more than that it waits.
fn with_last_words<T>(
    outcome: Result<T, AskIpamdError>,
    said: Option<Refusal>,
) -> Result<T, AskIpamdError> {
    match (outcome, said) {
        (Err(AskIpamdError::Silent { .. }), Some(said)) => Err(AskIpamdError::Unfinished(said)),
        (outcome, _) => outcome,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the form of tonic's interceptors")]
fn claim(mut request: Request<()>) -> Result<Request<()>, Status> {
    version::claim(request.metadata_mut());
    Ok(request)
}

/// The answer of a daemon of any release.
fn as_told<T>(outcome: Result<Response<T>, Status>) -> Result<T, AskIpamdError> {
    outcome
        .map(Response::into_inner)
        .map_err(|status| read_status(&status))
}

/// The answer of a daemon whose release works with ours. That comes first: an error of one beyond may mean anything.
fn within_reach<T>(outcome: Result<Response<T>, Status>) -> Result<T, AskIpamdError> {
    let metadata = match &outcome {
        Ok(response) => response.metadata(),
        Err(status) => status.metadata(),
    };
    match skew(metadata) {
        Some(refusal) => Err(AskIpamdError::Skew(refusal)),
        None => as_told(outcome),
    }
}

fn skew(answer: &MetadataMap) -> Option<Refusal> {
    version::refuse_daemon(&version::claimed(answer)?)
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
mod tests;
