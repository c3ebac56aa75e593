//! `kubectl berth restart`: containers of a Pod are restarted in place by its node's agent; this asks for it and follows it.
//!
//! What is asked for goes on without this program. Its end is the request's: Succeeded or Failed, never "it is over".

mod plan;
mod progress;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use kube::ResourceExt as _;
use proto_crd::container_restart::{ContainerRestart, ContainerRestartStatus, Phase};
use serde::Serialize;

use crate::cluster::Cluster;
use crate::output::{self, Format, Output, Tone};
use crate::running::RunningPod;

/// How often the request is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long after its deadline the request may be without a verdict: the agent gives it up by itself.
const AFTER_DEADLINE: Duration = Duration::from_secs(30);

/// How long the node's agent may be silent before that is remarked upon.
const SILENCE: Duration = Duration::from_secs(15);

/// What is restarted, and how.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct RestartArgs {
    /// The Pod, by its name or as namespace/name
    #[arg(value_name = "POD")]
    pub(crate) pod: String,

    /// Namespace of the Pod; default: the kubeconfig's
    #[arg(long, short, value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    /// Container to restart, in this order; default: all
    #[arg(long = "container", short, value_name = "NAME")]
    pub(crate) containers: Vec<String>,

    /// One after the other, the next when the one before is ready
    #[arg(long)]
    pub(crate) ordered: bool,

    /// Go on with the other containers when one fails
    #[arg(long)]
    pub(crate) ignore_failures: bool,

    /// Stop containers also that are still starting
    #[arg(long)]
    pub(crate) force: bool,

    /// Seconds for preStop and TERM, instead of the Pod's
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace: Option<u32>,

    /// Seconds for which the Pod is not ready before anything is stopped; needs the readiness gate berth.dev/ServiceReady
    #[arg(long, value_name = "SECONDS")]
    pub(crate) unready: Option<u32>,

    /// Seconds for which a container must be ready to count; default: 5
    #[arg(long, value_name = "SECONDS")]
    pub(crate) min_ready: Option<u32>,

    /// Seconds that the whole may take; nothing is stopped after it. Default: 600
    #[arg(long, value_name = "SECONDS")]
    pub(crate) deadline: Option<u32>,

    /// Seconds for which kubelet's back-off may keep a container down; default: 20
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_back_off: Option<u32>,

    /// Fail where it would be longer, instead of waiting until it is not
    #[arg(long)]
    pub(crate) refuse_back_off: bool,

    /// Seconds for which the request is kept after its end
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub(crate) keep: u32,

    /// Only ask for it; default: wait for the verdict
    #[arg(long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,

    /// Wait for the verdict, which is the default
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a> {
    request: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a ContainerRestartStatus>,
}

/// Whether the containers run again; of what is not waited for, whether it is asked for.
pub(crate) async fn run(args: &RestartArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let (namespace, name) = cluster.pod_named(&args.pod, args.namespace.as_deref());
    let Some(pod) = cluster.running_pod(&namespace, &name).await? else {
        bail!("there is no Pod {namespace}/{name}");
    };
    let pod = RunningPod::of(&pod);
    let spec = plan::request(args, &pod)?;
    let node = spec.node_name.clone();
    let deadline = spec.deadline();
    let made = cluster.create_restart(&namespace, &name, spec).await?;
    let request = made.name_any();
    let people = matches!(output.format, Format::Table | Format::Wide);
    if people {
        Output::text(&format!(
            "ContainerRestart {request} asks node {node} to restart {} of Pod {}\n",
            progress::names(&made.spec),
            pod.key()
        ))?;
    }
    if args.no_wait {
        if !people {
            print(output, &namespace, &request, None)?;
        }
        return Ok(true);
    }
    let status = follow(cluster, output, &made, deadline).await?;
    if people {
        let (tone, text) = progress::verdict(&status);
        Output::text(&format!("{}\n", output.paint.paint(tone, &text)))?;
    } else {
        print(output, &namespace, &request, Some(&status))?;
    }
    Ok(status.phase == Phase::Succeeded)
}

fn print(
    output: Output,
    namespace: &str,
    request: &str,
    status: Option<&ContainerRestartStatus>,
) -> Result<()> {
    output.document(&Done {
        request,
        namespace,
        status,
    })
}

/// Tells every step until there is a verdict.
async fn follow(
    cluster: &Cluster,
    output: Output,
    made: &ContainerRestart,
    deadline: Duration,
) -> Result<ContainerRestartStatus> {
    let (namespace, name) = (made.namespace().unwrap_or_default(), made.name_any());
    let begun = Instant::now();
    let mut told = progress::Told::default();
    let mut remarked = false;
    loop {
        let late = begun.elapsed() > deadline + AFTER_DEADLINE;
        let seen = match cluster.restart(&namespace, &name).await {
            Ok(seen) => seen,
            // The request goes on whether it can be read or not.
            Err(error) if !late => {
                tokio::time::sleep(LOOK).await;
                told.lose(&error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(seen) = seen else {
            bail!("ContainerRestart {name} was deleted before there was a verdict");
        };
        let status = seen.status.unwrap_or_default();
        for line in told.lines(&status) {
            tell(output, begun, &line)?;
        }
        if status.phase.is_final() {
            return Ok(status);
        }
        let node = &made.spec.node_name;
        if late {
            bail!(
                "node {node} has given no verdict, although its deadline is over: its agent is away. Nothing is stopped any more; \
                 kubectl get crst -n {namespace} {name} says so once the agent is back"
            );
        }
        if !remarked && status == ContainerRestartStatus::default() && begun.elapsed() > SILENCE {
            remarked = true;
            output::print_remark(&format!(
                "the agent of node {node} has not looked at it yet: kubectl berth health {node}"
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A line of what happens, for people beside the answer where that is a document.
fn tell(output: Output, begun: Instant, line: &str) -> Result<()> {
    let line = format!("{:>5.1}s  {line}", begun.elapsed().as_secs_f32());
    if matches!(output.format, Format::Table | Format::Wide) {
        return Output::text(&format!("{}\n", output.paint.paint(Tone::Plain, &line)));
    }
    output::print_remark(&line);
    Ok(())
}
