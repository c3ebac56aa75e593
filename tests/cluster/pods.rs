//! Pods: addresses of the underlay on both networks, known to Kubernetes, reached from outside, and reaching Services.

use serde_json::json;
use tests_testbed::Pending;

use crate::site::{exec, look, shared, stateful_set, wait_ready};

#[test]
fn pods_of_both_racks_have_their_racks_addresses_and_reach_each_other() {
    let cluster = shared();
    for (set, node) in [("reach-a", "n1"), ("reach-b", "n2")] {
        cluster
            .apply(&stateful_set(set, 1, node).to_string())
            .unwrap();
    }
    for (pod, rack) in [("reach-a-0", "1"), ("reach-b-0", "2")] {
        wait_ready(&cluster, pod, "");
        let seen = look(&cluster, pod).addresses;
        for begin in ["10.20.", "10.30."] {
            let begin = format!("{begin}{rack}.");
            assert!(
                seen.iter().any(|it| it.starts_with(&begin)),
                "{pod}: {seen:?}"
            );
        }
        let object = cluster.kubectl_json(&["get", "pod", pod]).unwrap();
        let known = object["status"]["podIPs"].as_array().unwrap();
        assert_eq!(known.len(), 2, "one of each family: {known:?}");
        for ip in known {
            let ip = format!("{}/", ip["ip"].as_str().unwrap());
            assert!(
                seen.iter().any(|it| it.starts_with(&ip)),
                "{ip} is not among {seen:?}"
            );
        }
    }
    let other = look(&cluster, "reach-b-0").addresses;
    for address in other.iter().filter(|it| it.starts_with("10.")) {
        let (address, _) = address.split_once('/').unwrap();
        exec(
            &cluster,
            "reach-a-0",
            &["ping", "-c", "1", "-W", "2", address],
        );
    }
    let vm = cluster.world().host("vm").address4().to_string();
    for pod in ["reach-a-0", "reach-b-0"] {
        exec(&cluster, pod, &["ping", "-c", "1", "-W", "2", &vm]);
    }
}

#[test]
fn service_answers_pods_of_both_racks() {
    let cluster = shared();
    cluster
        .apply(&stateful_set("served", 1, "n2").to_string())
        .unwrap();
    cluster
        .apply(&stateful_set("asking", 1, "n1").to_string())
        .unwrap();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "served"},
        "spec": {"selector": {"app": "served"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    cluster.apply(&service.to_string()).unwrap();
    for pod in ["served-0", "asking-0"] {
        wait_ready(&cluster, pod, "");
    }
    let service = cluster.kubectl_json(&["get", "service", "served"]).unwrap();
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    let ask = format!("nc -w 2 {address} 80 < /dev/null");
    for pod in ["asking-0", "served-0"] {
        // The Pod's server answers one after the other.
        let words = ["exec", pod, "--", "sh", "-c", &ask];
        tests_testbed::wait_patiently(
            "the Service's answer",
            std::time::Duration::from_secs(60),
            || match cluster.kubectl(&words) {
                Ok(said) if said.trim() == "hello" => Ok(()),
                Ok(said) => Err(Pending::because(format!("it said {said:?}"))),
                Err(error) => Err(Pending::because(format!("{error:#}"))),
            },
        )
        .unwrap();
    }
}
