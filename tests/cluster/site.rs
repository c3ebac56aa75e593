//! The clusters of this tier: two that all tests share which break nothing, and own ones. What is asked of them in words.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tests_testbed::{Cluster, ClusterBuilder, Net, Pending, Runtime, wait_patiently};

use crate::turn::{self, Rank};

/// The names of the shared clusters; `cargo xtask test` removes what is left of them when this program has ended.
const SHARED: &str = "cluster-shared";
const SHARED_CLAIMS: &str = "cluster-shared-claims";

/// Pods start within two seconds on an idle machine.
const POD_DEADLINE: Duration = Duration::from_secs(120);

/// A cluster that tests share.
struct Common {
    /// Whose it is. Apart from the cluster, so that it is made by who has a turn.
    row: Mutex<()>,
    cluster: OnceLock<Mutex<Cluster>>,
}

/// The shared cluster for the time of one test: tests of it run one after the other.
pub(crate) struct Shared {
    cluster: MutexGuard<'static, Cluster>,
    _row: MutexGuard<'static, ()>,
}

impl Common {
    const fn new() -> Self {
        Self {
            row: Mutex::new(()),
            cluster: OnceLock::new(),
        }
    }

    fn take(&'static self, make: fn() -> Cluster) -> Shared {
        let row = self.row.lock().unwrap_or_else(PoisonError::into_inner);
        // Afterwards: who waits for the cluster keeps nobody else from running.
        turn::take(Rank::Row);
        let cluster = self.cluster.get_or_init(|| Mutex::new(make()));
        Shared {
            // A test that failed has left Pods of its own only.
            cluster: cluster.lock().unwrap_or_else(PoisonError::into_inner),
            _row: row,
        }
    }
}

/// Both runtimes side by side, one per rack, and outside hosts: "a VM" in the first, "the exchange" on the other's internal network.
pub(crate) fn shared() -> Shared {
    static COMMON: Common = Common::new();
    COMMON.take(|| {
        let builder = Cluster::builder(SHARED).node("n1", "a");
        let builder = builder.host("vm", "a", Net::External);
        let builder = builder.host("exchange", "b", Net::Internal);
        let mut cluster = builder.build().unwrap();
        cluster.add_node("n2", "b", Runtime::Debian).unwrap();
        cluster.wait_nodes().unwrap();
        cluster
    })
}

/// Two nodes in the first rack and one in the other, which share their racks' addresses.
pub(crate) fn claiming() -> Shared {
    static COMMON: Common = Common::new();
    COMMON.take(|| {
        let builder = Cluster::builder(SHARED_CLAIMS);
        let builder = builder.node("n1", "a").node("n2", "a").node("n3", "b");
        builder.build().unwrap()
    })
}

/// A cluster of a test's own, with one node.
pub(crate) fn own(name: &str) -> Cluster {
    builder(name).racks(1).node("n1", "a").build().unwrap()
}

/// What becomes a cluster of a test's own.
pub(crate) fn builder(name: &str) -> ClusterBuilder {
    turn::take(Rank::Short);
    Cluster::builder(name)
}

impl Deref for Shared {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl DerefMut for Shared {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Best effort: the test has failed anyway.
            let _ = self.cluster.save_evidence();
        }
    }
}

/// What a Pod has, as its own kernel says it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// IPv4 and IPv6 addresses with their interfaces.
    pub(crate) addresses: Vec<String>,
    /// MACs of its interfaces.
    pub(crate) macs: Vec<String>,
}

/// A `StatefulSet` of Pods with a shell, pinned to nodes by a selector.
pub(crate) fn stateful_set(name: &str, replicas: u32, node: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "serviceName": name, "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(node)},
        },
    })
}

/// A Pod with a shell on a node; it is Ready when its node can reach it.
pub(crate) fn pod_spec(node: &str) -> Value {
    json!({
        "nodeSelector": {"kubernetes.io/hostname": node},
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "app", "image": "localhost/app:v1", "imagePullPolicy": "Never",
            "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do echo hello | nc -l -p 8080; done"],
            // kubelet asks the Pod over the node's own interfaces.
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 60},
        }],
    })
}

/// A daemon whose connection to the API server was lost without a word learns of it after a minute and a half.
const NODE_DEADLINE: Duration = Duration::from_secs(180);

/// Waits until the API server says of a node that it is not Ready, in these words.
pub(crate) fn wait_not_ready(cluster: &Cluster, node: &str, words: &str) {
    let what = format!("{node} being NotReady with {words:?}");
    wait_patiently(&what, NODE_DEADLINE, || {
        let states = cluster.node_states();
        let states = states.map_err(|error| Pending::because(format!("{error:#}")))?;
        match states.get(node).and_then(|it| it.not_ready.as_deref()) {
            Some(why) if why.contains(words) => Ok(()),
            other => Err(Pending::because(format!("{other:?}"))),
        }
    })
    .unwrap();
}

/// One of Berth's Pods on a node, as the API server has it.
pub(crate) fn berth_pod(cluster: &Cluster, program: &str, node: &str) -> Value {
    let selector = format!("app.kubernetes.io/name={program}");
    let words = [
        "--namespace=berth-system",
        "get",
        "pods",
        "--selector",
        &selector,
    ];
    let pods = cluster.kubectl_json(&words).unwrap();
    let pods = pods["items"].as_array().unwrap();
    let pod = pods.iter().find(|pod| pod["spec"]["nodeName"] == node);
    pod.cloned().unwrap_or_default()
}

/// Waits until a container of the address daemon's Pod on a node has said these words, in whichever Pod is there.
pub(crate) fn wait_said(cluster: &Cluster, node: &str, container: &str, words: &str) {
    let what = format!("{container} of {node} saying {words:?}");
    wait_patiently(&what, POD_DEADLINE, || {
        let pod = berth_pod(cluster, "berth-ipamd", node);
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let logs = [
            "--namespace=berth-system",
            "logs",
            name,
            "--container",
            container,
        ];
        let log = cluster
            .kubectl(&logs)
            .map_err(|error| Pending::because(format!("{error:#}")))?;
        if log.contains(words) {
            return Ok(());
        }
        Err(Pending::because(log))
    })
    .unwrap();
}

/// Waits until a Pod of this name is Ready, and other than `not`: a UID, for one that takes another's place.
pub(crate) fn wait_ready(cluster: &Cluster, pod: &str, not: &str) -> String {
    let what = format!("{pod} being Ready");
    let waited = wait_patiently(&what, POD_DEADLINE, || {
        let object = cluster
            .kubectl_json(&["get", "pod", pod])
            .map_err(|error| Pending::because(format!("{error:#}")))?;
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        if uid == not || !object["metadata"]["deletionTimestamp"].is_null() {
            return Err(Pending::because("it is still the old one"));
        }
        let conditions = object["status"]["conditions"].as_array();
        let ready = conditions
            .into_iter()
            .flatten()
            .any(|it| it["type"] == "Ready" && it["status"] == "True");
        if ready {
            return Ok(uid.to_owned());
        }
        Err(Pending::because(&object["status"]))
    });
    waited.unwrap()
}

/// Runs a command in a Pod that must succeed; tried again while kubelet does not know the Pod yet.
pub(crate) fn exec(cluster: &Cluster, pod: &str, words: &[&str]) -> String {
    let mut all = vec!["exec", pod, "--"];
    all.extend(words);
    let what = format!("{words:?} in {pod}");
    wait_patiently(&what, POD_DEADLINE, || {
        cluster
            .kubectl(&all)
            .map_err(|error| Pending::because(format!("{error:#}")))
    })
    .unwrap()
}

/// Addresses and MACs of a Pod as its own kernel says them.
pub(crate) fn look(cluster: &Cluster, pod: &str) -> Seen {
    let text = exec(
        cluster,
        pod,
        &["sh", "-c", "ip addr show dev eth0; ip addr show dev net1"],
    );
    let words = |key: &str| -> Vec<String> {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with(key));
        lines
            .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
            .collect()
    };
    let mut addresses = words("inet ");
    addresses.extend(words("inet6 "));
    Seen {
        addresses,
        macs: words("link/ether"),
    }
}
