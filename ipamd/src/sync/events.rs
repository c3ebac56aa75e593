//! Writes Events on the own Node, where `kubectl describe node` shows them.
//!
//! Best effort: what cannot be written waits, the newest of each kind, and nobody waits for it. Everything told here is in
//! the log too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff;
use kube::Api;
use kube::api::PostParams;
use proto_ids::NodeName;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::api::{Connection, root};
use super::outbox::{Outbox, Topic};
use crate::ledger::LedgerStatus;

/// Events of what has no namespace lie in this one: the API server takes them nowhere else.
const NAMESPACE: &str = "default";
/// Who tells.
const CONTROLLER: &str = "berth.dev/ipamd";
/// Longest note that the API server takes, in bytes.
const NOTE_LIMIT: usize = 1024;
/// Longest name of who tells, in bytes.
const INSTANCE_LIMIT: usize = 128;
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Takes what is to be told. Without a cluster there is nobody to tell, and it does nothing.
#[derive(Clone, Debug)]
pub(crate) struct EventsHandle {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    outbox: Mutex<Outbox>,
    put: Notify,
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventsHandle {
    pub(super) fn new() -> Self {
        Self {
            shared: Some(Arc::default()),
        }
    }

    /// Tells nobody.
    pub(crate) const fn to_nobody() -> Self {
        Self { shared: None }
    }

    /// Something is to be told.
    pub(crate) fn put(&self, topic: Topic, note: String) {
        if let Some(shared) = &self.shared {
            shared.outbox().put(topic, note);
            shared.put.notify_one();
        }
    }

    /// It is over.
    pub(crate) fn withdraw(&self, topic: Topic) {
        if let Some(shared) = &self.shared {
            shared.outbox().withdraw(topic);
        }
    }
}

/// Writes what is put, and what the ledger says of the rack, until it is dropped.
pub(super) async fn run(
    events: EventsHandle,
    node: NodeName,
    mut ledger: watch::Receiver<LedgerStatus>,
    mut connections: watch::Receiver<Option<Connection>>,
) {
    let Some(shared) = events.shared.clone() else {
        return std::future::pending().await;
    };
    let mut standing = None;
    loop {
        let stands = unplaced(&ledger.borrow_and_update());
        if stands != standing {
            events.withdraw(Topic::RackUnknown);
            events.withdraw(Topic::RackWithoutPool);
            if let Some((topic, note)) = stands.clone() {
                events.put(topic, note);
            }
            standing = stands;
        }
        let connection = connections.borrow_and_update().clone();
        let now = Instant::now();
        let due = shared.outbox().due(now);
        if let (Some((topic, note)), Some(connection)) = (due, &connection) {
            let written = write(connection, &node, topic, &note).await;
            let mut outbox = shared.outbox();
            match written {
                Ok(()) => {
                    info!(reason = topic.reason(), "event written");
                    outbox.written(topic, &note, Instant::now());
                }
                Err(problem) => {
                    warn!(
                        reason = topic.reason(),
                        error = problem,
                        "event not written"
                    );
                    outbox.failed(topic, Instant::now());
                }
            }
            continue;
        }
        let wake = shared.outbox().wake(now).filter(|_| connection.is_some());
        tokio::select! {
            () = shared.put.notified() => {}
            () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            Ok(()) = ledger.changed() => {}
            Ok(()) = connections.changed() => {}
        }
    }
}

/// What the settings in force say of the rack: told when it begins, and not any more when it is over.
fn unplaced(status: &LedgerStatus) -> Option<(Topic, String)> {
    let settings = status.settings.settings();
    if settings.rack.is_awaited() {
        return None;
    }
    let unplaced = settings.unplaced()?;
    let topic = if unplaced.known {
        Topic::RackWithoutPool
    } else {
        Topic::RackUnknown
    };
    Some((topic, format!("{}; {}", unplaced.cause, unplaced.advice)))
}

async fn write(
    connection: &Connection,
    node: &NodeName,
    topic: Topic,
    words: &str,
) -> Result<(), String> {
    let events: Api<Event> = Api::namespaced(connection.client.clone(), NAMESPACE);
    let event = event(node, connection.uid.clone(), topic, words);
    let parameters = PostParams::default();
    match timeout(WRITE_DEADLINE, events.create(&parameters, &event)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) => Err(status.message),
        Ok(Err(error)) => Err(root(&error)),
        Err(_) => Err(format!("no answer within {WRITE_DEADLINE:?}")),
    }
}

fn event(node: &NodeName, uid: Option<String>, topic: Topic, words: &str) -> Event {
    let now = jiff::Timestamp::now();
    Event {
        metadata: ObjectMeta {
            // As other writers of Events name them.
            name: Some(format!("{node}.{:x}", now.as_nanosecond())),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some("Warning".to_owned()),
        reason: Some(topic.reason().to_owned()),
        action: Some(topic.action().to_owned()),
        note: Some(cut_to(words, NOTE_LIMIT).to_owned()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(cut_to(node.as_str(), INSTANCE_LIMIT).to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_string()),
            uid,
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

/// The beginning of a text, in whole characters.
fn cut_to(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_on_the_node_and_within_the_limits() {
        let name = "n1".parse().unwrap();
        let long = "ü".repeat(2000);
        let event = event(&name, Some("uid-1".to_owned()), Topic::RackUnknown, &long);
        let note = event.note.unwrap();
        assert!(note.len() <= NOTE_LIMIT && long.starts_with(&note));
        let regarding = event.regarding.unwrap();
        assert_eq!(regarding.kind.as_deref(), Some("Node"));
        assert_eq!(regarding.uid.as_deref(), Some("uid-1"));
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
        assert!(event.metadata.name.unwrap().starts_with("n1."));
    }

    #[test]
    fn without_a_cluster_nothing_is_kept() {
        let events = EventsHandle::to_nobody();
        events.put(Topic::RackUnknown, "x".to_owned());
        assert!(events.shared.is_none());
    }
}
