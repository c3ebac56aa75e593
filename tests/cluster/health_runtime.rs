//! Faults of real nodes' own daemons, as their agents tell them: each is set within its time and cleared again; and what an agent itself
//! survives: a hung runtime, a hung kubelet, an API server that is away, its own end, a full disk, a broken disk.
//!
//! Most of the time here is the rules' own. So there are three nodes, on which faults that would hide each other go on side by side: on
//! the first what hangs, on the second what is started over and over and then stuck, on the third what is killed, and the agent itself.

use nix::sys::signal::Signal;
use proto_crd::time::Timestamp;
use serde_json::Value;
use tests_testbed::{Cluster, Daemon, Pending, wait_patiently};

use crate::report::{
    count_events, events, json, signal, status, wait, wait_condition, wait_events, wait_until,
};
use crate::seen::wait_for;
use crate::site::builder;
use crate::turn::{self, Rank};

/// Long enough for five restarts that an agent with a look every ten seconds sees, short enough to see them forgotten.
const RESTART_WINDOW: (&str, &str) = ("BERTH_AGENT_RESTART_WINDOW", "3m");

/// What is wrong here by and by.
const SIGNALS: [&str; 6] = [
    "runtime",
    "runtime-exec",
    "runtime-restarts",
    "kubelet",
    "kubelet-lease",
    "ipamd",
];

const PROBLEMS: [&str; 6] = [
    "RuntimeProblem",
    "AddressProblem",
    "NetworkProblem",
    "StorageProblem",
    "KernelProblem",
    "ResourceProblem",
];

/// What hangs on the first node.
const HUNG: [Daemon; 3] = [Daemon::Containerd, Daemon::Kubelet, Daemon::Ipamd];

/// Nobody listens there.
const BREAK_NAMES: &str = "echo nameserver 127.0.0.53 > /etc/resolv.conf";
const MEND_NAMES: &str = "true > /etc/resolv.conf";

fn send(cluster: &mut Cluster, daemons: &[Daemon], signal: Signal) {
    for daemon in daemons {
        cluster.signal_daemon("n1", *daemon, signal).unwrap();
    }
}

/// The process of an agent: another one is in another folder, or was started at another time.
fn agent(cluster: &Cluster, node: &str) -> (String, String) {
    let folder = cluster.proc_folder(node, Daemon::Agent).unwrap();
    let stat = std::fs::read_to_string(folder.join("stat")).unwrap();
    let started = stat.rsplit(')').next().unwrap().split_whitespace().nth(19);
    (
        folder.display().to_string(),
        started.unwrap_or_default().to_owned(),
    )
}

/// What containerd runs the second node's agent with.
fn shim(cluster: &Cluster) -> String {
    let folder = cluster.proc_folder("n2", Daemon::Agent).unwrap();
    let status = std::fs::read_to_string(folder.join("status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().to_owned()
}

fn restarts_seen(cluster: &Cluster) -> Result<u32, String> {
    let node = cluster.world().node("n2");
    let text = node.run(&["curl", "-s", "http://127.0.0.1:9422/metrics"]);
    let text = text.map_err(|error| format!("{error:#}"))?;
    let name = "berth_agent_daemon_restarts_total{daemon=\"runtime\"} ";
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// Ends and starts the second node's runtime so often, each time until the agent has seen it.
fn start_over(cluster: &mut Cluster, times: u32) {
    for _ in 0..times {
        let seen = restarts_seen(cluster).unwrap_or(0);
        cluster.kill_daemon("n2", Daemon::Containerd).unwrap();
        cluster.start_daemon("n2", Daemon::Containerd).unwrap();
        wait_for("the restart being seen", || match restarts_seen(cluster)? {
            count if count > seen => Ok(()),
            count => Err(count.to_string()),
        });
    }
}

/// When an agent last said that it lives.
fn renewed(cluster: &Cluster, node: &str) -> Result<String, String> {
    let lease = json(cluster, &["get", "lease", node, "-n", "berth-system"]);
    let lease = lease.map_err(|Pending(why)| why)?;
    let time = lease["spec"]["renewTime"].as_str();
    Ok(time.unwrap_or_default().to_owned())
}

#[track_caller]
fn assert_says(report: &Value, name: &str, words: &str) {
    let told = signal(report, name);
    let message = told["message"].as_str().unwrap_or_default();
    assert!(message.contains(words), "{told}");
}

#[test]
fn faults_of_the_nodes_daemons_are_told_and_taken_back_and_the_agents_survive_them() {
    turn::take(Rank::Long);
    let builder = builder("cluster-health-runtime").racks(1);
    let builder = builder.node("n1", "a").node("n2", "a").node("n3", "a");
    let (name, value) = RESTART_WINDOW;
    let mut cluster = builder.agent_setting(name, value).build().unwrap();
    let fine = fine(&cluster);
    let nodes = ["n1", "n2", "n3"];
    let before = nodes.map(|node| agent(&cluster, node));

    send(&mut cluster, &HUNG, Signal::SIGSTOP);
    cluster.set_disk_full("n1", true).unwrap();
    cluster.world().node("n3").script(BREAK_NAMES).unwrap();
    without_the_api_server(&mut cluster);
    start_over(&mut cluster, 3);
    let shim = shim(&cluster);
    let second = cluster.world().node("n2");
    second.run(&["kill", "-STOP", &shim]).unwrap();
    let transition = agent_ends(&mut cluster, &before[2]);

    hung(&cluster, &fine);
    assert_eq!(agent(&cluster, "n1"), before[0]);
    cluster.set_disk_full("n1", false).unwrap();
    send(&mut cluster, &HUNG, Signal::SIGCONT);

    let successor = agent_goes_on(&cluster, &transition);
    cluster.world().node("n3").script(MEND_NAMES).unwrap();
    cluster.kill_daemon("n3", Daemon::Kubelet).unwrap();
    cluster.kill_daemon("n3", Daemon::Containerd).unwrap();

    started_over_and_stuck(&cluster);
    let second = cluster.world().node("n2");
    second.run(&["kill", "-CONT", &shim]).unwrap();

    away(&cluster);
    cluster.start_daemon("n3", Daemon::Containerd).unwrap();
    cluster.start_daemon("n3", Daemon::Kubelet).unwrap();
    cluster.world().node("n3").script(BREAK_NAMES).unwrap();

    wait(&cluster, "n1", &SIGNALS.map(|name| (name, "Healthy")));
    wait(&cluster, "n1", &[("disk-space", "Healthy")]);
    for problem in ["RuntimeProblem", "AddressProblem", "StorageProblem"] {
        wait_condition(&cluster, "n1", problem, "False", "NoProblem");
    }
    wait_events(&cluster, "n1", &["RuntimeHealthy", "IpamdHealthy"]);
    // A broken disk does not silence the agent either.
    cluster.break_disk("n1").unwrap();

    wait(&cluster, "n2", &SIGNALS.map(|name| (name, "Healthy")));
    wait_condition(&cluster, "n2", "RuntimeProblem", "False", "NoProblem");
    let well = ["runtime", "kubelet"].map(|name| (name, "Healthy"));
    wait(&cluster, "n3", &well);
    wait(&cluster, "n3", &[("dns", "Unhealthy")]);
    let unhealthy = ["disk-write", "read-only"].map(|name| (name, "Unhealthy"));
    wait(&cluster, "n1", &unhealthy);
    // Nobody has killed what told of all this, but for the one that the test did.
    let [first, second, _] = before;
    let survivors = nodes.map(|node| agent(&cluster, node));
    assert_eq!(survivors, [first, second, successor]);
    assert_told_rarely(&cluster);
}

/// Everything is well, and told everywhere that it is; the first node's report.
fn fine(cluster: &Cluster) -> Value {
    let healthy = SIGNALS.map(|name| (name, "Healthy"));
    let [report, ..] = ["n1", "n2", "n3"].map(|node| wait(cluster, node, &healthy));
    for problem in ["RuntimeProblem", "AddressProblem"] {
        wait_condition(cluster, "n1", problem, "False", "NoProblem");
    }
    let node = cluster.kubectl_json(&["get", "node", "n1"]).unwrap();
    for problem in PROBLEMS {
        let kind = format!("berth.dev/{problem}");
        assert!(node.to_string().contains(&kind), "{node}");
    }
    let lease = cluster.kubectl_json(&["get", "lease", "n1", "-n", "berth-system"]);
    let lease = lease.unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "n1");
    assert_eq!(
        lease["metadata"]["ownerReferences"][0]["uid"],
        node["metadata"]["uid"]
    );
    let exec = signal(&report, "runtime-exec")["value"].to_string();
    assert!(exec.contains(" ms"), "{exec}");
    report
}

/// What happens meanwhile is seen, and told when the API server is back.
fn without_the_api_server(cluster: &mut Cluster) {
    let last = renewed(cluster, "n2").unwrap();
    cluster.set_api_server(false).unwrap();
    start_over(cluster, 2);
    cluster.set_api_server(true).unwrap();
    wait_for("the Lease being renewed", || {
        match renewed(cluster, "n2")? {
            now if now > last => Ok(()),
            now => Err(now),
        }
    });
}

/// The third node's agent has told of something and is killed; since when its Node says so.
fn agent_ends(cluster: &mut Cluster, before: &(String, String)) -> Value {
    wait(cluster, "n3", &[("dns", "Unhealthy")]);
    let told = wait_condition(cluster, "n3", "NetworkProblem", "True", "Dns");
    wait_events(cluster, "n3", &["DnsUnhealthy"]);
    assert_eq!(agent(cluster, "n3"), *before);
    cluster.kill_daemon("n3", Daemon::Agent).unwrap();
    // Its last one: the next agent has looked at nothing yet.
    let mut report = status(cluster, "n3").unwrap();
    report["transition"] = told["lastTransitionTime"].clone();
    cluster.start_daemon("n3", Daemon::Agent).unwrap();
    report
}

/// The next agent goes on from where the first one was; its process.
fn agent_goes_on(cluster: &Cluster, before: &Value) -> (String, String) {
    let again = wait_until(cluster, "n3", "a report of the new agent", |status| {
        let is_new = status["reportTime"].as_str() > before["reportTime"].as_str();
        is_new && signal(status, "dns")["state"] == "Unhealthy"
    });
    for field in ["since", "decision"] {
        let of = |report: &Value| signal(report, "dns")[field].clone();
        assert_eq!(of(&again), of(before), "{field}");
    }
    let still = wait_condition(cluster, "n3", "NetworkProblem", "True", "Dns");
    assert_eq!(still["lastTransitionTime"], before["transition"]);
    // It is the same trouble, and was told.
    assert_eq!(count_events(cluster, "n3", "DnsUnhealthy").unwrap(), 1);
    agent(cluster, "n3")
}

/// The runtime, kubelet and the address daemon hang, and the disk is full, all at once.
fn hung(cluster: &Cluster, fine: &Value) {
    let names = ["runtime", "kubelet", "kubelet-lease", "ipamd", "disk-space"];
    let report = wait(cluster, "n1", &names.map(|name| (name, "Unhealthy")));
    for (name, words) in [
        ("runtime", "did not answer"),
        ("kubelet", "does not answer within"),
        ("kubelet-lease", "has not renewed its Lease"),
        ("ipamd", "does not answer within"),
    ] {
        assert_says(&report, name, words);
        let since = &signal(&report, name)["since"];
        assert!(since.as_str() > fine["reportTime"].as_str(), "{report}");
    }
    wait_condition(cluster, "n1", "RuntimeProblem", "True", "");
    wait_condition(cluster, "n1", "AddressProblem", "True", "Ipamd");
    // The last block may be free or not: whether a small file can be written there is chance.
    wait_condition(cluster, "n1", "StorageProblem", "True", "");
    let reasons = ["RuntimeUnhealthy", "KubeletUnhealthy", "IpamdUnhealthy"];
    wait_events(cluster, "n1", &reasons);
    let said = cluster.kubectl_berth(&["health", "n1"]).unwrap();
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(said.stdout.contains("runtime: kubelet"), "{}", said.stdout);
}

/// The runtime was started five times, and answers now but runs nothing in a container.
fn started_over_and_stuck(cluster: &Cluster) {
    let report = wait(cluster, "n2", &[("runtime-restarts", "Unhealthy")]);
    let words = "was started again 5 times within 3 min";
    assert_says(&report, "runtime-restarts", words);
    wait_condition(cluster, "n2", "RuntimeProblem", "True", "");
    let stuck = [("runtime-exec", "Unhealthy"), ("runtime", "Healthy")];
    let report = wait(cluster, "n2", &stuck);
    assert_says(&report, "runtime-exec", "runs nothing");
    let told = signal(&report, "runtime-exec");
    assert_eq!(told["decision"], "Cordon", "{told}");
}

/// The third node's runtime and kubelet are killed; what was wrong before is over.
fn away(cluster: &Cluster) {
    let away = ["runtime", "kubelet"].map(|name| (name, "Unhealthy"));
    let report = wait(cluster, "n3", &away);
    assert_says(&report, "runtime", "is away");
    assert_says(&report, "kubelet", "does not listen");
    wait(cluster, "n3", &[("dns", "Absent")]);
    wait_events(cluster, "n3", &["DnsHealthy"]);
}

/// Each reason was told of each Node once in five minutes at most, also by an agent that knows of it from an earlier one.
fn assert_told_rarely(cluster: &Cluster) {
    let mut all = waited_events(cluster);
    all.sort_unstable();
    let at = |time: &str| {
        let time: Timestamp = time.parse().unwrap();
        time.since(Timestamp::default()).as_millis()
    };
    for pair in all.windows(2) {
        let (one, next) = (&pair[0], &pair[1]);
        let is_same = (&one.0, &one.1) == (&next.0, &next.1);
        assert!(!is_same || at(&next.2) - at(&one.2) >= 300_000, "{pair:?}");
    }
    assert!(all.iter().any(|it| it.1 == "DnsUnhealthy"), "{all:?}");
}

fn waited_events(cluster: &Cluster) -> Vec<(String, String, String)> {
    let waited = wait_patiently("Events", std::time::Duration::from_secs(60), || {
        events(cluster)
    });
    waited.unwrap()
}
