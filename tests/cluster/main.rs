//! The cluster tier: real nodes with kubelet, containerd and Berth. `cargo xtask test cluster` runs it.

mod nodes;
mod pods;
mod site;
mod sticky_ip;
mod trouble;
