//! Faults of a real node's own daemons, as its agent tells them: each is set within its time and cleared again; and what the agent itself
//! survives: a hung runtime, a hung kubelet, an API server that is away, a full disk, a broken disk.
//!
//! One cluster, and faults at the same time where they do not hide each other: most of the time here is the rules' own.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests_testbed::{Cluster, Daemon, Pending, wait_patiently};

use crate::site::own;
use crate::turn::{self, Rank};

/// The longest time of a rule here is a minute and a half (kubelet's Lease); half a minute to the next report, half a minute to the next
/// write of the Node; and a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(300);

/// Long enough for five restarts that an agent with a look every ten seconds sees, short enough to see them forgotten.
const RESTART_WINDOW: &str = "BERTH_AGENT_RESTART_WINDOW=4m";

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

fn json(cluster: &Cluster, words: &[&str]) -> Result<Value, Pending> {
    let answer = cluster.kubectl_json(words);
    answer.map_err(|error| Pending::because(format!("{error:#}")))
}

fn status(cluster: &Cluster) -> Result<Value, Pending> {
    let words = ["get", "nodehealth", "n1", "-n", "berth-system"];
    Ok(json(cluster, &words)?["status"].clone())
}

fn signal(status: &Value, name: &str) -> Value {
    let signals = status["signals"].as_array();
    let found = signals.and_then(|all| all.iter().find(|it| it["name"] == name));
    found.cloned().unwrap_or_default()
}

/// Waits until the report says this of these signals; the report.
fn wait(cluster: &Cluster, expected: &[(&str, &str)]) -> Value {
    let waited = wait_patiently(&format!("{expected:?}"), DEADLINE, || {
        let status = status(cluster)?;
        let as_expected = |(name, state): &(&str, &str)| signal(&status, name)["state"] == *state;
        if expected.iter().all(as_expected) {
            return Ok(status);
        }
        Err(Pending::because(&status))
    });
    waited.unwrap()
}

/// Waits until the Node itself says this.
fn wait_condition(cluster: &Cluster, problem: &str, status: &str, reason: &str) -> Value {
    let what = format!("condition {problem}={status} ({reason})");
    let waited = wait_patiently(&what, DEADLINE, || {
        let node = json(cluster, &["get", "node", "n1"])?;
        let conditions = node["status"]["conditions"].as_array();
        let kind = format!("berth.dev/{problem}");
        let found = conditions.and_then(|all| all.iter().find(|it| it["type"] == *kind));
        let found = found.cloned().unwrap_or_default();
        if found["status"] == status
            && found["reason"]
                .as_str()
                .unwrap_or_default()
                .starts_with(reason)
        {
            return Ok(found);
        }
        Err(Pending::because(&node["status"]["conditions"]))
    });
    waited.unwrap()
}

/// The Events of this reason on the Node, by the times at which they were written.
fn events(cluster: &Cluster, reason: &str) -> Vec<String> {
    let words = ["get", "events.events.k8s.io", "-n", "default"];
    let all = cluster.kubectl_json(&words).unwrap();
    let all = all["items"].as_array().unwrap().iter();
    let of = all.filter(|it| it["reason"] == reason && it["regarding"]["name"] == "n1");
    of.map(|it| it["eventTime"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn wait_event(cluster: &Cluster, reason: &str) {
    let waited = wait_patiently(&format!("an Event {reason}"), DEADLINE, || {
        if events(cluster, reason).is_empty() {
            return Err(Pending::because("there is none"));
        }
        Ok(())
    });
    waited.unwrap();
}

fn send(cluster: &mut Cluster, daemons: &[Daemon], signal: Signal) {
    for daemon in daemons {
        cluster.signal_daemon("n1", *daemon, signal).unwrap();
    }
}

/// The process of the agent: another one is in another folder, or was started at another time.
fn agent(cluster: &Cluster) -> (String, String) {
    let folder = cluster.proc_folder("n1", Daemon::Agent).unwrap();
    let stat = std::fs::read_to_string(folder.join("stat")).unwrap();
    let started = stat.rsplit(')').next().unwrap().split_whitespace().nth(19);
    (
        folder.display().to_string(),
        started.unwrap_or_default().to_owned(),
    )
}

/// What containerd runs the agent's container with.
fn shim(cluster: &Cluster) -> String {
    let folder = cluster.proc_folder("n1", Daemon::Agent).unwrap();
    let status = std::fs::read_to_string(folder.join("status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().to_owned()
}

fn restarts_seen(cluster: &Cluster) -> Result<u32, Pending> {
    let node = cluster.world().node("n1");
    let text = node.run(&["curl", "-s", "http://127.0.0.1:9422/metrics"]);
    let text = text.map_err(|error| Pending::because(format!("{error:#}")))?;
    let name = "berth_agent_daemon_restarts_total{daemon=\"runtime\"} ";
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.and_then(|count| count.parse().ok()).unwrap_or(0))
}

#[test]
fn faults_of_the_nodes_daemons_are_told_and_taken_back_and_the_agent_survives_them() {
    turn::take(Rank::Long);
    let mut cluster = own("cluster-health-runtime");
    let words = [
        "set",
        "env",
        "daemonset/berth-agent",
        "-n",
        "berth-system",
        RESTART_WINDOW,
    ];
    cluster.kubectl(&words).unwrap();
    let words = [
        "rollout",
        "status",
        "daemonset/berth-agent",
        "-n",
        "berth-system",
        "--timeout=180s",
    ];
    cluster.kubectl(&words).unwrap();
    let first = fine(&cluster);

    hung(&mut cluster, &first);
    restarted_agent_and_api_server(&mut cluster);
    started_over_and_over(&mut cluster);
    stuck(&cluster);
    disks(&cluster);
}

/// Everything is well, and told everywhere that it is.
fn fine(cluster: &Cluster) -> Value {
    let report = wait(cluster, &SIGNALS.map(|name| (name, "Healthy")));
    for problem in ["RuntimeProblem", "AddressProblem"] {
        wait_condition(cluster, problem, "False", "NoProblem");
    }
    let node = cluster.kubectl_json(&["get", "node", "n1"]).unwrap();
    for problem in PROBLEMS {
        assert!(
            node.to_string().contains(&format!("berth.dev/{problem}")),
            "{node}"
        );
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

/// The runtime, kubelet and the address daemon hang, all at once.
fn hung(cluster: &mut Cluster, first: &Value) {
    let before = agent(cluster);
    let daemons = [Daemon::Containerd, Daemon::Kubelet, Daemon::Ipamd];
    send(cluster, &daemons, Signal::SIGSTOP);
    let unhealthy =
        ["runtime", "kubelet", "kubelet-lease", "ipamd"].map(|name| (name, "Unhealthy"));
    let report = wait(cluster, &unhealthy);
    for (name, words) in [
        ("runtime", "did not answer"),
        ("kubelet", "does not answer within"),
        ("kubelet-lease", "has not renewed its Lease"),
        ("ipamd", "does not answer within"),
    ] {
        let told = signal(&report, name);
        let message = told["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{told}");
        assert!(
            told["since"].as_str() > first["reportTime"].as_str(),
            "{told}"
        );
    }
    wait_condition(cluster, "RuntimeProblem", "True", "");
    wait_condition(cluster, "AddressProblem", "True", "Ipamd");
    for reason in ["RuntimeUnhealthy", "KubeletUnhealthy", "IpamdUnhealthy"] {
        wait_event(cluster, reason);
    }
    let said = cluster.kubectl_berth(&["health", "n1"]).unwrap();
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(said.stdout.contains("runtime: kubelet"), "{}", said.stdout);

    // The address daemon stays as it is.
    send(cluster, &daemons[..2], Signal::SIGCONT);
    wait(
        cluster,
        &["runtime", "kubelet", "kubelet-lease"].map(|name| (name, "Healthy")),
    );
    wait_condition(cluster, "RuntimeProblem", "False", "NoProblem");
    wait_event(cluster, "RuntimeHealthy");
    // Nobody has killed what told of it.
    assert_eq!(agent(cluster), before);
}

/// An agent that is killed, and one that does not reach the API server, go on from where they were.
fn restarted_agent_and_api_server(cluster: &mut Cluster) {
    let before = wait(cluster, &[("ipamd", "Unhealthy")]);
    let transition =
        wait_condition(cluster, "AddressProblem", "True", "")["lastTransitionTime"].clone();
    cluster.kill_daemon("n1", Daemon::Agent).unwrap();
    cluster.start_daemon("n1", Daemon::Agent).unwrap();
    let again = wait_patiently("a report of the new agent", DEADLINE, || {
        let status = status(cluster)?;
        let is_new = status["reportTime"].as_str() > before["reportTime"].as_str();
        if is_new && signal(&status, "ipamd")["state"] == "Unhealthy" {
            return Ok(status);
        }
        Err(Pending::because(status))
    });
    let again = again.unwrap();
    for field in ["since", "decision"] {
        assert_eq!(
            signal(&again, "ipamd")[field],
            signal(&before, "ipamd")[field],
            "{field}"
        );
    }
    let still = wait_condition(cluster, "AddressProblem", "True", "");
    assert_eq!(still["lastTransitionTime"], transition);
    // It is the same trouble, and was told.
    assert_eq!(events(cluster, "IpamdUnhealthy").len(), 1);

    let survivor = agent(cluster);
    let renewed = |cluster: &Cluster| {
        let lease = json(cluster, &["get", "lease", "n1", "-n", "berth-system"])?;
        Ok::<_, Pending>(
            lease["spec"]["renewTime"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let last = renewed(cluster).unwrap();
    cluster.set_api_server(false).unwrap();
    send(cluster, &[Daemon::Ipamd], Signal::SIGCONT);
    cluster.set_api_server(true).unwrap();
    wait(cluster, &[("ipamd", "Healthy")]);
    wait_condition(cluster, "AddressProblem", "False", "NoProblem");
    let waited = wait_patiently("the Lease being renewed", DEADLINE, || {
        let now = renewed(cluster)?;
        if now > last {
            return Ok(());
        }
        Err(Pending::because(now))
    });
    waited.unwrap();
    assert_eq!(agent(cluster), survivor);
}

/// The runtime is killed and started five times, kubelet is away meanwhile.
fn started_over_and_over(cluster: &mut Cluster) {
    cluster.kill_daemon("n1", Daemon::Kubelet).unwrap();
    cluster.kill_daemon("n1", Daemon::Containerd).unwrap();
    let report = wait(
        cluster,
        &[("runtime", "Unhealthy"), ("kubelet", "Unhealthy")],
    );
    for (name, words) in [("runtime", "is away"), ("kubelet", "does not listen")] {
        let told = signal(&report, name);
        let message = told["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{told}");
    }
    // Each reason was told once in five minutes at most.
    for reason in ["RuntimeUnhealthy", "KubeletUnhealthy", "RuntimeHealthy"] {
        let times = events(cluster, reason);
        assert!(apart(&times), "{reason}: {times:?}");
    }
    let seen = restarts_seen(cluster).unwrap_or(0);
    for restart in 1..=5 {
        cluster.kill_daemon("n1", Daemon::Containerd).unwrap();
        cluster.start_daemon("n1", Daemon::Containerd).unwrap();
        let what = format!("restart {restart} being seen");
        let waited = wait_patiently(&what, DEADLINE, || {
            let count = restarts_seen(cluster)?;
            if count >= seen + restart {
                return Ok(());
            }
            Err(Pending::because(count))
        });
        waited.unwrap();
    }
    let report = wait(
        cluster,
        &[("runtime-restarts", "Unhealthy"), ("runtime", "Healthy")],
    );
    let message = signal(&report, "runtime-restarts")["message"].to_string();
    assert!(
        message.contains("was started again 5 times within 4 min"),
        "{message}"
    );
    wait_condition(cluster, "RuntimeProblem", "True", "");
    cluster.start_daemon("n1", Daemon::Kubelet).unwrap();
    wait(cluster, &[("kubelet", "Healthy")]);
}

/// Whether no two of these times are within the same five minutes of the clock: an agent that was started anew knows no more of those before.
fn apart(times: &[String]) -> bool {
    let slot = |time: &String| {
        let clock = time.split_once('T').unwrap().1;
        let part = |range: std::ops::Range<usize>| clock[range].parse::<i64>().unwrap();
        (part(0..2) * 3600 + part(3..5) * 60 + part(6..8)) / 300
    };
    let mut slots: Vec<_> = times.iter().map(slot).collect();
    slots.sort_unstable();
    slots.windows(2).all(|pair| pair[0] != pair[1])
}

/// The runtime answers and runs nothing in a container.
fn stuck(cluster: &Cluster) {
    let before = agent(cluster);
    let shim = shim(cluster);
    let node = cluster.world().node("n1");
    node.run(&["kill", "-STOP", &shim]).unwrap();
    // Where it has only just been slow it is that at first.
    let waited = wait_patiently("runtime-exec being stuck", DEADLINE, || {
        let status = status(cluster)?;
        let told = signal(&status, "runtime-exec");
        let is_stuck = told["message"].to_string().contains("runs nothing");
        if is_stuck && told["decision"] == "Cordon" {
            return Ok(status);
        }
        Err(Pending::because(told))
    });
    let report = waited.unwrap();
    assert_eq!(signal(&report, "runtime")["state"], "Healthy", "{report}");
    node.run(&["kill", "-CONT", &shim]).unwrap();
    // The restarts are forgotten by now, or soon.
    wait(
        cluster,
        &["runtime-exec", "runtime-restarts"].map(|name| (name, "Healthy")),
    );
    wait_condition(cluster, "RuntimeProblem", "False", "NoProblem");
    assert_eq!(agent(cluster), before);
}

/// A full disk and a broken one do not silence the agent.
fn disks(cluster: &Cluster) {
    let before = agent(cluster);
    cluster.set_disk_full("n1", true).unwrap();
    // The last block may be free or not: whether a small file can be written there is chance.
    wait(cluster, &[("disk-space", "Unhealthy")]);
    wait_condition(cluster, "StorageProblem", "True", "");
    cluster.set_disk_full("n1", false).unwrap();
    wait(cluster, &[("disk-space", "Healthy")]);
    cluster.break_disk("n1").unwrap();
    wait(
        cluster,
        &[("disk-write", "Unhealthy"), ("read-only", "Unhealthy")],
    );
    assert_eq!(agent(cluster), before);
}
