//! `relay-sandboxes`: two of the runtime's questions, and no other, on a socket of their own.
//!
//! Who reaches a runtime's socket is root on the node, and CRI knows no lesser right. The daemon hears the wire and speaks with the API
//! server, so it gets this socket instead: it lists sandboxes and their addresses. A process of its own that hears nothing
//! else holds the real one. Questions are made anew and answers cut down to the fields that are read: nothing is passed through.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use clap::Args;
use ipamd_daemon::{Tasks, signal::spawn_signals, uds};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tracing::info;

use super::message::{
    LIST, ListPodSandboxRequest, MAX_MESSAGE_BYTES, PodSandboxStatusRequest, STATUS,
};
use super::runtime::{AskRuntimeError, Runtime};
use crate::privilege;

/// Longer than the runtime is given.
const CALL_DEADLINE: Duration = Duration::from_secs(15);
/// Nothing that must be finished.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// Between which sockets.
#[derive(Clone, Debug, Args)]
pub(crate) struct RelayArgs {
    /// Socket of the container runtime
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/containerd/containerd.sock"
    )]
    pub(crate) runtime: PathBuf,

    /// Socket on which its sandboxes are listed
    #[arg(long, value_name = "PATH", default_value = crate::config::RELAY_SOCKET)]
    pub(crate) listen: PathBuf,
}

/// Runs until it is told to end.
pub(crate) fn relay(args: &RelayArgs) -> anyhow::Result<()> {
    // As `ps` shows it: told from the daemon, which is the same program.
    nix::sys::prctl::set_name(c"berth-sandboxes")?;
    privilege::reduce(false)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &RelayArgs) -> anyhow::Result<()> {
    let (tasks, mut supervisor) = Tasks::new();
    let signals = spawn_signals(&tasks)?;
    let incoming = uds::bind(&args.listen)?.into_incoming();
    info!(runtime = %args.runtime.display(), listen = %args.listen.display(), "relaying sandboxes");
    tasks.spawn(
        "relay",
        answer(Runtime::new(args.runtime.clone()), incoming, tasks.token()),
    );
    let outcome = tokio::select! {
        () = signals.shutdown.cancelled() => Ok(()),
        end = supervisor.unexpected_end() => Err(end.into()),
    };
    let _late = tasks.stop(STOP_DEADLINE).await;
    outcome
}

/// Answers until the token is cancelled.
///
/// # Errors
/// When the socket fails.
pub(super) async fn answer(
    runtime: Runtime,
    incoming: uds::Incoming,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let relay = Relay {
        runtime: Arc::new(runtime),
    };
    tonic::transport::Server::builder()
        .timeout(CALL_DEADLINE)
        .serve_with_incoming_shutdown(relay, incoming, stop.cancelled_owned())
        .await
}

/// The two questions.
#[derive(Clone, Debug)]
struct Relay {
    runtime: Arc<Runtime>,
}

impl Service<Request<Body>> for Relay {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let runtime = Arc::clone(&self.runtime);
        Box::pin(async move {
            Ok(match request.uri().path() {
                LIST => {
                    let list = tower::service_fn(|_: tonic::Request<ListPodSandboxRequest>| {
                        let runtime = Arc::clone(&runtime);
                        async move { relayed(runtime.list().await) }
                    });
                    let mut grpc = Grpc::new(ProstCodec::default())
                        .max_encoding_message_size(MAX_MESSAGE_BYTES);
                    grpc.unary(list, request).await
                }
                STATUS => {
                    let status =
                        tower::service_fn(|asked: tonic::Request<PodSandboxStatusRequest>| {
                            let runtime = Arc::clone(&runtime);
                            async move {
                                relayed(runtime.status(asked.into_inner().pod_sandbox_id).await)
                            }
                        });
                    Grpc::new(ProstCodec::default())
                        .unary(status, request)
                        .await
                }
                other => Status::unimplemented(format!(
                    "{other} is not relayed: this socket only lists sandboxes and their addresses"
                ))
                .into_http(),
            })
        })
    }
}

/// The runtime's own answer, or why there is none.
fn relayed<A>(answer: Result<A, AskRuntimeError>) -> Result<tonic::Response<A>, Status> {
    match answer {
        Ok(answer) => Ok(tonic::Response::new(answer)),
        Err(AskRuntimeError::Call { status, .. }) => {
            Err(Status::new(status.code(), status.message()))
        }
        Err(error) => Err(Status::new(Code::Unavailable, ipamd_daemon::chain(&error))),
    }
}
