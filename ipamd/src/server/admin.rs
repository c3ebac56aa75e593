//! What an operator calls.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use ipamd_core::{BindingView, FreeRequest, ListFilter, ReserveRequest, Timestamp};
use proto_ids::Identity;
use proto_ipam::v1::{self, admin_server::Admin};
use tonic::{Request, Response, Status};
use tracing::info;

use super::Service;
use super::records::{audit_record, binding_record};
use super::status::Refused;
use crate::ledger::{ImportRequest, Who, Why};
use crate::metrics::Verb;

#[tonic::async_trait]
impl Admin for Service {
    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        let request = request.into_inner();
        self.answer(Verb::List, async {
            let found = self.ledger.list(list_filter(&request)?).await?;
            Ok(v1::ListResponse {
                bindings: records(&found),
            })
        })
        .await
    }

    async fn who(
        &self,
        request: Request<v1::WhoRequest>,
    ) -> Result<Response<v1::WhoResponse>, Status> {
        let request = request.into_inner();
        self.answer(Verb::Who, async {
            let (address, at) = who_query(&request)?;
            let who = self.ledger.who(address, at).await?;
            Ok(who_response(&who))
        })
        .await
    }

    async fn why(
        &self,
        request: Request<v1::WhyRequest>,
    ) -> Result<Response<v1::WhyResponse>, Status> {
        let request = request.into_inner();
        self.answer(Verb::Why, async {
            let why = self.ledger.why(why_query(&request)?).await?;
            Ok(why_response(why))
        })
        .await
    }

    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<Response<v1::ReserveResponse>, Status> {
        let request = request.into_inner();
        self.answer(Verb::Reserve, async {
            let reserved = self.ledger.reserve(reserve_request(request)?).await?;
            for view in &reserved {
                let identity = view.identity.as_ref().map(ToString::to_string);
                info!(ip = %view.address, network = %view.network, pod = identity, "address reserved");
            }
            Ok(v1::ReserveResponse {
                bindings: records(&reserved),
            })
        })
        .await
    }

    async fn free(
        &self,
        request: Request<v1::FreeRequest>,
    ) -> Result<Response<v1::FreeResponse>, Status> {
        let request = request.into_inner();
        self.answer(Verb::Free, async {
            let request = FreeRequest {
                network: optional("network", &request.network)?,
                address: parse("address", &request.address)?,
                quarantine: request.quarantine,
            };
            let was = self.ledger.free(request).await?;
            info!(ip = %was.address, network = %was.network, was = %was.state, "address given back");
            Ok(v1::FreeResponse {
                was: Some(binding_record(&was)),
            })
        })
        .await
    }

    async fn fsck(
        &self,
        _request: Request<v1::FsckRequest>,
    ) -> Result<Response<v1::FsckResponse>, Status> {
        self.answer(Verb::Fsck, async {
            let found = self.ledger.fsck().await?;
            Ok(v1::FsckResponse {
                records: found.records,
                findings: found.findings,
            })
        })
        .await
    }

    async fn export(
        &self,
        _request: Request<v1::ExportRequest>,
    ) -> Result<Response<v1::ExportResponse>, Status> {
        self.answer(Verb::Export, async {
            let document = self.ledger.export().await?;
            let document = serde_json::to_string_pretty(&document);
            Ok(v1::ExportResponse {
                document: document.map_err(|error| Refused::field("document", error))?,
            })
        })
        .await
    }

    async fn import(
        &self,
        request: Request<v1::ImportRequest>,
    ) -> Result<Response<v1::ImportResponse>, Status> {
        let request = request.into_inner();
        self.answer(Verb::Import, async {
            let dry_run = request.dry_run;
            let document = serde_json::from_str(&request.document);
            let document = document.map_err(|error| Refused::field("document", error))?;
            let request = ImportRequest { document, dry_run };
            let done = self.ledger.import(request).await?;
            let refused = done.refused.len();
            info!(
                imported = done.imported,
                refused, dry_run, "import answered"
            );
            Ok(v1::ImportResponse {
                imported: done.imported,
                refused: done.refused,
            })
        })
        .await
    }

    async fn reload(
        &self,
        _request: Request<v1::ReloadRequest>,
    ) -> Result<Response<v1::ReloadResponse>, Status> {
        self.answer(Verb::Reload, async {
            let changes = self.reloader.reload().await?;
            Ok(v1::ReloadResponse { changes })
        })
        .await
    }
}

fn records(views: &[BindingView]) -> Vec<v1::BindingRecord> {
    views.iter().map(binding_record).collect()
}

fn parse<T: FromStr<Err: Display>>(field: &'static str, text: &str) -> Result<T, Refused> {
    text.parse()
        .map_err(|error| Refused::field(field, format!("{text:?}: {error}")))
}

fn optional<T: FromStr<Err: Display>>(
    field: &'static str,
    text: &str,
) -> Result<Option<T>, Refused> {
    if text.is_empty() {
        return Ok(None);
    }
    parse(field, text).map(Some)
}

/// Which addresses are listed.
pub(crate) fn list_filter(request: &v1::ListRequest) -> Result<ListFilter, Refused> {
    Ok(ListFilter {
        pool: optional("pool", &request.pool)?,
        network: optional("network", &request.network)?,
        state: optional("state", &request.state)?,
    })
}

/// Address and time of a [`v1::WhoRequest`].
pub(crate) fn who_query(request: &v1::WhoRequest) -> Result<(IpAddr, Option<Timestamp>), Refused> {
    Ok((
        parse("address", &request.address)?,
        optional("at", &request.at)?,
    ))
}

/// Who has and had an address.
pub(crate) fn who_response(who: &Who) -> v1::WhoResponse {
    let mut current = who.current.iter().map(binding_record);
    v1::WhoResponse {
        current: current.next(),
        others: current.collect(),
        log: who.log.iter().map(audit_record).collect(),
    }
}

/// The identity of a [`v1::WhyRequest`].
pub(crate) fn why_query(request: &v1::WhyRequest) -> Result<Identity, Refused> {
    parse("identity", &request.identity)
}

/// What an identity has and had.
pub(crate) fn why_response(why: Why) -> v1::WhyResponse {
    v1::WhyResponse {
        bindings: records(&why.bindings),
        log: why.log.iter().map(audit_record).collect(),
        story: why.story,
    }
}

fn reserve_request(request: v1::ReserveRequest) -> Result<ReserveRequest, Refused> {
    Ok(ReserveRequest {
        network: parse("network", &request.network)?,
        address: optional("address", &request.address)?,
        identity: optional("identity", &request.identity)?,
        mac: optional("mac", &request.mac)?,
        note: request.note,
    })
}
