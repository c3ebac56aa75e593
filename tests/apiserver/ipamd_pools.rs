//! Pools are objects that a real `berth-ipamd` follows: made, changed, refused and removed while it runs and has addresses of them.
//!
//! What one Pool can say of itself is refused by the API server and tried with the definitions; here is what two say together.

use proto_ipam::refusal::Refusal;
use proto_ipam::v1::{self, Phase, Reason};
use serde_json::{Value, json};
use tests::daemons::reason;
use tests::wait::{holds, wait_until};
use tests_testbed::Component;

use crate::rig::{LABEL, Rig, allocate, attachment};
use crate::shipped::{NAMESPACE, kubectl};

const CONFIG: &str = r#"
socket = "/run/berth/ipamd.sock"
store = "/run/berth/store"
metrics = "unix:/run/berth/metrics.sock"

[kubernetes]
"#;

/// A Pool of network `external` with these last bytes of the rack's subnet: `10.20.1.0/24` in rack a, `10.20.2.0/24` elsewhere.
fn pool(name: &str, rack: &str, range: (u8, u8)) -> Value {
    let net = if rack == "a" { "10.20.1" } else { "10.20.2" };
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "network": "external", "rack": rack, "subnet": format!("{net}.0/24"),
            "ranges": [format!("{net}.{}-{net}.{}", range.0, range.1)], "gateway": format!("{net}.1"),
            "quarantine": "1s", "probe": false,
        },
    })
}

impl Rig {
    /// Applies a Pool. The API server may have heard of the Kind just now.
    #[track_caller]
    fn apply_pool(&self, pool: &Value) {
        wait_until("the Pool is taken", || {
            let applied = self.api.apply(&pool.to_string());
            applied.map_err(|error| format!("{error:#}"))
        });
    }

    fn delete_pool(&self, name: &str) {
        kubectl(&self.api, &["delete", "pool", name, "-n", NAMESPACE]);
    }

    /// Waits until exactly these pools are used, with so many addresses each.
    #[track_caller]
    fn wait_pools(&self, wanted: &[(&str, u64)]) -> v1::StatusResponse {
        self.wait(&format!("its pools are {wanted:?}"), |status| {
            let pools = status.pools.iter();
            let mut found: Vec<_> = pools.map(|p| (p.pool.as_str(), p.capacity)).collect();
            found.sort_unstable();
            found == wanted
        })
    }

    /// An ADD, as often as it is told to try again because nothing is claimed yet; its address.
    #[track_caller]
    fn add_claimed(&self, pod: &str) -> String {
        wait_until(&format!("prod/{pod} has an address"), || {
            let granted = self.client().allocate(allocate(pod));
            match granted {
                Ok(granted) => Ok(granted.interfaces[0].addresses[0].address.clone()),
                Err(status) => match Refusal::from_status(&status) {
                    Some(refusal) if refusal.reason == Reason::Recovering => {
                        Err(format!("{refusal}\n{}", self.log()))
                    }
                    _ => panic!("{status:?}\n{}", self.log()),
                },
            }
        })
    }

    /// CHECK of a Pod that has this address.
    fn check(&self, pod: &str, address: &str) {
        let check = v1::CheckRequest {
            attachment: Some(attachment(pod)),
            interfaces: vec![v1::CheckInterface {
                ifname: "eth0".to_owned(),
                mac: String::new(),
                addresses: vec![address.to_owned()],
            }],
        };
        self.client().check(check).unwrap();
    }

    /// Waits until the metrics have this line.
    #[track_caller]
    fn wait_metric(&self, line: &str) {
        let words = [
            "curl",
            "-s",
            "--unix-socket",
            "/run/berth/metrics.sock",
            "http://ipamd/metrics",
        ];
        wait_until(line, || {
            let said = self.api.machine().exec(&words);
            let said = said.map_err(|error| format!("{error:#}"))?;
            let has = said.stdout.lines().any(|found| found == line);
            holds(has, || said.stdout.clone() + &said.stderr)
        });
    }
}

#[test]
fn pools_are_followed_and_a_refused_one_takes_no_other_with_it() {
    let mut rig = Rig::new("pools_followed", CONFIG);
    rig.label(&format!("{LABEL}=a"));
    rig.start();
    let status = rig.wait("it says that there is no pool", |status| {
        status.phase() == Phase::NoRack
    });
    let advice = "(`kubectl -n berth-system get pools` shows those that exist), or correct the node's rack: \
                  `kubectl label node n1 topology.berth.dev/rack=RACK --overwrite`";
    for words in ["no network has a pool in rack a", "create a Pool", advice] {
        assert!(status.message.contains(words), "{words}: {status:?}");
    }
    rig.wait_event("RackWithoutPool", &status.message);
    let refused = rig.refused("web-x");
    assert_eq!(refused.reason, Reason::NoPool);
    for words in [
        "network external has no pool in rack a",
        "create a Pool of network external",
        advice,
    ] {
        let said = refused.to_string();
        assert!(said.contains(words), "{words}: {said}");
    }

    rig.wait_event("NetworkWithoutPool", &refused.to_string());

    rig.apply_pool(&pool("external-b", "b", (100, 149)));
    rig.apply_pool(&pool("external-a", "a", (100, 149)));
    rig.wait_serving("a");
    rig.wait_pools(&[("external-a", 50)]);
    let mut elsewhere = allocate("web-x");
    elsewhere.interfaces[0].network = "dmz".to_owned();
    let no_network = rig.client().allocate(elsewhere).unwrap_err();
    assert_eq!(reason(&no_network), Reason::NoPool);
    let words = "create a Pool of network dmz and rack a";
    let said = Refusal::from_status(&no_network).unwrap().to_string();
    assert!(said.contains(words), "{said}");

    rig.apply_pool(&pool("external-a", "a", (90, 149)));
    rig.wait_pools(&[("external-a", 60)]);
    rig.apply_pool(&pool("external-a-more", "a", (140, 159)));
    rig.wait_event(
        "PoolRefused",
        "pool external-a-more: ranges: 10.20.1.140 is also in pool external-a",
    );
    rig.wait_metric("berth_ipamd_refused_pools 1");
    let served = rig.wait_pools(&[("external-a", 60)]);
    assert_eq!(served.phase(), Phase::Serving);
    assert!(rig.add_claimed("web-y").starts_with("10.20.1."));

    rig.apply_pool(&pool("external-a-more", "a", (150, 159)));
    rig.wait_pools(&[("external-a", 60), ("external-a-more", 10)]);
    rig.wait_metric("berth_ipamd_refused_pools 0");
    // The older one goes, and what was kept from the younger by it is its own.
    rig.apply_pool(&pool("external-a-more", "a", (149, 159)));
    rig.wait_metric("berth_ipamd_refused_pools 1");
    rig.wait_pools(&[("external-a", 60), ("external-a-more", 10)]);
    assert!(rig.client().release(attachment("web-y")).unwrap().known);
    rig.delete_pool("external-a");
    rig.wait_pools(&[("external-a-more", 11)]);
    rig.wait_metric("berth_ipamd_refused_pools 0");
    assert_eq!(rig.events("RackWithoutPool").len(), 1);
}

#[test]
fn removed_or_shrunk_pool_goes_on_as_it_was_while_an_address_of_it_is_in_use() {
    let mut rig = Rig::new("pools_in_use", CONFIG);
    rig.label(&format!("{LABEL}=a"));
    rig.apply_pool(&pool("external-a", "a", (100, 101)));
    rig.start();
    rig.wait_serving("a");
    let address = rig.add_claimed("web-x");
    rig.apply_pool(&pool("external-a", "a", (200, 219)));
    let host = address.trim_end_matches("/24");
    let words = format!(
        "pool external-a: its change would leave 1 addresses that are in use here in no pool, the first is {host} of prod/web-x \
         (network external): it goes on as it was"
    );
    rig.wait_event("PoolRefused", &words);
    rig.wait_pools(&[("external-a", 2)]);
    rig.check("web-x", &address);
    rig.delete_pool("external-a");
    rig.apply_pool(&pool("external-new", "a", (150, 159)));
    rig.wait_pools(&[("external-a", 2), ("external-new", 10)]);
    wait_until("it logs that the pool was deleted", || {
        let told = "external-a: that it was deleted";
        holds(rig.log().contains(told), || rig.log())
    });
    rig.stop();
    rig.start();
    rig.wait_pools(&[("external-a", 2), ("external-new", 10)]);
    rig.check("web-x", &address);
    assert!(rig.client().release(attachment("web-x")).unwrap().known);
    rig.wait_pools(&[("external-new", 10)]);
    rig.wait_metric("berth_ipamd_refused_pools 0");
}

#[test]
fn known_pools_outlive_the_api_server_and_unknown_ones_are_awaited() {
    let mut rig = Rig::new("pools_away", CONFIG);
    rig.label(&format!("{LABEL}=a"));
    rig.apply_pool(&pool("external-a", "a", (100, 149)));
    rig.start();
    rig.wait_serving("a");
    let address = rig.add_claimed("db-0");
    rig.stop();

    rig.api.kill(Component::ApiServer).unwrap();
    rig.start();
    rig.wait_serving("a");
    rig.wait_pools(&[("external-a", 50)]);
    assert_eq!(rig.add_claimed("db-0"), address, "the same ADD again");
    rig.check("db-0", &address);
    rig.stop();

    // A node that cannot believe what it remembers.
    rig.write("/run/berth/store/pools", "0000beef {\"pools\":[]}");
    rig.start();
    let status = rig.wait("it says that the pools are not known", |status| {
        status.message.contains("the pools of rack a")
            && status.message.contains("cannot be reached")
    });
    assert_eq!(status.phase(), Phase::Recovering);
    let refused = rig.client().allocate(allocate("db-1")).unwrap_err();
    assert_eq!(reason(&refused), Reason::Recovering);
    rig.check("db-0", &address);
    rig.api.start_component(Component::ApiServer).unwrap();
    rig.wait_serving("a");
    rig.wait_pools(&[("external-a", 50)]);
    assert!(rig.events("RackWithoutPool").is_empty());

    let sections = "[[pool]]\nname = \"x\"\nnode = \"n1\"\nrack = \"a\"\nnetwork = \"external\"\nsubnet = \"10.20.1.0/24\"\n";
    rig.configure(&format!("{CONFIG}{sections}"));
    rig.wait_event(
        "ConfigurationRefused",
        "where pools come from changes from the cluster's Pool objects to [[pool]] sections",
    );
    rig.wait_pools(&[("external-a", 50)]);
}

#[test]
fn relabelled_node_takes_the_new_racks_pools_and_keeps_the_old_ones_as_long_as_they_are_in_use() {
    let mut rig = Rig::new("pools_moved", CONFIG);
    rig.label(&format!("{LABEL}=a"));
    rig.apply_pool(&pool("external-a", "a", (100, 149)));
    rig.apply_pool(&pool("external-b", "b", (100, 119)));
    rig.start();
    rig.wait_serving("a");
    let old = rig.add_claimed("web-x");
    rig.label(&format!("{LABEL}=b"));
    rig.wait_serving("b");
    rig.wait_pools(&[("external-a", 50), ("external-b", 20)]);
    rig.check("web-x", &old);
    let new = rig.add_claimed("web-y");
    assert!(new.starts_with("10.20.2."), "{new}");
    assert!(
        rig.events("RackWithoutPool").is_empty(),
        "not even in between"
    );
    assert!(rig.events("PoolRefused").is_empty(), "nothing is wrong");

    rig.label(&format!("{LABEL}=c"));
    let status = rig.wait("it says that rack c has no pool", |status| {
        status.message.contains("no network has a pool in rack c")
    });
    assert_eq!(status.phase(), Phase::NoRack);
    rig.check("web-x", &old);
    rig.label(&format!("{LABEL}=b"));
    rig.wait_serving("b");
    assert!(rig.client().release(attachment("web-x")).unwrap().known);
    rig.wait_pools(&[("external-b", 20)]);
}
