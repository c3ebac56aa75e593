//! Berth on a node of a cluster, as daemons of the testbed with a standalone configuration: pools per node, no objects.
//!
//! The conflist is put in place only when the daemon serves: before it, the runtime would hand out Pods without addresses.

use anyhow::{Context, Result};
use serde_json::json;

use super::member::Member;
use crate::{control_plane::SERVICE_CIDR, ipamd::IpamdConfig, node::Node};

/// The first last byte that Pods get. Nodes have those before, outside hosts those from 240.
const FIRST: u8 = 60;

/// How many addresses a node's Pods share, per network; five nodes in a rack have room.
const SHARE: u8 = 36;

/// How many nodes of a rack have addresses for Pods.
pub(crate) const SHARES: u8 = 5;

impl Member {
    pub(crate) fn start_berth(&mut self, node: &Node) -> Result<()> {
        let first = FIRST + self.share * SHARE;
        let config = IpamdConfig::of(node).range(first, first + SHARE - 1);
        node.write_ipamd_config(&config.to_toml())?;
        self.ipamd = Some(node.spawn_ipamd()?);
        Ok(())
    }

    pub(crate) fn serve_berth(&mut self, node: &Node) -> Result<()> {
        let ipamd = self.ipamd.as_mut().context("berth-ipamd was not started")?;
        ipamd.wait_serving(node)?;
        let conflist = json!({
            "cniVersion": self.runtime.cni_version(),
            "name": "berth",
            "plugins": [{
                "type": "berth",
                "capabilities": {"ips": true, "mac": true, "io.kubernetes.cri.pod-annotations": true},
                "ipamd": "/run/berth/ipamd.sock",
                "serviceCidrs": [SERVICE_CIDR],
                "networks": [
                    // The node's own address is on it.
                    // A Pod that is behind a Service of its own comes back to its port: where the kernel hands bridged frames to netfilter
                    // (`br_netfilter`), they are bridged there and not routed.
                    {"name": "external", "uplink": "eth0", "default": true, "mode": "take-over", "hairpin": true},
                    {"name": "internal", "uplink": "eth1"},
                ],
            }],
        });
        node.write_conflist("10-berth.conflist", &conflist)
    }
}
