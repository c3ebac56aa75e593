//! What becomes of a node: what the node lifecycle takes it for, by which evidence, what it did and to whom, what holds it, what comes
//! next.

mod next;
mod story;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use proto_crd::lifecycle_freeze::LifecycleFreeze;
use proto_crd::lifecycle_policy::LifecyclePolicy;
use proto_crd::node_decision::{NodeDecisionSpec, SubjectKind};
use serde::Serialize;

use super::Sentence;
use crate::cluster::Cluster;
use crate::decisions::in_order;
use crate::output::{Format, Output, Tone};
use crate::seen::NodeSeen;

/// Everything that was read.
#[derive(Debug, Default)]
struct Known {
    name: String,
    node: Option<NodeSeen>,
    taints: Vec<Taint>,
    /// What people and plug-ins have said of it: annotations of Berth's.
    said: Vec<(String, String)>,
    /// About the node, as they were decided.
    decisions: Vec<NodeDecisionSpec>,
    /// About its rack and about the cluster, as they were decided.
    around: Vec<NodeDecisionSpec>,
    freezes: Vec<LifecycleFreeze>,
    policy: Option<LifecyclePolicy>,
    /// When a leader last said that it leads.
    led: Option<Timestamp>,
    /// What could not be read.
    unread: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    node: &'a str,
    story: Vec<&'a str>,
    decisions: &'a [NodeDecisionSpec],
    unread: &'a [String],
}

/// Whether nothing is wrong.
pub(super) async fn run(
    name: &str,
    rack_label: &str,
    cluster: &Cluster,
    output: Output,
) -> Result<bool> {
    let known = observe(name, rack_label, cluster).await?;
    let story = story::tell(&known, Timestamp::now());
    match output.format {
        Format::Json | Format::Yaml => output.document(&Document {
            node: &known.name,
            story: story.iter().map(|it| it.text.as_str()).collect(),
            decisions: &known.decisions,
            unread: &known.unread,
        })?,
        Format::Table | Format::Wide => {
            let lines = story.iter().map(|Sentence { text, tone }| {
                output.paint.paint(tone.unwrap_or(Tone::Plain), text) + "\n"
            });
            let mut text: String = lines.collect();
            for unread in &known.unread {
                text += &output
                    .paint
                    .paint(Tone::Doubtful, &format!("\nNot known: {unread}\n"));
            }
            Output::text(&text)?;
        }
    }
    Ok(!story.iter().any(|it| it.tone == Some(Tone::Wrong)))
}

async fn observe(name: &str, rack_label: &str, cluster: &Cluster) -> Result<Known> {
    let mut known = Known {
        name: name.to_owned(),
        ..Known::default()
    };
    let fields = format!("spec.node={name}");
    known.decisions = in_order(cluster.decisions(Some(fields)).await?);
    match cluster.node(name).await {
        Ok(node) => known.take(node.as_ref(), rack_label),
        Err(error) => known.unread.push(format!("{error:#}")),
    }
    if known.node.is_none() && known.decisions.is_empty() && known.unread.is_empty() {
        bail!("there is no node {name:?}, and no decision about one of that name is kept");
    }
    if let Some(rack) = known.rack().map(str::to_owned) {
        let fields = format!("spec.rack={rack}");
        match cluster.decisions(Some(fields)).await {
            Ok(all) => {
                let about_rack = |it: &NodeDecisionSpec| it.subject.kind == SubjectKind::Rack;
                known.around = in_order(all).into_iter().filter(about_rack).collect();
            }
            Err(error) => known.unread.push(format!("{error:#}")),
        }
    }
    match cluster.freezes().await {
        Ok(freezes) => known.freezes = freezes,
        Err(error) => known.unread.push(format!("{error:#}")),
    }
    match cluster.lifecycle_policy().await {
        Ok(policy) => known.policy = policy,
        Err(error) => known.unread.push(format!("{error:#}")),
    }
    match cluster.leader_renewed().await {
        Ok(led) => known.led = led,
        Err(error) => known.unread.push(format!("{error:#}")),
    }
    Ok(known)
}

impl Known {
    fn take(&mut self, node: Option<&Node>, rack_label: &str) {
        let Some(node) = node else { return };
        self.node = Some(NodeSeen::of(node, rack_label));
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone());
        self.taints = taints.unwrap_or_default();
        let said = node.annotations().iter();
        let ours = said.filter(|(key, _)| key.starts_with("berth.dev/"));
        self.said = ours
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
    }

    /// Its rack, by its label, or by what was last decided.
    fn rack(&self) -> Option<&str> {
        let labelled = self.node.as_ref().and_then(|it| it.rack.as_deref());
        labelled.or_else(|| self.decisions.last()?.rack.as_deref())
    }
}
