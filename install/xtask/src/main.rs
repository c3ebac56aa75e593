//! `cargo xtask …`: the one entry for building, trying, testing and measuring Berth.
//!
//! Says each step and its time, ends what takes too long, and installs or names what is missing.

mod args;
mod bench;
mod build;
mod ci;
mod demo;
mod deny;
mod generate;
mod image;
mod packages;
mod scratch;
mod soak;
mod step;
mod testbed;
mod tidy;
mod tier;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    args::{Args, Task},
    step::say,
};

fn main() -> ExitCode {
    let done = match Args::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => tier::run(&args),
        Task::Testbed(args) => testbed::run(&args),
        Task::Image(args) => image::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Ci => ci::run_all(),
        Task::Gen(args) => generate::run(&args),
        Task::Tidy => tidy::run(),
        Task::Deny => deny::run(),
        Task::Soak(args) => soak::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
