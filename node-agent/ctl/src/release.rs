//! `kubectl berth release`: a binding that is kept is let go, after saying what that breaks.
//!
//! Only a mark is set on the claims; their holder lets go, because only it knows that no Pod has the address.

mod plan;

use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::{Result, bail};
use clap::Args;
use proto_crd::claim::Owner;
use serde::Serialize;

use crate::claims::{ClaimSeen, Selection, pod_of};
use crate::cluster::Cluster;
use crate::cluster::marks::{Which, Written};
use crate::output::{Format, Output, Tone};
use plan::{Observed, Verdict};

/// Somebody else writes claims all the time; not this one, so often, by chance.
const TRIES: usize = 5;

/// What is let go.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// An address, or the identity whose addresses are meant (namespace/name, or as the Pod named it)
    #[arg(value_name = "IP|IDENTITY")]
    pub(crate) target: String,

    /// Why; for whoever finds the mark
    #[arg(long, value_name = "TEXT", default_value = "kubectl berth release")]
    pub(crate) reason: String,

    /// Only say what it would break
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Even though something would break
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a> {
    dry_run: bool,
    bindings: Vec<Binding<'a>>,
    released: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Binding<'a> {
    claim: &'a str,
    address: &'a str,
    identity: Option<&'a str>,
    node: &'a str,
    verdict: &'a Verdict,
}

/// Whether everything asked for is let go, or would be.
pub(crate) async fn run(args: &ReleaseArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    let mut tries = 0;
    loop {
        let observed = observe(cluster, &args.target).await?;
        let verdicts: Vec<_> = observed.iter().map(plan::judge).collect();
        let text = plan::text(&observed, &verdicts, output.paint);
        let refused = verdicts
            .iter()
            .any(|it| matches!(it, Verdict::Refused { .. }));
        let warned = verdicts.iter().any(|it| it.tone() == Tone::Doubtful);
        if args.dry_run || refused || (warned && !args.yes) {
            print(output, args, &observed, &verdicts, &text, Vec::new())?;
            if args.dry_run {
                return Ok(!refused);
            }
            let why = if refused {
                "nothing is released; see above"
            } else {
                "nothing is released: add --yes if that is meant, or look at it with --dry-run"
            };
            bail!(why);
        }
        let Some(released) = mark_all(cluster, args, &observed, &verdicts).await? else {
            tries += 1;
            if tries == TRIES {
                bail!("the claims change faster than they can be marked; try again");
            }
            continue;
        };
        print(output, args, &observed, &verdicts, &text, released)?;
        return Ok(true);
    }
}

fn print(
    output: Output,
    args: &ReleaseArgs,
    observed: &[Observed],
    verdicts: &[Verdict],
    text: &str,
    released: Vec<String>,
) -> Result<()> {
    if matches!(output.format, Format::Table | Format::Wide) {
        let mut text = text.to_owned();
        for address in &released {
            let _ = writeln!(
                text,
                "{address} is marked: its holder lets it go, and it rests before anybody else gets it"
            );
        }
        return Output::text(&text);
    }
    let bindings = observed.iter().zip(verdicts).map(|(it, verdict)| Binding {
        claim: &it.claim.name,
        address: &it.claim.spec.address,
        identity: it.claim.identity(),
        node: &it.claim.spec.node,
        verdict,
    });
    output.document(&Done {
        dry_run: args.dry_run,
        bindings: bindings.collect(),
        released,
    })
}

/// The addresses that were marked; nothing, where somebody wrote meanwhile and all is to be judged again.
async fn mark_all(
    cluster: &Cluster,
    args: &ReleaseArgs,
    observed: &[Observed],
    verdicts: &[Verdict],
) -> Result<Option<Vec<String>>> {
    let open = observed
        .iter()
        .zip(verdicts)
        .filter(|(_, verdict)| verdict.is_to_be_marked());
    let open: Vec<_> = open.map(|(it, _)| &it.claim).collect();
    if open.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let mark = cluster.mark(&args.reason).await?;
    let mut released = Vec::new();
    for claim in open {
        match cluster
            .write_mark(claim, Which::Release, Some(&mark))
            .await?
        {
            Written::Done => released.push(claim.spec.address.clone()),
            Written::Gone => {}
            Written::Outrun => return Ok(None),
        }
    }
    Ok(Some(released))
}

/// The claims that are meant, with all that decides about them.
async fn observe(cluster: &Cluster, target: &str) -> Result<Vec<Observed>> {
    let claims = match target.parse::<IpAddr>() {
        Ok(address) => of_address(cluster, address).await?,
        Err(_) => cluster.claims(&Selection::of_identity(target)).await?,
    };
    if claims.is_empty() {
        bail!(
            "nobody has claimed {target}: there is nothing to release (kubectl berth ips lists what there is; \
             an identity is namespace/name)"
        );
    }
    let mut all = Vec::new();
    for claim in claims {
        let owner = claim.spec.binding.as_ref().and_then(|it| it.owner.clone());
        let wanted = match (&owner, claim.namespace()) {
            (Some(owner), Some(namespace)) => wanted(cluster, namespace, owner).await,
            _ => plan::Wanted::Nobody,
        };
        let pod = claim.spec.binding.as_ref().and_then(pod_of);
        let pod = match pod.and_then(|it| it.split_once('/')) {
            // Whoever may not read Pods is told by the claim alone.
            Some((namespace, name)) => cluster.pod(namespace, name).await.unwrap_or(None),
            None => None,
        };
        all.push(Observed { claim, wanted, pod });
    }
    Ok(all)
}

/// The address's claim in each network, and those of the other family of its binding: a binding goes whole.
async fn of_address(cluster: &Cluster, address: IpAddr) -> Result<Vec<ClaimSeen>> {
    let mut all: Vec<ClaimSeen> = Vec::new();
    for pool in cluster.pools().await? {
        let name = proto_crd::claim::claim_name(&pool.name, address);
        let Some(claim) = cluster.claim(&name).await? else {
            continue;
        };
        if let Some(binding) = claim.spec.binding.clone() {
            let same = cluster
                .claims(&Selection::of_identity(&binding.identity))
                .await?;
            let of_it = same.into_iter().filter(|other| {
                let other = other.spec.binding.as_ref();
                other.is_some_and(|other| other.addresses == binding.addresses)
            });
            all.extend(of_it.filter(|other| other.name != name));
        }
        all.push(claim);
    }
    all.sort_by_key(|claim| claim.address);
    Ok(all)
}

/// Whether the owner still wants the ordinal.
async fn wanted(cluster: &Cluster, namespace: &str, owner: &Owner) -> plan::Wanted {
    if owner.kind != "StatefulSet" {
        return plan::Wanted::Unknown(format!(
            "whether {} {} still wants it is not known here",
            owner.kind, owner.name
        ));
    }
    let found = cluster
        .stateful_set(namespace, &owner.name, &owner.uid)
        .await;
    match found {
        Ok(found) => plan::Wanted::by(found, owner.ordinal),
        Err(error) => plan::Wanted::Unknown(format!("{error:#}")),
    }
}
