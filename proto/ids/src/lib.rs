//! The vocabulary of every contract: names that were checked once, at the edge, and the requests and grants built of them.
//!
//! Holds types only: no IO, no clock, no async. A value of a type here is valid by construction;
//! behind the edge no string is checked again.

pub mod alias;
pub mod grant;
pub mod mac;
pub mod name;

pub use alias::{PortAlias, UNKNOWN_IDENTITY};
pub use grant::{
    AllocateRequest, AssignedAddress, Attachment, Grant, InterfaceGrant, InterfaceRequest, Route,
};
pub use mac::MacAddr;
pub use name::{
    CniNetworkName, Identity, IfName, NetworkName, NodeName, ParseNameError, PodKey, PodUid,
    PoolName, RackName, SandboxId,
};
