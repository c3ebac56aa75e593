//! `Pool`: the addresses of one network in one rack, which the nodes of that rack share by [claims](crate::claim).
//!
//! Written by operators; the status by the controllers' leader. What one object can say of itself is refused by the API
//! server; what two pools say together is refused by the address daemons, which use none of what they refuse.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod rules;

use crate::condition::Condition;

/// What may be handed out, and how those addresses are used.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "berth.dev",
    version = "v1alpha1",
    kind = "Pool",
    plural = "pools",
    shortname = "bpool",
    category = "berth",
    namespaced,
    status = "PoolStatus",
    derive = "PartialEq",
    doc = "The addresses of one network in one rack, of one family. Nodes of the rack claim them one by one. Dual stack is two pools of one network.",
    label("app.kubernetes.io/part-of", "berth"),
    selectable = ".spec.rack",
    selectable = ".spec.network",
    validation = ("size(self.metadata.name) <= 63", "the name of a pool has at most 63 characters: the names of its claims begin with it"),
    printcolumn(name = "Network", type_ = "string", json_path = ".spec.network"),
    printcolumn(name = "Rack", type_ = "string", json_path = ".spec.rack"),
    printcolumn(name = "Subnet", type_ = "string", json_path = ".spec.subnet"),
    printcolumn(name = "Capacity", type_ = "integer", json_path = ".status.capacity", description = "Addresses that may be handed out"),
    printcolumn(name = "Claimed", type_ = "integer", json_path = ".status.claimed", description = "Addresses that a node has claimed"),
    printcolumn(name = "Bound", type_ = "integer", json_path = ".status.bound", description = "Addresses that belong to an identity"),
    printcolumn(name = "Attached", type_ = "integer", json_path = ".status.attached", description = "Addresses that a Pod has on an interface"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Gateway", type_ = "string", json_path = ".spec.gateway", priority = "1"),
    printcolumn(name = "Exhausted", type_ = "string", json_path = ".status.exhaustedAt", description = "When no address is left, at the present rate", priority = "1"),
    printcolumn(name = "Counted", type_ = "date", json_path = ".status.updateTime", description = "When the numbers were right", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::spec()))]
pub struct PoolSpec {
    /// The network, as the plugin's configuration names it. It cannot be changed.
    #[schemars(
        length(min = 1, max = 32),
        pattern(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"),
        extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "the network of a pool cannot be changed; make another pool"}])
    )]
    pub network: String,
    /// The rack that the subnet belongs to. It cannot be changed.
    #[schemars(
        length(min = 1, max = 63),
        pattern(r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$"),
        extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "the rack of a pool cannot be changed; make another pool"}])
    )]
    pub rack: String,
    /// CIDR, as configured on the rack's switch. It cannot be changed.
    #[schemars(
        length(max = 43),
        extend("x-kubernetes-validations" = rules::subnet())
    )]
    pub subnet: String,
    /// What may be handed out: `FIRST-LAST`, an address, or a CIDR. None: the whole subnet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 79)), extend("x-kubernetes-validations" = rules::ranges()))]
    pub ranges: Vec<String>,
    /// What may not be handed out, written as ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 79)), extend("x-kubernetes-validations" = rules::ranges()))]
    pub exclude: Vec<String>,
    /// The switch on this subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39), extend("x-kubernetes-validations" = rules::gateway()))]
    pub gateway: Option<String>,
    /// How long an address that was released for good is not handed out to anybody else: a duration such as `10m`
    /// (the default), `none` or `forever`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::quarantine()))]
    pub quarantine: Option<String>,
    /// Static routes of the Pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub routes: Vec<PoolRoute>,
    /// Whether addresses are probed on the wire ahead of time. Default: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<bool>,
}

/// A static route of a Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::route()))]
pub struct PoolRoute {
    /// Where to: a CIDR, never everywhere.
    #[schemars(length(max = 43))]
    pub dst: String,
    /// The next hop; the pool's gateway where nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39))]
    pub via: Option<String>,
    /// The kernel's metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub metric: Option<i64>,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65_535))]
    pub mtu: Option<i64>,
}

/// How full a pool is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// The generation of the pool that was counted.
    #[schemars(range(min = 0))]
    pub observed_generation: i64,
    /// Addresses that may be handed out. What is more than fits is as much as fits.
    #[schemars(range(min = 0))]
    pub capacity: i64,
    /// Addresses that a node has claimed.
    #[schemars(range(min = 0))]
    pub claimed: i64,
    /// Claims with a binding.
    #[schemars(range(min = 0))]
    pub bound: i64,
    /// Claims whose binding a Pod has on an interface.
    #[schemars(range(min = 0))]
    pub attached: i64,
    /// When no address is left, at the present rate; nothing: that cannot be said, or will not be soon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhausted_at: Option<Time>,
    /// When this was counted.
    pub update_time: Time,
    /// What is wrong with the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn rules_of_every_level_are_in_the_schema() {
        let definition = serde_json::to_value(Pool::crd()).unwrap();
        let version = &definition["spec"]["versions"][0];
        let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let count = |schema: &Value| schema["x-kubernetes-validations"].as_array().map(Vec::len);
        assert_eq!(count(spec), Some(9));
        for (field, rules) in [
            ("network", 1),
            ("rack", 1),
            ("subnet", 4),
            ("ranges", 2),
            ("exclude", 2),
            ("gateway", 1),
            ("quarantine", 1),
        ] {
            assert_eq!(count(&spec["properties"][field]), Some(rules), "{field}");
        }
        assert_eq!(count(&spec["properties"]["routes"]["items"]), Some(4));
    }

    #[test]
    fn pool_that_says_little_reads_back_as_it_was_written() {
        let least = json!({"network": "external", "rack": "a", "subnet": "10.20.1.0/24"});
        let spec: PoolSpec = serde_json::from_value(least.clone()).unwrap();
        assert_eq!(serde_json::to_value(&spec).unwrap(), least);
    }
}
