//! ADD: addresses first, then links; all interfaces or none.
//!
//! Whatever fails after ipamd was asked gives the addresses back, with one exception: where the attachment turns out to
//! be wired whole already, they are in use.

use cni_datapath::check::check;
use cni_datapath::fault::Fault;
use cni_datapath::netns::Netns;
use cni_datapath::node_address;
use cni_datapath::segment::{EnsuredSegment, ensure};
use cni_datapath::unwire::unwire;
use cni_datapath::wire::{Wired, wire};
use cni_datapath::wiring::Wiring;
use cni_spec::{Asked, Document, NetConf, NodeReach, Target, Verb};
use proto_ids::Attachment;

use super::container::{existing, has_ports, open};
use super::{Answer, node};
use crate::add_plan::{self, Planned, Site};
use crate::error::CallError;
use crate::ipam::{AskIpamdError, Ipam};
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
    let leftover = match existing(&netns, planned.iter().map(|one| &one.ifname))? {
        None => false,
        Some(_) if has_ports(&attachment)? => true,
        Some(ifname) => return Err(CallError::InterfaceExists { ifname }),
    };
    let sites = sites(&conf, &planned)?;
    let add = Add {
        conf: &conf,
        attachment: &attachment,
        netns: &netns,
        sites: &sites,
        leftover,
    };
    let heard_on: Vec<_> = sites
        .iter()
        .map(|site| Some(site.segment.node_link.as_ref()?.name.clone()))
        .collect();
    let request = add_plan::request(&attachment, target, &asked, &planned, &heard_on);
    withdraw_note(&conf, &attachment);
    let ipamd = Ipam {
        socket: &conf.daemon.socket,
        deadline: conf.daemon.allocate,
    };
    let grant = match ipamd.allocate(&request) {
        Ok(grant) => grant,
        Err(error) => {
            if !error.changed_nothing() {
                add.give_back();
            }
            return Err(allocate_failed(error));
        }
    };
    let wiring = add_plan::wiring(&conf, &attachment, &planned, &sites, &grant)
        .map_err(|error| allocate_failed(AskIpamdError::Answer(error)));
    match wiring.and_then(|wiring| Ok((add.wire(&wiring)?, wiring))) {
        Ok((wired, wiring)) => {
            let result = add_plan::result(&wiring, &wired, &target.netns);
            Ok(Answer {
                output: result.to_json(header.version),
                lingering: Some(wired),
            })
        }
        Err(error) => {
            if !matches!(error, CallError::AlreadyWired { .. }) {
                add.give_back();
            }
            Err(error)
        }
    }
}

fn allocate_failed(source: AskIpamdError) -> CallError {
    CallError::Ipamd {
        doing: "get addresses from berth-ipamd",
        source,
    }
}

/// Ensures the bridge of every interface and finds the node's addresses there.
fn sites(conf: &NetConf, planned: &[Planned<'_>]) -> Result<Vec<Site>, CallError> {
    let node = node(&conf.daemon);
    let mut sites = Vec::with_capacity(planned.len());
    for one in planned {
        let segment = ensure(&add_plan::segment(one.network), &node).map_err(|source| {
            CallError::Segment {
                network: one.network.name.clone(),
                source,
            }
        })?;
        let node_addresses = match &one.network.node_reach {
            NodeReach::Off => Vec::new(),
            // An operator's filtering bridge on which the node has no device of its own: nothing to reach it by.
            _ if segment.node_link.is_none() => Vec::new(),
            NodeReach::Named(named) => named.clone(),
            NodeReach::Found => {
                let links: Vec<_> = [&segment.bridge, &segment.port, &segment.segment.uplink]
                    .into_iter()
                    .chain(segment.node_link.as_ref().map(|link| &link.name))
                    .collect();
                node_address::find(&links).map_err(|source| CallError::NodeAddresses { source })?
            }
        };
        sites.push(Site {
            segment,
            node_addresses,
        });
    }
    Ok(sites)
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
    sites: &'a [Site],
    /// Something of this attachment is there already.
    leftover: bool,
}

impl Add<'_> {
    /// Wires, after removing what a killed ADD of the same attachment left.
    fn wire(&self, wiring: &Wiring) -> Result<Wired, CallError> {
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
