//! The rack of a node is what its label says: read by a real `berth-ipamd` with the token of its Pod, as in a cluster.
//!
//! Nothing but the API server is there: the daemon runs in its machine, is asked by its socket, and no Pod is wired.

use std::fs;

use proto_ipam::refusal::Refusal;
use proto_ipam::v1::{self, Phase, Reason};
use serde_json::Value;
use tests::daemons::{Client, reason};
use tests::wait::{PATIENCE, holds, wait_until};
use tests_testbed::{ApiServer, Component, Process};

use crate::shipped::{Caller, NAMESPACE, add_node, installed, kubectl};

const LABEL: &str = "topology.berth.dev/rack";
const ACCOUNT: &str = "/run/secrets/kubernetes.io/serviceaccount";

/// `n1` has pools in racks a and b, `n2` in rack a.
const CONFIG: &str = r#"
socket = "/run/berth/ipamd.sock"
store = "/run/berth/store"
metrics = ""

[kubernetes]

[[pool]]
name = "external-a-n1"
node = "n1"
rack = "a"
network = "external"
subnet = "10.20.1.0/24"
ranges = ["10.20.1.100-10.20.1.149"]

[[pool]]
name = "external-a-n2"
node = "n2"
rack = "a"
network = "external"
subnet = "10.20.1.0/24"
ranges = ["10.20.1.150-10.20.1.199"]

[[pool]]
name = "external-b-n1"
node = "n1"
rack = "b"
network = "external"
subnet = "10.20.2.0/24"
ranges = ["10.20.2.100-10.20.2.149"]
"#;

/// A daemon of node `n1` beside an API server on which the whole install was applied.
struct Rig {
    // Ends before the machine it runs in.
    daemon: Option<Process>,
    api: ApiServer,
}

impl Rig {
    /// No daemon yet; the Node has no label.
    fn new(name: &str) -> Self {
        let api = installed(name);
        add_node(&api, "n1");
        // What a Pod has of its account lies below /run, where this machine has only what the test puts there.
        let folders = format!("mount -t tmpfs tmpfs /run; mkdir -p /run/berth {ACCOUNT}");
        api.machine().script(&folders).unwrap();
        let admin = fs::read_to_string(api.kubeconfig()).unwrap();
        let admin: Value = serde_json::from_str(&admin).unwrap();
        let authority = admin["clusters"][0]["cluster"]["certificate-authority"].as_str();
        let rig = Self { daemon: None, api };
        rig.write(
            &format!("{ACCOUNT}/ca.crt"),
            &fs::read_to_string(authority.unwrap()).unwrap(),
        );
        rig.write(&format!("{ACCOUNT}/namespace"), NAMESPACE);
        let token = Caller::in_pod(&rig.api, "berth-ipamd", "n1");
        rig.write(&format!("{ACCOUNT}/token"), token.token());
        rig.write("/run/berth/ipamd.toml", CONFIG);
        rig
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.api.machine().path(path), text).unwrap();
    }

    fn start_as(&mut self, node: &str) {
        let machine = self.api.machine();
        let mut command = machine.command(tests_testbed::binary("berth-ipamd").unwrap());
        command
            .args(["--config", "/run/berth/ipamd.toml"])
            .env("BERTH_IPAMD_NODE", node)
            .env("KUBERNETES_SERVICE_HOST", "10.50.0.2")
            .env("KUBERNETES_SERVICE_PORT", "6443");
        self.daemon = Some(machine.spawn_command("ipamd", command).unwrap());
    }

    fn start(&mut self) {
        self.start_as("n1");
    }

    fn stop(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        assert!(daemon.terminate(PATIENCE).unwrap().success());
    }

    fn log(&self) -> String {
        self.daemon.as_ref().map(Process::log).unwrap_or_default()
    }

    fn client(&self) -> Client {
        Client::new(&self.api.machine().path("/run/berth/ipamd.sock"))
    }

    /// Waits until the daemon says this of itself.
    #[track_caller]
    fn wait(&self, what: &str, said: impl Fn(&v1::StatusResponse) -> bool) -> v1::StatusResponse {
        wait_until(what, || {
            let status = self.client().status();
            let status = status.map_err(|error| format!("{error:?}\n{}", self.log()))?;
            holds(said(&status), || format!("{status:?}\n{}", self.log())).map(|()| status)
        })
    }

    #[track_caller]
    fn wait_serving(&self, rack: &str) {
        self.wait(&format!("it serves in rack {rack}"), |status| {
            status.phase() == Phase::Serving && status.rack == rack
        });
    }

    fn label(&self, change: &str) {
        kubectl(&self.api, &["label", "node", "n1", change, "--overwrite"]);
    }

    /// An ADD of a Pod: its address.
    #[track_caller]
    fn add(&self, pod: &str) -> String {
        let granted = self.client().allocate(allocate(pod)).unwrap();
        granted.interfaces[0].addresses[0].address.clone()
    }

    /// An ADD that is refused.
    #[track_caller]
    fn refused(&self, pod: &str) -> Refusal {
        let status = self.client().allocate(allocate(pod)).unwrap_err();
        Refusal::from_status(&status).unwrap_or_else(|| panic!("{status:?}"))
    }

    /// The notes of the Events on `n1` of this reason.
    fn events(&self, reason: &str) -> Vec<String> {
        let all = self
            .api
            .kubectl_json(&["get", "events.events.k8s.io", "-n", "default"]);
        let all = all.unwrap();
        let items = all["items"].as_array().unwrap().iter();
        items
            .filter(|event| event["reason"] == reason && event["regarding"]["name"] == "n1")
            .map(|event| event["note"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    #[track_caller]
    fn wait_event(&self, reason: &str, words: &str) {
        wait_until(&format!("an Event {reason}"), || {
            let notes = self.events(reason);
            let told = notes.iter().any(|note| note.contains(words));
            holds(told, || format!("{notes:?}\n{}", self.log()))
        });
    }
}

fn attachment(pod: &str) -> v1::Attachment {
    v1::Attachment {
        cni_network: "bank".to_owned(),
        sandbox: pod.to_owned(),
        ifname: "eth0".to_owned(),
    }
}

fn allocate(pod: &str) -> v1::AllocateRequest {
    v1::AllocateRequest {
        attachment: Some(attachment(pod)),
        pod_namespace: "prod".to_owned(),
        pod_name: pod.to_owned(),
        interfaces: vec![v1::InterfaceRequest {
            ifname: "eth0".to_owned(),
            network: "external".to_owned(),
            ..v1::InterfaceRequest::default()
        }],
        ..v1::AllocateRequest::default()
    }
}

#[test]
fn missing_label_is_told_everywhere_with_the_command_and_served_when_it_is_set() {
    let mut rig = Rig::new("rack_missing");
    rig.start();
    let status = rig.wait("it says that the label is missing", |status| {
        status.phase() == Phase::NoRack
    });
    let command = format!("`kubectl label node n1 {LABEL}=RACK`");
    for words in ["node n1 has no label", LABEL, &command, "a, b"] {
        assert!(status.message.contains(words), "{words}: {status:?}");
    }
    for attempt in 0..3 {
        let refused = rig.refused(&format!("db-{attempt}"));
        assert_eq!(refused.reason, Reason::NoPool);
        assert_eq!(refused.to_string(), status.message, "the same words");
    }
    assert!(!rig.client().release(attachment("db-0")).unwrap().known);
    rig.wait_event("RackUnknown", &command);
    assert_eq!(rig.events("RackUnknown").len(), 1);
    let described = kubectl(&rig.api, &["describe", "node", "n1"]);
    assert!(described.contains("RackUnknown"), "{described}");

    rig.label(&format!("{LABEL}=a"));
    rig.wait_serving("a");
    assert_eq!(rig.add("db-0"), "10.20.1.100/24");
    assert_eq!(rig.events("RackUnknown").len(), 1);
}

#[test]
fn relabelled_node_keeps_what_is_attached_and_gives_new_pods_the_new_racks_addresses() {
    let mut rig = Rig::new("rack_moved");
    rig.label(&format!("{LABEL}=a"));
    rig.start();
    rig.wait_serving("a");
    let old = rig.add("db-0");
    assert_eq!(old, "10.20.1.100/24");
    rig.label(&format!("{LABEL}=b"));
    rig.wait_serving("b");
    assert_eq!(rig.add("db-1"), "10.20.2.100/24");
    rig.client().wait_state("10.20.1.100", "attached");
    let check = v1::CheckRequest {
        attachment: Some(attachment("db-0")),
        interfaces: vec![v1::CheckInterface {
            ifname: "eth0".to_owned(),
            mac: String::new(),
            addresses: vec![old],
        }],
    };
    rig.client().check(check).unwrap();
    rig.wait_event("RackChanged", "was in rack a and is in rack b now");
    assert!(rig.client().release(attachment("db-0")).unwrap().known);
    // The identity comes back: its old address is of no use here.
    assert_eq!(rig.add("db-0"), "10.20.2.101/24");

    rig.label(&format!("{LABEL}=c"));
    let status = rig.wait("it says that rack c has no pool", |status| {
        status.phase() == Phase::NoRack
    });
    let command = format!("`kubectl label node n1 {LABEL}=a --overwrite`");
    for words in ["is in rack c and has no pool there", &command] {
        assert!(status.message.contains(words), "{words}: {status:?}");
    }
    let refused = rig.refused("db-2");
    assert_eq!(refused.reason, Reason::NoPool);
    assert!(refused.advice.contains(&command), "{refused}");
    rig.wait_event("RackWithoutPool", &command);

    rig.label(&format!("{LABEL}-"));
    rig.wait("it says that the label is gone", |status| {
        status.message.contains("has no label")
    });
    assert!(rig.client().release(attachment("db-1")).unwrap().known);
}

#[test]
fn known_rack_outlives_the_api_server_and_an_unknown_one_is_awaited() {
    let mut rig = Rig::new("rack_away");
    rig.label(&format!("{LABEL}=a"));
    rig.start();
    rig.wait_serving("a");
    let address = rig.add("db-0");
    rig.stop();

    rig.api.kill(Component::ApiServer).unwrap();
    rig.start();
    rig.wait_serving("a");
    assert_eq!(rig.add("db-0"), address, "the same ADD again");
    assert_eq!(rig.add("db-1"), "10.20.1.101/24");
    assert!(
        rig.log().contains("API server does not answer"),
        "{}",
        rig.log()
    );
    rig.stop();

    // A node that has never heard of its rack, or cannot believe what it remembers.
    rig.write("/run/berth/store/rack", "0000beef {\"rack\":\"b\"}");
    rig.start();
    let status = rig.wait("it says that the API server is away", |status| {
        status.message.contains("cannot be reached")
    });
    assert_eq!(status.phase(), Phase::Recovering);
    assert!(
        status.message.contains("https://10.50.0.2:6443"),
        "{status:?}"
    );
    let refused = rig.client().allocate(allocate("db-2")).unwrap_err();
    assert_eq!(reason(&refused), Reason::Recovering);
    assert!(rig.client().release(attachment("db-1")).unwrap().known);
    rig.api.start_component(Component::ApiServer).unwrap();
    rig.wait_serving("a");
    assert_eq!(rig.add("db-2"), "10.20.1.102/24");
    rig.stop();

    // It holds connections and says nothing.
    rig.api.freeze(Component::ApiServer, true).unwrap();
    rig.start();
    rig.wait_serving("a");
    rig.api.freeze(Component::ApiServer, false).unwrap();
}

#[test]
fn missing_rights_a_missing_node_and_a_refused_configuration_are_told() {
    let mut rig = Rig::new("rack_trouble");
    rig.label(&format!("{LABEL}=a"));
    let right = Caller::in_pod(&rig.api, "berth-ipamd", "n1")
        .token()
        .to_owned();
    let words = ["create", "serviceaccount", "nobody", "-n", NAMESPACE];
    kubectl(&rig.api, &words);
    let nobody = Caller::with_token(&rig.api, "nobody", &[]);
    rig.write(&format!("{ACCOUNT}/token"), nobody.token());
    rig.start();
    let status = rig.wait("it says that it has no rights", |status| {
        status.message.contains("forbidden")
    });
    assert!(status.message.contains("kubectl apply -k"), "{status:?}");
    rig.write(&format!("{ACCOUNT}/token"), &right);
    rig.wait_serving("a");

    rig.write(
        "/run/berth/ipamd.toml",
        &format!("colour = \"red\"\n{CONFIG}"),
    );
    rig.wait_event("ConfigurationRefused", "colour");
    assert_eq!(rig.add("db-0"), "10.20.1.100/24");
    let wider = CONFIG.replace("10.20.1.100-", "10.20.1.90-");
    rig.write("/run/berth/ipamd.toml", &wider);
    rig.wait("the wider pool counts", |status| {
        let pool = status
            .pools
            .iter()
            .find(|pool| pool.pool == "external-a-n1");
        pool.is_some_and(|pool| pool.capacity == 60)
    });
    assert_eq!(rig.add("db-1"), "10.20.1.90/24");
    let mut elsewhere = allocate("db-2");
    elsewhere.interfaces[0].network = "dmz".to_owned();
    let refused = rig.client().allocate(elsewhere).unwrap_err();
    assert_eq!(reason(&refused), Reason::NoPool);
    rig.wait_event("NetworkWithoutPool", "network dmz has no pool in rack a");
    rig.stop();

    rig.start_as("n9");
    let status = rig.wait("it says that there is no such Node", |status| {
        status.message.contains("no Node n9")
    });
    assert_eq!(status.phase(), Phase::NoRack);
    assert!(status.message.contains("kubectl get nodes"), "{status:?}");
}
