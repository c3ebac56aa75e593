//! Plugins that are chained behind ours: host ports by `portmap`, rates by `bandwidth`, on both runtimes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests_testbed::{Addons, Cluster, Namespace, Net, Runtime};

use crate::{
    seen::{container, find, pod, wait_for},
    site::{builder, wait_ready},
};

/// The configuration on a node.
const CONFLIST: &str = "/etc/cni/net.d/10-berth.conflist";

/// What a limited Pod may receive, in the annotation's words and in bytes a second.
const RATE: (&str, u64) = ("16M", 2_000_000);

/// containerd asks for a burst of 2^32 bits, which is 512 MiB: so much passes before the rate is felt, and what the rate allows meanwhile.
const BURST_MIB: u64 = 544;

/// What is sent after it: five seconds at the rate.
const AFTER_MIB: u64 = 10;

/// Sends so many MiB to an address and a port, and ends when the other side has read all of it.
const SEND: &str = r#"use IO::Socket::INET;
my ($address, $port, $mib) = @ARGV;
my $s = IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port) or die "connect: $!";
my $chunk = "x" x (1 << 20);
for (1 .. $mib) {
    for (my $sent = 0; $sent < length $chunk; ) {
        $sent += syswrite($s, $chunk, length($chunk) - $sent, $sent) // die "send: $!";
    }
}
shutdown($s, 1);
sysread($s, my $end, 1);
"#;

/// A cluster whose operator has chained two plugins behind ours, with a node of each runtime.
fn chained() -> Cluster {
    let builder = builder("cluster-chain").racks(1).node("n1", "a");
    let mut cluster = builder.host("vm", "a", Net::External).build().unwrap();
    cluster.add_node("n2", "a", Runtime::Debian).unwrap();
    cluster.wait_nodes().unwrap();
    let addons = Addons::from_environment().unwrap();
    for node in ["n1", "n2"] {
        cluster.install_chained_plugins(node, &addons).unwrap();
    }
    let words = ["--namespace=berth-system", "get", "configmap", "berth-cni"];
    let map = cluster.kubectl_json(&words).unwrap();
    let text = map["data"]["10-berth.conflist"].as_str().unwrap();
    let mut conflist: Value = serde_json::from_str(text).unwrap();
    let plugins = conflist["plugins"].as_array_mut().unwrap();
    plugins.extend([
        // A Pod answers by the switch and not by its node: what the node translated must come back to it, hence `masqAll`.
        json!({"type": "portmap", "capabilities": {"portMappings": true}, "backend": "nftables", "masqAll": true}),
        json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}),
    ]);
    let patch = json!({"data": {"10-berth.conflist": conflist.to_string()}}).to_string();
    let words = [
        "--namespace=berth-system",
        "patch",
        "configmap",
        "berth-cni",
        "--patch",
        &patch,
    ];
    cluster.kubectl(&words).unwrap();
    for node in ["n1", "n2"] {
        wait_for("the chain being in place", || {
            let text = cluster.world().node(node).run(&["cat", CONFLIST]).unwrap();
            if text.contains("portmap") {
                Ok(())
            } else {
                Err(text)
            }
        });
    }
    // STATUS goes to every plugin of the chain.
    cluster.wait_nodes().unwrap();
    cluster
}

/// A Pod with a host port, and with a rate where there is one.
fn target(node: &str, name: &str, rate: Option<&str>) -> Value {
    let mut server = container("app", "exec nc -ll -p 8080 -e echo hello");
    server["ports"] = json!([{"containerPort": 8080, "hostPort": 18080}]);
    if rate.is_none() {
        server["ports"] = Value::Null;
    }
    server["readinessProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    let sink = container("sink", "exec nc -ll -p 9000 -e dd of=/dev/null bs=1M");
    let spec = json!({
        "nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 1,
        "containers": [server, sink],
    });
    let mut pod = pod(name, &spec);
    if let Some(rate) = rate {
        pod["metadata"]["annotations"] = json!({"kubernetes.io/ingress-bandwidth": rate});
    }
    pod
}

fn hello(from: &Namespace, address: &str, port: u16) {
    wait_for(&format!("an answer of {address}:{port}"), || {
        let line = format!("busybox nc -w 5 {address} {port} < /dev/null");
        let said = from.script(&line).map_err(|error| format!("{error:#}"))?;
        if said.trim() == "hello" {
            Ok(())
        } else {
            Err(format!("it said {said:?}"))
        }
    });
}

/// Sends so much to a Pod; how long it took until the Pod had all of it.
fn send(from: &Namespace, address: &str, mib: u64) -> Duration {
    let begin = Instant::now();
    from.run(&["perl", "-e", SEND, address, "9000", &mib.to_string()])
        .unwrap();
    begin.elapsed()
}

#[test]
fn host_ports_lead_to_pods_and_rates_hold_behind_a_chain() {
    let cluster = chained();
    for node in ["n1", "n2"] {
        for (name, rate) in [("limited", Some(RATE.0)), ("free", None)] {
            let pod = target(node, &format!("{name}-{node}"), rate);
            cluster.apply(&pod.to_string()).unwrap();
        }
    }
    let vm = cluster.world().host("vm").namespace();
    for node in ["n1", "n2"] {
        let [limited, free] = ["limited", "free"].map(|it| format!("{it}-{node}"));
        for name in [&limited, &free] {
            wait_ready(&cluster, name, "");
        }
        // By the Pod's own address as ever, and by the node's on the host port: from outside and from another node.
        let (_, address) = cluster.place(node).unwrap();
        hello(vm, &find(&cluster, &limited).v4(), 8080);
        hello(vm, &address.to_string(), 18080);
        let other = if node == "n1" { "n2" } else { "n1" };
        hello(cluster.world().node(other), &address.to_string(), 18080);

        // The limit is on the host's end of the Pod's first interface, and nowhere else.
        let queues = cluster
            .world()
            .node(node)
            .run(&["tc", "-json", "qdisc", "show"])
            .unwrap();
        let queues: Value = serde_json::from_str(&queues).unwrap();
        let limits = queues
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["kind"] == "tbf");
        let rates: Vec<&Value> = limits.map(|it| &it["options"]["rate"]).collect();
        assert_eq!(rates, [&json!(RATE.1)], "{queues}");
        let [limited, free] = [limited, free].map(|it| find(&cluster, &it).v4());
        send(vm, &limited, BURST_MIB);
        let took = [limited, free].map(|it| send(vm, &it, AFTER_MIB));
        // However fast the machine is, it takes five seconds at the rate; a fifth of it may be left of the burst.
        let least = Duration::from_millis((AFTER_MIB << 20) * 800 / RATE.1);
        assert!(
            took[0] > least,
            "limited and free: {took:?}, at least {least:?}"
        );
        assert!(took[0] > took[1] * 2, "limited and free: {took:?}");
    }
}
