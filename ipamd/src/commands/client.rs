//! The connection to the running daemon, and the flags every command shares.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args as ClapArgs;
use hyper_util::rt::TokioIo;
use proto_ipam::v1::admin_client::AdminClient;
use proto_ipam::v1::ipam_client::IpamClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use super::error::CommandError;
use super::output::OutputFormat;
use crate::args::Args;
use crate::config::{self, MAX_MESSAGE_BYTES};

/// Flags of every command.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ClientArgs {
    /// Socket of the daemon; default: what the configuration says
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) socket: Option<PathBuf>,

    /// Form of the answer
    #[arg(long, value_enum, default_value_t = OutputFormat::Table, global = true)]
    pub(crate) output: OutputFormat,

    /// How long the daemon may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration, global = true)]
    pub(crate) deadline: Duration,
}

/// The daemon's two services over one connection.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) ipam: IpamClient<Channel>,
    pub(crate) admin: AdminClient<Channel>,
}

impl Client {
    /// Connects to the daemon's socket.
    pub(crate) async fn connect(args: &Args) -> Result<Self, CommandError> {
        let socket = socket(args);
        let stream = open(&socket).await?;
        let channel = channel(stream, args.client.deadline)
            .await
            .map_err(|source| CommandError::Connect { socket, source })?;
        Ok(Self {
            ipam: IpamClient::new(channel.clone()),
            admin: AdminClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES),
        })
    }
}

/// Where the daemon is to be found. An unreadable configuration does not keep an operator from asking it.
pub(crate) fn socket(args: &Args) -> PathBuf {
    let told = args.client.socket.clone();
    told.or_else(|| Some(config::load(&args.config, &args.overrides).ok()?.socket))
        .unwrap_or_else(|| config::DEFAULT_SOCKET.into())
}

async fn open(socket: &Path) -> Result<UnixStream, CommandError> {
    UnixStream::connect(socket).await.map_err(|source| {
        let socket = socket.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied => CommandError::Forbidden { socket, source },
            _ => CommandError::Unreachable { socket, source },
        }
    })
}

/// A channel over this one stream: a command that loses its connection reports it and does not ask twice.
async fn channel(
    stream: UnixStream,
    deadline: Duration,
) -> Result<Channel, tonic::transport::Error> {
    let stream = Arc::new(Mutex::new(Some(stream)));
    let connector = tower::service_fn(move |_| {
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stream = stream.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset));
        std::future::ready(stream.map(TokioIo::new))
    });
    // The host part is never used: the connector has the stream already.
    Endpoint::from_static("http://ipamd.invalid")
        .timeout(deadline)
        .connect_with_connector(connector)
        .await
}
