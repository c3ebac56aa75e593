//! One call to the runtime: over one shared connection, made when it is first needed and again when it broke.
//!
//! A call ends at its deadline at the latest; one that is dropped is cancelled at the runtime as well.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

pub use tonic::Code;

/// Why a call to the runtime has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallRuntimeError {
    /// Nobody serves its socket, or it went away before it answered.
    #[error("the runtime at {} is away: {call} was not answered ({message}); look whether it runs", .socket.display())]
    Away {
        /// The socket.
        socket: PathBuf,
        /// What was asked.
        call: &'static str,
        /// What the transport says.
        message: String,
    },
    /// It did not answer in time.
    #[error("the runtime at {} did not answer {call} within {deadline:?}; look whether it hangs", .socket.display())]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// What was asked.
        call: &'static str,
        /// How long it had.
        deadline: Duration,
    },
    /// It answered that it will not, or could not.
    #[error("the runtime refuses {call}: {message} ({code:?})")]
    Refused {
        /// What was asked.
        call: &'static str,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        message: String,
    },
    /// It knows no such container, sandbox or image.
    #[error("the runtime does not know what {call} asks for: {message}")]
    NotFound {
        /// What was asked.
        call: &'static str,
        /// What it says.
        message: String,
    },
    /// A command in a container did not end in time; the runtime has killed it.
    #[error("the command in the container did not end within {deadline:?}")]
    Overrun {
        /// How long it had.
        deadline: Duration,
    },
    /// It answered more than is taken.
    #[error("the runtime's answer to {call} is longer than is taken ({limit_bytes} bytes)")]
    TooLong {
        /// What was asked.
        call: &'static str,
        /// How much is taken.
        limit_bytes: usize,
    },
}

/// How long an answer may take and be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) deadline: Duration,
    pub(crate) bytes: usize,
}

/// The runtime's socket, and the connection to it.
#[derive(Debug)]
pub(crate) struct Caller {
    socket: PathBuf,
    channel: OnceLock<Channel>,
}

/// What tonic says of an answer that is longer than its limit, with a code that servers use as well.
const TOO_LONG: &str = "Error, decoded message length too large";

/// How many parts an answer may come in.
const MAX_PARTS: usize = 64;

impl Caller {
    pub(crate) const fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            channel: OnceLock::new(),
        }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn call<Q, A>(
        &self,
        path: &'static str,
        question: Q,
        limits: Limits,
    ) -> Result<A, CallRuntimeError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        self.request(path, Request::new(question), limits).await
    }

    /// The same with metadata.
    pub(crate) async fn request<Q, A>(
        &self,
        path: &'static str,
        question: Request<Q>,
        limits: Limits,
    ) -> Result<A, CallRuntimeError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let call = path.rsplit('/').next().unwrap_or(path);
        let asking = async {
            let mut client =
                Grpc::new(self.channel().clone()).max_decoding_message_size(limits.bytes);
            client
                .ready()
                .await
                .map_err(|error| self.away(call, &error))?;
            let path = PathAndQuery::from_static(path);
            let answer = client.unary(question, path, ProstCodec::default());
            answer
                .await
                .map_err(|status| self.refused(call, &status, limits))
        };
        match tokio::time::timeout(limits.deadline, asking).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(self.silent(call, limits)),
        }
    }

    /// Asks, and waits for all parts of the answer; each part and their number are bounded.
    pub(crate) async fn stream<Q, A>(
        &self,
        path: &'static str,
        question: Request<Q>,
        limits: Limits,
    ) -> Result<Vec<A>, CallRuntimeError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let call = path.rsplit('/').next().unwrap_or(path);
        let refused = |status: Status| self.refused(call, &status, limits);
        let asking = async {
            let mut client =
                Grpc::new(self.channel().clone()).max_decoding_message_size(limits.bytes);
            client
                .ready()
                .await
                .map_err(|error| self.away(call, &error))?;
            let path = PathAndQuery::from_static(path);
            let answer = client.server_streaming(question, path, ProstCodec::default());
            let mut parts = answer.await.map_err(refused)?.into_inner();
            let mut all = Vec::new();
            while let Some(part) = parts.message().await.map_err(refused)? {
                if all.len() == MAX_PARTS {
                    return Err(CallRuntimeError::TooLong {
                        call,
                        limit_bytes: limits.bytes,
                    });
                }
                all.push(part);
            }
            Ok(all)
        };
        match tokio::time::timeout(limits.deadline, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(self.silent(call, limits)),
        }
    }

    fn silent(&self, call: &'static str, limits: Limits) -> CallRuntimeError {
        CallRuntimeError::Silent {
            socket: self.socket.clone(),
            call,
            deadline: limits.deadline,
        }
    }

    /// Connects when the first call does, and anew after the connection broke. Made within a call: it needs tokio's runtime.
    fn channel(&self) -> &Channel {
        self.channel.get_or_init(|| {
            let socket = self.socket.clone();
            let connector = tower::service_fn(move |_| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            });
            // The address is never looked up: the connector knows the socket.
            Endpoint::from_static("http://runtime.invalid").connect_with_connector_lazy(connector)
        })
    }

    fn away(&self, call: &'static str, error: &dyn std::error::Error) -> CallRuntimeError {
        CallRuntimeError::Away {
            socket: self.socket.clone(),
            call,
            message: root(error),
        }
    }

    fn refused(&self, call: &'static str, status: &Status, limits: Limits) -> CallRuntimeError {
        // Of the transport when it has a source: an answer of the runtime's has none.
        if let Some(source) = std::error::Error::source(status) {
            return self.away(call, source);
        }
        let message = status.message().to_owned();
        match status.code() {
            Code::Unavailable => CallRuntimeError::Away {
                socket: self.socket.clone(),
                call,
                message,
            },
            Code::NotFound => CallRuntimeError::NotFound { call, message },
            Code::OutOfRange if message.starts_with(TOO_LONG) => CallRuntimeError::TooLong {
                call,
                limit_bytes: limits.bytes,
            },
            code => CallRuntimeError::Refused {
                call,
                code,
                message,
            },
        }
    }
}

/// What lies at the bottom of an error: the transport's own words only say that there was one.
fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
