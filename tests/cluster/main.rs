//! The cluster tier: real nodes with kubelet, containerd and Berth. `cargo xtask test cluster` runs it.

#[cfg(test)]
mod agent;
#[cfg(test)]
mod chain;
#[cfg(test)]
mod claims_away;
#[cfg(test)]
mod claims_fence;
#[cfg(test)]
mod claims_full;
#[cfg(test)]
mod claims_life;
#[cfg(test)]
mod claims_move;
#[cfg(test)]
mod claims_seen;
#[cfg(test)]
mod garbage;
#[cfg(test)]
mod health_machine;
#[cfg(test)]
mod health_network;
#[cfg(test)]
mod health_runtime;
#[cfg(test)]
mod held;
#[cfg(test)]
mod image_pull;
#[cfg(test)]
mod in_place;
#[cfg(test)]
mod kubectl;
#[cfg(test)]
mod kubectl_addresses;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod node_life;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod pings;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod reach;
#[cfg(test)]
mod release;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod runtime;
#[cfg(test)]
mod seen;
#[cfg(test)]
mod services;
#[cfg(test)]
mod site;
#[cfg(test)]
mod sticky_ip;
#[cfg(test)]
mod storm;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod turn;
#[cfg(test)]
mod uninstall;
#[cfg(test)]
mod up;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod upgrade_in_place;
#[cfg(test)]
mod workloads;
