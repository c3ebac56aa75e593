//! The messages of containerd's own `services/content/v1/content.proto`, cut down to what is used.

/// `List`, as a path.
pub(crate) const LIST: &str = "/containerd.services.content.v1.Content/List";
/// `ListStatuses`, as a path.
pub(crate) const TRANSFERS: &str = "/containerd.services.content.v1.Content/ListStatuses";
/// `Read`, as a path.
pub(crate) const READ: &str = "/containerd.services.content.v1.Content/Read";

/// Which contents.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ListRequest {
    #[prost(string, repeated, tag = "1")]
    pub(crate) filters: Vec<String>,
}

/// Some of them.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ListResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) infos: Vec<Info>,
}

/// One content.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Info {
    #[prost(string, tag = "1")]
    pub(crate) digest: String,
    #[prost(int64, tag = "2")]
    pub(crate) size: i64,
}

/// What is being transferred.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TransfersRequest {}

/// All of it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TransfersResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) statuses: Vec<Status>,
}

/// One transfer. Its name ends with the digest.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Status {
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(int64, tag = "4")]
    pub(crate) offset: i64,
    #[prost(int64, tag = "5")]
    pub(crate) total: i64,
}

/// Which content, and how much of it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ReadRequest {
    #[prost(string, tag = "1")]
    pub(crate) digest: String,
    #[prost(int64, tag = "3")]
    pub(crate) size: i64,
}

/// A part of it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ReadResponse {
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) data: Vec<u8>,
}
