//! The node's agent and the networks: real faults of a real node, each reported within its time and taken back when it is over.
//!
//! What is cut is the internal network: the API server is asked over the other one. Faults go on at the same time where they do not hide
//! each other.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use tests_testbed::{Cluster, Net, Node, Pending, wait_patiently};

use crate::site::{builder, pod_spec, wait_ready};
use crate::turn::{self, Rank};

/// A minute until what is left behind counts, two looks, half a minute to the next report, and a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(240);

/// How long a flap counts here: long enough to be reported, half a minute after the last report; as shipped, ten minutes.
const FLAP_WINDOW: (&str, &str) = ("BERTH_AGENT_FLAP_WINDOW", "120s");

/// The name server that is dead, and then is not.
const NAME_SERVER: &str = "127.0.0.53";

/// A name server that knows no name at all. Its end is the node's.
const SERVE_NAMES: &str = r#"setsid perl -MIO::Socket::INET -e '
$s = IO::Socket::INET->new(LocalAddr => "127.0.0.53", LocalPort => 53, Proto => "udp") or die;
while (defined $s->recv($q, 512)) { substr($q, 2, 2) = "\x81\x83"; $s->send($q) }
' > /dev/null 2>&1 < /dev/null &"#;

/// Connections of the node with itself, until the table is as full as the limit of the machine allows by 85 %. They are forgotten after
/// two minutes, whatever happens.
const CONNECT: &str = r#"echo 120 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout
perl -MSocket -e '
open(F, "/proc/sys/net/netfilter/nf_conntrack_max"); $n = int(<F> * 0.85);
socket(S, PF_INET, SOCK_DGRAM, 0) or die;
for $i (1 .. $n) {
  send(S, "", 0, pack_sockaddr_in(9, pack("CCCC", 127, 1 + ($i >> 16), ($i >> 8) & 255, $i & 255)));
}'"#;

/// As a runtime leaves them behind that loses its Pods: containerd's names, and nobody in them.
const LEAVE_NAMESPACES: &str = "for i in 10 11 12 13 14 15 16 17 18 19 20 21; do
  ip netns add cni-0f0c9a3e-1b2c-4d5e-8f90-a1b2c3d4e5$i
done";

const REMOVE_NAMESPACES: &str = "for i in 10 11 12 13 14 15 16 17 18 19 20 21; do
  ip netns del cni-0f0c9a3e-1b2c-4d5e-8f90-a1b2c3d4e5$i
done";

/// The port of a Pod that the runtime does not know.
const LEAVE_PORT: &str = "ip link add bthleft type veth peer name left
ip link set bthleft alias 'berth1 berth 0123456789abcdef eth0 net1 internal 02:00:0a:1e:01:fa 10.30.1.250/24 default/gone'";

const PKI: &str = "/var/lib/kubelet/pki";

/// Of the faults that go on at the same time: the signal, and what it says.
const SIMPLE: [(&str, &str); 6] = [
    ("uplink-flaps", "carrier of eth1 came or went"),
    ("conntrack", "the table of connections fills up"),
    ("dns", "127.0.0.53 is away"),
    (
        "certificates",
        "kubelet-client-current.pem expires in 3 days",
    ),
    ("leaked-namespaces", "network namespaces have no sandbox"),
    (
        "leaked-ports",
        "1 ports are of sandboxes that the runtime does not know: bthleft",
    ),
];

const ALL: [&str; 8] = [
    "uplink",
    "gateway",
    "uplink-flaps",
    "conntrack",
    "leaked-namespaces",
    "leaked-ports",
    "dns",
    "certificates",
];

fn signals(cluster: &Cluster) -> Result<BTreeMap<String, Value>, Pending> {
    let words = ["get", "nodehealth", "n1", "-n", "berth-system"];
    let object = cluster.kubectl_json(&words);
    let object = object.map_err(|error| Pending::because(format!("{error:#}")))?;
    let signals = object["status"]["signals"].as_array();
    let named = |signal: &Value| {
        let name = signal["name"].as_str().unwrap_or_default();
        (name.to_owned(), signal.clone())
    };
    Ok(signals.into_iter().flatten().map(named).collect())
}

/// Says how long something took, for the figures in the agent's README.
#[expect(
    clippy::print_stderr,
    reason = "the figures of a run are for who runs it"
)]
fn tell(name: &str, state: &str, after: Duration) {
    eprintln!("{name} {state} after {} s", after.as_secs());
}

/// What is expected of signals: each was seen unhealthy and saying this at some time; not all at once, what was early may be over.
struct Expected {
    begun: Instant,
    missing: Vec<(&'static str, &'static str)>,
}

impl Expected {
    fn new(expected: &[(&'static str, &'static str)]) -> Self {
        Self {
            begun: Instant::now(),
            missing: expected.to_vec(),
        }
    }

    fn note(&mut self, signals: &BTreeMap<String, Value>) {
        let begun = self.begun;
        self.missing.retain(|(name, words)| {
            let is_seen = says(signals, name, "Unhealthy", words);
            if is_seen {
                tell(name, "Unhealthy", begun.elapsed());
            }
            !is_seen
        });
    }

    fn wait(mut self, cluster: &Cluster) {
        wait_patiently("what is expected", DEADLINE, || {
            let signals = signals(cluster)?;
            self.note(&signals);
            if self.missing.is_empty() {
                return Ok(());
            }
            let missing = self.missing.iter();
            let missing: Vec<_> = missing.map(|(name, _)| shown(&signals, name)).collect();
            Err(Pending::because(missing.join("\n")))
        })
        .unwrap();
    }
}

fn says(signals: &BTreeMap<String, Value>, name: &str, state: &str, words: &str) -> bool {
    let signal = signals.get(name).unwrap_or(&Value::Null);
    let said = signal["message"].as_str().unwrap_or_default();
    signal["state"] == state && said.contains(words)
}

fn shown(signals: &BTreeMap<String, Value>, name: &str) -> String {
    format!("{name}: {}", signals.get(name).unwrap_or(&Value::Null))
}

/// Waits until a signal is unhealthy and says so; what else is expected is noted meanwhile.
fn wait_unhealthy(cluster: &Cluster, name: &str, words: &str, others: &mut Expected) {
    let begun = Instant::now();
    wait_patiently(&format!("{name}: {words}"), DEADLINE, || {
        let signals = signals(cluster)?;
        others.note(&signals);
        if says(&signals, name, "Unhealthy", words) {
            return Ok(());
        }
        Err(Pending::because(shown(&signals, name)))
    })
    .unwrap();
    tell(name, "Unhealthy", begun.elapsed());
}

/// Waits until each of these signals was seen healthy since now.
fn wait_healthy(cluster: &Cluster, names: &[&'static str]) {
    let begun = Instant::now();
    let mut missing = names.to_vec();
    wait_patiently(&format!("{names:?} being healthy"), DEADLINE, || {
        let signals = signals(cluster)?;
        missing.retain(|name| {
            let is_well = says(&signals, name, "Healthy", "");
            if is_well {
                tell(name, "Healthy", begun.elapsed());
            }
            !is_well
        });
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<_> = missing.iter().map(|name| shown(&signals, name)).collect();
        Err(Pending::because(missing.join("\n")))
    })
    .unwrap();
}

/// Puts a certificate where kubelet has its own, as it does: under a name of its date, with a link of the node's.
fn put_certificate(node: &Node, name: &str, days: u64) {
    let mut params = CertificateParams::new(vec!["n1".to_owned()]).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // Somewhat later, so that the whole days are what was asked for.
    let until = now.unwrap() + Duration::from_secs(days * 24 * 3600 + 3600);
    params.not_after = date_time_ymd(1970, 1, 1) + until;
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let folder = node.path(PKI);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), certificate.pem()).unwrap();
    let link = folder.join("kubelet-client-next.pem");
    symlink(format!("{PKI}/{name}"), &link).unwrap();
    fs::rename(link, folder.join("kubelet-client-current.pem")).unwrap();
}

/// A node whose two networks are in use, and whose agent forgets flaps sooner.
fn prepared() -> Cluster {
    let (name, value) = FLAP_WINDOW;
    let builder = builder("cluster-health-network").racks(1).node("n1", "a");
    let cluster = builder.agent_setting(name, value).build().unwrap();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"},
        "spec": pod_spec("n1"),
    });
    cluster.apply(&pod.to_string()).unwrap();
    wait_ready(&cluster, "user", "");
    // There is no name server yet, and no certificate: those two say so.
    wait_healthy(&cluster, &ALL[..6]);
    cluster
}

fn break_what_does_not_hide(cluster: &Cluster, node: &Node) {
    node.script(LEAVE_NAMESPACES).unwrap();
    node.script(LEAVE_PORT).unwrap();
    let name_server = format!("echo nameserver {NAME_SERVER} > /etc/resolv.conf");
    node.script(&name_server).unwrap();
    put_certificate(node, "kubelet-client-old.pem", 3);
    cluster.flap_uplink("n1", Net::Internal, 3).unwrap();
    node.script(CONNECT).unwrap();
}

fn mend(node: &Node) {
    node.script(REMOVE_NAMESPACES).unwrap();
    node.script("ip link del bthleft").unwrap();
    node.script(SERVE_NAMES).unwrap();
    put_certificate(node, "kubelet-client-new.pem", 300);
}

/// From one trouble of an uplink to the next, without a moment in which it is well.
fn break_the_uplink(cluster: &Cluster, node: &Node, others: &mut Expected) {
    let mut uplink = |words| wait_unhealthy(cluster, "uplink", words, others);
    cluster.set_uplink("n1", Net::Internal, false).unwrap();
    uplink("network internal: uplink eth1 has no carrier");
    node.script("ip link set eth1 nomaster").unwrap();
    cluster.set_uplink("n1", Net::Internal, true).unwrap();
    uplink("network internal: eth1 is no port of bridge br-eth1");
    node.script("ip link set eth1 master br-eth1; bridge link set dev eth1 state 0")
        .unwrap();
    uplink("network internal: bridge br-eth1 does not forward by eth1: disabled");
    node.script("bridge link set dev eth1 state 3").unwrap();
}

#[test]
fn faults_of_the_networks_are_reported_and_taken_back() {
    turn::take(Rank::Long);
    let cluster = prepared();
    let node = cluster.world().node("n1");

    break_what_does_not_hide(&cluster, node);
    let mut simple = Expected::new(&SIMPLE);
    break_the_uplink(&cluster, node, &mut simple);
    wait_healthy(&cluster, &["uplink"]);
    // The switch's fault.
    cluster.set_gateway("a", Net::Internal, false).unwrap();
    let silent = "internal 10.30.1.1 silent for";
    wait_unhealthy(&cluster, "gateway", silent, &mut simple);
    let all = signals(&cluster).unwrap();
    assert_eq!(
        all["uplink"]["state"], "Healthy",
        "it is the switch's fault"
    );
    simple.wait(&cluster);
    mend(node);
    cluster.set_gateway("a", Net::Internal, true).unwrap();
    wait_healthy(&cluster, &ALL);
}
