//! What is typed. Declares only; each command's own arguments stand beside it.

use clap::{Parser, Subcommand};

use crate::check::CheckArgs;
use crate::cluster::ClusterArgs;
use crate::decisions::DecisionsArgs;
use crate::fence::{FenceArgs, UnfenceArgs};
use crate::freeze::{FreezeArgs, UnfreezeArgs};
use crate::health::HealthArgs;
use crate::history::HistoryArgs;
use crate::ips::IpsArgs;
use crate::output::OutputArgs;
use crate::pools::PoolsArgs;
use crate::release::ReleaseArgs;
use crate::reserve::ReserveArgs;
use crate::restart::RestartArgs;
use crate::rollout::RolloutArgs;
use crate::upgrade::UpgradeArgs;
use crate::why::WhyArgs;

/// Asks Berth in a cluster. As a plugin of kubectl: `kubectl berth …`.
///
/// Exit code: 0 when everything asked for is as it should be, 1 when something is wrong or not known, 2 when it could
/// not be found out.
#[derive(Debug, Parser)]
#[command(name = "kubectl-berth", bin_name = "kubectl berth", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what is wrong with nodes: since when, what it means, what to do
    Health(HealthArgs),
    /// Show how full the pools are, by network and rack, and when they will be
    Pools(PoolsArgs),
    /// List addresses: who has what where, and what is kept while nobody uses it
    Ips(IpsArgs),
    /// Say why a Pod has its addresses, or what it waits for; why an address is whose it is; what becomes of a node
    Why(WhyArgs),
    /// Say who had an address when, by the logs of all nodes of its rack
    History(HistoryArgs),
    /// Keep an address for a Pod that is not there yet
    Reserve(ReserveArgs),
    /// Let an address go that is kept, after saying what that breaks
    Release(ReleaseArgs),
    /// Declare a node dead that is off: its addresses may be taken by others
    Fence(FenceArgs),
    /// Take a node's marks away: what nobody has taken is its own again
    Unfence(UnfenceArgs),
    /// Stop all that ends Pods of lost nodes, or condemns nodes: Berth and Kubernetes' own
    Freeze(FreezeArgs),
    /// Let that go on
    Unfreeze(UnfreezeArgs),
    /// List what is frozen, by whom, why and until when
    Freezes,
    /// List what was decided about nodes, done, or would have been done, and whether that record holds together
    Decisions(DecisionsArgs),
    /// Compare pools, claims, Pods, nodes and their books, in the whole cluster
    Check(CheckArgs),
    /// Restart containers of a Pod in place, and say whether they run again
    Restart(RestartArgs),
    /// Give containers of a Pod other images in place, and say whether those run
    Upgrade(Box<UpgradeArgs>),
    /// Follow, pause, resume, undo, list or restart releases of in-place sets
    Rollout(RolloutArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        for words in [
            ["kubectl-berth", "--berth-namespace", "x", "health", "n1"],
            ["kubectl-berth", "health", "n1", "--berth-namespace", "x"],
        ] {
            let args = Args::parse_from(words);
            assert_eq!(args.cluster.berth_namespace, "x");
            let Command::Health(health) = args.command else {
                panic!("another command");
            };
            assert_eq!(health.nodes, ["n1"]);
        }
    }
}
