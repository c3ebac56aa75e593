//! The book as a document: what `export` writes and `import` reads.

use std::collections::BTreeMap;

use ipamd_core::{AddressRecord, AddressUse, Book, Change, Contradiction, Record, Timestamp};
use serde::{Deserialize, Serialize};

/// Version of the document.
const FORMAT: u32 = 1;

/// All facts of a book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// Version of the document.
    pub(crate) format: u32,
    /// When it was written, by the book's clock.
    pub(crate) written: Timestamp,
    /// The facts.
    pub(crate) records: Vec<Record>,
}

/// Why a document cannot be taken over at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ImportError {
    /// Written by another version.
    #[error("the document has format {format}, this version reads {FORMAT}")]
    Format {
        /// Its format.
        format: u32,
    },
}

/// What taking a document over does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ImportPlan {
    /// Records that are new.
    pub(super) imported: u64,
    /// One line for each record that cannot be taken over.
    pub(super) refused: Vec<String>,
    /// What makes it so.
    pub(super) changes: Vec<Change>,
}

impl Document {
    /// A document of these facts.
    pub(crate) const fn new(records: Vec<Record>, written: Timestamp) -> Self {
        Self {
            format: FORMAT,
            written,
            records,
        }
    }

    /// The book's.
    pub(crate) fn of(book: &Book, now: Timestamp) -> Self {
        Self::new(book.records().collect(), now)
    }

    /// What taking it over into a book does. A record that the book has already is no news; one that contradicts the
    /// book is refused. In what order addresses were used before is not taken over.
    pub(super) fn plan(&self, book: &Book) -> Result<ImportPlan, ImportError> {
        if self.format != FORMAT {
            return Err(ImportError::Format {
                format: self.format,
            });
        }
        let known: BTreeMap<_, _> = book
            .records()
            .map(|record| (record.key(), record))
            .collect();
        let mut plan = ImportPlan::default();
        let mut news = Vec::new();
        for record in self.records.iter().filter(|record| !is_retired(record)) {
            match known.get(&record.key()) {
                Some(other) if other == record => {}
                Some(other) if !is_retired(other) => {
                    plan.refused
                        .push(format!("the book says otherwise of {}", subject(record)));
                }
                _ => news.push(record.clone()),
            }
        }
        plan.imported = news.len() as u64;
        let replaced: Vec<_> = news.iter().map(Record::key).collect();
        let kept = known
            .into_iter()
            .filter(|(key, _)| !replaced.contains(key))
            .map(|(_, record)| record);
        let union = kept.chain(news.iter().cloned());
        if let Err(error) = Book::restore(book.settings().clone(), union) {
            plan.refused
                .extend(error.contradictions.iter().map(contradiction));
        }
        plan.changes = news.into_iter().map(Change::Put).collect();
        Ok(plan)
    }
}

const fn is_retired(record: &Record) -> bool {
    matches!(
        record,
        Record::Address(AddressRecord {
            state: AddressUse::Retired { .. },
            ..
        })
    )
}

fn subject(record: &Record) -> String {
    match record {
        Record::Binding(binding) => format!("{} in network {}", binding.identity, binding.network),
        Record::Address(AddressRecord {
            network, address, ..
        }) => format!("{address} of network {network}"),
        Record::Claim(claim) => format!(
            "the claim of {} in network {}",
            claim.address, claim.network
        ),
        Record::Conflict(conflict) => format!(
            "the conflict over {} of network {}",
            conflict.address, conflict.network
        ),
    }
}

/// A contradiction in words.
pub(crate) fn contradiction(contradiction: &Contradiction) -> String {
    match contradiction {
        Contradiction::AddressTwice {
            network,
            address,
            identities,
        } => {
            let names: Vec<_> = identities.iter().map(ToString::to_string).collect();
            format!(
                "address {address} of network {network} is claimed twice ({})",
                names.join(", ")
            )
        }
        Contradiction::Malformed { network, identity } => format!(
            "the binding of {identity} in network {network} has not one address of a family"
        ),
    }
}
