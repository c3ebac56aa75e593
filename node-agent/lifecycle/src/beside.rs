//! Two sorted maps walked side by side: thousands of nodes are looked at every second, and looking each up by its name is what that would cost.

use std::cmp::Ordering;
use std::iter::Peekable;

use proto_ids::NodeName;

/// A name, in the order of which maps are walked: that of its text.
pub trait Name {
    /// As text.
    fn text(&self) -> &str;
}

impl Name for NodeName {
    fn text(&self) -> &str {
        self.as_str()
    }
}

impl Name for String {
    fn text(&self) -> &str {
        self
    }
}

/// A sorted map that is walked beside another one. It may have other names than that: what is missing is missing.
#[expect(missing_debug_implementations, reason = "an iterator under way")]
pub struct Beside<I: Iterator> {
    rest: Peekable<I>,
}

impl<'a, K: Name + 'a, V, I: Iterator<Item = (&'a K, V)>> Beside<I> {
    /// Ready to be walked from its beginning.
    pub fn walk(map: impl IntoIterator<IntoIter = I>) -> Self {
        Self {
            rest: map.into_iter().peekable(),
        }
    }

    /// What is there by this name. Asked in the order of names: what comes before the name is passed by.
    pub fn at(&mut self, name: &str) -> Option<V> {
        loop {
            let (next, _) = self.rest.peek()?;
            match next.text().cmp(name) {
                Ordering::Less => drop(self.rest.next()),
                Ordering::Equal => return self.rest.next().map(|(_, value)| value),
                Ordering::Greater => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_a_look_up_finds(
            asked in proptest::collection::btree_set("[a-c.-]{1,3}", 0..12),
            there in proptest::collection::btree_map("[a-c.-]{1,3}", 0_u8.., 0..12),
        ) {
            let mut beside = Beside::walk(&there);
            for name in &asked {
                prop_assert_eq!(beside.at(name), there.get(name));
            }
        }
    }

    #[test]
    fn what_is_found_can_be_changed() {
        let mut there = BTreeMap::from(["a", "b", "c"].map(|name| (name.to_owned(), 1)));
        let mut beside = Beside::walk(&mut there);
        *beside.at("b").unwrap() += 1;
        assert!(beside.at("bb").is_none());
        assert_eq!(there.into_values().collect::<Vec<_>>(), [1, 2, 1]);
    }
}
