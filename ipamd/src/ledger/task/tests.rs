use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use ipamd_core::{
    Change, Ended, FreeRequest, Hold, ListFilter, PodPolicy, Pool, ReserveRequest, Rule, Settings,
    Timestamp, ViewState,
};
use proto_ids::{AllocateRequest, Attachment, Grant, InterfaceRequest, MacAddr, PortAlias};
use proto_ipam::tombstone::Tombstone;
use tokio::task::JoinSet;

use super::super::offline::{Offline, OpenOfflineError};
use super::super::{ImportRequest, LedgerError, LedgerHandle, ledger, transaction};
use super::*;
use crate::clock::{ClockBase, Reading};
use crate::links::{Port, Ports};
use crate::store::folder::{LockStoreError, StoreFolder};
use crate::store::migrate::FORMATS;
use crate::store::{Entry, Store};

/// A node: folders, a boot, ports, and a daemon that comes and goes.
struct Node {
    temp: tempfile::TempDir,
    ports: Arc<Mutex<Ports>>,
    settings: Settings,
}

impl Node {
    fn new() -> Self {
        let node = Self {
            temp: tempfile::tempdir().unwrap(),
            ports: Arc::default(),
            settings: settings(),
        };
        fs::create_dir(node.path("spool")).unwrap();
        node.boot("one");
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn boot(&self, id: &str) {
        fs::write(self.path("boot_id"), id).unwrap();
    }

    fn add_port(&self, sandbox: &str, address: &str, identity: &str) {
        let address: ipnet::IpNet = address.parse().unwrap();
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.ports.push(Port {
            name: format!("bth{sandbox}"),
            alias: PortAlias {
                attachment: attachment(sandbox),
                ifname: "eth0".parse().unwrap(),
                network: "external".parse().unwrap(),
                mac: MacAddr::derived(address.addr()),
                addresses: vec![address],
                identity: identity.parse().ok(),
            },
        });
    }

    fn config(&self) -> LedgerConfig {
        let ports = Arc::clone(&self.ports);
        LedgerConfig {
            settings: self.settings.clone().validate().unwrap(),
            paths: LedgerPaths {
                store: self.path("store"),
                spool: self.path("spool"),
                results: self.path("results"),
                boot_id: self.path("boot_id"),
            },
            ports: Arc::new(move || {
                let ports = ports.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Box::pin(async move { Ok(ports) })
            }),
        }
    }

    /// Runs a daemon while `work` asks it, and ends it in good order.
    async fn serve<T>(&self, work: impl AsyncFnOnce(LedgerHandle) -> T) -> T {
        let (handle, ledger) = ledger(self.config());
        let cancel = CancellationToken::new();
        let asked = async {
            let result = work(handle).await;
            cancel.cancel();
            result
        };
        let (ran, result) = tokio::join!(ledger.run(cancel.clone()), asked);
        ran.unwrap();
        result
    }

    /// Runs a daemon while `work` asks it, and drops it where it stands.
    async fn kill_after<T>(&self, work: impl AsyncFnOnce(LedgerHandle) -> T) -> T {
        let (handle, ledger) = ledger(self.config());
        let result = tokio::select! {
            ran = ledger.run(CancellationToken::new()) => panic!("the daemon ended: {ran:?}"),
            result = work(handle) => result,
        };
        // The store's thread ends when the last handle is gone, and lets go of the lock then.
        while let Err(LockStoreError::Held { .. }) = StoreFolder::lock(&self.path("store")) {
            tokio::task::yield_now().await;
        }
        result
    }

    fn leave_tombstone(&self, sandbox: &str) -> PathBuf {
        let tombstone = Tombstone::new(attachment(sandbox));
        let path = self.path("spool").join(tombstone.file_name());
        fs::write(&path, serde_json::to_vec(&tombstone).unwrap()).unwrap();
        path
    }

    fn cut_store(&self, bytes: u64) {
        let db = fs::File::options()
            .write(true)
            .open(self.path("store/book/db"))
            .unwrap();
        let length = db.metadata().unwrap().len();
        db.set_len(length - bytes).unwrap();
    }
}

fn settings() -> Settings {
    Settings {
        node: "n1".parse().unwrap(),
        rack: "a".parse().unwrap(),
        pools: vec![Pool {
            name: "external-a".parse().unwrap(),
            network: "external".parse().unwrap(),
            rack: "a".parse().unwrap(),
            node: None,
            subnet: "10.20.1.0/24".parse().unwrap(),
            ranges: vec!["10.20.1.100-10.20.1.199".parse().unwrap()],
            exclude: Vec::new(),
            gateway: None,
            quarantine: Duration::from_secs(600),
            routes: Vec::new(),
            probe: true,
        }],
        rules: vec![Rule {
            namespace: "*".parse().unwrap(),
            pod: "*-[0-9]*".parse().unwrap(),
            hold: Hold::Forever,
        }],
        audit_keep: Duration::from_secs(86_400),
        refuse_when_exhausted: false,
        claiming: false,
    }
}

fn nothing(_: &mut dyn Iterator<Item = Entry>) {}

fn attachment(sandbox: &str) -> Attachment {
    Attachment {
        cni_network: "bank".parse().unwrap(),
        sandbox: sandbox.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

fn request(pod: &str, sandbox: &str) -> AllocateRequest {
    AllocateRequest {
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
    }
}

fn address(grant: &Grant) -> IpAddr {
    grant.interfaces[0].addresses[0].address.addr()
}

async fn add(handle: &LedgerHandle, pod: &str, sandbox: &str) -> IpAddr {
    address(
        &handle
            .allocate(request(pod, sandbox), PodPolicy::default())
            .await
            .unwrap(),
    )
}

/// The state of an address, and whose it is.
async fn state(handle: &LedgerHandle, address: IpAddr) -> Option<(ViewState, String)> {
    let who = handle.who(address, None).await.unwrap();
    let view = who.current.first()?;
    let identity = view.identity.as_ref().map(ToString::to_string);
    Some((view.state, identity.unwrap_or_default()))
}

fn reservation(note: String) -> ReserveRequest {
    ReserveRequest {
        network: "external".parse().unwrap(),
        address: Some("10.20.1.150".parse().unwrap()),
        identity: Some("prod/db-9".parse().unwrap()),
        mac: None,
        note,
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_kill_and_the_same_add_is_answered_the_same() {
    let node = Node::new();
    let first = node
        .kill_after(async |handle| {
            let grant = handle
                .allocate(request("prod/db-0", "s1"), PodPolicy::default())
                .await
                .unwrap();
            add(&handle, "prod/web", "s2").await;
            grant
        })
        .await;
    let again = node
        .serve(async |handle| {
            handle
                .allocate(request("prod/db-0", "s1"), PodPolicy::default())
                .await
                .unwrap()
        })
        .await;
    assert_eq!(first, again);
    node.serve(async |handle| {
        let all = handle.list(ListFilter::default()).await.unwrap();
        assert_eq!(all.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn stored_but_not_answered_is_attached_until_the_plugin_undoes_it() {
    let node = Node::new();
    node.serve(async |handle| handle.list(ListFilter::default()).await.unwrap())
        .await;
    // The daemon died between the commit and the answer.
    let folder = StoreFolder::lock(&node.path("store")).unwrap();
    let opened = Store::open(&folder, FORMATS, nothing).unwrap();
    let mut store = opened.store;
    let clock = store.meta().clock.clone().unwrap();
    let book = Book::new(node.settings.clone().validate().unwrap());
    let plan = book
        .allocate(&request("prod/web", "s1"), clock.book)
        .unwrap();
    let mut writes = Writes::new();
    transaction::write(&plan.changes, &mut 0, &mut writes).unwrap();
    store.commit(&writes, &clock).unwrap();
    drop((store, folder));
    let stored = address(&plan.grant);
    // A runtime that asks again gets the same; one that undoes finds something to undo.
    node.serve(async |handle| {
        assert_ne!(add(&handle, "prod/other", "s2").await, stored);
        assert_eq!(add(&handle, "prod/web", "s1").await, stored);
        let released = handle.release(attachment("s1")).await.unwrap();
        assert_eq!((released.known, released.addresses), (true, vec![stored]));
    })
    .await;
}

#[tokio::test]
async fn requests_that_wait_together_share_a_commit_and_get_different_addresses() {
    let node = Node::new();
    node.serve(async |handle| {
        let ready = add(&handle, "prod/first", "s").await;
        let before = handle.figures().commits.get();
        let mut adds = JoinSet::new();
        for n in 0..64 {
            let handle = handle.clone();
            adds.spawn(async move { add(&handle, &format!("prod/p{n}"), &format!("s{n}")).await });
        }
        let mut addresses: BTreeSet<_> = adds.join_all().await.into_iter().collect();
        addresses.insert(ready);
        assert_eq!(addresses.len(), 65);
        let commits = handle.figures().commits.get() - before;
        assert!(commits < 64, "{commits} commits for 64 requests");
        assert_eq!(handle.figures().committed_requests.get(), 65);
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_fails_is_answered_as_refused_and_leaves_nothing() {
    let node = Node::new();
    node.serve(async |handle| {
        let kept = add(&handle, "prod/db-0", "s1").await;
        // No record may be so large: the whole group fails.
        let refused = handle.reserve(reservation("x".repeat(100_000))).await;
        assert!(matches!(
            refused,
            Err(LedgerError::Unavailable(Unavailable::StoreFailing { .. }))
        ));
        assert_eq!(state(&handle, "10.20.1.150".parse().unwrap()).await, None);
        assert_eq!(handle.figures().commit_failures.get(), 1);
        let attached = Some((ViewState::Attached, "prod/db-0".to_owned()));
        assert_eq!(state(&handle, kept).await, attached);
        handle
            .reserve(reservation("spare".to_owned()))
            .await
            .unwrap();
        assert_eq!(
            handle.fsck().await.unwrap().findings.len(),
            1,
            "only the missing port"
        );
    })
    .await;
}

#[tokio::test]
async fn after_a_boot_sticky_pods_get_their_addresses_back() {
    let node = Node::new();
    let sticky = node
        .kill_after(async |handle| {
            add(&handle, "prod/web", "s0").await;
            add(&handle, "prod/db-0", "s1").await
        })
        .await;
    node.boot("two");
    node.serve(async |handle| {
        let held = Some((ViewState::Held, "prod/db-0".to_owned()));
        assert_eq!(state(&handle, sticky).await, held);
        assert_eq!(add(&handle, "prod/db-0", "s2").await, sticky);
    })
    .await;
    // The boot is known now: starting again ends nothing.
    node.serve(async |handle| {
        let attached = Some((ViewState::Attached, "prod/db-0".to_owned()));
        assert_eq!(state(&handle, sticky).await, attached);
    })
    .await;
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_and_rebuilt_from_the_ports() {
    let node = Node::new();
    let attached = node
        .serve(async |handle| {
            add(&handle, "prod/web", "s2").await;
            add(&handle, "prod/db-0", "s1").await
        })
        .await;
    node.cut_store(60);
    node.add_port("s1", &format!("{attached}/24"), "prod/db-0");
    for start in 0..2 {
        node.serve(async |handle| {
            let fsck = handle.fsck().await.unwrap();
            let all = handle.list(ListFilter::default()).await.unwrap();
            assert_eq!(all.len(), 100, "start {start}: one attached, 99 resting");
            let kept = Some((ViewState::Attached, "prod/db-0".to_owned()));
            assert_eq!(state(&handle, attached).await, kept);
            let told = fsck
                .findings
                .iter()
                .any(|line| line.contains("was damaged"));
            assert_eq!(told, start == 0, "{:?}", fsck.findings);
            assert!(
                fsck.findings
                    .iter()
                    .any(|line| line.contains("set aside in"))
            );
            let refused = handle
                .allocate(request("prod/new", "s3"), PodPolicy::default())
                .await;
            assert!(
                matches!(refused, Err(LedgerError::Refused(_))),
                "{refused:?}"
            );
        })
        .await;
    }
    let folder = StoreFolder::lock(&node.path("store")).unwrap();
    assert_eq!(folder.set_aside_before().unwrap().len(), 1);
}

#[tokio::test]
async fn a_deleted_store_beside_ports_is_no_new_node_and_without_any_trace_is_one() {
    let node = Node::new();
    let attached = node
        .serve(async |handle| add(&handle, "prod/db-0", "s1").await)
        .await;
    node.add_port("s1", &format!("{attached}/24"), "prod/db-0");
    fs::remove_dir_all(node.path("store")).unwrap();
    node.serve(async |handle| {
        let all = handle.list(ListFilter::default()).await.unwrap();
        assert_eq!(all.len(), 100);
    })
    .await;
    let fresh = Node::new();
    fresh
        .serve(async |handle| {
            let all = handle.list(ListFilter::default()).await.unwrap();
            assert_eq!(all.len(), 0);
        })
        .await;
}

#[tokio::test]
async fn a_tombstone_is_released_while_the_daemon_runs_and_never_after_a_newer_add() {
    let node = Node::new();
    node.serve(async |handle| {
        let address = add(&handle, "prod/db-0", "s1").await;
        let tombstone = node.leave_tombstone("s1");
        // The same attachment once more: the tombstone is older, and must not end it later.
        assert_eq!(add(&handle, "prod/db-0", "s1").await, address);
        assert!(!tombstone.exists());
        let attached = Some((ViewState::Attached, "prod/db-0".to_owned()));
        assert_eq!(state(&handle, address).await, attached);
        let log = handle.who(address, None).await.unwrap().log;
        let ends: Vec<_> = log.iter().map(|line| line.ended).collect();
        assert_eq!(ends, [Ended::Released, Ended::Attached]);
        // Without any ADD it is noticed by itself.
        let mut status = handle.status();
        let tombstone = node.leave_tombstone("s1");
        status
            .wait_for(|status| status.pools.iter().all(|pool| pool.attached == 0))
            .await
            .unwrap();
        assert_eq!(handle.figures().tombstones.get(), 2);
        handle.list(ListFilter::default()).await.unwrap();
        assert!(!tombstone.exists());
    })
    .await;
}

#[tokio::test]
async fn a_tombstone_of_an_attachment_that_nobody_knows_is_spent_whatever_its_age() {
    let node = Node::new();
    node.serve(async |handle| {
        let old = node.leave_tombstone("unknown");
        let long_ago = std::time::UNIX_EPOCH;
        let file = fs::File::options().write(true).open(&old).unwrap();
        file.set_modified(long_ago).unwrap();
        add(&handle, "prod/web", "s1").await;
        assert!(!old.exists());
        assert_eq!(handle.figures().tombstones.get(), 1);
        assert_eq!(handle.fsck().await.unwrap().findings, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn tombstones_of_the_time_without_a_daemon_are_released_at_the_start() {
    let node = Node::new();
    let address = node
        .serve(async |handle| add(&handle, "prod/db-0", "s1").await)
        .await;
    let tombstone = node.leave_tombstone("s1");
    fs::write(node.path("spool").join("bad.tombstone"), "{").unwrap();
    node.serve(async |handle| {
        let held = Some((ViewState::Held, "prod/db-0".to_owned()));
        assert_eq!(state(&handle, address).await, held);
        assert!(!tombstone.exists());
        let findings = handle.fsck().await.unwrap().findings;
        assert!(
            findings.iter().any(|line| line.contains("bad.tombstone")),
            "{findings:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_second_daemon_is_refused_and_names_the_first() {
    let node = Node::new();
    node.serve(async |handle| {
        add(&handle, "prod/db-0", "s1").await;
        let (_second, task) = ledger(node.config());
        let refused = task.run(CancellationToken::new()).await.unwrap_err();
        let pid = std::process::id();
        assert!(
            refused.to_string().ends_with(&format!("process {pid}")),
            "{refused}"
        );
        let boot_id = node.path("boot_id");
        let settings = node.settings.clone().validate().unwrap();
        let offline = Offline::open(&node.path("store"), settings, &boot_id);
        assert!(matches!(
            offline.map(|_| ()),
            Err(OpenOfflineError::Lock(LockStoreError::Held { .. }))
        ));
    })
    .await;
}

#[tokio::test]
async fn who_had_an_address_is_known_by_time_and_by_identity() {
    let node = Node::new();
    node.serve(async |handle| {
        let address = add(&handle, "prod/web", "s1").await;
        handle.release(attachment("s1")).await.unwrap();
        let who = handle.who(address, None).await.unwrap();
        assert_eq!(who.log.len(), 1);
        let line = &who.log[0];
        assert_eq!(
            (line.identity.as_str(), line.ended),
            ("prod/web", Ended::Released)
        );
        // The log's times are shown by the wall clock, which the book's clock follows to a millisecond.
        let second = Duration::from_secs(1);
        for at in [line.from.before(second), line.to.after(second)] {
            assert_eq!(handle.who(address, Some(at)).await.unwrap().log, []);
        }
        let why = handle.why("prod/web".parse().unwrap()).await.unwrap();
        assert_eq!(why.log, who.log);
        assert_eq!(why.bindings.len(), 1, "the quarantine");
    })
    .await;
}

#[tokio::test]
async fn the_book_travels_as_a_document_whole_or_not_at_all() {
    let (from, to) = (Node::new(), Node::new());
    let document = from
        .serve(async |handle| {
            add(&handle, "prod/db-0", "s1").await;
            handle
                .reserve(reservation("spare".to_owned()))
                .await
                .unwrap();
            handle.export().await.unwrap()
        })
        .await;
    let offline = Offline::open(
        &from.path("store"),
        from.settings.clone().validate().unwrap(),
        &from.path("boot_id"),
    )
    .unwrap();
    assert_eq!(offline.export().records, document.records);
    assert_eq!(offline.list(&ListFilter::default()).len(), 2);
    assert_eq!(offline.fsck().unwrap().findings, [] as [String; 0]);
    let text = serde_json::to_string(&document).unwrap();
    let document: super::super::document::Document = serde_json::from_str(&text).unwrap();
    let import = |dry_run| ImportRequest {
        document: document.clone(),
        dry_run,
    };
    to.serve(async |handle| {
        assert_eq!(handle.import(import(true)).await.unwrap().imported, 2);
        assert!(handle.list(ListFilter::default()).await.unwrap().is_empty());
        assert_eq!(
            handle.import(import(false)).await.unwrap().refused,
            [] as [String; 0]
        );
        assert_eq!(
            handle.import(import(false)).await.unwrap().imported,
            0,
            "no news"
        );
        let all = handle.list(ListFilter::default()).await.unwrap();
        assert_eq!(all.len(), 2);
        let freed = handle
            .free(FreeRequest {
                network: None,
                address: "10.20.1.150".parse().unwrap(),
                quarantine: false,
            })
            .await
            .unwrap();
        assert_eq!(freed.state, ViewState::Reserved);
    })
    .await;
    let other = Node::new();
    other
        .serve(async |handle| {
            // The first address again, for somebody else.
            add(&handle, "prod/other", "s9").await;
            let imported = handle.import(import(false)).await.unwrap();
            assert_eq!(imported.refused.len(), 1, "{imported:?}");
            assert_eq!(handle.list(ListFilter::default()).await.unwrap().len(), 1);
        })
        .await;
}

#[tokio::test]
async fn new_settings_are_taken_whole_or_refused_whole_and_survive_a_failed_commit() {
    let node = Node::new();
    node.serve(async |handle| {
        add(&handle, "prod/db-0", "s1").await;
        let mut wider = settings();
        wider.pools[0].ranges = vec!["10.20.1.100-10.20.1.109".parse().unwrap()];
        handle.reload(wider.validate().unwrap()).await.unwrap();
        assert_eq!(handle.status().borrow().pools[0].capacity, 10);
        let mut without = settings();
        without.pools[0].ranges = vec!["10.20.1.200-10.20.1.209".parse().unwrap()];
        let refused = handle.reload(without.validate().unwrap()).await;
        assert!(matches!(refused, Err(LedgerError::Refused(_))));
        let _failed = handle.reserve(reservation("x".repeat(100_000))).await;
        handle.list(ListFilter::default()).await.unwrap();
        assert_eq!(handle.status().borrow().pools[0].capacity, 10);
    })
    .await;
}

#[tokio::test]
async fn a_newer_store_is_left_alone_and_everything_is_refused_with_advice() {
    let node = Node::new();
    node.serve(async |handle| add(&handle, "prod/db-0", "s1").await)
        .await;
    {
        let folder = StoreFolder::lock(&node.path("store")).unwrap();
        let newer = crate::store::migrate::Formats {
            current: 2,
            oldest: 1,
            steps: &[|bare| Ok(Some(bare))],
        };
        let opened = Store::open(&folder, newer, nothing);
        assert!(opened.is_ok());
    }
    node.serve(async |handle| {
        let refused = handle
            .allocate(request("prod/db-0", "s1"), PodPolicy::default())
            .await
            .unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("install the version that wrote it"),
            "{refused}"
        );
        assert_eq!(handle.status().borrow().phase, Phase::Damaged);
    })
    .await;
    let folder = StoreFolder::lock(&node.path("store")).unwrap();
    assert_eq!(folder.set_aside_before().unwrap(), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn records_that_contradict_each_other_are_left_to_an_operator() {
    let node = Node::new();
    node.serve(async |handle| handle.list(ListFilter::default()).await.unwrap())
        .await;
    let folder = StoreFolder::lock(&node.path("store")).unwrap();
    let mut store = Store::open(&folder, FORMATS, nothing).unwrap().store;
    let book = Book::new(node.settings.clone().validate().unwrap());
    let mut writes = Writes::new();
    for pod in ["prod/one", "prod/two"] {
        let plan = book
            .allocate(&request(pod, "s1"), Timestamp::default())
            .unwrap();
        let puts: Vec<_> = plan
            .changes
            .into_iter()
            .filter(|change| matches!(change, Change::Put(_)))
            .collect();
        transaction::write(&puts, &mut 0, &mut writes).unwrap();
    }
    let clock = store.meta().clock.clone().unwrap();
    store.commit(&writes, &clock).unwrap();
    drop((store, folder));
    node.serve(async |handle| {
        let refused = handle.release(attachment("s1")).await.unwrap_err();
        assert!(matches!(&refused, Unavailable::StoreDamaged { message } if message.contains("claimed twice")));
    })
    .await;
}

#[test]
fn old_lines_of_the_log_are_pruned_a_bounded_number_at_a_time() {
    let temp = tempfile::tempdir().unwrap();
    let folder = StoreFolder::lock(temp.path()).unwrap();
    let mut store = Store::open(&folder, FORMATS, nothing).unwrap().store;
    let at = |n: u64| Timestamp::from_unix_milliseconds(n);
    let clock = ClockBase {
        book: at(0),
        reading: Reading {
            boot_id: "one".to_owned(),
            boottime: Duration::ZERO,
            wall: at(0),
        },
    };
    let line = |n: u64| {
        Change::Audit(ipamd_core::AuditEntry {
            address: "10.20.1.100".parse().unwrap(),
            network: "external".parse().unwrap(),
            identity: "prod/web".parse().unwrap(),
            pod_uid: None,
            sandbox: None,
            mac: "02:00:00:00:00:01".parse().unwrap(),
            from: at(n),
            to: at(n + 1),
            ended: Ended::Expired,
        })
    };
    let lines: Vec<_> = (0..600).map(line).collect();
    let mut writes = Writes::new();
    transaction::write(&lines, &mut 0, &mut writes).unwrap();
    store.commit(&writes, &clock).unwrap();
    let mut pruned = Vec::new();
    loop {
        let old = audit::prune(&store, at(500)).unwrap();
        if old.is_empty() {
            break;
        }
        pruned.push(old.len());
        store.commit(&old, &clock).unwrap();
    }
    assert_eq!(pruned, [256, 243], "499 lines ended before");
    assert_eq!(store.meta().records, 101);
}
