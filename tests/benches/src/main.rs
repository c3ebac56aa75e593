//! `bench-cni`: how long an ADD and a DEL take, beside Debian's `bridge` with `host-local` and beside the floor, the
//! kernel's work alone. Alternating rounds, medians over rounds, one table; the aims are printed, never asserted.
//!
//! The outer process makes a world and runs itself inside the node, so that no `nsenter` is in any figure.

mod aim;
mod figures;
mod inside;
mod round;
mod samples;
mod subject;
mod table;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use tests_testbed::{World, binary};

/// Rounds of each subject and concurrency; odd, so that a median is a measured value.
const DEFAULT_ROUNDS: usize = 3;

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("inside") => {
            let rounds = args.get(1).and_then(|text| text.parse().ok());
            inside::run(&args[2..], rounds.unwrap_or(DEFAULT_ROUNDS))?;
        }
        Some("--rounds") => {
            let rounds = args.get(1).and_then(|text| text.parse().ok());
            outside(rounds.context("usage: bench-cni [--rounds N]")?)?;
        }
        None => outside(DEFAULT_ROUNDS)?,
        Some(other) => anyhow::bail!("unknown argument {other}; usage: bench-cni [--rounds N]"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the world and runs the measurement inside its node.
fn outside(rounds: usize) -> Result<()> {
    let world = World::builder("bench-cni")
        .racks(1)
        .node("n1", "a")
        .build()?;
    let node = world.node("n1");
    let own = std::env::current_exe().context("find this program")?;
    let floor = own.with_file_name("bench-floor");
    ensure!(floor.is_file(), "{} is not built", floor.display());
    for (subnet, net) in [
        (subject::OURS_GATEWAY, "external"),
        (subject::SECOND_GATEWAY, "external"),
    ] {
        let address = format!("{subnet}/14");
        world
            .rack("a")
            .tor()
            .run(&["ip", "addr", "add", &address, "dev", net])?;
    }
    let mut command = node.command(&own);
    command
        .args(["inside", &rounds.to_string()])
        .arg("/opt/cni/bin/berth")
        .arg(binary("berth-ipamd")?)
        .arg(floor);
    let status = command.status().context("run the measurement inside")?;
    ensure!(status.success(), "the measurement ended with {status}");
    Ok(())
}

/// The report goes to standard output, progress to standard error.
fn say(out: &mut impl Write, text: &str) -> Result<()> {
    writeln!(out, "{text}").context("print")
}
