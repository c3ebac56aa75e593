use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use ipamd_daemon::{Tasks, uds};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::Grpc;
use tonic_prost::ProstCodec;

use super::*;

const SOON: Duration = Duration::from_secs(5);

/// A runtime that answers as it is told to, and remembers what it was asked.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    refusal: Option<Status>,
    output_bytes: usize,
    exec: Option<container::ExecRequest>,
    stop: Option<container::StopRequest>,
}

impl Fake {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusing(&self, refusal: Status) {
        self.told().refusal = Some(refusal);
    }

    fn refusal(&self) -> Result<(), Status> {
        self.told().refusal.clone().map_or(Ok(()), Err)
    }

    fn exec(&self, asked: container::ExecRequest) -> Result<container::ExecResponse, Status> {
        self.refusal()?;
        let mut told = self.told();
        told.exec = Some(asked);
        Ok(container::ExecResponse {
            stdout: vec![b'x'; told.output_bytes],
            stderr: Vec::new(),
            exit_code: 3,
        })
    }

    fn stop(&self, asked: container::StopRequest) -> Result<container::StopResponse, Status> {
        self.refusal()?;
        self.told().stop = Some(asked);
        Ok(container::StopResponse {})
    }

    fn sandbox(
        &self,
        asked: &message::SandboxStatusRequest,
    ) -> Result<message::SandboxStatusResponse, Status> {
        self.refusal()?;
        let info = r#"{"pid":7,"cniResult":{"Interfaces":{"eth0":{"IPConfigs":[],"Mac":"02:00:00:00:00:01","Sandbox":"/run/netns/x"},
            "br0":{"Mac":"02:00:00:00:00:02","Sandbox":""},"lo":{"Mac":"00:00:00:00:00:00","Sandbox":"/run/netns/x"}}}}"#;
        Ok(message::SandboxStatusResponse {
            status: Some(message::SandboxStatus {
                id: asked.pod_sandbox_id.clone(),
                network: Some(message::NetworkStatus {
                    ip: "10.0.0.1".to_owned(),
                    additional_ips: vec![message::PodIp {
                        ip: "fd00::1".to_owned(),
                    }],
                }),
                ..message::SandboxStatus::default()
            }),
            info: if asked.verbose {
                BTreeMap::from([("info".to_owned(), info.to_owned())])
            } else {
                BTreeMap::new()
            },
        })
    }

    fn serve(&self, tasks: &Tasks, socket: &Path) {
        let incoming = uds::bind(socket).unwrap().into_incoming();
        let serving = tonic::transport::Server::builder().serve_with_incoming_shutdown(
            self.clone(),
            incoming,
            tasks.token().cancelled_owned(),
        );
        tasks.spawn_job("runtime", serving);
    }
}

/// Answers a call by what a function makes of its message.
async fn answer<Q, A>(
    request: Request<Body>,
    make: impl Fn(Q) -> Result<A, Status> + Clone + Send + Sync + 'static,
) -> Response<Body>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + 'static,
{
    let service = tower::service_fn(move |asked: tonic::Request<Q>| {
        let answer = make(asked.into_inner()).map(tonic::Response::new);
        async move { answer }
    });
    let codec = ProstCodec::<A, Q>::default();
    Grpc::new(codec).unary(service, request).await
}

impl Service<Request<Body>> for Fake {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fake = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                message::VERSION => {
                    answer(request, move |_: message::VersionRequest| {
                        fake.refusal()?;
                        Ok(message::VersionResponse {
                            name: "fake".to_owned(),
                            version: "1".to_owned(),
                            api_version: "v1".to_owned(),
                        })
                    })
                    .await
                }
                container::EXEC => answer(request, move |asked| fake.exec(asked)).await,
                container::STOP => answer(request, move |asked| fake.stop(asked)).await,
                message::SANDBOX_STATUS => answer(request, move |asked| fake.sandbox(&asked)).await,
                _ => Response::new(Body::empty()),
            })
        })
    }
}

/// A fake that serves, and its client.
struct World {
    folder: tempfile::TempDir,
    tasks: Tasks,
    fake: Fake,
    runtime: Runtime,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("runtime.sock");
        let (tasks, _) = Tasks::new();
        let world = Self {
            tasks,
            fake: Fake::default(),
            runtime: Runtime::new(socket),
            folder,
        };
        world.fake.serve(&world.tasks, world.runtime.socket());
        world
    }

    /// The runtime ends, and another takes its place.
    async fn restart(&mut self) {
        self.tasks.stop(SOON).await.unwrap();
        let gone = self.runtime.version(SOON).await;
        assert!(
            matches!(gone, Err(CallRuntimeError::Away { .. })),
            "{gone:?}"
        );
        (self.tasks, _) = Tasks::new();
        self.fake.serve(&self.tasks, self.runtime.socket());
    }
}

#[tokio::test]
async fn a_runtime_that_comes_back_is_found_by_the_same_client() {
    let mut world = World::new();
    assert_eq!(world.runtime.version(SOON).await.unwrap().name, "fake");
    let clone = world.runtime.clone();
    world.restart().await;
    assert_eq!(clone.version(SOON).await.unwrap().name, "fake");
    assert_eq!(world.runtime.version(SOON).await.unwrap().name, "fake");
    drop(world.folder);
}

#[tokio::test]
async fn a_runtime_that_was_never_there_is_away_with_its_socket_named() {
    let runtime = Runtime::new("/nonexistent/runtime.sock".into());
    let error = runtime.version(SOON).await.unwrap_err();
    assert!(matches!(error, CallRuntimeError::Away { .. }), "{error:?}");
    assert!(
        error.to_string().contains("/nonexistent/runtime.sock"),
        "{error}"
    );
}

#[tokio::test]
async fn a_runtime_that_says_nothing_is_silent_at_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("runtime.sock");
    // The kernel connects; nobody accepts.
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let runtime = Runtime::new(socket);
    let error = runtime
        .version(Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(
        matches!(error, CallRuntimeError::Silent { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn rows_of_what_a_refusal_is() {
    let world = World::new();
    let ask = async |refusal: Status| {
        world.fake.refusing(refusal);
        world.runtime.sandbox("s", SOON).await.unwrap_err()
    };
    let refused = ask(Status::invalid_argument("not so")).await;
    assert!(
        matches!(&refused, CallRuntimeError::Refused { code: Code::InvalidArgument, message, .. } if message == "not so"),
        "{refused:?}"
    );
    let gone = ask(Status::not_found("no such sandbox")).await;
    assert!(
        matches!(gone, CallRuntimeError::NotFound { .. }),
        "{gone:?}"
    );
    let away = ask(Status::unavailable("starting")).await;
    assert!(matches!(away, CallRuntimeError::Away { .. }), "{away:?}");
    // A server may use the code that the client has for an answer that is too long.
    let other = ask(Status::out_of_range("no")).await;
    assert!(
        matches!(other, CallRuntimeError::Refused { .. }),
        "{other:?}"
    );
}

#[tokio::test]
async fn a_command_has_its_outcome_its_limit_and_whole_seconds() {
    let world = World::new();
    let exec = async |deadline| {
        let command = vec!["true".to_owned()];
        world.runtime.exec_sync("c", command, deadline).await
    };
    world.fake.told().output_bytes = 10;
    let outcome = exec(Duration::from_millis(2300)).await.unwrap();
    assert_eq!((outcome.code, outcome.stdout.len()), (3, 10));
    assert_eq!(world.fake.told().exec.clone().unwrap().timeout, 3);
    exec(Duration::ZERO).await.unwrap();
    assert_eq!(
        world.fake.told().exec.clone().unwrap().timeout,
        1,
        "0 is for ever"
    );
    world.fake.told().output_bytes = MAX_EXEC_BYTES + 1;
    let long = exec(SOON).await;
    assert!(
        matches!(long, Err(CallRuntimeError::TooLong { .. })),
        "{long:?}"
    );
    world
        .fake
        .refusing(Status::deadline_exceeded("timeout exceeded"));
    let late = exec(SOON).await;
    assert!(
        matches!(late, Err(CallRuntimeError::Overrun { .. })),
        "{late:?}"
    );
}

#[tokio::test]
async fn a_stop_gives_at_least_the_grace_period() {
    let world = World::new();
    world
        .runtime
        .stop_container("c", Duration::from_millis(2001))
        .await
        .unwrap();
    let asked = world.fake.told().stop.clone().unwrap();
    assert_eq!((asked.container_id.as_str(), asked.timeout), ("c", 3));
}

#[tokio::test]
async fn the_mac_address_is_told_of_the_interface_inside_and_only_in_full() {
    let world = World::new();
    let brief = world.runtime.sandbox("s", SOON).await.unwrap();
    assert_eq!(brief.mac, None);
    assert_eq!(brief.ips, ["10.0.0.1", "fd00::1"]);
    let full = world.runtime.sandbox_in_full("s", SOON).await.unwrap();
    assert_eq!(full.mac.as_deref(), Some("02:00:00:00:00:01"));
}

#[test]
fn a_password_is_never_printed() {
    let auth = crate::Auth {
        username: "me".to_owned(),
        password: "secret".to_owned(),
        ..crate::Auth::default()
    };
    let pull = Pull {
        auth: Some(auth),
        ..Pull::default()
    };
    assert!(!format!("{pull:?}").contains("secret"));
    assert!(!format!("{:?}", image::PullRequest::from(pull)).contains("secret"));
}
