//! Names: a real `CoreDNS` answers Pods of both racks and runtimes, by the resolver that kubelet gives them.

use std::{collections::BTreeSet, net::IpAddr, sync::Once};

use serde_json::json;
use tests_testbed::{Addons, Cluster, DNS_ADDRESS, SERVICE_CIDR};

use crate::{
    seen::{find, placed, remove, service, wait_for},
    site::{exec, shared, stateful_set, wait_ready},
};

/// `CoreDNS` in the shared cluster.
fn dns(cluster: &Cluster) {
    static INSTALLED: Once = Once::new();
    let addons = Addons::from_environment().unwrap();
    INSTALLED.call_once(|| cluster.install_dns(&addons).unwrap());
}

/// What a name resolves to in a Pod; asked again while the answer is not what it shall be, since a name is known a moment after its object.
fn resolve(cluster: &Cluster, pod: &str, name: &str, expected: &BTreeSet<IpAddr>) {
    wait_for(&format!("{name} in {pod}"), || {
        let words = ["exec", pod, "--", "nslookup", name];
        let said = cluster
            .kubectl(&words)
            .map_err(|error| format!("{error:#}"))?;
        // The first block is the server that was asked.
        let (server, answer) = said.split_once("\n\n").ok_or("no answer")?;
        assert!(server.contains(DNS_ADDRESS), "{server}");
        let lines = answer
            .lines()
            .filter_map(|line| line.strip_prefix("Address: "));
        let found: BTreeSet<IpAddr> = lines.map(|it| it.parse().unwrap()).collect();
        if found == *expected {
            Ok(())
        } else {
            Err(format!("{found:?} of {expected:?}"))
        }
    });
}

#[test]
fn services_and_headless_pods_have_names_for_pods_of_both_racks() {
    let cluster = shared();
    dns(&cluster);
    cluster
        .apply(&stateful_set("db", 2, "n2").to_string())
        .unwrap();
    cluster
        .apply(&service("db", "db", &json!({"clusterIP": "None"})).to_string())
        .unwrap();
    cluster
        .apply(&service("front", "db", &json!({})).to_string())
        .unwrap();
    for node in ["n1", "n2"] {
        let set = format!("resolves-{node}");
        cluster
            .apply(&stateful_set(&set, 1, node).to_string())
            .unwrap();
    }
    for pod in ["db-0", "db-1", "resolves-n1-0", "resolves-n2-0"] {
        wait_ready(&cluster, pod, "");
    }
    let front = cluster.kubectl_json(&["get", "service", "front"]).unwrap();
    let front: IpAddr = front["spec"]["clusterIP"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        front
            .to_string()
            .starts_with(SERVICE_CIDR.trim_end_matches("0.0/16"))
    );
    // The headless Service has IPv4 only, as the cluster's Services have.
    let v4 = |pod: &str| -> IpAddr { find(&cluster, pod).v4().parse().unwrap() };
    let (db0, db1) = (v4("db-0"), v4("db-1"));

    for asks in ["resolves-n1-0", "resolves-n2-0"] {
        let domain = "default.svc.cluster.local";
        resolve(&cluster, asks, &format!("front.{domain}"), &[front].into());
        resolve(&cluster, asks, &format!("db.{domain}"), &[db0, db1].into());
        resolve(&cluster, asks, &format!("db-0.db.{domain}"), &[db0].into());
        resolve(&cluster, asks, &format!("db-1.db.{domain}"), &[db1].into());
        // By the search path, and used: the connection goes where the name says.
        for name in ["front 80", "front.default 80", "db-1.db 8080"] {
            let line = format!("nc -w 5 {name} < /dev/null");
            wait_for(&format!("an answer of {name} to {asks}"), || {
                let words = ["exec", asks, "--", "sh", "-c", &line];
                match cluster.kubectl(&words) {
                    Ok(said) if said.trim() == "hello" => Ok(()),
                    Ok(said) => Err(format!("it said {said:?}")),
                    Err(error) => Err(format!("{error:#}")),
                }
            });
        }
    }
    remove(&cluster, &["service/front", "service/db"]);
}

#[test]
fn name_of_a_pod_that_is_created_anew_still_leads_to_it() {
    let cluster = shared();
    dns(&cluster);
    cluster
        .apply(&stateful_set("named", 1, "n1").to_string())
        .unwrap();
    cluster
        .apply(&service("named", "named", &json!({"clusterIP": "None"})).to_string())
        .unwrap();
    cluster
        .apply(&stateful_set("resolves-n2", 1, "n2").to_string())
        .unwrap();
    let uid = wait_ready(&cluster, "named-0", "");
    wait_ready(&cluster, "resolves-n2-0", "");
    let before = placed(&cluster, "named");
    let address: IpAddr = before[0].v4().parse().unwrap();
    let name = "named-0.named.default.svc.cluster.local";
    resolve(&cluster, "resolves-n2-0", name, &[address].into());

    cluster.kubectl(&["delete", "pod", "named-0"]).unwrap();
    wait_ready(&cluster, "named-0", &uid);
    assert_eq!(placed(&cluster, "named"), before);
    resolve(&cluster, "resolves-n2-0", name, &[address].into());
    exec(
        &cluster,
        "resolves-n2-0",
        &["ping", "-c", "1", "-W", "2", &before[0].v4()],
    );
    remove(&cluster, &["service/named", "statefulset/named"]);
}
