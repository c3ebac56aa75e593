//! The gRPC services on the daemon's socket: `Ipam` for the plugin, `Admin` for the operator.
//!
//! Parses what comes in, asks the ledger, words what goes out. Decides nothing about addresses. Every refusal carries a
//! `Refusal` with reason, cause and advice. What may be under way at once, and how large a message may be, is bounded.

mod admin;
mod dispatch;
mod handshake;
mod ipam;
mod pod;
mod records;
mod status;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ipamd_daemon::uds::Incoming;
use proto_ids::InterfaceRequest;
use proto_ipam::v1::admin_server::AdminServer;
use proto_ipam::v1::ipam_server::IpamServer;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Response, Status};
use tracing::{debug, info, warn};

use crate::config::MAX_MESSAGE_BYTES;
use crate::ledger::{LedgerHandle, Unavailable};
use crate::metrics::{Call, CallMetrics, CallResult, Verb};
use crate::reload::ReloadHandle;
use crate::sync::{ClaimsHandle, EventsHandle, PodsHandle};
use crate::wire::WireHandle;

pub(crate) use admin::{list_filter, who_query, who_response, why_query, why_response};
use dispatch::Dispatch;
pub(crate) use records::binding_record;
pub(crate) use status::Refused;

/// A node has 256 Pods; when all of them start and end at once there is one call each.
const CALLS: usize = 512;
/// Streams of one connection: a plugin needs one, an operator's tool a few.
const STREAMS: u32 = 64;
/// Longest time for one call. A runtime gives its plugin minutes; a disk that hangs longer than this is failing.
const CALL_DEADLINE: Duration = Duration::from_secs(60);
/// The plugin's largest message lists every attachment of a node: 4 MiB is some 30,000 of them.
const PLUGIN_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// What both services answer from.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) ledger: LedgerHandle,
    pub(crate) reloader: ReloadHandle,
    pub(crate) calls: CallMetrics,
    /// Told on which links networks are heard.
    pub(crate) wire: WireHandle,
    /// Told what an operator must hear of.
    pub(crate) events: EventsHandle,
    /// What the node's Pods say of their addresses.
    pub(crate) pods: PodsHandle,
    /// Gives addresses.
    pub(crate) claims: ClaimsHandle,
    /// Kernel capabilities the daemon kept.
    pub(crate) capabilities: Vec<String>,
    slots: Arc<Semaphore>,
}

/// What a [`Service`] is made of.
pub(crate) struct ServiceParts {
    pub(crate) ledger: LedgerHandle,
    pub(crate) reloader: ReloadHandle,
    pub(crate) calls: CallMetrics,
    pub(crate) wire: WireHandle,
    pub(crate) events: EventsHandle,
    pub(crate) pods: PodsHandle,
    pub(crate) claims: ClaimsHandle,
    pub(crate) capabilities: Vec<String>,
}

impl Service {
    pub(crate) fn new(parts: ServiceParts) -> Self {
        let ServiceParts {
            ledger,
            reloader,
            calls,
            wire,
            events,
            pods,
            claims,
            capabilities,
        } = parts;
        Self {
            ledger,
            reloader,
            calls,
            wire,
            events,
            pods,
            claims,
            capabilities,
            slots: Arc::new(Semaphore::new(CALLS)),
        }
    }

    /// Answers one call: within the bound, timed, counted, and logged when refused.
    async fn answer<T>(
        &self,
        verb: Verb,
        work: impl Future<Output = Result<T, Refused>>,
    ) -> Result<Response<T>, Status> {
        let call = self.calls.begin(verb);
        let outcome = match self.slots.try_acquire() {
            Ok(_slot) => work.await,
            Err(_) => Err(Unavailable::Busy.into()),
        };
        match outcome {
            Ok(answer) => {
                call.answered(CallResult::Done);
                debug!(verb = verb.as_str(), "call answered");
                Ok(Response::new(answer))
            }
            Err(refused) => {
                refuse(call, verb, &refused);
                Err(refused.into())
            }
        }
    }

    /// Tells the wire where the networks are heard, all at once. The first Pod of a segment waits here, half a second at
    /// most, until the addresses it may get were asked for.
    async fn hear(&self, interfaces: &[InterfaceRequest]) {
        let mut hearing = JoinSet::new();
        for interface in interfaces {
            let Some(link) = interface.segment.clone() else {
                continue;
            };
            let (wire, network) = (self.wire.clone(), interface.network.clone());
            hearing.spawn(async move { wire.hear(&network, &link).await });
        }
        while hearing.join_next().await.is_some() {}
    }
}

/// Counts and logs a call that is refused.
fn refuse(call: Call, verb: Verb, refused: &Refused) {
    let reason = refused.reason();
    call.answered(CallResult::Refused(reason));
    let reason = reason.as_str_name();
    if refused.is_callers() {
        info!(verb = verb.as_str(), reason, error = %refused, "call refused");
    } else {
        warn!(verb = verb.as_str(), reason, error = %refused, "call refused");
    }
}

/// Serves until the token is cancelled, then finishes what is under way.
///
/// # Errors
/// When the socket fails.
pub(crate) async fn serve(
    service: Service,
    incoming: Incoming,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let calls = service.calls.clone();
    let ipam = IpamServer::new(service.clone()).max_decoding_message_size(PLUGIN_MESSAGE_BYTES);
    let admin = AdminServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let dispatch = Dispatch { ipam, admin, calls };
    Server::builder()
        .timeout(CALL_DEADLINE)
        .max_concurrent_streams(STREAMS)
        .serve_with_incoming_shutdown(dispatch, incoming, stop.cancelled_owned())
        .await
}

#[cfg(test)]
mod tests;
