//! Endpoints of a whole node, withdrawn and given back: Ready of each of its Pods, and then the mark on the Node.
//!
//! kubelet writes Ready itself again when it is back; what is given back here is for a node that lives without its API server.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use node_agent_lifecycle::{Action, Order};
use proto_crd::names;
use serde_json::json;

use super::super::desk::Desk;
use super::super::taints::{Ready, restored, withdrawn};
use super::super::upkeep::wall_clock;
use super::{CarryError, Hands};
use crate::fleet::LeanPod;
use crate::lean::LeanNode;
use crate::reign::Reign;
use crate::write::{Basis, Fields, Part, WriteKind};

/// A node has many Pods: after so long it is asked again whether this is still right.
const ASK_AGAIN: Duration = Duration::from_millis(400);

impl Hands {
    pub(super) async fn endpoints(
        &self,
        desk: &Desk,
        reign: &Reign,
        order: &Order,
        node: &LeanNode,
    ) -> Result<(), CarryError> {
        let is_out = matches!(order.action, Action::WithdrawEndpoints { .. });
        let (kind, plan): (WriteKind, fn(&Pod) -> Option<Ready>) = if is_out {
            (WriteKind::WithdrawPod, withdrawn)
        } else {
            (WriteKind::RestorePod, restored)
        };
        let params = ListParams::default().fields(&format!("spec.nodeName={}", node.name_any()));
        let pods = self.reader.list::<Pod>("Pods", None, params);
        let pods = pods.await.map_err(CarryError::Read)?;
        let mut asked = Instant::now();
        for pod in &pods {
            let Some(wanted) = plan(pod) else { continue };
            if asked.elapsed() >= ASK_AGAIN {
                self.ask(desk, reign, order, node, None).await?;
                asked = Instant::now();
            }
            self.write_ready(reign, kind, pod, wanted).await?;
        }
        // The mark comes last: without it the next step asks for the rest.
        let mark = is_out.then(|| order.decision.to_string());
        let annotations = json!({ names::ENDPOINTS_WITHDRAWN_ANNOTATION: mark });
        let fields = json!({"metadata": {"annotations": annotations}});
        self.patch_node(reign, WriteKind::EndpointsMark, node, fields)
            .await
    }

    async fn write_ready(
        &self,
        reign: &Reign,
        kind: WriteKind,
        pod: &Pod,
        wanted: Ready,
    ) -> Result<(), CarryError> {
        let basis = Basis::of(&pod.metadata);
        let reason = Some(wanted.reason).filter(|reason| !reason.is_empty());
        let message = reason.map(|reason| match reason {
            names::NODE_LOST_REASON => "its node is lost, by the agreement of its peers",
            _ => "as it was before its node was lost",
        });
        let condition = json!({
            "type": "Ready",
            "status": wanted.status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": wall_clock(),
        });
        let fields = Fields::ByKeys(json!({"status": {"conditions": [condition]}}));
        let written =
            self.writer
                .change::<LeanPod>(reign.term(), kind, basis, Part::Status, fields);
        match written.await {
            Ok(_) => Ok(()),
            // It is gone, or kubelet has said something itself.
            Err(error) if error.is_overtaken() => Ok(()),
            Err(error) => Err(CarryError::Write(error)),
        }
    }
}
