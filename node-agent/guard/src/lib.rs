//! The recovery guard's helper: limits the processors of Pods that end, and gives them back. The only code of Berth that writes cgroups.
//!
//! A process of its own, because it needs the node's cgroups to write. **Always holds:** it does what three verbs say, to Pods that are named
//! by a UID, below kubelet's `kubepods` and nowhere else; every use is logged, with who asked and why; a limit only ever lowers what was
//! there, and what was there is kept until it is back. It decides nothing, and knows nothing of the API.

mod client;
mod limits;
mod request;
mod server;
mod tree;

pub use client::{AskError, Connection};
pub use limits::{ChangeError, Limits, OpenLimitsError};
pub use request::{Held, LINE_LIMIT, ParsePodUidError, ParseRequestError, PodUid, Request};
pub use server::serve;
pub use tree::{OpenTreeError, Tree};
