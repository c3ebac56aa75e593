//! What goes wrong, and when.

mod catalogue;

use crate::Seconds;
use crate::probes::Lie;
use crate::world::World;

pub use catalogue::{all, named};

/// Faults in the order of time.
#[derive(Clone, Debug)]
pub struct Trace {
    /// A short name.
    pub name: &'static str,
    /// What happens.
    pub text: &'static str,
    /// How long the run is.
    pub seconds: Seconds,
    /// Into how many zones the racks are dealt.
    pub zones: usize,
    /// Of a thousand probes so many are lost all the time.
    pub loss: u32,
    /// What changes when.
    pub faults: Vec<(Seconds, Change)>,
}

/// A change of the world.
#[derive(Clone, Debug)]
pub enum Change {
    /// These nodes' power.
    Power(Vec<usize>, bool),
    /// These nodes' NICs.
    Nic(Vec<usize>, bool),
    /// These nodes' way to the API server.
    Api(Vec<usize>, bool),
    /// These racks' switches.
    Switch(Vec<usize>, bool),
    /// A zone's link to the others.
    Link(usize, bool),
    /// What the first rack sends comes to the second.
    OneWay(Vec<(usize, usize)>, bool),
    /// These nodes' clocks step.
    Clock(Vec<usize>, i64),
    /// These nodes' kubelets work.
    Kubelet(Vec<usize>, bool),
    /// These nodes' agents lie.
    Lie(Vec<usize>, Option<Lie>),
    /// These nodes' agents find something by a rule of this number.
    Finding(Vec<usize>, Option<u16>),
    /// These nodes' management controllers say that they are off.
    SaidOff(Vec<usize>, bool),
    /// New Pods never become ready.
    BrokenReplacements(bool),
    /// The watches stand still.
    StaleWatch(bool),
    /// People freeze everything, or lift it. Upstream's rule here does not ask.
    Freeze(bool),
    /// The leader ends; another leads after so long.
    FailOver(Seconds),
}

impl Change {
    /// Makes it so.
    pub fn apply(&self, world: &mut World) {
        match self {
            Self::Power(nodes, on) => {
                for &node in nodes {
                    world.set_power(node, *on);
                }
            }
            Self::Nic(nodes, works) => {
                for &node in nodes {
                    world.network.set_nic(node, *works);
                }
            }
            Self::Api(nodes, works) => {
                for &node in nodes {
                    world.network.set_api(node, *works);
                }
            }
            Self::Switch(racks, works) => {
                for &rack in racks {
                    world.network.set_switch(rack, *works);
                }
            }
            Self::Link(zone, works) => world.network.set_link(*zone, *works),
            Self::OneWay(pairs, works) => {
                for &(from, to) in pairs {
                    world.network.set_one_way(from, to, *works);
                }
            }
            Self::BrokenReplacements(broken) => world.workload.is_broken = *broken,
            Self::StaleWatch(stale) => world.is_watch_stale = *stale,
            Self::Freeze(frozen) => world.is_frozen = *frozen,
            Self::FailOver(_) => {}
            Self::Clock(nodes, by) => each(world, nodes, |node| node.clock_ahead += by),
            Self::Kubelet(nodes, works) => each(world, nodes, |node| node.has_kubelet = *works),
            Self::Lie(nodes, lie) => each(world, nodes, |node| node.lie = *lie),
            Self::Finding(nodes, rule) => each(world, nodes, |node| node.finding = *rule),
            Self::SaidOff(nodes, off) => each(world, nodes, |node| node.is_said_off = *off),
        }
    }
}

fn each(world: &mut World, nodes: &[usize], change: impl Fn(&mut crate::world::Node)) {
    for &node in nodes {
        change(&mut world.nodes[node]);
    }
}
