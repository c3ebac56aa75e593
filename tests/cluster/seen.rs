//! What the tests see of Pods: where they run, with which addresses, interfaces and restarts; as Kubernetes and as their own kernel say it.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde_json::{Value, json};
use tests_testbed::{Cluster, Pending, wait_patiently};

use crate::site::exec;

/// As long as a Pod may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// For kubectl's own waiting.
const TIMEOUT: &str = "--timeout=300s";

/// A Pod as Kubernetes knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) ips: Vec<IpAddr>,
}

impl Placed {
    /// Its addresses as text.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.ips.iter().map(ToString::to_string).collect()
    }

    /// Its IPv4 address.
    pub(crate) fn v4(&self) -> String {
        let v4 = self.ips.iter().find(|ip| ip.is_ipv4());
        v4.expect("an IPv4 address").to_string()
    }
}

/// The Pods of an application, by name.
pub(crate) fn placed(cluster: &Cluster, app: &str) -> Vec<Placed> {
    let label = format!("--selector=app={app}");
    let list = cluster.kubectl_json(&["get", "pods", &label]).unwrap();
    let mut pods: Vec<Placed> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| Placed {
            name: pod["metadata"]["name"].as_str().unwrap().to_owned(),
            node: pod["spec"]["nodeName"].as_str().unwrap().to_owned(),
            ips: pod_ips(pod),
        })
        .collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    pods
}

/// The one Pod of this name.
pub(crate) fn find(cluster: &Cluster, name: &str) -> Placed {
    let pod = cluster.kubectl_json(&["get", "pod", name]).unwrap();
    Placed {
        name: name.to_owned(),
        node: pod["spec"]["nodeName"].as_str().unwrap().to_owned(),
        ips: pod_ips(&pod),
    }
}

fn pod_ips(pod: &Value) -> Vec<IpAddr> {
    let ips = pod["status"]["podIPs"].as_array();
    ips.into_iter()
        .flatten()
        .map(|it| it["ip"].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Interfaces of a Pod with their global addresses, as its own kernel says them; without `lo`.
pub(crate) fn interfaces(cluster: &Cluster, pod: &str) -> BTreeMap<String, Vec<IpAddr>> {
    parse(&exec(cluster, pod, &["ip", "-o", "addr"]))
}

/// What `ip -o addr` says.
pub(crate) fn parse(text: &str) -> BTreeMap<String, Vec<IpAddr>> {
    let mut interfaces: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains("scope global")) {
        let mut words = line.split_whitespace().skip(1);
        let (name, _, address) = (words.next(), words.next(), words.next());
        let address = address.and_then(|it| it.split('/').next()).unwrap();
        let addresses = interfaces.entry(name.unwrap().to_owned()).or_default();
        addresses.push(address.parse().unwrap());
    }
    interfaces
}

/// How often each container of a Pod was started again.
pub(crate) fn restarts(cluster: &Cluster, pod: &str) -> BTreeMap<String, u64> {
    let pod = cluster.kubectl_json(&["get", "pod", pod]).unwrap();
    let statuses = pod["status"]["containerStatuses"].as_array().unwrap();
    let count = |it: &Value| {
        (
            it["name"].as_str().unwrap().to_owned(),
            it["restartCount"].as_u64().unwrap(),
        )
    };
    statuses.iter().map(count).collect()
}

/// Runs a command in one of a Pod's containers; what it says.
pub(crate) fn exec_in(cluster: &Cluster, pod: &str, container: &str, words: &[&str]) -> String {
    let mut all = vec!["exec", pod, "--container", container, "--"];
    all.extend(words);
    cluster.kubectl(&all).unwrap()
}

/// The addresses that the node's daemon has given to somebody, each with the sandbox that has it.
pub(crate) fn attached(cluster: &Cluster, node: &str) -> BTreeMap<String, String> {
    let words = ["list", "--state", "attached", "--output", "json"];
    let listed = cluster.ipamd_command(node, &words).unwrap().ok().unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let bindings = listed["bindings"].as_array().unwrap().iter();
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    bindings
        .map(|it| (text(&it["address"]), text(&it["attachment"]["sandbox"])))
        .collect()
}

/// Waits until every Pod of a workload is Ready.
pub(crate) fn rollout(cluster: &Cluster, workload: &str) {
    cluster
        .kubectl(&["rollout", "status", TIMEOUT, workload])
        .unwrap();
}

/// Waits until a condition of an object holds.
pub(crate) fn wait_condition(cluster: &Cluster, object: &str, condition: &str) {
    let condition = format!("--for=condition={condition}");
    cluster
        .kubectl(&["wait", TIMEOUT, &condition, object])
        .unwrap();
}

/// Waits for what a look says, where each look costs a run of kubectl or the like.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    wait_patiently(what, DEADLINE, || look().map_err(Pending)).unwrap()
}

/// Objects that are no longer needed, without waiting for their end.
pub(crate) fn remove(cluster: &Cluster, objects: &[&str]) {
    let mut words = vec!["delete", "--wait=false"];
    words.extend(objects);
    cluster.kubectl(&words).unwrap();
}

/// A Service for the Pods of an application: its port 80 is their 8080. `spec` adds to it.
pub(crate) fn service(name: &str, app: &str, spec: &Value) -> Value {
    let mut all = json!({"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]});
    for (key, value) in spec.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": all})
}

/// A Pod of its own, labelled with its name.
pub(crate) fn pod(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}}, "spec": spec,
    })
}

/// A container of the test image that runs a line of shell.
pub(crate) fn container(name: &str, line: &str) -> Value {
    json!({
        "name": name, "image": "localhost/app:v1", "imagePullPolicy": "Never",
        "command": ["sh", "-c", line],
    })
}
