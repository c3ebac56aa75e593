//! An API server with the whole install, Kubernetes' own `EndpointSlice` controller, fake nodes, and two real controllers with the
//! shipped rights, of which one leads.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tests_fake_node::{FakeNodes, Pace};
use tests_testbed::{ApiServer, Pending, Process, wait_until};

use super::record::{Kind, Record};
use crate::controllers::Place;
use crate::shipped::{installed, kubectl};

/// Kubernetes' own: endpoints, what an owner leaves behind, and the account each Pod has.
const CONTROLLERS: [&str; 3] = [
    "endpointslice-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
];

/// A leader that is killed is followed after a quarter of a minute; and a machine that does other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Everything that runs.
pub(crate) struct Rig {
    // What asks the API server ends before it.
    pub(crate) record: Record,
    pub(crate) nodes: FakeNodes,
    pub(crate) controllers: Vec<(Place, Process)>,
    pub(crate) api: ApiServer,
}

impl Rig {
    pub(super) fn start(name: &str, port: u16) -> Self {
        Self::with(name, port, 6, &Kind::SHOP)
    }

    /// With so many nodes, `n1` and so on, and a record of these kinds.
    pub(crate) fn with(name: &str, port: u16, nodes: u16, kinds: &[Kind]) -> Self {
        let mut api = installed(name);
        api.start_only_controllers(&CONTROLLERS).unwrap();
        kubectl(&api, &["create", "namespace", "shop"]);
        let names: Vec<String> = (1..=nodes).map(|number| format!("n{number}")).collect();
        let nodes = FakeNodes::start(&api, &names, Pace::quick()).unwrap();
        let record = Record::start(&api, kinds);
        let controllers = [("c1", port), ("c2", port + 10)]
            .into_iter()
            .map(|(node, port)| {
                let place = Place::new(&api, node, port);
                let process = place.start(&api);
                (place, process)
            })
            .collect();
        let rig = Self {
            record,
            nodes,
            controllers,
            api,
        };
        // Each Pod has an account of its namespace, which a controller makes.
        rig.wait("the namespace's account", || {
            let words = ["get", "serviceaccount", "default", "-n", "shop"];
            let found = rig.api.kubectl_json(&words);
            found.map(|_| ()).map_err(|error| format!("{error:#}"))
        });
        rig
    }

    /// Makes or changes objects.
    pub(crate) fn apply(&self, object: &Value) {
        // A kind is served a moment after it is defined.
        self.wait("an object being taken", || {
            let made = self.api.apply(&object.to_string());
            made.map_err(|error| format!("{error:#}"))
        });
    }

    /// Merges this into a set.
    pub(crate) fn patch(&self, set: &str, patch: &Value) {
        self.merge("inplaceset", set, patch);
    }

    /// Merges this into an object of the namespace.
    pub(crate) fn merge(&self, kind: &str, name: &str, patch: &Value) {
        let patch = patch.to_string();
        let words = [
            "patch",
            kind,
            name,
            "-n",
            "shop",
            "--type=merge",
            "-p",
            &patch,
        ];
        kubectl(&self.api, &words);
    }

    /// Another image for the first container of each Pod of a set, and whatever else.
    pub(crate) fn release(&self, set: &str, image: &str) {
        let object = self.record.set(set).unwrap();
        let mut template = object["spec"]["template"].clone();
        template["spec"]["containers"][0]["image"] = image.into();
        self.patch(set, &json!({"spec": {"template": template}}));
    }

    /// Waits for this, and says what the controllers said when it does not come.
    #[track_caller]
    pub(crate) fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
        wait_until(what, PATIENCE, || look().map_err(Pending)).unwrap_or_else(|error| {
            let logs = self
                .controllers
                .iter()
                .map(|(_, process)| process.log_tail());
            let logs: Vec<_> = logs.collect();
            let trouble = (self.nodes.trouble(), self.nodes.interrupted());
            panic!(
                "{error:#}\nthe nodes say: {trouble:#?}\nthe controllers say:\n{}",
                logs.join("\n---\n")
            )
        })
    }

    /// Waits until this is true of all Pods of a set, and it has so many.
    #[track_caller]
    pub(crate) fn wait_pods(
        &self,
        what: &str,
        (set, count): (&str, usize),
        is: impl Fn(&Value) -> bool,
    ) -> Vec<Arc<Value>> {
        self.wait(&format!("{set}: {what}"), || {
            let pods = self.record.pods(set);
            if pods.len() == count && pods.iter().all(|pod| is(pod)) {
                return Ok(pods);
            }
            let told = self.record.set(set).map(|it| it["status"].clone());
            let pods: Vec<_> = pods.iter().map(|pod| brief(pod)).collect();
            Err(format!("{told:?}\n{}", pods.join("\n")))
        })
    }

    /// Waits until this is true of a set's status.
    #[track_caller]
    pub(crate) fn wait_status(
        &self,
        what: &str,
        set: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Arc<Value> {
        self.wait(&format!("{set}: {what}"), || {
            let object = self.record.set(set).ok_or("no set")?;
            let is_seen =
                object["status"]["observedGeneration"] == object["metadata"]["generation"];
            if is_seen && is(&object["status"]) {
                return Ok(object);
            }
            Err(object["status"].to_string())
        })
    }

    /// Waits until the release of a set has succeeded with this image.
    #[track_caller]
    pub(crate) fn wait_released(
        &self,
        (set, count): (&str, usize),
        image: &str,
    ) -> Vec<Arc<Value>> {
        self.wait_status("the release succeeding", set, |status| {
            status["release"]["phase"] == "Succeeded" && status["updatedReadyReplicas"] == count
        });
        self.wait_pods(image, (set, count), |pod| {
            super::judge::image(pod, 0) == image && super::judge::is_ready(pod)
        })
    }
}

fn brief(pod: &Value) -> String {
    let metadata = &pod["metadata"];
    format!(
        "{} on {} deleting {} finalizers {} annotations {} status {}",
        metadata["name"],
        pod["spec"]["nodeName"],
        metadata["deletionTimestamp"],
        metadata["finalizers"],
        metadata["annotations"],
        pod["status"],
    )
}

/// A set of Pods with one container, and a Service for them.
pub(crate) fn set(name: &str, replicas: u32, spec: &Value) -> Value {
    let labels = json!({"app": name});
    let mut all = json!({
        "replicas": replicas, "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": 5,
                // Characters that the API server writes otherwise than most would.
                "containers": [{"name": "app", "image": "localhost/app:v1", "command": ["sh", "-c", "a && b > c"]}],
            },
        },
    });
    merge(&mut all, spec);
    let set = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet",
        "metadata": {"name": name, "namespace": "shop"}, "spec": all,
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": labels, "ports": [{"port": 80}]},
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [service, set]})
}

/// As RFC 7386 has it, without removal.
fn merge(into: &mut Value, from: &Value) {
    let (Value::Object(into), Value::Object(from)) = (&mut *into, from) else {
        *into = from.clone();
        return;
    };
    for (key, value) in from {
        merge(into.entry(key.clone()).or_insert(Value::Null), value);
    }
}
