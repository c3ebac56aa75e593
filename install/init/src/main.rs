//! `berth-install`: puts the plugin and its configuration on a node, keeps the configuration current, and takes
//! everything away again.
//!
//! Whatever a runtime reads is whole at every moment: files are written beside their place, synced and renamed. Never
//! talks to Kubernetes, and never touches an interface itself: it runs `berth`, which knows how.

mod args;
mod arrange;
mod check;
mod conflist;
mod folder;
mod keep;
mod leave;
mod lock;
mod log;
mod outside;
mod place;
mod plugin;
mod ports;
mod ready;
mod run;
mod state;
mod stop;

use std::process::ExitCode;

use args::{Args, Command};
use clap::Parser;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = log::init(&args.log) {
        log::complain(&error);
        return ExitCode::FAILURE;
    }
    let done = match &args.command {
        Command::Check(own) => check::run(&args.paths, own),
        Command::Plugin => plugin::run(&args.paths).map(|()| true),
        Command::Conflist(own) => keep::run(&args.paths, own),
        Command::Ready => ready::run(&args.paths),
        Command::Uninstall(own) => leave::run(&args.paths, own).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            log::failure(&error);
            ExitCode::FAILURE
        }
    }
}
