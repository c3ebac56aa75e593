//! `ImagePull` as it is installed: the shipped agents of real nodes, of both runtimes, pull from registries good and bad on their nodes'
//! loopbacks, with a secret of the one namespace, each for its own node.

use std::time::Duration;

use serde_json::{Value, json};
use tests::registry::{Manner, Registry, Stored};
use tests_testbed::{Cluster, Pending, wait_patiently};

use crate::site::shared;

/// Some seconds; and a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(120);

/// `puller:secret` in base64.
const PULLER: &str = "cHVsbGVyOnNlY3JldA==";

const NODES: [&str; 2] = ["n1", "n2"];

/// What is in a node's registry.
struct Shelf {
    registry: Registry,
    fine: Stored,
    private: Stored,
    held: Stored,
    bad: Vec<(Stored, &'static str)>,
}

impl Shelf {
    fn new(cluster: &Cluster, node: &str) -> Self {
        let machine = cluster.world().node(node).namespace().unwrap();
        let registry = Registry::start(machine, 5000);
        // Layers of the nodes differ, so that nobody has what another has pulled.
        let store = |name: &str, manner| registry.store(&format!("{node}/{name}"), 4096, manner);
        let always = u32::MAX;
        Self {
            fine: store("fine", Manner::Fine),
            private: store("private", Manner::Wants(PULLER)),
            held: store("held", Manner::Held),
            bad: vec![
                (store("locked", Manner::Wants(PULLER)), "Unauthorized"),
                (
                    store("forbidden", Manner::Answers(403, always)),
                    "Forbidden",
                ),
                (store("missing", Manner::Answers(404, always)), "NotFound"),
                (store("ill", Manner::Answers(500, always)), "Registry"),
                (store("breaks", Manner::BreaksOff(always)), "Network"),
                (store("other-layer", Manner::OtherLayer), "WrongDigest"),
                (
                    store("other-manifest", Manner::OtherManifest),
                    "WrongDigest",
                ),
                (store("slow", Manner::Held), "Timeout"),
            ],
            registry,
        }
    }

    /// The good ones by name with a tag, with a digest, and with a secret; the bad ones with one repetition.
    fn entries(&self) -> Vec<Value> {
        let bad = self.bad.iter().map(|(stored, reason)| {
            let seconds = if *reason == "Timeout" { 2 } else { 60 };
            json!({"image": stored.digested, "backOffLimit": 1, "timeoutSeconds": seconds})
        });
        let good = [
            json!({"image": self.fine.tagged}),
            json!({"image": self.private.digested, "pullSecrets": ["registry"]}),
            json!({"image": self.held.tagged, "timeoutSeconds": 300}),
        ];
        good.into_iter().chain(bad).collect()
    }
}

fn apply(cluster: &Cluster, node: &str, images: &[Value]) {
    let object = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "ImagePull",
        "metadata": {"name": node, "namespace": "berth-system"},
        "spec": {"nodeName": node, "images": images, "parallelism": 4},
    });
    cluster.apply(&object.to_string()).unwrap();
}

/// Waits until the status of an image on a node is as it shall be.
#[track_caller]
fn wait(
    cluster: &Cluster,
    node: &str,
    image: &str,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Value {
    let waited = wait_patiently(&format!("{image} {what} on {node}"), DEADLINE, || {
        let words = ["get", "imagepull", node, "-n", "berth-system"];
        let object = cluster
            .kubectl_json(&words)
            .map_err(|error| Pending(format!("{error:#}")))?;
        let images = object["status"]["images"].as_array();
        let found = images.and_then(|all| all.iter().find(|it| it["image"] == image));
        let status = found.cloned().unwrap_or_default();
        if is(&status) {
            return Ok(status);
        }
        Err(Pending::because(&object["status"]))
    });
    waited.unwrap()
}

fn has(cluster: &Cluster, node: &str, image: &str) -> bool {
    let images = cluster
        .world()
        .node(node)
        .run(&["ctr", "-n", "k8s.io", "image", "list", "-q"]);
    images.unwrap().lines().any(|name| name == image)
}

/// What an agent has made of its node's shelf.
fn judge(cluster: &Cluster, node: &str, shelf: &Shelf) {
    for (image, stored) in [
        (&shelf.fine.tagged, &shelf.fine),
        (&shelf.private.digested, &shelf.private),
    ] {
        let status = wait(cluster, node, image, "pulled", is_in("Succeeded"));
        assert_eq!(status["digest"], stored.digest.as_str(), "{node}: {status}");
        assert!(has(cluster, node, image), "{node}: {image}");
    }
    for (stored, reason) in &shelf.bad {
        let image = &stored.digested;
        let status = wait(cluster, node, image, "given up", is_in("Failed"));
        assert_eq!(status["reason"], *reason, "{node}: {status}");
        let is_repeated = ["Registry", "Network", "Timeout"].contains(reason);
        let attempts = if is_repeated { 2 } else { 1 };
        assert_eq!(status["attempts"], attempts, "{node}: {status}");
        assert!(!has(cluster, node, image), "{node}: {image}");
    }
    // Half of it has come, and that is told.
    let image = &shelf.held.tagged;
    let status = wait(cluster, node, image, "on its way", |it| {
        it["progress"].is_object()
    });
    let bytes = |field: &str| status["progress"][field].as_u64().unwrap();
    let (received, known) = (bytes("receivedBytes"), bytes("knownBytes"));
    assert!(0 < received && received < known, "{node}: {status}");
    shelf.registry.release(&format!("{node}/held"));
    wait(cluster, node, image, "pulled", is_in("Succeeded"));
    assert!(shelf.registry.most_at_once() <= 4, "{node}");
}

fn is_in(phase: &'static str) -> impl Fn(&Value) -> bool {
    move |status| status["phase"] == phase
}

#[test]
fn agents_pull_what_is_asked_for_and_say_what_is_wrong_with_the_rest() {
    let cluster = shared();
    let secret = ["create", "secret", "docker-registry", "registry"];
    let login = [
        "--namespace=berth-pull-secrets",
        "--docker-server=127.0.0.1:5000",
        "--docker-username=puller",
        "--docker-password=secret",
    ];
    cluster.kubectl(&[&secret[..], &login].concat()).unwrap();
    let shelves = NODES.map(|node| Shelf::new(&cluster, node));
    for (node, shelf) in NODES.iter().zip(&shelves) {
        apply(&cluster, node, &shelf.entries());
    }
    for (node, shelf) in NODES.iter().zip(&shelves) {
        judge(&cluster, node, shelf);
    }
    let remove = ["delete", "imagepulls", "--all", "-n", "berth-system"];
    cluster.kubectl(&remove).unwrap();
    let remove = ["delete", "secret", "registry", "-n", "berth-pull-secrets"];
    cluster.kubectl(&remove).unwrap();
}
