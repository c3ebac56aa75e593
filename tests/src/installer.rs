//! Runs `berth-install` as an operator or a `DaemonSet` would: on a node, or on folders of the test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests_testbed::{Node, Output, Process};

/// `berth-install` on a node, with the node's own folders.
#[derive(Debug)]
pub struct Installer<'a> {
    node: &'a Node,
}

/// Where the configuration to be installed is, as its `ConfigMap` is mounted.
pub const SOURCE: &str = "/etc/berth/cni/10-berth.conflist";

/// Where it goes.
pub const PLACE: &str = "/etc/cni/net.d/10-berth.conflist";

/// The program.
#[track_caller]
pub fn program() -> PathBuf {
    tests_testbed::binary("berth-install").unwrap()
}

impl<'a> Installer<'a> {
    /// On this node.
    pub fn new(node: &'a Node) -> Self {
        Self { node }
    }

    /// A run that ends by itself.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        let program = program();
        let words: Vec<&str> = program
            .to_str()
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        self.node.exec(&words).unwrap()
    }

    /// A run that stays.
    #[track_caller]
    pub fn spawn(&self, args: &[&str]) -> Process {
        let mut command = self.node.command(program());
        command.args(args);
        self.node.spawn_command("berth-install", command).unwrap()
    }

    /// Writes the configuration to be installed, as an editor would; not as a whole.
    #[track_caller]
    pub fn write_source(&self, text: &str) {
        let path = self.node.disk(SOURCE);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// What is in place; empty where nothing is.
    pub fn placed(&self) -> String {
        std::fs::read_to_string(self.node.disk(PLACE)).unwrap_or_default()
    }
}

/// The folders of an installation without a node.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The folder that all are in.
    pub root: PathBuf,
}

impl Folders {
    /// Makes them.
    #[track_caller]
    pub fn new(root: &Path) -> Self {
        for folder in ["bin", "conf", "source"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        Self {
            root: root.to_owned(),
        }
    }

    /// A run with these folders.
    #[track_caller]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args).env_clear();
        for (flag, folder) in [
            ("BERTH_INSTALL_BIN_DIR", "bin"),
            ("BERTH_INSTALL_CONF_DIR", "conf"),
            ("BERTH_INSTALL_STATE_DIR", "data/install"),
            ("BERTH_INSTALL_SOURCE_DIR", "source"),
            ("BERTH_INSTALL_CONFLIST", "source/10-berth.conflist"),
            ("BERTH_INSTALL_DATA_DIR", "data"),
            ("BERTH_INSTALL_RUN_DIR", "run"),
        ] {
            command.env(flag, self.root.join(folder));
        }
        // A stand-in for the plugin is a script.
        command.env("PATH", "/usr/bin:/bin");
        command
    }
}
