//! Images, as the runtime tells and pulls them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use crate::message::image as message;
use crate::runtime::point;

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its id: the digest of its configuration.
    pub id: String,
    /// Its names with tags.
    pub tags: Vec<String>,
    /// Its names with digests.
    pub digests: Vec<String>,
    /// How large it is.
    pub size_bytes: u64,
    /// Whether the runtime keeps it whatever happens.
    pub pinned: bool,
}

/// An image to be pulled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pull {
    /// Its name, with tag or digest.
    pub image: String,
    /// What the registry is told; nothing: nobody.
    pub auth: Option<Auth>,
    /// Labels of the sandbox it is pulled for, which mark who pulls.
    pub labels: BTreeMap<String, String>,
}

/// What a registry is told of who pulls. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// Who.
    pub username: String,
    /// The password.
    pub password: String,
    /// Both, as a registry's configuration file has them.
    pub basic: String,
    /// Which registry it is for.
    pub server_address: String,
    /// A token that is changed for another at the registry.
    pub identity_token: String,
    /// A token for the registry itself.
    pub registry_token: String,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

/// A file system that the runtime uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// A folder on it.
    pub mountpoint: String,
    /// How much of it the runtime uses.
    pub used_bytes: Option<u64>,
    /// How many inodes of it the runtime uses.
    pub used_inodes: Option<u64>,
    /// When that was found out.
    pub seen_at: Option<SystemTime>,
}

/// Where the runtime keeps images and what containers write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFilesystems {
    /// Images.
    pub images: Vec<Filesystem>,
    /// What containers write.
    pub containers: Vec<Filesystem>,
}

impl From<message::Image> for Image {
    fn from(image: message::Image) -> Self {
        Self {
            id: image.id,
            tags: image.repo_tags,
            digests: image.repo_digests,
            size_bytes: image.size,
            pinned: image.pinned,
        }
    }
}

impl From<Auth> for message::Auth {
    fn from(auth: Auth) -> Self {
        Self {
            username: auth.username,
            password: auth.password,
            basic: auth.basic,
            server_address: auth.server_address,
            identity_token: auth.identity_token,
            registry_token: auth.registry_token,
        }
    }
}

impl From<Pull> for message::PullRequest {
    fn from(pull: Pull) -> Self {
        Self {
            image: Some(message::Spec { image: pull.image }),
            auth: pull.auth.map(Into::into),
            sandbox_config: (!pull.labels.is_empty()).then_some(message::SandboxConfig {
                metadata: None,
                labels: pull.labels,
            }),
        }
    }
}

impl From<message::Usage> for Filesystem {
    fn from(usage: message::Usage) -> Self {
        Self {
            mountpoint: usage.fs_id.unwrap_or_default().mountpoint,
            used_bytes: usage.used_bytes.map(|count| count.value),
            used_inodes: usage.inodes_used.map(|count| count.value),
            seen_at: point(usage.timestamp),
        }
    }
}

impl From<message::FilesystemsResponse> for ImageFilesystems {
    fn from(answer: message::FilesystemsResponse) -> Self {
        let all = |usages: Vec<message::Usage>| usages.into_iter().map(Into::into).collect();
        Self {
            images: all(answer.image_filesystems),
            containers: all(answer.container_filesystems),
        }
    }
}
