//! A real containerd runs Pods by CRI, with NICs from `berth` and addresses from `berth-ipamd`; no Kubernetes.
//!
//! Needs root (cgroups), Debian's containerd and runc. Run by `cargo xtask test containerd`.

#[cfg(test)]
mod garbage;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod pull;
#[cfg(test)]
mod trouble;
