//! What the test itself knows of who has which address, by what daemons answered: no view of theirs and none of the API server.
//!
//! An address is somebody's from the answer to an ADD until a DEL of it is sent: only then may another answer name it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// Who has what.
#[derive(Debug, Default)]
pub(super) struct Truth(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Address to identity and node, as long as a sandbox has it.
    attached: BTreeMap<String, (String, String)>,
    /// The first address of each identity: it never has another.
    first: BTreeMap<String, String>,
    /// Granted ADDs.
    granted: usize,
}

impl Truth {
    /// An ADD was granted.
    ///
    /// # Panics
    /// The address is another sandbox's, or the identity had another one before.
    #[track_caller]
    pub(super) fn granted(&self, identity: &str, node: &str, address: &str) {
        let mut known = self.known();
        let mine = (identity.to_owned(), node.to_owned());
        let other = known.attached.insert(address.to_owned(), mine.clone());
        assert!(
            other.as_ref().is_none_or(|it| *it == mine),
            "{address} is given to {mine:?} while {other:?} has it"
        );
        let first = known.first.entry(identity.to_owned());
        let first = first.or_insert_with(|| address.to_owned());
        assert_eq!(first, address, "{identity} had another address before");
        known.granted += 1;
    }

    /// A DEL is about to be sent.
    pub(super) fn ending(&self, identity: &str) {
        self.known().attached.retain(|_, (it, _)| it != identity);
    }

    /// Identities with node and address, of those that a sandbox has.
    pub(super) fn attached(&self) -> BTreeMap<String, (String, String)> {
        let known = self.known();
        let all = known.attached.iter();
        all.map(|(address, (identity, node))| (identity.clone(), (node.clone(), address.clone())))
            .collect()
    }

    /// How many ADDs were granted.
    pub(super) fn granted_count(&self) -> usize {
        self.known().granted
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
