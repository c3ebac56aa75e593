//! The apiserver tier: etcd and kube-apiserver alone. `cargo xtask test apiserver` runs it.

#[cfg(test)]
mod manifests;
#[cfg(test)]
mod rbac;
#[cfg(test)]
mod shipped;
#[cfg(test)]
mod start;
