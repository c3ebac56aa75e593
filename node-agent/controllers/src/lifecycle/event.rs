//! What is told on a Node, for people: each reason at most once in five minutes and node. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff;
use node_agent_lifecycle::decision::{Change, Decision, Outcome, Subject};
use proto_crd::names;
use proto_crd::time::Timestamp;

use super::object::action_name;

/// For so long nothing is told twice.
const PERIOD: Duration = Duration::from_secs(300);
/// The longest name of who tells, in bytes.
const INSTANCE_LIMIT: usize = 128;

/// What was told, and when.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<(String, String), Instant>);

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    node: String,
    reason: String,
    text: String,
    is_warning: bool,
}

impl Told {
    /// What is to be told of this decision, if anything is.
    pub(super) fn note(&mut self, decision: &Decision, now: Instant) -> Option<Note> {
        let Subject::Node(node) = &decision.subject else {
            return None;
        };
        let (reason, text) = match &decision.change {
            Change::Action(action) if decision.outcome == Outcome::Ordered => (
                format!("Lifecycle{}", action_name(action)),
                action.to_string(),
            ),
            Change::Escalated => (
                "LifecycleEscalated".to_owned(),
                "nothing Berth does will help: somebody must look at this node".to_owned(),
            ),
            _ => return None,
        };
        let node = node.as_str().to_owned();
        self.0
            .retain(|_, at| now.saturating_duration_since(*at) < PERIOD);
        let key = (node.clone(), reason.clone());
        if self.0.contains_key(&key) {
            return None;
        }
        self.0.insert(key, now);
        let more = format!("kubectl berth why {node} tells the whole story");
        Some(Note {
            is_warning: decision.change == Change::Escalated,
            text: format!("decision {}: {text}; {more}", decision.id),
            node,
            reason,
        })
    }
}

/// As an Event. `instance`: who tells.
pub(super) fn event(note: &Note, instance: &str, now: Timestamp) -> Event {
    let seconds = i64::try_from(now.since(Timestamp::default()).as_secs()).unwrap_or_default();
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let period = seconds / i64::try_from(PERIOD.as_secs()).unwrap_or(i64::MAX);
    Event {
        metadata: ObjectMeta {
            name: Some(format!(
                "{}.{}.{period:x}",
                note.node,
                note.reason.to_ascii_lowercase()
            )),
            // Where everybody looks for what has no namespace.
            namespace: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(time)),
        type_: Some(if note.is_warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(note.reason.clone()),
        action: Some("Decide".to_owned()),
        note: Some(note.text[..note.text.floor_char_boundary(1024)].to_owned()),
        reporting_controller: Some(names::CONTROLLERS_CONTROLLER.to_owned()),
        reporting_instance: Some(
            instance[..instance.floor_char_boundary(INSTANCE_LIMIT)].to_owned(),
        ),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(note.node.clone()),
            // As kubelet does, and as kubectl describe looks for it.
            uid: Some(note.node.clone()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use node_agent_lifecycle::Action;
    use node_agent_lifecycle::decision::{Budget, DecisionId, Hash};

    use super::*;

    fn decision(change: Change, outcome: Outcome) -> Decision {
        Decision {
            id: DecisionId {
                term: 3,
                sequence: 12,
            },
            at: node_agent_lifecycle::Moment::default(),
            policy: Hash::default(),
            subject: Subject::Node("n1".parse().unwrap()),
            change,
            evidence: Vec::new(),
            budget: Budget::default(),
            breakers: Vec::new(),
            outcome,
            previous: Hash::default(),
            hash: Hash::default(),
        }
    }

    #[test]
    fn what_is_done_is_told_once_in_five_minutes_and_what_would_be_is_not() {
        let cordon = || {
            Change::Action(Action::Cordon {
                node: "n1".parse().unwrap(),
            })
        };
        let start = Instant::now();
        let mut told = Told::default();
        assert_eq!(
            told.note(&decision(cordon(), Outcome::WouldDo), start),
            None
        );
        let note = told
            .note(&decision(cordon(), Outcome::Ordered), start)
            .unwrap();
        assert_eq!(
            told.note(&decision(cordon(), Outcome::Ordered), start),
            None
        );
        let later = start + PERIOD;
        assert!(
            told.note(&decision(cordon(), Outcome::Ordered), later)
                .is_some()
        );
        let event = event(&note, "m1", Timestamp::from_unix_milliseconds(600_000));
        assert_eq!(event.metadata.name.as_deref(), Some("n1.lifecyclecordon.2"));
        assert!(event.note.unwrap().contains("3-12"));
    }
}
