//! The endpoint for monitoring: `/metrics` (`OpenMetrics` text), `/healthz` (the process answers), `/readyz` (it does its work).
//!
//! Read-only and without secrets, but still not offered beyond the node by accident: a TCP address is a loopback one, but
//! where somebody says on purpose that it is not ([`HttpAddress::parse_exposed`]). Who asks on the node itself is answered
//! on the loopback also then: an address may leave a node for a time, and a supervisor must not take that for a dead
//! process. Number of connections and time for a request are bounded, so that a stuck scraper costs nothing.

mod port;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming as Body};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;
use tracing::{debug, info, warn};

use crate::chain::chain;
use crate::readiness::{ReadinessWatch, Ready};
use crate::tasks::Tasks;
use crate::uds::{self, BindSocketError, Incoming};
use port::Port;

/// A scraper, a kubelet and a curious operator at once, with room.
const CONNECTIONS: usize = 16;
/// A scrape takes milliseconds; a connection that asks nothing for so long is closed.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// After a failed accept (no free descriptor) the next one is not tried at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the endpoint listens: `127.0.0.1:9421`, `[::1]:9421` or `unix:/run/berth/metrics.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAddress {
    /// An address and port, mostly of the loopback.
    Tcp(SocketAddr),
    /// A unix socket, mode 0600.
    Unix(PathBuf),
}

/// Why a text is not an address for the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseHttpAddressError {
    /// Neither address and port nor `unix:` and a path.
    #[error(
        "{text:?} is not an address: write \"127.0.0.1:9421\", \"unix:/path\", or \"\" for none"
    )]
    Form {
        /// The text.
        text: String,
    },
    /// The path after `unix:` is relative.
    #[error("{text:?} needs an absolute path after \"unix:\"")]
    RelativePath {
        /// The text.
        text: String,
    },
    /// The address can be reached from other hosts.
    #[error(
        "{address} can be reached from other hosts, and the endpoint has no authentication: \
         use 127.0.0.1:{} or \"unix:/path\", and let a local agent forward it", address.port()
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
}

impl HttpAddress {
    /// An address that other hosts may reach too. Whoever reaches it reads everything there, without authentication.
    ///
    /// # Errors
    /// When the text is no address.
    pub fn parse_exposed(text: &str) -> Result<Self, ParseHttpAddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err(ParseHttpAddressError::RelativePath { text: text.into() });
            }
            return Ok(Self::Unix(path.into()));
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|_| ParseHttpAddressError::Form { text: text.into() })?;
        Ok(Self::Tcp(address))
    }
}

impl FromStr for HttpAddress {
    type Err = ParseHttpAddressError;

    fn from_str(text: &str) -> Result<Self, ParseHttpAddressError> {
        match Self::parse_exposed(text)? {
            Self::Tcp(address) if !address.ip().is_loopback() => {
                Err(ParseHttpAddressError::NotLoopback { address })
            }
            address => Ok(address),
        }
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why the endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindHttpError {
    /// The port is taken.
    #[error("listening on {address}; is the port taken? choose another, or \"\" for none")]
    Tcp {
        /// The address, or the loopback's.
        address: SocketAddr,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The unix socket.
    #[error(transparent)]
    Unix(#[from] BindSocketError),
}

/// The endpoint, bound and not yet served.
#[derive(Debug)]
pub struct HttpServer {
    listener: Listener,
}

#[derive(Debug)]
enum Listener {
    Tcp(Port),
    Unix(Incoming),
}

/// What is answered from.
#[derive(Clone, Debug)]
pub struct HttpContent {
    /// The metrics.
    pub registry: Arc<Registry>,
    /// For `/readyz`.
    pub readiness: ReadinessWatch,
}

impl HttpServer {
    /// Binds the address.
    ///
    /// # Errors
    /// When it is taken or the kernel refuses.
    #[expect(
        clippy::unused_async,
        reason = "a listener registers with the runtime: this cannot be called outside of one"
    )]
    pub async fn bind(address: &HttpAddress) -> Result<Self, BindHttpError> {
        let listener = match address {
            HttpAddress::Tcp(address) => {
                let port = Port::bind(*address);
                Listener::Tcp(
                    port.map_err(|(address, source)| BindHttpError::Tcp { address, source })?,
                )
            }
            HttpAddress::Unix(path) => Listener::Unix(uds::bind(path)?.into_incoming()),
        };
        info!(%address, "metrics endpoint open");
        Ok(Self { listener })
    }

    /// The port, where it is TCP.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(port) => port.address().ok(),
            Listener::Unix(_) => None,
        }
    }

    /// Starts to answer, until the group is stopped.
    pub fn spawn(mut self, tasks: &Tasks, content: HttpContent) {
        let group = tasks.clone();
        tasks.spawn("http", async move {
            let slots = Arc::new(Semaphore::new(CONNECTIONS));
            let token = group.token();
            loop {
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                    return;
                };
                let stream = tokio::select! {
                    () = token.cancelled() => return,
                    stream = self.listener.accept() => stream,
                };
                let stream = match stream {
                    Ok(stream) => stream,
                    Err(error) => {
                        warn!(error = %chain(&error), "connection to the metrics endpoint not accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let (content, token) = (content.clone(), token.clone());
                group.spawn_job("http connection", async move {
                    let _slot = slot;
                    tokio::select! {
                        () = token.cancelled() => {}
                        () = answer_connection(stream, content) => {}
                    }
                });
            }
        });
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Listener {
    async fn accept(&mut self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(port) => Ok(Box::new(port.accept().await?)),
            Self::Unix(incoming) => match incoming.next().await {
                Some(stream) => Ok(Box::new(stream?)),
                None => std::future::pending().await,
            },
        }
    }
}

async fn answer_connection(stream: Box<dyn Stream>, content: HttpContent) {
    let service = service_fn(move |request| {
        let response = answer(&request, &content);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(error = %chain(&error), "connection to the metrics endpoint ended early");
    }
}

fn answer(request: &Request<Body>, content: &HttpContent) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match request.uri().path() {
        "/metrics" => metrics(&content.registry),
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match content.readiness.now() {
            Ready::Yes => text(StatusCode::OK, "ok\n"),
            Ready::No(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /healthz and /readyz\n",
        ),
    }
}

fn metrics(registry: &Registry) -> Response<Full<Bytes>> {
    let mut body = String::new();
    if encode(&mut body, registry).is_err() {
        return text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a metric could not be encoded\n",
        );
    }
    let mut response = text(StatusCode::OK, body);
    let kind = hyper::header::HeaderValue::from_static(OPENMETRICS);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests;
