//! The wiring of one Pod attachment: observe → plan (pure) → apply.
//!
//! The only crate with `unsafe` (in `sys.rs`), with `setns` and with netlink writes. Synchronous: a netlink socket
//! belongs to the namespace it was opened in, so node and Pod each have one and hardly anything switches namespaces.
//! It never asks who gets which address: that is in the [`Wiring`] it is given.

pub mod wiring;
