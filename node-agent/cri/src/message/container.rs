//! The messages about containers.

use std::collections::BTreeMap;

/// `ListContainers`, as a path.
pub(crate) const LIST: &str = "/runtime.v1.RuntimeService/ListContainers";
/// `ContainerStatus`, as a path.
pub(crate) const STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
/// `StopContainer`, as a path.
pub(crate) const STOP: &str = "/runtime.v1.RuntimeService/StopContainer";
/// `ExecSync`, as a path.
pub(crate) const EXEC: &str = "/runtime.v1.RuntimeService/ExecSync";

/// Which containers.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ListRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) filter: Option<Filter>,
}

/// `ContainerFilter`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Filter {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) state: Option<StateValue>,
    #[prost(string, tag = "3")]
    pub(crate) pod_sandbox_id: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) label_selector: BTreeMap<String, String>,
}

/// A state that is asked for, since 0 is one.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct StateValue {
    #[prost(enumeration = "State", tag = "1")]
    pub(crate) state: i32,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum State {
    Created = 0,
    Running = 1,
    Exited = 2,
    Unknown = 3,
}

/// Those that fit.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ListResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) containers: Vec<Container>,
}

/// `Container`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Container {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "4")]
    pub(crate) image: Option<super::image::Spec>,
    #[prost(string, tag = "5")]
    pub(crate) image_ref: String,
    #[prost(enumeration = "State", tag = "6")]
    pub(crate) state: i32,
    #[prost(int64, tag = "7")]
    pub(crate) created_at: i64,
    #[prost(btree_map = "string, string", tag = "8")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "9")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// `ContainerMetadata`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Metadata {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(uint32, tag = "2")]
    pub(crate) attempt: u32,
}

/// Which one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StatusRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
}

/// More about one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<Status>,
}

/// `ContainerStatus`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Status {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(enumeration = "State", tag = "3")]
    pub(crate) state: i32,
    #[prost(int64, tag = "4")]
    pub(crate) created_at: i64,
    #[prost(int64, tag = "5")]
    pub(crate) started_at: i64,
    #[prost(int64, tag = "6")]
    pub(crate) finished_at: i64,
    #[prost(int32, tag = "7")]
    pub(crate) exit_code: i32,
    #[prost(message, optional, tag = "8")]
    pub(crate) image: Option<super::image::Spec>,
    #[prost(string, tag = "9")]
    pub(crate) image_ref: String,
    #[prost(string, tag = "10")]
    pub(crate) reason: String,
    #[prost(string, tag = "11")]
    pub(crate) message: String,
    #[prost(btree_map = "string, string", tag = "12")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "13")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Which one, and how long TERM has.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StopRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    /// In seconds; 0 is KILL at once.
    #[prost(int64, tag = "2")]
    pub(crate) timeout: i64,
}

/// It is stopped.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct StopResponse {}

/// What is run where.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ExecRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) cmd: Vec<String>,
    /// In seconds; 0 is for ever.
    #[prost(int64, tag = "3")]
    pub(crate) timeout: i64,
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ExecResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) stdout: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) stderr: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub(crate) exit_code: i32,
}
