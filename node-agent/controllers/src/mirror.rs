//! The objects of one kind, as a watch tells them and as the answers of our own writes do, whichever is later.
//!
//! **Always holds:** what is known of an object never goes back: a watch that lags behind our own write does not undo what its answer
//! said, so that nothing is decided twice. What the watch has told the end of does not come back by a late answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

use crate::world::Key;

/// What is kept of an object.
pub(crate) trait Mirrored: PartialEq {
    /// Namespace and name.
    fn key(&self) -> Key;
    /// Its UID.
    fn id(&self) -> &str;
    /// Its version, as a number: of one kind a later version is a larger one (Kubernetes says so from 1.35 on, and etcd always did).
    /// Zero, where it is none.
    fn version(&self) -> u64;
}

/// The version of an object, as a number.
pub(crate) fn version_of(object: &impl ResourceExt) -> u64 {
    let version = object.meta().resource_version.as_deref();
    version.and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// One that is different now: what it was, and what it is.
pub(crate) type Change<'a, V> = (Option<&'a Arc<V>>, Option<&'a Arc<V>>);

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Mirror<V> {
    items: BTreeMap<Key, Arc<V>>,
    /// A list that is being read.
    pending: Option<BTreeMap<Key, Arc<V>>>,
    /// The latest version that the watch has told.
    heard: u64,
    is_complete: bool,
}

impl<V> Default for Mirror<V> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            pending: None,
            heard: 0,
            is_complete: false,
        }
    }
}

impl<V: Mirrored> Mirror<V> {
    /// What is known.
    pub(crate) const fn items(&self) -> &BTreeMap<Key, Arc<V>> {
        &self.items
    }

    /// One of them.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<V>> {
        self.items.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Whether a list has been read to its end.
    pub(crate) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Takes what a watch says; `note` hears of each that is different now. Answers whether any is.
    pub(crate) fn take(
        &mut self,
        event: Event<(Key, Arc<V>)>,
        mut note: impl FnMut(Change<'_, V>),
    ) -> bool {
        match event {
            Event::Init => {
                self.pending = Some(BTreeMap::new());
                false
            }
            Event::InitApply((key, value)) => {
                self.heard = self.heard.max(value.version());
                let later = self.items.get(&key).filter(|it| is_later::<V>(it, &value));
                let value = later.map_or(value, Arc::clone);
                self.pending.get_or_insert_default().insert(key, value);
                false
            }
            Event::InitDone => self.replace(note),
            Event::Apply((key, value)) => {
                self.heard = self.heard.max(value.version());
                let known = self.items.get(&key);
                if known.is_some_and(|known| is_later::<V>(known, &value) || *known == value) {
                    return false;
                }
                let known = self.items.insert(key, Arc::clone(&value));
                note((known.as_ref(), Some(&value)));
                true
            }
            Event::Delete((key, value)) => {
                self.heard = self.heard.max(value.version());
                self.forget(&key, value.id(), note)
            }
        }
    }

    fn replace(&mut self, mut note: impl FnMut(Change<'_, V>)) -> bool {
        let listed = self.pending.take().unwrap_or_default();
        let before = std::mem::replace(&mut self.items, listed);
        let mut is_news = !self.is_complete;
        self.is_complete = true;
        for (key, was) in &before {
            let is = self.items.get(key);
            if is != Some(was) {
                note((Some(was), is));
                is_news = true;
            }
        }
        for (key, is) in &self.items {
            if !before.contains_key(key) {
                note((None, Some(is)));
                is_news = true;
            }
        }
        is_news
    }

    /// Takes what the answer of a write or a read said, unless the watch has told more by now.
    pub(crate) fn saw(&mut self, value: V, mut note: impl FnMut(Change<'_, V>)) {
        let key = value.key();
        let known = self.items.get(&key).cloned();
        let is_old = match &known {
            Some(known) => is_later::<V>(known, &value) || **known == value,
            // Told, and gone since.
            None => value.version() <= self.heard,
        };
        if is_old {
            return;
        }
        let value = Arc::new(value);
        if let Some(pending) = &mut self.pending {
            pending.insert(key.clone(), Arc::clone(&value));
        }
        self.items.insert(key, Arc::clone(&value));
        note((known.as_ref(), Some(&value)));
    }

    /// One is gone; not, where another of its name is known by now. Answers whether it was known.
    pub(crate) fn forget(
        &mut self,
        key: &Key,
        uid: &str,
        mut note: impl FnMut(Change<'_, V>),
    ) -> bool {
        if let Some(pending) = &mut self.pending
            && pending.get(key).is_some_and(|it| it.id() == uid)
        {
            pending.remove(key);
        }
        if self.items.get(key).is_none_or(|known| known.id() != uid) {
            return false;
        }
        let known = self.items.remove(key);
        note((known.as_ref(), None));
        known.is_some()
    }
}

fn is_later<V: Mirrored>(known: &V, other: &V) -> bool {
    known.version() > other.version() && other.version() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::kept;

    #[derive(Clone, Debug, PartialEq)]
    struct Thing(&'static str, &'static str, u64);

    impl Mirrored for Thing {
        fn key(&self) -> Key {
            ("prod".to_owned(), self.0.to_owned())
        }

        fn id(&self) -> &str {
            self.1
        }

        fn version(&self) -> u64 {
            self.2
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is written at the call is used once"
    )]
    fn take(mirror: &mut Mirror<Thing>, event: Event<Thing>) -> Vec<(Option<u64>, Option<u64>)> {
        let mut changes = Vec::new();
        let version = |it: Option<&Arc<Thing>>| it.map(|it| it.2);
        let event = kept(&event, |thing| (thing.key(), Arc::new(thing.clone())));
        mirror.take(event, |(was, is)| changes.push((version(was), version(is))));
        changes
    }

    fn listed(things: &[Thing]) -> Mirror<Thing> {
        let mut mirror = Mirror::default();
        list(&mut mirror, things);
        mirror
    }

    fn list(mirror: &mut Mirror<Thing>, things: &[Thing]) -> Vec<(Option<u64>, Option<u64>)> {
        take(mirror, Event::Init);
        for thing in things {
            take(mirror, Event::InitApply(thing.clone()));
        }
        take(mirror, Event::InitDone)
    }

    fn saw(mirror: &mut Mirror<Thing>, thing: Thing) -> bool {
        let mut is_news = false;
        mirror.saw(thing, |_| is_news = true);
        is_news
    }

    #[test]
    fn a_watch_that_lags_does_not_undo_what_an_answer_said() {
        let mut mirror = listed(&[Thing("a", "u1", 5)]);
        assert!(saw(&mut mirror, Thing("a", "u1", 7)));
        assert_eq!(take(&mut mirror, Event::Apply(Thing("a", "u1", 6))), []);
        assert_eq!(mirror.get("prod", "a").unwrap().2, 7);
        // Nor does a list that began before it.
        assert_eq!(list(&mut mirror, &[Thing("a", "u1", 5)]), []);
        assert_eq!(mirror.get("prod", "a").unwrap().2, 7);
        let later = take(&mut mirror, Event::Apply(Thing("a", "u1", 8)));
        assert_eq!(later, [(Some(7), Some(8))]);
    }

    #[test]
    fn what_is_gone_does_not_come_back_by_a_late_answer() {
        let mut mirror = listed(&[Thing("a", "u1", 5)]);
        let gone = take(&mut mirror, Event::Delete(Thing("a", "u1", 9)));
        assert_eq!(gone, [(Some(5), None)]);
        assert!(!saw(&mut mirror, Thing("a", "u1", 8)));
        assert!(mirror.items().is_empty());
        // One of the same name that was made since is there, and the end of the former does not end it.
        assert!(saw(&mut mirror, Thing("a", "u2", 12)));
        assert_eq!(take(&mut mirror, Event::Delete(Thing("a", "u1", 11))), []);
        assert!(mirror.get("prod", "a").is_some());
    }

    #[test]
    fn a_list_tells_what_is_different_and_an_answer_meanwhile_is_not_lost() {
        let mut mirror = listed(&[Thing("a", "u1", 1), Thing("b", "u2", 2)]);
        take(&mut mirror, Event::Init);
        take(&mut mirror, Event::InitApply(Thing("b", "u2", 2)));
        assert!(saw(&mut mirror, Thing("c", "u3", 9)));
        let told = take(&mut mirror, Event::InitDone);
        assert_eq!(told, [(Some(1), None)]);
        let names: Vec<_> = mirror.items().values().map(|it| it.0).collect();
        assert_eq!(names, ["b", "c"]);
    }
}
