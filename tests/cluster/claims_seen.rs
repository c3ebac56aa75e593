//! What the tests see and do of claims: who holds what, what is told, who answers on the wire.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use tests_testbed::{Cluster, Output, wait_patiently};

use crate::site::{Seen, stateful_set};

/// A fence settles in half a minute, kubelet tries a sandbox again after some seconds more, a node is missed after most of a minute.
const DEADLINE: Duration = Duration::from_secs(240);

/// A claim, as far as the tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) node: String,
    /// Whose it is.
    pub(crate) identity: Option<String>,
    pub(crate) attached: bool,
    pub(crate) fenced: bool,
}

/// All claims, by address.
pub(crate) fn claims(cluster: &Cluster) -> BTreeMap<String, Claim> {
    let all = cluster.claims().unwrap();
    let claims: BTreeMap<String, Claim> = all
        .iter()
        .map(|it| {
            let (spec, binding) = (&it["spec"], &it["spec"]["binding"]);
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let claim = Claim {
                name: text(&it["metadata"]["name"]),
                address: text(&spec["address"]),
                node: text(&spec["node"]),
                identity: binding["identity"].as_str().map(str::to_owned),
                attached: binding["attached"] == true,
                fenced: !spec["fenced"].is_null(),
            };
            (claim.address.clone(), claim)
        })
        .collect();
    assert_eq!(claims.len(), all.len(), "an address has two claims");
    claims
}

/// The claims of one identity.
pub(crate) fn claims_of(cluster: &Cluster, identity: &str) -> Vec<Claim> {
    let all = claims(cluster).into_values();
    all.filter(|it| it.identity.as_deref() == Some(identity))
        .collect()
}

/// Addresses of a Pod without their prefixes, as claims have them; those that the kernel gave itself are left out.
pub(crate) fn bare(seen: &Seen) -> BTreeSet<String> {
    let addresses = seen.addresses.iter();
    addresses
        .filter_map(|it| it.split('/').next())
        .filter(|it| !it.starts_with("fe80"))
        .map(str::to_owned)
        .collect()
}

/// The Pod's IPv4 address on the external network.
pub(crate) fn external(seen: &Seen) -> String {
    let address = bare(seen).into_iter().find(|it| it.starts_with("10.20."));
    address.unwrap_or_else(|| panic!("no external address: {seen:?}"))
}

/// A `StatefulSet` whose Pods are on any node with this label.
pub(crate) fn set_where(name: &str, replicas: u32, label: &str, value: &str) -> Value {
    let mut set = stateful_set(name, replicas, "");
    set["spec"]["template"]["spec"]["nodeSelector"] = json!({label: value});
    set
}

/// A `StatefulSet` with an annotation on its Pods.
pub(crate) fn annotated(mut object: Value, annotations: &Value) -> Value {
    let template = &mut object["spec"]["template"]["metadata"];
    template["annotations"] = annotations.clone();
    object
}

/// Moves the Pods of a `StatefulSet` to a node: its controller makes them anew there.
pub(crate) fn pin(cluster: &Cluster, set: &str, node: &str) {
    let patch =
        json!({"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}}}}});
    let words = ["patch", "statefulset", set, "--type=merge", "--patch"];
    let mut all = words.to_vec();
    let patch = patch.to_string();
    all.push(&patch);
    cluster.kubectl(&all).unwrap();
}

/// Whether new Pods may come to a node.
pub(crate) fn set_cordon(cluster: &Cluster, node: &str, on: bool) {
    let word = if on { "cordon" } else { "uncordon" };
    cluster.kubectl(&[word, node]).unwrap();
}

/// Forgets a Pod whose node does not answer.
pub(crate) fn force_delete(cluster: &Cluster, pod: &str) {
    let words = ["delete", "pod", pod, "--force", "--grace-period=0"];
    cluster.kubectl(&words).unwrap();
}

/// Waits for what a look says; longer than others, since fences and lost nodes take their time.
pub(crate) fn wait_long<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    wait_patiently(what, DEADLINE, || look().map_err(tests_testbed::Pending)).unwrap()
}

/// What Events of an object say, or of any with `None`.
fn told(cluster: &Cluster, object: Option<&str>) -> Vec<String> {
    let words = ["get", "events", "--all-namespaces"];
    let events = cluster.kubectl_json(&words).unwrap();
    let events = events["items"].as_array().unwrap().iter();
    let of = events.filter(|it| object.is_none_or(|name| it["involvedObject"]["name"] == name));
    of.map(|it| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{}: {}", text(&it["reason"]), text(&it["message"]))
    })
    .collect()
}

/// Waits until an Event of an object (of any with `None`) has all these words; what it says.
pub(crate) fn wait_told(cluster: &Cluster, object: Option<&str>, words: &[&str]) -> String {
    let what = format!("an Event of {object:?} with {words:?}");
    wait_long(&what, || {
        let all = told(cluster, object);
        let found = all.iter().find(|it| words.iter().all(|w| it.contains(w)));
        found.cloned().ok_or_else(|| all.join("\n"))
    })
}

/// Asks for an address on a rack's external network, twice, as its switch; the MAC of each answer.
pub(crate) fn asked_on_the_wire(cluster: &Cluster, rack: &str, address: &str) -> Vec<String> {
    let tor = cluster.world().rack(rack).tor();
    let words = ["arping", "-b", "-c", "2", "-I", "external", address];
    let said = tor.exec(&words).unwrap();
    let lines = said.stdout.lines().filter(|it| it.contains("reply from"));
    lines
        .filter_map(|line| {
            let (_, rest) = line.split_once('[')?;
            Some(rest.split_once(']')?.0.to_lowercase())
        })
        .collect()
}

/// Asserts that exactly one machine of a rack answers for an address, with this MAC.
#[track_caller]
pub(crate) fn assert_answered_once(cluster: &Cluster, rack: &str, address: &str, mac: &str) {
    let macs = asked_on_the_wire(cluster, rack, address);
    assert_eq!(macs, [mac, mac], "{address}: two questions");
}

/// Runs `kubectl berth` and asserts that it succeeds; what it said.
#[track_caller]
pub(crate) fn berth(cluster: &Cluster, words: &[&str]) -> String {
    let said = cluster.kubectl_berth(words).unwrap();
    said.ok().unwrap()
}

/// Waits until `kubectl berth check` finds nothing.
pub(crate) fn wait_consistent(cluster: &Cluster) {
    wait_long("kubectl berth check finding nothing", || {
        let said: Output = cluster.kubectl_berth(&["check"]).unwrap();
        if said.success() {
            return Ok(());
        }
        Err(said.stdout + &said.stderr)
    });
}

/// How often the API server was asked to write claims, by verb and answer: `POST 201`, `POST 409`, `PUT 200`.
pub(crate) fn claim_writes(cluster: &Cluster) -> BTreeMap<String, u64> {
    let metrics = cluster.kubectl(&["get", "--raw", "/metrics"]).unwrap();
    let mut writes = BTreeMap::new();
    let lines = metrics.lines();
    for line in lines.filter(|it| it.starts_with("apiserver_request_total{")) {
        let value = |key: &str| {
            let (_, rest) = line.split_once(&format!("{key}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let is_claims = value("group").as_deref() == Some("berth.dev")
            && value("resource").as_deref() == Some("claims");
        let verb = value("verb").unwrap_or_default();
        if !is_claims || ["GET", "LIST", "WATCH"].contains(&&*verb) {
            continue;
        }
        let count = line
            .rsplit(' ')
            .next()
            .and_then(|it| it.parse::<f64>().ok());
        let key = format!("{verb} {}", value("code").unwrap_or_default());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count that is written as a float"
        )]
        let count = count.unwrap() as u64;
        *writes.entry(key).or_default() += count;
    }
    writes
}

/// Deletes a `StatefulSet` and waits for the end of its Pods, so that the next test finds the nodes empty.
pub(crate) fn remove_set(cluster: &Cluster, set: &str) {
    let words = [
        "delete",
        "statefulset",
        set,
        "--cascade=foreground",
        "--timeout=120s",
    ];
    cluster.kubectl(&words).unwrap();
}
