//! GC: what the runtime does not list ends. Bindings are not its business: a hold has its own clock.

use std::collections::BTreeSet;

use cni_datapath::ports::ports;
use cni_datapath::unwire::unwire;
use cni_spec::{Daemon, DelegateConf, Document, Verb};
use proto_ids::{Attachment, CniNetworkName};

use crate::error::CallError;
use crate::ipam::{Ipam, Patience};
use crate::log;
use crate::request::Role;

pub(super) fn run(role: Role, document: &Document) -> Result<(), CallError> {
    let header = document.header(Verb::Gc)?;
    let Some(keep) = document.valid_attachments()? else {
        log::warn(
            "GC without a list of valid attachments removes nothing",
            &[("network", header.name.as_str())],
        );
        return Ok(());
    };
    let (daemon, mut errors) = match role {
        Role::Plugin => (document.daemon()?, unwire_others(&header.name, &keep)),
        Role::Ipam => (DelegateConf::daemon(document)?, Vec::new()),
    };
    errors.extend(collect(&daemon, &header.name, &keep).err());
    match errors.pop() {
        None => Ok(()),
        Some(only) if errors.is_empty() => Err(only),
        Some(last) => {
            errors.push(last);
            Err(CallError::Several(errors))
        }
    }
}

fn collect(
    daemon: &Daemon,
    network: &CniNetworkName,
    keep: &BTreeSet<Attachment>,
) -> Result<(), CallError> {
    let ended = Ipam {
        socket: &daemon.socket,
        deadline: daemon.allocate,
        patience: Patience::Wait,
    }
    .collect(network, keep.iter())
    .map_err(|source| CallError::Ipamd {
        doing: "end attachments in the book of berth-ipamd",
        source,
    })?
    .ended;
    for attachment in ended {
        log::line(
            "info",
            "an attachment that the runtime does not know was ended",
            &[
                ("network", &attachment.cni_network),
                ("sandbox", &attachment.sandbox),
                ("ifname", &attachment.ifname),
            ],
        );
    }
    Ok(())
}

/// Unwires every port of this network whose attachment is not to be kept.
fn unwire_others(network: &CniNetworkName, keep: &BTreeSet<Attachment>) -> Vec<CallError> {
    let ports = match ports() {
        Ok(ports) => ports,
        Err(source) => return vec![CallError::Ports { source }],
    };
    let found = ports.into_iter().map(|port| port.alias.attachment);
    leftovers(network, keep, found)
        .iter()
        .filter_map(|attachment| unwire(attachment).err().map(CallError::Unwire))
        .collect()
}

fn leftovers(
    network: &CniNetworkName,
    keep: &BTreeSet<Attachment>,
    found: impl Iterator<Item = Attachment>,
) -> BTreeSet<Attachment> {
    found
        .filter(|attachment| attachment.cni_network == *network && !keep.contains(attachment))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(network: &str, sandbox: &str, ifname: &str) -> Attachment {
        Attachment {
            cni_network: network.parse().unwrap(),
            sandbox: sandbox.parse().unwrap(),
            ifname: ifname.parse().unwrap(),
        }
    }

    #[test]
    fn only_unlisted_attachments_of_the_same_network_are_left_over() {
        let keep = BTreeSet::from([attachment("bank", "a", "eth0")]);
        let found = [
            attachment("bank", "a", "eth0"),
            attachment("bank", "a", "eth1"),
            attachment("bank", "b", "eth0"),
            // Two ports of one attachment.
            attachment("bank", "b", "eth0"),
            attachment("other", "b", "eth0"),
        ];
        let leftovers = leftovers(&"bank".parse().unwrap(), &keep, found.into_iter());
        assert_eq!(
            leftovers,
            BTreeSet::from([
                attachment("bank", "a", "eth1"),
                attachment("bank", "b", "eth0")
            ])
        );
    }
}
