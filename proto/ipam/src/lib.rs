//! The contract between `berth`, `berth-ipamd` and the operator's commands: generated code, typed conversions, the
//! tombstones that a plugin leaves for a daemon that is away, and which releases work together. No behaviour.

pub mod convert;
pub mod refusal;
pub mod tombstone;
pub mod version;

/// Generated from `v1/ipam.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("berth.ipam.v1");
}
