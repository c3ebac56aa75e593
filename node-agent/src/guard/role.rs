//! The role `guard`: the helper that limits Pods, and does nothing else. No capability, no network, no API.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ipamd_daemon::signal::spawn_signals;
use ipamd_daemon::{Tasks, uds};
use node_agent_guard::{Limits, Tree};
use tracing::info;

use super::GuardArgs;

/// Nothing that must be finished: what is half done is done again.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// Beside the socket, so that it goes with the boot, as cgroups do.
const KEPT: &str = "kept";

/// Answers until it is told to end.
pub(crate) async fn serve(args: &GuardArgs) -> Result<()> {
    // As `ps` shows it: told from the agent, which is the same program.
    nix::sys::prctl::set_name(c"berth-guard").context("naming the process")?;
    let socket = args.socket.as_deref();
    let socket = socket.context("the guard needs a socket to listen on: --guard-socket")?;
    let (tasks, mut supervisor) = Tasks::new();
    let signals = spawn_signals(&tasks)?;
    let tree = Tree::open(&args.cgroups, &args.cgroup_root)?;
    let limits = Limits::open(tree, socket.with_file_name(KEPT))?;
    let incoming = uds::bind(socket)?.into_incoming();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        socket = %socket.display(),
        cgroups = %args.cgroups.display(),
        root = args.cgroup_root,
        "guarding"
    );
    let token = tasks.token();
    tasks.spawn("guard", async move {
        tokio::select! {
            () = token.cancelled() => Ok(()),
            end = node_agent_guard::serve(limits, incoming) => end,
        }
    });
    let outcome = tokio::select! {
        () = signals.shutdown.cancelled() => Ok(()),
        end = supervisor.unexpected_end() => Err(end.into()),
    };
    let _late = tasks.stop(STOP_DEADLINE).await;
    outcome
}
