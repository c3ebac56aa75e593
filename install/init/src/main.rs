//! `berth-install`: puts the plugin and its configuration on a node.

fn main() {}
