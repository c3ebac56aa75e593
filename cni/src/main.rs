//! `berth`: wires the interfaces of one Pod, one short run per call of a container runtime; as `berth-ipam` only their
//! addresses; by hand (`berth uplink …`) the bridges over a node's uplinks.
//!
//! Owns nothing between calls: what it must know again, the kernel's link aliases and ipamd's book tell it. Reads the
//! call, runs it, prints one result or one error, and exits once. Standard output belongs to the protocol.

mod add_plan;
mod check_plan;
mod error;
mod ipam;
mod log;
mod release;
mod request;
mod spool;
mod status_plan;
mod uplink;
mod verb;

use std::io::{self, Write};
use std::process::ExitCode;

use request::{Incoming, Role};

const ABOUT: &str = "berth: CNI plugin for Pods on the underlay network; call it through a container runtime, \
                     or see `berth --help` for what an operator can do";

fn main() -> ExitCode {
    let printed = match request::incoming() {
        Incoming::About => {
            let versions = cni_spec::CniVersion::ALL.map(cni_spec::CniVersion::as_str);
            let about = format!(
                "{ABOUT}\nCNI protocol versions supported: {}\n",
                versions.join(", ")
            );
            io::stderr().write_all(about.as_bytes())
        }
        Incoming::Operator => return uplink::run(),
        Incoming::Call { role } => {
            return reply(role);
        }
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Runs the call and prints its answer. What the answer leaves open is closed after it is out.
fn reply(role: Role) -> ExitCode {
    let (answer, code) = match verb::answer(role) {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(failure) => (error::to_json(&failure).into(), ExitCode::FAILURE),
    };
    if let Err(problem) = print(&answer.output) {
        let problem = problem.to_string();
        log::warn("the answer could not be printed", &[("error", &problem)]);
        return ExitCode::FAILURE;
    }
    if let Some(announcer) = answer.lingering.and_then(|wired| wired.announcer) {
        cni_datapath::linger::close_elsewhere(announcer);
    }
    code
}

/// One write, so that a reader never sees half an answer; nothing at all for an empty one.
fn print(output: &str) -> io::Result<()> {
    if output.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(format!("{output}\n").as_bytes())?;
    stdout.flush()
}
