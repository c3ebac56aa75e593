//! `kubectl-berth`: what operators ask of Berth in a cluster.

fn main() {}
