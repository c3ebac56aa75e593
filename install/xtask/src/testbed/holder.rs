//! The process that a cluster belongs to: makes it, then takes one order after the other from a socket in the world's folder.
//!
//! Progress goes to standard output, which is a pipe of `up`: when `up` is gone before the cluster is complete, so is the cluster.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tests_testbed::{Cluster, Kubernetes, Net, World};

use super::{Shape, action::Action};

/// What the holder is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// How things are.
    Status,
    /// Something shall happen.
    Act(Action),
    /// The end.
    Down,
}

/// What the holder says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// A step of the making.
    Progress(String),
    /// It was done; what there is to say.
    Done(String),
    /// It was not done.
    Failed(String),
}

/// Where the holder of a cluster listens.
pub(crate) fn socket(name: &str) -> PathBuf {
    World::dir_of(name).join("holder.sock")
}

/// Makes the cluster and holds it until it is told to end.
pub(crate) fn hold(name: &str, shape: &Shape) -> Result<()> {
    // Whoever wanted the cluster may have gone meanwhile: then it is not wanted.
    let tell = |text: &str| emit(&Answer::Progress(text.to_owned()));
    let mut cluster = match make(name, shape, &tell) {
        Ok(cluster) => cluster,
        Err(error) => {
            emit(&Answer::Failed(format!("{error:#}")))?;
            return Err(error);
        }
    };
    let path = socket(name);
    let listener =
        UnixListener::bind(&path).with_context(|| format!("listen at {}", path.display()))?;
    emit(&Answer::Done(String::new()))?;
    for stream in listener.incoming() {
        let stream = stream.context("accept a connection")?;
        // Who asks may go away before the answer: its own matter.
        if let Ok(Some(asker)) = serve(&mut cluster, stream) {
            // Nobody new is let in while everything is taken down.
            let _ = fs::remove_file(&path);
            drop(cluster);
            let _ = reply(&asker, &Answer::Done("removed".to_owned()));
            return Ok(());
        }
    }
    Ok(())
}

fn make(name: &str, shape: &Shape, tell: &dyn Fn(&str) -> Result<()>) -> Result<Cluster> {
    let mut builder = Cluster::builder(name)
        .racks(shape.racks)
        .runtime(shape.runtime.real()?)
        .kubernetes(Kubernetes::from_environment()?)
        .host("vm", "a", Net::External)
        .host("exchange", "a", Net::Internal);
    for (node, rack) in shape.placed() {
        builder = builder.node(&node, &rack);
    }
    if shape.no_berth {
        builder = builder.without_berth();
    }
    builder.build_telling(tell)
}

/// Answers one order; the asker when it was the last one, who waits until everything is gone.
fn serve(cluster: &mut Cluster, stream: UnixStream) -> Result<Option<UnixStream>> {
    let mut line = String::new();
    BufReader::new(&stream)
        .read_line(&mut line)
        .context("read an order")?;
    let done = match serde_json::from_str(&line).context("not an order")? {
        Order::Down => return Ok(Some(stream)),
        Order::Status => status(cluster),
        Order::Act(action) => action.perform(cluster),
    };
    let answer = match done {
        Ok(text) => Answer::Done(text),
        Err(error) => Answer::Failed(format!("{error:#}")),
    };
    reply(&stream, &answer)?;
    Ok(None)
}

fn status(cluster: &mut Cluster) -> Result<String> {
    let states = cluster.node_states().unwrap_or_default();
    let names: Vec<String> = cluster.node_names().map(str::to_owned).collect();
    let mut text = String::new();
    for name in names {
        let (rack, address) = cluster.place(&name)?;
        let running = cluster.running(&name);
        let state = match (running.is_empty(), states.get(&name)) {
            (true, _) => "off",
            (_, None) => "unknown to the API server",
            (_, Some(state)) => state.not_ready.as_deref().unwrap_or("Ready"),
        };
        let _ = writeln!(
            text,
            "{name}  rack {rack}  {address}  {}  {state}",
            running.join(",")
        );
    }
    let control = cluster.control_plane().running();
    let _ = writeln!(text, "control plane  {}", control.join(","));
    let memory = cluster.memory()?;
    let _ = write!(
        text,
        "{} processes, {} MiB resident ({} MiB with what they share counted once)",
        memory.processes, memory.resident_mib, memory.proportional_mib
    );
    Ok(text)
}

fn emit(answer: &Answer) -> Result<()> {
    let line = serde_json::to_string(answer).context("write an answer")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("the command that wanted this cluster has gone")
}

fn reply(mut stream: &UnixStream, answer: &Answer) -> Result<()> {
    let line = serde_json::to_string(answer).context("write an answer")?;
    writeln!(stream, "{line}").context("answer")
}
