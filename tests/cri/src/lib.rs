//! A blocking client of the container runtime interface, as small as kubelet's part in a test: Pods and their containers.
//!
//! A crate of its own because its generated code needs `protoc`, which `cargo xtask` installs before it builds this, but
//! cannot need itself. Knows CRI only; nothing of Berth and nothing of containerd.

mod client;
mod pod;

pub use client::{CallError, Cri, Executed};
pub use pod::{Container, Pod};
