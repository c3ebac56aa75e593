//! The real controllers against a real API server, with the shipped rights and no others: who leads, and what becomes of claims
//! whose node is gone or whose owner wants them no more.
//!
//! No kubelet and no address daemon runs: their part is written by the administrator, who may.

mod past_term;
mod protection;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests_testbed::{ControlPlane, Pending, Process, binary, wait_patiently};

use crate::shipped::{NAMESPACE, add_node, installed, kubectl, pod_of};

/// A minute until a Node counts as gone, half a minute until a mark has stood; and a machine that compiles beside.
const DEADLINE: Duration = Duration::from_secs(240);

/// A line of the metrics.
const LEADING: &str = "berth_agent_controllers_leader 1";

/// The promise for a leader that is told to end.
const HAND_OVER: Duration = Duration::from_secs(2);

/// A place for controllers: a node, with the Pod that their token is of.
pub(crate) struct Place {
    node: String,
    folder: tempfile::TempDir,
    port: u16,
}

impl Place {
    pub(crate) fn new(api: &ControlPlane, node: &str, port: u16) -> Self {
        add_node(api, node);
        let place = Self {
            node: node.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            port,
        };
        for account in ["berth-controllers", "berth-agent", "berth-ipamd"] {
            let pod = pod_of(api, account, node);
            api.apply(&pod.to_string()).unwrap();
            place.write_kubeconfig(api, account);
        }
        place
    }

    pub(crate) fn kubeconfig(&self, account: &str) -> PathBuf {
        self.folder.path().join(account)
    }

    /// Server and token as kubelet would mount them.
    fn write_kubeconfig(&self, api: &ControlPlane, account: &str) {
        let pod = format!("--bound-object-name={account}-{}", self.node);
        let bound = "--bound-object-kind=Pod";
        let words = ["create", "token", account, "-n", NAMESPACE, bound, &pod];
        let token = kubectl(api, &words).trim().to_owned();
        let view = api.kubectl_json(&["config", "view", "--raw"]).unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": view["clusters"][0]["cluster"]}],
            "users": [{"name": "it", "user": {"token": token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        fs::write(self.kubeconfig(account), config.to_string()).unwrap();
    }

    pub(crate) fn start(&self, api: &ControlPlane) -> Process {
        self.start_as(api, "controllers", "berth-controllers", &[])
    }

    fn start_as(&self, api: &ControlPlane, role: &str, account: &str, more: &[&str]) -> Process {
        let mut command = api.machine().command(binary("berth-agent").unwrap());
        let metrics = format!("127.0.0.1:{}", self.port);
        command.args(["--role", role, "--node", &self.node, "--metrics", &metrics]);
        command.arg("--kubeconfig").arg(self.kubeconfig(account));
        command.args(more);
        let name = format!("{role}-{account}-{}", self.node);
        api.machine().spawn_command(&name, command).unwrap()
    }

    /// What it answers at its endpoint.
    pub(crate) fn answers(&self, api: &ControlPlane, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let said = api.machine().exec(&["curl", "-s", &url]);
        said.map(|said| said.stdout).unwrap_or_default()
    }
}

/// Waits for a condition, and says what the controllers said when it does not come.
fn wait<T>(what: &str, controllers: &[&Process], look: impl FnMut() -> Result<T, Pending>) -> T {
    wait_patiently(what, DEADLINE, look).unwrap_or_else(|error| {
        let logs: Vec<_> = controllers.iter().map(|it| it.log_tail()).collect();
        panic!("{error:#}\nthe controllers say:\n{}", logs.join("\n---\n"))
    })
}

fn object(api: &ControlPlane, words: &[&str]) -> Result<Value, Pending> {
    let all = [&["get", "-n", NAMESPACE], words].concat();
    api.kubectl_json(&all)
        .map_err(|error| Pending::because(format!("{error:#}")))
}

fn claim_of(api: &ControlPlane, address: &str) -> Result<Value, Pending> {
    object(api, &["claim", &format!("pool-a.{address}")])
}

fn exists(api: &ControlPlane, address: &str) -> bool {
    let name = format!("pool-a.{address}");
    let words = [
        "get",
        "claim",
        &name,
        "-n",
        NAMESPACE,
        "--ignore-not-found",
        "-o",
        "name",
    ];
    !kubectl(api, &words).trim().is_empty()
}

fn uid_of(api: &ControlPlane, node: &str) -> String {
    let node = api.kubectl_json(&["get", "node", node]).unwrap();
    node["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn pool(api: &ControlPlane) {
    let pool = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool", "metadata": {"name": "pool-a", "namespace": NAMESPACE},
        "spec": {
            "network": "external", "rack": "a", "subnet": "10.20.1.0/24", "gateway": "10.20.1.1",
            "ranges": ["10.20.1.100-10.20.1.199"], "exclude": ["10.20.1.199"], "quarantine": "1s",
        },
    });
    // A new kind is served a moment after it is defined.
    wait("the pool being taken", &[], || {
        let made = api.apply(&pool.to_string());
        made.map_err(|error| Pending::because(format!("{error:#}")))
    });
}

/// A claim as the daemon of its node writes it.
fn claim(api: &ControlPlane, address: &str, node: &str, binding: Option<Value>) {
    let mut claim = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Claim",
        "metadata": {
            "name": format!("pool-a.{address}"), "namespace": NAMESPACE, "finalizers": ["berth.dev/claim"],
            "annotations": {"berth.dev/node-uid": uid_of(api, node)},
        },
        "spec": {"pool": "pool-a", "network": "external", "rack": "a", "address": address, "node": node, "epoch": 1},
    });
    if let Some(mut binding) = binding {
        let last = address.rsplit('.').next().unwrap().parse::<u8>().unwrap();
        binding["mac"] = format!("02:00:00:00:00:{last:02x}").into();
        binding["addresses"] = json!([address]);
        claim["spec"]["binding"] = binding;
    }
    api.kubectl_with(&["create", "-f", "-"], &claim.to_string())
        .unwrap()
        .ok()
        .unwrap();
}

/// A binding that no Pod has now, of a Pod of a `StatefulSet`.
fn held(set: &str, ordinal: u8) -> Value {
    let pod = format!("shop/{set}-{ordinal}");
    json!({
        "identity": pod, "origin": {"kind": "Pod", "pod": pod}, "attached": false, "hold": "forever",
        "owner": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": set, "uid": "u", "ordinal": ordinal},
    })
}

fn set(api: &ControlPlane, name: &str, replicas: u8) {
    let labels = json!({"app": name});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas, "serviceName": name, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "localhost/app:v1"}]},
            },
        },
    });
    api.apply(&set.to_string()).unwrap();
}

/// Waits until a mark of a claim is there, by the controllers, with these words.
fn wait_mark(api: &ControlPlane, controllers: &Process, address: &str, mark: &str, words: &str) {
    let what = format!("{address} being marked {mark}, because {words}");
    wait(&what, &[controllers], || {
        let claim = claim_of(api, address)?;
        let mark = &claim["spec"][mark];
        let reason = mark["reason"].as_str().unwrap_or_default();
        if reason.contains(words) && mark["by"] == "berth-controllers" {
            return Ok(());
        }
        Err(Pending::because(&claim["spec"]))
    });
}

fn wait_unmarked(api: &ControlPlane, controllers: &Process, address: &str, mark: &str) {
    let what = format!("{address} being marked {mark} no more");
    wait(&what, &[controllers], || {
        let claim = claim_of(api, address)?;
        if claim["spec"][mark].is_null() {
            return Ok(());
        }
        Err(Pending::because(&claim["spec"]))
    });
}

fn wait_gone(api: &ControlPlane, controllers: &Process, address: &str) {
    wait(&format!("{address} being gone"), &[controllers], || {
        if !exists(api, address) {
            return Ok(());
        }
        Err(Pending::because(claim_of(api, address)?))
    });
}

/// Sets a mark as an operator.
fn mark(api: &ControlPlane, address: &str, name: &str) {
    let name =
        json!({"spec": {name: {"reason": "told so", "by": "anna", "at": "2026-01-01T00:00:00Z"}}})
            .to_string();
    let claim = format!("pool-a.{address}");
    let words = [
        "patch",
        "claim",
        &claim,
        "-n",
        NAMESPACE,
        "--type=merge",
        "-p",
        &name,
    ];
    kubectl(api, &words);
}

/// A kubelet that does nothing but renew its Lease.
pub(crate) fn renew(api: &ControlPlane, node: &str) -> Process {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": node, "namespace": "kube-node-lease"}, "spec": {"holderIdentity": node},
    });
    api.apply(&lease.to_string()).unwrap();
    let command = api.kubectl_command(&api.kubeconfig());
    let words = command.get_args().map(|word| word.to_string_lossy());
    let words: Vec<_> = words.skip_while(|word| word != "--").skip(1).collect();
    let kubectl = words.join(" ");
    let patch = format!("{kubectl} patch lease {node} -n kube-node-lease --type=merge -p");
    let script = format!(
        r#"while :; do {patch} "{{\"spec\":{{\"leaseTransitions\":$((n=n+1))}}}}"; sleep 3; done"#
    );
    let name = format!("kubelet-of-{node}");
    api.machine()
        .spawn(&name, &["bash", "-c", &script])
        .unwrap()
}

/// Waits until people are told why a node's addresses are not given away.
fn wait_refused(api: &ControlPlane, controllers: &Process, node: &str) {
    let words = ["get", "events", "-n", "default", "-o", "json"];
    wait("the refusal being told", &[controllers], || {
        let events: Value = serde_json::from_str(&kubectl(api, &words)).unwrap();
        let events = events["items"].as_array().unwrap();
        let told = events.iter().find(|event| {
            event["reason"] == "FenceRefused" && event["involvedObject"]["name"] == node
        });
        let told = told.ok_or_else(|| Pending::because(events.len()))?;
        let words = told["message"].as_str().unwrap_or_default();
        assert!(words.contains("its kubelet renews its Lease"), "{words}");
        Ok(())
    });
}

/// Four nodes with idle, held and attached claims.
fn nodes_with_claims(api: &ControlPlane) {
    for node in ["n1", "n2", "n3", "n4"] {
        add_node(api, node);
    }
    kubectl(api, &["create", "namespace", "shop"]);
    set(api, "db", 1);
    let passing = json!({
        "identity": "shop/web-7d9f-x2k4p", "origin": {"kind": "Pod", "pod": "shop/web-7d9f-x2k4p"}, "attached": true,
    });
    claim(api, "10.20.1.100", "n1", None);
    claim(api, "10.20.1.101", "n1", Some(passing));
    claim(api, "10.20.1.102", "n1", Some(held("db", 0)));
    claim(api, "10.20.1.103", "n1", Some(held("db", 1)));
    claim(api, "10.20.1.110", "n2", None);
    claim(api, "10.20.1.111", "n2", Some(held("db", 0)));
    claim(api, "10.20.1.120", "n3", None);
    claim(api, "10.20.1.130", "n4", None);
    claim(api, "10.20.1.131", "n4", None);
    mark(api, "10.20.1.131", "fenced");
}

/// What somebody wants, what was never dead, and what an operator said.
fn assert_left(api: &ControlPlane) {
    for (address, by) in [
        ("10.20.1.102", Value::from("berth-controllers")),
        ("10.20.1.111", Value::Null),
        ("10.20.1.120", Value::Null),
        ("10.20.1.130", Value::Null),
        ("10.20.1.131", "anna".into()),
    ] {
        let claim = claim_of(api, address).unwrap();
        assert_eq!(claim["spec"]["fenced"]["by"], by, "{address}");
        assert!(
            claim["metadata"]["deletionTimestamp"].is_null(),
            "{address}"
        );
    }
}

#[test]
fn claims_of_a_node_that_is_gone_are_marked_and_go_when_nobody_wants_them() {
    let api = installed("api_controllers_nodes");
    let place = Place::new(&api, "c1", 19_500);
    pool(&api);
    nodes_with_claims(&api);
    let controllers = place.start(&api);
    status(&api, &controllers);

    // n1 is deleted for good, n2 made anew, n3 shut down.
    let deleted = SystemTime::now();
    kubectl(&api, &["delete", "node", "n1", "n2"]);
    add_node(&api, "n2");
    let key = "node.kubernetes.io/out-of-service";
    let (taint, untaint) = (format!("{key}=nodeshutdown:NoExecute"), format!("{key}-"));
    // n4 is said to be shut down too, and its kubelet lives. Nobody ever saw anything of n3's.
    let kubelet = renew(&api, "n4");
    kubectl(&api, &["taint", "node", "n3", "n4", &taint]);
    let marked = |address, words| wait_mark(&api, &controllers, address, "fenced", words);
    marked("10.20.1.120", key);
    for address in ["10.20.1.110", "10.20.1.111"] {
        marked(address, "Node n2 was deleted and made anew");
    }
    kubectl(&api, &["taint", "node", "n3", &untaint]);
    wait_unmarked(&api, &controllers, "10.20.1.120", "fenced");
    marked("10.20.1.102", "Node n1 was deleted");
    let waited = deleted.elapsed().unwrap();
    assert!(waited > Duration::from_secs(60), "{waited:?}");

    // What belonged to nobody, to a Pod that is gone, and to an ordinal that nobody wants.
    for address in ["10.20.1.110", "10.20.1.100", "10.20.1.101", "10.20.1.103"] {
        wait_gone(&api, &controllers, address);
    }
    // The new n2 gets what it had: nobody else took it.
    wait_unmarked(&api, &controllers, "10.20.1.111", "fenced");
    let claim = claim_of(&api, "10.20.1.111").unwrap();
    let uid = uid_of(&api, "n2");
    assert_eq!(
        claim["metadata"]["annotations"]["berth.dev/node-uid"],
        uid.as_str()
    );
    assert_left(&api);
    wait_refused(&api, &controllers, "n4");
    assert_left(&api);
    drop(kubelet);
    wait_claimed(&api, &controllers, 5);
    let metrics = place.answers(&api, "/metrics");
    for line in [
        LEADING,
        r#"berth_agent_controllers_writes_total{kind="fence",result="done"} 7"#,
        r#"berth_agent_controllers_writes_total{kind="unfence",result="done"} 1"#,
        r#"berth_agent_controllers_writes_total{kind="adopt",result="done"} 1"#,
        r#"berth_agent_controllers_writes_total{kind="delete_claim",result="done"} 4"#,
        r#"berth_agent_controllers_writes_total{kind="finish_claim",result="done"} 4"#,
    ] {
        let is_there = metrics.lines().any(|it| it == line);
        assert!(is_there, "no {line} in\n{metrics}");
    }
}

/// The pool's numbers, as of before anything goes.
fn status(api: &ControlPlane, controllers: &Process) {
    let status = wait_claimed(api, controllers, 9);
    assert_eq!(status["capacity"], 99);
    assert_eq!(
        (&status["bound"], &status["attached"]),
        (&4.into(), &1.into())
    );
    assert_eq!(status["conditions"][0]["type"], "Accepted");
    assert_eq!(status["conditions"][0]["status"], "True", "{status}");
}

fn wait_claimed(api: &ControlPlane, controllers: &Process, claimed: i64) -> Value {
    wait(
        &format!("{claimed} claims in the status"),
        &[controllers],
        || {
            let pool = object(api, &["pool", "pool-a"])?;
            if pool["status"]["claimed"] == claimed {
                return Ok(pool["status"].clone());
            }
            Err(Pending::because(&pool["status"]))
        },
    )
}

#[test]
fn what_a_stateful_set_wants_no_more_is_marked_and_what_it_wants_again_is_not() {
    let api = installed("api_controllers_sets");
    let place = Place::new(&api, "c1", 19_510);
    pool(&api);
    add_node(&api, "n1");
    kubectl(&api, &["create", "namespace", "shop"]);
    for (name, replicas) in [("db", 3), ("gone", 1), ("again", 1)] {
        set(&api, name, replicas);
    }
    claim(&api, "10.20.1.100", "n1", Some(held("db", 0)));
    claim(&api, "10.20.1.102", "n1", Some(held("db", 2)));
    let mut attached = held("db", 2);
    attached["attached"] = true.into();
    claim(&api, "10.20.1.103", "n1", Some(attached));
    claim(&api, "10.20.1.110", "n1", Some(held("gone", 0)));
    claim(&api, "10.20.1.120", "n1", Some(held("again", 0)));
    let controllers = place.start(&api);
    wait_claimed(&api, &controllers, 5);

    set(&api, "db", 2);
    kubectl(
        &api,
        &["delete", "statefulset", "gone", "again", "-n", "shop"],
    );
    set(&api, "again", 1);
    wait_mark(
        &api,
        &controllers,
        "10.20.1.102",
        "release",
        "StatefulSet shop/db was scaled to 2",
    );
    wait_mark(
        &api,
        &controllers,
        "10.20.1.110",
        "release",
        "StatefulSet shop/gone was deleted",
    );
    for address in ["10.20.1.100", "10.20.1.103", "10.20.1.120"] {
        let claim = claim_of(&api, address).unwrap();
        assert!(
            claim["spec"]["release"].is_null(),
            "{address}: {}",
            claim["spec"]
        );
    }
    // The holder had not let it go: it is wanted again.
    set(&api, "db", 3);
    wait_unmarked(&api, &controllers, "10.20.1.102", "release");
    // An operator's mark is the operator's.
    mark(&api, "10.20.1.100", "release");
    set(&api, "gone", 1);
    wait_unmarked(&api, &controllers, "10.20.1.110", "release");
    let claim = claim_of(&api, "10.20.1.100").unwrap();
    assert_eq!(claim["spec"]["release"]["by"], "anna");
}

/// Who has the Lease: the node's name, and since when by its own clock.
fn holder(api: &ControlPlane) -> Result<(String, String), Pending> {
    let lease = object(api, &["lease", "berth-controllers"])?;
    let spec = &lease["spec"];
    let holder = spec["holderIdentity"].as_str();
    let holder = holder.and_then(|it| it.split_once('_'));
    let (node, _) = holder.ok_or_else(|| Pending::because(spec))?;
    let since = spec["acquireTime"].as_str().unwrap_or_default();
    Ok((node.to_owned(), since.to_owned()))
}

fn wait_holder(api: &ControlPlane, controllers: &[&Process], node: &str) -> String {
    wait(&format!("{node} leading"), controllers, || {
        let (holder, since) = holder(api)?;
        if holder == node {
            return Ok(since);
        }
        Err(Pending(holder))
    })
}

/// Seconds since the epoch of a time of the API.
fn seconds(api: &ControlPlane, time: &str) -> f64 {
    let said = api.machine().run(&["date", "-d", time, "+%s.%N"]).unwrap();
    said.trim().parse().unwrap()
}

fn now() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

#[test]
fn one_leads_and_another_takes_over_when_it_is_killed_told_to_end_or_stopped() {
    let api = installed("api_controllers_lease");
    let (one, two) = (
        Place::new(&api, "c1", 19_520),
        Place::new(&api, "c2", 19_530),
    );
    let mut first = one.start(&api);
    wait_holder(&api, &[&first], "c1");
    let mut second = two.start(&api);
    wait("the second being ready", &[&second], || {
        let said = two.answers(&api, "/readyz");
        if said == "ok\n" {
            Ok(())
        } else {
            Err(Pending(said))
        }
    });
    let leader = |place: &Place| {
        let metrics = place.answers(&api, "/metrics");
        metrics.lines().any(|line| line == LEADING)
    };
    assert!(leader(&one) && !leader(&two));

    // Killed: the Lease runs out.
    let killed = now();
    first.kill().unwrap();
    let since = seconds(&api, &wait_holder(&api, &[&second], "c2"));
    assert!(since - killed > 10.0, "{}", since - killed);

    // Told to end: handed over.
    let mut first = one.start(&api);
    wait("the first being ready", &[&first], || {
        let said = one.answers(&api, "/readyz");
        if said == "ok\n" {
            Ok(())
        } else {
            Err(Pending(said))
        }
    });
    let told = now();
    second.signal(Signal::SIGTERM).unwrap();
    let since = seconds(&api, &wait_holder(&api, &[&first, &second], "c1"));
    assert!(since - told < HAND_OVER.as_secs_f64(), "{} s", since - told);
    assert!(second.wait(DEADLINE).unwrap().success());

    // Stopped past the end of its term, and let go on: it is not the leader, and knows it.
    let second = two.start(&api);
    first.signal(Signal::SIGSTOP).unwrap();
    wait_holder(&api, &[&second], "c2");
    first.signal(Signal::SIGCONT).unwrap();
    wait("the first knowing", &[&first, &second], || {
        if first.log().contains("leading no more") && !leader(&one) {
            return Ok(());
        }
        Err(Pending(first.log_tail()))
    });
    assert_eq!(holder(&api).unwrap().0, "c2");
}

/// The Lease of one process: its whole name, when it took it, and when it renewed it last.
fn term_of(api: &ControlPlane) -> Result<(String, f64, f64), Pending> {
    let lease = object(api, &["lease", "berth-controllers"])?;
    let of = |name: &str| lease["spec"][name].as_str().unwrap_or_default().to_owned();
    let time = |name: &str| seconds(api, &of(name));
    Ok((of("holderIdentity"), time("acquireTime"), time("renewTime")))
}

#[test]
fn a_leader_that_crashed_is_followed_on_its_node_before_its_lease_has_run_out_and_not_at_once() {
    let api = installed("api_controllers_roll");
    let place = Place::new(&api, "c1", 19_550);
    let roll = place.folder.path().join("election.roll");
    let roll = ["--election-roll", roll.to_str().unwrap()];
    let start = || place.start_as(&api, "controllers", "berth-controllers", &roll);
    let mut running = start();
    wait_holder(&api, &[&running], "c1");
    // On a machine that is busy enough nobody is quick; but not each time.
    let mut waits = Vec::new();
    while waits.len() < 6 && waits.iter().all(|waited| *waited >= 15.0) {
        running.kill().unwrap();
        let (dead, _, renewed) = term_of(&api).unwrap();
        running = start();
        let taken = wait("the next process leading", &[&running], || {
            let (holder, taken, _) = term_of(&api)?;
            if holder == dead || holder.is_empty() {
                return Err(Pending(holder));
            }
            Ok(taken)
        });
        // What the dead one had sent has so long to come to its end.
        assert!(taken - renewed > 5.0, "{} s", taken - renewed);
        waits.push(taken - renewed);
    }
    assert!(waits.iter().any(|waited| *waited < 15.0), "{waits:?}");
}

#[test]
fn a_nodes_token_leads_nothing_and_both_roles_fit_in_one_process() {
    let api = installed("api_controllers_both");
    let place = Place::new(&api, "c1", 19_540);
    pool(&api);
    for account in ["berth-agent", "berth-ipamd"] {
        let mut refused = place.start_as(&api, "controllers", account, &[]);
        wait(&format!("{account} being refused"), &[&refused], || {
            let log = refused.log();
            if log.contains("Lease neither read nor written") && log.contains("forbidden") {
                return Ok(());
            }
            Err(Pending(log))
        });
        let said = place.answers(&api, "/readyz");
        assert!(said.contains("Lease"), "{said}");
        refused.kill().unwrap();
    }
    let words = ["get", "leases", "-n", NAMESPACE, "-o", "name"];
    assert_eq!(kubectl(&api, &words).trim(), "");

    let kubeconfig = place.kubeconfig("berth-controllers");
    let state = kubeconfig.with_file_name("state");
    let more = [
        "--controllers-kubeconfig",
        kubeconfig.to_str().unwrap(),
        // The disk and the kernel's log are the machine's, on which others work.
        "--state",
        state.to_str().unwrap(),
        "--kmsg=/dev/null",
    ];
    let both = place.start_as(&api, "both", "berth-agent", &more);
    wait_holder(&api, &[&both], "c1");
    wait("the node's report", &[&both], || {
        object(&api, &["nodehealth", "c1"])
    });
    wait_claimed(&api, &both, 0);
}
