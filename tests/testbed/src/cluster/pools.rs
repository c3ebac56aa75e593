//! Where the addresses of a cluster's Pods come from: `Pool` objects of whole racks, of which nodes claim what they need, or parts of each
//! rack that are written down for each node.
//!
//! Parts are in the one `ConfigMap` that all nodes read and change when nodes come and go; objects are there before the first node is.

use std::{fmt::Write as _, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Cluster,
    build::find,
    overlay::{NAMESPACE, POOLS, config_map},
};
use crate::{
    address::{Net, RackAddresses},
    ipamd::{IpamdConfig, Owner},
    kubelet::RACK_LABEL,
    wait::{Pending, wait_patiently},
};

/// The first last byte that Pods get. Nodes have those before, outside hosts those from 240.
const FIRST: u8 = 60;

/// How many addresses a node's Pods share, per network, where each node has its own; five nodes in a rack have room.
const SHARE: u8 = 36;

/// How many nodes of a rack have addresses for Pods.
pub const NODES_PER_RACK: u8 = 5;

/// A new kind of object is served within a second or two.
const SERVED_DEADLINE: Duration = Duration::from_secs(60);

/// How the nodes of a cluster come by the addresses that they hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Each has its own part, in the file of all.
    Parts,
    /// They claim addresses of their rack's `Pool` objects.
    Claims,
}

impl Cluster {
    /// What `ipamd.toml` says: pools of every node of the cluster, or that there are none because they are objects.
    ///
    /// # Errors
    /// A node is not known.
    pub fn pools(&self) -> Result<String> {
        let mut text = format!("[kubernetes]\nrack_label = \"{RACK_LABEL}\"\n");
        if self.sharing == Sharing::Claims {
            return Ok(text);
        }
        for (name, member) in &self.members {
            let node = find(&self.world, name)?;
            let first = FIRST + member.share * SHARE;
            IpamdConfig::of(node)
                .range(first, first + SHARE - 1)
                .write_pools(&mut text, Owner::Node);
        }
        // A Pod with an ordinal keeps its addresses for ever.
        let _ = write!(
            text,
            "\n[[rule]]\nnamespace = \"*\"\npod = \"*-[0-9]*\"\nhold = \"forever\"\n"
        );
        Ok(text)
    }

    /// Changes `ipamd.toml` for all nodes, as `kubectl edit` would; each reads it when its kubelet has brought it, some seconds later.
    ///
    /// # Errors
    /// The API server refused.
    pub fn set_pools(&self, toml: &str) -> Result<()> {
        let (name, _) = POOLS;
        let patch = config_map(POOLS, toml).to_string();
        let words = ["patch", "configmap", name, "--namespace", NAMESPACE];
        let mut all = words.to_vec();
        all.extend(["--type=merge", "--patch", &patch]);
        self.kubectl(&all).map(|_| ())
    }

    /// The `Pool` objects that a cluster begins with: of every rack both networks and families, each with everything that Pods may have there.
    pub fn pool_objects(&self) -> Vec<Value> {
        let racks = self.world.racks().iter();
        racks
            .flat_map(|rack| {
                let kinds = Net::ALL.into_iter().flat_map(|net| [(net, 4), (net, 6)]);
                kinds.map(|(net, family)| object(rack.name(), rack.addresses(), net, family))
            })
            .collect()
    }

    /// Makes or changes a `Pool`.
    ///
    /// # Errors
    /// The API server refused it.
    pub fn apply_pool(&self, pool: &Value) -> Result<()> {
        self.apply(&pool.to_string())
    }

    /// All claims, by name.
    ///
    /// # Errors
    /// The API server did not answer.
    pub fn claims(&self) -> Result<Vec<Value>> {
        let words = ["get", "claims", "--namespace", NAMESPACE];
        let mut list = self.kubectl_json(&words)?;
        match list["items"].take() {
            Value::Array(claims) => Ok(claims),
            _ => Ok(Vec::new()),
        }
    }

    /// Says again which node has which part, after one came or went.
    pub(super) fn share_out(&self) -> Result<()> {
        match self.sharing {
            Sharing::Parts => self.set_pools(&self.pools()?),
            Sharing::Claims => Ok(()),
        }
    }

    /// Makes the `Pool` objects as soon as the API server takes any.
    pub(super) fn install_pools(&self) -> Result<()> {
        if self.sharing == Sharing::Parts {
            return Ok(());
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": self.pool_objects()});
        wait_patiently("the pools being taken", SERVED_DEADLINE, || {
            self.apply(&list.to_string())
                .map_err(|error| Pending::because(format!("{error:#}")))
        })
    }
}

/// One `Pool`, called `NETWORK-RACK-vFAMILY`.
fn object(rack: &str, addresses: RackAddresses, net: Net, family: u8) -> Value {
    let network = net.name();
    let (first, last) = (FIRST, FIRST + NODES_PER_RACK * SHARE - 1);
    let (subnet, gateway, range, everywhere) = if family == 4 {
        (
            addresses.subnet4(net),
            addresses.gateway4(net).to_string(),
            format!("{}-{}", addresses.v4(net, first), addresses.v4(net, last)),
            "10.30.0.0/16",
        )
    } else {
        let [first, last] = [first, last].map(|it| addresses.v6(net, it.into()));
        (
            addresses.subnet6(net),
            addresses.gateway6(net).to_string(),
            format!("{first}-{last}"),
            "fd00:30::/32",
        )
    };
    let mut spec = json!({
        "network": network, "rack": rack, "subnet": subnet, "ranges": [range], "gateway": gateway,
    });
    if net == Net::Internal {
        // The way to the other racks' internal network is by this rack's TOR; the default route leaves by the external one.
        spec["routes"] = json!([{"dst": everywhere}]);
    }
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool",
        "metadata": {"name": format!("{network}-{rack}-v{family}"), "namespace": NAMESPACE},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_of_a_rack_has_what_five_nodes_would_have() {
        let pool = object("b", RackAddresses { number: 2 }, Net::Internal, 6);
        assert_eq!(pool["metadata"]["name"], "internal-b-v6");
        let spec = json!({
            "network": "internal", "rack": "b", "subnet": "fd00:30:2::/64",
            "ranges": ["fd00:30:2::3c-fd00:30:2::ef"], "gateway": "fd00:30:2::1",
            "routes": [{"dst": "fd00:30::/32"}],
        });
        assert_eq!(pool["spec"], spec);
        let pool = object("a", RackAddresses { number: 1 }, Net::External, 4);
        assert_eq!(pool["spec"]["ranges"], json!(["10.20.1.60-10.20.1.239"]));
    }
}
