//! The world Berth is tried in: racks, nodes and outside hosts as namespaces of one machine, driven by `ip` and `nsenter`.
//!
//! Everything it makes belongs to one named [`World`] and goes with it, also when its maker is killed: the namespaces hang
//! on a pipe of the maker, the rest is listed in a state file that the next run of that name cleans up by.
//! It never touches the machine's own network namespace and never uses the product's code: it is the oracle of the tests.

mod address;
mod binaries;
mod cni;
mod containerd;
mod evidence;
mod host;
mod image;
mod ipamd;
mod kernel;
mod namespace;
mod node;
mod pod;
mod process;
mod rack;
mod state;
mod wait;
mod world;

pub use address::{Net, RackAddresses};
pub use binaries::{bin_dir, binary};
pub use cni::{CniCall, CniReply, RunningCniCall};
pub use containerd::Containerd;
pub use host::Host;
pub use image::{APP_IMAGES, PAUSE_IMAGE, write_image};
pub use ipamd::{Ipamd, IpamdConfig};
pub use kernel::{Booted, Kernel};
pub use namespace::Namespace;
pub use node::{Node, NodeSpec};
pub use process::{Output, Process};
pub use rack::Rack;
pub use wait::{Pending, wait_until};
pub use world::{World, WorldBuilder};
