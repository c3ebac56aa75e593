//! Where node and pools are: racks as they are written, or a label of the Node that says it.
//!
//! One file serves all nodes of a cluster then: every pool must say whose it is and where.

use proto_ids::RackName;
use toml::Spanned;

use super::super::file::{Daemon, PoolSection};
use super::super::problem::Problems;
use super::super::value::{number, parse};
use super::super::{DEFAULT_RACK_LABEL, DEFAULT_WARM, Kubernetes};

/// Kubernetes' qualified names: at most 63 letters, digits, `-`, `_` and `.`, behind a DNS name of at most 253 and a `/`.
fn is_label(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').unwrap_or(("dns", text));
    let word = |text: &str, limit: usize, others: &str| {
        let inside = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
        let ends = |c: char| c.is_ascii_alphanumeric();
        (1..=limit).contains(&text.len())
            && text.chars().all(inside)
            && text.starts_with(ends)
            && text.ends_with(ends)
    };
    word(prefix, 253, "-.")
        && !prefix.contains(|c: char| c.is_ascii_uppercase())
        && word(name, 63, "-_.")
}

/// What `[kubernetes]` says; `None`: it is not there.
pub(super) fn kubernetes(daemon: &Daemon, problems: &mut Problems<'_>) -> Option<Kubernetes> {
    let section = daemon.kubernetes.as_ref()?;
    let label = match &section.rack_label {
        None => DEFAULT_RACK_LABEL.into(),
        Some(text) => {
            if !is_label(text.get_ref()) {
                let problem = format!(
                    "kubernetes: rack_label: {:?} is not a label's key, such as {DEFAULT_RACK_LABEL:?}",
                    text.get_ref()
                );
                problems.at(Some(text.span()), problem);
            }
            text.get_ref().as_str().into()
        }
    };
    let warm = number(
        "kubernetes: ",
        "warm",
        section.warm.as_ref(),
        (0, 256),
        problems,
    );
    Some(Kubernetes {
        rack_label: label,
        warm: warm
            .and_then(|warm| warm.try_into().ok())
            .unwrap_or(DEFAULT_WARM),
    })
}

/// The rack that the configuration says; `None`: a label says it, or a problem was noted.
pub(super) fn rack(
    daemon: &Daemon,
    kubernetes: Option<&Kubernetes>,
    problems: &mut Problems<'_>,
) -> Option<RackName> {
    if let (Some(text), Some(kubernetes)) = (&daemon.rack, kubernetes) {
        let problem = format!(
            "rack: with [kubernetes] the rack is what the Node's label {} says; remove one of the two",
            kubernetes.rack_label
        );
        problems.at(Some(text.span()), problem);
        return None;
    }
    if kubernetes.is_some() {
        return None;
    }
    if let Some(text) = &daemon.rack {
        return parse("", "rack", text, problems);
    }
    problems.at(
        None,
        "rack: is missing; name the rack of this node, as in `rack = \"a\"`",
    );
    None
}

/// What a pool without a rack of its own belongs to.
#[derive(Clone, Copy)]
pub(super) enum Home<'a> {
    /// This rack.
    Rack(&'a RackName),
    /// Nothing: the node's rack is not known here, and there are other nodes.
    Labelled,
    /// Nothing, and that was told.
    Missing,
}

impl Home<'_> {
    /// The rack of a pool that names none.
    pub(super) fn rack(
        self,
        pool: &Spanned<PoolSection>,
        problems: &mut Problems<'_>,
    ) -> Option<RackName> {
        match self {
            Self::Rack(rack) => Some(rack.clone()),
            Self::Missing => None,
            Self::Labelled => {
                let problem = format!(
                    "pool {:?}: rack: is missing; with [kubernetes] every pool names its rack, as in `rack = \"a\"`",
                    pool.get_ref().name.get_ref()
                );
                problems.at(Some(pool.span()), problem);
                None
            }
        }
    }

    /// Notes a pool that every node would use.
    pub(super) fn refuse_shared(self, pool: &Spanned<PoolSection>, problems: &mut Problems<'_>) {
        if matches!(self, Self::Labelled) && pool.get_ref().node.is_none() {
            let problem = format!(
                "pool {:?}: node: is missing; with [kubernetes] every pool belongs to one node, as in `node = \"n1\"`: \
                 two nodes that share a pool would give one address to two Pods",
                pool.get_ref().name.get_ref()
            );
            problems.at(Some(pool.span()), problem);
        }
    }
}
