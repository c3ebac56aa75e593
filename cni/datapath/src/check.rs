//! CHECK: the plan for what should be there, empty if all is there.

use proto_ids::IfName;

use crate::fault::Fault;
use crate::netns::Netns;
use crate::segment::Node;
use crate::wiring::Wiring;

/// One thing that is not as it was wired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The interface inside the Pod.
    pub ifname: IfName,
    /// What is wrong, in words.
    pub what: String,
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
}

impl CheckError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        Fault::Kernel
    }
}

/// Compares the kernel with the wiring; what others added is no drift.
///
/// # Errors
/// When the kernel cannot be read.
pub fn check(_netns: &Netns, _wiring: &Wiring, _node: &Node) -> Result<Vec<Drift>, CheckError> {
    unimplemented!()
}
