//! `cargo xtask testbed …`: a real cluster in namespaces of this machine, in one command, for as long as wanted.
//!
//! The cluster belongs to a process of its own (the *holder*) that outlives the command and takes orders on a socket in the
//! world's folder. When the holder dies, the cluster dies with it; what stays on disk is removed by the next `up` or `down`.

mod action;
mod holder;
pub(crate) mod programs;
mod reach;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use self::action::Action;
use crate::{
    build::{Profile, Workspace, product},
    image, packages,
    step::{say, show},
};

/// Which cluster, and what about it.
#[derive(Debug, Args)]
pub(crate) struct TestbedArgs {
    /// Name of the cluster; several of different names live side by side
    #[arg(long, global = true, default_value = "berth")]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the cluster, or say that it is there; what a dead one of this name left is removed first
    Up(Shape),
    /// Remove the cluster and everything it made
    Down,
    /// Nodes, daemons and memory
    Status,
    /// Talk to its API server: `kubectl -- get pods`
    Kubectl {
        /// Passed on to kubectl
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Step into a machine: a node, or `control-plane`
    Shell {
        /// The machine
        node: String,
        /// What to run there instead of a shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// List the logs, or show one
    Logs {
        /// The machine: a node, or `control-plane`
        machine: Option<String>,
        /// The daemon
        daemon: Option<String>,
    },
    /// Holds the cluster; `up` starts it
    #[command(hide = true)]
    Hold(Shape),
    #[command(flatten)]
    Action(Action),
}

/// What a cluster shall have.
#[derive(Clone, Debug, Args)]
struct Shape {
    /// How many nodes, spread over the racks
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// How many racks
    #[arg(long, default_value_t = 2)]
    racks: u8,
    /// Container runtime of the nodes
    #[arg(long, value_enum, default_value_t)]
    runtime: RuntimeName,
    /// Leave the nodes without plugin and network configuration: they are not Ready then
    #[arg(long)]
    no_berth: bool,
}

/// A container runtime as it is named on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum RuntimeName {
    /// containerd 2.x, built from its module
    #[default]
    #[value(name = "containerd-2")]
    Containerd2,
    /// Debian's containerd
    #[value(name = "containerd-1.6")]
    Containerd16,
}

/// Does what is asked.
pub(crate) fn run(args: &TestbedArgs) -> Result<()> {
    let name = &args.name;
    match &args.command {
        Command::Up(shape) => up(name, shape),
        Command::Down => reach::remove(name),
        Command::Status => reach::ask(name, &holder::Order::Status).map(|said| show(&said)),
        Command::Kubectl { args } => reach::kubectl(name, args),
        Command::Shell { node, command } => reach::shell(name, node, command),
        Command::Logs { machine, daemon } => {
            reach::logs(name, machine.as_deref(), daemon.as_deref())
        }
        Command::Hold(shape) => holder::hold(name, shape),
        Command::Action(action) => {
            let words: Vec<String> = std::env::args()
                .skip_while(|word| word != "testbed")
                .collect();
            say(&words.join(" "));
            let mut action = action.clone();
            action.provide(|| programs::containerd(&Workspace::find()?))?;
            let said = reach::ask(name, &holder::Order::Act(action))?;
            say(&said);
            Ok(())
        }
    }
}

fn up(name: &str, shape: &Shape) -> Result<()> {
    ensure!(
        (1..=26).contains(&shape.racks),
        "a cluster has 1 to 26 racks, not {}",
        shape.racks
    );
    let most = shape.racks * tests_testbed::NODES_PER_RACK;
    ensure!(
        (1..=most).contains(&shape.nodes),
        "a cluster of {} racks has 1 to {most} nodes, not {}: more would have no addresses for their Pods",
        shape.racks,
        shape.nodes
    );
    if !nix::unistd::geteuid().is_root() {
        bail!("a testbed needs root: it makes namespaces, cgroups and mounts");
    }
    let _turn = reach::settle(name)?;
    if reach::answers(name) {
        say(&format!("{name} is up already"));
        return reach::ask(name, &holder::Order::Status).map(|said| show(&said));
    }
    packages::ensure(&[
        packages::BUILD,
        packages::WORLD,
        packages::CONTAINERD,
        packages::CLUSTER,
    ])?;
    let workspace = Workspace::find()?;
    let programs = programs::ensure(&workspace, shape.runtime)?;
    let berth = if shape.no_berth {
        None
    } else {
        Some(Berth::build(&workspace)?)
    };
    reach::start(name, shape, &programs, berth.as_ref())?;
    show(&reach::ask(name, &holder::Order::Status)?);
    say(&format!(
        "{name} is up: `cargo xtask testbed{} kubectl -- get nodes`; `down` removes it",
        if name == "berth" {
            String::new()
        } else {
            format!(" --name {name}")
        }
    ));
    Ok(())
}

/// Berth as a cluster gets it.
#[derive(Debug)]
struct Berth {
    bin_dir: PathBuf,
    image: PathBuf,
}

impl Berth {
    fn build(workspace: &Workspace) -> Result<Self> {
        let bin_dir = product(workspace, Profile::Dev)?;
        let image = image::dev(workspace, &bin_dir)?;
        Ok(Self { bin_dir, image })
    }
}

impl Shape {
    /// The words that ask for this shape.
    fn words(&self) -> Vec<String> {
        let runtime = self.runtime.to_possible_value();
        let mut words = vec![
            format!("--nodes={}", self.nodes),
            format!("--racks={}", self.racks),
            format!(
                "--runtime={}",
                runtime.as_ref().map_or("", |value| value.get_name())
            ),
        ];
        if self.no_berth {
            words.push("--no-berth".to_owned());
        }
        words
    }

    /// Name and rack of each node: three nodes in two racks are two in the first.
    fn placed(&self) -> Vec<(String, String)> {
        (0..self.nodes)
            .map(|index| (format!("n{}", index + 1), rack_name(index % self.racks)))
            .collect()
    }
}

fn rack_name(index: u8) -> String {
    char::from(b'a' + index).to_string()
}

/// Where the holder's words go that are not progress.
fn holder_log(name: &str) -> Result<PathBuf> {
    let workspace = Workspace::find()?;
    let folder = workspace.target.join("testbed");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder.join(format!("{name}.log")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_spread_over_the_racks() {
        let shape = Shape {
            nodes: 3,
            racks: 2,
            runtime: RuntimeName::Containerd16,
            no_berth: true,
        };
        let placed = shape.placed();
        let racks: Vec<&str> = placed.iter().map(|(_, rack)| rack.as_str()).collect();
        assert_eq!(racks, ["a", "b", "a"]);
        assert_eq!(
            shape.words(),
            [
                "--nodes=3",
                "--racks=2",
                "--runtime=containerd-1.6",
                "--no-berth"
            ]
        );
    }
}
