//! The world Berth is tried in: racks, nodes and outside hosts as namespaces of one machine, driven by `ip` and `nsenter`.
//!
//! Everything it makes belongs to one named [`World`] and goes with it, also when its maker is killed: the namespaces hang
//! on a pipe of the maker, the rest is listed in a state file that the next run of that name cleans up by.
//! It never touches the machine's own network namespace and never uses the product's code: it is the oracle of the tests.

mod address;
mod api_proxy;
mod apiserver;
mod binaries;
mod cgroup;
mod cluster;
mod cni;
mod containerd;
mod control_plane;
mod evidence;
mod host;
mod image;
mod ipamd;
mod kernel;
mod kubelet;
mod namespace;
mod node;
mod pki;
mod pod;
mod process;
mod product;
mod programs;
mod rack;
mod series;
mod state;
mod wait;
mod world;

pub use address::{Net, RackAddresses};
pub use api_proxy::{Answer, ApiProxy, ApiWatch};
pub use apiserver::ApiServer;
pub use binaries::{FAR_IMAGE_VARIABLE, IMAGE_VARIABLE, NEXT_IMAGE_VARIABLE, bin_dir, binary};
pub use cluster::{
    Cluster, ClusterBuilder, DNS_ADDRESS, DNS_DOMAIN, Daemon, Doors, Memory, NODES_PER_RACK,
    NodeState,
};
pub use cni::{CniCall, CniReply, RunningCniCall};
pub use containerd::{CONTAINERD_METRICS, Containerd};
pub use control_plane::{Component, ControlPlane, SERVICE_CIDR};
pub use host::Host;
pub use image::{APP_IMAGES, PAUSE_IMAGE, write_image};
pub use ipamd::{Ipamd, IpamdConfig};
pub use kernel::{Booted, Kernel};
pub use namespace::Namespace;
pub use node::{Node, NodeSpec};
pub use process::{Output, Process};
pub use product::{MANIFESTS_VARIABLE, Product};
pub use programs::{
    ADDONS_PROGRAMS, ADDONS_VARIABLE, Addons, CONTAINERD_PROGRAMS, CONTAINERD_VARIABLE,
    KUBERNETES_PROGRAMS, KUBERNETES_VARIABLE, Kubernetes, Runtime,
};
pub use rack::Rack;
pub use series::sum_of_series;
pub use wait::{Pending, wait_patiently, wait_until};
pub use world::{World, WorldBuilder};
