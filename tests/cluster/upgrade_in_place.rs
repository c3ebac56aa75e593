//! `kubectl berth restart` and `upgrade` on a real kubelet and a real containerd: what they say has happened has happened, a bad image
//! touches nothing, and a Pod is given back whatever ends in the middle.

use std::{collections::BTreeMap, time::Duration};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests_testbed::{Cluster, Daemon, Output, Process, binary};

use crate::{
    seen::{container, exec_in, find, wait_for},
    site::{look, own, wait_ready},
    turn::{self, Rank},
};

const POD: &str = "shop";

/// A deadline of the commands, and something more.
const DEADLINE: Duration = Duration::from_secs(240);

/// What they are told, so that the test takes no longer than it must.
const QUICK: [&str; 4] = [
    "--unready=1",
    "--min-ready=2",
    "--deadline=200",
    "--color=never",
];

/// Two containers. The first takes its time to end and says which image and which label it was started with.
fn shop() -> Value {
    let slow =
        "trap 'sleep 3; exit 0' TERM; while :; do echo \"$VERSION $LABEL\" | nc -l -p 8080; done";
    let idle = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done";
    let mut app = container("app", slow);
    app["env"] = json!([{"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['version']"}}}]);
    app["readinessProbe"] =
        json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 60});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": POD, "labels": {"app": POD, "version": "v1"}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": "n1"}, "terminationGracePeriodSeconds": 20,
            "readinessGates": [{"conditionType": "berth.dev/ServiceReady"}],
            "containers": [app, container("side", idle)],
        },
    })
}

/// A container by what changes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Runs {
    id: String,
    image_id: String,
    restarts: u64,
}

/// The Pod by what must not change, and its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shop {
    uid: String,
    place: String,
    containers: BTreeMap<String, Runs>,
}

fn object(cluster: &Cluster) -> Value {
    cluster.kubectl_json(&["get", "pod", POD]).unwrap()
}

fn shop_seen(cluster: &Cluster) -> Shop {
    let object = object(cluster);
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let statuses = object["status"]["containerStatuses"].as_array().unwrap();
    let containers = statuses.iter().map(|it| {
        let runs = Runs {
            id: text(&it["containerID"]),
            image_id: text(&it["imageID"]),
            restarts: it["restartCount"].as_u64().unwrap(),
        };
        (text(&it["name"]), runs)
    });
    Shop {
        uid: text(&object["metadata"]["uid"]),
        // Addresses and MACs as the Pod's own kernel says them, beside what Kubernetes says.
        place: format!("{:?} {:?}", find(cluster, POD), look(cluster, POD)),
        containers: containers.collect(),
    }
}

/// Status and message of the gate's condition.
fn gate(object: &Value) -> (String, String) {
    let conditions = object["status"]["conditions"].as_array();
    let found =
        conditions.and_then(|all| all.iter().find(|it| it["type"] == "berth.dev/ServiceReady"));
    let text = |key: &str| found.map(|it| it[key].as_str().unwrap_or_default().to_owned());
    (
        text("status").unwrap_or_default(),
        text("message").unwrap_or_default(),
    )
}

/// Nobody holds the Pod, and nobody asks its node for an image.
fn assert_given_back(cluster: &Cluster) {
    assert_eq!(gate(&object(cluster)), ("True".to_owned(), String::new()));
    let words = [
        "get",
        "imagepull",
        "n1",
        "-n",
        "berth-system",
        "--show-managed-fields",
    ];
    let asked = cluster.kubectl_json(&words).unwrap();
    assert_eq!(
        asked["spec"]["images"].as_array().map_or(0, Vec::len),
        0,
        "{asked}"
    );
    let owner = &asked["metadata"]["ownerReferences"][0];
    let node = cluster.kubectl_json(&["get", "node", "n1"]).unwrap();
    assert_eq!(owner["uid"], node["metadata"]["uid"], "{asked}");
    let managers = asked["metadata"]["managedFields"].to_string();
    assert!(managers.contains("\"kubectl-berth\""), "{managers}");
    assert!(!managers.contains("kubectl-berth-upgrade"), "{managers}");
}

/// The Pod is what it was but for one container, which was started once more.
fn assert_only_changed(before: &Shop, after: &Shop, name: &str) {
    let mut wanted = before.clone();
    let changed = wanted.containers.get_mut(name).unwrap();
    let is = &after.containers[name];
    assert_ne!(is.id, changed.id, "{name} was not replaced");
    changed.id.clone_from(&is.id);
    changed.image_id.clone_from(&is.image_id);
    changed.restarts += 1;
    assert_eq!(*after, wanted);
}

fn berth(cluster: &Cluster, words: &[&str], code: i32) -> String {
    let said: Output = cluster.kubectl_berth(words).unwrap();
    let all = format!("{}{}", said.stdout, said.stderr);
    if said.status.code() != Some(code) {
        let status = said.status;
        panic!("{words:?} ended with {status}: {all}\n{}", agent(cluster));
    }
    all
}

/// What the agent says.
fn agent(cluster: &Cluster) -> String {
    let words = [
        "logs",
        "daemonset/berth-agent",
        "-n",
        "berth-system",
        "--tail=60",
    ];
    let said = cluster.kubectl(&words);
    said.unwrap_or_else(|error| format!("{error:#}"))
}

fn upgrade(cluster: &Cluster, image: &str, more: &[&str], code: i32) -> String {
    let image = format!("app={image}");
    let words = [&["upgrade", POD, &image], &QUICK[..], more].concat();
    berth(cluster, &words, code)
}

/// The same, going on beside.
fn begin(cluster: &mut Cluster, name: &str, words: &[&str]) -> Process {
    let control = cluster.control_plane();
    let kubeconfig = control.kubeconfig();
    let machine = control.machine();
    let mut command = machine.command(binary("kubectl-berth").unwrap());
    command.args(words).env("KUBECONFIG", kubeconfig);
    machine.spawn_command(name, command).unwrap()
}

fn ended(mut command: Process, code: i32) -> String {
    let status = command.wait(DEADLINE).unwrap();
    let log = command.log();
    assert_eq!(status.code(), Some(code), "{log}");
    log
}

/// Begins an upgrade; it is in the middle: the image is changed, the container has not come back.
fn in_the_middle(cluster: &mut Cluster, name: &str, image: &str) -> Process {
    let wanted = format!("app={image}");
    let words = [&["upgrade", POD, &wanted], &QUICK[..]].concat();
    let running = begin(cluster, name, &words);
    wait_for("the image being changed", || {
        let object = object(cluster);
        if object["spec"]["containers"][0]["image"] == image {
            return Ok(());
        }
        Err(running.log())
    });
    running
}

fn bad_image_touches_nothing(cluster: &Cluster) {
    let before = shop_seen(cluster);
    // Nothing listens there.
    let said = upgrade(cluster, "localhost:1/shop:v2", &["--pull-attempts=1"], 1);
    assert!(said.contains("nothing was touched on node n1"), "{said}");
    assert!(!said.contains("unready"), "{said}");
    assert_eq!(shop_seen(cluster), before);
    assert_given_back(cluster);
    let said = berth(cluster, &["upgrade", POD, "other=localhost/app:v2"], 1);
    assert!(
        said.contains("has no container other; it has app, side"),
        "{said}"
    );
}

fn same_digest_under_another_name_is_another_container(cluster: &Cluster) {
    let before = shop_seen(cluster);
    let said = upgrade(cluster, "localhost/pause:1", &[], 0);
    let after = shop_seen(cluster);
    assert_only_changed(&before, &after, "app");
    // By its image id nobody could tell.
    assert_eq!(
        after.containers["app"].image_id,
        before.containers["app"].image_id
    );
    for words in [
        "the Pod is made unready",
        "the images are changed",
        "made ready again",
        "Succeeded: ",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert_given_back(cluster);
    let facts = facts(cluster);
    let app = &facts["app"];
    assert_eq!(app["desired"], app["reported"], "{facts}");
    let id = app["id"].as_str().unwrap();
    assert!(after.containers["app"].id.ends_with(id), "{facts}");
    // Once more, there is nothing to be done.
    let said = upgrade(cluster, "localhost/pause:1", &[], 0);
    assert!(said.contains("runs these images already"), "{said}");
    assert_eq!(shop_seen(cluster), after);
}

fn facts(cluster: &Cluster) -> Value {
    let object = object(cluster);
    let text = object["metadata"]["annotations"]["berth.dev/containers"].as_str();
    serde_json::from_str(text.unwrap_or_else(|| panic!("no report: {object}"))).unwrap()
}

/// What kubelet restarts, the agent does not restart too.
fn image_and_label_at_once_restart_once(cluster: &Cluster) {
    let before = shop_seen(cluster);
    let patch = json!({
        "metadata": {"labels": {"version": "v2"}},
        "spec": {"containers": [{"name": "app", "image": "localhost/app:v2"}]},
    });
    let patch = format!("--patch={patch}");
    cluster.kubectl(&["patch", "pod", POD, &patch]).unwrap();
    wait_for("the report of the new container", || {
        let facts = facts(cluster);
        let app = &facts["app"];
        let is_new = !before.containers["app"]
            .id
            .ends_with(app["id"].as_str().unwrap_or("?"));
        let ready = object(cluster)["status"]["containerStatuses"][0]["ready"] == true;
        if is_new && ready && app["desired"] == app["reported"] {
            return Ok(());
        }
        Err(facts.to_string())
    });
    let said = exec_in(cluster, POD, "app", &["sh", "-c", "echo $VERSION $LABEL"]);
    assert_eq!(said.trim(), "v2 v2");
    assert_only_changed(&before, &shop_seen(cluster), "app");
}

fn restart_says_its_verdict(cluster: &Cluster) {
    let before = shop_seen(cluster);
    let words = [
        "restart",
        POD,
        "-c",
        "side",
        "--unready=1",
        "--min-ready=1",
        "--color=never",
    ];
    let said = berth(cluster, &words, 0);
    for words in ["the Pod is made unready", "side: ", "Succeeded: "] {
        assert!(said.contains(words), "{said}");
    }
    assert_only_changed(&before, &shop_seen(cluster), "side");
    assert_given_back(cluster);

    // kubelet would keep it down now, and that is foreseen.
    let after = shop_seen(cluster);
    let words = [
        "restart",
        POD,
        "-c",
        "side",
        "--max-back-off=0",
        "--refuse-back-off",
        "--color=never",
    ];
    let said = berth(cluster, &words, 1);
    assert!(said.contains("Failed (BackOff)"), "{said}");
    assert_eq!(shop_seen(cluster), after);
    let said = berth(cluster, &["restart", POD, "-c", "other"], 2);
    assert!(said.contains("has no container other"), "{said}");
    let said = berth(
        cluster,
        &[
            "restart",
            POD,
            "-c",
            "side",
            "--no-wait",
            "--max-back-off=0",
            "--refuse-back-off",
            "-o",
            "json",
        ],
        0,
    );
    let made: Value = serde_json::from_str(&said).unwrap();
    assert!(
        made["request"].as_str().unwrap().starts_with("shop-"),
        "{said}"
    );
}

fn ctrl_c_gives_the_pod_back(cluster: &mut Cluster) {
    let before = shop_seen(cluster);
    let words = ["upgrade", POD, "app=localhost/app:v1", "--unready=100"];
    let mut running = begin(cluster, "interrupted", &words);
    wait_for("the Pod being held", || {
        let (status, holders) = gate(&object(cluster));
        if status == "False" && holders.contains("Upgrade/kubectl") {
            return Ok(());
        }
        Err(running.log())
    });
    // Who comes second is told so, and touches nothing.
    let said = upgrade(cluster, "localhost/app:v1", &[], 1);
    assert!(said.contains("holds it unready already"), "{said}");
    running.signal(Signal::SIGINT).unwrap();
    let said = ended(running, 2);
    assert!(said.contains("interrupted"), "{said}");
    assert_given_back(cluster);
    wait_ready(cluster, POD, "");
    assert_eq!(shop_seen(cluster), before);
}

fn kubelet_and_agent_end_in_the_middle(cluster: &mut Cluster) {
    for (name, daemon, image) in [
        ("kubelet-ends", Daemon::Kubelet, "localhost/app:v1"),
        ("agent-ends", Daemon::Agent, "localhost/app:v2"),
    ] {
        let before = shop_seen(cluster);
        let running = in_the_middle(cluster, name, image);
        cluster.kill_daemon("n1", daemon).unwrap();
        if daemon == Daemon::Kubelet {
            cluster.start_daemon("n1", daemon).unwrap();
        }
        let said = ended(running, 0);
        assert!(said.contains("Succeeded: "), "{said}");
        assert_only_changed(&before, &shop_seen(cluster), "app");
        assert_given_back(cluster);
    }
}

fn node_reboots_in_the_middle(cluster: &mut Cluster) {
    let before = shop_seen(cluster);
    let running = in_the_middle(cluster, "node-reboots", "localhost/app:v1");
    cluster.reboot("n1").unwrap();
    cluster.wait_nodes().unwrap();
    // Another sandbox is not an upgrade in place, and is told; the Pod is given back, with its addresses, and runs the image.
    let said = ended(running, 1);
    assert!(
        said.contains("Failed: ") && said.contains("sandbox"),
        "{said}"
    );
    assert!(
        said.contains("To go back: kubectl berth upgrade -n default shop app=localhost/app:v2"),
        "{said}"
    );
    wait_ready(cluster, POD, "");
    let after = shop_seen(cluster);
    assert_eq!((after.uid, after.place), (before.uid, before.place));
    let said = exec_in(cluster, POD, "app", &["sh", "-c", "echo $VERSION"]);
    assert_eq!(said.trim(), "v1");
    assert_given_back(cluster);
}

#[test]
fn restart_and_upgrade_end_with_what_has_happened_whatever_ends_in_the_middle() {
    turn::take(Rank::Long);
    let mut cluster = own("cluster-upgrade-in-place");
    cluster.apply(&shop().to_string()).unwrap();
    wait_ready(&cluster, POD, "");
    bad_image_touches_nothing(&cluster);
    same_digest_under_another_name_is_another_container(&cluster);
    image_and_label_at_once_restart_once(&cluster);
    restart_says_its_verdict(&cluster);
    ctrl_c_gives_the_pod_back(&mut cluster);
    kubelet_and_agent_end_in_the_middle(&mut cluster);
    node_reboots_in_the_middle(&mut cluster);
}
