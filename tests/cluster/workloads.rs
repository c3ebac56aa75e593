//! Every kind of workload: addresses of the networks it asks for, probes that pass and probes that fail.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Value, json};
use tests_testbed::Cluster;

use crate::{
    seen::{
        Placed, attached, container, exec_in, interfaces, parse, placed, pod, remove, restarts,
        rollout, wait_condition, wait_for,
    },
    site::{exec, pod_spec, shared, wait_ready},
};

/// A Deployment with one Pod on each node, on these networks.
fn deployment(name: &str, networks: Option<&str>) -> Value {
    let mut spec = pod_spec("");
    spec["nodeSelector"] = Value::Null;
    spec["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": name}}},
    ]}});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": template(name, networks, &spec),
        },
    })
}

fn template(name: &str, networks: Option<&str>, spec: &Value) -> Value {
    let annotations =
        networks.map_or_else(|| json!({}), |names| json!({"berth.dev/networks": names}));
    json!({"metadata": {"labels": {"app": name}, "annotations": annotations}, "spec": spec})
}

/// Which network and rack an address is of, by its subnet.
fn place(ip: &IpAddr) -> String {
    let text = ip.to_string();
    let network = match text.split([':', '.']).nth(1) {
        Some("20") => "external",
        Some("30") => "internal",
        other => panic!("{text} is of no network ({other:?})"),
    };
    let rack = text.split(['.', ':']).nth(2).unwrap();
    format!("{network} {rack}")
}

/// Each interface has one address of each family, of the network meant and of the rack of the Pod's node; Kubernetes knows the first's.
fn assert_networks(pod: &Placed, seen: &BTreeMap<String, Vec<IpAddr>>, networks: &[&str]) {
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(names, ["eth0", "net1"][..networks.len()], "{}", pod.name);
    let rack = if pod.node == "n1" { "1" } else { "2" };
    for (addresses, network) in seen.values().zip(networks) {
        assert_eq!(addresses.len(), 2, "{}: {seen:?}", pod.name);
        for address in addresses {
            assert_eq!(place(address), format!("{network} {rack}"), "{}", pod.name);
        }
    }
    assert_eq!(pod.ips, seen["eth0"], "{}", pod.name);
}

/// The gateway of a Pod's default route.
fn gateway(cluster: &Cluster, pod: &str) -> String {
    let routes = exec(cluster, pod, &["ip", "route"]);
    let default = routes
        .lines()
        .find_map(|it| it.strip_prefix("default via "));
    let gateway = default.and_then(|it| it.split_whitespace().next());
    gateway
        .unwrap_or_else(|| panic!("{pod}: {routes}"))
        .to_owned()
}

#[test]
fn deployments_and_daemon_sets_have_the_networks_they_ask_for_on_both_runtimes() {
    let cluster = shared();
    let kinds: [(&str, Option<&str>, &[&str]); 4] = [
        ("both", None, &["external", "internal"]),
        ("outer", Some("external"), &["external"]),
        ("inner", Some("internal"), &["internal"]),
        (
            "turned",
            Some("internal,external"),
            &["internal", "external"],
        ),
    ];
    for (name, networks, _) in kinds {
        cluster
            .apply(&deployment(name, networks).to_string())
            .unwrap();
    }
    let mut spec = pod_spec("");
    spec["nodeSelector"] = Value::Null;
    let every = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "every"},
        "spec": {"selector": {"matchLabels": {"app": "every"}}, "template": template("every", None, &spec)},
    });
    cluster.apply(&every.to_string()).unwrap();
    for (name, _, _) in kinds {
        rollout(&cluster, &format!("deployment/{name}"));
    }
    rollout(&cluster, "daemonset/every");

    let every: (&str, Option<&str>, &[&str]) = ("every", None, &["external", "internal"]);
    for (name, _, networks) in kinds.into_iter().chain([every]) {
        let pods = placed(&cluster, name);
        let nodes: Vec<&str> = pods.iter().map(|pod| &*pod.node).collect();
        assert!(nodes.contains(&"n1") && nodes.contains(&"n2"), "{pods:?}");
        for pod in &pods {
            assert_networks(pod, &interfaces(&cluster, &pod.name), networks);
            let rack = if pod.node == "n1" { "1" } else { "2" };
            // The default network's where the Pod has it, else the first one's.
            let gateways = if networks.contains(&"external") {
                "10.20"
            } else {
                "10.30"
            };
            assert_eq!(gateway(&cluster, &pod.name), format!("{gateways}.{rack}.1"));
        }
    }
    remove(
        &cluster,
        &[
            "deployment/both",
            "deployment/outer",
            "deployment/inner",
            "deployment/turned",
            "daemonset/every",
        ],
    );
}

#[test]
fn jobs_pods_have_addresses_while_they_run_and_give_them_back_when_they_are_done() {
    let cluster = shared();
    let vm = cluster.world().host("vm").address4();
    for node in ["n1", "n2"] {
        let name = format!("job-{node}");
        let mut spec =
            json!({"nodeSelector": {"kubernetes.io/hostname": node}, "restartPolicy": "Never"});
        spec["containers"] = json!([container(
            "app",
            &format!("ip -o addr && ping -c 1 -W 2 {vm}")
        )]);
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"completions": 2, "parallelism": 2, "backoffLimit": 0, "template": template(&name, None, &spec)},
        });
        cluster.apply(&job.to_string()).unwrap();
    }
    for node in ["n1", "n2"] {
        let name = format!("job-{node}");
        wait_condition(&cluster, &format!("job/{name}"), "complete");
        let pods = placed(&cluster, &name);
        assert_eq!(pods.len(), 2);
        for pod in &pods {
            let said = cluster.kubectl(&["logs", &pod.name]).unwrap();
            assert_networks(pod, &parse(&said), &["external", "internal"]);
        }
        // kubelet ends a finished Pod's sandbox; nobody has its addresses then, though the object still names them.
        let theirs: Vec<String> = pods.iter().flat_map(Placed::texts).collect();
        wait_for("the addresses of finished Pods being free", || {
            let attached = attached(&cluster, node);
            let still: Vec<&String> = theirs
                .iter()
                .filter(|it| attached.contains_key(*it))
                .collect();
            if still.is_empty() {
                Ok(())
            } else {
                Err(format!("attached: {still:?}"))
            }
        });
    }
    remove(&cluster, &["job/job-n1", "job/job-n2"]);
}

/// A container that is asked in one way by all three kinds of probes.
fn probed(name: &str, line: &str, probe: &Value) -> Value {
    let mut container = container(name, line);
    for (kind, failures) in [
        ("startupProbe", 60),
        ("readinessProbe", 60),
        ("livenessProbe", 3),
    ] {
        container[kind] = probe.clone();
        container[kind]["periodSeconds"] = json!(1);
        // A busy machine is not a broken one.
        container[kind]["timeoutSeconds"] = json!(10);
        container[kind]["failureThreshold"] = json!(failures);
    }
    container
}

#[test]
fn exec_http_and_tcp_probes_pass_and_one_that_fails_restarts_its_container_in_its_place() {
    let cluster = shared();
    for node in ["n1", "n2"] {
        let forever = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done";
        let mut spec = json!({"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 1});
        spec["containers"] = json!([
            probed(
                "file",
                &format!("touch /tmp/ok; {forever}"),
                &json!({"exec": {"command": ["cat", "/tmp/ok"]}})
            ),
            probed(
                "web",
                "touch /tmp/ok; exec httpd -f -p 8081 -h /tmp",
                &json!({"httpGet": {"path": "/ok", "port": 8081}})
            ),
            probed(
                "port",
                "exec nc -ll -p 8082 -e cat",
                &json!({"tcpSocket": {"port": 8082}})
            ),
        ]);
        cluster
            .apply(&pod(&format!("probed-{node}"), &spec).to_string())
            .unwrap();
    }
    let counts = |name: &str| {
        let all = restarts(&cluster, name);
        ["file", "web", "port"].map(|it| all[it])
    };
    for node in ["n1", "n2"] {
        let name = format!("probed-{node}");
        let uid = wait_ready(&cluster, &name, "");
        let before = interfaces(&cluster, &name);
        assert_eq!(counts(&name), [0, 0, 0]);

        // The page is gone: kubelet sees it over the Pod's network only.
        exec_in(&cluster, &name, "web", &["rm", "/tmp/ok"]);
        wait_for(
            "the restart of the container that fails its probe",
            || match counts(&name) {
                [0, 1, 0] => Ok(()),
                other => Err(format!("{other:?}")),
            },
        );
        assert_eq!(wait_ready(&cluster, &name, ""), uid);
        assert_eq!(interfaces(&cluster, &name), before);
    }
    remove(&cluster, &["pod/probed-n1", "pod/probed-n2"]);
}
