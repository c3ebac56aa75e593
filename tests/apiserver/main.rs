//! The apiserver tier: etcd and kube-apiserver alone. `cargo xtask test apiserver` runs it.

#[cfg(test)]
mod start;
