//! Carries out what the core orders, as the controllers would.

use node_agent_lifecycle::decision::Outcome;
use node_agent_lifecycle::{Action, PodTarget};

use crate::berth::pods;
use crate::berth::view::View;
use crate::workload::PodId;
use crate::world::World;

/// Does it; what became of it.
pub(super) fn carry(world: &mut World, view: &mut View, action: &Action) -> Outcome {
    let Some(node) = view.number(action.node()) else {
        return Outcome::Failed("no such node".to_owned());
    };
    let written = match action {
        Action::Cordon { .. } => {
            world.nodes[node].is_cordoned = true;
            1
        }
        Action::Uncordon { .. } => {
            world.nodes[node].is_cordoned = false;
            1
        }
        Action::WithdrawEndpoints { .. } => {
            world.set_withdrawn(node, true);
            // A condition of each Pod.
            world.nodes[node].pods.len()
        }
        Action::RestoreEndpoints { .. } => {
            world.set_withdrawn(node, false);
            world.nodes[node].pods.len()
        }
        // What hangs here hangs again.
        Action::RestartKubelet { .. } => 1,
        Action::Fence { .. } => {
            world.nodes[node].is_fenced = true;
            2
        }
        Action::LiftFence { .. } => {
            world.nodes[node].is_fenced = false;
            2
        }
        Action::SoftEvict { target, .. } => {
            let done = with(target, |id| {
                let done = world.release(id);
                if done {
                    view.pods.await_replacement(id);
                }
                done
            });
            usize::from(done)
        }
        Action::Readopt { target, .. } => usize::from(with(target, |id| world.readopt(id))),
        Action::Evict { target, .. } => usize::from(with(target, |id| world.evict(id))),
        Action::HardDelete { target, .. } | Action::EndSuperseded { target, .. } => {
            usize::from(with(target, |id| world.delete(id)))
        }
    };
    world.measure.counts().writes += written as u64;
    if written == 0 {
        return Outcome::Failed("the Pod is not what it was".to_owned());
    }
    Outcome::Done
}

fn with(target: &PodTarget, act: impl FnOnce(PodId) -> bool) -> bool {
    pods::number(&target.uid).is_some_and(act)
}
