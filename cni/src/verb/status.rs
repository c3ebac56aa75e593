//! STATUS: whether an ADD could succeed now. Changes nothing.

use std::collections::HashSet;

use cni_datapath::ports::ports;
use cni_datapath::segment::status;
use cni_spec::{Daemon, DelegateConf, Document, NetConf, Verb};
use proto_ids::NetworkName;

use super::node;
use crate::add_plan::segment;
use crate::error::{CallError, chain};
use crate::ipam::{Ipam, Patience};
use crate::request::Role;
use crate::status_plan::{Observed, verdict};

pub(super) fn run(role: Role, document: &Document) -> Result<(), CallError> {
    document.header(Verb::Status)?;
    let (daemon, networks, segments) = match role {
        Role::Plugin => {
            let conf = NetConf::parse(document)?;
            let networks = conf.networks.iter().map(|n| n.name.to_string()).collect();
            let segments = observe(&conf)?;
            (conf.daemon, networks, segments)
        }
        Role::Ipam => {
            let conf = DelegateConf::parse(document)?;
            (conf.daemon, vec![conf.network.to_string()], Vec::new())
        }
    };
    judge(&daemon, networks, &segments)
}

fn judge(daemon: &Daemon, networks: Vec<String>, segments: &[Observed]) -> Result<(), CallError> {
    let answer = Ipam {
        socket: &daemon.socket,
        // A runtime asks every few seconds and marks the node by the answer: it must not hang on a hung daemon.
        deadline: daemon.release,
        patience: Patience::Wait,
    }
    .status(networks);
    let ipamd = answer.as_ref().map_err(|error| chain(error));
    verdict(ipamd, segments).map_err(|unavailable| CallError::Unavailable {
        code: unavailable.code,
        reasons: unavailable.reasons,
    })
}

fn observe(conf: &NetConf) -> Result<Vec<Observed>, CallError> {
    let with_pods: HashSet<NetworkName> = ports()
        .map_err(|source| CallError::Ports { source })?
        .into_iter()
        .map(|port| port.alias.network)
        .collect();
    let node = node(&conf.daemon);
    conf.networks
        .iter()
        .map(|network| {
            let segment =
                status(&segment(network), &node).map_err(|source| CallError::ObserveSegment {
                    network: network.name.clone(),
                    source,
                })?;
            Ok(Observed {
                network: network.name.clone(),
                segment,
                has_pods: with_pods.contains(&network.name),
            })
        })
        .collect()
}
