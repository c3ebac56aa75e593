//! What becomes of a node that is not well, and of its Pods: decided without a clock, a network or a Kubernetes client.
//!
//! Restoring capacity is fast and harmless when wrong; killing is rare, proven and paced. The caller keeps [`Observations`] up to
//! date, calls [`Core::step`] about once a second, writes the [`Decision`]s down, and carries out one [`Order`] after the other,
//! each after [`Core::confirm`]. **Always holds:** the same calls give the same decisions; nothing is ordered without a decision;
//! no Pod is deleted whose node is not fenced or back. **Never:** looks at a clock or at a node's wall time.

pub mod action;
pub mod beside;
pub mod breaker;
pub mod config;
pub mod decision;
pub mod evidence;
pub mod fencing;
pub mod freeze;
pub mod mode;
pub mod moment;
pub mod observation;
pub mod phase;
pub mod verdict;
pub mod window;

mod core;
#[cfg(test)]
mod model;

pub use action::{Action, Order, PodTarget};
pub use config::Config;
pub use core::{Core, Refusal, Step};
pub use decision::Decision;
pub use moment::Moment;
pub use observation::Observations;
