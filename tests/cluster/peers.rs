//! Agents that look at each other as they are installed: over real racks, with the key that kubelet brings and the gateways that the
//! switches answer for.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use tests_testbed::{Cluster, Net, Pending, wait_patiently};

use crate::site::builder;
use crate::turn::{self, Rank};

/// kubelet brings a Secret that was made after the Pod within two minutes; half a minute from one report to the next; and a busy machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// Dead after 5 to 6 s, which is shown where nothing else runs; an agent that stood still itself, on a busy machine, counts anew.
const DEAD_WITHIN: Duration = Duration::from_secs(40);

fn report(cluster: &Cluster, node: &str) -> Result<Value, Pending> {
    let words = ["get", "nodehealth", node, "-n", "berth-system"];
    let object = cluster.kubectl_json(&words);
    let object = object.map_err(|error| Pending::because(format!("{error:#}")))?;
    Ok(object["status"].clone())
}

/// Waits until a node's report has these peers and this reason of its vote.
fn wait(cluster: &Cluster, node: &str, peers: &[(&str, &str)], reason: &str) -> Value {
    let what = format!("{node} reporting {peers:?} and {reason}");
    let waited = wait_patiently(&what, DEADLINE, || {
        let status = report(cluster, node)?;
        let seen = status["peers"].as_array().cloned().unwrap_or_default();
        let of = |peer: &Value| (text(&peer["node"]), text(&peer["state"]));
        let seen: Vec<_> = seen.iter().map(of).collect();
        let is_seen = seen
            .iter()
            .map(|(node, state)| (node.as_str(), state.as_str()));
        if is_seen.eq(peers.iter().copied()) && status["vote"]["reason"] == reason {
            return Ok(status);
        }
        Err(Pending::because(format!("{seen:?} {}", status["vote"])))
    });
    waited.unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// When a peer became what it is, by a report: seconds since 1970.
fn since(cluster: &Cluster, status: &Value, peer: &str) -> u64 {
    let peers = status["peers"].as_array().unwrap();
    let peer = peers.iter().find(|it| it["node"] == peer).unwrap();
    let words = ["date", "--date", peer["since"].as_str().unwrap(), "+%s"];
    let machine = cluster.world().node("n1").namespace().unwrap();
    machine.run(&words).unwrap().trim().parse().unwrap()
}

fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs()
}

#[test]
fn a_node_that_is_cut_off_is_dead_to_its_peers_and_one_without_its_gateway_does_not_vote() {
    turn::take(Rank::Long);
    let builder = builder("cluster-peers");
    let builder = builder.node("n1", "a").node("n2", "a").node("n3", "b");
    let cluster = builder.build().unwrap();
    let all_well = || {
        for (node, peers) in [
            ("n1", ["n2", "n3"]),
            ("n2", ["n1", "n3"]),
            ("n3", ["n1", "n2"]),
        ] {
            wait(&cluster, node, &peers.map(|peer| (peer, "Alive")), "Seeing");
        }
    };
    all_well();

    let cut = seconds();
    cluster.set_uplink("n2", Net::External, false).unwrap();
    for (node, other) in [("n1", "n3"), ("n3", "n1")] {
        let mut peers = [("n2", "Dead"), (other, "Alive")];
        peers.sort_unstable();
        let status = wait(&cluster, node, &peers, "Seeing");
        let took = since(&cluster, &status, "n2").saturating_sub(cut);
        assert!(took <= DEAD_WITHIN.as_secs(), "{node}: {took} s: {status}");
    }
    cluster.set_uplink("n2", Net::External, true).unwrap();
    all_well();

    // The nodes see each other and the API server by the other network: only a Pod would miss this switch.
    cluster.set_gateway("a", Net::Internal, false).unwrap();
    wait(
        &cluster,
        "n1",
        &[("n2", "Alive"), ("n3", "Alive")],
        "GatewaySilent",
    );
    wait(
        &cluster,
        "n2",
        &[("n1", "Alive"), ("n3", "Alive")],
        "GatewaySilent",
    );
    wait(
        &cluster,
        "n3",
        &[("n1", "Alive"), ("n2", "Alive")],
        "Seeing",
    );
    cluster.set_gateway("a", Net::Internal, true).unwrap();
    all_well();
}
