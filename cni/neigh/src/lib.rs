//! ARP and IPv6 neighbour discovery on packet sockets: build, parse, probe, announce, resolve, listen.
//!
//! Always: a frame that is built parses back to what it says; parsing takes any bytes and never panics; a socket
//! belongs to the namespace of the thread that opened it. Never: a decision about who may have an address, an answer
//! to somebody's question, a change of an interface (no promiscuous mode, no multicast membership).
//!
//! Three entrances: [`Announcer`] sends only (one per Pod), [`Socket`] listens and sends on one interface,
//! [`resolve`] asks one question and waits.

mod announcer;
mod arp;
mod filter;
mod frame;
mod link;
mod nd;
mod socket;

pub use announcer::{AnnounceError, Announcement, Announcer};
pub use frame::{Frame, Kind, Observation};
pub use link::FindLinkError;
pub use socket::{Family, OpenSocketError, ResolveError, Socket, resolve};
