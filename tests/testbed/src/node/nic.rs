//! A node's NICs: one veth per network into the TOR's bridge, which may be missing at a boot, come late, or have another name.
//!
//! What is said of a NIC holds until it is said otherwise, also over boots. Its MAC is always the same.

use std::fmt::Write as _;

use anyhow::{Result, ensure};

use super::Node;
use crate::{address::Net, namespace::Namespace};

/// How a node's NICs differ from those it begins with.
#[derive(Clone, Debug, Default)]
pub(super) struct Nics {
    missing: Vec<Net>,
    names: Vec<(Net, String)>,
}

impl Nics {
    fn name(&self, net: Net) -> &str {
        let given = self.names.iter().find(|(it, _)| *it == net);
        given.map_or_else(|| net.uplink(), |(_, name)| name)
    }
}

impl Node {
    /// Takes a NIC out, or puts it in; on a node that is off, it will boot so.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn set_nic(&mut self, net: Net, present: bool) -> Result<()> {
        let was = !self.nics.missing.contains(&net);
        self.nics.missing.retain(|it| *it != net);
        if !present {
            self.nics.missing.push(net);
        }
        match (&self.namespace, was, present) {
            (Some(namespace), false, true) => self.plug(namespace, net),
            (Some(_), true, false) => {
                let port = self.tor_port(net);
                self.rack.tor().ip_batch(&format!("link del {port}"))
            }
            _ => Ok(()),
        }
    }

    /// Gives a NIC another name, now and at each boot.
    ///
    /// # Errors
    /// It is no name for a link, or `ip` failed.
    pub fn rename_nic(&mut self, net: Net, to: &str) -> Result<()> {
        ensure!(
            (1..=15).contains(&to.len()) && to.bytes().all(|it| it.is_ascii_alphanumeric()),
            "{to:?} is no name for a NIC: 1 to 15 letters and digits"
        );
        let from = self.nics.name(net).to_owned();
        let present = !self.nics.missing.contains(&net);
        if let (Some(namespace), true, true) = (&self.namespace, present, from != to) {
            namespace.ip_batch(&format!(
                "link set {from} down\nlink set {from} name {to}\nlink set {to} up"
            ))?;
        }
        self.nics.names.retain(|(it, _)| *it != net);
        self.nics.names.push((net, to.to_owned()));
        Ok(())
    }

    /// Makes the NIC of a network, with the addresses and routes that the machine's own start would give it.
    pub(super) fn plug(&self, namespace: &Namespace, net: Net) -> Result<()> {
        if self.nics.missing.contains(&net) {
            return Ok(());
        }
        let (port, uplink) = (self.tor_port(net), self.nics.name(net));
        self.rack.tor().ip_batch(&format!(
            "link add {port} type veth peer name {uplink} address {} netns {}\nlink set {port} master {} up",
            self.uplink_mac(net),
            namespace.pid(),
            net.name()
        ))?;
        let mut lines = format!("link set {uplink} up\n");
        if self.spec.addressed.contains(&net) {
            let (v4, v6) = (self.address4(net), self.address6(net));
            let _ = write!(
                lines,
                "addr add {v4}/24 dev {uplink}\naddr add {v6}/64 dev {uplink} nodad\n"
            );
        }
        if self.spec.addressed.first() == Some(&net) {
            let [v4, v6] = self.rack.addresses().gateways(net);
            let _ = write!(
                lines,
                "route add default via {v4}\nroute add default via {v6} dev {uplink}\n"
            );
        }
        namespace.ip_batch(&lines)
    }
}
