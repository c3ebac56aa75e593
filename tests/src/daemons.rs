//! Asks `berth-ipamd` by its socket, as the plugin and the operator's commands do.
//!
//! Blocking, and each call connects anew, so that a daemon that was started again is found.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proto_ipam::refusal::Refusal;
use proto_ipam::v1;
use proto_ipam::v1::admin_client::AdminClient;
use proto_ipam::v1::ipam_client::IpamClient;
use proto_ipam::version::KEY;
use tokio::net::UnixStream;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::wait::{PATIENCE, wait_at_most};

/// A client of one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    claim: Claim,
}

/// The release that a client names; none, as an operator's tool.
#[derive(Clone, Debug, Default)]
struct Claim(Option<MetadataValue<Ascii>>);

impl Interceptor for Claim {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        if let Some(release) = &self.0 {
            request.metadata_mut().insert(KEY, release.clone());
        }
        Ok(request)
    }
}

/// A connection over which a client names its release.
type Line = InterceptedService<Channel, Claim>;

/// One call, long enough for a daemon that recovers.
const CALL: Duration = Duration::from_secs(20);

impl Client {
    /// A client of the daemon at this socket.
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            claim: Claim::default(),
        }
    }

    /// Names this release in every call, as a plugin does.
    #[must_use]
    pub fn of_release(mut self, release: &str) -> Self {
        self.claim = Claim(Some(release.parse().unwrap()));
        self
    }

    fn call<T>(
        &self,
        work: impl AsyncFnOnce(Line) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, tonic::Status> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let socket = self.socket.clone();
        runtime.block_on(async {
            let connector = tower::service_fn(move |_| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            });
            // The address is never looked up: the connector knows the socket.
            let channel = Endpoint::from_static("http://ipamd")
                .timeout(CALL)
                .connect_with_connector(connector)
                .await
                .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
            let line = InterceptedService::new(channel, self.claim.clone());
            work(line).await.map(tonic::Response::into_inner)
        })
    }

    /// Ipam.Status of all networks.
    ///
    /// # Errors
    /// What the daemon answers, or that it cannot be reached.
    pub fn status(&self) -> Result<v1::StatusResponse, tonic::Status> {
        self.call(async |channel| {
            IpamClient::new(channel)
                .status(v1::StatusRequest::default())
                .await
        })
    }

    /// Ipam.Allocate.
    ///
    /// # Errors
    /// What the daemon answers, or that it cannot be reached.
    pub fn allocate(
        &self,
        request: v1::AllocateRequest,
    ) -> Result<v1::AllocateResponse, tonic::Status> {
        self.call(async |channel| IpamClient::new(channel).allocate(request).await)
    }

    /// Ipam.Release.
    ///
    /// # Errors
    /// What the daemon answers, or that it cannot be reached.
    pub fn release(
        &self,
        attachment: v1::Attachment,
    ) -> Result<v1::ReleaseResponse, tonic::Status> {
        self.call(async |channel| {
            IpamClient::new(channel)
                .release(v1::ReleaseRequest {
                    attachment: Some(attachment),
                })
                .await
        })
    }

    /// Ipam.Check.
    ///
    /// # Errors
    /// What the daemon answers, or that it cannot be reached.
    pub fn check(&self, request: v1::CheckRequest) -> Result<v1::CheckResponse, tonic::Status> {
        self.call(async |channel| IpamClient::new(channel).check(request).await)
    }

    /// Ipam.Collect.
    ///
    /// # Errors
    /// What the daemon answers, or that it cannot be reached.
    pub fn collect(
        &self,
        request: v1::CollectRequest,
    ) -> Result<v1::CollectResponse, tonic::Status> {
        self.call(async |channel| IpamClient::new(channel).collect(request).await)
    }

    /// Admin.List of everything.
    ///
    /// # Errors
    /// What the daemon answers, or that it cannot be reached.
    pub fn list(&self) -> Result<Vec<v1::BindingRecord>, tonic::Status> {
        self.call(async |channel| {
            AdminClient::new(channel)
                .list(v1::ListRequest::default())
                .await
        })
        .map(|answer| answer.bindings)
    }

    /// Admin.Reserve.
    ///
    /// # Errors
    /// What the daemon answers, or that it cannot be reached.
    pub fn reserve(
        &self,
        request: v1::ReserveRequest,
    ) -> Result<Vec<v1::BindingRecord>, tonic::Status> {
        self.call(async |channel| AdminClient::new(channel).reserve(request).await)
            .map(|answer| answer.bindings)
    }

    /// Admin.Import of a document as Export writes it.
    ///
    /// # Errors
    /// What the daemon answers, or that it cannot be reached.
    pub fn import(&self, document: &str) -> Result<v1::ImportResponse, tonic::Status> {
        self.call(async |channel| {
            AdminClient::new(channel)
                .import(v1::ImportRequest {
                    document: document.to_owned(),
                    dry_run: false,
                })
                .await
        })
    }

    /// Admin.Export.
    ///
    /// # Errors
    /// What the daemon answers, or that it cannot be reached.
    pub fn export(&self) -> Result<String, tonic::Status> {
        self.call(async |channel| AdminClient::new(channel).export(v1::ExportRequest {}).await)
            .map(|answer| answer.document)
    }

    /// Admin.Fsck.
    ///
    /// # Errors
    /// What the daemon answers, or that it cannot be reached.
    pub fn fsck(&self) -> Result<v1::FsckResponse, tonic::Status> {
        self.call(async |channel| AdminClient::new(channel).fsck(v1::FsckRequest {}).await)
    }

    /// Waits until the binding of this address is in this state.
    #[track_caller]
    pub fn wait_state(&self, address: &str, state: &str) -> v1::BindingRecord {
        wait_at_most(PATIENCE, &format!("{address} is {state}"), || {
            let bindings = self.list().map_err(|error| format!("{error:?}"))?;
            bindings
                .iter()
                .find(|b| b.address.split('/').next() == Some(address) && b.state == state)
                .cloned()
                .ok_or_else(|| format!("{bindings:#?}"))
        })
    }
}

/// The reason of a refused call; fails where the status carries none.
#[track_caller]
pub fn reason(status: &tonic::Status) -> v1::Reason {
    Refusal::from_status(status)
        .unwrap_or_else(|| panic!("status without a refusal: {status:?}"))
        .reason
}
