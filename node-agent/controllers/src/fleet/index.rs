//! Which Pods are of which set, and which sets are to be looked at again. Pure.
//!
//! A Pod is of the set that controls it; one that nobody controls, of the set whose Pods have names like its (that one may adopt it).

use std::collections::{BTreeMap, BTreeSet};

use proto_crd::names;

use super::LeanPod;
use crate::endpoints::SliceView;
use crate::world::Key;

/// Pods by set, and the sets of which something is different.
#[derive(Debug, Default)]
pub(super) struct SetIndex {
    /// Names of Pods, by namespace and name of the set.
    pods: BTreeMap<Key, BTreeSet<String>>,
    changed: BTreeSet<Key>,
}

impl SetIndex {
    /// A Pod is different now.
    pub(super) fn note(&mut self, was: Option<&LeanPod>, is: Option<&LeanPod>) {
        let (before, after) = (was.and_then(set_of), is.and_then(set_of));
        if let Some((set, name)) = &before
            && before != after
            && let Some(pods) = self.pods.get_mut(set)
        {
            pods.remove(name);
            if pods.is_empty() {
                self.pods.remove(set);
            }
        }
        for (set, name) in [before, after.clone()].into_iter().flatten() {
            if after.as_ref().is_some_and(|(after, _)| *after == set) {
                self.pods.entry(set.clone()).or_default().insert(name);
            }
            self.changed.insert(set);
        }
    }

    /// Something else that concerns a Pod is different.
    pub(super) fn touch(&mut self, pod: &LeanPod) {
        self.changed.extend(set_of(pod).map(|(set, _)| set));
    }

    /// The Pods of a set, by name.
    pub(super) fn pods(&self, set: &Key) -> impl Iterator<Item = &String> {
        self.pods.get(set).into_iter().flatten()
    }

    /// The sets of which something is different since this was last asked.
    pub(super) fn take_changed(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.changed)
    }
}

/// The set and the name of a Pod.
fn set_of(pod: &LeanPod) -> Option<(Key, String)> {
    let (namespace, name) = pod.key();
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let set = match owners.find(|owner| owner.controller == Some(true)) {
        Some(owner) if owner.kind == "InPlaceSet" && is_ours(&owner.api_version) => {
            owner.name.clone()
        }
        Some(_) => return None,
        None => stem(&name)?.to_owned(),
    };
    Some(((namespace, set), name))
}

fn is_ours(api_version: &str) -> bool {
    let group = api_version.split_once('/').map(|(group, _)| group);
    group == Some(names::GROUP)
}

/// The name without its ordinal.
fn stem(name: &str) -> Option<&str> {
    let (stem, ordinal) = name.rsplit_once('-')?;
    let is_number = !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !stem.is_empty()).then_some(stem)
}

/// Which slices say something of which Pod.
#[derive(Debug, Default)]
pub(super) struct SliceIndex {
    /// Names of slices, by namespace and name of the Pod.
    by_pod: BTreeMap<Key, BTreeSet<String>>,
    /// By namespace: slices that name addresses instead.
    by_hand: BTreeMap<String, BTreeSet<String>>,
}

impl SliceIndex {
    /// A slice is different now. Answers the Pods that it named or names.
    pub(super) fn note(
        &mut self,
        (namespace, slice): &Key,
        was: Option<&SliceView>,
        is: Option<&SliceView>,
    ) -> BTreeSet<Key> {
        let pods = |view: Option<&SliceView>| -> BTreeSet<Key> {
            let names = view.into_iter().flat_map(SliceView::pods);
            let keys = names.map(|name| (namespace.clone(), name.to_owned()));
            keys.collect()
        };
        let (before, after) = (pods(was), pods(is));
        for pod in before.difference(&after) {
            if let Some(slices) = self.by_pod.get_mut(pod) {
                slices.remove(slice);
                if slices.is_empty() {
                    self.by_pod.remove(pod);
                }
            }
        }
        for pod in &after {
            let slices = self.by_pod.entry(pod.clone()).or_default();
            slices.insert(slice.clone());
        }
        let by_hand = self.by_hand.entry(namespace.clone()).or_default();
        if is.is_some_and(SliceView::has_addresses) {
            by_hand.insert(slice.clone());
        } else {
            by_hand.remove(slice);
        }
        if by_hand.is_empty() {
            self.by_hand.remove(namespace);
        }
        before.union(&after).cloned().collect()
    }

    /// The slices that may say something of a Pod.
    pub(super) fn slices<'a>(&'a self, pod: &Key) -> impl Iterator<Item = &'a String> {
        let named = self.by_pod.get(pod).into_iter().flatten();
        named.chain(self.by_hand.get(&pod.0).into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, owner: Option<(&str, &str)>) -> LeanPod {
        let owners = owner.map(|(kind, name)| {
            json!([{"apiVersion": "berth.dev/v1alpha1", "kind": kind, "name": name, "uid": "s", "controller": true}])
        });
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "prod", "ownerReferences": owners.unwrap_or(Value::Null)},
        }))
        .unwrap()
    }

    fn key(name: &str) -> Key {
        ("prod".to_owned(), name.to_owned())
    }

    #[test]
    fn a_pod_is_of_the_set_that_controls_it_else_of_the_one_of_its_name() {
        let set = |pod: &LeanPod| set_of(pod).map(|((_, set), _)| set);
        for (pod, expected) in [
            (pod("shop-0", Some(("InPlaceSet", "shop"))), Some("shop")),
            (pod("odd", Some(("InPlaceSet", "shop"))), Some("shop")),
            (pod("shop-0", Some(("StatefulSet", "shop"))), None),
            (pod("shop-0", None), Some("shop")),
            (pod("my-shop-12", None), Some("my-shop")),
            (pod("shop", None), None),
            (pod("shop-x", None), None),
            (pod("-1", None), None),
        ] {
            assert_eq!(set(&pod).as_deref(), expected, "{pod:?}");
        }
    }

    #[test]
    fn a_pod_that_changes_hands_concerns_both_sets() {
        let mut index = SetIndex::default();
        let (mine, yours) = (
            pod("shop-0", Some(("InPlaceSet", "shop"))),
            pod("shop-0", Some(("InPlaceSet", "other"))),
        );
        index.note(None, Some(&mine));
        assert_eq!(index.take_changed(), [key("shop")].into());
        index.note(Some(&mine), Some(&yours));
        assert_eq!(index.take_changed(), [key("shop"), key("other")].into());
        assert_eq!(index.pods(&key("shop")).count(), 0);
        assert_eq!(index.pods(&key("other")).count(), 1);
        index.note(Some(&yours), None);
        assert_eq!(index.take_changed(), [key("other")].into());
        assert!(index.pods.is_empty());
    }

    #[test]
    fn slices_are_found_by_the_pods_they_name_or_by_hand() {
        let slice = |endpoints: Value| -> SliceView {
            let slice =
                json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": endpoints});
            (&serde_json::from_value::<crate::endpoints::LeanSlice>(slice).unwrap()).into()
        };
        let target = |name: &str| json!({"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": name, "uid": "u"}});
        let one = slice(json!([target("shop-0"), target("shop-1")]));
        let other = slice(json!([target("shop-1")]));
        let by_hand = slice(json!([{"addresses": ["10.0.0.9"]}]));
        let mut index = SliceIndex::default();
        let named = index.note(&key("a"), None, Some(&one));
        assert_eq!(named, [key("shop-0"), key("shop-1")].into());
        index.note(&key("b"), None, Some(&by_hand));
        let slices = |index: &SliceIndex, pod: &str| -> Vec<String> {
            index.slices(&key(pod)).cloned().collect()
        };
        assert_eq!(slices(&index, "shop-0"), ["a", "b"]);
        // A Pod that is not named any more concerns its set once more.
        let named = index.note(&key("a"), Some(&one), Some(&other));
        assert_eq!(named, [key("shop-0"), key("shop-1")].into());
        assert_eq!(slices(&index, "shop-0"), ["b"]);
        index.note(&key("b"), Some(&by_hand), None);
        index.note(&key("a"), Some(&other), None);
        assert!(index.by_pod.is_empty() && index.by_hand.is_empty());
    }
}
