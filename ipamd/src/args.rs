//! What is typed: the daemon's flags and the operator's sub-commands. Declares only; each command's own arguments stand
//! beside it.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use ipamd_daemon::telemetry::TelemetryArgs;

use crate::commands::{
    CheckConfigArgs, ClientArgs, ExportArgs, FsckArgs, ImportArgs, ListArgs, ReleaseArgs,
    ReserveArgs, WhoArgs, WhyArgs,
};
use crate::config::Overrides;
use crate::sandboxes::RelayArgs;

/// Keeps the addresses of this node's Pods. Without a command it is the daemon.
#[derive(Debug, Parser)]
#[command(name = "berth-ipamd", version, args_conflicts_with_subcommands = false)]
pub(crate) struct Args {
    /// Configuration file
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/berth/ipamd.toml",
        env = "BERTH_IPAMD_CONFIG",
        global = true
    )]
    pub(crate) config: PathBuf,

    #[command(flatten)]
    pub(crate) overrides: Overrides,

    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,

    #[command(flatten)]
    pub(crate) client: ClientArgs,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What can be asked for besides the daemon itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon (also without any command)
    Run,
    /// List addresses with their holders
    List(ListArgs),
    /// Say who has an address, or had it
    Who(WhoArgs),
    /// Say which addresses a Pod or identity has, why, and what would happen next
    Why(WhyArgs),
    /// Hold an address for an identity that has no Pod yet, or set one aside
    Reserve(ReserveArgs),
    /// Give a held, reserved, quarantined or conflicting address back
    Release(ReleaseArgs),
    /// Check the store and the book
    Fsck(FsckArgs),
    /// Write the whole book as JSON
    Export(ExportArgs),
    /// Take bindings over from another IPAM or an export: all or none
    Import(ImportArgs),
    /// Show the daemon's state and its pools
    Status,
    /// Have the daemon read its configuration again, whole or not at all
    Reload,
    /// Check a configuration file without touching the daemon
    CheckConfig(CheckConfigArgs),
    /// List the container runtime's sandboxes on a socket of their own, so that the daemon needs no right to the runtime
    RelaySandboxes(RelayArgs),
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
    fn daemon_is_the_default() {
        let args = Args::parse_from(["berth-ipamd", "--config", "/x.toml"]);
        assert!(args.command.is_none());
        let args = Args::parse_from([
            "berth-ipamd",
            "list",
            "--config",
            "/x.toml",
            "--output=json",
        ]);
        assert!(matches!(args.command, Some(Command::List(_))));
        assert_eq!(args.config, PathBuf::from("/x.toml"));
        let args = Args::parse_from(["berth-ipamd", "--node", "n1", "--metrics", "0.0.0.0:9421"]);
        assert_eq!(args.overrides.node.unwrap().as_str(), "n1");
    }
}
