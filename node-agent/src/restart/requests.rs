//! The requests for Pods of this node, as a watch tells them. A view may be old: every write names the version it was decided on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipamd_daemon::Tasks;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use proto_crd::container_restart::ContainerRestart;
use tokio::sync::watch;

use super::request::Request;
use crate::follow::follow;

/// Objects of one answer of a list.
const PAGE: u32 = 100;

/// The requests as they were last told. Clones are the same ones.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    told: Arc<Mutex<Told>>,
    changes: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Told {
    /// By UID.
    items: BTreeMap<String, Request>,
    pending: Option<BTreeMap<String, Request>>,
    is_complete: bool,
}

impl Requests {
    /// Counts what was told.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Whether the list was read to its end at least once.
    pub(super) fn is_complete(&self) -> bool {
        self.told().is_complete
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeMap<String, Request> {
        self.told().items.clone()
    }

    /// Takes an answer to a write, which the watch will tell later.
    pub(super) fn wrote(&self, object: &ContainerRestart) {
        let request = Request::from(object);
        let mut told = self.told();
        // It may be gone already: who deletes knows.
        if let Some(known) = told.items.get_mut(&request.uid)
            && is_newer(&request.version, &known.version)
        {
            *known = request;
        }
    }

    /// Takes what was read live: it is there, in this version, or it is gone.
    pub(super) fn read(&self, uid: &str, object: Option<&ContainerRestart>) {
        let found = object.map(Request::from).filter(|found| found.uid == uid);
        let mut told = self.told();
        match found {
            Some(found) => {
                told.items.insert(found.uid.clone(), found);
            }
            None => {
                told.items.remove(uid);
            }
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn apply(&mut self, event: &Event<ContainerRestart>) {
        match event {
            Event::Init => self.pending = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                let request = Request::from(object);
                let pending = self.pending.get_or_insert_default();
                pending.insert(request.uid.clone(), request);
            }
            Event::InitDone => {
                self.items = self.pending.take().unwrap_or_default();
                self.is_complete = true;
            }
            Event::Apply(object) => {
                let request = Request::from(object);
                let known = self.items.get(&request.uid);
                // Our own write's answer may have come first.
                if known.is_none_or(|known| !is_newer(&known.version, &request.version)) {
                    self.items.insert(request.uid.clone(), request);
                }
            }
            Event::Delete(object) => {
                let uid = object.metadata.uid.as_deref().unwrap_or_default();
                self.items.remove(uid);
            }
        }
    }
}

/// Whether a version is later than another one. Numbers that grow, of one kind of object: so the API says since 1.35, and etcd made
/// them before.
fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => version != than,
    }
}

/// Watches the requests for Pods of a node.
pub(super) fn spawn_requests(tasks: &Tasks, client: Client, node: &str) -> Requests {
    let told = Arc::new(Mutex::new(Told::default()));
    let (sender, changes) = watch::channel(0);
    let requests = Requests {
        told: Arc::clone(&told),
        changes,
    };
    let config = Config::default()
        .fields(&format!("spec.nodeName={node}"))
        .page_size(PAGE);
    let token = tasks.token();
    tasks.spawn("restart requests", async move {
        let events = watcher(Api::<ContainerRestart>::all(client), config);
        let watching = follow("restart requests", events, |event| {
            told.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .apply(&event);
            sender.send_modify(|count| *count += 1);
        });
        tokio::select! {
            () = token.cancelled() => {}
            () = watching => {}
        }
    });
    requests
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(version: &str, phase: &str) -> ContainerRestart {
        serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "ContainerRestart",
            "metadata": {"name": "a", "namespace": "prod", "uid": "u", "resourceVersion": version},
            "spec": {"nodeName": "n1", "podName": "shop", "podUID": "p", "containers": [{"name": "main"}]},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn requests() -> Requests {
        Requests {
            told: Arc::default(),
            changes: watch::channel(0).1,
        }
    }

    #[test]
    fn an_answer_to_a_write_is_not_undone_by_an_older_event() {
        let requests = requests();
        requests.told().apply(&Event::Apply(object("8", "Pending")));
        requests.wrote(&object("10", "Recreating"));
        requests
            .told()
            .apply(&Event::Apply(object("9", "Draining")));
        assert_eq!(requests.all()["u"].version, "10");
        requests
            .told()
            .apply(&Event::Apply(object("11", "Succeeded")));
        assert_eq!(requests.all()["u"].version, "11");
    }

    #[test]
    fn a_write_does_not_bring_back_what_is_gone() {
        let requests = requests();
        requests.wrote(&object("10", "Recreating"));
        assert!(requests.all().is_empty());
        requests.read("u", Some(&object("10", "Recreating")));
        assert_eq!(requests.all().len(), 1);
        requests.read("u", None);
        assert!(requests.all().is_empty());
    }
}
