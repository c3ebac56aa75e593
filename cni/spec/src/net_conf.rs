//! The configuration of Berth as a main plugin: the networks of a node and how each is plugged in.
//!
//! Addresses and gateways come from ipamd. A network's `routes` are the only exception: static routes of this node's
//! Pods on top of the pool's, by the pool's gateway unless they name another next hop.

use std::net::IpAddr;

use ipnet::IpNet;
use proto_ids::{IfName, NetworkName, Route};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::Object;
use crate::{Daemon, Document, ParseConfError};

/// A configuration of `"type": "berth"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConf {
    /// How to reach ipamd.
    pub daemon: Daemon,
    /// `serviceCidrs`: routed from the Pod to its node.
    pub service_cidrs: Vec<IpNet>,
    /// `networks`, in order; at least one.
    pub networks: Vec<Network>,
    /// `"bandwidth": "chained"`: the operator says that a chained plugin limits the rates.
    pub bandwidth_is_chained: bool,
}

/// One network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// `name`
    pub name: NetworkName,
    /// `uplink`: the node's NIC.
    pub uplink: IfName,
    /// `bridge`; `None`: derived from the uplink's name, or the bridge it is in.
    pub bridge: Option<IfName>,
    /// `mode`, else the top level's; `None`: existing where the uplink is in a bridge already, else plain.
    pub mode: Option<UplinkMode>,
    /// `vlan` and `vlanMode`.
    pub vlan: Option<(u16, VlanMode)>,
    /// `mtu` in bytes; `None`: the uplink's.
    pub mtu: Option<u32>,
    /// `hairpin`: frames may leave by the port they came from.
    pub hairpin: bool,
    /// `isolated`: no talk to other isolated ports of the bridge.
    pub isolated: bool,
    /// `default`: the Pod's default routes leave here.
    pub default: bool,
    /// `routes`: static routes besides the pool's.
    pub routes: Vec<Route>,
    /// `nodeReach` and `nodeAddresses`.
    pub node_reach: NodeReach,
}

/// Whether node and Pod reach each other without the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeReach {
    /// No host routes.
    Off,
    /// For the node's own addresses as they are found at the ADD.
    Found,
    /// For these addresses of the node.
    Named(Vec<IpAddr>),
}

/// How an uplink becomes a port of the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UplinkMode {
    /// An operator made the bridge: it is checked, never changed.
    Existing,
    /// The NIC has no addresses.
    Plain,
    /// The NIC's addresses move to the bridge.
    TakeOver,
}

/// How a VLAN is separated on the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VlanMode {
    /// A sub-interface of the uplink, with a bridge of its own.
    #[default]
    SubInterface,
    /// A VLAN-filtering bridge.
    Filtering,
}

const NETWORK_KEYS: &[&str] = &[
    "name",
    "uplink",
    "bridge",
    "mode",
    "vlan",
    "vlanMode",
    "mtu",
    "hairpin",
    "isolated",
    "default",
    "routes",
    "nodeReach",
    "nodeAddresses",
];
const ROUTE_KEYS: &[&str] = &["dst", "via", "metric", "mtu"];
/// Smallest MTU that IPv4 may have (RFC 791); what IPv6 needs, the pool's family decides.
const MTU_BYTES: std::ops::RangeInclusive<u32> = 68..=65535;

impl NetConf {
    /// Reads the configuration of the main plugin.
    ///
    /// # Errors
    /// When a value makes no sense, or a network holds an unknown key.
    pub fn parse(document: &Document) -> Result<Self, ParseConfError> {
        let root = document.root();
        let mode: Option<UplinkMode> = root.typed("mode")?;
        let list = root.list("networks")?;
        if list.is_empty() {
            return Err(ParseConfError::value("networks", "is missing or empty"));
        }
        let mut networks: Vec<Network> = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let object = Object::of(value, format!("networks[{index}]"))?;
            let network = network(&object, mode)?;
            if networks.iter().any(|other| other.name == network.name) {
                return Err(object.value_error("name", format!("{} is there twice", network.name)));
            }
            if network.default && networks.iter().any(|other| other.default) {
                return Err(object.value_error("default", "another network is the default already"));
            }
            networks.push(network);
        }
        let service_cidrs: Vec<IpNet> = root
            .typed::<Vec<IpNet>>("serviceCidrs")?
            .unwrap_or_default()
            .iter()
            .map(IpNet::trunc)
            .collect();
        if !service_cidrs.is_empty() && networks.iter().all(|n| n.node_reach == NodeReach::Off) {
            return Err(ParseConfError::value(
                "serviceCidrs",
                "need a network with nodeReach: Pods reach Services through their node",
            ));
        }
        Ok(Self {
            daemon: document.daemon()?,
            service_cidrs,
            networks,
            bandwidth_is_chained: bandwidth_is_chained(&root)?,
        })
    }

    /// The network of this name.
    pub fn network(&self, name: &NetworkName) -> Option<&Network> {
        self.networks.iter().find(|network| network.name == *name)
    }
}

fn bandwidth_is_chained(root: &Object<'_>) -> Result<bool, ParseConfError> {
    match root.get("bandwidth").map(Value::as_str) {
        None => Ok(false),
        Some(Some("chained")) => Ok(true),
        Some(_) => Err(root.value_error("bandwidth", "is not \"chained\"")),
    }
}

fn network(
    object: &Object<'_>,
    default_mode: Option<UplinkMode>,
) -> Result<Network, ParseConfError> {
    object.only(NETWORK_KEYS)?;
    let mode: Option<UplinkMode> = object.typed("mode")?;
    let mtu: Option<u32> = object.typed("mtu")?;
    if mtu.is_some_and(|mtu| !MTU_BYTES.contains(&mtu)) {
        return Err(object.value_error("mtu", "is not between 68 and 65535 bytes"));
    }
    Ok(Network {
        name: object.required("name")?,
        uplink: object.required("uplink")?,
        bridge: object.parsed("bridge")?,
        mode: mode.or(default_mode),
        vlan: vlan(object)?,
        mtu,
        hairpin: object.typed("hairpin")?.unwrap_or_default(),
        isolated: object.typed("isolated")?.unwrap_or_default(),
        default: object.typed("default")?.unwrap_or_default(),
        routes: routes(object)?,
        node_reach: node_reach(object)?,
    })
}

fn vlan(object: &Object<'_>) -> Result<Option<(u16, VlanMode)>, ParseConfError> {
    let mode: Option<VlanMode> = object.typed("vlanMode")?;
    match (object.typed::<u16>("vlan")?, mode) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(object.value_error("vlanMode", "needs a vlan")),
        (Some(id @ 1..=4094), mode) => Ok(Some((id, mode.unwrap_or_default()))),
        (Some(_), _) => Err(object.value_error("vlan", "is not between 1 and 4094")),
    }
}

fn routes(object: &Object<'_>) -> Result<Vec<Route>, ParseConfError> {
    let mut routes = Vec::new();
    for (index, value) in object.list("routes")?.iter().enumerate() {
        let route = Object::of(value, format!("{}[{index}]", object.place("routes")))?;
        route.only(ROUTE_KEYS)?;
        let dst: IpNet = route.required("dst")?;
        let via: Option<IpAddr> = route.parsed("via")?;
        if dst.prefix_len() == 0 {
            return Err(route.value_error(
                "dst",
                "is a default route: say \"default\": true in the network instead",
            ));
        }
        if via.is_some_and(|via| via.is_ipv4() != dst.addr().is_ipv4()) {
            return Err(route.value_error("via", "is of another family than dst"));
        }
        routes.push(Route {
            dst: dst.trunc(),
            via,
            metric: route.typed("metric")?,
            mtu: route.typed("mtu")?,
        });
    }
    Ok(routes)
}

fn node_reach(object: &Object<'_>) -> Result<NodeReach, ParseConfError> {
    let on: bool = object.typed("nodeReach")?.unwrap_or(true);
    let named: Option<Vec<IpAddr>> = object.typed("nodeAddresses")?;
    match (on, named) {
        (false, None) => Ok(NodeReach::Off),
        (true, None) => Ok(NodeReach::Found),
        (true, Some(named)) if !named.is_empty() => Ok(NodeReach::Named(named)),
        (true, Some(_)) => Err(object.value_error(
            "nodeAddresses",
            "is empty: leave it out, or say \"nodeReach\": false",
        )),
        (false, Some(_)) => {
            Err(object.value_error("nodeAddresses", "does nothing with \"nodeReach\": false"))
        }
    }
}

#[cfg(test)]
mod tests;
