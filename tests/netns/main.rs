//! Tier 3: the product's binaries in namespaces of their own, module by feature.
//!
//! Every test makes its own world and removes it; none skips: a test that cannot run fails. Run by
//! `cargo xtask test netns`, as root or in a user namespace.

#[cfg(test)]
mod add;
#[cfg(test)]
mod chain;
#[cfg(test)]
mod check;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod daemon;
#[cfg(test)]
mod del;
#[cfg(test)]
mod delegate;
#[cfg(test)]
mod dice;
#[cfg(test)]
mod durable;
#[cfg(test)]
mod gc;
#[cfg(test)]
mod install;
#[cfg(test)]
mod install_kill;
#[cfg(test)]
mod reach;
#[cfg(test)]
mod status;
#[cfg(test)]
mod sticky;
#[cfg(test)]
mod store;
#[cfg(test)]
mod uplink;
#[cfg(test)]
mod version;
#[cfg(test)]
mod wire;
