//! `kubectl berth why`: why a Pod has the addresses it has, or what it waits for; the same of an address or an identity; and what becomes
//! of a node.

mod address;
mod node;
mod story;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::{Result, bail};
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use proto_crd::claim::claim_name;
use serde::Serialize;

use crate::claims::{ClaimSeen, Selection, pod_of};
use crate::cluster::exec::{Answers, ExecArgs, Nodes};
use crate::cluster::{Cluster, RackArgs};
use crate::ipamd::Story;
use crate::output::{Format, Output, Paint, Tone, chain};
use crate::pools::PoolSeen;
use crate::seen::{EventSeen, NodeSeen, PodSeen};

/// Of what.
#[derive(Clone, Debug, Args)]
pub(crate) struct WhyArgs {
    /// A Pod (name or namespace/name), an address, an identity that Pods name, or a node (name or node/name)
    #[arg(value_name = "POD|IP|IDENTITY|NODE")]
    pub(crate) target: String,

    /// Namespace of a Pod that is named without one; default: as kubectl
    #[arg(long, short, value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    /// Do not ask the nodes themselves
    #[arg(long)]
    pub(crate) no_exec: bool,

    #[command(flatten)]
    pub(crate) label: RackArgs,

    #[command(flatten)]
    pub(crate) exec: ExecArgs,
}

/// Everything that was read.
#[derive(Debug, Default)]
struct Known {
    /// The address that was asked for.
    address: Option<IpAddr>,
    /// What the addresses stick to.
    identity: Option<String>,
    /// The Pod of that identity, if there is one.
    pod: Option<PodSeen>,
    /// All pools.
    pools: Vec<PoolSeen>,
    /// The claims of the identity, and of the address.
    claims: Vec<ClaimSeen>,
    /// The claims of the Pod's node that belong to nobody.
    warm: Vec<ClaimSeen>,
    /// The nodes that are named anywhere here.
    nodes: BTreeMap<String, NodeSeen>,
    /// The label that names a rack.
    rack_label: String,
    /// Events of the Pod, and of Berth on its node.
    events: Vec<EventSeen>,
    /// What could not be read.
    unread: Vec<String>,
}

/// A sentence, and how good that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sentence {
    text: String,
    #[serde(skip)]
    tone: Option<Tone>,
}

impl Sentence {
    fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, tone: None }
    }

    fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self {
            tone: Some(tone),
            ..Self::plain(text)
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: &'a Option<PodSeen>,
    claims: Vec<&'a str>,
    story: Vec<String>,
    nodes: BTreeMap<&'a str, Said>,
    events: &'a [EventSeen],
    unread: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Said {
    Story(Vec<String>),
    Silent(String),
}

/// Whether nothing is wrong.
pub(crate) async fn run(args: &WhyArgs, cluster: &Cluster, output: Output) -> Result<bool> {
    if let Some(node) = named_node(args, cluster).await? {
        return node::run(&node, &args.label.rack_label, cluster, output).await;
    }
    let known = observe(args, cluster).await?;
    let now = Timestamp::now();
    let story = story::tell(&known, now);
    let said = if args.no_exec {
        Answers::new()
    } else {
        ask(args, cluster, &known).await
    };
    match output.format {
        Format::Json | Format::Yaml => output.document(&document(&known, &story, said))?,
        Format::Table | Format::Wide => {
            Output::text(&text(&known, &story, &said, output.paint))?;
        }
    }
    Ok(!story.iter().any(|it| it.tone == Some(Tone::Wrong)))
}

/// The node that is asked about: said to be one, or the only thing of that name.
async fn named_node(args: &WhyArgs, cluster: &Cluster) -> Result<Option<String>> {
    if let Some(name) = args.target.strip_prefix("node/") {
        return Ok(Some(name.to_owned()));
    }
    let name = &args.target;
    if args.namespace.is_some() || name.parse::<IpAddr>().is_ok() || !is_name(name) {
        return Ok(None);
    }
    let pod = cluster.pod(cluster.default_namespace(), name).await?;
    if pod.is_some() {
        return Ok(None);
    }
    // Who may not read Nodes asks about Pods.
    let node = cluster.node(name).await.unwrap_or_default();
    let claims = cluster.claims(&Selection::of_identity(name)).await?;
    Ok((node.is_some() && claims.is_empty()).then(|| name.clone()))
}

async fn observe(args: &WhyArgs, cluster: &Cluster) -> Result<Known> {
    let mut known = Known {
        rack_label: args.label.rack_label.clone(),
        pools: cluster.pools().await?,
        ..Known::default()
    };
    if let Ok(address) = args.target.parse::<IpAddr>() {
        known.address = Some(address);
        for pool in &known.pools {
            let claim = cluster.claim(&claim_name(&pool.name, address)).await?;
            known.claims.extend(claim);
        }
        let bindings = known
            .claims
            .iter()
            .filter_map(|it| it.spec.binding.as_ref());
        if let Some(binding) = bindings.clone().next().cloned() {
            known.identity = Some(binding.identity.clone());
            if let Some((namespace, name)) = pod_of(&binding).and_then(|it| it.split_once('/')) {
                known.pod = cluster.pod(namespace, name).await?;
            }
        }
    } else {
        of_name(args, cluster, &mut known).await?;
    }
    if let Some(identity) = known.identity.clone() {
        let all = cluster.claims(&Selection::of_identity(&identity)).await?;
        let new = |it: &ClaimSeen| !known.claims.iter().any(|known| known.name == it.name);
        let new: Vec<_> = all.into_iter().filter(new).collect();
        known.claims.extend(new);
    }
    if known.address.is_none() && known.pod.is_none() && known.claims.is_empty() {
        bail!(
            "there is no Pod {:?}, and no address is kept for that identity; name a Pod as namespace/name, or look at \
             kubectl berth ips",
            known.identity.unwrap_or_else(|| args.target.clone())
        );
    }
    around(cluster, &mut known).await?;
    Ok(known)
}

/// A Pod, or an identity that Pods name.
async fn of_name(args: &WhyArgs, cluster: &Cluster, known: &mut Known) -> Result<()> {
    let namespace = args.namespace.as_deref();
    let namespace = namespace.unwrap_or_else(|| cluster.default_namespace());
    let (namespace, name) = args
        .target
        .split_once('/')
        .unwrap_or((namespace, &args.target));
    if is_name(namespace) && is_name(name) {
        known.pod = cluster.pod(namespace, name).await?;
    }
    if let Some(pod) = &known.pod {
        known.identity = Some(pod.identity());
        return Ok(());
    }
    // As it was typed, where somebody has addresses under that name; else the Pod that there is not.
    let typed = cluster
        .claims(&Selection::of_identity(&args.target))
        .await?;
    let named = typed
        .first()
        .and_then(|it| it.spec.binding.as_ref())
        .and_then(pod_of);
    if let Some((namespace, name)) = named.and_then(|it| it.split_once('/')) {
        known.pod = cluster.pod(namespace, name).await?;
        known.pod.take_if(|pod| pod.identity() != args.target);
    }
    known.identity = Some(if typed.is_empty() {
        format!("{namespace}/{name}")
    } else {
        args.target.clone()
    });
    Ok(())
}

/// A name that an object can have: others would be another path of the API server.
fn is_name(text: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    !text.is_empty() && text.chars().all(|it| fits(it) || it == '-' || it == '.')
}

/// What of nodes and Events belongs to it. Who may not read them learns less.
async fn around(cluster: &Cluster, known: &mut Known) -> Result<()> {
    let mut names: BTreeSet<String> = known.claims.iter().map(|it| it.spec.node.clone()).collect();
    let here = known.pod.as_ref().and_then(|pod| pod.node.clone());
    names.extend(here.clone());
    for name in names {
        match cluster.node_seen(&name, &known.rack_label).await {
            Ok(node) => known.nodes.extend(node.map(|node| (name, node))),
            Err(error) => known.unread.push(format!("{error:#}")),
        }
    }
    if let Some(here) = &here {
        let mut all = cluster.claims(&Selection::of_node(here)).await?;
        all.retain(|it| {
            it.spec.binding.is_none() && it.spec.fenced.is_none() && it.deleting_since.is_none()
        });
        known.warm = all;
    }
    if let Some(pod) = &known.pod {
        match cluster.pod_events(&pod.namespace, &pod.name).await {
            Ok(events) => known.events.extend(events),
            Err(error) => known.unread.push(format!("{error:#}")),
        }
    }
    if let Some(here) = &here {
        match cluster.node_events(here).await {
            Ok(events) => known.events.extend(events),
            Err(error) => known.unread.push(format!("{error:#}")),
        }
    }
    known.events.sort_by_key(|event| event.time);
    Ok(())
}

/// What the berth-ipamds of the holders and of the Pod's node say.
async fn ask(args: &WhyArgs, cluster: &Cluster, known: &Known) -> Answers<Story> {
    let Some(identity) = &known.identity else {
        return Answers::new();
    };
    let mut nodes: BTreeSet<String> = known.claims.iter().map(|it| it.spec.node.clone()).collect();
    nodes.extend(known.pod.as_ref().and_then(|pod| pod.node.clone()));
    let pods = match cluster.ipamd_pods(None).await {
        Ok(pods) => pods,
        Err(error) => {
            crate::output::print_remark(&format!("the nodes are not asked: {error:#}"));
            return Answers::new();
        }
    };
    let asked = Nodes::new(cluster, pods, args.exec);
    // "--": an identity may begin with a dash.
    let words = ["why", "--", identity].map(ToOwned::to_owned);
    asked.ask_all(nodes, &words).await
}

fn document<'a>(known: &'a Known, story: &[Sentence], said: Answers<Story>) -> Document<'a> {
    let nodes = known.nodes.keys().map(String::as_str);
    let mut answers = said;
    let mut told = BTreeMap::new();
    for node in nodes {
        match answers.remove(node) {
            Some(Ok(said)) => told.insert(node, Said::Story(said.story)),
            Some(Err(error)) => told.insert(node, Said::Silent(chain(&error))),
            None => None,
        };
    }
    Document {
        identity: &known.identity,
        pod: &known.pod,
        claims: known.claims.iter().map(|it| it.name.as_str()).collect(),
        story: story.iter().map(|it| it.text.clone()).collect(),
        nodes: told,
        events: &known.events,
        unread: &known.unread,
    }
}

fn text(known: &Known, story: &[Sentence], said: &Answers<Story>, paint: Paint) -> String {
    let mut text = String::new();
    for sentence in story {
        let tone = sentence.tone.unwrap_or(Tone::Plain);
        text += &paint.paint(tone, &sentence.text);
        text.push('\n');
    }
    for (node, answer) in said {
        match answer {
            Ok(said) => {
                let _ = writeln!(text, "\nberth-ipamd of {node} says:");
                for line in &said.story {
                    let _ = writeln!(text, "  {line}");
                }
            }
            Err(error) => {
                let silence = format!("\nberth-ipamd of {node} says nothing: {}", chain(error));
                text += &paint.paint(Tone::Doubtful, &silence);
                text.push('\n');
            }
        }
    }
    if !known.events.is_empty() {
        text += "\nEvents:\n";
    }
    for event in &known.events {
        let time = event.time.map_or_else(String::new, |time| time.to_string());
        let line = format!(
            "  {time} {} {} ({}): {}",
            event.kind, event.reason, event.by, event.message
        );
        let tone = if event.kind == "Warning" {
            Tone::Doubtful
        } else {
            Tone::Plain
        };
        text += &paint.paint(tone, &line);
        text.push('\n');
    }
    for unread in &known.unread {
        let line = format!("\nNot known: {unread}");
        text += &paint.paint(Tone::Doubtful, &line);
        text.push('\n');
    }
    text
}
