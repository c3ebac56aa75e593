//! The pools that were in use last, in a file of the store's folder: what a node starts with while the API server is away.

use std::path::PathBuf;

use ipamd_core::objections;
use proto_ids::NodeName;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::plan::{PoolObject, UsedPool};
use crate::sync::sealed::{SealedFile, StoreSealedError};

/// The file's name in the store's folder.
const NAME: &str = "pools";
const VERSION: u32 = 1;

/// The file.
#[derive(Debug)]
pub(super) struct PoolsFile {
    file: SealedFile,
    node: NodeName,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    node: NodeName,
    pools: Vec<PoolObject>,
}

impl PoolsFile {
    /// The file of a node in its store's folder.
    pub(super) fn new(folder: PathBuf, node: &NodeName) -> Self {
        Self {
            file: SealedFile::new(folder, NAME),
            node: node.clone(),
        }
    }

    /// What the file says, as far as it can be used.
    pub(super) fn load(&self) -> Vec<UsedPool> {
        let Some(content) = self.file.load::<Content>() else {
            return Vec::new();
        };
        if content.version != VERSION || content.node != self.node {
            return Vec::new();
        }
        let (mut used, mut pools) = (Vec::new(), Vec::new());
        for object in content.pools {
            match object.pool() {
                Ok(pool) if objections(&pool, &pools).is_empty() => {
                    pools.push(pool.clone());
                    used.push(UsedPool { object, pool });
                }
                // Another version wrote it, which took what this one does not.
                _ => warn!(pool = object.name, "remembered pool cannot be used"),
            }
        }
        used
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the disk refuses; what the file said before stays.
    pub(super) fn store(&self, used: &[UsedPool]) -> Result<(), StoreSealedError> {
        self.file.store(&Content {
            version: VERSION,
            node: self.node.clone(),
            pools: used.iter().map(|used| used.object.clone()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{object, used};
    use super::*;

    #[test]
    fn what_was_stored_is_read_back_by_this_node_alone() {
        let folder = tempfile::tempdir().unwrap();
        let of = |node: &str| PoolsFile::new(folder.path().to_owned(), &node.parse().unwrap());
        assert_eq!(of("n1").load(), []);
        let pools = [used("one", "1-9", 1), used("two", "10-19", 2)];
        of("n1").store(&pools).unwrap();
        assert_eq!(of("n1").load(), pools);
        assert_eq!(of("n2").load(), []);
        of("n1").store(&[]).unwrap();
        assert_eq!(of("n1").load(), []);
    }

    #[test]
    fn what_cannot_be_used_together_is_used_in_part() {
        let folder = tempfile::tempdir().unwrap();
        let file = PoolsFile::new(folder.path().to_owned(), &"n1".parse().unwrap());
        let mut bad = used("bad", "30-39", 3);
        bad.object.spec["gateway"] = "tor".into();
        let pools = [used("one", "1-9", 1), used("two", "9-19", 2), bad];
        file.store(&pools).unwrap();
        let names: Vec<_> = file.load().into_iter().map(|used| used.object).collect();
        assert_eq!(names, [object("one", "1-9", 1)]);
    }
}
