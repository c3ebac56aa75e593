//! The writes on one Pod, each for the Pod that was looked at.

use proto_crd::pod_containers::specification_hash;

use super::step::{Goal, Look};
use super::{Container, PodView};
use crate::operation::{Failure, Identity, Kind, Operation, State};
use crate::plan::{Deed, PodPatch};

impl Look<'_> {
    fn signed(&self, operation: Operation) -> Operation {
        Operation {
            term: self.term,
            ..operation
        }
    }

    /// The set's list, where the Pod's is another: with each release those who send traffic are named anew.
    fn protections(&self, operation: &Operation) -> Option<Vec<String>> {
        let wanted = &self.lossless?.protections;
        let differs = self.pod.protections.as_ref() != Some(wanted);
        let is_first = self.pod.operation().is_none_or(|before| {
            before.release_id != operation.release_id || before.state == State::Attaching
        });
        (operation.op == Kind::Upgrade && differs && is_first).then(|| wanted.clone())
    }

    pub(super) fn stamp(&self, operation: Operation) -> Deed {
        let operation = self.signed(operation);
        Deed::Stamp {
            pod: self.pod.basis(),
            protections: self.protections(&operation),
            operation,
        }
    }

    pub(super) fn hold(&self, operation: Operation) -> Deed {
        let operation = self.signed(operation);
        Deed::HoldGate {
            pod: self.pod.basis(),
            protections: self.protections(&operation),
            operation,
        }
    }

    pub(super) fn release(&self, operation: Option<Operation>) -> Deed {
        Deed::ReleaseGate {
            pod: self.pod.basis(),
            operation: operation.map(|operation| self.signed(operation)),
        }
    }

    /// Back into service, before anything was replaced: as it is, or given up.
    pub(super) fn back(&self, operation: &Operation, failure: Option<Failure>) -> Deed {
        let given_up = failure.map(|failure| Operation {
            forced: false,
            failure: Some(failure),
            ..operation.at(State::Attaching, self.now)
        });
        self.release(given_up)
    }

    pub(super) fn finish(&self) -> Deed {
        Deed::Finish {
            pod: self.pod.basis(),
        }
    }

    pub(super) fn delete(&self, drained: bool) -> Deed {
        Deed::DeletePod {
            pod: self.pod.basis(),
            drained,
        }
    }

    /// What cannot be taken back.
    pub(super) fn last(&self, operation: &Operation, goal: &Goal<'_>, drained: bool) -> Deed {
        let Goal::Upgrade {
            release,
            patch,
            restart,
        } = *goal
        else {
            return self.delete(drained);
        };
        let mut patched = operation.at(State::Upgrading, self.now);
        patched.op = Kind::Upgrade;
        release.clone_into(&mut patched.release_id);
        patched.to_revision.clone_from(&patch.revision);
        patched.failure = None;
        patched.before = before(self.pod, patch, restart);
        patched.restart = restart
            .iter()
            .filter(|name| patched.before.get(*name).is_some_and(|id| !id.is_empty()))
            .filter(|name| !patch.images.contains_key(*name))
            .cloned()
            .collect();
        if operation.state == State::Upgrading {
            self.carry_over(operation, patch, &mut patched);
        }
        patched.identity = Some(identity(self.pod));
        self.patch(Some(patched), release, patch)
    }

    /// What the target before this one has not come to: the difference between the two targets does not name it.
    fn carry_over(&self, earlier: &Operation, patch: &PodPatch, patched: &mut Operation) {
        let runs_still = |name: &String, id: &String| {
            let container = self.pod.containers.iter().find(|it| it.name == *name);
            !id.is_empty() && container.is_some_and(|it| it.id.as_ref() == Some(id))
        };
        for (name, id) in &earlier.before {
            if !runs_still(name, id) {
                continue;
            }
            patched
                .before
                .entry(name.clone())
                .or_insert_with(|| id.clone());
            let is_kubelets = patch.images.contains_key(name);
            let is_restart = earlier.restart.contains(name) && !patched.restart.contains(name);
            if is_restart && !is_kubelets {
                patched.restart.push(name.clone());
            }
        }
    }

    pub(super) fn patch(
        &self,
        operation: Option<Operation>,
        release: &str,
        patch: &PodPatch,
    ) -> Deed {
        Deed::PatchPod {
            pod: self.pod.basis(),
            patch: patch.clone(),
            operation: operation.map(|operation| self.signed(operation)),
            release: release.to_owned(),
            instead_of: self.restart_under_way(),
        }
    }
}

/// Each container that is replaced, with the id of what must not run any more. Where what runs is what is wanted already (the
/// target was taken back before kubelet replaced it), any will do.
fn before(
    pod: &PodView,
    patch: &PodPatch,
    restart: &[String],
) -> std::collections::BTreeMap<String, String> {
    let id = |container: &Container| container.id.clone().unwrap_or_default();
    let mut before = std::collections::BTreeMap::new();
    for container in &pod.containers {
        let images = if container.sidecar {
            &patch.init_images
        } else {
            &patch.images
        };
        let name = &container.name;
        if let Some(image) = images.get(name) {
            let wanted = specification_hash(name, image);
            let runs = pod
                .reported
                .get(name)
                .is_some_and(|facts| facts.reported.as_ref() == Some(&wanted));
            let sidecar_has_it = container.sidecar && container.image == *image;
            let id = if runs || sidecar_has_it {
                String::new()
            } else {
                id(container)
            };
            before.insert(name.clone(), id);
        } else if restart.contains(name) {
            before.insert(name.clone(), id(container));
        }
    }
    before
}

fn identity(pod: &PodView) -> Identity {
    let sandbox = pod
        .reported
        .values()
        .find_map(|facts| facts.sandbox.clone());
    Identity {
        ips: pod.ips.clone(),
        sandbox: sandbox.unwrap_or_default(),
    }
}
