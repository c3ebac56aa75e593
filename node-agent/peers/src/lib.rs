//! What the agents of a cluster say to each other over the underlay, and what each makes of it: decided without a clock, a socket
//! or a file.
//!
//! Owns the datagram ([`datagram`]), who looks at whom ([`roster`]), what is answered and how often ([`answer`]), which peer
//! counts as alive ([`judge`]), and whether this node's own view is worth anything ([`vote`]). [`mesh`] is all of it for one
//! node. **Never:** acts on what it sees, or takes an order from a datagram; there are none in it.

pub mod answer;
pub mod datagram;
#[cfg(test)]
mod fixture;
pub mod judge;
pub mod mesh;
mod pace;
pub mod roster;
pub mod vote;
mod window;
