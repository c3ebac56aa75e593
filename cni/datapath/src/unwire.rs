//! DEL: whatever is left of an attachment, from nothing but its key.

use std::fmt;

use proto_ids::{Attachment, IfName};

use crate::fault::Fault;
use crate::netns::Netns;

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwired {
    /// Host-side ports that were there and are gone.
    pub ports: Vec<IfName>,
    /// Host routes that were there and are gone.
    pub routes: usize,
}

/// One thing that could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum UnwireError {
}

/// All that could not be removed; the rest is gone.
#[derive(Debug)]
pub struct UnwireErrors(pub Vec<UnwireError>);

impl UnwireErrors {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        Fault::Kernel
    }
}

impl fmt::Display for UnwireErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} steps failed", self.0.len())
    }
}

impl std::error::Error for UnwireErrors {}

/// Removes the attachment's interfaces, ports and host routes. What is missing already is success.
///
/// # Errors
/// Everything is tried; all failures are returned.
pub fn unwire(_netns: Option<&Netns>, _attachment: &Attachment) -> Result<Unwired, UnwireErrors> {
    unimplemented!()
}
