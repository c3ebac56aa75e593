//! The annotation [`crate::names::CONTAINERS_ANNOTATION`]: which specification each container of a Pod has, which one runs,
//! and its id. With it an upgrade is judged without image ids, which differ by tag, registry and runtime.
//!
//! Written by the agent of the Pod's node where the Pod has [`crate::names::REPORT_CONTAINERS_ANNOTATION`]. It is of when it was
//! written: who reads it compares `desired` with [`specification_hash`] of the Pod that it has just read.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// Each container of `spec.containers`, by name.
pub type PodContainers = BTreeMap<String, ContainerFacts>;

/// What is told of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFacts {
    /// [`specification_hash`] of what the Pod says.
    pub desired: String,
    /// The same of what runs, as kubelet noted it when it created the container; nothing: none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<String>,
    /// The id of what runs, as the runtime names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The id of the sandbox it runs in: where that changes, kubelet has set the whole Pod up anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
}

impl ContainerFacts {
    /// Whether what runs is what the Pod says.
    pub fn is_current(&self) -> bool {
        self.reported.as_ref() == Some(&self.desired)
    }
}

/// By what kubelet of 1.31 or later tells whether a container must be replaced: its name and its image. In hexadecimal, as in
/// the runtime's annotation `io.kubernetes.container.hash`.
///
/// `HashContainer` in kubelet's `container/helpers.go`: FNV-1a of 32 bits, not over the JSON of the two, but over how Go
/// writes its bytes (`([]uint8)[123 34 …]`), since they go through `DeepHashObject`.
pub fn specification_hash(name: &str, image: &str) -> String {
    let json = format!(r#"{{"image":{},"name":{}}}"#, quoted(image), quoted(name));
    let mut written = String::from("([]uint8)[");
    for (index, byte) in json.bytes().enumerate() {
        let space = if index == 0 { "" } else { " " };
        // Writing to a String has no way to fail.
        let _ = write!(written, "{space}{byte}");
    }
    written.push(']');
    format!("{:x}", fnv1a(written.as_bytes()))
}

/// As Go's `encoding/json` writes a text: what HTML could mistake is escaped too.
fn quoted(text: &str) -> String {
    let mut json = serde_json::Value::from(text).to_string();
    for (character, escaped) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        json = json.replace(character, escaped);
    }
    json
}

/// FNV-1a, 32 bits.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kubelet_s_own_tests() {
        // `TestHashContainer` and `TestHashContainerWithoutResources` of Kubernetes 1.36.3.
        for (name, image, hash) in [
            ("test_container", "foo/image:v1", "8e45cbd0"),
            ("foo", "bar", "11a6d6d6"),
        ] {
            assert_eq!(specification_hash(name, image), hash, "{name}");
        }
    }

    #[test]
    fn text_is_written_as_go_does() {
        assert_eq!(quoted("a<b>&\"\\"), r#""a\u003cb\u003e\u0026\"\\""#);
        assert_eq!(quoted("\n\u{1}é\u{2028}"), "\"\\n\\u0001é\\u2028\"");
    }

    #[test]
    fn nothing_runs_is_not_current() {
        let text = r#"{"app":{"desired":"8e45cbd0"},"old":{"desired":"1","reported":"2","id":"c"},"new":{"desired":"2","reported":"2","id":"d","sandbox":"s"}}"#;
        let facts: PodContainers = serde_json::from_str(text).unwrap();
        let current: Vec<_> = facts
            .iter()
            .filter(|(_, facts)| facts.is_current())
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(current, ["new"]);
        let written: PodContainers =
            serde_json::from_str(&serde_json::to_string(&facts).unwrap()).unwrap();
        assert_eq!(written, facts);
    }
}
