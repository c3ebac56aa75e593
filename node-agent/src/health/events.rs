//! Events on the own Node, where `kubectl describe node` shows them: that a signal became unhealthy, and that it is healthy again.
//!
//! [`Outbox`] says which and when. What was told is kept in a file, and so is what is about to be: a process that ends in the middle
//! leaves the time of its try to the next one. The Event's name says its reason and that time, so that it can be made once.

use std::path::Path;
use std::sync::Arc;

use ipamd_daemon::Tasks;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use proto_crd::names;
use tokio::sync::watch;
use tracing::info;

use super::board::Report;
use super::course::Course;
use super::moment::Moment;
use super::outbox::{Note, Outbox};
use super::pace::wait;
use super::report::Chance;
use super::writer::{CallApiError, ReportError, Writer};
use crate::metrics::{HealthMetrics, Told};

mod file;

use self::file::ToldFile;

/// Events of what has no namespace lie in this one: the API server takes them nowhere else.
const NAMESPACE: &str = "default";

/// What the agent does when it finds what it tells.
const ACTION: &str = "Look";

/// Longest name of who tells, in bytes.
const INSTANCE_LIMIT: usize = 128;

/// Longest part of an Event's name that is the Node's: names have 253 characters, and ours add a reason and a number.
const NAME_LIMIT: usize = 170;

/// Why an Event was not written.
#[derive(Debug, thiserror::Error)]
enum WriteEventError {
    /// Learning the Node's UID, by which Events are found.
    #[error("learning which Node is ours")]
    Identify {
        #[source]
        source: ReportError,
    },
    /// Writing it.
    #[error("writing Event {reason} on Node {node}{}", .source.advice())]
    Write {
        reason: String,
        node: String,
        #[source]
        source: CallApiError,
    },
}

/// What the task works with.
pub(super) struct Events {
    /// The API server.
    pub(super) client: Client,
    /// Who knows the Node's UID.
    pub(super) writer: Arc<Writer>,
    /// The Node.
    pub(super) node: String,
    /// What is known.
    pub(super) reports: watch::Receiver<Report>,
    /// What is counted.
    pub(super) metrics: HealthMetrics,
}

/// Starts to tell. What was told is kept in the agent's folder.
pub(super) fn spawn_events(tasks: &Tasks, events: Events, state: &Path) {
    let token = tasks.token();
    let file = ToldFile::new(state);
    tasks.spawn("events", async move {
        // What was not told is told by the next process, if it is still so.
        tokio::select! {
            () = token.cancelled() => {}
            () = events.run(file) => token.cancelled().await,
        }
    });
}

impl Events {
    async fn run(mut self, mut file: ToldFile) {
        let mut outbox = Outbox::new(Timestamp::now(), file.load().await);
        let mut course = Course::new("Events on the Node");
        loop {
            let now = Moment::now();
            {
                let report = self.reports.borrow_and_update();
                if report.is_complete {
                    outbox.observe(&report.views, now, Chance::draw());
                }
            }
            let Some(note) = outbox.next(now.at) else {
                if wait(outbox.due(now.at), &mut self.reports).await.is_err() {
                    return;
                }
                continue;
            };
            let since = outbox.begin(&note, now);
            file.store(outbox.told()).await;
            let written = self.write(&note, since).await;
            let now = Moment::now();
            self.metrics.told(Told::event, written.is_ok());
            match written {
                Ok(()) => {
                    info!(reason = note.reason, "event written");
                    outbox.written(&note, now);
                    file.store(outbox.told()).await;
                    course.succeeded();
                }
                Err(error) => {
                    outbox.failed(now.at, Chance::draw());
                    course.failed(&error, now.at);
                }
            }
        }
    }

    async fn write(&self, note: &Note, since: Timestamp) -> Result<(), WriteEventError> {
        let owner = self.writer.owner().await;
        let owner = owner.map_err(|source| WriteEventError::Identify { source })?;
        let event = event(&self.node, owner.map(|it| it.uid), note, since);
        let api: Api<Event> = Api::namespaced(self.client.clone(), NAMESPACE);
        let made = api.create(&PostParams::default(), &event).await;
        match made.map_err(CallApiError::from) {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Ok(()),
            Err(source) => Err(WriteEventError::Write {
                reason: note.reason.clone(),
                node: self.node.clone(),
                source,
            }),
        }
    }
}

fn event(node: &str, uid: Option<String>, told: &Note, since: Timestamp) -> Event {
    let name = format!(
        "{}.{}.{:x}",
        prefix(node, NAME_LIMIT).trim_end_matches(['.', '-']),
        told.reason.to_ascii_lowercase(),
        since.as_second()
    );
    let kind = if told.is_wrong { "Warning" } else { "Normal" };
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(since)),
        type_: Some(kind.to_owned()),
        reason: Some(told.reason.clone()),
        action: Some(ACTION.to_owned()),
        note: Some(told.text.clone()),
        reporting_controller: Some(names::AGENT_CONTROLLER.to_owned()),
        reporting_instance: Some(prefix(node, INSTANCE_LIMIT).to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            uid,
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

/// The beginning of a name, which has one byte a character.
fn prefix(name: &str, limit: usize) -> &str {
    name.get(..limit).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Signal;

    fn note(is_wrong: bool) -> Note {
        Note::new(Signal::new("kubelet"), is_wrong, "it is away")
    }

    #[test]
    fn event_is_on_the_node_and_named_by_its_reason_and_the_time_of_its_first_try() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let uid = Some("u-1".to_owned());
        let first = event("n1", uid.clone(), &note(true), at(600));
        assert_eq!(
            first.metadata.name.as_deref(),
            Some("n1.kubeletunhealthy.258")
        );
        assert_eq!(first.type_.as_deref(), Some("Warning"));
        let regarding = first.regarding.as_ref().unwrap();
        assert_eq!(regarding.kind.as_deref(), Some("Node"));
        assert_eq!(regarding.uid.as_deref(), Some("u-1"));
        let again = event("n1", uid.clone(), &note(true), at(600));
        assert_eq!(again.metadata.name, first.metadata.name);
        let later = event("n1", uid.clone(), &note(true), at(900));
        assert_ne!(later.metadata.name, first.metadata.name);
        let over = event("n1", uid, &note(false), at(600));
        assert_ne!(over.metadata.name, first.metadata.name);
        assert_eq!(over.type_.as_deref(), Some("Normal"));
    }

    #[test]
    fn long_node_name_makes_a_name_that_the_api_server_takes() {
        let node = format!("{}.{}", "a".repeat(169), "b".repeat(83));
        let event = event(&node, None, &note(true), Timestamp::UNIX_EPOCH);
        let name = event.metadata.name.unwrap();
        assert!(
            name.len() <= 253 && name.contains("a.kubeletunhealthy."),
            "{name}"
        );
        assert!(event.reporting_instance.unwrap().len() <= INSTANCE_LIMIT);
    }
}
