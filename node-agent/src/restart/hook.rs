//! A container's preStop hook, run as kubelet runs it: inside the grace period, and the container is stopped however it went.

use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use node_agent_cri::{CallRuntimeError, Runtime};
use node_agent_restart::prestop::{Hook, HttpGet, Scheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

mod tls;

/// Where a hook runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) runtime: &'a Runtime,
    /// The container.
    pub(super) id: &'a str,
    /// The Pod's first address; nothing: it is not known, or the Pod is on the node's network.
    pub(super) ip: Option<&'a str>,
}

/// Why a hook did not run to its end, or what it answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunHookError {
    /// The runtime could not run the command.
    #[error("running the command in the container")]
    Exec {
        #[source]
        source: CallRuntimeError,
    },
    /// The command failed.
    #[error("the command in the container ended with exit code {code}: {words}")]
    Code { code: i32, words: String },
    /// It took as long as the grace period.
    #[error("not done within the grace period of {limit:?}")]
    Late { limit: Duration },
    /// The Pod's address is not known.
    #[error("the Pod's address is not known, and the hook names no host")]
    NoAddress,
    /// Nobody answers at the address.
    #[error("connecting to {address}")]
    Connect {
        address: String,
        #[source]
        source: std::io::Error,
    },
    /// What is asked for is no request.
    #[error("the hook's request of {url} cannot be written")]
    Write {
        url: String,
        #[source]
        source: hyper::http::Error,
    },
    /// There was no answer.
    #[error("no answer of {url}")]
    Ask {
        url: String,
        #[source]
        source: hyper::Error,
    },
    /// kubelet accepts such a hook and never runs it.
    #[error("tcpSocket of port {port} is no hook that is ever run, by kubelet either")]
    Tcp { port: u16 },
}

/// Runs a hook, for so long at most.
///
/// # Errors
/// When it did not run to its end, or failed. The container is stopped all the same.
///
/// # Cancellation
/// The command in the container may run on.
pub(super) async fn run(
    hook: &Hook,
    place: Place<'_>,
    limit: Duration,
) -> Result<(), RunHookError> {
    let late = RunHookError::Late { limit };
    let work = async {
        match hook {
            Hook::Exec { command } => exec(command.clone(), place, limit).await,
            Hook::HttpGet(get) => ask(get, place).await,
            Hook::Sleep(duration) => {
                tokio::time::sleep(*duration).await;
                Ok(())
            }
            Hook::TcpSocket { port, .. } => Err(RunHookError::Tcp { port: *port }),
        }
    };
    // The runtime has the same limit for a command, and answers a little later.
    let outer = match hook {
        Hook::Exec { .. } => limit + Duration::from_secs(1),
        _ => limit,
    };
    let done = tokio::time::timeout(outer, work).await;
    done.unwrap_or(Err(late))
}

async fn exec(command: Vec<String>, place: Place<'_>, limit: Duration) -> Result<(), RunHookError> {
    let outcome = match place.runtime.exec_sync(place.id, command, limit).await {
        Ok(outcome) => outcome,
        // It ran, and said more than anybody reads.
        Err(CallRuntimeError::TooLong { .. }) => return Ok(()),
        Err(CallRuntimeError::Overrun { deadline }) => {
            return Err(RunHookError::Late { limit: deadline });
        }
        Err(source) => return Err(RunHookError::Exec { source }),
    };
    if outcome.code == 0 {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&outcome.stderr);
    Err(RunHookError::Code {
        code: outcome.code,
        words: words.trim().chars().take(200).collect(),
    })
}

async fn ask(get: &HttpGet, place: Place<'_>) -> Result<(), RunHookError> {
    let host = get.host.as_deref().or(place.ip);
    let host = host.ok_or(RunHookError::NoAddress)?;
    let request = request(get, host)?;
    let stream = connect(host, get.port).await?;
    let url = request.uri().to_string();
    let answered = match get.scheme {
        Scheme::Http => exchange(stream, request.clone()).await,
        Scheme::Https => match tls::wrap(stream, host).await {
            Ok(stream) => exchange(stream, request.clone()).await,
            // As kubelet does where HTTP is what answers.
            Err(_) => exchange(connect(host, get.port).await?, request.clone()).await,
        },
    };
    answered.map_err(|source| RunHookError::Ask { url, source })
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, RunHookError> {
    let connected = TcpStream::connect((host, port)).await;
    connected.map_err(|source| RunHookError::Connect {
        address: authority(host, port),
        source,
    })
}

/// Sends, and waits for the head of the answer; what it says does not matter.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Empty<Bytes>>,
) -> Result<(), hyper::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let asked = sender.send_request(request);
    tokio::pin!(asked, connection);
    tokio::select! {
        answer = &mut asked => answer.map(drop),
        // It may end first when all was read, or when the answer broke off: the request knows which.
        _ = &mut connection => asked.await.map(drop),
    }
}

fn request(get: &HttpGet, host: &str) -> Result<Request<Empty<Bytes>>, RunHookError> {
    let authority = authority(host, get.port);
    let path = get.path.trim_start_matches('/');
    let url = format!("http://{authority}/{path}");
    let write = |source: hyper::http::Error| RunHookError::Write {
        url: url.clone(),
        source,
    };
    let uri: Uri = format!("/{path}")
        .parse()
        .map_err(|error: hyper::http::uri::InvalidUri| write(error.into()))?;
    let mut request = Request::get(uri).body(Empty::new()).map_err(write)?;
    let headers = request.headers_mut();
    for (name, value) in &get.headers {
        let name: HeaderName = name
            .parse()
            .map_err(|error: hyper::http::header::InvalidHeaderName| write(error.into()))?;
        let value: HeaderValue = value
            .parse()
            .map_err(|error: hyper::http::header::InvalidHeaderValue| write(error.into()))?;
        headers.append(name, value);
    }
    let own = [
        (HOST, authority.as_str()),
        (
            USER_AGENT,
            concat!("berth-agent/", env!("CARGO_PKG_VERSION")),
        ),
        (ACCEPT, "*/*"),
    ];
    for (name, text) in own {
        if !headers.contains_key(&name) {
            let value: HeaderValue = text
                .parse()
                .map_err(|error: hyper::http::header::InvalidHeaderValue| write(error.into()))?;
            headers.insert(name, value);
        }
    }
    Ok(request)
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests;
