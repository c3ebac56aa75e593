//! Where reading commands read: the running daemon, or the store of one that is down.

use proto_ipam::v1;

use super::client::Client;
use super::error::CommandError;
use super::offline::StoreReader;
use crate::args::Args;

/// Something that can be read.
pub(super) enum Source {
    /// The daemon that runs.
    Daemon(Box<Client>),
    /// The store of one that does not.
    Store(Box<StoreReader>),
}

impl Source {
    /// The daemon if it answers, else its store.
    pub(super) async fn open(args: &Args) -> Result<Self, CommandError> {
        match Client::connect(args).await {
            Ok(client) => Ok(Self::Daemon(Box::new(client))),
            Err(CommandError::Unreachable { socket, source }) => {
                // A socket that was named says which daemon is meant; the configuration's store may be another's.
                if args.client.socket.is_some() {
                    return Err(CommandError::Unreachable { socket, source });
                }
                let reader = StoreReader::open(args, &socket)?;
                Ok(Self::Store(Box::new(reader)))
            }
            Err(error) => Err(error),
        }
    }

    /// As the daemon's `List`.
    pub(super) async fn list(
        &mut self,
        request: v1::ListRequest,
    ) -> Result<v1::ListResponse, CommandError> {
        match self {
            Self::Daemon(client) => match client.admin.list(request).await {
                Ok(response) => Ok(response.into_inner()),
                Err(status) => Err(CommandError::call("list", &status)),
            },
            Self::Store(reader) => reader.remarked().list(&request),
        }
    }

    /// As the daemon's `Who`.
    pub(super) async fn who(
        &mut self,
        request: v1::WhoRequest,
    ) -> Result<v1::WhoResponse, CommandError> {
        match self {
            Self::Daemon(client) => match client.admin.who(request).await {
                Ok(response) => Ok(response.into_inner()),
                Err(status) => Err(CommandError::call("look an address up", &status)),
            },
            Self::Store(reader) => reader.remarked().who(&request),
        }
    }

    /// As the daemon's `Why`.
    pub(super) async fn why(
        &mut self,
        request: v1::WhyRequest,
    ) -> Result<v1::WhyResponse, CommandError> {
        match self {
            Self::Daemon(client) => match client.admin.why(request).await {
                Ok(response) => Ok(response.into_inner()),
                Err(status) => Err(CommandError::call("explain", &status)),
            },
            Self::Store(reader) => reader.remarked().why(&request),
        }
    }

    /// As the daemon's `Fsck`.
    pub(super) async fn fsck(&mut self) -> Result<v1::FsckResponse, CommandError> {
        match self {
            Self::Daemon(client) => match client.admin.fsck(v1::FsckRequest {}).await {
                Ok(response) => Ok(response.into_inner()),
                Err(status) => Err(CommandError::call("check itself", &status)),
            },
            Self::Store(reader) => reader.remarked().fsck(),
        }
    }

    /// As the daemon's `Export`.
    pub(super) async fn export(&mut self) -> Result<String, CommandError> {
        match self {
            Self::Daemon(client) => match client.admin.export(v1::ExportRequest {}).await {
                Ok(response) => Ok(response.into_inner().document),
                Err(status) => Err(CommandError::call("export", &status)),
            },
            Self::Store(reader) => reader.remarked().export(),
        }
    }
}
