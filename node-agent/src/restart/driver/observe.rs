//! A look at the world: the Pod live, the runtime, and what this process remembers. Only as far as the decision needs it.

use ipamd_daemon::chain;
use node_agent_restart::observed::{self, Observed, PodView};
use node_agent_restart::queue::Turn;
use proto_crd::container_restart::ContainerPhase;
use tracing::debug;

use super::super::facts::facts;
use super::super::look::{NODE_ADDRESS, look};
use super::super::request::Request;
use super::super::stop::now;
use super::Driver;

impl Driver {
    /// Looks at the world as far as the decision needs it. The second is the Pod's address for a hook.
    pub(super) async fn observe(
        &mut self,
        request: &Request,
        turn: Turn,
    ) -> (Observed, Option<String>) {
        let is_over = request.deleting || request.status.phase.is_final();
        let is_its_turn = turn == Turn::Now || request.status.has_begun();
        let needs_pod = if is_over {
            request.spec.strategy.unready_grace().is_some()
        } else {
            is_its_turn
        };
        let (pod, of_pod) = if needs_pod {
            self.pod(request).await
        } else {
            (PodView::Unknown, None)
        };
        let runtime = if is_its_turn && !is_over {
            self.runtime(request).await
        } else {
            None
        };
        let of_sandbox = runtime
            .as_ref()
            .and_then(|runtime| runtime.sandbox.as_ref())
            .and_then(|sandbox| sandbox.ips.first().cloned())
            .filter(|ip| ip != NODE_ADDRESS);
        let now = now();
        let watching_since = if let PodView::Seen(_) = pod {
            *self.watching.entry(request.uid.clone()).or_insert(now)
        } else {
            self.watching.remove(&request.uid);
            now
        };
        let seen = Observed {
            spec: request.spec.clone(),
            status: request.status.clone(),
            created_at: request.created_at,
            deleting: request.deleting,
            turn,
            node: self.parts.node.clone(),
            pod,
            runtime,
            stopping: self.parts.stops.under_way(),
            watching_since,
            back_off: self.parts.back_off,
            kubelet_started_at: self.parts.kubelet.started_at(),
            now,
        };
        (seen, of_sandbox.or(of_pod))
    }

    /// The Pod, live, and its address.
    async fn pod(&self, request: &Request) -> (PodView, Option<String>) {
        let (namespace, name) = (&request.namespace, &request.spec.pod_name);
        let pod = match self.parts.api.pod(namespace, name).await {
            Ok(Some(pod)) => pod,
            Ok(None) => return (PodView::Gone, None),
            Err(error) => {
                debug!(pod = name, error = %chain(&error), "the Pod cannot be read");
                return (PodView::Unknown, None);
            }
        };
        let mut facts = facts(&pod, &request.holder());
        let unready = self.parts.pods.take_unready(pod.uid());
        for container in &mut facts.containers {
            let counts = request.status.containers.iter().any(|status| {
                status.name == container.name
                    && status.ready_since.is_some()
                    && status.phase != ContainerPhase::Failed
            });
            // A moment of not being ready between two looks counts as much as one that is looked at.
            container.ready &= !(counts && unready.contains(&container.name));
        }
        let ip = Some(pod.status.pod_ip.clone()).filter(|ip| !ip.is_empty());
        (PodView::Seen(facts), ip)
    }

    async fn runtime(&self, request: &Request) -> Option<observed::Runtime> {
        let is_named = |name: &str| {
            let mut targets = request.spec.containers.iter();
            targets.any(|target| target.name == name)
        };
        let looked = look(&self.parts.runtime, &request.spec.pod_uid, is_named).await;
        looked
            .inspect_err(
                |error| debug!(pod = request.spec.pod_name, error = %chain(error), "the runtime does not answer"),
            )
            .ok()
    }
}
