//! The real agent against a real API server, with the shipped rights and no others; and `kubectl berth health` as it is typed.
//!
//! The address daemon is the real one. In kubelet's place stands a second address daemon, whose endpoint for monitoring answers
//! `/healthz` as kubelet's does; the cluster tier shows the same with a real kubelet.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests_testbed::{
    ApiServer, Component, ControlPlane, Output, Pending, Process, binary, wait_patiently,
};

use crate::shipped::{NAMESPACE, add_node, installed, kubectl, pod_of};

/// A look every 10 s, three of them, half a minute to the next report; and a machine that compiles beside.
const DEADLINE: Duration = Duration::from_secs(180);

/// The release is 12 MB, and an agent is promised to need 20.
const OWN_LIMIT_KILOBYTES: u64 = 8 * 1024;

/// A node's daemons in the machine of the control plane.
struct Node {
    name: String,
    folder: tempfile::TempDir,
    port: u16,
}

impl Node {
    /// A Node with the Pod that the agent's token is of. Ports begin at `port`.
    fn new(api: &ControlPlane, name: &str, port: u16) -> Self {
        add_node(api, name);
        let node = Self {
            name: name.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            port,
        };
        let pod = pod_of(api, "berth-agent", name);
        api.apply(&pod.to_string()).unwrap();
        node.write_kubeconfig(api);
        node
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Server and token as kubelet would mount them.
    fn write_kubeconfig(&self, api: &ControlPlane) {
        let pod = format!("--bound-object-name=berth-agent-{}", self.name);
        let words = [
            "create",
            "token",
            "berth-agent",
            "-n",
            NAMESPACE,
            "--bound-object-kind=Pod",
            &pod,
        ];
        let token = kubectl(api, &words).trim().to_owned();
        let view = api.kubectl_json(&["config", "view", "--raw"]).unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "agent",
            "clusters": [{"name": "agent", "cluster": view["clusters"][0]["cluster"]}],
            "users": [{"name": "agent", "user": {"token": token}}],
            "contexts": [{"name": "agent", "context": {"cluster": "agent", "user": "agent"}}],
        });
        fs::write(self.path("kubeconfig"), config.to_string()).unwrap();
    }

    fn spawn(&self, api: &ControlPlane, name: &str, program: &str, args: &[&str]) -> Process {
        let mut command = api.machine().command(binary(program).unwrap());
        command.args(args);
        let name = format!("{name}-{}", self.name);
        api.machine().spawn_command(&name, command).unwrap()
    }

    fn daemon(&self, api: &ControlPlane, name: &str, port: u16) -> Process {
        let folder = self.path(name);
        let socket = folder.join("ipamd.sock");
        let toml = format!(
            "node = \"{}\"\nrack = \"a\"\nsocket = {socket:?}\nstore = {:?}\nmetrics = \"127.0.0.1:{port}\"\n\n\
             [[pool]]\nname = \"external-a\"\nnetwork = \"external\"\nrack = \"a\"\nsubnet = \"10.20.1.0/24\"\n\
             ranges = [\"10.20.1.100-10.20.1.199\"]\nprobe = false\n",
            self.name,
            folder.join("store")
        );
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("ipamd.toml");
        fs::write(&config, toml).unwrap();
        self.spawn(api, name, "berth-ipamd", &["--config", text(&config)])
    }

    fn ipamd(&self, api: &ControlPlane) -> Process {
        self.daemon(api, "ipamd", self.port)
    }

    /// What answers where kubelet would.
    fn kubelet(&self, api: &ControlPlane) -> Process {
        self.daemon(api, "kubelet", self.port + 1)
    }

    fn agent(&self, api: &ControlPlane) -> Process {
        self.agent_named(api, &self.name)
    }

    fn agent_named(&self, api: &ControlPlane, node: &str) -> Process {
        let (socket, kubeconfig) = (self.path("ipamd/ipamd.sock"), self.path("kubeconfig"));
        let healthz = format!("http://127.0.0.1:{}/healthz", self.port + 1);
        let metrics = format!("127.0.0.1:{}", self.port + 2);
        let state = self.path("state");
        let args = [
            "--role=node",
            "--node",
            node,
            "--ipamd-socket",
            text(&socket),
            "--kubeconfig",
            text(&kubeconfig),
            "--kubelet-healthz",
            &healthz,
            "--metrics",
            &metrics,
            // The disk and the kernel's log are the machine's, on which others work.
            "--state",
            text(&state),
            "--watched-folders",
            text(&state),
            "--kmsg=/dev/null",
        ];
        self.spawn(api, "agent", "berth-agent", &args)
    }

    fn object(&self, api: &ControlPlane) -> Result<Value, String> {
        let words = ["get", "nodehealth", &self.name, "-n", NAMESPACE];
        api.kubectl_json(&words)
            .map_err(|error| format!("{error:#}"))
    }

    /// Waits until the report has these states: ipamd, addresses, kubelet.
    fn wait(&self, api: &ControlPlane, agent: &Process, states: [&str; 3]) -> Value {
        self.wait_for(api, agent, &format!("the report of {states:?}"), |status| {
            ["ipamd", "addresses", "kubelet"].map(|name| signal(status, name)["state"].clone())
                == states.map(Value::from)
        })
    }

    fn wait_for(
        &self,
        api: &ControlPlane,
        agent: &Process,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        let waited = wait_patiently(what, DEADLINE, || {
            let object = self.object(api).map_err(Pending)?;
            let status = &object["status"];
            if holds(status) {
                return Ok(status.clone());
            }
            Err(Pending::because(status))
        });
        waited.unwrap_or_else(|error| panic!("{error:#}\nthe agent says:\n{}", agent.log_tail()))
    }

    /// What kubectl finds as its plugin, with the environment of an operator.
    fn berth(api: &ControlPlane, words: &[&str]) -> Output {
        let folder = binary("kubectl-berth").unwrap();
        let folder = folder.parent().unwrap().to_owned();
        let mut all = vec!["health"];
        all.extend(words);
        plugin(api, &folder, &all)
    }
}

fn plugin(api: &ControlPlane, folder: &Path, words: &[&str]) -> Output {
    let kubeconfig = format!("KUBECONFIG={}", api.kubeconfig().display());
    let path = format!("PATH={}:/usr/bin:/bin", folder.display());
    let kubectl = std::env::var_os(tests_testbed::KUBERNETES_VARIABLE).unwrap();
    let kubectl = Path::new(&kubectl).join("kubectl");
    let mut all = vec!["env", &kubeconfig, &path, text(&kubectl), "berth"];
    all.extend(words);
    api.machine().exec(&all).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn signal<'a>(status: &'a Value, name: &str) -> &'a Value {
    let signals = status["signals"].as_array();
    let found = signals.and_then(|all| all.iter().find(|it| it["name"] == name));
    found.unwrap_or(&Value::Null)
}

fn wait_log(agent: &Process, words: &[&str]) {
    let what = format!("a line of the agent with {words:?}");
    let waited = wait_patiently(&what, DEADLINE, || {
        let log = agent.log();
        if log
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
        {
            return Ok(());
        }
        Err(Pending(agent.log_tail()))
    });
    waited.unwrap();
}

const FINE: [&str; 3] = ["Healthy", "Healthy", "Healthy"];

#[test]
fn agent_reports_its_node_and_what_goes_wrong_sets_and_clears() {
    let api = installed("api_health");
    let node = Node::new(&api, "n1", 19_000);
    add_node(&api, "n2");
    let (mut ipamd, mut kubelet, mut agent) =
        (node.ipamd(&api), node.kubelet(&api), node.agent(&api));
    fine(&api, &node, &mut agent);

    // A daemon that hangs, and a kubelet that is gone.
    ipamd.signal(Signal::SIGSTOP).unwrap();
    kubelet.kill().unwrap();
    let wrong = wrong(&api, &node, &agent);

    let escalated = node.wait_for(&api, &agent, "the decision to cordon", |status| {
        ["ipamd", "kubelet"]
            .iter()
            .all(|name| signal(status, name)["decision"] == "Cordon")
    });
    // An agent that is killed goes on where it was.
    agent.kill().unwrap();
    let mut agent = node.agent(&api);
    let again = node.wait_for(&api, &agent, "a report of the new agent", |status| {
        status["reportTime"].as_str() > escalated["reportTime"].as_str()
    });
    for name in ["ipamd", "kubelet"] {
        for field in ["state", "since", "decision"] {
            assert_eq!(
                signal(&again, name)[field],
                signal(&escalated, name)[field],
                "{name} {field}"
            );
        }
    }
    let transition = |status: &Value| status["conditions"][0]["lastTransitionTime"].clone();
    assert_eq!(transition(&again), transition(&wrong));

    // Fine again, also where somebody has deleted the object meanwhile.
    kubectl(&api, &["delete", "nodehealth", "n1", "-n", NAMESPACE]);
    ipamd.signal(Signal::SIGCONT).unwrap();
    let _kubelet = node.kubelet(&api);
    node.wait(&api, &agent, FINE);
    // What is not the program itself, which is locked as a whole, and in the dev profile three times as large as in the release.
    let own = kilobytes(&mut agent, "RssAnon");
    assert!(own < OWN_LIMIT_KILOBYTES, "RssAnon {own} kB");
}

/// One object, which goes with its Node, and an agent without any privilege.
fn fine(api: &ControlPlane, node: &Node, agent: &mut Process) {
    let status = node.wait(api, agent, FINE);
    assert_eq!(signal(&status, "kubelet")["value"], "ok");
    let ipamd = signal(&status, "ipamd")["value"].to_string();
    assert!(ipamd.contains("serving"), "{ipamd}");
    assert_eq!(
        signal(&status, "addresses")["value"],
        "external IPv4 100 of 100 free"
    );
    let object = node.object(api).unwrap();
    let owner = &object["metadata"]["ownerReferences"][0];
    let of = api.kubectl_json(&["get", "node", "n1"]).unwrap();
    assert_eq!(
        (&owner["kind"], &owner["uid"]),
        (&"Node".into(), &of["metadata"]["uid"])
    );
    assert_powerless(agent);
    // What no machine of an API server has, a runtime, is told besides; the cluster tier has a node with which all is well.
    let said = Node::berth(api, &["n1"]);
    for name in ["ipamd", "addresses", "kubelet"] {
        let words = format!("n1: {name} is");
        assert!(!said.stdout.contains(&words), "{}", said.stdout);
    }
}

fn wrong(api: &ControlPlane, node: &Node, agent: &Process) -> Value {
    let status = node.wait(api, agent, ["Unhealthy", "Unknown", "Unhealthy"]);
    for (name, words) in [
        ("ipamd", "does not answer within"),
        ("kubelet", "does not listen"),
    ] {
        let message = signal(&status, name)["message"].to_string();
        assert!(message.contains(words), "{message}");
    }
    let said = Node::berth(api, &[]);
    assert_eq!(
        said.status.code(),
        Some(1),
        "{}{}",
        said.stdout,
        said.stderr
    );
    for words in [
        "n1: ipamd is unhealthy since",
        "does not answer within",
        "to do",
        "n2: not known",
    ] {
        assert!(
            said.stdout.contains(words),
            "no {words:?} in {}",
            said.stdout
        );
    }
    status
}

fn status_line(agent: &mut Process, key: &str) -> String {
    let pid = agent.pid().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap().trim_start_matches(':').trim().to_owned()
}

/// `CAP_NET_RAW` (13), `CAP_IPC_LOCK` (14), `CAP_SYSLOG` (34), and nothing that could be gained; all of it locked in memory.
fn assert_powerless(agent: &mut Process) {
    for set in ["CapPrm", "CapEff"] {
        assert_eq!(status_line(agent, set), "0000000400006000", "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(status_line(agent, set), "0000000000000000", "{set}");
    }
    assert_eq!(status_line(agent, "NoNewPrivs"), "1");
    let locked = kilobytes(agent, "VmLck");
    assert!(locked > 8 * 1024, "VmLck {locked} kB");
}

fn kilobytes(agent: &mut Process, key: &str) -> u64 {
    let line = status_line(agent, key);
    line.trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn agent_works_on_while_the_api_server_is_away_and_tells_what_is_true_then() {
    let mut api = installed("api_health_away");
    let node = Node::new(&api, "n1", 19_100);
    // Nobody answers in kubelet's place in this test.
    let (mut ipamd, mut agent) = (node.ipamd(&api), node.agent(&api));
    let first = node.wait(&api, &agent, ["Healthy", "Healthy", "Unhealthy"]);
    api.kill(Component::ApiServer).unwrap();
    ipamd.kill().unwrap();
    wait_log(&agent, &["signal changed", "ipamd", "to=Unhealthy"]);
    wait_log(&agent, &["report not written; trying on"]);
    assert!(agent.is_running());
    api.start_component(Component::ApiServer).unwrap();
    api.wait_ready().unwrap();
    let then = node.wait(&api, &agent, ["Unhealthy", "Unknown", "Unhealthy"]);
    assert_eq!(
        signal(&then, "kubelet")["since"],
        signal(&first, "kubelet")["since"]
    );

    // An agent that starts while nobody answers looks all the same.
    api.kill(Component::ApiServer).unwrap();
    agent.kill().unwrap();
    let agent = node.agent(&api);
    wait_log(&agent, &["signal changed", "kubelet", "to=Unhealthy"]);
    api.start_component(Component::ApiServer).unwrap();
    api.wait_ready().unwrap();
    let last = node.wait_for(&api, &agent, "a report of the new agent", |status| {
        status["reportTime"].as_str() > then["reportTime"].as_str()
    });
    assert_eq!(
        signal(&last, "kubelet")["since"],
        signal(&first, "kubelet")["since"]
    );
}

#[test]
fn agent_with_the_token_of_another_node_says_so_and_writes_nothing() {
    let api = installed("api_health_other");
    add_node(&api, "n2");
    let node = Node::new(&api, "n1", 19_200);
    let agent = node.agent_named(&api, "n2");
    wait_log(&agent, &["our token is that of node", "--node must name"]);
    let all = kubectl(&api, &["get", "nodehealths", "-A", "-o", "name"]);
    assert_eq!(all.trim(), "");
}

#[test]
fn kubectl_berth_that_cannot_find_out_says_why_and_ends_with_2() {
    let api = ApiServer::start("api_health_none").unwrap();
    let folder = binary("kubectl-berth").unwrap();
    let folder = folder.parent().unwrap();
    let said = plugin(&api, folder, &["health"]);
    assert_eq!(said.status.code(), Some(2), "{}", said.stdout);
    assert!(
        said.stderr
            .contains("is Berth installed there, and in this version?"),
        "{}",
        said.stderr
    );
    kubectl(
        &api,
        &["apply", "-f", &format!("{}/crds", crate::shipped::BASE)],
    );
    let said = plugin(&api, folder, &["health", "nowhere"]);
    assert_eq!(said.status.code(), Some(2), "{}", said.stdout);
    assert!(
        said.stderr.contains("there is no node \"nowhere\""),
        "{}",
        said.stderr
    );
}
