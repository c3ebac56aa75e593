//! The plumbing both daemons share: supervised tasks, signals, readiness, the metrics endpoint, logging, unix sockets,
//! giving up capabilities.
//!
//! Knows nothing of addresses, Pods or Kubernetes. Everything here is written so that a part that dies takes the
//! process with it, by name: a supervisor outside starts it again, and a half-dead daemon is never mistaken for a live one.

pub mod chain;
pub mod http;
pub mod privilege;
pub mod readiness;
pub mod signal;
pub mod tasks;
pub mod telemetry;
pub mod uds;

pub use chain::chain;
pub use tasks::Tasks;
