//! Asking the runtime by CRI. Every question has a deadline and a bounded answer.
//!
//! Connects anew for each look, so that a runtime that was restarted is found.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use ipamd_core::Sandbox;
use proto_ids::{ParseNameError, SandboxId};
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::message::{
    LIST, ListPodSandboxRequest, ListPodSandboxResponse, MAX_MESSAGE_BYTES,
    PodSandboxStatusRequest, PodSandboxStatusResponse, STATUS,
};

/// A runtime that is well answers within milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why the runtime did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskRuntimeError {
    /// Nobody serves its socket.
    #[error("the runtime at {} cannot be reached", .socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// The transport's answer.
        #[source]
        source: tonic::transport::Error,
    },
    /// It refused, or did not answer in time.
    #[error("the runtime at {} does not answer {call}: {} ({:?})", .socket.display(), .status.message(), .status.code())]
    Call {
        /// The socket.
        socket: PathBuf,
        /// What was asked.
        call: &'static str,
        /// Its answer.
        status: Box<Status>,
    },
    /// It did, with a sandbox that cannot be compared.
    #[error("the runtime lists a sandbox with an id that no plugin can be told: {id:?}")]
    Id {
        /// The id.
        id: String,
        /// Why.
        #[source]
        source: ParseNameError,
    },
}

/// The runtime at one socket.
#[derive(Clone, Debug)]
pub(super) struct Runtime {
    socket: PathBuf,
}

impl Runtime {
    /// It need not be there yet.
    pub(super) const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Where it is.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// All sandboxes that it knows.
    pub(super) async fn sandboxes(&self) -> Result<BTreeMap<SandboxId, Sandbox>, AskRuntimeError> {
        let answer = self.list().await?;
        let sandboxes = answer.sandboxes();
        sandboxes.map_err(|(id, source)| AskRuntimeError::Id { id, source })
    }

    /// The addresses of one sandbox; `None`: it knows no such one.
    pub(super) async fn addresses(
        &self,
        id: &SandboxId,
    ) -> Result<Option<Vec<IpAddr>>, AskRuntimeError> {
        match self.status(id.to_string()).await {
            Ok(answer) => Ok(Some(answer.addresses())),
            Err(AskRuntimeError::Call { status, .. }) if status.code() == Code::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// `ListPodSandbox`.
    pub(super) async fn list(&self) -> Result<ListPodSandboxResponse, AskRuntimeError> {
        self.call(LIST, ListPodSandboxRequest {}).await
    }

    /// `PodSandboxStatus`.
    pub(super) async fn status(
        &self,
        pod_sandbox_id: String,
    ) -> Result<PodSandboxStatusResponse, AskRuntimeError> {
        let request = PodSandboxStatusRequest { pod_sandbox_id };
        self.call(STATUS, request).await
    }

    /// One question over a connection of its own.
    pub(super) async fn call<Q, A>(
        &self,
        call: &'static str,
        question: Q,
    ) -> Result<A, AskRuntimeError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let asking = async {
            let mut client =
                Grpc::new(self.connect().await?).max_decoding_message_size(MAX_MESSAGE_BYTES);
            let ready = client.ready().await;
            ready.map_err(|source| self.unreachable(source))?;
            let path = PathAndQuery::from_static(call);
            let answer = client.unary(Request::new(question), path, ProstCodec::default());
            answer.await.map_err(|status| self.refused(call, status))
        };
        match tokio::time::timeout(DEADLINE, asking).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(self.refused(call, Status::deadline_exceeded("no answer in time"))),
        }
    }

    async fn connect(&self) -> Result<Channel, AskRuntimeError> {
        let socket = self.socket.clone();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The address is never looked up: the connector knows the socket.
        Endpoint::from_static("http://runtime.invalid")
            .connect_with_connector(connector)
            .await
            .map_err(|source| self.unreachable(source))
    }

    fn unreachable(&self, source: tonic::transport::Error) -> AskRuntimeError {
        AskRuntimeError::Connect {
            socket: self.socket.clone(),
            source,
        }
    }

    fn refused(&self, call: &'static str, status: Status) -> AskRuntimeError {
        AskRuntimeError::Call {
            socket: self.socket.clone(),
            call,
            status: Box::new(status),
        }
    }
}
