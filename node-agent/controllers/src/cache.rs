//! The objects of one kind, as a watch tells them.
//!
//! **Always holds:** a list that begins anew replaces the old one at its end, not piece by piece; nothing is known before the first
//! has been read to its end.

use std::collections::BTreeMap;

use kube::runtime::watcher::Event;

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    items: BTreeMap<K, V>,
    /// A list that is being read.
    pending: Option<BTreeMap<K, V>>,
    is_complete: bool,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            pending: None,
            is_complete: false,
        }
    }
}

impl<K: Ord, V: PartialEq> Cache<K, V> {
    /// What is known.
    pub(crate) const fn items(&self) -> &BTreeMap<K, V> {
        &self.items
    }

    /// Whether a list has been read to its end.
    pub(crate) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Takes what a watch says. Answers whether anything that is kept is different now.
    pub(crate) fn apply(&mut self, event: Event<(K, V)>) -> bool {
        self.apply_noting(event, |_, _, _| {})
    }

    /// The same; `note` hears of each that is different: what it was, and what it is.
    pub(crate) fn apply_noting(
        &mut self,
        event: Event<(K, V)>,
        mut note: impl FnMut(&K, Option<&V>, Option<&V>),
    ) -> bool {
        match event {
            Event::Init => {
                self.pending = Some(BTreeMap::new());
                false
            }
            Event::InitApply((key, value)) => {
                self.pending.get_or_insert_default().insert(key, value);
                false
            }
            Event::InitDone => {
                let listed = self.pending.take().unwrap_or_default();
                let before = std::mem::replace(&mut self.items, listed);
                let mut is_news = !self.is_complete;
                self.is_complete = true;
                for (key, was) in &before {
                    let is = self.items.get(key);
                    if is != Some(was) {
                        note(key, Some(was), is);
                        is_news = true;
                    }
                }
                for (key, is) in &self.items {
                    if !before.contains_key(key) {
                        note(key, None, Some(is));
                        is_news = true;
                    }
                }
                is_news
            }
            Event::Apply((key, value)) => {
                let was = self.items.get(&key);
                if was == Some(&value) {
                    return false;
                }
                note(&key, was, Some(&value));
                self.items.insert(key, value);
                true
            }
            Event::Delete((key, _)) => {
                let was = self.items.remove(&key);
                if was.is_some() {
                    note(&key, was.as_ref(), None);
                }
                was.is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(items: &[(&'static str, u8)]) -> Cache<&'static str, u8> {
        let mut cache = Cache::default();
        list(&mut cache, items);
        cache
    }

    fn list(cache: &mut Cache<&'static str, u8>, items: &[(&'static str, u8)]) -> bool {
        let mut is_news = cache.apply(Event::Init);
        for item in items {
            is_news |= cache.apply(Event::InitApply(*item));
        }
        is_news | cache.apply(Event::InitDone)
    }

    #[test]
    fn a_new_list_replaces_the_old_one_at_its_end() {
        let mut cache = cache(&[("a", 1), ("b", 2)]);
        cache.apply(Event::Init);
        cache.apply(Event::InitApply(("c", 3)));
        assert_eq!(cache.items().len(), 2);
        assert!(cache.apply(Event::InitDone));
        assert_eq!(cache.items(), &[("c", 3)].into());
    }

    #[test]
    fn only_what_is_different_is_news() {
        let mut cache = cache(&[("a", 1)]);
        for (event, is_news) in [
            (Event::Apply(("a", 1)), false),
            (Event::Apply(("a", 2)), true),
            (Event::Delete(("b", 0)), false),
            (Event::Delete(("a", 2)), true),
        ] {
            assert_eq!(cache.apply(event.clone()), is_news, "{event:?}");
        }
        assert!(!list(&mut cache, &[]));
        // The first list is news also when it is empty: from now on something can be decided.
        assert!(list(&mut Cache::default(), &[]));
    }
}
