//! How much of an image has arrived: what CRI does not tell and containerd does, by its own service of the same socket.
//!
//! Another runtime refuses these calls ([`crate::Code::Unimplemented`]); then nobody knows, and nothing else is missing.

use std::time::Duration;

use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::call::{CallRuntimeError, Limits};
use crate::message::content as message;
use crate::runtime::Runtime;

/// What an answer, or a part of one, may have: containerd sends a hundred contents at a time, with their labels.
const MAX_BYTES: usize = 1024 * 1024;

/// Where CRI's images are, among containerd's namespaces.
const NAMESPACE: (&str, &str) = ("containerd-namespace", "k8s.io");

/// A part of an image that is there: a manifest, a configuration, a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its digest.
    pub digest: String,
    /// How large it is.
    pub size_bytes: u64,
}

/// A part of an image that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its digest.
    pub digest: String,
    /// How much has arrived.
    pub received_bytes: u64,
    /// How large it is.
    pub total_bytes: u64,
}

impl Runtime {
    /// Everything that is on its way.
    ///
    /// # Errors
    /// As [`Runtime::version`]; a runtime other than containerd refuses.
    pub async fn transfers(&self, deadline: Duration) -> Result<Vec<Transfer>, CallRuntimeError> {
        let question = of_images(message::TransfersRequest {});
        let answer: message::TransfersResponse = self
            .caller
            .request(message::TRANSFERS, question, limits(deadline))
            .await?;
        let transfer = |status: message::Status| {
            let (_, digest) = status.name.split_once("sha256:")?;
            Some(Transfer {
                digest: format!("sha256:{digest}"),
                received_bytes: bytes(status.offset),
                total_bytes: bytes(status.total),
            })
        };
        Ok(answer.statuses.into_iter().filter_map(transfer).collect())
    }

    /// What is there of a repository of a registry.
    ///
    /// # Errors
    /// As [`Self::transfers`].
    pub async fn contents(
        &self,
        host: &str,
        repository: &str,
        deadline: Duration,
    ) -> Result<Vec<Content>, CallRuntimeError> {
        let question = of_images(message::ListRequest {
            filters: vec![filter(host, repository)],
        });
        let parts: Vec<message::ListResponse> = self
            .caller
            .stream(message::LIST, question, limits(deadline))
            .await?;
        let content = |info: message::Info| Content {
            digest: info.digest,
            size_bytes: bytes(info.size),
        };
        let infos = parts.into_iter().flat_map(|part| part.infos);
        Ok(infos.map(content).collect())
    }

    /// The bytes of a small part of an image: a manifest.
    ///
    /// # Errors
    /// As [`Self::transfers`]; [`CallRuntimeError::NotFound`]: it is not there.
    pub async fn content(
        &self,
        content: &Content,
        deadline: Duration,
    ) -> Result<Vec<u8>, CallRuntimeError> {
        let question = of_images(message::ReadRequest {
            digest: content.digest.clone(),
            size: i64::try_from(content.size_bytes).unwrap_or(i64::MAX),
        });
        let parts: Vec<message::ReadResponse> = self
            .caller
            .stream(message::READ, question, limits(deadline))
            .await?;
        Ok(parts.into_iter().flat_map(|part| part.data).collect())
    }
}

fn of_images<Q>(question: Q) -> Request<Q> {
    let mut request = Request::new(question);
    let (key, value) = NAMESPACE;
    request
        .metadata_mut()
        .insert(key, MetadataValue::from_static(value));
    request
}

fn limits(deadline: Duration) -> Limits {
    Limits {
        deadline,
        bytes: MAX_BYTES,
    }
}

/// containerd notes on each part where it came from: the registry without its port, and all repositories, with commas.
fn filter(host: &str, repository: &str) -> String {
    let host = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let repository = repository.replace('.', "[.]");
    format!("labels.\"containerd.io/distribution.source.{host}\"~=\"(^|,){repository}(,|$)\"")
}

fn bytes(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_of_a_repository_are_asked_for_as_containerd_notes_them() {
        for (host, repository, expected) in [
            (
                "127.0.0.1:5000",
                "team/app",
                r#"labels."containerd.io/distribution.source.127.0.0.1"~="(^|,)team/app(,|$)""#,
            ),
            (
                "[fd00::1]:5000",
                "a.b",
                r#"labels."containerd.io/distribution.source.fd00::1"~="(^|,)a[.]b(,|$)""#,
            ),
        ] {
            assert_eq!(filter(host, repository), expected);
        }
    }
}
