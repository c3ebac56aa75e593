//! The apiserver tier: etcd and kube-apiserver alone. `cargo xtask test apiserver` runs it.

#[cfg(test)]
mod agent_rights;
#[cfg(test)]
mod claim_race;
#[cfg(test)]
mod claim_rights;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod container_restart;
#[cfg(test)]
mod controllers;
#[cfg(test)]
mod controllers_rights;
#[cfg(test)]
mod crds;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod duties;
#[cfg(test)]
mod freeze;
#[cfg(test)]
mod image_pull;
#[cfg(test)]
mod in_place_set;
#[cfg(test)]
mod inplaceset;
#[cfg(test)]
mod ipamd_claims;
#[cfg(test)]
mod ipamd_pods;
#[cfg(test)]
mod ipamd_pools;
#[cfg(test)]
mod kubectl_addresses;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod node_health;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod pools;
#[cfg(test)]
mod rack;
#[cfg(test)]
mod rbac;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod rollout;
#[cfg(test)]
mod shipped;
#[cfg(test)]
mod start;
