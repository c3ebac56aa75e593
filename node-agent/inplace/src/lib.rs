//! What becomes of an `InPlaceSet` and its Pods, decided without a clock, a network or a Kubernetes client.
//!
//! Owns the rules: what of a template changes in place ([`template`]) and what a template is called ([`revision`]). The
//! caller observes, asks, and carries out one write after the other, each with the identity and the version that it was
//! decided for.

pub mod operation;
pub mod plan;
pub mod pod;
pub mod revision;
pub mod template;

#[cfg(test)]
mod model;
