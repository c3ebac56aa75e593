//! The harness of the black-box tests: runs the product's binaries as a runtime or an operator would and looks at the
//! world with `ip -j`, captures and pings. Knows the contracts (`proto-*`), never an implementation.
//!
//! A failed expectation of the harness is a failed test, so it panics at the caller's line instead of returning errors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a harness fails the test that uses it, at the place of the call"
)]

pub mod ask;
pub mod capture;
pub mod daemons;
pub mod http;
pub mod installer;
pub mod plugin;
pub mod registry;
pub mod setup;
pub mod site;
pub mod stand_in;
pub mod wait;
