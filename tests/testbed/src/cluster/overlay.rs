//! The overlay with which this cluster's Berth is installed: what an operator writes over the project's manifests. Text only.
//!
//! It says what is this cluster's own (image, pools, networks), and what is the testbed's: where a node's boot id and its kernel log
//! are, since a container sees the machine's.

use serde_json::{Value, json};

use crate::{
    control_plane::{ADDRESS, SERVICE_CIDR},
    node::KERNEL_LOG,
    product::{REPOSITORY, TAG},
};

/// Where Berth lives in the API.
pub(crate) const NAMESPACE: &str = "berth-system";

/// The `DaemonSet` of the address daemon.
const IPAMD: &str = "berth-ipamd";

/// The `DaemonSet` of the node agent.
const AGENT: &str = "berth-agent";

/// The `ConfigMap` of the pools, and its key.
pub(crate) const POOLS: (&str, &str) = ("berth-ipamd", "ipamd.toml");

/// The `ConfigMap` of the networks, and its key.
const NETWORKS: (&str, &str) = ("berth-cni", "10-berth.conflist");

/// A node with this label has no Pods of Berth's `DaemonSets`: the manifests say so.
pub(crate) const OFF_LABEL: &str = "berth.dev/excluded";

/// Where a container sees its node's boot id.
const BOOT_ID: &str = "/host/boot_id";

/// Where the agent's container sees its node's file tree: the manifests say so.
const NODE_ROOT: &str = "/host/root";

/// The name under which the manifests are copied beside the overlay: kustomize takes no absolute path.
pub(super) const BASE: &str = "base";

/// What the duties of Kubernetes' node lifecycle need where that does not run: a component of ours.
pub(super) const REPLACE: &str = "replace";

/// What an overlay is made from.
#[derive(Debug)]
pub(super) struct Overlay<'a> {
    /// The text of `ipamd.toml`.
    pub(super) pools: &'a str,
    /// What this cluster's agents are told otherwise than as shipped.
    pub(super) agent_settings: &'a [(String, String)],
    /// Services are there without it: else the API server's own address is said.
    pub(super) kube_proxy: bool,
    /// Without it Berth may do its duties.
    pub(super) upstream_lifecycle: bool,
}

impl Overlay<'_> {
    /// The kustomization; JSON is YAML.
    pub(super) fn kustomization(&self) -> Value {
        let mut patches = vec![
            config_map(POOLS, self.pools),
            config_map(NETWORKS, &conflist().to_string()),
            boot_id(IPAMD, "ipamd", "BERTH_IPAMD_BOOT_ID_FILE"),
            boot_id(AGENT, "agent", "BERTH_AGENT_BOOT_ID_FILE"),
            kernel_log(),
            clock(),
            watched_folders(),
        ];
        let settings = self.agent_settings.iter();
        patches.extend(settings.map(|(name, value)| agent_env(name, value)));
        let patches: Vec<Value> = patches
            .into_iter()
            .map(|patch| json!({"patch": patch.to_string()}))
            .collect();
        let mut kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": [BASE],
            "images": [{"name": REPOSITORY, "newTag": TAG}],
            "patches": patches,
        });
        if !self.upstream_lifecycle {
            kustomization["components"] = json!([REPLACE]);
        }
        if !self.kube_proxy {
            kustomization["configMapGenerator"] = json!([{
                "name": "berth-api", "namespace": NAMESPACE,
                "literals": [format!("KUBERNETES_SERVICE_HOST={ADDRESS}"), "KUBERNETES_SERVICE_PORT=6443"],
                "options": {"disableNameSuffixHash": true},
            }]);
        }
        kustomization
    }
}

/// A patch that gives a `ConfigMap` another content.
pub(super) fn config_map((name, key): (&str, &str), text: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {key: text},
    })
}

fn conflist() -> Value {
    json!({
        // containerd 1.6 speaks 1.0.0; 2.x takes the newest that is named.
        "cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"],
        "name": "berth",
        "plugins": [{
            "type": "berth",
            "capabilities": {"ips": true, "mac": true, "io.kubernetes.cri.pod-annotations": true},
            "ipamd": "/run/berth/ipamd.sock",
            "serviceCidrs": [SERVICE_CIDR],
            "networks": [
                // The node's own address is on it.
                // A Pod that is behind a Service of its own comes back to its port: where the kernel hands bridged frames to netfilter
                // (`br_netfilter`), they are bridged there and not routed.
                {"name": "external", "uplink": "eth0", "default": true, "mode": "take-over", "hairpin": true},
                {"name": "internal", "uplink": "eth1"},
            ],
        }],
    })
}

/// The node's own boot id is a file bound over the kernel's; runc refuses mounts over `/proc`, so it is shown elsewhere.
fn boot_id(daemon_set: &str, container: &str, variable: &str) -> Value {
    let pod = json!({
        "volumes": [{"name": "boot-id", "hostPath": {"path": "/proc/sys/kernel/random/boot_id", "type": "File"}}],
        "containers": [{
            "name": container,
            "env": [{"name": variable, "value": BOOT_ID}],
            "volumeMounts": [{"name": "boot-id", "mountPath": BOOT_ID, "readOnly": true}],
        }],
    });
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": daemon_set, "namespace": NAMESPACE},
        "spec": {"template": {"spec": pod}},
    })
}

/// As on virtual machines whose host keeps their clock: nobody tells this machine's kernel that it is right.
fn clock() -> Value {
    agent_env("BERTH_AGENT_CLOCK", "host")
}

/// Nodes share the machine's kernel and must not share its log: what one test does to a node is not another node's trouble.
fn kernel_log() -> Value {
    agent_env("BERTH_AGENT_KMSG", &format!("{NODE_ROOT}{KERNEL_LOG}"))
}

/// Not the root, which is the machine's: how full that is, and whose doing it is, is no node's trouble.
fn watched_folders() -> Value {
    let folders = "/var/lib/kubelet,/var/lib/containerd,/var/lib/berth";
    agent_env("BERTH_AGENT_WATCHED_FOLDERS", folders)
}

fn agent_env(name: &str, value: &str) -> Value {
    let agent = json!({"name": "agent", "env": [{"name": name, "value": value}]});
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": AGENT, "namespace": NAMESPACE},
        "spec": {"template": {"spec": {"containers": [agent]}}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_servers_address_is_said_where_there_is_no_kube_proxy() {
        let overlay = |kube_proxy| Overlay {
            pools: "",
            agent_settings: &[],
            kube_proxy,
            upstream_lifecycle: true,
        };
        assert!(overlay(true).kustomization()["configMapGenerator"].is_null());
        let generated = overlay(false).kustomization();
        assert_eq!(generated["configMapGenerator"][0]["name"], "berth-api");
    }
}
