//! What is typed. Declares only; each command's own arguments stand beside it.

use clap::{Parser, Subcommand};

use crate::cluster::ClusterArgs;
use crate::health::HealthArgs;
use crate::output::OutputArgs;

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
            ["kubectl-berth", "-n", "x", "health", "n1"],
            ["kubectl-berth", "health", "n1", "-n", "x"],
        ] {
            let args = Args::parse_from(words);
            assert_eq!(args.cluster.namespace, "x");
            let Command::Health(health) = args.command;
            assert_eq!(health.nodes, ["n1"]);
        }
    }
}
