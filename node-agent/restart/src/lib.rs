//! What becomes of a request to restart containers in place, decided without a clock, a network or a runtime.
//!
//! Owns the rules: whose turn it is ([`queue`]), what the next step is ([`plan`]), how long kubelet would keep a container
//! down ([`backoff`]), and how a container is stopped properly by what kubelet left on it ([`prestop`]). The caller
//! observes, stores the status of a [`plan::Decision`], and only then takes its step. Nothing here starts containers:
//! kubelet alone does.

pub mod backoff;
pub mod gate;
pub mod observed;
pub mod plan;
pub mod prestop;
pub mod queue;
