//! A Pod through its life, as kubelet would write it.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::rules::{Faults, Pace};

struct Node {
    held: Held,
    images: BTreeSet<String>,
    faults: Faults,
    pace: Pace,
    last_id: u64,
    now: Timestamp,
}

impl Node {
    fn new(pod: &Value) -> Self {
        let now = Timestamp::from_unix_milliseconds(5_000_000);
        let place = Place {
            sandbox: "box".to_owned(),
            ip: "10.20.1.7".to_owned(),
            host_ip: "10.20.1.1".to_owned(),
        };
        Self {
            held: Held::new(pod, place, now),
            images: BTreeSet::new(),
            faults: Faults::default(),
            pace: Pace::quick(),
            last_id: 0,
            now,
        }
    }

    fn step(&mut self, pod: &Value) -> Step {
        let mut around = Around {
            pod: "prod/shop-0",
            ending: !pod["metadata"]["deletionTimestamp"].is_null(),
            grace: grace(pod),
            pace: &self.pace,
            faults: &self.faults,
            images: &mut self.images,
            last_id: &mut self.last_id,
            now: self.now,
        };
        self.held.step(pod, &mut around)
    }

    /// Until nothing happens by itself any more; the last status and all steps.
    fn settle(&mut self, pod: &mut Value) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..100 {
            let step = self.step(pod);
            if let Some(status) = &step.status {
                merge(pod, status);
                self.held.told(status.clone());
            }
            let due = step.due;
            let is_idle = step.status.is_none();
            steps.push(step);
            match due {
                Some(due) => self.now = due,
                None if is_idle => return steps,
                None => {}
            }
        }
        panic!("it never comes to rest: {steps:?}");
    }
}

/// As the API server merges it: conditions by their type.
fn merge(pod: &mut Value, status: &Value) {
    let others: Vec<Value> = items(&pod["status"]["conditions"])
        .filter(|it| items(&status["conditions"]).all(|new| new["type"] != it["type"]))
        .cloned()
        .collect();
    pod["status"] = status.clone();
    let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
    conditions.extend(others);
}

fn pod() -> Value {
    json!({
        "metadata": {"name": "shop-0", "namespace": "prod", "uid": "u", "generation": 1},
        "spec": {
            "readinessGates": [{"conditionType": "berth.dev/ServiceReady"}],
            "containers": [{"name": "app", "image": "v1"}, {"name": "log", "image": "l1"}],
        },
    })
}

fn condition<'a>(pod: &'a Value, kind: &str) -> &'a Value {
    let mut all = items(&pod["status"]["conditions"]);
    all.find(|it| it["type"] == kind).unwrap()
}

fn gate(pod: &mut Value, status: &str) {
    let all = pod["status"]["conditions"].as_array_mut().unwrap();
    all.retain(|it| it["type"] != "berth.dev/ServiceReady");
    all.push(json!({"type": "berth.dev/ServiceReady", "status": status}));
}

#[test]
fn ready_is_containers_and_gates_and_the_gate_is_left_alone() {
    let mut pod = pod();
    let mut node = Node::new(&pod);
    node.settle(&mut pod);
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(condition(&pod, "ContainersReady")["status"], "True");
    assert_eq!(condition(&pod, "Ready")["reason"], "ReadinessGatesNotReady");
    gate(&mut pod, "True");
    node.settle(&mut pod);
    assert_eq!(condition(&pod, "Ready")["status"], "True");
    gate(&mut pod, "False");
    node.settle(&mut pod);
    assert_eq!(condition(&pod, "Ready")["status"], "False");
    assert_eq!(condition(&pod, "berth.dev/ServiceReady")["status"], "False");
    assert_eq!(node.step(&pod).status, None);
}

#[test]
fn image_change_of_one_container_leaves_the_other_and_the_sandbox() {
    let mut pod = pod();
    let mut node = Node::new(&pod);
    node.settle(&mut pod);
    let before = pod["status"]["containerStatuses"].clone();
    pod["spec"]["containers"][0]["image"] = "v2".into();
    let steps = node.settle(&mut pod);
    let after = &pod["status"]["containerStatuses"];
    assert_eq!(
        (&after[0]["restartCount"], &after[1]["restartCount"]),
        (&json!(1), &json!(0))
    );
    assert_ne!(after[0]["containerID"], before[0]["containerID"]);
    assert_eq!(after[1], before[1]);
    assert_eq!(after[0]["image"], "v2");
    assert_eq!(pod["status"]["podIP"], "10.20.1.7");
    assert_eq!(node.held.sandbox, "box");
    let unready = steps.iter().filter_map(|step| step.status.as_ref());
    let unready: Vec<_> = unready
        .map(|it| it["containerStatuses"][0]["ready"].clone())
        .collect();
    assert_eq!(unready.last(), Some(&json!(true)));
    assert!(unready.contains(&json!(false)), "{unready:?}");
}

#[test]
fn sidecar_is_replaced_and_an_init_container_is_not_run_again() {
    let mut pod = pod();
    pod["spec"]["initContainers"] = json!([
        {"name": "once", "image": "i1"}, {"name": "side", "image": "s1", "restartPolicy": "Always"},
    ]);
    let mut node = Node::new(&pod);
    node.settle(&mut pod);
    let before = pod["status"]["initContainerStatuses"].clone();
    assert_eq!(before[0]["state"]["terminated"]["exitCode"], 0);
    pod["spec"]["initContainers"][0]["image"] = "i2".into();
    pod["spec"]["initContainers"][1]["image"] = "s2".into();
    node.settle(&mut pod);
    let after = &pod["status"]["initContainerStatuses"];
    assert_eq!(after[0]["containerID"], before[0]["containerID"]);
    assert_eq!(after[1]["restartCount"], 1);
    assert_eq!(condition(&pod, "ContainersReady")["status"], "True");
}

#[test]
fn pod_that_is_deleted_tells_its_end_before_its_object_may_go() {
    let mut pod = pod();
    let mut node = Node::new(&pod);
    node.settle(&mut pod);
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let steps = node.settle(&mut pod);
    let deletes: Vec<bool> = steps.iter().map(|step| step.delete).collect();
    assert_eq!(deletes.iter().filter(|it| **it).count(), 1, "{deletes:?}");
    assert_eq!(deletes.last(), Some(&true));
    assert_eq!(pod["status"]["phase"], "Succeeded");
    assert_eq!(condition(&pod, "Ready")["status"], "False");
}

#[test]
fn bad_image_is_told_as_kubelet_does() {
    let mut pod = pod();
    let mut node = Node::new(&pod);
    node.settle(&mut pod);
    let bad = crate::rules::Of::Image("bad".to_owned());
    node.faults.set(bad, Some(crate::rules::Fault::NoImage));
    pod["spec"]["containers"][0]["image"] = "bad".into();
    let mut reasons = Vec::new();
    for _ in 0..20 {
        let step = node.step(&pod);
        if let Some(status) = step.status {
            let reason = &status["containerStatuses"][0]["state"]["waiting"]["reason"];
            reasons.push(reason.as_str().unwrap_or("-").to_owned());
            node.held.told(status);
        }
        node.now = step.due.unwrap();
    }
    reasons.dedup();
    let shown = ["ContainerCreating", "ErrImagePull", "ImagePullBackOff"];
    assert!(
        shown.iter().all(|it| reasons.iter().any(|was| was == it)),
        "{reasons:?}"
    );
}
