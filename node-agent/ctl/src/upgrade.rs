//! `kubectl berth upgrade`: other images for containers of a Pod, in place. First the images are had on the node, then the Pod is made
//! unready, then its images are changed; kubelet does the rest, and what comes of it is judged.
//!
//! Always holds: on every way out (an end, an error, Ctrl-C) the hold on the Pod is given back and the images are no longer asked for.
//! What is decided is in `plan`; what is read and written in `driver`.

mod driver;
mod plan;
mod pull;
mod verify;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::cluster::Cluster;
use crate::output::Output;
use driver::{Driver, now};
use plan::{Upgrade, Wanted};
use pull::How;

/// As whom a Pod is held unready: one name, so that a later upgrade can give back what one that was cut off has left.
const HOLDER: &str = "Upgrade/kubectl";

/// What is upgraded, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpgradeArgs {
    /// The Pod, by its name or as namespace/name
    #[arg(value_name = "POD")]
    pub(crate) pod: String,

    /// Which container gets which image
    #[arg(value_name = "CONTAINER=IMAGE", required = true, value_parser = image)]
    pub(crate) images: Vec<(String, String)>,

    /// Namespace of the Pod; default: the kubeconfig's
    #[arg(long, short, value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    /// Seconds for which the Pod is not ready before its containers stop, where it has the readiness gate berth.dev/ServiceReady
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(crate) unready: u32,

    /// Do not make it unready before
    #[arg(long, conflicts_with = "unready")]
    pub(crate) stay_ready: bool,

    /// Seconds for which the containers must be ready to count
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(crate) min_ready: u32,

    /// Seconds that the whole may take, pulling included
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) deadline: u32,

    /// Secret of the registry in the namespace berth-pull-secrets; repeated: several
    #[arg(long = "pull-secret", value_name = "NAME")]
    pub(crate) pull_secrets: Vec<String>,

    /// How often pulling is tried
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=65))]
    pub(crate) pull_attempts: u32,

    /// Give back what an earlier upgrade has left that was cut off
    #[arg(long)]
    pub(crate) take_over: bool,
}

fn image(words: &str) -> Result<(String, String), String> {
    match words.split_once('=') {
        Some((container, image)) if !container.is_empty() && !image.is_empty() => {
            Ok((container.to_owned(), image.to_owned()))
        }
        _ => Err("is not CONTAINER=IMAGE".to_owned()),
    }
}

/// Whether the Pod runs the images.
pub(crate) async fn run(args: &UpgradeArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let (namespace, name) = cluster.pod_named(&args.pod, args.namespace.as_deref());
    let mut images = BTreeMap::new();
    for (container, image) in &args.images {
        if images.insert(container.clone(), image.clone()).is_some() {
            bail!("container {container} is named twice");
        }
    }
    let now = now();
    let wanted = Wanted {
        images: images.clone(),
        unready: (!args.stay_ready).then(|| Duration::from_secs(args.unready.into())),
        min_ready: Duration::from_secs(args.min_ready.into()),
        holder: HOLDER.to_owned(),
        take_over: args.take_over,
        deadline: now.after(Duration::from_secs(args.deadline.into())),
    };
    let how = How {
        requested_by: format!("kubectl berth upgrade {namespace}/{name} at {now}"),
        timeout_seconds: args.deadline,
        attempts: args.pull_attempts,
        secrets: args.pull_secrets.clone(),
    };
    let upgrade = Upgrade::new(wanted);
    let mut driver = Driver::new(cluster, output, (namespace, name), upgrade, images, how)?;
    let ended = driver.drive().await;
    let cleaned = driver.clean_up().await;
    let end = ended.and_then(|end| cleaned.map(|()| end))?;
    driver.tell_end(&end)
}
