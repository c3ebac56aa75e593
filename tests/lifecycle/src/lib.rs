//! A replay of faults in virtual time: upstream's rule about nodes and Berth's, in the same world, from the same seed.
//!
//! [`world`] with [`network`], [`probes`] and [`workload`] is what happens anyway; [`upstream`] is a model of Kubernetes' controllers by
//! their source; [`berth`] feeds Berth's decision core, unchanged, and carries out what it orders; [`trace`] is what goes wrong;
//! [`measure`] counts what came of it. **Always holds:** the same seed gives the same run. **Never:** looks at a clock, does IO.

pub mod berth;
pub mod measure;
pub mod network;
pub mod probes;
pub mod random;
pub mod replay;
pub mod report;
pub mod trace;
pub mod upstream;
pub mod workload;
pub mod world;

/// Seconds since the beginning.
pub type Seconds = u32;

/// Pods of an application.
pub const REPLICAS: usize = 30;
