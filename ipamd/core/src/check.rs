//! Whether the book agrees with what a runtime believes of an attachment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use proto_ids::{Attachment, IfName, MacAddr};

use crate::binding::Binding;
use crate::book::Book;
use crate::refusal::Reason;

/// What a runtime believes of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedInterface {
    /// Name inside the Pod.
    pub ifname: IfName,
    /// The MAC; `None`: not compared.
    pub mac: Option<MacAddr>,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// Why a CHECK is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The book has no such attachment.
    #[error("the book has no attachment of sandbox {} and interface {}", .0.sandbox, .0.ifname)]
    Unknown(Attachment),
    /// Book and runtime differ.
    #[error("book and runtime differ: {}", listed(.0))]
    Differs(Vec<Difference>),
}

/// One difference between book and runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The runtime has an interface that the book does not know.
    UnknownInterface(IfName),
    /// The book has an interface that the runtime does not list.
    MissingInterface(IfName),
    /// The MACs differ.
    Mac {
        /// The interface.
        ifname: IfName,
        /// As the book has it.
        book: MacAddr,
        /// As the runtime has it.
        runtime: MacAddr,
    },
    /// The addresses differ.
    Addresses {
        /// The interface.
        ifname: IfName,
        /// As the book has them.
        book: Vec<IpAddr>,
        /// As the runtime has them.
        runtime: Vec<IpAddr>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownInterface(ifname) => write!(f, "interface {ifname} is not in the book"),
            Self::MissingInterface(ifname) => write!(f, "interface {ifname} is only in the book"),
            Self::Mac {
                ifname,
                book,
                runtime,
            } => write!(f, "{ifname} has MAC {runtime}, the book says {book}"),
            Self::Addresses {
                ifname,
                book,
                runtime,
            } => write!(
                f,
                "{ifname} has {}, the book says {}",
                listed(runtime),
                listed(book)
            ),
        }
    }
}

fn listed<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "nothing".to_owned();
    }
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

impl CheckError {
    /// Its class.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unknown(_) => Reason::NotFound,
            Self::Differs(_) => Reason::Mismatch,
        }
    }

    /// What an operator does about it.
    pub fn advice(&self) -> String {
        "re-create the Pod: its interface no longer is what was handed out".to_owned()
    }
}

impl Book {
    /// Compares what a runtime believes of an attachment with the book.
    ///
    /// # Errors
    /// When the attachment is not known or anything differs; all differences are listed.
    pub fn check(
        &self,
        attachment: &Attachment,
        interfaces: &[CheckedInterface],
    ) -> Result<(), CheckError> {
        let mut unseen: BTreeMap<_, _> = self
            .attached_to(attachment)
            .filter_map(|(network, identity)| {
                let bound = self.binding(network, identity)?;
                Some((&bound.state.attached()?.ifname, bound))
            })
            .collect();
        if unseen.is_empty() {
            return Err(CheckError::Unknown(attachment.clone()));
        }
        let mut differences = Vec::new();
        for interface in interfaces {
            match unseen.remove(&interface.ifname) {
                Some(bound) => differences.extend(compare(interface, bound)),
                None => differences.push(Difference::UnknownInterface(interface.ifname.clone())),
            }
        }
        let missing = unseen.into_keys().cloned();
        differences.extend(missing.map(Difference::MissingInterface));
        if differences.is_empty() {
            Ok(())
        } else {
            Err(CheckError::Differs(differences))
        }
    }
}

fn compare(interface: &CheckedInterface, bound: &Binding) -> Vec<Difference> {
    let mut differences = Vec::new();
    if let Some(runtime) = interface.mac.filter(|&mac| mac != bound.mac) {
        differences.push(Difference::Mac {
            ifname: interface.ifname.clone(),
            book: bound.mac,
            runtime,
        });
    }
    let book: BTreeSet<_> = bound.addresses.iter().collect();
    let runtime: BTreeSet<_> = interface.addresses.iter().copied().collect();
    if book != runtime {
        differences.push(Difference::Addresses {
            ifname: interface.ifname.clone(),
            book: book.into_iter().collect(),
            runtime: interface.addresses.clone(),
        });
    }
    differences
}

#[cfg(test)]
mod tests;
