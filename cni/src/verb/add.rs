//! ADD: addresses first, then links; all interfaces or none.
//!
//! Whatever fails after ipamd was asked gives the addresses back, with one exception: where the attachment turns out to
//! be wired whole already, they are in use.

use std::net::IpAddr;

use cni_datapath::check::check;
use cni_datapath::fault::Fault;
use cni_datapath::netns::Netns;
use cni_datapath::node_address::NodeAddresses;
use cni_datapath::segment::{EnsuredSegment, ensure};
use cni_datapath::unwire::unwire;
use cni_datapath::wire::{Wired, wire};
use cni_datapath::wiring::Wiring;
use cni_spec::{Asked, Document, NetConf, NodeReach, Target, Verb};
use proto_ids::{AllocateRequest, Attachment, Grant};

use super::container::{existing, has_ports, node_addresses, open};
use super::{Answer, node};
use crate::add_plan::{self, Planned, Site};
use crate::error::CallError;
use crate::ipam::{AskIpamdError, Ipam, Patience};
use crate::release::release;
use crate::{log, spool};

/// What an ADD leaves open until its answer is out.
pub(crate) type Lingering = Option<Wired>;

pub(super) fn run(target: &Target, document: &Document) -> Result<Answer, CallError> {
    let header = document.header(Verb::Add)?;
    if document.prev_result()?.is_some() {
        return Err(CallError::NotFirst);
    }
    let conf = NetConf::parse(document)?;
    let asked = Asked::parse(document, &target.args)?;
    let planned = add_plan::interfaces(&conf, &asked, &target.ifname)?;
    let attachment = Attachment {
        cni_network: header.name,
        sandbox: target.sandbox.clone(),
        ifname: target.ifname.clone(),
    };
    let netns = open(&target.netns)?;
    let leftover = leftover(&netns, &planned, &attachment)?;
    let sites = sites(&conf, &planned)?;
    let add = Add {
        conf: &conf,
        attachment: &attachment,
        netns: &netns,
        planned: &planned,
        sites: &sites,
        leftover,
    };
    let heard_on: Vec<_> = sites
        .iter()
        .map(|site| Some(site.segment.node_link.as_ref()?.name.clone()))
        .collect();
    let request = add_plan::request(&attachment, target, &asked, &planned, &heard_on);
    withdraw_note(&conf, &attachment);
    let grant = add.allocate(&request)?;
    let (wiring, wired) = add.wire(&grant)?;
    let result = add_plan::result(&wiring, &wired, &target.netns);
    Ok(Answer {
        output: result.to_json(header.version),
        lingering: Some(wired),
    })
}

fn allocate_failed(source: AskIpamdError) -> CallError {
    CallError::Ipamd {
        doing: "get addresses from berth-ipamd",
        source,
    }
}

/// Whether something of this attachment is there already.
///
/// # Errors
/// [`CallError::InterfaceExists`] where one of the interfaces is there and is not ours.
fn leftover(
    netns: &Netns,
    planned: &[Planned<'_>],
    attachment: &Attachment,
) -> Result<bool, CallError> {
    match existing(netns, planned.iter().map(|one| &one.ifname))? {
        None => Ok(false),
        Some(_) if has_ports(attachment)? => Ok(true),
        Some(ifname) => Err(CallError::InterfaceExists { ifname }),
    }
}

/// Ensures the bridge of every interface, and then finds the node's addresses there: a take-over moves them.
fn sites(conf: &NetConf, planned: &[Planned<'_>]) -> Result<Vec<Site>, CallError> {
    let node = node(&conf.daemon);
    let ensured = planned.iter().map(|one| {
        ensure(&add_plan::segment(one.network), &node).map_err(|source| CallError::Segment {
            network: one.network.name.clone(),
            source,
        })
    });
    let ensured: Vec<EnsuredSegment> = ensured.collect::<Result<_, _>>()?;
    let addresses = node_addresses(planned)?;
    Ok(ensured
        .into_iter()
        .zip(planned)
        .map(|(segment, one)| Site {
            node_addresses: reached(&one.network.node_reach, &segment, &addresses),
            segment,
        })
        .collect())
}

/// The addresses of the node that Pods on the segment shall reach.
fn reached(reach: &NodeReach, segment: &EnsuredSegment, node: &NodeAddresses) -> Vec<IpAddr> {
    // Without it, on an operator's filtering bridge, the node has no device of its own: nothing to reach it by.
    let Some(node_link) = &segment.node_link else {
        return Vec::new();
    };
    match reach {
        NodeReach::Off => Vec::new(),
        NodeReach::Named(named) => named.clone(),
        NodeReach::Found => node.reached_on(&[
            &node_link.name,
            &segment.bridge,
            &segment.port,
            &segment.segment.uplink,
        ]),
    }
}

/// A note of an earlier, failed ADD of the same key would end the new attachment. Where it cannot be withdrawn, the ADD
/// goes on: the daemon may have taken it meanwhile.
fn withdraw_note(conf: &NetConf, attachment: &Attachment) {
    if let Err(error) = spool::withdraw(&conf.daemon.spool, attachment) {
        log::warn(
            "an old note for berth-ipamd could not be withdrawn",
            &[
                ("sandbox", attachment.sandbox.as_str()),
                ("error", &error.to_string()),
            ],
        );
    }
}

/// An ADD whose segments stand.
struct Add<'a> {
    conf: &'a NetConf,
    attachment: &'a Attachment,
    netns: &'a Netns,
    planned: &'a [Planned<'a>],
    sites: &'a [Site],
    /// Something of this attachment is there already.
    leftover: bool,
}

impl Add<'_> {
    /// Asks for the addresses. Where it is not known whether they were given, they are given back.
    fn allocate(&self, request: &AllocateRequest) -> Result<Grant, CallError> {
        let ipamd = Ipam {
            socket: &self.conf.daemon.socket,
            deadline: self.conf.daemon.allocate,
            patience: Patience::Wait,
        };
        ipamd.allocate(request).map_err(|error| {
            if !error.changed_nothing() {
                self.give_back();
            }
            allocate_failed(error)
        })
    }

    /// Wires what was granted, or gives it back.
    fn wire(&self, grant: &Grant) -> Result<(Wiring, Wired), CallError> {
        let wiring = add_plan::wiring(self.conf, self.attachment, self.planned, self.sites, grant)
            .map_err(|error| allocate_failed(AskIpamdError::Answer(error)));
        let made = wiring.and_then(|wiring| Ok((self.make(&wiring)?, wiring)));
        match made {
            Ok((wired, wiring)) => Ok((wiring, wired)),
            Err(error) => {
                if !matches!(error, CallError::AlreadyWired { .. }) {
                    self.give_back();
                }
                Err(error)
            }
        }
    }

    /// Makes the links, after removing what a killed ADD of the same attachment left.
    fn make(&self, wiring: &Wiring) -> Result<Wired, CallError> {
        let segments: Vec<EnsuredSegment> =
            self.sites.iter().map(|site| site.segment.clone()).collect();
        let wire =
            || wire(self.netns, wiring, &segments).map_err(|source| CallError::Wire { source });
        if !self.leftover {
            match wire() {
                // Left in another namespace, or come since we looked.
                Err(CallError::Wire { source })
                    if source.fault() == Fault::IfnameExists && has_ports(self.attachment)? => {}
                other => return other,
            }
        }
        let drift = check(self.netns, wiring).map_err(|source| CallError::Check { source })?;
        if drift.is_empty() {
            return Err(CallError::AlreadyWired {
                ifname: self.attachment.ifname.clone(),
            });
        }
        unwire(self.attachment).map_err(CallError::Unwire)?;
        wire()
    }

    /// Gives the addresses back after a failure, which is what the caller reports.
    fn give_back(&self) {
        if let Err(error) = release(&self.conf.daemon, self.attachment) {
            log::warn(
                "addresses of a failed ADD could not be given back; DEL will do it",
                &[
                    ("sandbox", self.attachment.sandbox.as_str()),
                    ("error", &crate::error::chain(&error)),
                ],
            );
        }
    }
}
