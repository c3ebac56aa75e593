//! The messages about images.

use std::collections::BTreeMap;

use super::SandboxMetadata;

/// `ImageStatus`, as a path.
pub(crate) const STATUS: &str = "/runtime.v1.ImageService/ImageStatus";
/// `PullImage`, as a path.
pub(crate) const PULL: &str = "/runtime.v1.ImageService/PullImage";
/// `ListImages`, as a path.
pub(crate) const LIST: &str = "/runtime.v1.ImageService/ListImages";
/// `ImageFsInfo`, as a path.
pub(crate) const FILESYSTEMS: &str = "/runtime.v1.ImageService/ImageFsInfo";

/// `ImageSpec`: a name, with tag or digest, or an id.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Spec {
    #[prost(string, tag = "1")]
    pub(crate) image: String,
}

/// Which one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StatusRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) image: Option<Spec>,
}

/// It, if it is there.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) image: Option<Image>,
}

/// `Image`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Image {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) repo_tags: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub(crate) repo_digests: Vec<String>,
    #[prost(uint64, tag = "4")]
    pub(crate) size: u64,
    #[prost(bool, tag = "8")]
    pub(crate) pinned: bool,
}

/// What is pulled, and for whom.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PullRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) image: Option<Spec>,
    #[prost(message, optional, tag = "2")]
    pub(crate) auth: Option<Auth>,
    #[prost(message, optional, tag = "3")]
    pub(crate) sandbox_config: Option<SandboxConfig>,
}

/// `AuthConfig`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct Auth {
    #[prost(string, tag = "1")]
    pub(crate) username: String,
    #[prost(string, tag = "2")]
    pub(crate) password: String,
    #[prost(string, tag = "3")]
    pub(crate) basic: String,
    #[prost(string, tag = "4")]
    pub(crate) server_address: String,
    #[prost(string, tag = "5")]
    pub(crate) identity_token: String,
    #[prost(string, tag = "6")]
    pub(crate) registry_token: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

/// `PodSandboxConfig`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SandboxConfig {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<SandboxMetadata>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(crate) labels: BTreeMap<String, String>,
}

/// What it is now.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PullResponse {
    #[prost(string, tag = "1")]
    pub(crate) image_ref: String,
}

/// Without a filter: all.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct ListRequest {}

/// All images.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ListResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) images: Vec<Image>,
}

/// How full they are.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct FilesystemsRequest {}

/// The file systems.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct FilesystemsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) image_filesystems: Vec<Usage>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) container_filesystems: Vec<Usage>,
}

/// `FilesystemUsage`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Usage {
    #[prost(int64, tag = "1")]
    pub(crate) timestamp: i64,
    #[prost(message, optional, tag = "2")]
    pub(crate) fs_id: Option<FilesystemId>,
    #[prost(message, optional, tag = "3")]
    pub(crate) used_bytes: Option<Count>,
    #[prost(message, optional, tag = "4")]
    pub(crate) inodes_used: Option<Count>,
}

/// `FilesystemIdentifier`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct FilesystemId {
    #[prost(string, tag = "1")]
    pub(crate) mountpoint: String,
}

/// `UInt64Value`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Count {
    #[prost(uint64, tag = "1")]
    pub(crate) value: u64,
}
