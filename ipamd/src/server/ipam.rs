//! What the plugin calls.

use std::net::IpAddr;
use std::sync::Arc;

use ipamd_core::{AllocateError, CheckedInterface, ListFilter, NodeRack, PodPolicy, ViewState};
use ipnet::IpNet;
use proto_ids::{AllocateRequest, Attachment, NetworkName};
use proto_ipam::convert::required;
use proto_ipam::v1::{self, ipam_server::Ipam};
use tonic::{Request, Response, Status};
use tracing::info;

use super::records::pool_status;
use super::status::Refused;
use super::{Service, pod};
use crate::ledger::{LedgerError, NetworkStatus, Phase};
use crate::metrics::Verb;
use crate::sync::{GrantError, Granting, PodFacts, Topic};

/// Findings that are told with the status; `fsck` and the log have all.
const BOOK_EXAMPLES: usize = 3;

#[tonic::async_trait]
impl Ipam for Service {
    async fn allocate(
        &self,
        request: Request<v1::AllocateRequest>,
    ) -> Result<Response<v1::AllocateResponse>, Status> {
        let work = self.allocate_addresses(request.into_inner());
        self.answer(Verb::Allocate, work).await
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let work = self.end_attachment(request.into_inner());
        self.answer(Verb::Release, work).await
    }

    async fn check(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::CheckResponse>, Status> {
        let work = self.compare(request.into_inner());
        self.answer(Verb::Check, work).await
    }

    async fn collect(
        &self,
        request: Request<v1::CollectRequest>,
    ) -> Result<Response<v1::CollectResponse>, Status> {
        let work = self.end_unlisted(request.into_inner());
        self.answer(Verb::Collect, work).await
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let work = self.state(request.into_inner());
        self.answer(Verb::Status, work).await
    }
}

impl Service {
    async fn allocate_addresses(
        &self,
        request: v1::AllocateRequest,
    ) -> Result<v1::AllocateResponse, Refused> {
        let mut request = AllocateRequest::try_from(request)?;
        let facts = self.pod_of(&request).await;
        let policy = match &facts {
            None => PodPolicy::default(),
            Some(facts) => {
                let settings = self.ledger.status().borrow().settings.clone();
                pod::follow(&mut request, facts, settings.settings())?
            }
        };
        self.hear(&request.interfaces).await;
        let attachment = request.attachment.clone();
        let granting = Granting {
            request,
            policy,
            facts,
        };
        let granted = self.claims.grant(&self.ledger, granting).await;
        if let Err(GrantError::Ledger(LedgerError::Refused(
            refused @ AllocateError::NoPool { .. },
        ))) = &granted
        {
            let note = format!("{refused}; {}", refused.advice());
            self.events.put(Topic::NetworkWithoutPool, note);
        }
        let grant = granted?;
        for interface in &grant.interfaces {
            let ip: Vec<_> = interface
                .addresses
                .iter()
                .map(|assigned| assigned.address.addr().to_string())
                .collect();
            info!(
                pod = %grant.identity,
                sandbox = %attachment.sandbox,
                ifname = %interface.ifname,
                network = %interface.network,
                ip = ip.join(","),
                mac = %interface.mac,
                moved_from = grant.moved_from.as_ref().map(|old| old.sandbox.as_str()),
                "addresses granted"
            );
        }
        Ok((&grant).into())
    }

    /// What the cluster says of the Pod, where addresses are claimed. A Pod that is not heard of is judged by the rules alone.
    async fn pod_of(&self, request: &AllocateRequest) -> Option<Arc<PodFacts>> {
        let claiming = self.ledger.status().borrow().settings.settings().claiming;
        let pod = request.pod.as_ref().filter(|_| claiming)?;
        self.pods.known(pod, request.pod_uid.as_ref()).await
    }

    async fn end_attachment(
        &self,
        request: v1::ReleaseRequest,
    ) -> Result<v1::ReleaseResponse, Refused> {
        let attachment: Attachment = required("attachment", request.attachment)?;
        let sandbox = attachment.sandbox.clone();
        let ifname = attachment.ifname.clone();
        let released = self.ledger.release(attachment).await?;
        let addresses: Vec<_> = released.addresses.iter().map(IpAddr::to_string).collect();
        let ip = addresses.join(",");
        info!(%sandbox, %ifname, ip, known = released.known, "attachment ended");
        Ok(v1::ReleaseResponse {
            known: released.known,
            addresses,
        })
    }

    async fn compare(&self, request: v1::CheckRequest) -> Result<v1::CheckResponse, Refused> {
        let attachment = required("attachment", request.attachment)?;
        let interfaces = request
            .interfaces
            .iter()
            .map(checked_interface)
            .collect::<Result<_, _>>()?;
        self.ledger.check(attachment, interfaces).await?;
        Ok(v1::CheckResponse {})
    }

    async fn end_unlisted(
        &self,
        request: v1::CollectRequest,
    ) -> Result<v1::CollectResponse, Refused> {
        let cni_network = request
            .cni_network
            .parse()
            .map_err(|error| Refused::field("cni_network", error))?;
        let keep = request
            .keep
            .into_iter()
            .map(Attachment::try_from)
            .collect::<Result<_, _>>()?;
        let ended = self.ledger.collect(cni_network, keep).await?;
        for attachment in &ended {
            let Attachment {
                sandbox, ifname, ..
            } = attachment;
            info!(%sandbox, %ifname, "attachment collected");
        }
        Ok(v1::CollectResponse {
            ended: ended.iter().map(Into::into).collect(),
        })
    }

    async fn state(&self, request: v1::StatusRequest) -> Result<v1::StatusResponse, Refused> {
        let networks = request
            .networks
            .iter()
            .map(|name| name.parse())
            .collect::<Result<Vec<NetworkName>, _>>()
            .map_err(|error| Refused::field("networks", error))?;
        let status = self.ledger.status().borrow().clone();
        let settings = status.settings.settings();
        let provided = match status.phase {
            Phase::Serving | Phase::ReadOnly => self.ledger.networks(networks).await?,
            // The phase says it all, and the ledger would keep the caller waiting.
            Phase::Recovering | Phase::NoRack | Phase::Damaged => NetworkStatus::default(),
        };
        let lost = self.lost().await?;
        let without_pool = provided.without_pool.iter();
        Ok(v1::StatusResponse {
            phase: phase(status.phase, &settings.rack).into(),
            message: status.message,
            node: settings.node.to_string(),
            rack: settings
                .rack
                .name()
                .map(ToString::to_string)
                .unwrap_or_default(),
            pools: status.pools.iter().map(pool_status).collect(),
            networks_without_pool: without_pool.map(ToString::to_string).collect(),
            refuse_when_exhausted: settings.refuse_when_exhausted,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: self.capabilities.clone(),
            lost,
            book: Some(self.book()),
        })
    }

    /// How the book compares with the runtime's sandboxes.
    fn book(&self) -> v1::BookCheck {
        let figures = self.ledger.figures();
        let mut examples = figures.garbage_findings.lines();
        examples.truncate(BOOK_EXAMPLES);
        v1::BookCheck {
            comparisons: figures.comparisons.get(),
            findings: figures.garbage.get(),
            is_unknown: figures.garbage_unknown.get() != 0,
            examples,
        }
    }

    /// What sandboxes here have although it is another node's by now.
    async fn lost(&self) -> Result<Vec<v1::LostAddress>, Refused> {
        let lost = self.claims.lost();
        if lost.is_empty() {
            return Ok(Vec::new());
        }
        let filter = ListFilter {
            state: Some(ViewState::Attached),
            ..ListFilter::default()
        };
        let attached = self.ledger.list(filter).await?;
        let told = attached.into_iter().filter_map(|view| {
            let node = lost.get(&(view.network.clone(), view.address))?;
            Some(v1::LostAddress {
                network: view.network.to_string(),
                address: view.address.to_string(),
                node: node.to_string(),
                identity: view.identity?.to_string(),
                attachment: Some((&view.attachment?).into()),
            })
        });
        Ok(told.collect())
    }
}

const fn phase(phase: Phase, rack: &NodeRack) -> v1::Phase {
    match phase {
        // Whoever asks had better ask again in a moment, as while recovering.
        Phase::NoRack if rack.is_awaited() => v1::Phase::Recovering,
        Phase::Serving => v1::Phase::Serving,
        Phase::Recovering => v1::Phase::Recovering,
        Phase::ReadOnly => v1::Phase::ReadOnly,
        Phase::Damaged => v1::Phase::Damaged,
        Phase::NoRack => v1::Phase::NoRack,
    }
}

fn checked_interface(wire: &v1::CheckInterface) -> Result<CheckedInterface, Refused> {
    let mac = (!wire.mac.is_empty()).then(|| wire.mac.parse());
    Ok(CheckedInterface {
        ifname: wire
            .ifname
            .parse()
            .map_err(|error| Refused::field("interfaces.ifname", error))?,
        mac: mac
            .transpose()
            .map_err(|error| Refused::field("interfaces.mac", error))?,
        addresses: wire
            .addresses
            .iter()
            .map(|text| address(text))
            .collect::<Result<_, _>>()?,
    })
}

/// An address, with or without prefix length.
fn address(text: &str) -> Result<IpAddr, Refused> {
    let address = text.parse::<IpNet>().map(|net| net.addr());
    address.or_else(|_| text.parse()).map_err(|_| {
        Refused::field(
            "interfaces.addresses",
            format!("{text:?} is not an address"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checked_addresses_may_have_a_prefix_length() {
        let wire = v1::CheckInterface {
            ifname: "eth0".to_owned(),
            mac: String::new(),
            addresses: vec!["10.20.1.100/24".to_owned(), "fd00::64".to_owned()],
        };
        let interface = checked_interface(&wire).unwrap();
        let addresses: Vec<_> = interface.addresses.iter().map(IpAddr::to_string).collect();
        assert_eq!(addresses, ["10.20.1.100", "fd00::64"]);
        assert_eq!(interface.mac, None);
    }

    #[test]
    fn bad_fields_are_refused_by_name() {
        let refused = address("10.20.1").unwrap_err();
        assert!(refused.to_string().starts_with("interfaces.addresses:"));
        let wire = v1::CheckInterface {
            ifname: "a/b".to_owned(),
            ..v1::CheckInterface::default()
        };
        let refused = checked_interface(&wire).unwrap_err();
        assert!(refused.to_string().starts_with("interfaces.ifname:"));
    }
}
