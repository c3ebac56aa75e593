//! What of CRI v1 is spoken: which sandboxes there are, and which addresses one has.
//!
//! The messages of `runtime/v1/api.proto`, cut down to the fields that are read; the others are skipped, and never passed on.
//! Written by hand: the whole of CRI is ten times as large as this daemon's other protocols, and its code needs `protoc`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipamd_core::Sandbox;
use proto_ids::{ParseNameError, SandboxId};

/// `ListPodSandbox`, as a path.
pub(super) const LIST: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
/// `PodSandboxStatus`, as a path.
pub(super) const STATUS: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";
/// As kubelet takes at most (`maxMsgSize` of its CRI client): some hundred sandboxes have less than one.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Without a filter: all sandboxes, running or not.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ListPodSandboxRequest {}

/// All sandboxes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) items: Vec<PodSandbox>,
}

/// One sandbox.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PodSandbox {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<PodSandboxMetadata>,
    #[prost(enumeration = "PodSandboxState", tag = "3")]
    pub(super) state: i32,
}

/// Whose it is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

/// Whether it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum PodSandboxState {
    Ready = 0,
    NotReady = 1,
}

/// Which one. The second field, `verbose`, is never set: its answer has the Pod's whole configuration.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PodSandboxStatusRequest {
    #[prost(string, tag = "1")]
    pub(super) pod_sandbox_id: String,
}

/// More about one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<PodSandboxStatus>,
}

/// More about one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PodSandboxStatus {
    #[prost(message, optional, tag = "5")]
    pub(super) network: Option<PodSandboxNetworkStatus>,
}

/// Its addresses; none on the node's own network.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PodSandboxNetworkStatus {
    #[prost(string, tag = "1")]
    pub(super) ip: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) additional_ips: Vec<PodIp>,
}

/// One address more.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PodIp {
    #[prost(string, tag = "1")]
    pub(super) ip: String,
}

impl ListPodSandboxResponse {
    /// The sandboxes by id.
    ///
    /// # Errors
    /// When an id is none that a plugin could have been told: then it is not known which attachment it belongs to.
    pub(super) fn sandboxes(
        self,
    ) -> Result<BTreeMap<SandboxId, Sandbox>, (String, ParseNameError)> {
        let sandbox = |item: PodSandbox| {
            let id = item.id.parse().map_err(|error| (item.id.clone(), error))?;
            let running = item.state() == PodSandboxState::Ready;
            let metadata = item.metadata.unwrap_or_default();
            let sandbox = Sandbox {
                running,
                pod: format!("{}/{}", metadata.namespace, metadata.name),
                addresses: Vec::new(),
            };
            Ok((id, sandbox))
        };
        self.items.into_iter().map(sandbox).collect()
    }
}

impl PodSandboxStatusResponse {
    /// The addresses that the runtime believes a sandbox has.
    pub(super) fn addresses(self) -> Vec<IpAddr> {
        let network = self.status.unwrap_or_default().network.unwrap_or_default();
        let others = network.additional_ips.into_iter().map(|other| other.ip);
        let all = std::iter::once(network.ip).chain(others);
        // Empty on the node's own network.
        all.filter_map(|text| text.parse().ok()).collect()
    }
}
