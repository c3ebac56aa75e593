//! Releases of an `InPlaceSet` on real kubelets, in two racks and on two runtimes: no request is lost; some are where traffic is not led
//! away first; a bad image touches nothing; and a node may lose its power in the middle. Beside it, in the same cluster: the rules of kubelet.

mod clients;
mod rules;

use std::{collections::BTreeMap, thread, time::Duration};

use serde_json::{Value, json};
use tests_testbed::{Cluster, Daemon, Output, Pending, Runtime, wait_patiently};

use self::clients::Clients;
use crate::{
    seen::{pod, remove, service, wait_for},
    site::{builder, look, pod_spec, wait_not_ready, wait_ready},
    turn::{self, Rank},
};

const SET: &str = "shop";

/// Five a node.
const PODS: usize = 10;

/// A release of ten Pods takes a minute on an idle machine.
const DEADLINE: Duration = Duration::from_secs(400);

/// What `kubectl berth rollout status` is given.
const TIMEOUT: &str = "--timeout=390";

const V1: &str = "localhost/app:v1";
const V2: &str = "localhost/app:v2";

/// Nothing listens there.
const BAD: &str = "localhost:1/shop:v3";

/// More than the default: kube-proxy shares two cores with four clusters.
const QUIET_SECONDS: u32 = 5;

/// A server that answers what it has begun to answer, and takes a second to end and one to begin: who comes to it then is refused.
const SERVER: &str = "echo $VERSION > /tmp/version; sleep 1; httpd -f -p 8080 -h /tmp & \
                      trap 'kill $!; sleep 1; exit 0' TERM; while :; do wait; done";

fn set() -> Value {
    let one_of_two = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": SET}},
    }]);
    let server = json!({
        "name": "app", "image": V1, "command": ["sh", "-c", SERVER],
        "readinessProbe": {
            "httpGet": {"path": "/version", "port": 8080},
            // A busy machine is not a broken one.
            "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 10,
        },
    });
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet", "metadata": {"name": SET},
        "spec": {
            "replicas": PODS, "maxUnavailable": 4,
            "selector": {"matchLabels": {"app": SET}}, "lossless": lossless(),
            "template": {
                "metadata": {"labels": {"app": SET}},
                "spec": {
                    "topologySpreadConstraints": one_of_two, "terminationGracePeriodSeconds": 20, "containers": [server],
                },
            },
        },
    })
}

fn lossless() -> Value {
    json!({"quietSeconds": QUIET_SECONDS, "protections": ["protection.berth.dev/endpoints"]})
}

fn object(cluster: &Cluster) -> Result<Value, Pending> {
    let asked = cluster.kubectl_json(&["get", "inplaceset", SET]);
    asked.map_err(|error| Pending::because(format!("{error:#}")))
}

fn patch(cluster: &Cluster, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    let words = [
        "patch",
        "inplaceset",
        SET,
        "--type=merge",
        "--patch",
        &patch,
    ];
    cluster.kubectl(&words).unwrap();
}

/// The whole template: containers are merged by nobody in a custom resource.
fn release(cluster: &Cluster, image: &str, lossless: &Value) {
    let mut template = set()["spec"]["template"].clone();
    template["spec"]["containers"][0]["image"] = json!(image);
    patch(
        cluster,
        &json!({"template": template, "lossless": lossless}),
    );
}

/// Waits for what is so of the set.
fn wait_set(cluster: &Cluster, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let waited = wait_patiently(what, DEADLINE, || {
        let set = object(cluster)?;
        let observed = set["status"]["observedGeneration"] == set["metadata"]["generation"];
        if observed && is(&set["status"]) {
            return Ok(set);
        }
        Err(Pending::because(&set["status"]))
    });
    waited.unwrap()
}

fn rollout(cluster: &Cluster, words: &[&str], code: i32) -> String {
    let all = [&["rollout"], words].concat();
    let said: Output = cluster.kubectl_berth(&all).unwrap();
    let text = format!("{}{}", said.stdout, said.stderr);
    if said.status.code() != Some(code) {
        let set = cluster.kubectl(&["get", "inplaceset,pods", "-o", "yaml"]);
        let set = set.unwrap_or_else(|error| format!("{error:#}"));
        panic!("{words:?} ended with {}: {text}\n{set}", said.status);
    }
    text
}

/// Follows the release to its good end, as an operator would.
fn wait_released(cluster: &Cluster) -> String {
    let said = rollout(cluster, &["status", SET, TIMEOUT, "--color=never"], 0);
    assert!(
        said.contains("Succeeded: all 10 Pods are at revision"),
        "{said}"
    );
    said
}

/// A Pod by what must not change, how often it was started again, and since when its gate is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    uid: String,
    node: String,
    ips: String,
    image: String,
    restarts: u64,
    gate: String,
}

fn pods(cluster: &Cluster) -> BTreeMap<String, Seen> {
    let label = format!("--selector=app={SET}");
    let list = cluster.kubectl_json(&["get", "pods", &label]).unwrap();
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let pods = list["items"].as_array().unwrap().iter().map(|pod| {
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        let gate = conditions
            .iter()
            .find(|it| it["type"] == "berth.dev/ServiceReady");
        let seen = Seen {
            uid: text(&pod["metadata"]["uid"]),
            node: text(&pod["spec"]["nodeName"]),
            ips: pod["status"]["podIPs"].to_string(),
            image: text(&pod["spec"]["containers"][0]["image"]),
            restarts: pod["status"]["containerStatuses"][0]["restartCount"]
                .as_u64()
                .unwrap(),
            gate: gate
                .map(|it| format!("{} since {}", it["status"], it["lastTransitionTime"]))
                .unwrap_or_default(),
        };
        (text(&pod["metadata"]["name"]), seen)
    });
    pods.collect()
}

/// Addresses and MACs as each Pod's own kernel says them.
fn places(cluster: &Cluster) -> Vec<String> {
    let names = (0..PODS).map(|it| format!("{SET}-{it}"));
    names
        .map(|name| format!("{name}: {:?}", look(cluster, &name)))
        .collect()
}

/// Each Pod is what it was, with this image, and its container was started again so many times.
fn assert_changed(
    before: &BTreeMap<String, Seen>,
    after: &BTreeMap<String, Seen>,
    image: &str,
    times: u64,
) {
    let mut wanted = before.clone();
    for (name, seen) in &mut wanted {
        image.clone_into(&mut seen.image);
        seen.restarts += times;
        // The gate was held, or it was not.
        seen.gate.clone_from(&after[name].gate);
    }
    assert_eq!(*after, wanted);
}

/// A node's first Pod takes the uplink over, and connections over a Service's address are lost without a word: who waits on one learns of it
/// after 90 seconds, which is not what is looked at here. So the first ones come before, and who may wait is started anew.
fn begin_on(cluster: &mut Cluster, nodes: &[&str]) {
    for node in nodes {
        let first = pod(&format!("first-on-{node}"), &pod_spec(node));
        cluster.apply(&first.to_string()).unwrap();
    }
    for node in nodes {
        let name = format!("first-on-{node}");
        wait_ready(cluster, &name, "");
        remove(cluster, &[&format!("pod/{name}")]);
        cluster.restart_daemon(node, Daemon::Agent).unwrap();
    }
    cluster.restart_daemon("n1", Daemon::Controllers).unwrap();
}

/// The set with its Service; all Pods serve. The Service's address.
fn begin(cluster: &Cluster) -> String {
    cluster
        .apply(&service(SET, SET, &json!({})).to_string())
        .unwrap();
    cluster.apply(&set().to_string()).unwrap();
    wait_set(cluster, "ten Pods serving", |status| {
        status["availableReplicas"] == PODS && status["updatedReadyReplicas"] == PODS
    });
    let service = cluster.kubectl_json(&["get", "service", SET]).unwrap();
    let pods = pods(cluster);
    assert_eq!(pods.len(), PODS);
    for node in ["n1", "n2"] {
        let there = pods.values().filter(|it| it.node == node).count();
        assert_eq!(there, PODS / 2, "{pods:?}");
    }
    service["spec"]["clusterIP"].as_str().unwrap().to_owned()
}

fn no_request_is_lost(cluster: &Cluster, address: &str) {
    let (before, places_before) = (pods(cluster), places(cluster));
    let clients = Clients::start(cluster, "lossless", address);
    clients.wait_all("v1");
    release(cluster, V2, &lossless());
    let said = wait_released(cluster);
    clients.wait_all("v2");
    let (answered, failed) = clients.end();
    assert_eq!(
        failed,
        Vec::<String>::new(),
        "of {answered} requests\n{said}"
    );
    assert!(
        answered > 1_000,
        "{answered} requests are too few to show anything"
    );
    assert_changed(&before, &pods(cluster), V2, 1);
    assert_eq!(places(cluster), places_before);
}

/// So that the clients can fail.
fn without_the_protocol_requests_are_lost(cluster: &Cluster, address: &str) {
    let before = pods(cluster);
    let clients = Clients::start(cluster, "lossy", address);
    clients.wait_all("v2");
    release(cluster, V1, &Value::Null);
    wait_released(cluster);
    clients.wait_all("v1");
    let (answered, failed) = clients.end();
    assert!(!failed.is_empty(), "none of {answered} requests failed");
    assert_changed(&before, &pods(cluster), V1, 1);
}

fn bad_image_touches_nothing(cluster: &Cluster) {
    let before = pods(cluster);
    patch(cluster, &json!({"prePullTimeoutSeconds": 20}));
    release(cluster, BAD, &lossless());
    let set = wait_set(cluster, "the release being held", |status| {
        status["release"]["phase"] == "Held"
    });
    let why = set["status"]["release"]["waitsFor"].as_str().unwrap();
    assert!(why.contains(BAD), "{why}");
    let said = rollout(cluster, &["status", SET, TIMEOUT], 1);
    assert!(said.contains("Held: "), "{said}");
    // No gate was ever closed, no container stopped.
    assert_eq!(pods(cluster), before);
    patch(cluster, &json!({"prePullTimeoutSeconds": null}));
    rollout(cluster, &["undo", SET], 0);
    wait_released(cluster);
    assert_eq!(pods(cluster), before);
}

/// The release waits for what the node has, says so, and ends when it is back.
fn node_may_lose_its_power_in_the_middle(cluster: &mut Cluster) {
    let before = pods(cluster);
    release(cluster, V2, &lossless());
    let on_n2: Vec<&String> = before
        .iter()
        .filter_map(|(name, pod)| (pod.node == "n2").then_some(name))
        .collect();
    wait_for("a Pod of n2 being in the middle", || {
        let list = cluster
            .kubectl_json(&["get", "pods", &format!("--selector=app={SET}")])
            .map_err(|error| format!("{error:#}"))?;
        let all = list["items"].as_array().unwrap();
        let is_held = |pod: &Value| {
            let said = pod["metadata"]["annotations"]["berth.dev/lossless"].as_str();
            let held = ["Draining", "Quiet", "Upgrading"];
            pod["spec"]["nodeName"] == "n2"
                && said.is_some_and(|it| held.iter().any(|state| it.contains(state)))
        };
        let states: Vec<&Value> = all
            .iter()
            .map(|pod| &pod["metadata"]["annotations"]["berth.dev/lossless"])
            .collect();
        if all.iter().any(is_held) {
            return Ok(());
        }
        Err(format!("{states:?}"))
    });
    cluster.power_off("n2").unwrap();
    wait_not_ready(cluster, "n2", "");
    wait_set(cluster, "the release naming a Pod of n2", |status| {
        let release = &status["release"];
        let pods = release["pods"].as_array();
        let named = pods.into_iter().flatten().any(|pod| {
            on_n2.iter().any(|name| pod["name"] == **name)
                && pod["waitsFor"].as_str().is_some_and(|it| !it.is_empty())
        });
        named && release["phase"] != "Succeeded"
    });
    cluster.power_on("n2").unwrap();
    cluster.wait_nodes().unwrap();
    begin_on(cluster, &["n2"]);
    wait_released(cluster);
    let after = pods(cluster);
    for (name, was) in &before {
        let is = &after[name];
        assert_eq!(
            (&is.uid, &is.node, &is.ips),
            (&was.uid, &was.node, &was.ips)
        );
        assert_eq!(is.image, V2, "{name}");
        if was.node == "n1" {
            assert_eq!(is.restarts, was.restarts + 1, "{name}");
        }
    }
}

#[test]
fn ten_pods_are_released_without_a_lost_request_and_whatever_happens_it_ends_or_says_why() {
    turn::take(Rank::Long);
    let mut cluster = builder("cluster-release").node("n1", "a").build().unwrap();
    cluster.add_node("n2", "b", Runtime::Debian).unwrap();
    cluster.wait_nodes().unwrap();
    begin_on(&mut cluster, &["n1", "n2"]);
    thread::scope(|scope| {
        // They wait most of the time, and stay on n1.
        scope.spawn(|| rules::are_kept(&cluster));
        let address = begin(&cluster);
        no_request_is_lost(&cluster, &address);
        without_the_protocol_requests_are_lost(&cluster, &address);
        bad_image_touches_nothing(&cluster);
    });
    node_may_lose_its_power_in_the_middle(&mut cluster);
}
