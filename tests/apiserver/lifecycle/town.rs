//! What kubelets and agents of the nodes say: Leases, and reports of whom each node sees. One thread, with a switch for each node.
//!
//! The agents' own Leases are the fake nodes' to renew. **Always holds:** who cannot reach the API server says nothing, and what it said
//! last stays; who can, tells of every other node whether it answers.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use proto_crd::time::Timestamp;
use serde_json::{Value, json};
use tests_testbed::{ApiProxy, ControlPlane};

/// kubelets renew a little faster than real ones, so that none is late on a machine that does other things.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// A report holds for longer than the test takes.
const HOLDS: Duration = Duration::from_secs(3600);

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const HEALTHS: &str = "/apis/berth.dev/v1alpha1/namespaces/berth-system/nodehealths";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Well,
    /// It lives, and does not reach the API server: its peers see it.
    Cut,
    Dead,
}

/// A node: its rack, and how it is.
#[derive(Clone, Debug)]
struct House {
    rack: &'static str,
    how: How,
}

#[derive(Default)]
struct Shared {
    houses: Mutex<BTreeMap<String, House>>,
    trouble: Mutex<Option<String>>,
}

/// The town, until this is dropped.
pub(super) struct Town {
    shared: Arc<Shared>,
    news: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Town {
    /// Nodes, each with its rack, all of them well.
    pub(super) fn start(api: &ControlPlane, nodes: &[(String, &'static str)]) -> Self {
        let proxy = api.proxy_at("town.sock").unwrap();
        let shared = Arc::<Shared>::default();
        let well = |(name, rack): &(String, &'static str)| {
            let how = How::Well;
            (name.clone(), House { rack, how })
        };
        *locked(&shared.houses) = nodes.iter().map(well).collect();
        let (news, told) = channel();
        let life = Arc::clone(&shared);
        let thread = thread::spawn(move || live(&proxy, &life, &told));
        Self {
            shared,
            news: Some(news),
            thread: Some(thread),
        }
    }

    /// From now on a node is so.
    pub(super) fn becomes(&self, node: &str, how: How) {
        locked(&self.shared.houses).get_mut(node).unwrap().how = how;
        if let Some(news) = &self.news {
            news.send(()).unwrap();
        }
    }

    /// What went wrong when all of them spoke last.
    pub(super) fn trouble(&self) -> Option<String> {
        locked(&self.shared.trouble).clone()
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.news = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until nobody can tell it anything any more.
fn live(proxy: &ApiProxy, shared: &Shared, told: &Receiver<()>) {
    let mut said = BTreeMap::new();
    loop {
        let houses = locked(&shared.houses).clone();
        let mut trouble = None;
        for (name, _) in houses.iter().filter(|(_, house)| house.how == How::Well) {
            let done = report(proxy, name, &houses, &mut said).and_then(|()| renew(proxy, name));
            trouble = done.err().or(trouble);
        }
        *locked(&shared.trouble) = trouble;
        match told.recv_timeout(RENEW_EVERY) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// kubelet's part.
fn renew(proxy: &ApiProxy, name: &str) -> Result<(), String> {
    let time = now().to_string().replace('Z', ".000000Z");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": time},
    });
    write(proxy, APPLY, &format!("{LEASES}/{name}"), &lease)
}

/// The agent's part: where what it sees is not what it said.
fn report(
    proxy: &ApiProxy,
    name: &str,
    houses: &BTreeMap<String, House>,
    said: &mut BTreeMap<String, Vec<(String, bool)>>,
) -> Result<(), String> {
    let others = houses.iter().filter(|(other, _)| *other != name);
    let sees: Vec<_> = others
        .map(|(other, house)| (other.clone(), house.how != How::Dead))
        .collect();
    if said.get(name) == Some(&sees) {
        return Ok(());
    }
    let health = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "NodeHealth",
        "metadata": {"name": name, "namespace": "berth-system"}, "spec": {"nodeName": name},
    });
    let path = format!("{HEALTHS}/{name}");
    write(proxy, APPLY, &path, &health)?;
    let status = json!({"status": status(&sees, houses, now())});
    write(proxy, MERGE, &format!("{path}/status"), &status)?;
    said.insert(name.to_owned(), sees);
    Ok(())
}

fn status(sees: &[(String, bool)], houses: &BTreeMap<String, House>, now: Timestamp) -> Value {
    let time = now.to_string();
    let peers = sees.iter().map(|(peer, is_alive)| {
        let (state, lost) = if *is_alive { ("Alive", 0) } else { ("Dead", 100) };
        json!({"node": peer, "rack": houses[peer].rack, "state": state, "since": time, "lostPercent": lost})
    });
    json!({
        "bootId": "1", "agentVersion": "fake", "reportTime": time, "expiryTime": now.after(HOLDS).to_string(),
        "problems": 0, "unknowns": 0, "signals": [], "processorsPressed": false,
        "conditions": [{
            "type": "Healthy", "status": "True", "reason": "NothingWrong", "message": "", "lastTransitionTime": time,
        }],
        "peers": peers.collect::<Vec<_>>(),
        "vote": {"state": "Given", "reason": "Seeing", "message": "", "since": time},
    })
}

fn write(proxy: &ApiProxy, form: &str, path: &str, body: &Value) -> Result<(), String> {
    let query = if form == APPLY {
        "?fieldManager=town&force=true"
    } else {
        ""
    };
    let answer = proxy.call_in(form, "PATCH", &format!("{path}{query}"), body);
    let answer = answer.map_err(|error| format!("{path}: {error:#}"))?;
    match answer.status {
        200 | 201 => Ok(()),
        _ => Err(format!("{path}: {answer:?}")),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let milliseconds = since.unwrap().as_millis();
    Timestamp::from_unix_milliseconds(u64::try_from(milliseconds).unwrap())
}

/// The time now, as people write it.
pub(super) fn time() -> String {
    now().to_string()
}
