//! kubelet and kube-proxy on a node: certificates, configuration, start.
//!
//! Both reach the API server over the node's own uplink. kubelet must not change the machine: the kernel's tunables that
//! it insists on are shown to it as already set.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    address::Net,
    cluster::{DNS_ADDRESS, DNS_DOMAIN},
    containerd::SOCKET,
    control_plane::{ControlPlane, client},
    node::Node,
    process::Process,
};

/// The label that says in which rack a node is.
pub(crate) const RACK_LABEL: &str = "topology.berth.dev/rack";

/// The label of nodes on which the cluster's controllers run.
pub(crate) const CONTROLLERS_LABEL: &str = "berth.dev/controllers";

/// Where a node's kubelet finds Pods that are files.
const STATIC_PODS: &str = "/var/lib/kubelet/static-pods";

/// kubelet writes these when they differ, and they are the whole machine's. It finds them right here and leaves them alone.
const TUNABLES: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

impl Node {
    /// Makes what a Kubernetes node has before its daemons start; after every boot.
    pub(crate) fn prepare_for_kubernetes(&self) -> Result<()> {
        // Services need it: kube-proxy changes a packet's destination, the kernel then forwards it.
        let mut lines = "echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
mkdir -p /run/tunables
rm -f /etc/resolv.conf
echo '# the name servers of the machine are not to be reached from here' > /etc/resolv.conf\n"
            .to_owned();
        for (name, value) in TUNABLES {
            let file = format!("/run/tunables/{}", name.replace('/', "-"));
            let _ = writeln!(
                lines,
                "if [ -e /proc/sys/{name} ]; then echo {value} > {file}; mount --bind {file} /proc/sys/{name}; fi"
            );
        }
        self.script(&lines).map(|_| ())
    }

    /// Signs this node's certificates and writes kubelet's and kube-proxy's configuration.
    pub(crate) fn enlist(&self, control_plane: &ControlPlane) -> Result<()> {
        let pki = control_plane.authority();
        let (name, address) = (self.name(), self.address4(Net::External).to_string());
        let user = format!("system:node:{name}");
        let server = ControlPlane::server();
        let names = [address, name.to_owned()];
        pki.kubeconfig(&client(name, &user, Some("system:nodes"), &names), &server)?;
        let proxy = format!("{name}-proxy");
        pki.kubeconfig(&client(&proxy, "system:kube-proxy", None, &[]), &server)?;
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "failCgroupV1": false, "failSwapOn": false,
            "cgroupDriver": "cgroupfs",
            "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            // Its default is a folder of the machine.
            "volumePluginDir": "/var/lib/kubelet/volume-plugins",
            "authentication": {"x509": {"clientCAFile": pki.ca()}, "anonymous": {"enabled": false}},
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": pki.certificate(name), "tlsPrivateKeyFile": pki.key(name),
            "resolvConf": "", "registerNode": true,
            // Whether a cluster has DNS or not: a Pod's look-ups fail only when nobody answers there.
            "clusterDNS": [DNS_ADDRESS], "clusterDomain": DNS_DOMAIN,
            // A Pod may also be a file of the node's.
            "staticPodPath": STATIC_PODS,
            // A lost node is seen within seconds, and a Pod's change too.
            "nodeStatusUpdateFrequency": "4s", "syncFrequency": "10s",
            // As many as a node is meant to have, and Berth's own.
            "maxPods": 260,
            // A container that was killed some times is back within seconds; by default within five minutes.
            "crashLoopBackOff": {"maxContainerRestartPeriod": "10s"},
        });
        let folder = self.disk(STATIC_PODS);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let file = self.disk("/var/lib/kubelet/config.json");
        fs::write(&file, config.to_string()).with_context(|| format!("write {}", file.display()))
    }

    pub(crate) fn start_kubelet(&self, control_plane: &ControlPlane) -> Result<Process> {
        let mut command = self.command(control_plane.kubernetes().program("kubelet"));
        command.args([
            "--config=/var/lib/kubelet/config.json",
            "--root-dir=/var/lib/kubelet",
            &format!("--kubeconfig={}", kubeconfig(control_plane, self.name())),
            &format!("--hostname-override={}", self.name()),
            &format!("--node-ip={}", self.address4(Net::External)),
        ]);
        let labels = self.labels();
        if !labels.is_empty() {
            command.arg(format!("--node-labels={}", labels.join(",")));
        }
        self.spawn_command("kubelet", command)
    }

    pub(crate) fn start_kube_proxy(&self, control_plane: &ControlPlane) -> Result<Process> {
        let proxy = format!("{}-proxy", self.name());
        let mut command = self.command(control_plane.kubernetes().program("kube-proxy"));
        command.args([
            &format!("--kubeconfig={}", kubeconfig(control_plane, &proxy)),
            &format!("--hostname-override={}", self.name()),
            "--proxy-mode=nftables",
            // Without it a Pod's packet to another Pod by a Service is answered past the node, and is not recognised.
            "--masquerade-all",
            // The connection table's limits are the whole machine's.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
        ]);
        self.spawn_command("kube-proxy", command)
    }
}

fn kubeconfig(control_plane: &ControlPlane, file: &str) -> String {
    let admin = control_plane.kubeconfig();
    let folder = admin.parent().unwrap_or_else(|| Path::new("/"));
    let path = folder.join(format!("{file}.kubeconfig"));
    path.to_string_lossy().into_owned()
}
