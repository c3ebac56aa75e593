//! Releases of an `InPlaceSet`, one Pod after the other: `updatedReplicas` says how many have the new image, the highest ordinals first.

use anyhow::Result;
use tests_testbed::{Pending, wait_patiently};

use crate::field::{DEADLINE, Field, NODE};
use crate::outage::Outage;
use crate::service::Services;
use crate::shelf::Fresh;
use crate::subject::{self, OTHER, PRESENT, SET};

/// Where sets that are changed in place are.
const SETS: &str = "/apis/berth.dev/v1alpha1/namespaces/default/inplacesets";

impl Field {
    /// Each Pod gets another image that the node has.
    pub(crate) fn release(&mut self, lossless: bool) -> Result<Vec<Outage>> {
        self.begin(lossless)?;
        let services = Services::watch(&self.api)?;
        self.give(lossless, OTHER, 0)?;
        let pods = self.pods;
        let outages = (1..=pods).map(|count| {
            let name = format!("{SET}-{}", pods - count);
            self.outage(&services, &name, OTHER, |field, _| {
                field.give(lossless, OTHER, count)
            })
        });
        let outages = outages.collect();
        drop(services);
        self.end()?;
        outages
    }

    /// Always the same Pod gets one image after the other that the node does not have.
    pub(crate) fn release_absent(&mut self) -> Result<Vec<Outage>> {
        self.begin(true)?;
        let services = Services::watch(&self.api)?;
        let name = format!("{SET}-{}", self.pods - 1);
        let outages: Result<Vec<Outage>> = (0..self.pods)
            .map(|_| {
                let fresh: Fresh = self.shelf.fresh(&self.cluster)?;
                let outage = self.outage(&services, &name, &fresh.name, |field, _| {
                    field.give(true, &fresh.name, 1)
                })?;
                self.shelf.used(&self.cluster, &fresh)?;
                Ok(outage)
            })
            .collect();
        drop(services);
        self.end()?;
        outages
    }

    /// Fresh Pods that serve.
    fn begin(&self, lossless: bool) -> Result<()> {
        self.give(lossless, PRESENT, self.pods)?;
        for number in 0..self.pods {
            self.wait_ready(&format!("{SET}-{number}"), "", PRESENT)?;
        }
        Ok(())
    }

    fn end(&self) -> Result<()> {
        let words = [
            "delete",
            "inplaceset",
            SET,
            "--cascade=foreground",
            "--wait",
        ];
        self.cluster.kubectl(&words)?;
        Ok(())
    }

    /// So many Pods are to have this image; they have it, and serve.
    fn give(&self, lossless: bool, image: &str, count: usize) -> Result<()> {
        let set = subject::in_place_set(self.pods, NODE, image, lossless, count);
        self.cluster.apply(&set.to_string())?;
        wait_patiently("the end of the release", DEADLINE, || {
            let set = self.api.json(&format!("{SETS}/{SET}"));
            let set = set.map_err(|error| Pending::because(format!("{error:#}")))?;
            let status = &set["status"];
            let is_seen = status["observedGeneration"] == set["metadata"]["generation"];
            let are_there = status["availableReplicas"] == self.pods;
            let released = status["updatedReadyReplicas"].as_u64();
            let is_enough = released.is_some_and(|it| it >= count as u64);
            if is_seen && are_there && is_enough {
                return Ok(());
            }
            Err(Pending::because(status))
        })
    }
}
