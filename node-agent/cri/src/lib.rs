//! A client of the container runtime interface (CRI v1), as small as the node's agent needs.
//!
//! Speaks over the runtime's socket, each call with a deadline and a bounded answer; every answer is turned into types of this
//! crate. Decides nothing, retries nothing, and never creates, starts or removes a container or a sandbox: those calls are
//! not here.

mod call;
mod container;
mod content;
mod image;
mod message;
mod runtime;
mod sandbox;

pub use call::{CallRuntimeError, Code};
pub use container::{Container, ContainerFilter, ContainerState, ContainerStatus, ExecOutcome};
pub use content::{Content, Transfer};
pub use image::{Auth, Filesystem, Image, ImageFilesystems, Pull};
pub use runtime::{Runtime, RuntimeCondition, RuntimeStatus, Version};
pub use sandbox::{Network, Sandbox, SandboxFilter, SandboxStatus};
