//! The way to the API server, for all daemons: kube's own client on sockets that notice when nobody is there any more.
//!
//! **Always holds:** a connection whose other end is gone without a word is given up within [`FOUND_WITHIN`], whether something is on
//! its way or a watch waits. A node's address that moves to another link loses all connections over a Service's address in that way, and
//! a watch alone would not know for as long as its silence is allowed to last. **Never:** decides what is asked or tried again.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Builder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ConfigExt as _};
use kube::{Client, Config};
use tower::retry::RetryLayer;
use tower::util::option_layer;
use tower::{BoxError, Layer as _, ServiceExt as _};

/// How long the other end may be silent.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// A connection on which nothing is said is asked for its other end after so long.
    asked_after: Duration,
    /// From one question to the next.
    asked_every: Duration,
    /// So many without an answer.
    questions: u32,
    /// What was sent, a question too, is not acknowledged for so long.
    unanswered: Duration,
}

/// A cluster's agents together keep some ten thousand connections that are silent most of the time: asked every ten seconds, that is a
/// thousand small packets a second.
const PATIENCE: Patience = Patience {
    asked_after: Duration::from_secs(10),
    asked_every: Duration::from_secs(3),
    questions: 3,
    unanswered: Duration::from_secs(15),
};

/// All of it together.
pub const FOUND_WITHIN: Duration = Duration::from_secs(20);

/// A client as [`Client::try_from`] makes it, without proxies, spans and compression. Nothing is sent yet.
///
/// # Errors
/// Credentials or certificates of `config` cannot be used.
pub fn client(config: Config) -> Result<Client, kube::Error> {
    impatient(config, PATIENCE)
}

fn impatient(config: Config, patience: Patience) -> Result<Client, kube::Error> {
    let mut sockets = HttpConnector::new();
    sockets.enforce_http(false);
    sockets.set_keepalive(Some(patience.asked_after));
    sockets.set_keepalive_interval(Some(patience.asked_every));
    sockets.set_keepalive_retries(Some(patience.questions));
    sockets.set_tcp_user_timeout(Some(patience.unanswered));
    let secured = config.rustls_https_connector_with_connector(sockets)?;
    let mut connector = TimeoutConnector::new(secured);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let connections = Builder::new(TokioExecutor::new()).build::<_, Body>(connector);

    let headers = config.extra_headers_layer()?;
    let credentials = option_layer(config.auth_layer()?);
    let retry = config.default_retry.then(RetryPolicy::server_retry);
    let retry = option_layer(retry.map(RetryLayer::new));
    let service = headers.layer(connections.map_err(BoxError::from));
    let service = retry.layer(credentials.layer(service));
    let service = config.base_uri_layer().layer(service);
    Ok(Client::new(service, config.default_namespace))
}

#[cfg(test)]
mod tests;
