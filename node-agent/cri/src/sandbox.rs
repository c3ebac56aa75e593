//! Sandboxes, as the runtime tells them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::message;
use crate::runtime::point;

/// Which sandboxes are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxFilter {
    /// Only this one.
    pub id: Option<String>,
    /// Only those that run, or do not.
    pub ready: Option<bool>,
    /// Only those with these labels, such as `io.kubernetes.pod.uid`.
    pub labels: BTreeMap<String, String>,
}

/// A sandbox in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Its id.
    pub id: String,
    /// Name of its Pod.
    pub pod: String,
    /// The Pod's namespace.
    pub namespace: String,
    /// UID of its Pod, as kubelet gave it.
    pub uid: String,
    /// The how many-th of its Pod, from 0.
    pub attempt: u32,
    /// Whether it runs.
    pub ready: bool,
    /// When it was created.
    pub created_at: Option<SystemTime>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Whose network a sandbox is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Its own.
    Pod,
    /// The node's.
    Node,
}

/// More about one sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxStatus {
    /// What a list has of it.
    pub sandbox: Sandbox,
    /// Its addresses, the first first; none on the node's network.
    pub ips: Vec<String>,
    /// Whose network it is on.
    pub network: Network,
    /// The MAC address that the plugin answered with; told by [`crate::Runtime::sandbox_in_full`] only.
    pub mac: Option<String>,
}

/// Of what a runtime knows besides CRI, containerd's answer of its plugin.
#[derive(serde::Deserialize)]
struct Info {
    #[serde(rename = "cniResult")]
    plugin: Option<PluginAnswer>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PluginAnswer {
    #[serde(default)]
    interfaces: BTreeMap<String, Interface>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Interface {
    #[serde(default)]
    mac: String,
    /// The network namespace; empty for what is on the node.
    #[serde(default)]
    sandbox: String,
}

/// The MAC address of the first interface inside a sandbox, in what containerd (1.6 to 2.4) tells of it.
pub(crate) fn mac(info: &BTreeMap<String, String>) -> Option<String> {
    let info: Info = serde_json::from_str(info.get("info")?).ok()?;
    let interfaces = info.plugin?.interfaces;
    let inside = |(name, interface): &(&String, &Interface)| {
        *name != "lo" && !interface.sandbox.is_empty() && !interface.mac.is_empty()
    };
    let first = interfaces.iter().find(inside);
    first.map(|(_, interface)| interface.mac.clone())
}

impl From<SandboxFilter> for message::Filter {
    fn from(filter: SandboxFilter) -> Self {
        Self {
            id: filter.id.unwrap_or_default(),
            state: filter.ready.map(|ready| message::StateValue {
                state: if ready {
                    message::SandboxState::Ready.into()
                } else {
                    message::SandboxState::NotReady.into()
                },
            }),
            label_selector: filter.labels,
        }
    }
}

impl From<message::Sandbox> for Sandbox {
    fn from(item: message::Sandbox) -> Self {
        let ready = item.state() == message::SandboxState::Ready;
        let metadata = item.metadata.unwrap_or_default();
        Self {
            id: item.id,
            pod: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            attempt: metadata.attempt,
            ready,
            created_at: point(item.created_at),
            labels: item.labels,
            annotations: item.annotations,
        }
    }
}

impl From<message::SandboxStatus> for SandboxStatus {
    fn from(status: message::SandboxStatus) -> Self {
        let options = status.linux.and_then(|linux| linux.namespaces);
        let options = options.and_then(|namespaces| namespaces.options);
        let network = match options.unwrap_or_default().network() {
            message::NamespaceMode::Node => Network::Node,
            _ => Network::Pod,
        };
        let addresses = status.network.unwrap_or_default();
        let others = addresses.additional_ips.into_iter().map(|other| other.ip);
        let ips = std::iter::once(addresses.ip).chain(others);
        Self {
            // Empty on the node's own network.
            ips: ips.filter(|ip| !ip.is_empty()).collect(),
            network,
            mac: None,
            sandbox: message::Sandbox {
                id: status.id,
                metadata: status.metadata,
                state: status.state,
                created_at: status.created_at,
                labels: status.labels,
                annotations: status.annotations,
            }
            .into(),
        }
    }
}
