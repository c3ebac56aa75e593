//! What becomes of the images that a node is asked to pull, decided without a clock, a network or a runtime.
//!
//! Owns the rules: which pulls begin now and what an attempt's end means ([`book`]), what the runtime's words mean
//! ([`failure`]), whether what came is what was asked for ([`arrival`]), which credentials a registry is shown
//! ([`credentials`]), how much has arrived ([`progress`]), and how often the status is written ([`pace`]). What the caller is told is the status that it stores: after
//! a restart the book is made of it again.

pub mod arrival;
pub mod book;
pub mod credentials;
pub mod failure;
pub mod pace;
pub mod progress;
pub mod reference;
