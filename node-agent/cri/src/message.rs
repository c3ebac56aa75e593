//! The messages of `runtime/v1/api.proto` about the runtime itself and about sandboxes, cut down to what is used.
//!
//! Fields that are not here are skipped, and never passed on. Written by hand: the code of the whole of CRI is larger than the
//! rest of the agent, and making it needs `protoc`.

use std::collections::BTreeMap;

pub(crate) mod container;
pub(crate) mod content;
pub(crate) mod image;

/// `Version`, as a path.
pub(crate) const VERSION: &str = "/runtime.v1.RuntimeService/Version";
/// `Status`, as a path.
pub(crate) const STATUS: &str = "/runtime.v1.RuntimeService/Status";
/// `ListPodSandbox`, as a path.
pub(crate) const LIST_SANDBOXES: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
/// `PodSandboxStatus`, as a path.
pub(crate) const SANDBOX_STATUS: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";

/// `StopPodSandbox`, as a path.
pub(crate) const STOP_SANDBOX: &str = "/runtime.v1.RuntimeService/StopPodSandbox";

/// Which sandbox is to be stopped.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StopSandboxRequest {
    #[prost(string, tag = "1")]
    pub(crate) pod_sandbox_id: String,
}

/// It is stopped.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StopSandboxResponse {}

/// Which version of CRI is asked for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct VersionRequest {
    #[prost(string, tag = "1")]
    pub(crate) version: String,
}

/// What serves.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct VersionResponse {
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) version: String,
    #[prost(string, tag = "4")]
    pub(crate) api_version: String,
}

/// Never verbose: the answer would have the runtime's whole configuration.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StatusRequest {}

/// How the runtime is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<Conditions>,
}

/// `RuntimeStatus`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Conditions {
    #[prost(message, repeated, tag = "1")]
    pub(crate) conditions: Vec<Condition>,
}

/// `RuntimeCondition`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Condition {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(bool, tag = "2")]
    pub(crate) status: bool,
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
    #[prost(string, tag = "4")]
    pub(crate) message: String,
}

/// Which sandboxes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ListSandboxesRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) filter: Option<Filter>,
}

/// `PodSandboxFilter`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Filter {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) state: Option<StateValue>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) label_selector: BTreeMap<String, String>,
}

/// A state that is asked for, since 0 is one.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct StateValue {
    #[prost(enumeration = "SandboxState", tag = "1")]
    pub(crate) state: i32,
}

/// Whether a sandbox runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum SandboxState {
    Ready = 0,
    NotReady = 1,
}

/// Those that fit.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ListSandboxesResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) items: Vec<Sandbox>,
}

/// `PodSandbox`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Sandbox {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<SandboxMetadata>,
    #[prost(enumeration = "SandboxState", tag = "3")]
    pub(crate) state: i32,
    #[prost(int64, tag = "4")]
    pub(crate) created_at: i64,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// `PodSandboxMetadata`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SandboxMetadata {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) uid: String,
    #[prost(string, tag = "3")]
    pub(crate) namespace: String,
    #[prost(uint32, tag = "4")]
    pub(crate) attempt: u32,
}

/// Which one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SandboxStatusRequest {
    #[prost(string, tag = "1")]
    pub(crate) pod_sandbox_id: String,
    /// With what the runtime knows besides CRI: containerd's answer to its CNI plugin among it.
    #[prost(bool, tag = "2")]
    pub(crate) verbose: bool,
}

/// More about one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<SandboxStatus>,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(crate) info: BTreeMap<String, String>,
}

/// `PodSandboxStatus`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SandboxStatus {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<SandboxMetadata>,
    #[prost(enumeration = "SandboxState", tag = "3")]
    pub(crate) state: i32,
    #[prost(int64, tag = "4")]
    pub(crate) created_at: i64,
    #[prost(message, optional, tag = "5")]
    pub(crate) network: Option<NetworkStatus>,
    #[prost(message, optional, tag = "6")]
    pub(crate) linux: Option<LinuxStatus>,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "8")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Its addresses; none on the node's own network.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct NetworkStatus {
    #[prost(string, tag = "1")]
    pub(crate) ip: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) additional_ips: Vec<PodIp>,
}

/// One address more.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PodIp {
    #[prost(string, tag = "1")]
    pub(crate) ip: String,
}

/// `LinuxPodSandboxStatus`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct LinuxStatus {
    #[prost(message, optional, tag = "1")]
    pub(crate) namespaces: Option<Namespaces>,
}

/// `Namespace`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Namespaces {
    #[prost(message, optional, tag = "2")]
    pub(crate) options: Option<NamespaceOptions>,
}

/// `NamespaceOption`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct NamespaceOptions {
    #[prost(enumeration = "NamespaceMode", tag = "1")]
    pub(crate) network: i32,
}

/// Whose namespace it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum NamespaceMode {
    Pod = 0,
    Container = 1,
    Node = 2,
    Target = 3,
}
