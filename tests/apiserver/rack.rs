//! The rack of a node is what its label says: read by a real `berth-ipamd` with the token of its Pod, as in a cluster.
//!
//! Nothing but the API server is there: the daemon runs in its machine, is asked by its socket, and no Pod is wired.

use proto_ipam::v1::{self, Phase, Reason};
use tests::daemons::reason;
use tests_testbed::Component;

use crate::rig::{ACCOUNT, LABEL, Rig, allocate, attachment};
use crate::shipped::{Caller, NAMESPACE, kubectl};

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

#[test]
fn missing_label_is_told_everywhere_with_the_command_and_served_when_it_is_set() {
    let mut rig = Rig::new("rack_missing", CONFIG);
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
    let mut rig = Rig::new("rack_moved", CONFIG);
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
    let mut rig = Rig::new("rack_away", CONFIG);
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
    let mut rig = Rig::new("rack_trouble", CONFIG);
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

    rig.configure(&format!("colour = \"red\"\n{CONFIG}"));
    rig.wait_event("ConfigurationRefused", "colour");
    assert_eq!(rig.add("db-0"), "10.20.1.100/24");
    let wider = CONFIG.replace("10.20.1.100-", "10.20.1.90-");
    rig.configure(&wider);
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
