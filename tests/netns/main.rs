//! Tier 3: the product's binaries in namespaces of their own, module by feature.
//!
//! Every test makes its own world and removes it; none skips: a test that cannot run fails. Run by
//! `cargo xtask test netns`, as root or in a user namespace.

#[cfg(test)]
mod add;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod del;
