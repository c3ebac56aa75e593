//! Where traffic goes, as `EndpointSlice`s say: which Pods the Services of their namespace send to. Pure.
//!
//! **Always holds:** what a slice does not say counts as traffic (the API's own rule for conditions that are absent). An endpoint is a
//! Pod's by its name and UID; one that names no Pod, which somebody wrote by hand, by the address.

use std::collections::HashMap;
use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::world::Key;

/// Label of a slice: the Service it is of.
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// An `EndpointSlice` as it is read: no ports, zones or hints.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = EndpointSlice)]
pub(crate) struct LeanSlice {
    metadata: ObjectMeta,
    #[serde(default)]
    endpoints: Option<Vec<LeanEndpoint>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanEndpoint {
    #[serde(default)]
    addresses: Option<Vec<String>>,
    #[serde(default)]
    conditions: LeanConditions,
    #[serde(default)]
    target_ref: Option<LeanTarget>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LeanConditions {
    ready: Option<bool>,
    serving: Option<bool>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct LeanTarget {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: String,
}

/// An `EndpointSlice` as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceView {
    /// Its Service; none, where somebody wrote the slice for something else.
    pub(crate) service: Option<String>,
    endpoints: Vec<EndpointView>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct EndpointView {
    of: Target,
    gets_traffic: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// Name and UID; the latter may be empty.
    Pod(String, String),
    Addresses(Vec<IpAddr>),
}

impl From<&LeanSlice> for SliceView {
    fn from(slice: &LeanSlice) -> Self {
        let labels = slice.metadata.labels.as_ref();
        let endpoints = slice.endpoints.iter().flatten();
        Self {
            service: labels.and_then(|labels| labels.get(SERVICE_LABEL)).cloned(),
            endpoints: endpoints.map(EndpointView::from).collect(),
        }
    }
}

impl From<&LeanEndpoint> for EndpointView {
    fn from(endpoint: &LeanEndpoint) -> Self {
        let conditions = &endpoint.conditions;
        let pod = endpoint.target_ref.as_ref().filter(|it| it.kind == "Pod");
        let addresses = endpoint.addresses.iter().flatten();
        Self {
            of: match pod {
                Some(pod) => Target::Pod(pod.name.clone(), pod.uid.clone()),
                None => Target::Addresses(addresses.filter_map(|it| it.parse().ok()).collect()),
            },
            // A Service with publishNotReadyAddresses says `ready` of every Pod, for ever; `serving` is then what is known of it.
            gets_traffic: conditions.ready != Some(false) && conditions.serving != Some(false),
        }
    }
}

/// A Pod, as endpoints tell it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend<'a> {
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
    /// Its UID.
    pub(crate) uid: &'a str,
    /// Its addresses.
    pub(crate) addresses: &'a [IpAddr],
}

/// What the slices say of a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sight {
    /// It is in none.
    Nowhere,
    /// In one or more, and none of them sends traffic there.
    Listed,
    /// Traffic goes there.
    Served,
}

/// What some slices say, to be asked of many Pods.
#[derive(Debug, Default)]
pub(crate) struct Traffic<'a> {
    pods: HashMap<(&'a str, &'a str), Vec<(&'a str, Sight)>>,
    addresses: HashMap<(&'a str, IpAddr), Sight>,
}

impl<'a> Traffic<'a> {
    /// Of these slices, each with its namespace and name.
    pub(crate) fn of(slices: impl IntoIterator<Item = (&'a Key, &'a SliceView)>) -> Self {
        let mut traffic = Self::default();
        for ((namespace, _), slice) in slices {
            for endpoint in &slice.endpoints {
                let sight = endpoint.sight();
                match &endpoint.of {
                    Target::Pod(name, uid) => {
                        let key = (namespace.as_str(), name.as_str());
                        traffic.pods.entry(key).or_default().push((uid, sight));
                    }
                    Target::Addresses(addresses) => {
                        for address in addresses {
                            let key = (namespace.as_str(), *address);
                            let known = traffic.addresses.entry(key).or_insert(sight);
                            *known = sight.max(*known);
                        }
                    }
                }
            }
        }
        traffic
    }

    /// Of this Pod.
    pub(crate) fn sight(&self, pod: Backend<'_>) -> Sight {
        let named = self.pods.get(&(pod.namespace, pod.name));
        let named = named.into_iter().flatten();
        let named = named.filter(|(uid, _)| uid.is_empty() || *uid == pod.uid);
        let by_name = named.map(|(_, sight)| *sight);
        let by_address = pod.addresses.iter();
        let by_address = by_address.filter_map(|it| self.addresses.get(&(pod.namespace, *it)));
        let all = by_name.chain(by_address.copied());
        all.max().unwrap_or(Sight::Nowhere)
    }
}

impl EndpointView {
    const fn sight(&self) -> Sight {
        if self.gets_traffic {
            Sight::Served
        } else {
            Sight::Listed
        }
    }
}

impl SliceView {
    /// The names of the Pods that it names.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().filter_map(|it| match &it.of {
            Target::Pod(name, _) => Some(name.as_str()),
            Target::Addresses(_) => None,
        })
    }

    /// Whether there are addresses in it of which it names no Pod.
    pub(crate) fn has_addresses(&self) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|it| matches!(it.of, Target::Addresses(_)))
    }

    /// Whether it says anything of this Pod.
    pub(crate) fn names(&self, pod: Backend<'_>) -> bool {
        self.endpoints.iter().any(|endpoint| match &endpoint.of {
            Target::Pod(name, _) => name == pod.name,
            Target::Addresses(addresses) => addresses.iter().any(|it| pod.addresses.contains(it)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ADDRESS: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5))];

    fn slice(endpoints: &Value) -> SliceView {
        let slice = json!({
            "metadata": {"name": "shop-x", "namespace": "prod", "labels": {SERVICE_LABEL: "shop"}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 80}],
        });
        (&serde_json::from_value::<LeanSlice>(slice).unwrap()).into()
    }

    fn endpoint(conditions: &Value) -> Value {
        json!({
            "addresses": ["10.0.0.5"], "conditions": conditions,
            "targetRef": {"kind": "Pod", "name": "shop-0", "uid": "u1", "namespace": "prod"},
        })
    }

    fn pod() -> Backend<'static> {
        Backend {
            namespace: "prod",
            name: "shop-0",
            uid: "u1",
            addresses: &ADDRESS,
        }
    }

    fn sight(pod: Backend<'_>, slices: &[Value]) -> Sight {
        let named = slices.iter().enumerate();
        let slices = named.map(|(n, it)| (("prod".to_owned(), n.to_string()), slice(it)));
        let slices: Vec<_> = slices.collect();
        Traffic::of(slices.iter().map(|(key, slice)| (key, slice))).sight(pod)
    }

    #[test]
    fn traffic_goes_where_a_slice_does_not_say_otherwise() {
        use Sight::{Listed, Served};
        for (conditions, seen) in [
            (json!({"ready": true, "serving": true}), Served),
            (json!({"ready": false, "serving": false}), Listed),
            (json!({}), Served),
            (json!({"ready": null}), Served),
            // Being deleted: nothing new is sent there.
            (
                json!({"ready": false, "serving": true, "terminating": true}),
                Listed,
            ),
            // A Service that publishes addresses that are not ready.
            (json!({"ready": true, "serving": false}), Listed),
        ] {
            let slices = [json!([endpoint(&conditions)])];
            assert_eq!(sight(pod(), &slices), seen, "{conditions}");
        }
        assert_eq!(sight(pod(), &[]), Sight::Nowhere);
        assert_eq!(sight(pod(), &[Value::Null]), Sight::Nowhere);
    }

    #[test]
    fn one_service_that_sends_is_enough() {
        let (yes, no) = (
            endpoint(&json!({"ready": true})),
            endpoint(&json!({"ready": false})),
        );
        let slices = [json!([no.clone()]), json!([yes, no])];
        assert_eq!(sight(pod(), &slices), Sight::Served);
        assert_eq!(sight(pod(), &slices[..1]), Sight::Listed);
    }

    #[test]
    fn an_endpoint_is_of_the_pod_it_names_and_else_of_the_address() {
        let ready = json!({"ready": true});
        let named = [json!([endpoint(&ready)])];
        // The Pod that had this name before.
        let earlier = Backend { uid: "u0", ..pod() };
        assert_eq!(sight(earlier, &named), Sight::Nowhere);
        let elsewhere = Backend {
            namespace: "test",
            ..pod()
        };
        assert_eq!(sight(elsewhere, &named), Sight::Nowhere);
        // Another Pod has the address now.
        let namesake = Backend {
            name: "shop-1",
            ..pod()
        };
        assert_eq!(sight(namesake, &named), Sight::Nowhere);

        let by_hand = json!([{"addresses": ["10.0.0.5"], "conditions": ready}]);
        assert_eq!(
            sight(earlier, std::slice::from_ref(&by_hand)),
            Sight::Served
        );
        let other = Backend {
            addresses: &[],
            ..pod()
        };
        assert_eq!(sight(other, std::slice::from_ref(&by_hand)), Sight::Nowhere);
        assert!(slice(&by_hand).names(pod()) && !slice(&by_hand).names(other));
        assert!(slice(&named[0]).names(other) && !slice(&named[0]).names(namesake));
    }

    #[test]
    fn a_slice_is_of_a_service() {
        assert_eq!(slice(&json!([])).service.as_deref(), Some("shop"));
    }
}
