//! What a cluster has besides Kubernetes and Berth: DNS by a real `CoreDNS`, and the plugins that are chained behind Berth's.
//!
//! All of it comes from the Go module `addons` and is installed as an operator would: by an image and objects, and by files in the plugin folder.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Cluster;
use crate::{
    image::{Archive, Image, Program},
    programs::Addons,
};

/// The Service that Pods ask for names; kubelet writes it into them.
pub const DNS_ADDRESS: &str = "10.96.0.10";

/// The cluster's own domain.
pub const DNS_DOMAIN: &str = "cluster.local";

/// Not a name that is pulled by accident.
const DNS_IMAGE: &str = "localhost/coredns:1";

/// Two seconds on an idle machine.
const DNS_BUDGET: &str = "--timeout=180s";

/// Plugins that come behind Berth's in a chain.
const CHAINED: [&str; 2] = ["portmap", "bandwidth"];

impl Cluster {
    /// Runs `CoreDNS` on one of the nodes that are on, and returns when it serves. Done twice it is done once.
    ///
    /// # Errors
    /// The image cannot be made or imported, or it does not serve in time.
    pub fn install_dns(&self, addons: &Addons) -> Result<()> {
        let folder = self.world().dir().join("coredns-image");
        let archive = Archive {
            programs: &[Program {
                file: &addons.folder().join("coredns"),
                path: "coredns",
                links: &[],
            }],
            images: &[Image {
                names: &[DNS_IMAGE],
                config: json!({"Entrypoint": ["/coredns"]}),
            }],
        };
        let archive = archive.write(&folder)?;
        for node in self.world().nodes().iter().filter(|node| node.is_on()) {
            let runtime = self.members.get(node.name()).map(|it| &it.runtime);
            node.load_images(runtime.context("a node without a runtime")?, &archive)?;
        }
        self.apply(&dns_objects().to_string())?;
        let words = ["--namespace=kube-system", "rollout", "status", DNS_BUDGET];
        let words = words.into_iter().chain(["deployment/coredns"]);
        self.kubectl(&words.collect::<Vec<_>>()).map(|_| ())
    }

    /// Puts `portmap` and `bandwidth` into a node's plugin folder, in place of what is there.
    ///
    /// # Errors
    /// There is no such node, or the folder cannot be written.
    pub fn install_chained_plugins(&self, name: &str, addons: &Addons) -> Result<()> {
        self.place(name)?;
        let folder = self.world().node(name).disk("/opt/cni/bin");
        for plugin in CHAINED {
            // The name may be a link to the machine's own plugin: it is replaced, never written through.
            let fresh = folder.join(format!("{plugin}.new"));
            fs::copy(addons.folder().join(plugin), &fresh)
                .and_then(|_| fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)))
                .and_then(|()| fs::rename(&fresh, folder.join(plugin)))
                .with_context(|| format!("install {plugin} on {name}"))?;
        }
        Ok(())
    }
}

/// What `CoreDNS` answers by: Services, and Pods by their addresses.
fn corefile() -> String {
    format!(
        ".:53 {{
    errors
    health
    ready
    kubernetes {DNS_DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        ttl 5
    }}
    cache 5
    reload
}}
"
    )
}

fn dns_objects() -> Value {
    let named = |kind: &str, version: &str, name: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "kube-system"}});
    let with = |mut object: Value, key: &str, value: Value| {
        object[key] = value;
        object
    };
    let labels = json!({"k8s-app": "kube-dns"});
    let look = json!(["list", "watch"]);
    let role = with(
        named("ClusterRole", "rbac.authorization.k8s.io/v1", "coredns"),
        "rules",
        json!([
            {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": look},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": look},
        ]),
    );
    let mut binding = named(
        "ClusterRoleBinding",
        "rbac.authorization.k8s.io/v1",
        "coredns",
    );
    binding["roleRef"] =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "coredns"});
    binding["subjects"] =
        json!([{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}]);
    let ports: Vec<Value> = ["UDP", "TCP"]
        .iter()
        .map(|protocol| json!({"name": protocol.to_lowercase(), "port": 53, "protocol": protocol}))
        .collect();
    json!({"apiVersion": "v1", "kind": "List", "items": [
        named("ServiceAccount", "v1", "coredns"),
        role,
        binding,
        with(named("ConfigMap", "v1", "coredns"), "data", json!({"Corefile": corefile()})),
        with(
            named("Service", "v1", "kube-dns"),
            "spec",
            json!({"clusterIP": DNS_ADDRESS, "selector": labels, "ports": ports}),
        ),
        with(
            named("Deployment", "apps/v1", "coredns"),
            "spec",
            json!({"replicas": 1, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels}, "spec": dns_pod(),
            }}),
        ),
    ]})
}

fn dns_pod() -> Value {
    let probe = |path: &str, port: u16| json!({"httpGet": {"path": path, "port": port}, "periodSeconds": 1, "failureThreshold": 60});
    json!({
        "serviceAccountName": "coredns",
        // It answers for the cluster's names, and asks nobody.
        "dnsPolicy": "Default",
        "containers": [{
            "name": "coredns", "image": DNS_IMAGE, "imagePullPolicy": "Never",
            "args": ["-conf", "/etc/coredns/Corefile"],
            "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": true}],
            "livenessProbe": probe("/health", 8080), "readinessProbe": probe("/ready", 8181),
        }],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    })
}
