//! Everything that the API server tells of Pods, endpoints, sets, and where it is asked for Nodes and decisions, in the order in which it
//! happened: versions of all kinds are numbers of one row, because one etcd has them all.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests_testbed::{ApiProxy, ControlPlane};

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Pod,
    Slice,
    Set,
    Node,
    Decision,
}

impl Kind {
    /// What is the application's.
    pub(super) const SHOP: [Self; 3] = [Self::Pod, Self::Slice, Self::Set];
    pub(crate) const ALL: [Self; 5] = [
        Self::Pod,
        Self::Slice,
        Self::Set,
        Self::Node,
        Self::Decision,
    ];

    const fn path(self) -> &'static str {
        match self {
            Self::Pod => "/api/v1/namespaces/shop/pods",
            Self::Slice => "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices",
            Self::Set => "/apis/berth.dev/v1alpha1/namespaces/shop/inplacesets",
            Self::Node => "/api/v1/nodes",
            Self::Decision => "/apis/berth.dev/v1alpha1/namespaces/berth-system/nodedecisions",
        }
    }
}

/// One version of an object.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) version: u64,
    /// When it was heard.
    pub(crate) at: Instant,
    pub(crate) gone: bool,
    pub(crate) object: Arc<Value>,
}

type Rows = BTreeMap<(Kind, String), Vec<Seen>>;

/// The record, until this is dropped.
pub(crate) struct Record {
    rows: Arc<Mutex<Rows>>,
    over: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// How often a watch that hears nothing looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Record {
    pub(super) fn start(api: &ControlPlane, kinds: &[Kind]) -> Self {
        let proxy = Arc::new(api.proxy_at("record.sock").unwrap());
        let rows = Arc::<Mutex<Rows>>::default();
        let (mut over, mut threads) = (Vec::new(), Vec::new());
        for &kind in kinds {
            let (end, ends) = channel::<()>();
            over.push(end);
            let (proxy, rows) = (Arc::clone(&proxy), Arc::clone(&rows));
            let is_over =
                move || !matches!(ends.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
            threads.push(thread::spawn(move || follow(&proxy, kind, &rows, &is_over)));
        }
        Self {
            rows,
            over,
            threads,
        }
    }

    /// Every version of a Pod's name, in order.
    pub(crate) fn pod(&self, name: &str) -> Vec<Seen> {
        self.of(Kind::Pod, name)
    }

    /// The last version of a Pod that is there.
    pub(crate) fn live(&self, name: &str) -> Option<Arc<Value>> {
        let last = self.pod(name).pop()?;
        (!last.gone).then_some(last.object)
    }

    /// Pods of a set that are there now, by ordinal.
    pub(crate) fn pods(&self, set: &str) -> Vec<Arc<Value>> {
        let rows = self.rows();
        let of_set = rows.iter().filter(|((kind, _), _)| *kind == Kind::Pod);
        let live = of_set.filter_map(|(_, row)| row.last().filter(|it| !it.gone));
        let mut pods: Vec<_> = live
            .map(|it| Arc::clone(&it.object))
            .filter(|pod| pod["metadata"]["labels"]["app"] == set)
            .collect();
        let ordinal = |pod: &Value| {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let number = name.rsplit('-').next().unwrap_or_default();
            number.parse::<u32>().unwrap_or(u32::MAX)
        };
        pods.sort_by_key(|pod| ordinal(pod));
        pods
    }

    /// The names of all Pods that ever were, with every version.
    pub(crate) fn all_pods(&self) -> Vec<(String, Vec<Seen>)> {
        let rows = self.rows();
        let pods = rows.iter().filter(|((kind, _), _)| *kind == Kind::Pod);
        pods.map(|((_, name), row)| (name.clone(), row.clone()))
            .collect()
    }

    /// A set as it was last told.
    pub(crate) fn set(&self, name: &str) -> Option<Arc<Value>> {
        self.of(Kind::Set, name).pop().map(|seen| seen.object)
    }

    /// What endpoints said of an address, in order: whether it was ready.
    pub(crate) fn endpoint(&self, ip: &str) -> Vec<(u64, Instant, bool)> {
        let rows = self.rows();
        let slices = rows.iter().filter(|((kind, _), _)| *kind == Kind::Slice);
        let mut all = Vec::new();
        for seen in slices.flat_map(|(_, row)| row) {
            let endpoints = seen.object["endpoints"].as_array();
            let of_ip = endpoints
                .into_iter()
                .flatten()
                .find(|it| it["addresses"][0] == ip);
            if let Some(endpoint) = of_ip {
                let ready = endpoint["conditions"]["ready"] == true && !seen.gone;
                all.push((seen.version, seen.at, ready));
            }
        }
        all.sort_by_key(|(version, _, _)| *version);
        all
    }

    /// The last version of each object of a kind that is there.
    pub(crate) fn last(&self, kind: Kind) -> Vec<Seen> {
        let rows = self.rows();
        let rows = rows.iter().filter(|((of, _), _)| *of == kind);
        let last = rows.filter_map(|(_, row)| row.last());
        last.filter(|seen| !seen.gone).cloned().collect()
    }

    /// Every version of an object, in order.
    pub(crate) fn of(&self, kind: Kind, name: &str) -> Vec<Seen> {
        let rows = self.rows();
        let row = rows.get(&(kind, name.to_owned()));
        row.cloned().unwrap_or_default()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.over.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Goes on from the last version when the API server ends a watch, so that nothing is missed.
fn follow(proxy: &ApiProxy, kind: Kind, rows: &Mutex<Rows>, is_over: &dyn Fn() -> bool) {
    let list = tests::wait::wait_until("a list", || {
        proxy
            .json(kind.path())
            .map_err(|error| format!("{error:#}"))
    });
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut from: u64 = version.parse().unwrap();
    for object in list["items"].as_array().unwrap() {
        keep(rows, kind, object.clone(), false);
    }
    while !is_over() {
        let path = kind.path();
        let query = format!("{path}?watch=true&allowWatchBookmarks=true&resourceVersion={from}");
        let Ok(mut watch) = proxy.watch(&query) else {
            continue;
        };
        while !is_over() {
            let Ok(next) = watch.next_before(Instant::now() + LOOK_EVERY) else {
                break;
            };
            let Some(mut event) = next else { continue };
            let object = event["object"].take();
            from = version_of(&object).max(from);
            if event["type"] != "BOOKMARK" {
                keep(rows, kind, object, event["type"] == "DELETED");
            }
        }
    }
}

fn keep(rows: &Mutex<Rows>, kind: Kind, object: Value, gone: bool) {
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let seen = Seen {
        version: version_of(&object),
        at: Instant::now(),
        gone,
        object: Arc::new(object),
    };
    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
    rows.entry((kind, name)).or_default().push(seen);
}

fn version_of(object: &Value) -> u64 {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.and_then(|it| it.parse().ok()).unwrap_or_default()
}
