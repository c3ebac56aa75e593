//! What a real `berth-ipamd` does with claims at a real API server, by its own token: keeps some, writes bindings on them, gives them
//! to who asks, takes over what is fenced, and lets go what is not wanted. Other nodes are played by the test.

use proto_ipam::v1::Reason;
use serde_json::{Value, json};
use tests::wait::{holds, wait_until};
use tests_testbed::Component;

use crate::rig::{LABEL, Rig, attachment};
use crate::shipped::{NAMESPACE, kubectl};

const CONFIG: &str = r#"
socket = "/run/berth/ipamd.sock"
store = "/run/berth/store"
metrics = "unix:/run/berth/metrics.sock"
runtime = ""

[kubernetes]
warm = 2

[[rule]]
pod = "web-*"
hold = "none"
"#;

/// A rig whose daemon serves in rack a with these last bytes of `10.20.1.0/24`.
fn serving(name: &str, range: (u8, u8)) -> Rig {
    let mut rig = Rig::new(name, CONFIG);
    let pool = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool",
        "metadata": {"name": "external-a", "namespace": NAMESPACE},
        "spec": {
            "network": "external", "rack": "a", "subnet": "10.20.1.0/24",
            "ranges": [format!("10.20.1.{}-10.20.1.{}", range.0, range.1)], "gateway": "10.20.1.1",
            "quarantine": "2s", "probe": false,
        },
    });
    wait_until("the Pool is taken", || {
        let applied = rig.api.apply(&pool.to_string());
        applied.map_err(|error| format!("{error:#}"))
    });
    rig.label(&format!("{LABEL}=a"));
    rig.start();
    rig.wait_serving("a");
    rig
}

impl Rig {
    fn claims(&self) -> Vec<Value> {
        let all = self.api.kubectl_json(&["get", "claims", "-n", NAMESPACE]);
        all.unwrap()["items"].as_array().unwrap().clone()
    }

    fn claim(&self, address: &str) -> Option<Value> {
        let mut all = self.claims().into_iter();
        all.find(|claim| claim["spec"]["address"] == address)
    }

    #[track_caller]
    fn wait_claims(&self, what: &str, said: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        wait_until(what, || {
            let claims = self.claims();
            holds(said(&claims), || format!("{claims:#?}\n{}", self.log())).map(|()| claims)
        })
    }

    #[track_caller]
    fn wait_claim(&self, what: &str, address: &str, said: impl Fn(&Value) -> bool) -> Value {
        let claims = self.wait_claims(what, |claims| {
            let mut of_address = claims.iter();
            let found = of_address.find(|claim| claim["spec"]["address"] == address);
            found.is_some_and(&said)
        });
        let mut claims = claims.into_iter();
        claims
            .find(|claim| claim["spec"]["address"] == address)
            .unwrap()
    }

    fn patch(&self, address: &str, patch: &Value) {
        let name = format!("external-a.{address}");
        let patch = patch.to_string();
        kubectl(
            &self.api,
            &[
                "patch",
                "claim",
                &name,
                "-n",
                NAMESPACE,
                "--type=merge",
                "-p",
                &patch,
            ],
        );
    }

    /// A claim of another node, with the binding of a Pod that runs there or not.
    fn others_claim(&self, address: &str, pod: &str, attached: bool) {
        let claim = json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "Claim",
            "metadata": {
                "name": format!("external-a.{address}"), "namespace": NAMESPACE,
                "finalizers": ["berth.dev/claim"],
            },
            "spec": {
                "pool": "external-a", "network": "external", "rack": "a", "address": address,
                "node": "n2", "epoch": 4,
                "binding": {
                    "identity": format!("prod/{pod}"), "mac": "b6:e7:0a:14:01:99", "addresses": [address],
                    "origin": {"kind": "Pod"}, "attached": attached,
                },
            },
        });
        self.api.apply(&claim.to_string()).unwrap();
    }
}

fn bare(address: &str) -> &str {
    address.split('/').next().unwrap()
}

#[test]
fn addresses_are_claimed_ahead_and_their_bindings_follow_the_pod() {
    let mut rig = serving("claims_life", (100, 119));
    let claims = rig.wait_claims("two addresses are kept claimed", |claims| claims.len() == 2);
    for claim in &claims {
        assert_eq!(claim["spec"]["node"], "n1", "{claim:#?}");
        assert_eq!(claim["spec"]["binding"], Value::Null, "{claim:#?}");
        let annotations = &claim["metadata"]["annotations"];
        assert!(annotations["berth.dev/node-uid"].is_string(), "{claim:#?}");
    }
    let web = rig.add("web-x");
    let written = rig.wait_claim("the binding is on its claim", bare(&web), |claim| {
        claim["spec"]["binding"]["identity"] == "prod/web-x"
    });
    assert_eq!(written["spec"]["binding"]["attached"], true);
    rig.wait_claims("another one is claimed for it", |claims| claims.len() == 3);

    let sticky = rig.add("db-0");
    assert!(rig.client().release(attachment("db-0")).unwrap().known);
    rig.wait_claim("db-0 is held", bare(&sticky), |claim| {
        claim["spec"]["binding"]["attached"] == false
    });
    assert!(rig.client().release(attachment("web-x")).unwrap().known);
    rig.wait_claim("web-x is over", bare(&web), |claim| {
        claim["spec"]["binding"] == Value::Null
    });
    assert_eq!(rig.add("db-0"), sticky);

    // A restart changes nothing, with the API server away too.
    rig.stop();
    rig.api.kill(Component::ApiServer).unwrap();
    rig.start();
    rig.wait_serving("a");
    assert_eq!(rig.add("db-0"), sticky, "the same again");
    assert!(rig.client().release(attachment("db-0")).unwrap().known);
    assert_eq!(rig.add("db-0"), sticky, "a known Pod");
    rig.add("web-y");
    let refused = rig.refused("db-7");
    assert_eq!(refused.reason, Reason::Recovering);
    assert!(refused.message.contains("cannot be asked"), "{refused}");
}

#[test]
fn held_address_is_given_to_the_node_that_asks_and_an_attached_one_is_not() {
    let rig = serving("claims_give", (100, 119));
    let address = rig.add("db-0");
    let address = bare(&address);
    rig.wait_claim("it is on its claim", address, |claim| {
        claim["spec"]["binding"]["attached"] == true
    });
    rig.patch(address, &json!({"spec": {"handover": {"to": "n2"}}}));
    // The question reached it when something that came later was answered.
    let other = rig.add("web-x");
    rig.wait_claim("a later write is done", bare(&other), |claim| {
        claim["spec"]["binding"]["attached"] == true
    });
    assert_eq!(rig.claim(address).unwrap()["spec"]["node"], "n1");

    assert!(rig.client().release(attachment("db-0")).unwrap().known);
    let given = rig.wait_claim("it is given", address, |claim| {
        claim["spec"]["node"] == "n2"
    });
    assert_eq!(given["spec"]["epoch"], 2);
    assert_eq!(given["spec"]["binding"]["identity"], "prod/db-0");
    assert_eq!(given["spec"]["binding"]["attached"], false);
    assert_eq!(given["spec"]["handover"], Value::Null);
    let known = rig.client().list().unwrap();
    let bare_of = |record: &proto_ipam::v1::BindingRecord| bare(&record.address).to_owned();
    assert!(
        known.iter().all(|record| bare_of(record) != address),
        "it forgot it first"
    );
}

#[test]
fn address_on_another_node_is_asked_for_and_taken_over_only_when_it_is_fenced() {
    let rig = serving("claims_take", (100, 119));
    rig.wait_claims("some are claimed", |claims| claims.len() == 2);
    let taken: Vec<_> = rig
        .claims()
        .iter()
        .map(|it| it["spec"]["address"].clone())
        .collect();
    let free: Vec<_> = (100..120)
        .map(|last| format!("10.20.1.{last}"))
        .filter(|address| !taken.contains(&json!(address)))
        .collect();
    let [given, fenced, ..] = free.as_slice() else {
        panic!("{free:?}")
    };
    rig.others_claim(given, "db-1", false);
    rig.others_claim(fenced, "db-2", true);
    let refused = rig.refused("db-1");
    assert_eq!(refused.reason, Reason::Recovering);
    for words in [given, "on node n2", "kubectl berth fence n2"] {
        assert!(refused.to_string().contains(words), "{refused}");
    }
    // While nobody waits here it asks no more.
    rig.wait_claim("the question is withdrawn", given, |claim| {
        claim["spec"]["handover"] == Value::Null
    });
    let asked = rig.ask_until_granted("db-1", || {
        let claim = rig.claim(given).unwrap();
        if claim["spec"]["handover"]["to"] == "n1" {
            rig.patch(
                given,
                &json!({"spec": {"handover": null, "node": "n1", "epoch": 5}}),
            );
        }
    });
    assert_eq!(bare(&asked), given);
    let claim = rig.wait_claim("it is attached here", given, |claim| {
        claim["spec"]["binding"]["attached"] == true
    });
    assert_eq!(claim["spec"]["binding"]["mac"], "b6:e7:0a:14:01:99");

    let refused = rig.refused("db-2");
    assert!(
        refused.message.contains("which was asked for it"),
        "{refused}"
    );
    rig.patch(
        fenced,
        &json!({"spec": {"fenced": {"reason": "off", "by": "test", "at": "2026-01-01T00:00:00Z"}}}),
    );
    let address = rig.ask_until_granted("db-2", || {});
    assert_eq!(bare(&address), fenced);
    let claim = rig.claim(fenced).unwrap();
    assert_eq!(claim["spec"]["node"], "n1");
    assert_eq!(claim["spec"]["fenced"], Value::Null);
}

#[test]
fn released_binding_rests_and_deleted_claim_goes() {
    let rig = serving("claims_release", (100, 119));
    let address = rig.add("db-0");
    let address = bare(&address);
    let mark = json!({"spec": {"release": {"reason": "scaled in", "by": "test", "at": "2026-01-01T00:00:00Z"}}});
    rig.wait_claim("it is on its claim", address, |claim| {
        claim["spec"]["binding"]["attached"] == true
    });
    rig.patch(address, &mark);
    let declined = rig.wait_claim("the mark came too early", address, |claim| {
        claim["spec"]["release"] == Value::Null
    });
    assert_eq!(declined["spec"]["binding"]["attached"], true);
    assert!(rig.client().release(attachment("db-0")).unwrap().known);
    rig.wait_claim("it is held", address, |claim| {
        claim["spec"]["binding"]["attached"] == false
    });
    rig.patch(address, &mark);
    rig.wait_claim("it is let go", address, |claim| {
        claim["spec"]["binding"] == Value::Null && claim["spec"]["release"] == Value::Null
    });

    let other = rig.add("db-1");
    let other = bare(&other);
    assert!(rig.client().release(attachment("db-1")).unwrap().known);
    rig.wait_claim("it is held", other, |claim| {
        claim["spec"]["binding"]["attached"] == false
    });
    kubectl(
        &rig.api,
        &[
            "delete",
            "claim",
            &format!("external-a.{other}"),
            "-n",
            NAMESPACE,
            "--wait=false",
        ],
    );
    rig.wait_claims("the deleted claim goes after its quarantine", |claims| {
        claims.iter().all(|claim| {
            claim["spec"]["address"] != other
                || claim["metadata"]["deletionTimestamp"] == Value::Null
        })
    });
}

impl Rig {
    /// ADDs until one is granted; in between something is done.
    #[track_caller]
    fn ask_until_granted(&self, pod: &str, meanwhile: impl Fn() + Send) -> String {
        let client = self.client();
        let adding = std::sync::atomic::AtomicBool::new(true);
        std::thread::scope(|scope| {
            let granted = scope.spawn(|| {
                let granted = wait_until(&format!("prod/{pod} is granted"), || {
                    let granted = client.allocate(crate::rig::allocate(pod));
                    granted.map_err(|status| format!("{status:?}"))
                });
                adding.store(false, std::sync::atomic::Ordering::Relaxed);
                granted
            });
            wait_until("the ADD ended", || {
                meanwhile();
                let ended = !adding.load(std::sync::atomic::Ordering::Relaxed);
                holds(ended, || self.log())
            });
            granted.join().unwrap().interfaces[0].addresses[0]
                .address
                .clone()
        })
    }
}
