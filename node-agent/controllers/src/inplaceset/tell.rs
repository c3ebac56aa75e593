//! Events of a set, for people: each reason at most once in five minutes.
//!
//! An Event's name says its reason and its five minutes, so that a leader that begins anew tells nothing twice either.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _};
use proto_crd::in_place_set::InPlaceSet;
use proto_crd::names;

/// For so long nothing is told twice.
const PERIOD: Duration = Duration::from_secs(300);
/// What was done when it was found.
const ACTION: &str = "Plan";
/// The longest note of an Event, in bytes.
const NOTE_LIMIT: usize = 1024;
/// The longest name of who tells, in bytes.
const INSTANCE_LIMIT: usize = 128;

/// What was told, and when.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<(String, &'static str), Instant>);

impl Told {
    /// Whether this may be told of a set now.
    pub(super) fn may(&mut self, uid: &str, reason: &'static str, now: Instant) -> bool {
        self.0
            .retain(|_, at| now.saturating_duration_since(*at) < PERIOD);
        let key = (uid.to_owned(), reason);
        if self.0.contains_key(&key) {
            return false;
        }
        self.0.insert(key, now);
        true
    }
}

/// What is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note<'a> {
    pub(super) is_warning: bool,
    pub(super) reason: &'static str,
    pub(super) text: &'a str,
}

/// The Event of a set. `instance`: who tells.
pub(super) fn event(set: &InPlaceSet, note: Note<'_>, instance: &str, now: Timestamp) -> Event {
    let period = i64::try_from(PERIOD.as_secs()).unwrap_or(i64::MAX);
    let uid = set.uid().unwrap_or_default();
    let name = format!(
        "{}.{}.{}.{:x}",
        set.name_any(),
        uid.chars().take(8).collect::<String>(),
        note.reason.to_ascii_lowercase(),
        now.as_second() / period
    );
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: set.namespace(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some(if note.is_warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(note.reason.to_owned()),
        action: Some(ACTION.to_owned()),
        note: Some(cut(note.text, NOTE_LIMIT).to_owned()),
        reporting_controller: Some(names::CONTROLLERS_CONTROLLER.to_owned()),
        reporting_instance: Some(cut(instance, INSTANCE_LIMIT).to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(InPlaceSet::api_version(&()).into_owned()),
            kind: Some(InPlaceSet::kind(&()).into_owned()),
            name: set.metadata.name.clone(),
            namespace: set.namespace(),
            uid: set.uid(),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

/// Its beginning, of so many bytes at most.
fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reason_is_told_once_in_five_minutes() {
        let start = Instant::now();
        let mut told = Told::default();
        assert!(told.may("u1", "DrainTimeout", start));
        assert!(!told.may("u1", "DrainTimeout", start + Duration::from_secs(299)));
        assert!(told.may("u1", "Other", start) && told.may("u2", "DrainTimeout", start));
        assert!(told.may("u1", "DrainTimeout", start + PERIOD));
    }

    #[test]
    fn an_event_is_of_its_set_and_named_by_reason_and_five_minutes() {
        let set: InPlaceSet = serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet",
            "metadata": {"name": "shop", "namespace": "prod", "uid": "0123456789"},
            "spec": {"selector": {}, "template": {}},
        }))
        .unwrap();
        let note = Note {
            is_warning: true,
            reason: "DrainTimeout",
            text: &"ü".repeat(600),
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = event(&set, note, "n1", at(600));
        assert_eq!(
            first.metadata.name.as_deref(),
            Some("shop.01234567.draintimeout.2")
        );
        assert_eq!(first.metadata.namespace.as_deref(), Some("prod"));
        assert_eq!(first.type_.as_deref(), Some("Warning"));
        assert_eq!(first.note.unwrap().len(), 1024);
        assert_eq!(first.regarding.unwrap().kind.as_deref(), Some("InPlaceSet"));
        let again = event(&set, note, "n1", at(899));
        assert_eq!(again.metadata.name, first.metadata.name);
        assert_ne!(
            event(&set, note, "n1", at(900)).metadata.name,
            again.metadata.name
        );
    }
}
