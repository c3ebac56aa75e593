//! `kubectl berth rollout`: releases of `InPlaceSets`: followed, paused, resumed, taken back, listed; and their restarts.
//!
//! It writes what people want (`spec.paused`, `spec.template`), never how far it is: that is the controllers'. What is written is written to
//! the set that was read, and a whole template to the version that was read.

mod history;
mod progress;
mod standing;
mod status;
mod undo;
mod want;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use k8s_openapi::jiff::Timestamp;
use proto_crd::in_place_set::InPlaceSet;

use crate::cluster::Cluster;
use crate::cluster::marks::Written;
use crate::output::{Output, print_remark};
use status::StatusArgs;
use undo::UndoArgs;

/// What is to be done with a release.
#[derive(Clone, Debug, Args)]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum RolloutCommand {
    /// Say how far the release is, Pod by Pod, until it ends. Exit code: 0 succeeded, 1 held, not in time, or not yet
    Status(StatusArgs),
    /// Begin with no further Pod; those under way are finished
    Pause(SetArgs),
    /// Go on
    Resume(SetArgs),
    /// Put the template of an earlier revision back
    Undo(UndoArgs),
    /// List the revisions that are kept
    History(HistoryArgs),
    /// Restart all containers in place, Pod by Pod, as a release
    Restart(SetArgs),
}

/// Which set.
#[derive(Clone, Debug, Args)]
struct SetArgs {
    /// The set: NAME, inplaceset/NAME or namespace/NAME
    #[arg(value_name = "INPLACESET")]
    set: String,

    /// Its namespace; default: the kubeconfig's
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,
}

/// Of which set, and which revision.
#[derive(Clone, Debug, Args)]
struct HistoryArgs {
    #[command(flatten)]
    set: SetArgs,

    /// This one only, with its whole template
    #[arg(long, value_name = "NUMBER")]
    revision: Option<i64>,
}

/// Before a set's name, as kubectl has it: `inplaceset/shop`.
const KINDS: [&str; 5] = [
    "ips",
    "inplaceset",
    "inplacesets",
    "inplaceset.berth.dev",
    "inplacesets.berth.dev",
];

/// How often a write is tried while others write the same object.
const TRIES: u32 = 10;

/// Whether it is as it should be, or was done.
pub(crate) async fn run(args: &RolloutArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    match &args.command {
        RolloutCommand::Status(args) => status::run(args, cluster, output).await,
        RolloutCommand::Pause(args) => pause(args, cluster, true).await,
        RolloutCommand::Resume(args) => pause(args, cluster, false).await,
        RolloutCommand::Undo(args) => undo(args, cluster).await,
        RolloutCommand::History(args) => {
            let set = find(&args.set, cluster).await?;
            let revisions = cluster.revisions(&set).await?;
            history::print(&set, &revisions, args.revision, Timestamp::now(), output)
        }
        RolloutCommand::Restart(args) => restart(args, cluster).await,
    }
}

/// Namespace and name of a set as it was typed.
fn named(args: &SetArgs, default_namespace: &str) -> (String, String) {
    let namespace = args.namespace.as_deref().unwrap_or(default_namespace);
    let (namespace, name) = match args.set.split_once('/') {
        Some((kind, name)) if KINDS.contains(&kind.to_ascii_lowercase().as_str()) => {
            (namespace, name)
        }
        Some(named) => named,
        None => (namespace, args.set.as_str()),
    };
    (namespace.to_owned(), name.to_owned())
}

async fn find(args: &SetArgs, cluster: &Cluster) -> Result<InPlaceSet> {
    let (namespace, name) = named(args, cluster.default_namespace());
    let Some(set) = cluster.in_place_set(&namespace, &name).await? else {
        bail!(
            "there is no InPlaceSet {namespace}/{name}: kubectl get inplacesets -A lists those that there are"
        );
    };
    Ok(set)
}

async fn pause(args: &SetArgs, cluster: &Cluster, paused: bool) -> Result<bool> {
    let set = find(args, cluster).await?;
    let key = key(&set);
    if set.spec.paused == paused {
        let is = if paused { "paused" } else { "not paused" };
        Output::text(&format!("InPlaceSet {key} is {is} already\n"))?;
        return Ok(true);
    }
    write(cluster, &set, &want::paused(&set, paused)).await?;
    Output::text(&if paused {
        format!(
            "InPlaceSet {key} is paused: no further Pod is begun with, those under way are finished\n"
        )
    } else {
        format!("InPlaceSet {key} goes on\n")
    })?;
    Ok(true)
}

async fn restart(args: &SetArgs, cluster: &Cluster) -> Result<bool> {
    let set = find(args, cluster).await?;
    want::ensure_template_counts(&set, "a restart")?;
    if set.spec.paused {
        bail!(
            "InPlaceSet {0} is paused, so nothing would be restarted: kubectl berth rollout resume {0}, then again",
            key(&set)
        );
    }
    write(cluster, &set, &want::restarted(&set, Timestamp::now())).await?;
    remark_part(&set);
    Output::text(&format!(
        "The containers of InPlaceSet {0} are restarted in place: kubectl berth rollout status {0}\n",
        key(&set)
    ))?;
    Ok(true)
}

async fn undo(args: &UndoArgs, cluster: &Cluster) -> Result<bool> {
    let mut set = find(&args.set, cluster).await?;
    want::ensure_template_counts(&set, "the template of an earlier revision")?;
    let revisions = cluster.revisions(&set).await?;
    let back = undo::plan(&set, &revisions, args.to_revision)?;
    let (key, to) = (key(&set), back.words());
    let Some(template) = back.template() else {
        Output::text(&format!(
            "The template of InPlaceSet {key} is that of revision {to} already\n"
        ))?;
        return Ok(true);
    };
    if args.dry_run {
        Output::text(&format!(
            "InPlaceSet {key} would get the template of revision {to}\n"
        ))?;
        return Ok(true);
    }
    let mut left = TRIES;
    loop {
        let patch = want::template(&set, template);
        let written = cluster.replace_in_place_set(&set, &patch).await?;
        left -= 1;
        let again = match written {
            Written::Outrun if left > 0 => find(&args.set, cluster).await?,
            written => break outcome(&set, &written)?,
        };
        // While a release is under way its status is written every moment; only what people want counts.
        if !is_wanted_alike(&set, &again) {
            outcome(&set, &Written::Outrun)?;
        }
        set = again;
    }
    if set.spec.paused {
        print_remark(&format!(
            "it is paused: Pods that are at another revision stay there until kubectl berth rollout resume {key}"
        ));
    }
    remark_part(&set);
    Output::text(&format!(
        "InPlaceSet {key} gets the template of revision {to}: kubectl berth rollout status {key}\n"
    ))?;
    Ok(true)
}

/// Whether nobody wants anything else of a set than before.
fn is_wanted_alike(before: &InPlaceSet, after: &InPlaceSet) -> bool {
    before.metadata.uid == after.metadata.uid && before.spec == after.spec
}

/// Where only some Pods are to be at the update revision, that is easily overlooked.
fn remark_part(set: &InPlaceSet) {
    let (some, all) = (set.spec.updated_replicas(), set.spec.replicas);
    if some < all {
        print_remark(&format!(
            "{some} of {all} Pods get it (spec.updatedReplicas)"
        ));
    }
}

async fn write(cluster: &Cluster, set: &InPlaceSet, patch: &serde_json::Value) -> Result<()> {
    outcome(set, &cluster.merge_in_place_set(set, patch).await?)
}

fn outcome(set: &InPlaceSet, written: &Written) -> Result<()> {
    let key = key(set);
    match written {
        Written::Done => Ok(()),
        Written::Outrun => {
            bail!(
                "somebody else changed InPlaceSet {key} meanwhile, and nothing was written: look at it and try again"
            )
        }
        Written::Gone => bail!("InPlaceSet {key} was deleted meanwhile"),
    }
}

/// `namespace/name`.
fn key(set: &InPlaceSet) -> String {
    let meta = &set.metadata;
    format!(
        "{}/{}",
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default()
    )
}

#[cfg(test)]
mod fixture;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_is_named_as_kubectl_would_or_as_other_commands_do() {
        for (set, namespace, meant) in [
            ("shop", None, ("here", "shop")),
            ("shop", Some("prod"), ("prod", "shop")),
            ("inplaceset/shop", Some("prod"), ("prod", "shop")),
            ("InPlaceSet/shop", None, ("here", "shop")),
            ("inplacesets.berth.dev/shop", None, ("here", "shop")),
            ("prod/shop", None, ("prod", "shop")),
            ("prod/shop", Some("other"), ("prod", "shop")),
        ] {
            let args = SetArgs {
                set: set.to_owned(),
                namespace: namespace.map(str::to_owned),
            };
            let (namespace, name) = named(&args, "here");
            assert_eq!((namespace.as_str(), name.as_str()), meant, "{set}");
        }
    }

    #[test]
    fn status_that_is_written_meanwhile_is_nobodys_change_of_mind() {
        let before = fixture::set(|_| {});
        let told = fixture::set(|set| set["metadata"]["resourceVersion"] = "99".into());
        assert!(is_wanted_alike(&before, &told));
        let scaled = fixture::set(|set| set["spec"]["replicas"] = 7.into());
        assert!(!is_wanted_alike(&before, &scaled));
        let another = fixture::set(|set| set["metadata"]["uid"] = "other".into());
        assert!(!is_wanted_alike(&before, &another));
    }
}
