//! The API server is away, or was not asked yet: what a node has claimed it hands out, what it held before a boot it does not.

use std::collections::BTreeMap;

use tests_cri::{Cri, Pod};
use tests_testbed::{Cluster, Daemon};

use crate::{
    claims_seen::{claims, claims_of, wait_consistent, wait_long, wait_told},
    seen::{attached, wait_for},
    site::{builder, look, stateful_set, wait_ready},
};

/// Where the runtime listens, inside a node.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// What gives the address daemons their rights.
const BINDINGS: [&str; 3] = [
    "clusterrolebinding/berth-ipamd",
    "rolebinding/berth-ipamd",
    "--namespace=berth-system",
];

fn own(name: &str) -> Cluster {
    let builder = builder(name).racks(1);
    builder.node("n1", "a").build().unwrap()
}

/// Waits until n1 has addresses of every network and family that nobody has asked for.
fn wait_warm(cluster: &Cluster) {
    wait_long("warm claims", || {
        let all = claims(cluster);
        let free = |begin: &str| {
            let free = |it: &&crate::claims_seen::Claim| it.identity.is_none();
            let found = all.values().filter(free);
            found.filter(|it| it.address.starts_with(begin)).count()
        };
        let counts = ["10.20.", "10.30.", "fd00:20:", "fd00:30:"].map(free);
        let enough = counts.iter().all(|it| *it >= 2);
        enough.then_some(()).ok_or_else(|| format!("{counts:?}"))
    });
}

#[test]
fn rebooted_node_hands_out_nothing_it_held_before_it_has_asked_the_api_server() {
    let mut cluster = own("cluster-claims-boot");
    let set = stateful_set("db", 3, "n1").to_string();
    cluster.apply(&set).unwrap();
    let pods = ["db-0", "db-1", "db-2"];
    let uids = pods.map(|pod| wait_ready(&cluster, pod, ""));
    let before = pods.map(|pod| look(&cluster, pod));

    // kubelet is told of its Pods; the address daemon's own questions are refused.
    let mut words = vec!["delete"];
    words.extend(BINDINGS);
    cluster.kubectl(&words).unwrap();
    cluster.reboot("n1").unwrap();
    wait_told(
        &cluster,
        Some("db-0"),
        &["FailedCreatePodSandBox", "cannot be asked"],
    );
    assert_eq!(attached(&cluster, "n1"), BTreeMap::new());

    let overlay = cluster.overlay();
    let words = ["apply", "--kustomize", &overlay.to_string_lossy()];
    cluster.kubectl(&words).unwrap();
    cluster.wait_nodes().unwrap();
    assert_eq!(pods.map(|pod| wait_ready(&cluster, pod, "")), uids);
    assert_eq!(pods.map(|pod| look(&cluster, pod)), before);
    wait_consistent(&cluster);
}

/// Ends the sandbox of a Pod, and waits until kubelet has made another with the same addresses.
fn make_sandbox_anew(cluster: &Cluster, cri: &Cri) {
    let before = attached(cluster, "n1");
    let sandbox = before.values().next().unwrap();
    let its: Vec<&String> = before
        .iter()
        .filter_map(|(address, it)| (it == sandbox).then_some(address))
        .collect();
    assert_eq!(its.len(), 4, "two networks, two families");
    cri.remove_pod(sandbox).unwrap();
    wait_for("another sandbox with the same addresses", || {
        let now = attached(cluster, "n1");
        let has = |address: &&String| now.get(*address).is_some_and(|it| it != sandbox);
        if its.iter().all(has) {
            return Ok(());
        }
        Err(format!("{now:?}"))
    });
}

#[test]
fn node_goes_on_with_what_it_has_claimed_while_the_api_server_is_away_and_catches_up() {
    let mut cluster = own("cluster-claims-away");
    let set = stateful_set("db", 2, "n1").to_string();
    cluster.apply(&set).unwrap();
    for pod in ["db-0", "db-1"] {
        wait_ready(&cluster, pod, "");
    }
    let before = look(&cluster, "db-0");
    wait_warm(&cluster);
    let socket = cluster.world().node("n1").path(SOCKET);
    let cri = Cri::new(&socket).unwrap();

    cluster.set_api_server(false).unwrap();
    cluster.kill_daemon("n1", Daemon::Ipamd).unwrap();
    cluster.start_daemon("n1", Daemon::Ipamd).unwrap();
    wait_for("the daemon serving", || {
        let said = cluster.ipamd_command("n1", &["status"]);
        let said = said.map_err(|error| format!("{error:#}"))?;
        if said.success() {
            return Ok(());
        }
        Err(said.stdout + &said.stderr)
    });
    make_sandbox_anew(&cluster, &cri);
    // kubelet would end Pods that it was not told of.
    cluster.kill_daemon("n1", Daemon::Kubelet).unwrap();
    let new = cri.run_pod(&Pod::new("bank", "new")).unwrap();
    let gone = cri.run_pod(&Pod::new("bank", "gone")).unwrap();
    cri.remove_pod(&gone).unwrap();
    let addresses = cri.pod_addresses(&new).unwrap();
    assert_eq!(addresses.len(), 2, "{addresses:?}");

    cluster.set_api_server(true).unwrap();
    wait_long("the API server being told", || {
        let new = claims_of(&cluster, "bank/new");
        let attached = new.len() == 4 && new.iter().all(|it| it.attached && it.node == "n1");
        let gone = claims_of(&cluster, "bank/gone");
        if attached && !gone.iter().any(|it| it.attached) {
            return Ok(());
        }
        Err(format!("{new:?}, {gone:?}"))
    });
    cri.remove_pod(&new).unwrap();
    cluster.start_daemon("n1", Daemon::Kubelet).unwrap();
    cluster.wait_nodes().unwrap();
    assert_eq!(look(&cluster, "db-0"), before);
    wait_consistent(&cluster);
}
