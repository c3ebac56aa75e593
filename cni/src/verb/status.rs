//! STATUS: whether an ADD could succeed now, or as soon as a daemon that is being restarted is back. Changes nothing.

use std::collections::HashSet;

use cni_datapath::ports::ports;
use cni_datapath::segment::status;
use cni_spec::{Daemon, DelegateConf, Document, NetConf, Verb};
use proto_ids::NetworkName;
use proto_ipam::v1::StatusResponse;

use super::node;
use crate::add_plan::segment;
use crate::error::{CallError, chain};
use crate::ipam::{AskIpamdError, Ipam, Patience};
use crate::request::Role;
use crate::status_plan::{Observed, verdict};

pub(super) fn run(role: Role, document: &Document) -> Result<(), CallError> {
    document.header(Verb::Status)?;
    match role {
        Role::Plugin => {
            let conf = NetConf::parse(document)?;
            let networks = conf.networks.iter().map(|n| n.name.to_string()).collect();
            let answer = ask(&conf.daemon, networks);
            // After the wait for ipamd: the uplinks as they are now.
            judge(&answer, &observe(&conf)?)
        }
        Role::Ipam => {
            let conf = DelegateConf::parse(document)?;
            judge(&ask(&conf.daemon, vec![conf.network.to_string()]), &[])
        }
    }
}

fn ask(daemon: &Daemon, networks: Vec<String>) -> Result<StatusResponse, AskIpamdError> {
    Ipam {
        socket: &daemon.socket,
        deadline: daemon.status,
        patience: Patience::Insist,
    }
    .status(networks)
}

fn judge(
    answer: &Result<StatusResponse, AskIpamdError>,
    segments: &[Observed],
) -> Result<(), CallError> {
    let ipamd = answer.as_ref().map_err(|error| match error.advice() {
        Some(advice) => format!("{}; {advice}", chain(error)),
        None => chain(error),
    });
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
