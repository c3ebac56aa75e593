//! What a Pod's own fields say: whether it serves, whether it is available, and who is awaited before traffic is gone or back.

use std::collections::BTreeSet;
use std::time::Duration;

use node_agent_restart::gate::{self, HoldError, Holders, request_of};
use proto_crd::in_place_set::Lossless;
use proto_crd::names;
use proto_crd::time::Timestamp;

use super::{Endpoint, Gate, Phase, PodView, Underway};
use crate::operation::{Operation, State};
use crate::plan::Basis;

impl PodView {
    /// What a write on it is decided for.
    pub fn basis(&self) -> Basis {
        Basis {
            name: self.name.clone(),
            uid: self.uid.clone(),
            version: self.version.clone(),
        }
    }

    /// What is done with it, as far as that can be read.
    pub fn operation(&self) -> Option<&Operation> {
        match &self.operation {
            Underway::This(operation) => Some(operation),
            Underway::Nothing | Underway::Unreadable(_) => None,
        }
    }

    /// Whether it lives: it neither has ended nor is being deleted.
    pub fn is_living(&self) -> bool {
        !self.deleting && self.phase != Phase::Ended
    }

    /// Whether it may get traffic: kubelet says that it is ready.
    pub fn is_serving(&self) -> bool {
        self.is_living() && self.ready.is_true
    }

    /// Whether it counts as available: ready for the minimum time, nothing is done with it that costs service, and all who are
    /// to send traffic to it do: its endpoint too, where traffic is led away and back.
    pub fn is_available(
        &self,
        endpoint: Endpoint,
        lossless: Option<&Lossless>,
        min_ready: Duration,
        now: Timestamp,
    ) -> bool {
        let untouched = self.operation().is_none_or(|operation| {
            matches!(operation.state, State::Serving | State::PrePull)
                || operation.failure.is_some() && operation.state == State::Attaching
        });
        self.is_serving()
            && untouched
            && (lossless.is_none() || endpoint != Endpoint::NotReady)
            && self.ready_for(min_ready, now).is_none()
            && self.unattached(lossless, endpoint).is_empty()
    }

    /// Until when its containers have not been ready for the minimum time yet; nothing: they have. Not by `Ready`, which falls and
    /// rises with the gate.
    fn ready_for(&self, min_ready: Duration, now: Timestamp) -> Option<Timestamp> {
        let since = self.containers_ready.since.unwrap_or(now);
        let until = since.after(min_ready);
        (!self.containers_ready.is_true || until > now).then_some(until)
    }

    /// When it becomes available by the passing of time alone.
    pub fn available_at(&self, min_ready: Duration, now: Timestamp) -> Option<Timestamp> {
        let until = self.ready_for(min_ready, now)?;
        (self.is_serving() && until > now).then_some(until)
    }

    /// The finalizers that must be there before it counts as released.
    fn expected<'a>(
        &'a self,
        lossless: Option<&'a Lossless>,
        endpoint: Endpoint,
    ) -> impl Iterator<Item = &'a String> {
        let wanted = lossless.map_or(&[][..], |lossless| &lossless.protections);
        wanted.iter().filter(move |name| {
            // Whoever takes his name off the Pod's list sends it no traffic any more.
            let is_named = self
                .protections
                .as_ref()
                .is_none_or(|named| named.contains(name));
            is_named && !is_of_nobody(name, endpoint)
        })
    }

    /// The finalizers that are missing before it counts as released.
    pub fn unattached<'a>(
        &'a self,
        lossless: Option<&'a Lossless>,
        endpoint: Endpoint,
    ) -> Vec<&'a str> {
        self.expected(lossless, endpoint)
            .filter(|name| !self.finalizers.contains(name))
            .map(String::as_str)
            .collect()
    }

    /// The finalizers of those who still send traffic to it.
    fn attached(&self, lossless: &Lossless, endpoint: Endpoint) -> Vec<&str> {
        let of_pod = self.protections.iter().flatten();
        let declared: BTreeSet<&String> = lossless.protections.iter().chain(of_pod).collect();
        self.finalizers
            .iter()
            .filter(|name| declared.contains(name) && !is_of_nobody(name, endpoint))
            .map(String::as_str)
            .collect()
    }

    /// Who is awaited until no traffic is led to it any more; nobody: it is detached.
    pub(super) fn awaited_to_detach(
        &self,
        lossless: &Lossless,
        endpoint: Endpoint,
        holder: &str,
    ) -> Vec<String> {
        let mut awaited = Vec::new();
        if self.ready.is_true {
            awaited.push("kubelet to report it not ready".to_owned());
        }
        if endpoint == Endpoint::Ready {
            awaited.push("its endpoint in EndpointSlices to be not ready".to_owned());
        }
        for name in self.attached(lossless, endpoint) {
            awaited.push(format!("finalizer {name} to be removed"));
        }
        // One actor at a time stops containers.
        let others = self.gate.holders().into_iter().flat_map(|holders| {
            let others = holders.iter().map(|other| other.holder.clone());
            others
                .filter(|other| other != holder && request_of(other).is_some())
                .collect::<Vec<_>>()
        });
        awaited.extend(others.map(|other| format!("{other} to end")));
        awaited
    }

    /// Who is awaited until all of its traffic is back; nobody: it is released.
    pub(crate) fn awaited_to_attach(
        &self,
        lossless: Option<&Lossless>,
        endpoint: Endpoint,
    ) -> Vec<String> {
        let mut awaited = Vec::new();
        if !self.gate.is_true() {
            match self.gate.holders() {
                Ok(holders) if holders.is_free() => {
                    awaited.push(format!(
                        "condition {} to be True",
                        names::SERVICE_READY_GATE
                    ));
                }
                Ok(holders) => awaited.extend(
                    holders
                        .iter()
                        .map(|holder| format!("{} to let it be ready", holder.holder)),
                ),
                Err(error) => awaited.push(error.to_string()),
            }
        }
        if !self.ready.is_true {
            awaited.push("kubelet to report it ready".to_owned());
        }
        if lossless.is_some() {
            if endpoint == Endpoint::NotReady {
                awaited.push("its endpoint in EndpointSlices to be ready".to_owned());
            }
            for name in self.unattached(lossless, endpoint) {
                awaited.push(format!("finalizer {name} to be put"));
            }
        }
        awaited
    }
}

/// In no Service there is nobody who could put or remove the finalizer of the endpoints.
fn is_of_nobody(finalizer: &str, endpoint: Endpoint) -> bool {
    endpoint == Endpoint::None && finalizer == names::ENDPOINTS_PROTECTION
}

impl Gate {
    /// Whether it lets the Pod be ready. A Pod without it always may.
    pub fn is_true(&self) -> bool {
        !self.declared || self.status.as_deref() == Some("True")
    }

    /// Who holds the Pod.
    ///
    /// # Errors
    /// [`HoldError::Foreign`]: somebody set it by hand.
    pub fn holders(&self) -> Result<Holders, HoldError> {
        let condition = self.status.as_deref().map(|status| gate::Condition {
            status,
            message: &self.message,
        });
        Holders::of(condition)
    }

    /// Whether the Pod is held unready for this holder.
    pub fn is_held_by(&self, holder: &str) -> bool {
        self.status.as_deref() == Some("False")
            && self.holders().is_ok_and(|holders| holders.has(holder))
    }
}

/// Words that follow one another.
pub(super) fn listed(awaited: &[String]) -> String {
    awaited.join("; ")
}
