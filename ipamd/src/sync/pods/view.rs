//! What is known of this node's Pods, and how certain that is: what the watch says, put together. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use proto_ids::{PodKey, PodUid};

use super::facts::PodFacts;

/// Whether the API server says what becomes of the Pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Contact {
    /// It was asked and has not answered yet.
    #[default]
    Asked,
    /// It answers.
    Connected,
    /// It does not answer, or refuses.
    Away,
}

/// The Pods of this node.
#[derive(Debug, Default)]
pub(crate) struct PodsView {
    pods: BTreeMap<PodKey, Arc<PodFacts>>,
    contact: Contact,
    /// A list that is being read; it counts when it is whole.
    draft: BTreeMap<PodKey, Arc<PodFacts>>,
}

impl PodsView {
    /// What was remembered, before anything is heard.
    pub(super) fn remembered(facts: Vec<PodFacts>) -> Self {
        Self {
            pods: keyed(facts),
            ..Self::default()
        }
    }

    /// Without a cluster there is nobody to say anything.
    pub(super) fn of_nobody() -> Self {
        Self {
            contact: Contact::Away,
            ..Self::default()
        }
    }

    /// The Pod of this name; with a UID only that very one.
    pub(crate) fn pod(&self, pod: &PodKey, uid: Option<&PodUid>) -> Option<&Arc<PodFacts>> {
        let facts = self.pods.get(pod)?;
        uid.is_none_or(|uid| facts.uid == *uid).then_some(facts)
    }

    /// All of them, by name.
    pub(crate) fn pods(&self) -> impl ExactSizeIterator<Item = &Arc<PodFacts>> {
        self.pods.values()
    }

    /// Whether the API server says what becomes of the Pods. Only while it does, a Pod that is not here is none of this node's.
    pub(crate) const fn contact(&self) -> Contact {
        self.contact
    }

    /// The API server does not answer. What was heard stays; a list that was not whole is dropped.
    pub(super) fn lose(&mut self) -> bool {
        self.draft.clear();
        let changed = self.contact != Contact::Away;
        self.contact = Contact::Away;
        changed
    }

    /// Takes in what the watch says. Answers whether anybody who waits should look.
    pub(super) fn take(&mut self, event: Event<PartialObjectMeta<Pod>>) -> bool {
        match event {
            Event::Init => {
                self.draft.clear();
                false
            }
            Event::InitApply(pod) => {
                if let Some(facts) = PodFacts::parse(&pod.metadata) {
                    self.draft.insert(facts.pod.clone(), Arc::new(facts));
                }
                false
            }
            Event::InitDone => {
                self.pods = std::mem::take(&mut self.draft);
                self.contact = Contact::Connected;
                true
            }
            Event::Apply(pod) => {
                PodFacts::parse(&pod.metadata).is_some_and(|facts| self.put(facts))
            }
            Event::Delete(pod) => {
                PodFacts::parse(&pod.metadata).is_some_and(|facts| self.remove(&facts))
            }
        }
    }

    fn put(&mut self, facts: PodFacts) -> bool {
        let old = self.pods.get(&facts.pod);
        // Most of what is heard of a Pod is its status, of which nothing is looked at here.
        if old.is_some_and(|old| **old == facts) {
            return false;
        }
        self.pods.insert(facts.pod.clone(), Arc::new(facts));
        true
    }

    fn remove(&mut self, gone: &PodFacts) -> bool {
        let known = self.pods.get(&gone.pod);
        known.is_some_and(|facts| facts.uid == gone.uid) && self.pods.remove(&gone.pod).is_some()
    }
}

fn keyed(facts: Vec<PodFacts>) -> BTreeMap<PodKey, Arc<PodFacts>> {
    let pairs = facts.into_iter();
    pairs
        .map(|facts| (facts.pod.clone(), Arc::new(facts)))
        .collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::core::PartialObjectMetaExt;

    use super::*;

    fn meta(name: &str, uid: &str, hold: &str) -> PartialObjectMeta<Pod> {
        let hold = ("berth.dev/hold".to_owned(), hold.to_owned());
        ObjectMeta {
            namespace: Some("prod".to_owned()),
            name: Some(name.to_owned()),
            uid: Some(uid.to_owned()),
            annotations: Some([hold].into()),
            ..ObjectMeta::default()
        }
        .into_response_partial()
    }

    fn names(view: &PodsView) -> Vec<String> {
        let pods = view.pods();
        pods.map(|facts| format!("{} {}", facts.pod.name(), facts.uid))
            .collect()
    }

    fn find(view: &PodsView, name: &str, uid: Option<&str>) -> bool {
        let uid = uid.map(|uid| uid.parse().unwrap());
        let pod = PodKey::new("prod", name).unwrap();
        view.pod(&pod, uid.as_ref()).is_some()
    }

    #[test]
    fn list_counts_when_it_is_whole() {
        let remembered = PodFacts::parse(&meta("old", "u0", "1h").metadata).unwrap();
        let mut view = PodsView::remembered(vec![remembered]);
        assert_eq!(view.contact(), Contact::Asked);
        for event in [
            Event::Init,
            Event::InitApply(meta("a", "u1", "")),
            Event::InitApply(meta("b", "u2", "1h")),
        ] {
            assert!(!view.take(event));
        }
        assert_eq!(names(&view), ["old u0"]);
        assert!(view.take(Event::InitDone));
        assert_eq!(names(&view), ["a u1", "b u2"]);
        assert_eq!(view.contact(), Contact::Connected);

        // Another list, and half of a third.
        view.take(Event::Init);
        view.take(Event::InitApply(meta("b", "u2", "1h")));
        view.take(Event::InitApply(meta("c", "u3", "")));
        view.take(Event::InitDone);
        view.take(Event::Init);
        view.take(Event::InitApply(meta("d", "u4", "")));
        assert!(view.lose() && !view.lose());
        assert_eq!(view.contact(), Contact::Away);
        assert_eq!(names(&view), ["b u2", "c u3"]);
        view.take(Event::Init);
        view.take(Event::InitDone);
        assert_eq!(names(&view), [""; 0]);
    }

    #[test]
    fn what_changes_nothing_wakes_nobody() {
        let mut view = PodsView::default();
        for (event, expected) in [
            (Event::Apply(meta("a", "u1", "")), true),
            (Event::Apply(meta("a", "u1", "")), false),
            (Event::Apply(meta("a", "u1", "1h")), true),
            (Event::Apply(meta("a", "u1", "")), true),
            (Event::Apply(meta("b", "u2", "1h")), true),
            // Of an older Pod of the same name.
            (Event::Delete(meta("b", "u0", "1h")), false),
            (Event::Delete(meta("b", "u2", "1h")), true),
            (Event::Delete(meta("b", "u2", "1h")), false),
            (Event::Delete(meta("a", "u1", "")), true),
        ] {
            let shown = format!("{event:?}");
            assert_eq!(view.take(event), expected, "{shown}");
        }
    }

    #[test]
    fn another_pod_of_the_same_name_is_not_it() {
        let mut view = PodsView::default();
        view.take(Event::Apply(meta("db-0", "u1", "")));
        assert!(find(&view, "db-0", Some("u1")) && find(&view, "db-0", None));
        assert!(!find(&view, "db-0", Some("u2")) && !find(&view, "db-1", None));
        view.take(Event::Apply(meta("db-0", "u2", "")));
        assert!(find(&view, "db-0", Some("u2")) && !find(&view, "db-0", Some("u1")));
    }
}
