use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use ipamd_daemon::{Tasks, uds};
use proto_ipam::refusal::Refusal;
use proto_ipam::v1::admin_client::AdminClient;
use proto_ipam::v1::admin_server::Admin;
use proto_ipam::v1::ipam_client::IpamClient;
use proto_ipam::v1::ipam_server::Ipam;
use proto_ipam::v1::{self, Phase, Reason};
use proto_ipam::version;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use super::*;
use crate::config::{self, Config};
use crate::ledger::{self, Ledger, LedgerConfig, LedgerPaths};
use crate::links::Ports;
use crate::metrics::Metrics;
use crate::reload::{FileWatch, Reloader, spawn_reloader};
use crate::sync::{ClaimsHandle, EventsHandle, PodsHandle};

const LONG: Duration = Duration::from_secs(30);

/// A daemon's services on a folder of their own, on a node without links.
struct World {
    folder: tempfile::TempDir,
    tasks: Tasks,
    service: Service,
    hangup: watch::Sender<u64>,
}

impl World {
    /// The services, and the ledger that does not run yet.
    fn new() -> (Self, Ledger) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("boot_id"), "boot-1\n").unwrap();
        let toml = folder.path().join("ipamd.toml");
        let file = |name: &str| folder.path().join(name);
        let text = format!(
            "node = \"n1\"\nrack = \"a\"\nsocket = {:?}\nstore = {:?}\nspool = {:?}\ncni_results = {:?}\n\
             [[pool]]\nname = \"external-a\"\nnetwork = \"external\"\nsubnet = \"10.20.1.0/24\"\n\
             ranges = [\"10.20.1.100-10.20.1.101\"]\ngateway = \"10.20.1.1\"\n",
            file("ipamd.sock"),
            file("store"),
            file("spool"),
            file("results"),
        );
        fs::write(&toml, text).unwrap();
        let config = config::load(&toml, &config::Overrides::default()).unwrap();
        let (tasks, _) = Tasks::new();
        let (ledger, task) = ledger::ledger(ledger_config(&config, folder.path().join("boot_id")));
        let metrics = Metrics::new(&ledger, &BTreeSet::new());
        let (hangup, signals) = watch::channel(0);
        let reloader = Reloader {
            config,
            overrides: config::Overrides::default(),
            ledger: ledger.clone(),
            reloads: metrics.reloads.clone(),
            file: FileWatch::new(&toml),
            rack: None,
            pools: None,
            events: EventsHandle::to_nobody(),
        };
        let (reloader, _) = spawn_reloader(&tasks, reloader, signals);
        let service = Service::new(ServiceParts {
            ledger,
            reloader,
            calls: metrics.calls.clone(),
            wire: WireHandle::unwatched(),
            events: EventsHandle::to_nobody(),
            pods: PodsHandle::of_nobody(),
            claims: ClaimsHandle::of_nobody(),
            capabilities: vec!["CAP_NET_RAW".to_owned()],
        });
        let world = Self {
            folder,
            tasks,
            service,
            hangup,
        };
        (world, task)
    }

    /// The services of a ledger that has recovered.
    async fn serving() -> Self {
        let (world, task) = Self::new();
        world.tasks.spawn("ledger", task.run(world.tasks.token()));
        let mut status = world.service.ledger.status();
        let serving = status.wait_for(|status| status.phase == ledger::Phase::Serving);
        drop(serving.await.unwrap());
        world
    }

    fn rewrite_config(&self, from: &str, to: &str) {
        let path = self.folder.path().join("ipamd.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in\n{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("ipamd.sock")
    }

    /// Serves on the socket; the group to stop, and a connection.
    async fn listen(&self) -> (Tasks, Channel) {
        let incoming = uds::bind(&self.socket()).unwrap().into_incoming();
        let intake = self.tasks.child();
        let serving = serve(self.service.clone(), incoming, intake.token());
        intake.spawn("server", serving);
        let path = self.socket();
        let channel = Endpoint::from_static("http://ipamd.invalid")
            .connect_with_connector(tower::service_fn(move |_| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
            .await
            .unwrap();
        (intake, channel)
    }

    async fn phase(&self) -> v1::StatusResponse {
        let status = Ipam::status(&self.service, Request::new(v1::StatusRequest::default())).await;
        status.unwrap().into_inner()
    }
}

fn ledger_config(config: &Config, boot_id: PathBuf) -> LedgerConfig {
    LedgerConfig {
        settings: config.settings.clone(),
        paths: LedgerPaths {
            store: config.store.clone(),
            spool: config.spool.clone(),
            results: config.cni_results.clone(),
            boot_id,
        },
        ports: Arc::new(|| Box::pin(async { Ok(Ports::default()) })),
    }
}

fn attachment(sandbox: &str) -> v1::Attachment {
    v1::Attachment {
        cni_network: "bank".to_owned(),
        sandbox: sandbox.to_owned(),
        ifname: "eth0".to_owned(),
    }
}

fn add(pod: &str, sandbox: &str) -> v1::AllocateRequest {
    v1::AllocateRequest {
        attachment: Some(attachment(sandbox)),
        pod_namespace: "prod".to_owned(),
        pod_name: pod.to_owned(),
        interfaces: vec![v1::InterfaceRequest {
            ifname: "eth0".to_owned(),
            network: "external".to_owned(),
            ..v1::InterfaceRequest::default()
        }],
        ..v1::AllocateRequest::default()
    }
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T, Status>) -> (Code, Refusal) {
    let status = outcome.unwrap_err();
    let refusal = Refusal::from_status(&status).unwrap_or_else(|| panic!("no refusal in {status}"));
    assert!(!refusal.advice.is_empty(), "{refusal:?} gives no advice");
    (status.code(), refusal)
}

#[tokio::test(start_paused = true)]
async fn before_recovery_the_phase_is_told_and_calls_are_refused_as_recovering() {
    let (world, _task) = World::new();
    assert_eq!(world.phase().await.phase(), Phase::Recovering);
    let outcome = world
        .service
        .allocate(Request::new(add("db-0", "c1")))
        .await;
    let (code, refusal) = refusal(outcome);
    assert_eq!(code, Code::Unavailable);
    assert_eq!(refusal.reason, Reason::Recovering);
}

#[tokio::test]
async fn both_services_answer_on_the_socket_until_the_group_is_stopped() {
    let world = World::serving().await;
    let (intake, channel) = world.listen().await;
    let mut ipam = IpamClient::new(channel.clone());
    let mut admin = AdminClient::new(channel);

    let first = ipam.allocate(add("db-0", "c1")).await.unwrap().into_inner();
    let again = ipam.allocate(add("db-0", "c1")).await.unwrap().into_inner();
    assert_eq!(first, again);
    let assigned = &first.interfaces[0].addresses[0];
    assert_eq!(assigned.address, "10.20.1.100/24");
    assert_eq!(assigned.gateway, "10.20.1.1");

    let listed = admin.list(v1::ListRequest::default()).await.unwrap();
    let bindings = listed.into_inner().bindings;
    assert_eq!(bindings.len(), 1);
    assert_eq!(bindings[0].state, "attached");
    assert_eq!(bindings[0].identity, "prod/db-0");

    let status = ipam.status(v1::StatusRequest::default()).await.unwrap();
    let status = status.into_inner();
    assert_eq!(status.phase(), Phase::Serving);
    assert_eq!(status.pools[0].attached, 1);
    assert_eq!(status.capabilities, ["CAP_NET_RAW"]);

    intake.stop(LONG).await.unwrap();
    assert!(!world.socket().exists());
    world.tasks.stop(LONG).await.unwrap();
}

/// A request of a program of this release.
fn of_release<T>(release: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert(version::KEY, release.parse().unwrap());
    request
}

#[tokio::test]
async fn plugin_beyond_one_minor_version_gets_no_address_and_can_still_end_its_attachments() {
    let world = World::serving().await;
    let (intake, channel) = world.listen().await;
    let mut ipam = IpamClient::new(channel);
    let minor = version::OWN.minor;
    let release = |minor| {
        let of = version::Version {
            minor,
            ..version::OWN
        };
        of.to_string()
    };
    let beyond = release(minor + 2);

    let next = of_release(&release(minor + 1), add("db-0", "c1"));
    let answer = ipam.allocate(next).await.unwrap();
    let ours = version::claimed(answer.metadata());
    assert_eq!(ours.as_deref(), Some(version::OWN_TEXT));

    let outcome = ipam.allocate(of_release(&beyond, add("db-1", "c2"))).await;
    let ours = version::claimed(outcome.as_ref().unwrap_err().metadata());
    assert_eq!(ours.as_deref(), Some(version::OWN_TEXT));
    let (code, told) = refusal(outcome);
    assert_eq!(
        (code, told.reason),
        (Code::FailedPrecondition, Reason::VersionSkew)
    );
    assert!(told.message.contains(&beyond), "{told}");
    assert!(told.message.contains(version::OWN_TEXT), "{told}");
    let status = of_release(&beyond, v1::StatusRequest::default());
    let (_, told) = refusal(ipam.status(status).await);
    assert_eq!(told.reason, Reason::VersionSkew);
    assert_eq!(world.phase().await.pools[0].attached, 1);

    let release = v1::ReleaseRequest {
        attachment: Some(attachment("c1")),
    };
    let released = ipam.release(of_release(&beyond, release)).await.unwrap();
    assert!(released.into_inner().known);
    assert_eq!(world.phase().await.pools[0].attached, 0);

    intake.stop(LONG).await.unwrap();
    world.tasks.stop(LONG).await.unwrap();
}

#[tokio::test]
async fn refusals_carry_reason_and_advice() {
    let world = World::serving().await;
    let service = &world.service;

    let mut bad = add("db-0", "c1");
    bad.interfaces[0].network = "Not A Network".to_owned();
    let (code, told) = refusal(service.allocate(Request::new(bad)).await);
    assert_eq!(
        (code, told.reason),
        (Code::InvalidArgument, Reason::InvalidRequest)
    );
    assert!(told.message.starts_with("interfaces.network:"), "{told}");

    let mut other = add("db-0", "c1");
    other.interfaces[0].network = "internal".to_owned();
    let (code, told) = refusal(service.allocate(Request::new(other)).await);
    assert_eq!(
        (code, told.reason),
        (Code::FailedPrecondition, Reason::NoPool)
    );

    for (pod, sandbox) in [("db-0", "c1"), ("db-1", "c2")] {
        service
            .allocate(Request::new(add(pod, sandbox)))
            .await
            .unwrap();
    }
    let (code, told) = refusal(service.allocate(Request::new(add("db-2", "c3"))).await);
    assert_eq!(
        (code, told.reason),
        (Code::ResourceExhausted, Reason::Exhausted)
    );

    let check = v1::CheckRequest {
        attachment: Some(attachment("c1")),
        interfaces: vec![v1::CheckInterface {
            ifname: "eth0".to_owned(),
            mac: String::new(),
            addresses: vec!["10.20.1.99/24".to_owned()],
        }],
    };
    let (code, told) = refusal(service.check(Request::new(check)).await);
    assert_eq!(
        (code, told.reason),
        (Code::FailedPrecondition, Reason::Mismatch)
    );

    let free = v1::FreeRequest {
        address: "10.20.1.100".to_owned(),
        ..v1::FreeRequest::default()
    };
    let (code, told) = refusal(service.free(Request::new(free)).await);
    assert_eq!(
        (code, told.reason),
        (Code::AlreadyExists, Reason::AddressTaken)
    );

    let who = v1::WhoRequest {
        address: "tor".to_owned(),
        at: String::new(),
    };
    let (code, told) = refusal(service.who(Request::new(who)).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(told.message.contains("\"tor\""), "{told}");
    world.tasks.stop(LONG).await.unwrap();
}

#[tokio::test]
async fn released_address_is_told_of_by_who_and_why() {
    let world = World::serving().await;
    let service = &world.service;
    service
        .allocate(Request::new(add("db-0", "c1")))
        .await
        .unwrap();
    let release = v1::ReleaseRequest {
        attachment: Some(attachment("c1")),
    };
    let released = service
        .release(Request::new(release.clone()))
        .await
        .unwrap();
    assert!(released.into_inner().known);
    let again = service.release(Request::new(release)).await.unwrap();
    assert!(!again.into_inner().known);

    let who = v1::WhoRequest {
        address: "10.20.1.100".to_owned(),
        at: String::new(),
    };
    let who = service.who(Request::new(who)).await.unwrap().into_inner();
    assert_eq!(who.current.unwrap().state, "held");
    assert_eq!(who.log.len(), 1);
    assert_eq!(
        (who.log[0].sandbox.as_str(), who.log[0].ended.as_str()),
        ("c1", "released")
    );

    let why = v1::WhyRequest {
        identity: "prod/db-0".to_owned(),
    };
    let why = service.why(Request::new(why)).await.unwrap().into_inner();
    assert!(!why.story.is_empty());
    world.tasks.stop(LONG).await.unwrap();
}

#[tokio::test]
async fn export_is_taken_over_by_an_empty_book() {
    let world = World::serving().await;
    world
        .service
        .allocate(Request::new(add("db-0", "c1")))
        .await
        .unwrap();
    let export = world
        .service
        .export(Request::new(v1::ExportRequest {}))
        .await;
    let document = export.unwrap().into_inner().document;
    world.tasks.stop(LONG).await.unwrap();

    let empty = World::serving().await;
    let import = |dry_run| {
        Request::new(v1::ImportRequest {
            document: document.clone(),
            dry_run,
        })
    };
    let tried = empty
        .service
        .import(import(true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((tried.imported, tried.refused.len()), (1, 0));
    assert_eq!(empty.phase().await.pools[0].attached, 0);
    empty.service.import(import(false)).await.unwrap();
    assert_eq!(empty.phase().await.pools[0].attached, 1);

    let damaged = Request::new(v1::ImportRequest {
        document: "{".to_owned(),
        dry_run: false,
    });
    let (code, _) = refusal(empty.service.import(damaged).await);
    assert_eq!(code, Code::InvalidArgument);
    empty.tasks.stop(LONG).await.unwrap();
}

#[tokio::test]
async fn reload_is_applied_whole_or_refused_whole() {
    let world = World::serving().await;
    let reload = || Admin::reload(&world.service, Request::new(v1::ReloadRequest {}));
    assert_eq!(world.phase().await.pools[0].capacity, 2);

    // A larger range beside a mistake: nothing of it counts.
    world.rewrite_config("10.20.1.101\"", "10.20.1.109\"");
    world.rewrite_config("gateway =", "gatway =");
    let (code, told) = refusal(reload().await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(told.message.contains("gatway"), "{told}");
    assert_eq!(world.phase().await.pools[0].capacity, 2);

    world.rewrite_config("gatway =", "gateway =");
    let changes = reload().await.unwrap().into_inner().changes;
    assert!(!changes.is_empty());
    assert_eq!(world.phase().await.pools[0].capacity, 10);

    world.rewrite_config("node = \"n1\"", "node = \"n2\"");
    let (_, told) = refusal(reload().await);
    assert!(
        told.message.contains("node changes from n1 to n2"),
        "{told}"
    );
    world.tasks.stop(LONG).await.unwrap();
}

#[tokio::test]
async fn hangup_reloads() {
    let world = World::serving().await;
    world.rewrite_config("10.20.1.101\"", "10.20.1.109\"");
    world.hangup.send_modify(|count| *count += 1);
    let mut status = world.service.ledger.status();
    let larger = status.wait_for(|status| status.pools.iter().any(|pool| pool.capacity == 10));
    drop(tokio::time::timeout(LONG, larger).await.unwrap().unwrap());
    world.tasks.stop(LONG).await.unwrap();
}
