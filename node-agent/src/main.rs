//! `berth-agent`: the agent of a node.

fn main() {}
