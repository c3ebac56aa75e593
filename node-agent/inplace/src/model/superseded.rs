//! What the node lifecycle does to Pods: takes them out of the count, counts them again, ends those that another one serves for.

use std::collections::BTreeSet;

use super::world::{Truth, World};
use crate::pod::Owner;

impl World {
    /// The node lifecycle takes it out of the count.
    pub(super) fn soft_evict(&mut self, place: usize) {
        let version = self.next();
        if let Some(pod) = self.pods.values_mut().nth(place)
            && pod.view.owner == Owner::Ours
            && pod.view.is_living()
            && pod.view.soft_evicted.is_none()
        {
            pod.view.soft_evicted = Some(format!("1-{version}"));
            pod.view.version = version;
        }
    }

    /// It counts again.
    pub(super) fn readopt(&mut self, place: usize) {
        let version = self.next();
        if let Some(pod) = self.superseded().nth(place) {
            pod.view.soft_evicted = None;
            pod.view.version = version;
        }
    }

    /// It is ended, its replacement serving: by a plain delete, whatever the set does.
    pub(super) fn end_superseded(&mut self, place: usize) {
        let version = self.next();
        let serving = self.replaced();
        if let Some(pod) = self.superseded().nth(place)
            && serving.contains(&pod.view.uid)
        {
            pod.view.deleting = true;
            pod.view.version = version;
        }
    }

    /// What the node lifecycle does when all nodes are back.
    pub(super) fn settle_soft_evicted(&mut self) {
        let version = self.next();
        let serving = self.replaced();
        for pod in self.superseded() {
            if serving.contains(&pod.view.uid) {
                pod.view.deleting = true;
            } else {
                pod.view.soft_evicted = None;
            }
            pod.view.version.clone_from(&version);
        }
    }

    fn superseded(&mut self) -> impl Iterator<Item = &mut Truth> {
        let pods = self.pods.values_mut();
        pods.filter(|pod| pod.view.soft_evicted.is_some() && !pod.view.deleting)
    }

    /// The UIDs of those for which another one serves.
    fn replaced(&self) -> BTreeSet<String> {
        let serving = self.pods.values().map(|pod| &pod.view);
        let serving = serving.filter(|view| view.is_serving() && view.soft_evicted.is_none());
        serving.filter_map(|view| view.replaces.clone()).collect()
    }
}
