//! What can be said on the command line. Only declared here; each part says what it does with it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::check::CheckArgs;
use crate::log::LogArgs;

/// Puts Berth's plugin and its configuration on a node, keeps the configuration current, and takes everything away again.
#[derive(Debug, Parser)]
#[command(name = "berth-install", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) paths: Paths,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look whether Berth could work on this node, and change nothing; exits with 1 where it could not
    Check(CheckArgs),
    /// Put `berth` and `berth-ipam` into the plugin folder, then end
    Plugin,
    /// Put the configuration in place once the plugin says that it can serve, and keep it current until SIGTERM
    Conflist(KeepArgs),
    /// Exit with 0 when the configuration in place is ours, current and the one that the runtime reads
    Ready,
    /// Give the node back: previous configurations, uplinks, plugin files
    Uninstall(LeaveArgs),
}

/// Where everything is.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Paths {
    /// Plugin folder of the runtime
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/opt/cni/bin",
        env = "BERTH_INSTALL_BIN_DIR",
        global = true
    )]
    pub(crate) bin_dir: PathBuf,
    /// Configuration folder of the runtime
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/etc/cni/net.d",
        env = "BERTH_INSTALL_CONF_DIR",
        global = true
    )]
    pub(crate) conf_dir: PathBuf,
    /// Folder of what is remembered: state, lock, configurations that were moved aside
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/var/lib/berth/install",
        env = "BERTH_INSTALL_STATE_DIR",
        global = true
    )]
    pub(crate) state_dir: PathBuf,
    /// Folder with Berth's programs [default: the folder of berth-install itself]
    #[arg(
        long,
        value_name = "FOLDER",
        env = "BERTH_INSTALL_SOURCE_DIR",
        global = true
    )]
    source_dir: Option<PathBuf>,
    /// The configuration to put in place
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/berth/cni/10-berth.conflist",
        env = "BERTH_INSTALL_CONFLIST",
        global = true
    )]
    pub(crate) conflist: PathBuf,
    /// Its name in the configuration folder; the first name in lexical order wins in the runtime
    #[arg(long, value_name = "NAME", default_value = "10-berth.conflist", value_parser = conflist_name, env = "BERTH_INSTALL_NAME", global = true)]
    pub(crate) name: String,
    /// Move configurations of other plugins that would win aside, instead of refusing
    #[arg(long, env = "BERTH_INSTALL_REPLACE", global = true)]
    pub(crate) replace: bool,
}

/// Flags of `conflist`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct KeepArgs {
    /// End with 0 as soon as the configuration is in place
    #[arg(long, env = "BERTH_INSTALL_ONCE")]
    pub(crate) once: bool,
}

/// Flags of `uninstall`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct LeaveArgs {
    /// Go on although Pods use Berth: they lose their network with the next change of the uplink
    #[arg(long)]
    pub(crate) force: bool,
    /// Remove the address book and everything else below --data-dir too
    #[arg(long)]
    pub(crate) purge: bool,
    /// Folder of what Berth keeps over reboots
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/var/lib/berth",
        env = "BERTH_INSTALL_DATA_DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// Folder of sockets and locks
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/run/berth",
        env = "BERTH_INSTALL_RUN_DIR"
    )]
    pub(crate) run_dir: PathBuf,
}

impl Paths {
    /// The plugin on the node.
    pub(crate) fn plugin(&self) -> PathBuf {
        self.bin_dir.join(crate::plugin::PLUGIN)
    }

    /// Our configuration on the node.
    pub(crate) fn place(&self) -> PathBuf {
        self.conf_dir.join(&self.name)
    }

    /// The program of this name that came with this one.
    pub(crate) fn source(&self, program: &str) -> std::io::Result<PathBuf> {
        if let Some(folder) = &self.source_dir {
            return Ok(folder.join(program));
        }
        let own = std::env::current_exe()?;
        Ok(own.parent().unwrap_or_else(|| Path::new("/")).join(program))
    }
}

/// A file name that runtimes read as a configuration list.
fn conflist_name(text: &str) -> Result<String, String> {
    let plain = Path::new(text).file_name() == Some(OsStr::new(text));
    if !plain || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("not a plain file name".to_owned());
    }
    if text.len() <= crate::folder::LIST.len() || !text.ends_with(crate::folder::LIST) {
        return Err("does not end in .conflist: a runtime would not read it as a list".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_well_declared() {
        Args::command().debug_assert();
    }

    #[test]
    fn only_a_plain_conflist_name_is_taken() {
        assert_eq!(
            conflist_name("10-berth.conflist").as_deref(),
            Ok("10-berth.conflist")
        );
        for bad in [
            "",
            ".conflist",
            "a/b.conflist",
            "../b.conflist",
            "10-berth.conf",
            "10 b.conflist",
            "x.conflist\n",
        ] {
            assert!(conflist_name(bad).is_err(), "{bad:?}");
        }
    }
}
