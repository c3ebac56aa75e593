use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use ipamd_core::{ListFilter, PodPolicy, ViewState};
use ipamd_daemon::uds;
use proto_ids::{AllocateRequest, Attachment, InterfaceRequest, PortAlias};
use tonic::Code;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::Grpc;
use tonic_prost::ProstCodec;

use super::message::{LIST, ListPodSandboxRequest, PodSandboxMetadata, PodSandboxState, STATUS};
use super::*;
use crate::config::{self, Overrides};
use crate::ledger::{LedgerConfig, LedgerPaths, Phase, ledger};
use crate::links::{Port, Ports};

/// What a real runtime says of a sandbox, as far as it matters here: with an annotation.
#[derive(Clone, PartialEq, prost::Message)]
struct WholeSandbox {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "2")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(enumeration = "PodSandboxState", tag = "3")]
    state: i32,
    #[prost(btree_map = "string, string", tag = "6")]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WholeList {
    #[prost(message, repeated, tag = "1")]
    items: Vec<WholeSandbox>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WholeStatusRequest {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

/// What the runtime knows, and how it answers.
#[derive(Debug, Default)]
struct Known {
    sandboxes: Vec<(&'static str, PodSandboxState)>,
    addresses: BTreeMap<&'static str, &'static str>,
    refusal: Option<&'static str>,
    asked: Vec<String>,
}

/// A runtime that knows what it is told.
#[derive(Clone, Debug, Default)]
struct FakeRuntime(Arc<Mutex<Known>>);

impl FakeRuntime {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lists(&self, sandboxes: &[(&'static str, PodSandboxState)]) {
        self.known().sandboxes = sandboxes.to_vec();
    }

    fn list(&self) -> Result<WholeList, Status> {
        let known = self.known();
        if let Some(refusal) = known.refusal {
            return Err(Status::unavailable(refusal));
        }
        let item = |(id, state): &(&'static str, PodSandboxState)| WholeSandbox {
            id: (*id).to_owned(),
            metadata: Some(PodSandboxMetadata {
                name: format!("pod-of-{id}"),
                namespace: "prod".to_owned(),
            }),
            state: (*state).into(),
            annotations: BTreeMap::from([("secret".to_owned(), "x".repeat(1000))]),
        };
        Ok(WholeList {
            items: known.sandboxes.iter().map(item).collect(),
        })
    }

    fn status(
        &self,
        asked: &WholeStatusRequest,
    ) -> Result<message::PodSandboxStatusResponse, Status> {
        assert!(!asked.verbose, "the Pod's configuration is asked for");
        let mut known = self.known();
        known.asked.push(asked.pod_sandbox_id.clone());
        let address = known.addresses.get(asked.pod_sandbox_id.as_str());
        let ip = address.ok_or_else(|| Status::not_found("no such sandbox"))?;
        let network = message::PodSandboxNetworkStatus {
            ip: (*ip).to_owned(),
            additional_ips: Vec::new(),
        };
        Ok(message::PodSandboxStatusResponse {
            status: Some(message::PodSandboxStatus {
                network: Some(network),
            }),
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

impl Service<Request<Body>> for FakeRuntime {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let runtime = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                LIST => {
                    let list = tower::service_fn(|_: tonic::Request<ListPodSandboxRequest>| {
                        let answer = runtime.list().map(tonic::Response::new);
                        async move { answer }
                    });
                    let codec = ProstCodec::<WholeList, ListPodSandboxRequest>::default();
                    Grpc::new(codec).unary(list, request).await
                }
                STATUS => {
                    let status = tower::service_fn(|asked: tonic::Request<WholeStatusRequest>| {
                        let answer = runtime.status(asked.get_ref()).map(tonic::Response::new);
                        async move { answer }
                    });
                    Grpc::new(ProstCodec::default())
                        .unary(status, request)
                        .await
                }
                other => panic!("{other} was passed on"),
            })
        })
    }
}

/// A ledger, the ports of a node, and a runtime behind the relay.
struct World {
    folder: tempfile::TempDir,
    tasks: Tasks,
    runtime: FakeRuntime,
    ports: Arc<Mutex<Ports>>,
    ledger: LedgerHandle,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("boot_id"), "boot-1\n").unwrap();
        let toml = "node = \"n1\"\nrack = \"a\"\n[[pool]]\nname = \"external-a\"\nnetwork = \"external\"\n\
             subnet = \"10.20.1.0/24\"\nranges = [\"10.20.1.100-10.20.1.109\"]\n";
        fs::write(path("ipamd.toml"), toml).unwrap();
        let config = config::load(&path("ipamd.toml"), &Overrides::default()).unwrap();
        assert_eq!(config.runtime, None, "a daemon that stands alone");
        let ports: Arc<Mutex<Ports>> = Arc::default();
        let (tasks, _) = Tasks::new();
        let (handle, task) = ledger(LedgerConfig {
            settings: config.settings,
            paths: LedgerPaths {
                store: path("store"),
                spool: path("spool"),
                results: path("results"),
                boot_id: path("boot_id"),
            },
            ports: reading(&ports),
        });
        tasks.spawn("ledger", task.run(tasks.token()));
        let mut status = handle.status();
        let serving = status.wait_for(|status| status.phase == Phase::Serving);
        drop(serving.await.unwrap());
        let runtime = FakeRuntime::default();
        runtime.serve(&tasks, &path("runtime.sock"));
        let relay = uds::bind(&path("relay.sock")).unwrap().into_incoming();
        let relayed = Runtime::new(path("runtime.sock"));
        tasks.spawn("relay", relay::answer(relayed, relay, tasks.token()));
        Self {
            folder,
            tasks,
            runtime,
            ports,
            ledger: handle,
        }
    }

    fn relay(&self) -> Runtime {
        Runtime::new(self.folder.path().join("relay.sock"))
    }

    /// Patient for milliseconds.
    fn comparer(&self) -> Comparer {
        Comparer {
            runtime: self.relay(),
            patience: Patience {
                apart: Duration::from_millis(1),
                age: Duration::from_millis(5),
            },
            begun: Instant::now(),
            ports: reading(&self.ports),
            ledger: self.ledger.clone(),
            addresses: BTreeMap::new(),
            doubts: Doubts::default(),
            away: false,
        }
    }

    async fn attach(&self, pod: &str, sandbox: &str) {
        let request = AllocateRequest {
            attachment: attachment(sandbox),
            pod: Some(pod.parse().unwrap()),
            pod_uid: None,
            identity: None,
            interfaces: vec![InterfaceRequest {
                ifname: "eth0".parse().unwrap(),
                network: "external".parse().unwrap(),
                segment: None,
                addresses: Vec::new(),
                mac: None,
            }],
        };
        let granted = self.ledger.allocate(request, PodPolicy::default()).await;
        let grant = granted.unwrap();
        let alias = PortAlias {
            attachment: attachment(sandbox),
            ifname: "eth0".parse().unwrap(),
            network: "external".parse().unwrap(),
            mac: grant.interfaces[0].mac,
            addresses: vec![grant.interfaces[0].addresses[0].address],
            identity: pod.parse().ok(),
        };
        let name = format!("bth-{sandbox}");
        self.ports().ports.push(Port { name, alias });
    }

    fn ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove_port(&self, sandbox: &str) {
        let name = format!("bth-{sandbox}");
        self.ports().ports.retain(|port| port.name != name);
    }

    async fn states(&self) -> BTreeSet<(String, ViewState)> {
        let listed = self.ledger.list(ListFilter::default()).await.unwrap();
        let state =
            |view: ipamd_core::BindingView| (view.identity.unwrap().to_string(), view.state);
        listed.into_iter().map(state).collect()
    }
}

fn reading(ports: &Arc<Mutex<Ports>>) -> ObservePorts {
    let ports = Arc::clone(ports);
    Arc::new(move || {
        let ports = ports.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move { Ok(ports) })
    })
}

fn attachment(sandbox: &str) -> Attachment {
    Attachment {
        cni_network: "bank".parse().unwrap(),
        sandbox: sandbox.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

const READY: PodSandboxState = PodSandboxState::Ready;
const STOPPED: PodSandboxState = PodSandboxState::NotReady;
/// Looks that are more than enough, where nothing is to happen: each takes a millisecond at least.
const MANY: usize = 20;

#[tokio::test]
async fn an_attachment_ends_when_its_sandbox_is_gone_and_why_says_so() {
    let world = World::new().await;
    for (pod, sandbox) in [("prod/db-0", "s1"), ("prod/web-x", "s2"), ("prod/b", "s3")] {
        world.attach(pod, sandbox).await;
    }
    let mut comparer = world.comparer();
    // Two are gone, one is stopped, one runs on: each without its port.
    for sandbox in ["s1", "s2"] {
        world.remove_port(sandbox);
    }
    world.runtime.lists(&[("s3", READY), ("s2", STOPPED)]);
    while world.ledger.figures().sandboxless_ended.get() == 0 {
        comparer.compare().await.unwrap();
    }
    for _ in 0..MANY {
        comparer.compare().await.unwrap();
    }
    assert_eq!(world.ledger.figures().sandboxless_ended.get(), 1);
    let expected = [
        ("prod/db-0", ViewState::Held),
        ("prod/web-x", ViewState::Attached),
        ("prod/b", ViewState::Attached),
    ];
    let expected = expected.map(|(pod, state)| (pod.to_owned(), state));
    assert_eq!(world.states().await, expected.into_iter().collect());
    let why = world
        .ledger
        .why("prod/db-0".parse().unwrap())
        .await
        .unwrap();
    let story = why.story.join("\n");
    assert!(story.contains("its next Pod gets it"), "{story}");
    assert!(
        story.contains("was attached to sandbox s1") && story.contains("no DEL came"),
        "{story}"
    );
    assert_eq!(why.log[0].ended.to_string(), "sandbox gone");
}

#[tokio::test]
async fn a_runtime_that_is_away_or_refuses_is_no_evidence_and_is_told_once() {
    let world = World::new().await;
    world.attach("prod/db-0", "s1").await;
    world.attach("prod/b", "s2").await;
    world.remove_port("s1");
    world.runtime.lists(&[("s2", READY)]);
    let mut comparer = world.comparer();
    // Doubted, and then the runtime is silent.
    comparer.compare().await.unwrap();
    assert!(!comparer.doubts.is_empty());
    world.runtime.known().refusal = Some("server is not initialized yet");
    for _ in 0..MANY {
        let error = comparer.compare().await.unwrap_err();
        assert!(
            chain(&error).contains("server is not initialized yet"),
            "{error:?}"
        );
        comparer.tell(Some(&error));
    }
    comparer.runtime = Runtime::new(world.folder.path().join("nobody.sock"));
    let error = comparer.compare().await.unwrap_err();
    assert!(chain(&error).contains("nobody.sock"), "{}", chain(&error));
    comparer.tell(Some(&error));
    assert!(comparer.away);
    let fsck = world.ledger.fsck().await.unwrap().findings;
    assert_eq!(fsck.len(), 1, "{fsck:?}");
    assert!(fsck[0].contains("nothing is freed"), "{fsck:?}");
    assert_eq!(world.ledger.figures().sandboxless_ended.get(), 0);
    // It is back, and knows the sandbox.
    world.runtime.known().refusal = None;
    world.runtime.lists(&[("s1", READY), ("s2", READY)]);
    comparer.runtime = world.relay();
    comparer.compare().await.unwrap();
    comparer.tell(None);
    assert!(!comparer.away);
    let held = world.states().await;
    assert!(held.iter().all(|(_, state)| *state == ViewState::Attached));
}

#[tokio::test]
async fn a_running_sandbox_with_an_address_of_ours_that_the_book_did_not_give_is_told() {
    let world = World::new().await;
    world.attach("prod/b", "s1").await;
    let listed = [("s1", READY), ("s2", READY), ("s3", READY), ("s4", STOPPED)];
    world.runtime.lists(&listed);
    // Lost by the book; on another plugin's network; gone while it was asked for.
    let addresses = [("s2", "10.20.1.105"), ("s3", "10.99.0.1")];
    world.runtime.known().addresses = addresses.into();
    let mut comparer = world.comparer();
    while world.ledger.figures().garbage.get() == 0 {
        comparer.compare().await.unwrap();
    }
    let fsck = world.ledger.fsck().await.unwrap().findings;
    assert_eq!(fsck.len(), 1, "{fsck:?}");
    assert!(
        fsck[0].contains("sandbox s2 of Pod prod/pod-of-s2 has 10.20.1.105"),
        "{fsck:?}"
    );
    assert_eq!(
        world.runtime.known().asked,
        ["s2", "s3"],
        "each is asked once"
    );
    // It is gone: nothing is left to tell.
    world.runtime.lists(&listed[..1]);
    comparer.compare().await.unwrap();
    assert_eq!(world.ledger.fsck().await.unwrap().findings, [""; 0]);
}

#[tokio::test]
async fn the_relay_answers_two_questions_with_what_is_read_of_them_and_no_other() {
    let world = World::new().await;
    world.runtime.lists(&[("s1", READY), ("s2", STOPPED)]);
    let relay = world.relay();
    let sandboxes = relay.sandboxes().await.unwrap();
    let running: Vec<_> = sandboxes.values().map(|sandbox| sandbox.running).collect();
    assert_eq!(running, [true, false]);
    assert_eq!(relay.addresses(&"s9".parse().unwrap()).await.unwrap(), None);
    let whole: WholeList = relay.call(LIST, ListPodSandboxRequest {}).await.unwrap();
    let without = |item: &WholeSandbox| item.annotations.is_empty();
    assert!(whole.items.iter().all(without), "{whole:?}");
    // What asks for a Pod's configuration is asked without it, or the fake runtime would say so.
    let verbose = WholeStatusRequest {
        pod_sandbox_id: "s1".to_owned(),
        verbose: true,
    };
    assert_eq!(refused(&relay, STATUS, verbose).await, Code::NotFound);
    assert_eq!(world.runtime.known().asked, ["s9", "s1"]);
    for path in [
        "/runtime.v1.RuntimeService/ExecSync",
        "/runtime.v1.RuntimeService/RemovePodSandbox",
        "/runtime.v1.ImageService/ListImages",
        "/containerd.services.tasks.v1.Tasks/Exec",
    ] {
        let code = refused(&relay, path, ListPodSandboxRequest {}).await;
        assert_eq!(code, Code::Unimplemented, "{path}");
    }
    world.tasks.stop(Duration::from_secs(5)).await.unwrap();
}

async fn refused(
    relay: &Runtime,
    path: &'static str,
    question: impl prost::Message + 'static,
) -> Code {
    let answer: Result<ListPodSandboxRequest, _> = relay.call(path, question).await;
    match answer {
        Err(AskRuntimeError::Call { status, .. }) => status.code(),
        other => panic!("{path}: {other:?}"),
    }
}
