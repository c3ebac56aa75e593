//! Which node is asked for which images, before any Pod there is touched.

use std::collections::{BTreeMap, BTreeSet};

use super::goals::{Target, Way};
use super::{Deed, Pull, Surroundings};
use crate::operation::{Kind, State};
use crate::pod::PodView;
use crate::pod::images;

/// Every request that has to be made, changed or taken back. `way_of`: how a Pod gets to the update revision; `is_over`: nothing is
/// left to be released.
pub(super) fn deeds<'a>(
    target: &Target,
    pods: &[&'a PodView],
    begun: &BTreeSet<&str>,
    way_of: impl Fn(&'a PodView) -> &'a Way,
    surroundings: &Surroundings,
    is_over: bool,
) -> Vec<Deed> {
    let mut needs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for pod in pods {
        let pulls = pod.operation().is_some_and(|operation| {
            operation.op == Kind::Upgrade
                && operation.release_id == target.release
                && operation.state < State::Upgrading
        });
        let (Some(node), Way::InPlace { patch, .. }) = (&pod.node, way_of(pod)) else {
            continue;
        };
        if pulls || begun.contains(pod.uid.as_str()) {
            let needed = needs.entry(node).or_default();
            needed.extend(images(patch).map(String::as_str));
        }
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
        let failed = asked
            .images
            .values()
            .any(|pull| matches!(pull, Pull::Failed(_)));
        if !is_needed && (is_over || asked.requested_by != target.release || failed) {
            deeds.push(Deed::EndPull { node: node.clone() });
        }
    }
    deeds
}
