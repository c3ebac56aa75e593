//! The wiring of one Pod attachment: observe → plan (pure) → apply.
//!
//! The only crate with `unsafe` (in `sys.rs`), with `setns` and with netlink writes. Synchronous: a netlink socket
//! belongs to the namespace it was opened in, so node and Pod each have one and hardly anything switches namespaces.
//! It never asks who gets which address: that is in the [`wiring::Wiring`] it is given.

pub mod apply;
pub mod check;
mod desired;
pub mod fault;
mod group;
pub mod linger;
pub mod lock;
pub mod netlink;
pub mod netns;
pub mod node_address;
mod observe;
mod plan;
pub mod ports;
pub mod segment;
mod sys;
pub mod unwire;
pub mod wire;
pub mod wiring;
