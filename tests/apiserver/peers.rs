//! Real agents that look at each other, with the roster that real controllers write and the key that they make; the shipped rights and no
//! others.
//!
//! The nodes are addresses of one machine: what travels between them goes over its loopback, where a packet filter can drop it and a
//! packet socket see it. No address daemon runs, so nobody knows the nodes' gateways; the cluster tier shows those.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tests::capture::Capture;
use tests_testbed::{Component, ControlPlane, Pending, Process, binary, wait_patiently};

use crate::shipped::{Caller, NAMESPACE, add_node, installed, kubectl, patch, pod_of};

/// A first report after a minute, kubelet's place taken by the test, a key that is looked for every ten seconds; and a machine that
/// compiles beside.
const DEADLINE: Duration = Duration::from_secs(240);

const CONTROLLERS_PORT: u16 = 9500;

struct Node {
    number: u16,
    folder: tempfile::TempDir,
}

impl Node {
    /// A Node of a rack with an address, as kubelet and operator would make it, and the agent's Pod on it.
    fn new(api: &ControlPlane, number: u16, rack: &str) -> Self {
        let node = Self {
            number,
            folder: tempfile::tempdir().unwrap(),
        };
        let (name, address) = (node.name(), node.address());
        add_node(api, &name);
        let label = format!("topology.berth.dev/rack={rack}");
        kubectl(api, &["label", "node", &name, &label]);
        let addresses =
            json!({"status": {"addresses": [{"type": "InternalIP", "address": address}]}});
        let addresses = addresses.to_string();
        let words = [
            &patch("node", &name, &addresses)[..],
            &["--subresource=status"],
        ]
        .concat();
        kubectl(api, &words);
        let words = [
            "ip",
            "address",
            "add",
            &format!("{address}/32"),
            "dev",
            "lo",
        ];
        api.machine().run(&words).unwrap();
        fs::create_dir(node.path("keys")).unwrap();
        for account in ["berth-agent", "berth-controllers"] {
            let pod = pod_of(api, account, &name);
            api.apply(&pod.to_string()).unwrap();
            node.write_kubeconfig(api, account);
        }
        node
    }

    fn name(&self) -> String {
        format!("n{}", self.number)
    }

    fn address(&self) -> String {
        format!("10.77.0.{}", self.number)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Server and token as kubelet would mount them.
    fn write_kubeconfig(&self, api: &ControlPlane, account: &str) {
        let pod = format!("--bound-object-name={account}-{}", self.name());
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
        fs::write(self.path(account), config.to_string()).unwrap();
    }

    fn start(
        &self,
        api: &ControlPlane,
        role: &str,
        account: &str,
        port: u16,
        more: &[&str],
    ) -> Process {
        let mut command = api.machine().command(binary("berth-agent").unwrap());
        let metrics = format!("127.0.0.1:{port}");
        command.args([
            "--role",
            role,
            "--node",
            &self.name(),
            "--metrics",
            &metrics,
        ]);
        command.arg("--kubeconfig").arg(self.path(account));
        command.args(more);
        let name = format!("{role}-{}", self.name());
        api.machine().spawn_command(&name, command).unwrap()
    }

    fn controllers(&self, api: &ControlPlane) -> Process {
        let account = "berth-controllers";
        self.start(api, "controllers", account, CONTROLLERS_PORT, &[])
    }

    fn agent(&self, api: &ControlPlane) -> Process {
        let (address, keys) = (self.address(), self.path("keys"));
        let (state, socket) = (self.path("state"), self.path("no-ipamd"));
        let more = [
            "--peers",
            &address,
            "--peer-keys",
            text(&keys),
            "--state",
            text(&state),
            "--ipamd-socket",
            text(&socket),
        ];
        self.start(api, "node", "berth-agent", self.port(), &more)
    }

    fn port(&self) -> u16 {
        CONTROLLERS_PORT + self.number
    }

    /// The key, as kubelet mounts it.
    fn bring_key(&self, api: &ControlPlane) {
        let secret = object(api, &["secret", "berth-peers"]).unwrap();
        for (name, value) in secret["data"].as_object().unwrap() {
            let (value, new) = (value.as_str().unwrap(), self.path("new"));
            let decode = format!("printf %s '{value}' | base64 -d >{}", text(&new));
            api.machine().script(&decode).unwrap();
            assert_eq!(fs::metadata(&new).unwrap().len(), 32);
            // Whole at once, as kubelet does.
            fs::rename(&new, self.path("keys").join(name)).unwrap();
        }
    }

    /// A figure of the agent's; nothing, where it is not there.
    fn figure(&self, api: &ControlPlane, name: &str) -> u64 {
        let url = format!("http://127.0.0.1:{}/metrics", self.port());
        let said = api.machine().exec(&["curl", "-s", &url]);
        let text = said.map(|said| said.stdout).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok())
            .unwrap_or_default()
    }

    fn dropped(&self, api: &ControlPlane, why: &str) -> u64 {
        self.figure(
            api,
            &format!("berth_agent_peer_datagrams_received_total{{result=\"{why}\"}}"),
        )
    }

    fn peers(&self, api: &ControlPlane, state: &str) -> u64 {
        self.figure(api, &format!("berth_agent_peers{{state=\"{state}\"}}"))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Waits for a condition, and says what the processes said when it does not come.
fn wait<T>(what: &str, processes: &[Process], look: impl FnMut() -> Result<T, Pending>) -> T {
    wait_patiently(what, DEADLINE, look).unwrap_or_else(|error| {
        let logs: Vec<_> = processes.iter().map(Process::log_tail).collect();
        panic!("{error:#}\nthey say:\n{}", logs.join("\n---\n"))
    })
}

fn object(api: &ControlPlane, words: &[&str]) -> Result<Value, Pending> {
    let all = [&["get", "-n", NAMESPACE], words].concat();
    api.kubectl_json(&all)
        .map_err(|error| Pending::because(format!("{error:#}")))
}

/// Waits until the roster of a node names these, in any order.
fn wait_roster(api: &ControlPlane, processes: &[Process], node: &Node, wanted: &[&str]) {
    let what = format!("{} being told to look at {wanted:?}", node.name());
    wait(&what, processes, || {
        let health = object(api, &["nodehealth", &node.name()])?;
        let peers = health["spec"]["peers"].as_array().cloned();
        let peers = peers.ok_or_else(|| Pending::because("no roster"))?;
        let name = |peer: &Value| peer["node"].as_str().unwrap().to_owned();
        let mut names: Vec<_> = peers.iter().map(name).collect();
        names.sort();
        if names == wanted {
            return Ok(());
        }
        Err(Pending::because(names.join(" ")))
    });
}

/// Waits until so many peers of a node are alive and so many dead.
fn wait_peers(api: &ControlPlane, processes: &[Process], node: &Node, alive: u64, dead: u64) {
    let what = format!("{} seeing {alive} alive and {dead} dead", node.name());
    wait(&what, processes, || {
        let seen = (node.peers(api, "alive"), node.peers(api, "dead"));
        if seen == (alive, dead) {
            return Ok(());
        }
        Err(Pending::because(format!("{seen:?}")))
    });
}

/// Waits until a node's report says this.
fn wait_report(
    api: &ControlPlane,
    processes: &[Process],
    node: &Node,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    let what = format!("{} reporting {what}", node.name());
    wait(&what, processes, || {
        let health = object(api, &["nodehealth", &node.name()])?;
        let (peers, vote) = (&health["status"]["peers"], &health["status"]["vote"]);
        if holds(&health["status"]) {
            return Ok(health["status"].clone());
        }
        Err(Pending::because(format!("{vote} {peers}")))
    })
}

/// Drops what is for this node and from it, without a word; or nothing any more.
fn cut(api: &ControlPlane, node: Option<&Node>) {
    let rules = node.map_or(String::new(), |node| {
        let address = node.address();
        format!("add rule inet peers in ip daddr {address} drop\nadd rule inet peers in ip saddr {address} drop\n")
    });
    let script = format!(
        "nft -f - <<'END'\nadd table inet peers\nadd chain inet peers in {{ type filter hook input priority 0; }}\nflush chain inet peers in\n{rules}END"
    );
    api.machine().script(&script).unwrap();
}

/// Sends a datagram to the agent of a node, from the address of another.
fn send(api: &ControlPlane, from: &Node, to: &Node, digits: &str) {
    let program = "use Socket; my ($from, $to, $digits) = @ARGV; socket(my $s, PF_INET, SOCK_DGRAM, 0) or die $!; \
                   bind($s, pack_sockaddr_in(0, inet_aton($from))) or die $!; \
                   send($s, pack('H*', $digits), 0, pack_sockaddr_in(9424, inet_aton($to))) or die $!;";
    let words = [
        "perl",
        "-e",
        program,
        &from.address(),
        &to.address(),
        digits,
    ];
    api.machine().run(&words).unwrap();
}

/// A probe as it was seen on its way from one node to another, in hexadecimal.
fn recorded(capture: &Capture, from: &Node, to: &Node) -> Option<String> {
    let digits = |node: &Node| format!("0a4d00{:02x}", node.number);
    let (from, to) = (digits(from), digits(to));
    // 14 bytes of Ethernet, 20 of IP, 8 of UDP: two digits a byte. `BRTH`, version 1, a probe.
    capture.frames().into_iter().find_map(|frame| {
        let is_probe = frame.get(52..60)? == from
            && frame.get(60..68)? == to
            && frame.get(84..96)? == "425254480101";
        is_probe.then(|| frame[84..].to_owned())
    })
}

#[test]
fn agents_look_at_each_other_as_the_controllers_say_and_believe_nobody_else() {
    let mut api = installed("peers");
    let nodes = [(1, "a"), (2, "a"), (3, "a"), (4, "b")];
    let nodes = nodes.map(|(number, rack)| Node::new(&api, number, rack));
    let [n1, n2, n3, n4] = &nodes;
    let mut processes = vec![n4.controllers(&api)];
    processes.extend(nodes.iter().map(|node| node.agent(&api)));

    // Whom to look at is written when an agent has made its object; without a key nobody is asked.
    for (node, wanted) in [
        (n1, vec!["n2", "n3", "n4"]),
        (n2, vec!["n1", "n3", "n4"]),
        (n3, vec!["n1", "n2", "n4"]),
    ] {
        wait_roster(&api, &processes, node, &wanted);
    }
    wait_report(&api, &processes, n1, "that it has no key", |status| {
        status["vote"]["reason"] == "NoKey"
    });
    assert_eq!(n1.peers(&api, "alive"), 0);

    let secret = object(&api, &["secret", "berth-peers"]).unwrap();
    assert!(secret["data"]["other"].is_null());
    for node in &nodes {
        node.bring_key(&api);
    }
    for (node, alive) in [(n1, 3), (n2, 3), (n3, 3), (n4, 2)] {
        wait_peers(&api, &processes, node, alive, 0);
    }

    one_is_cut_off(&api, &processes, &nodes);
    strangers_are_not_believed(&api, &processes, &nodes);
    keys_change(&api, &processes, &nodes);
    rights_are_enough_and_no_more(&api);
    rosters_are_validated(&api);

    // A Node that goes is looked at by nobody. An agent hears of it with its next report; that one is dead is worth a report.
    processes[3].kill().unwrap();
    kubectl(&api, &["delete", "node", "n3"]);
    wait_roster(&api, &processes, n1, &["n2", "n4"]);
    wait_peers(&api, &processes, n1, 2, 0);

    // An agent that starts while the API server is away looks at those that it knew.
    api.kill(Component::ApiServer).unwrap();
    processes[1].kill().unwrap();
    assert_eq!(n1.peers(&api, "alive"), 0);
    processes.push(n1.agent(&api));
    wait_peers(&api, &processes, n1, 2, 0);
}

/// Seen dead by its peers, and alive again when it is back; its own view does not count meanwhile.
fn one_is_cut_off(api: &ControlPlane, processes: &[Process], nodes: &[Node; 4]) {
    let [n1, n2, n3, _] = nodes;
    cut(api, Some(n3));
    wait_peers(api, processes, n1, 2, 1);
    wait_peers(api, processes, n2, 2, 1);
    wait_peers(api, processes, n3, 0, 3);
    let status = wait_report(api, processes, n1, "n3 dead", |status| {
        let peers = status["peers"].as_array().cloned().unwrap_or_default();
        peers
            .iter()
            .any(|peer| peer["node"] == "n3" && peer["state"] == "Dead")
    });
    let peers = status["peers"].as_array().unwrap();
    let alive = peers.iter().find(|peer| peer["node"] == "n2").unwrap();
    assert_eq!(
        (&alive["rack"], &alive["state"]),
        (&json!("a"), &json!("Alive"))
    );
    assert!(alive["rttMicroseconds"].as_u64().unwrap() < 1_000_000);
    // Nobody knows the gateways here: what cannot be known does not count as known.
    assert_eq!(status["vote"]["state"], "Withdrawn");
    assert_eq!(status["vote"]["reason"], "GatewayUnknown");
    cut(api, None);
    for node in [n1, n2, n3] {
        wait_peers(api, processes, node, 3, 0);
    }
}

/// What is made up, or recorded and sent again, changes a counter and nothing else.
fn strangers_are_not_believed(api: &ControlPlane, processes: &[Process], nodes: &[Node; 4]) {
    let [n1, n2, n3, _] = nodes;
    let capture = Capture::start(api.machine(), "lo");
    let probe = wait("a probe of n2 to n1", processes, || {
        recorded(&capture, n2, n1).ok_or_else(|| Pending::because("none yet"))
    });
    assert_eq!(probe.len(), 240);
    let mut forged = probe.clone();
    let last = if forged.ends_with('0') { "1" } else { "0" };
    forged.replace_range(239.., last);
    // From whom, what, and what it counts as.
    for (from, datagram, why) in [
        (n2, forged.as_str(), "forged"),
        (n2, &probe, "replayed"),
        (n3, &probe, "forged"),
        (n3, "68656c6c6f", "alien"),
    ] {
        let before = n1.dropped(api, why);
        wait(&format!("a datagram that is {why}"), processes, || {
            send(api, from, n1, datagram);
            let count = n1.dropped(api, why);
            if count > before {
                return Ok(());
            }
            Err(Pending::because(format!("{count} {why}")))
        });
    }
    assert_eq!((n1.peers(api, "alive"), n2.peers(api, "alive")), (3, 3));
}

/// Waits until an agent has read so many keys since it started.
fn wait_keys_read(agent: &Process, count: usize) {
    wait("a key being read", std::slice::from_ref(agent), || {
        let read = agent.log().matches("key of the peers read").count();
        if read == count {
            return Ok(());
        }
        Err(Pending::because(read))
    });
}

/// The next key is accepted first, and nobody is lost.
fn keys_change(api: &ControlPlane, processes: &[Process], nodes: &[Node; 4]) {
    let old = object(api, &["secret", "berth-peers"]).unwrap();
    let words = [
        "annotate",
        "-n",
        NAMESPACE,
        "secret",
        "berth-peers",
        "berth.dev/key-since-",
    ];
    kubectl(api, &words);
    let new = wait("the next key", processes, || {
        let secret = object(api, &["secret", "berth-peers"])?;
        if secret["data"]["other"].is_null() {
            return Err(Pending::because(secret["metadata"]["annotations"].clone()));
        }
        Ok(secret)
    });
    assert_eq!(new["data"]["key"], old["data"]["key"]);
    // An hour later.
    let since =
        json!({"metadata": {"annotations": {"berth.dev/next-since": "2020-01-01T00:00:00Z"}}});
    let since = since.to_string();
    let words = [
        &patch("secret", "berth-peers", &since)[..],
        &["-n", NAMESPACE],
    ]
    .concat();
    for (node, agent) in nodes.iter().zip(&processes[1..]) {
        node.bring_key(api);
        wait_keys_read(agent, 2);
    }
    kubectl(api, &words);
    wait("the next key being signed with", processes, || {
        let secret = object(api, &["secret", "berth-peers"])?;
        if secret["data"]["key"] == new["data"]["other"]
            && secret["data"]["other"] == old["data"]["key"]
        {
            return Ok(());
        }
        Err(Pending::because(secret["metadata"]["annotations"].clone()))
    });
    all_understand_the_one_that_is_ahead(api, processes, nodes);
}

/// One signs with the next key, and three only accept it.
fn all_understand_the_one_that_is_ahead(
    api: &ControlPlane,
    processes: &[Process],
    nodes: &[Node; 4],
) {
    let counts = nodes.iter().map(|node| node.dropped(api, "forged"));
    let forged: Vec<_> = std::iter::once(0).chain(counts).collect();
    let [n1, n2, n3, _] = nodes;
    n2.bring_key(api);
    wait_keys_read(&processes[2], 3);
    let (before, told) = (n1.dropped(api, "answer"), n2.dropped(api, "probe"));
    wait("answers under both keys", processes, || {
        let more = (
            n1.dropped(api, "answer") - before,
            n2.dropped(api, "probe") - told,
        );
        if more.0 > 40 && more.1 > 40 {
            return Ok(());
        }
        Err(Pending::because(format!("{more:?}")))
    });
    for node in [n1, n2, n3] {
        assert_eq!((node.peers(api, "alive"), node.peers(api, "dead")), (3, 0));
        assert_eq!(
            node.dropped(api, "forged"),
            forged[usize::from(node.number)]
        );
    }
}

/// Whom an agent looks at is bounded, and can be reached. What the administrator writes the controllers put right again.
fn rosters_are_validated(api: &ControlPlane) {
    let peer = |node: u16, address: &str| json!({"node": format!("n{node}"), "rack": "a", "address": address});
    let many: Vec<_> = (0..9).map(|node| peer(node, "10.0.0.1")).collect();
    for (peers, because) in [
        (json!([peer(2, "n2.example")]), "an IP address"),
        (json!([peer(2, "010.0.0.1")]), "an IP address"),
        (
            json!([peer(2, "10.0.0.1"), peer(2, "10.0.0.2")]),
            "Duplicate value",
        ),
        (json!(many), "must have at most 8 items"),
    ] {
        let fields = json!({"spec": {"peers": peers}}).to_string();
        let words = [&patch("nodehealth", "n1", &fields)[..], &["-n", NAMESPACE]].concat();
        let said = api.kubectl(&words).unwrap();
        assert!(!said.success(), "{peers} was taken");
        assert!(said.stderr.contains(because), "{peers}: {}", said.stderr);
    }
}

/// An agent cannot choose whom it looks at; the controllers cannot make or read any other Secret, nor write reports.
fn rights_are_enough_and_no_more(api: &ControlPlane) {
    let agent = Caller::in_pod(api, "berth-agent", "n1");
    let peers = json!({"spec": {"peers": []}}).to_string();
    let because = "the peers of a node are chosen by the controllers";
    agent.may_not(&patch("nodehealth", "n1", &peers), "", because);
    add_node(api, "n9");
    let fresh = Caller::in_pod(api, "berth-agent", "n9");
    let health = |spec: Value| {
        let (kind, name) = ("NodeHealth", json!({"name": "n9", "namespace": NAMESPACE}));
        json!({"apiVersion": "berth.dev/v1alpha1", "kind": kind, "metadata": name, "spec": spec})
    };
    let apply = ["apply", "--server-side", "-f", "-"];
    let own = json!({"nodeName": "n9", "peers": []});
    fresh.may_not(&apply, &health(own).to_string(), because);
    fresh.may(&apply, &health(json!({"nodeName": "n9"})).to_string());
    agent.may_not(&["get", "secret", "berth-peers"], "", "orbidden");

    let controllers = Caller::in_pod(api, "berth-controllers", "n4");
    let secret = |name: &str, kind: &str| {
        let metadata = json!({"name": name, "namespace": NAMESPACE, "annotations": {"kubernetes.io/service-account.name": "berth-agent"}});
        json!({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata})
            .to_string()
    };
    let because = "the Secret berth-peers only";
    let create = ["create", "-f", "-"];
    controllers.may_not(&create, &secret("other", "Opaque"), because);
    let token = "kubernetes.io/service-account-token";
    controllers.may_not(&create, &secret("other", token), because);
    controllers.may(&["get", "secret", "berth-peers"], "");
    controllers.may_not(&["get", "secrets"], "", "orbidden");
    let status = json!({"status": {"problems": 0}}).to_string();
    let words = [
        &patch("nodehealth", "n1", &status)[..],
        &["--subresource=status"],
    ]
    .concat();
    controllers.may_not(&words, "", "orbidden");
}
