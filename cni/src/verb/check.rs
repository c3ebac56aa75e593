//! CHECK: the kernel and ipamd's book against the result that the ADD was answered with.

use std::net::IpAddr;

use cni_datapath::check::check;
use cni_datapath::ports::ports;
use cni_datapath::segment::status;
use cni_spec::{Asked, Document, NetConf, NodeReach, Target, Verb};
use proto_ids::{AllocateRequest, Attachment, Identity};

use super::container::{node_addresses, open};
use super::node;
use crate::add_plan::{self, Planned};
use crate::check_plan;
use crate::error::CallError;
use crate::ipam::{Ipam, Patience};

pub(super) fn run(target: &Target, document: &Document) -> Result<(), CallError> {
    let header = document.header(Verb::Check)?;
    let previous = document
        .prev_result()?
        .ok_or(CallError::PrevResultMissing)?;
    let conf = NetConf::parse(document)?;
    let asked = Asked::parse(document, &target.args)?;
    let planned = add_plan::interfaces(&conf, &asked, &target.ifname)?;
    let attachment = Attachment {
        cni_network: header.name,
        sandbox: target.sandbox.clone(),
        ifname: target.ifname.clone(),
    };
    // A namespace that is gone is not "unknown container" here: that code would tell the runtime to skip DEL.
    let netns = open(&target.netns).map_err(|error| match error {
        CallError::OpenNetns { source } => CallError::Drift {
            differences: vec![crate::error::chain(&source)],
        },
        other => other,
    })?;
    let request: AllocateRequest = add_plan::request(
        &attachment,
        target,
        &asked,
        &planned,
        &vec![None; planned.len()],
    );
    let wiring = check_plan::wiring(
        &conf,
        &attachment,
        identity_on_ports(&attachment)?.unwrap_or_else(|| request.effective_identity()),
        &planned,
        &reachable(&conf, &planned)?,
        &previous,
    )
    .map_err(|differences| CallError::Drift { differences })?;
    let drift = check(&netns, &wiring).map_err(|source| CallError::Check { source })?;
    if !drift.is_empty() {
        return Err(CallError::Drift {
            differences: drift
                .iter()
                .map(|drift| format!("{}: {}", drift.ifname, drift.what))
                .collect(),
        });
    }
    Ipam {
        socket: &conf.daemon.socket,
        deadline: conf.daemon.allocate,
        patience: Patience::Wait,
    }
    .check(&attachment, check_plan::book(&wiring))
    .map_err(|source| CallError::Ipamd {
        doing: "compare with the book of berth-ipamd",
        source,
    })
}

/// The identity that the ports tell of: a runtime need not give a CHECK all the arguments that it gave the ADD.
fn identity_on_ports(attachment: &Attachment) -> Result<Option<Identity>, CallError> {
    let ports = ports().map_err(|source| CallError::Ports { source })?;
    Ok(ports
        .into_iter()
        .filter(|port| port.alias.attachment == *attachment)
        .find_map(|port| port.alias.identity))
}

/// The node's addresses of now, per interface.
fn reachable(conf: &NetConf, planned: &[Planned<'_>]) -> Result<Vec<Vec<IpAddr>>, CallError> {
    let addresses = node_addresses(planned)?;
    let of = |one: &Planned<'_>| match &one.network.node_reach {
        NodeReach::Off => Ok(Vec::new()),
        NodeReach::Named(named) => Ok(named.clone()),
        NodeReach::Found => {
            let segment = status(&add_plan::segment(one.network), &node(&conf.daemon));
            let segment = segment.map_err(|source| CallError::ObserveSegment {
                network: one.network.name.clone(),
                source,
            })?;
            let links: Vec<_> = segment.bridge.iter().chain([&segment.uplink]).collect();
            Ok(addresses.reached_on(&links))
        }
    };
    planned.iter().map(of).collect()
}
