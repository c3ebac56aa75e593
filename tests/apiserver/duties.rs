//! The duties of Kubernetes' own node lifecycle, done by the real controllers with the shipped rights: no kube-controller-manager runs.
//!
//! kubelets' part is written by the administrator: conditions of Nodes, and Leases. What is waited for longest, a kubelet's silence of fifty
//! seconds, goes on while the rest is looked at.

use std::time::Duration;

use serde_json::{Value, json};
use tests_testbed::{ControlPlane, Pending, Process, wait_patiently};

use crate::controllers::Place;
use crate::shipped::{NAMESPACE, installed, kubectl, overlay};

/// A minute of silence, and a machine that compiles beside.
const DEADLINE: Duration = Duration::from_secs(240);

const READY: [(&str, &str); 4] = [
    ("Ready", "True"),
    ("MemoryPressure", "False"),
    ("DiskPressure", "False"),
    ("PIDPressure", "False"),
];

struct Kubelets<'a> {
    api: &'a ControlPlane,
    beats: u64,
}

impl Kubelets<'_> {
    /// A Node as a kubelet registers it.
    fn register(&mut self, name: &str) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64", "topology.kubernetes.io/zone": "z1"}},
        });
        self.api.apply(&node.to_string()).unwrap();
        self.say(name, &READY);
        self.beat(name);
    }

    /// What a kubelet says of its node.
    fn say(&mut self, name: &str, conditions: &[(&str, &str)]) {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status)| json!({"type": kind, "status": status, "reason": "KubeletSaysSo", "message": ""}))
            .collect();
        let patch = json!({"status": {"conditions": conditions}}).to_string();
        let words = [
            "patch",
            "node",
            name,
            "--subresource=status",
            "--type=strategic",
            "-p",
            &patch,
        ];
        kubectl(self.api, &words);
    }

    /// It renews its Lease.
    fn beat(&mut self, name: &str) {
        self.beats += 1;
        let (minutes, seconds) = (self.beats / 60 % 60, self.beats % 60);
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": format!("2026-01-01T00:{minutes:02}:{seconds:02}.000000Z")},
        });
        self.api.apply(&lease.to_string()).unwrap();
    }
}

fn node(api: &ControlPlane, name: &str) -> Value {
    api.kubectl_json(&["get", "node", name]).unwrap()
}

fn taints(node: &Value) -> Vec<String> {
    let taints = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let short = |taint: &Value| {
        let key = text(&taint["key"]);
        format!(
            "{}:{}",
            key.trim_start_matches("node.kubernetes.io/"),
            text(&taint["effect"])
        )
    };
    taints.iter().map(short).collect()
}

fn condition(node: &Value, kind: &str) -> (String, String) {
    let conditions = node["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = conditions
        .iter()
        .find(|it| it["type"] == kind)
        .cloned()
        .unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&found["status"]), text(&found["reason"]))
}

/// Waits for a state of a Node, and says what the controllers said when it does not come.
fn wait_node(
    what: &str,
    api: &ControlPlane,
    name: &str,
    controllers: &Process,
    holds: impl Fn(&Value) -> bool,
) {
    let waited = wait_patiently(what, DEADLINE, || {
        let node = node(api, name);
        if holds(&node) {
            return Ok(());
        }
        Err(Pending::because(format!(
            "{:?} {}",
            taints(&node),
            node["status"]["conditions"]
        )))
    });
    waited.unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.log_tail()));
}

fn wait_taints(api: &ControlPlane, name: &str, controllers: &Process, wanted: &[&str]) {
    wait_node(
        &format!("{name} having the taints {wanted:?}"),
        api,
        name,
        controllers,
        |node| taints(node) == wanted,
    );
}

fn policy(api: &ControlPlane, replace: bool) {
    let policy = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "LifecyclePolicy", "metadata": {"name": "default", "namespace": NAMESPACE},
        "spec": {"replace": replace},
    });
    api.apply(&policy.to_string()).unwrap();
}

fn wait_log(controllers: &Process, words: &str) {
    let waited = wait_patiently(&format!("the log saying {words:?}"), DEADLINE, || {
        let said = controllers.log();
        if said.contains(words) {
            Ok(())
        } else {
            Err(Pending::because("it does not"))
        }
    });
    waited.unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.log_tail()));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story")]
fn duties_of_node_lifecycle_controller_are_done_where_the_policy_says_so() {
    let api = installed("duties");
    kubectl(
        &api,
        &[
            "apply",
            "-f",
            &format!("{}/rights.yaml", overlay("replace")),
        ],
    );
    let place = Place::new(&api, "host", 9433);
    let mut kubelets = Kubelets {
        api: &api,
        beats: 0,
    };
    for name in ["quiet", "alive"] {
        kubelets.register(name);
        assert_eq!(
            taints(&node(&api, name)),
            ["not-ready:NoSchedule"],
            "admission puts it on every new node"
        );
    }
    let controllers = place.start(&api);
    policy(&api, false);
    wait_log(&controllers, "leading");
    assert_eq!(
        taints(&node(&api, "alive")),
        ["not-ready:NoSchedule"],
        "nobody said that it is Berth's duty"
    );

    policy(&api, true);
    // Duty 2: a new node takes Pods. One that has not said how it is does not.
    for name in ["quiet", "alive"] {
        wait_taints(&api, name, &controllers, &[]);
    }
    assert_eq!(taints(&node(&api, "host")), ["not-ready:NoSchedule"]);
    // Duty 5: labels.
    wait_node("beta labels", &api, "alive", &controllers, |node| {
        let labels = &node["metadata"]["labels"];
        labels["beta.kubernetes.io/os"] == "linux" && labels["beta.kubernetes.io/arch"] == "arm64"
    });
    // Duty 2: pressure, people's word, and back.
    kubelets.say("alive", &[("Ready", "False"), ("DiskPressure", "True")]);
    wait_taints(
        &api,
        "alive",
        &controllers,
        &["not-ready:NoSchedule", "disk-pressure:NoSchedule"],
    );
    kubelets.say("alive", &READY);
    kubectl(&api, &["cordon", "alive"]);
    wait_taints(&api, "alive", &controllers, &["unschedulable:NoSchedule"]);
    kubectl(&api, &["uncordon", "alive"]);
    wait_taints(&api, "alive", &controllers, &[]);
    // Duty 3: what kube-controller-manager left behind goes; what others mean stays.
    kubectl(
        &api,
        &[
            "taint",
            "node",
            "alive",
            "node.kubernetes.io/unreachable:NoExecute",
            "example.com/mine:NoExecute",
        ],
    );
    wait_taints(&api, "alive", &controllers, &["example.com/mine:NoExecute"]);

    // Duty 1: a kubelet that is silent, beside one that is not.
    let said = wait_patiently("the silent node being Unknown", DEADLINE, || {
        kubelets.beat("alive");
        let node = node(&api, "quiet");
        match condition(&node, "Ready") {
            (status, reason) if status == "Unknown" => Ok((reason, node)),
            said => Err(Pending::because(format!("{said:?}"))),
        }
    });
    let (reason, quiet) =
        said.unwrap_or_else(|error| panic!("{error:#}\n{}", controllers.log_tail()));
    assert_eq!(reason, "NodeStatusUnknown");
    for kind in ["MemoryPressure", "DiskPressure", "PIDPressure"] {
        assert_eq!(condition(&quiet, kind).0, "Unknown", "{kind}");
    }
    wait_taints(&api, "quiet", &controllers, &["unreachable:NoSchedule"]);
    // The node of which nobody ever said anything.
    wait_node(
        "the node that never spoke being Unknown",
        &api,
        "host",
        &controllers,
        |node| kubelets_never(node) && taints(node) == ["unreachable:NoSchedule"],
    );
    kubelets.beat("alive");
    assert_eq!(condition(&node(&api, "alive"), "Ready").0, "True");
    // Duty 6: figures.
    let figures = wait_patiently("figures of zones", DEADLINE, || {
        let text = place.answers(&api, "/metrics");
        let wanted = [
            "node_collector_zone_size{zone=\":\0:z1\"} 2",
            "node_collector_unhealthy_nodes_in_zone{zone=\":\0:z1\"} 1",
            "node_collector_zone_health{zone=\":\0:z1\"} 50.0",
            "node_collector_unhealthy_nodes_in_zone{zone=\"\"} 1",
        ];
        match wanted
            .iter()
            .find(|line| !text.lines().any(|it| it == **line))
        {
            None => Ok(()),
            Some(line) => Err(Pending::because(format!("no {line:?}"))),
        }
    });
    figures.unwrap();
    // And back: kubelet itself says that it is.
    kubelets.beat("quiet");
    kubelets.say("quiet", &READY);
    wait_taints(&api, "quiet", &controllers, &[]);

    // One word stops it.
    policy(&api, false);
    wait_log(&controllers, "are not done any more");
    kubelets.register("late");
    assert_eq!(taints(&node(&api, "late")), ["not-ready:NoSchedule"]);
    policy(&api, true);
    wait_taints(&api, "late", &controllers, &[]);
}

fn kubelets_never(node: &Value) -> bool {
    condition(node, "Ready") == ("Unknown".to_owned(), "NodeStatusNeverUpdated".to_owned())
}
