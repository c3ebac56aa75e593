//! What Pods say of their addresses, by a real `berth-ipamd` of a node whose pools are objects: heard of as soon as they are
//! bound to it, and followed in their ADDs.
//!
//! No kubelet is there: a Pod is bound by its `nodeName`, and its ADD is asked for by the daemon's socket.

use std::fs;

use proto_ipam::refusal::Refusal;
use proto_ipam::v1::{self, Reason};
use serde_json::{Value, json};
use tests::wait::{holds, wait_until};
use tests_testbed::Component;

use crate::rig::{LABEL, Rig};
use crate::shipped::{NAMESPACE, add_node, kubectl};

const CONFIG: &str = r#"
socket = "/run/berth/ipamd.sock"
store = "/run/berth/store"
metrics = "127.0.0.1:9421"

[kubernetes]

[[rule]]
namespace = "*"
pod = "by-rule*"
hold = "1h"
"#;

/// The daemon of node `n1` in rack a, whose pools are objects.
struct World {
    rig: Rig,
}

impl World {
    /// A daemon that serves.
    fn new(name: &str) -> Self {
        let mut rig = Rig::new(name, CONFIG);
        add_node(&rig.api, "n2");
        rig.label(&format!("{LABEL}=a"));
        // What controllers would make: Pods are refused without.
        kubectl(&rig.api, &["create", "namespace", "prod"]);
        let account = ["create", "serviceaccount", "default", "-n", "prod"];
        kubectl(&rig.api, &account);
        for (network, subnet) in [("external", "10.20.1"), ("internal", "10.30.1")] {
            let pool = pool(network, subnet).to_string();
            wait_until("the kind Pool is served", || {
                let applied = rig.api.apply(&pool);
                applied.map_err(|error| format!("{error:#}"))
            });
        }
        rig.start();
        rig.wait_serving("a");
        Self { rig }
    }

    /// Creates a Pod; its UID.
    fn create(&self, pod: &Value) -> String {
        let words = ["create", "-f", "-", "-o", "jsonpath={.metadata.uid}"];
        let said = self.rig.api.kubectl_with(&words, &pod.to_string()).unwrap();
        said.ok().unwrap()
    }

    /// Creates Pod `prod/NAME` of `n1` with these annotations; its UID.
    fn bind(&self, name: &str, annotations: &[(&str, &str)]) -> String {
        self.create(&pod("n1", name, annotations))
    }

    /// An ADD on these networks, until claims are there; what is granted.
    #[track_caller]
    fn add(&self, name: &str, uid: &str, networks: &[&str]) -> v1::AllocateResponse {
        self.add_in("first", name, uid, networks)
    }

    /// The same in the Pod's sandbox of this name.
    #[track_caller]
    fn add_in(
        &self,
        sandbox: &str,
        name: &str,
        uid: &str,
        networks: &[&str],
    ) -> v1::AllocateResponse {
        wait_until(&format!("prod/{name} has addresses"), || {
            let asked = allocate(sandbox, name, uid, networks);
            match self.rig.client().allocate(asked) {
                Ok(granted) => Ok(granted),
                Err(status) => match Refusal::from_status(&status) {
                    Some(refusal) if refusal.reason == Reason::Recovering => {
                        Err(format!("{refusal}\n{}", self.rig.log()))
                    }
                    _ => panic!("{status:?}\n{}", self.rig.log()),
                },
            }
        })
    }

    /// An ADD that is refused for good.
    #[track_caller]
    fn refused(&self, name: &str, uid: &str) -> Refusal {
        let asked = allocate("first", name, uid, &["external"]);
        let status = self.rig.client().allocate(asked).unwrap_err();
        Refusal::from_status(&status).unwrap_or_else(|| panic!("{status:?}"))
    }

    /// What `berth-ipamd why` says of an identity of namespace `prod`.
    fn why(&self, identity: &str) -> String {
        let binary = tests_testbed::binary("berth-ipamd").unwrap();
        let (binary, identity) = (binary.to_string_lossy(), format!("prod/{identity}"));
        let words = [&*binary, "why", "--socket", "/run/berth/ipamd.sock"];
        let words: Vec<&str> = words.into_iter().chain([identity.as_str()]).collect();
        self.rig.api.machine().run(&words).unwrap()
    }

    #[track_caller]
    fn assert_why(&self, identity: &str, words: &str) {
        let said = self.why(identity);
        assert!(
            said.contains(words),
            "{words} in {said}\n{}",
            self.rig.log()
        );
    }

    /// A figure of the daemon's.
    #[track_caller]
    fn figure(&self, name: &str) -> u64 {
        let text = self.rig.api.machine().run(&[
            "bash",
            "-c",
            "exec 3<>/dev/tcp/127.0.0.1/9421; printf 'GET /metrics HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3",
        ]);
        let text = text.unwrap();
        let name = format!("berth_ipamd_{name} ");
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(&name));
        let value = value.unwrap_or_else(|| panic!("no {name}in {text}"));
        value.trim().parse().unwrap()
    }

    #[track_caller]
    fn wait_figure(&self, name: &str, wanted: u64) {
        wait_until(&format!("{name} is {wanted}"), || {
            let is = self.figure(name);
            holds(is == wanted, || format!("{is}\n{}", self.rig.log()))
        });
    }

    fn remembered(&self) -> String {
        let file = self.rig.api.machine().path("/run/berth/store/pods");
        fs::read_to_string(file).unwrap_or_default()
    }
}

fn pod(node: &str, name: &str, annotations: &[(&str, &str)]) -> Value {
    let annotations = annotations.iter();
    let annotations: serde_json::Map<_, _> = annotations
        .map(|&(key, value)| (format!("berth.dev/{key}"), value.into()))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "prod", "annotations": annotations},
        "spec": {"nodeName": node, "containers": [{"name": "a", "image": "a"}]},
    })
}

fn pool(network: &str, subnet: &str) -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool",
        "metadata": {"name": format!("{network}-a"), "namespace": NAMESPACE},
        "spec": {
            "network": network, "rack": "a", "subnet": format!("{subnet}.0/24"), "gateway": format!("{subnet}.1"),
            "ranges": [format!("{subnet}.100-{subnet}.149")], "probe": false,
        },
    })
}

fn owned(mut pod: Value, kind: &str, name: &str) -> Value {
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "o-1", "controller": true,
    }]);
    pod
}

fn allocate(sandbox: &str, name: &str, uid: &str, networks: &[&str]) -> v1::AllocateRequest {
    let interfaces = networks.iter().enumerate();
    v1::AllocateRequest {
        attachment: Some(v1::Attachment {
            cni_network: "bank".to_owned(),
            sandbox: format!("{sandbox}-{uid}"),
            ifname: "eth0".to_owned(),
        }),
        pod_namespace: "prod".to_owned(),
        pod_name: name.to_owned(),
        pod_uid: uid.to_owned(),
        interfaces: interfaces
            .map(|(place, network)| v1::InterfaceRequest {
                ifname: if place == 0 {
                    "eth0".to_owned()
                } else {
                    format!("net{place}")
                },
                network: (*network).to_owned(),
                ..v1::InterfaceRequest::default()
            })
            .collect(),
        ..v1::AllocateRequest::default()
    }
}

fn addresses(granted: &v1::AllocateResponse) -> Vec<&str> {
    let interfaces = granted.interfaces.iter();
    interfaces
        .map(|one| one.addresses[0].address.as_str())
        .collect()
}

#[test]
fn what_a_pod_and_its_owner_say_decides_about_its_addresses() {
    let world = World::new("pods_say");
    for (name, annotations, owner, held) in [
        ("web", &[][..], None, "it is not held"),
        ("by-rule", &[], None, "it is held for 1h"),
        ("by-rule-but", &[("hold", "none")], None, "it is not held"),
        ("said", &[("hold", "30m")], None, "it is held for 30m"),
        (
            "db-0",
            &[],
            Some(("StatefulSet", "db")),
            "it is held for ever",
        ),
        (
            "db-1",
            &[("hold", "2h")],
            Some(("StatefulSet", "db")),
            "it is held for 2h",
        ),
        ("rs-x7", &[], Some(("ReplicaSet", "rs")), "it is not held"),
    ] {
        let mut pod = pod("n1", name, annotations);
        if let Some((kind, owner)) = owner {
            pod = owned(pod, kind, owner);
        }
        let uid = world.create(&pod);
        world.add(name, &uid, &["external"]);
        world.assert_why(name, held);
    }

    let uid = world.bind("old", &[("identity", "vip"), ("hold", "30m")]);
    let granted = world.add("old", &uid, &["external"]);
    assert_eq!(granted.identity, "prod/vip");
    world.assert_why("vip", "it is held for 30m");

    let fixed = [("addresses", "10.30.1.140, 10.20.1.140")];
    let uid = world.bind("fixed", &fixed);
    let granted = world.add("fixed", &uid, &["external", "internal"]);
    assert_eq!(addresses(&granted), ["10.20.1.140/24", "10.30.1.140/24"]);

    // An ADD of a Pod that was deleted and made anew is not judged by what the new one says.
    world.bind("again", &[("hold", "30m")]);
    world.add("again", "another-uid", &["external"]);
    world.assert_why("again", "it is not held");
}

#[test]
fn what_cannot_be_followed_refuses_the_pod_until_it_is_corrected() {
    let world = World::new("pods_wrong");
    let uid = world.bind(
        "wrong",
        &[("hold", "for a while"), ("rack-change", "never")],
    );
    let refused = world.refused("wrong", &uid);
    assert_eq!(refused.reason, Reason::InvalidRequest);
    let said = refused.to_string();
    for words in [
        "Pod prod/wrong",
        "annotation berth.dev/hold says \"for a while\"",
        "\"forever\", \"none\", or a duration such as \"30m\"",
        "annotation berth.dev/rack-change says \"never\"",
        "kubectl annotate pod -n prod wrong --overwrite",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    let annotate = ["annotate", "pod", "-n", "prod", "--overwrite"];
    let correct = |name: &'static str, change: &'static str| {
        let words: Vec<_> = annotate.into_iter().chain([name, change]).collect();
        kubectl(&world.rig.api, &words);
    };
    correct("wrong", "berth.dev/hold=20m");
    correct("wrong", "berth.dev/rack-change-");
    // Whatever is heard of later is heard of after the corrections.
    let after = world.bind("after", &[]);
    world.add("after", &after, &["external"]);
    world.add("wrong", &uid, &["external"]);
    world.assert_why("wrong", "it is held for 20m");

    let uid = world.bind("outside", &[("addresses", "10.30.1.141")]);
    let refused = world.refused("outside", &uid);
    assert_eq!(refused.reason, Reason::AddressOutside);
    for words in [
        "asks for 10.30.1.141",
        "no pool of network external in rack a",
        "external-a of external with 10.20.1.0/24",
        "berth.dev/addresses",
    ] {
        assert!(refused.to_string().contains(words), "{words} in {refused}");
    }
}

#[test]
fn only_the_nodes_own_pods_that_need_addresses_reach_it() {
    let mut world = World::new("pods_own");
    world.wait_figure("pod_watches_total", 1);
    // The daemon's own Pod is here too, in its node's network.
    let ours = kubectl(&world.rig.api, &["get", "pods", "-A", "-o", "name"]);
    assert_eq!(ours.trim(), "pod/berth-ipamd-n1");
    assert_eq!(
        (world.figure("pods"), world.figure("pods_heard_total")),
        (0, 0)
    );

    for number in 0..10 {
        let name = format!("other-{number}");
        world.create(&pod("n2", &name, &[("hold", "30m")]));
        let label = ["label", "pod", "-n", "prod", &name, "seen=no"];
        kubectl(&world.rig.api, &label);
    }
    let mut in_the_nodes_network = pod("n1", "host", &[("hold", "30m")]);
    in_the_nodes_network["spec"]["hostNetwork"] = true.into();
    world.create(&in_the_nodes_network);
    world.bind("one", &[]);
    world.bind("two", &[("hold", "30m")]);
    world.wait_figure("pods", 2);
    // Whatever was written before is heard of before.
    assert_eq!(world.figure("pods_heard_total"), 2);

    // One that is over needs none any more.
    let over = ["patch", "pod", "-n", "prod", "one", "--subresource=status"];
    let phase = ["--type=merge", "-p", r#"{"status":{"phase":"Succeeded"}}"#];
    kubectl(&world.rig.api, &[&over[..], &phase].concat());
    world.wait_figure("pods", 1);
    assert_eq!(world.figure("pods_heard_total"), 3);

    // Lost and found again: one list, and what came meanwhile.
    world.rig.api.kill(Component::ApiServer).unwrap();
    world.rig.api.start_component(Component::ApiServer).unwrap();
    wait_until("the API server takes a Pod", || {
        let words = ["create", "-f", "-"];
        let pod = pod("n1", "three", &[]).to_string();
        let said = world.rig.api.kubectl_with(&words, &pod);
        let said = said.map_err(|error| format!("{error:#}"))?;
        holds(
            said.success() || said.stderr.contains("AlreadyExists"),
            || said.stderr.clone(),
        )
    });
    world.wait_figure("pods", 2);
    assert!(world.figure("pod_watches_total") >= 2);
    assert!(!world.rig.log().contains("other-"), "{}", world.rig.log());
}

#[test]
fn pods_keep_identity_and_policy_while_the_api_server_is_away() {
    let mut world = World::new("pods_away");
    let said = world.bind("said", &[("identity", "vip"), ("hold", "30m")]);
    let wrong = world.bind("wrong", &[("hold", "x")]);
    let plain = world.bind("plain", &[]);
    wait_until("what they say is on the disk", || {
        let text = world.remembered();
        let is_there = text.contains("prod/vip") && text.contains("prod/wrong");
        holds(is_there, || format!("{text}\n{}", world.rig.log()))
    });
    assert!(
        !world.remembered().contains("plain"),
        "{}",
        world.remembered()
    );
    let before = world.add("said", &said, &["external"]);
    world.add("plain", &plain, &["external"]);
    wait_until("free addresses are claimed", || {
        let claims = kubectl(
            &world.rig.api,
            &["get", "claims", "-n", NAMESPACE, "-o", "name"],
        );
        holds(claims.lines().count() > 4, || {
            format!("{claims}\n{}", world.rig.log())
        })
    });
    world.rig.stop();

    world.rig.api.kill(Component::ApiServer).unwrap();
    world.rig.start();
    world.rig.wait_serving("a");
    // A new sandbox, of which the plugin is told nothing but the Pod: what the Pod says is remembered, not only its binding.
    let again = world.add_in("another", "said", &said, &["external"]);
    assert_eq!(again.identity, "prod/vip");
    assert_eq!(addresses(&again), addresses(&before));
    world.assert_why("vip", "it is held for 30m");
    let refused = world.refused("wrong", &wrong);
    assert_eq!(refused.reason, Reason::InvalidRequest, "{refused}");
    // Of one that nobody has heard of, the rules decide.
    world.add("new", "u-1", &["external"]);
    world.assert_why("new", "it is not held");

    world.rig.api.start_component(Component::ApiServer).unwrap();
    // No kubelet says that it has ended.
    let words = [
        "delete",
        "pod",
        "-n",
        "prod",
        "wrong",
        "--force",
        "--grace-period=0",
        "--ignore-not-found",
    ];
    wait_until("the API server takes the deletion", || {
        let said = world
            .rig
            .api
            .kubectl(&words)
            .map_err(|error| format!("{error:#}"))?;
        holds(said.success(), || said.stderr.clone())
    });
    wait_until("what a Pod said goes with it", || {
        let text = world.remembered();
        holds(!text.contains("prod/wrong"), || text)
    });
}
