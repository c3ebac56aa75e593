//! What the runtime is told and asks for: whether the network is ready, and GC by libcni against a node with running Pods.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests_cri::Cri;
use tests_testbed::{CONTAINERD_VARIABLE, Cluster, CniCall, Node};

use crate::{
    seen::{attached, find},
    site::{shared, stateful_set, wait_ready, wait_said},
};

/// The configuration on a node.
const CONFLIST: &str = "/etc/cni/net.d/10-berth.conflist";

#[test]
fn both_runtimes_say_that_the_network_is_ready() {
    let cluster = shared();
    for node in ["n1", "n2"] {
        let socket = cluster
            .world()
            .node(node)
            .path("/run/containerd/containerd.sock");
        let unready = Cri::new(&socket).unwrap().unready().unwrap();
        // A runtime has other conditions of its own: one says that cgroup v1 is old.
        let network = unready.iter().find(|it| it.starts_with("NetworkReady"));
        assert_eq!(network, None, "{node}");
    }
}

/// Calls `cnitool VERB` on the node with a configuration folder of its own, and with a cache of results of its own: GC by libcni also ends
/// every attachment that is in the cache, and the one there is containerd's.
fn cnitool(node: &Node, verb: &str, netns: &str) {
    let folder = std::env::var(CONTAINERD_VARIABLE).unwrap();
    node.script(&format!(
        "mkdir -p /run/h/cache /run/h/net.d
export CNI_PATH=/opt/cni/bin NETCONFPATH=/run/h/net.d CNI_ARGS='IgnoreUnknown=1;K8S_POD_NAMESPACE=left;K8S_POD_NAME={verb}'
unshare --mount sh -euc 'mount --bind /run/h/cache /var/lib/cni; exec {folder}/cnitool {verb} berth {netns}'"
    ))
    .unwrap();
}

/// Puts a configuration where [`cnitool`] reads it.
fn configure(node: &Node, conflist: &Value) {
    let text = conflist.to_string();
    node.script(&format!(
        "mkdir -p /run/h/net.d\ncat > /run/h/net.d/10-berth.conflist <<'END'\n{text}\nEND"
    ))
    .unwrap();
}

fn conflist(node: &Node) -> Value {
    let text = node.run(&["cat", CONFLIST]).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Host ends of Pods' interfaces, by their aliases.
fn ports(node: &Node) -> BTreeMap<String, String> {
    let links = node.ip_json(&["link", "show", "type", "veth"]).unwrap();
    let links = links.as_array().unwrap().iter();
    let ours = links.filter_map(|it| {
        let alias = it["ifalias"].as_str()?.to_owned();
        Some((it["ifname"].as_str()?.to_owned(), alias))
    });
    ours.collect()
}

/// An attachment of nobody's that libcni does not know, as a runtime leaves it that has lost its store.
fn leave(cluster: &Cluster, node: &Node, sandbox: &str, netns: &str) {
    let mut config = conflist(node);
    let mut plugin = config["plugins"][0].take();
    plugin["name"] = config["name"].take();
    plugin["cniVersion"] = json!("1.1.0");
    let call = CniCall::new("ADD", &plugin);
    let call = call
        .attachment(sandbox, "eth0", netns)
        .pod("left", sandbox, "");
    node.cni(&call).unwrap().ok().unwrap();
    assert!(attached(cluster, "n1").values().any(|it| it == sandbox));
}

/// The configuration as cnitool reads it, with the attachments that a runtime would name: cnitool names none itself.
fn with_valid(node: &Node, live: &BTreeMap<String, String>) -> Value {
    let mut conflist = conflist(node);
    // cnitool reads one version; the newest has GC.
    conflist.as_object_mut().unwrap().remove("cniVersions");
    conflist["cniVersion"] = json!("1.1.0");
    let valid: Vec<Value> = live
        .values()
        .map(|sandbox| json!({"containerID": sandbox, "ifname": "eth0"}))
        .collect();
    conflist["plugins"][0]["cni.dev/valid-attachments"] = json!(valid);
    conflist
}

#[test]
fn gc_through_libcni_removes_what_is_left_over_and_keeps_running_pods() {
    let cluster = shared();
    cluster
        .apply(&stateful_set("kept", 1, "n1").to_string())
        .unwrap();
    wait_ready(&cluster, "kept-0", "");
    let node = cluster.world().node("n1");
    let (live, wired) = (attached(&cluster, "n1"), ports(node));

    let netns = ["left-a", "left-b"].map(|it| node.make_pod_netns(it).unwrap());
    configure(node, &with_valid(node, &live));
    cnitool(node, "add", &netns[0]);
    leave(&cluster, node, "left-over", &netns[1]);
    assert!(attached(&cluster, "n1").len() > live.len());
    assert_eq!(
        ports(node).len(),
        wired.len() + 4,
        "two more Pods with two interfaces each"
    );

    cnitool(node, "gc", &netns[0]);

    assert_eq!(attached(&cluster, "n1"), live);
    assert_eq!(ports(node), wired);
    let kept = find(&cluster, "kept-0").v4();
    assert!(
        cluster
            .world()
            .host("vm")
            .namespace()
            .ping_once(&kept)
            .unwrap()
    );
    for name in ["left-a", "left-b"] {
        node.remove_pod_netns(name).unwrap();
    }
    node.script("rm -r /run/h").unwrap();
}

#[test]
fn what_is_left_without_its_network_namespace_is_told_by_the_daemon_and_ends_by_gc() {
    let cluster = shared();
    let live = attached(&cluster, "n1");
    let node = cluster.world().node("n1");
    let netns = node.make_pod_netns("left-c").unwrap();
    leave(&cluster, node, "lost-sandbox", &netns);
    // The interfaces go with the namespace, the addresses do not.
    node.remove_pod_netns("left-c").unwrap();
    assert!(attached(&cluster, "n1").len() > live.len());

    // Nobody asks: the daemon looks by itself, and knows its other Pods' ports.
    wait_said(
        &cluster,
        "n1",
        "ipamd",
        "is attached to sandbox lost-sandbox",
    );

    let node = cluster.world().node("n1");
    configure(node, &with_valid(node, &live));
    cnitool(node, "gc", "/run/netns/none");
    assert_eq!(attached(&cluster, "n1"), live);
    node.script("rm -r /run/h").unwrap();
}
