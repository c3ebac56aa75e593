//! Which node is asked for which images, before any Pod there is touched.
//!
//! Always holds: a node is asked once for a release; what it was asked for says which Pods there are next, and nothing of it is
//! written on them.

use std::collections::{BTreeMap, BTreeSet};

use super::goals::{Target, Way};
use super::grant::Member;
use super::{Deed, Pull, Surroundings};
use crate::operation::{Kind, State};
use crate::pod::PodView;
use crate::pod::images;

/// Whether a Pod's images are still wanted where they were asked for. What failed is not while the set is paused: it is asked for anew
/// then.
pub(super) fn are_needed(member: &Member<'_>, target: &Target, is_paused: bool) -> bool {
    let is_next = member.step.state == State::PrePull;
    let is_given_up = is_paused && member.step.failure.is_some();
    let is_out = member.pod.operation().is_some_and(|operation| {
        operation.op == Kind::Upgrade
            && operation.release_id == target.release
            && operation.state < State::Upgrading
    });
    is_out || is_next && !is_given_up
}

/// Every request that has to be made, changed or taken back. `needed`: the Pods whose images are wanted now, and how each gets to the
/// update revision; `is_over`: nothing is left to be released.
pub(super) fn deeds<'a>(
    target: &Target,
    needed: impl Iterator<Item = (&'a PodView, &'a Way)>,
    surroundings: &Surroundings,
    is_over: bool,
) -> Vec<Deed> {
    let mut needs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (pod, way) in needed {
        let (Some(node), Way::InPlace { patch, .. }) = (&pod.node, way) else {
            continue;
        };
        let needed = needs.entry(node).or_default();
        needed.extend(images(patch).map(String::as_str));
    }
    let mut deeds = Vec::new();
    for (node, images) in &needs {
        let asked = surroundings.pulls.get(*node);
        let same = asked.filter(|asked| asked.requested_by == target.release);
        let has_all = same.is_some_and(|asked| {
            let mut all = images.iter();
            all.all(|image| asked.images.contains_key(*image))
        });
        if !has_all {
            deeds.push(Deed::AskPull {
                node: (*node).to_owned(),
                images: images.iter().map(|image| (*image).to_owned()).collect(),
                requested_by: target.release.clone(),
            });
        }
    }
    for (node, asked) in &surroundings.pulls {
        let is_needed = needs.contains_key(node.as_str());
        let mut all = asked.images.values();
        let failed = all.any(|pull| matches!(pull, Pull::Failed(_)));
        if !is_needed && (is_over || asked.requested_by != target.release || failed) {
            deeds.push(Deed::EndPull {
                node: node.clone(),
                // What failed is another request when it is asked for again.
                in_time: !failed,
            });
        }
    }
    deeds
}
