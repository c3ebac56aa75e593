//! Tier 3 on another kernel: a network as a VLAN of the uplink.
//!
//! A test program of its own because it needs 802.1q and bridge VLAN filtering: `cargo xtask test vlan` boots Debian's
//! kernel under qemu and runs it there. On a kernel without them it fails.

#[cfg(test)]
mod vlan;
