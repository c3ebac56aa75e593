//! What is told on a Node that is said to be fenced, and lives. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use proto_crd::names;

use super::plan::Refused;

/// For so long nothing is told twice.
const PERIOD: Duration = Duration::from_secs(300);
/// The longest name of who tells, in bytes.
const INSTANCE_LIMIT: usize = 128;
/// Where everybody looks for Events of what has no namespace.
pub(super) const NAMESPACE: &str = "default";

/// When which node's refusal was told.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<String, Instant>);

impl Told {
    /// Whether it may be told of this node now.
    pub(super) fn may(&mut self, node: &str, now: Instant) -> bool {
        self.0
            .retain(|_, at| now.saturating_duration_since(*at) < PERIOD);
        let is_new = !self.0.contains_key(node);
        if is_new {
            self.0.insert(node.to_owned(), now);
        }
        is_new
    }
}

/// As an Event. `instance`: who tells.
pub(super) fn event(refused: &Refused, instance: &str, now: Timestamp) -> Event {
    let node = &refused.node;
    let period = i64::try_from(PERIOD.as_secs()).unwrap_or(i64::MAX);
    let text = format!(
        "said to be fenced (taint {} or annotation {}), but {}: its addresses are not given away. Switch it off, or take the taint and the \
         annotation off",
        names::OUT_OF_SERVICE_TAINT,
        names::FENCED_BY_ANNOTATION,
        refused.sign.words()
    );
    Event {
        metadata: ObjectMeta {
            name: Some(format!(
                "{node}.fencerefused.{:x}",
                now.as_second() / period
            )),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some("Warning".to_owned()),
        reason: Some("FenceRefused".to_owned()),
        action: Some("Fence".to_owned()),
        note: Some(text),
        reporting_controller: Some(names::CONTROLLERS_CONTROLLER.to_owned()),
        reporting_instance: Some(
            instance[..instance.floor_char_boundary(INSTANCE_LIMIT)].to_owned(),
        ),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.clone()),
            // As kubelet does, and as kubectl describe looks for it.
            uid: Some(node.clone()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use node_agent_lifecycle::fencing::SignOfLife;

    use super::*;

    #[test]
    fn refusal_is_told_on_the_node_with_its_reason_and_once_in_five_minutes() {
        let refused = Refused {
            node: "n1".to_owned(),
            sign: SignOfLife::Agent,
        };
        let event = event(&refused, "n9", Timestamp::from_second(900).unwrap());
        assert_eq!(event.metadata.name.as_deref(), Some("n1.fencerefused.3"));
        assert_eq!(event.regarding.unwrap().name.as_deref(), Some("n1"));
        let note = event.note.unwrap();
        assert!(note.contains("its agent renews its Lease"), "{note}");
        assert!(note.contains("Switch it off"), "{note}");
        let mut told = Told::default();
        let start = Instant::now();
        assert!(told.may("n1", start) && !told.may("n1", start));
        assert!(told.may("n2", start));
        assert!(told.may("n1", start + PERIOD));
    }
}
