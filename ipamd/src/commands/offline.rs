//! The store of a daemon that is down, read in its stead. Locks it for as long as the command runs; changes nothing.

use std::path::Path;

use proto_ipam::v1;

use super::error::CommandError;
use super::output::print_remark;
use crate::args::Args;
use crate::config;
use crate::ledger::offline::{Offline, OpenOfflineError};
use crate::server::{
    Refused, binding_record, list_filter, who_query, who_response, why_query, why_response,
};
use crate::store::folder::LockStoreError;
use crate::sync::Remembered;

/// An open store without its daemon.
pub(super) struct StoreReader {
    store: Offline,
    remark: Option<String>,
}

impl StoreReader {
    /// Opens the store that the configuration names.
    pub(super) fn open(args: &Args, socket: &Path) -> Result<Self, CommandError> {
        let config = config::load(&args.config, &args.overrides)?;
        let folder = config.store;
        let remembered = Remembered::load(&folder, &config.settings);
        let settings = match remembered {
            Some(remembered) => remembered.settings(&config.settings),
            None => config.settings,
        };
        match Offline::open(&folder, settings, &args.overrides.boot_id_file) {
            Ok(store) => Ok(Self {
                store,
                remark: Some(format!(
                    "no daemon answers on {}; read from the store {}",
                    socket.display(),
                    folder.display()
                )),
            }),
            Err(OpenOfflineError::Lock(LockStoreError::Held { .. })) => {
                Err(CommandError::SocketDead {
                    store: folder,
                    socket: socket.into(),
                })
            }
            Err(error) => Err(CommandError::ReadStore {
                socket: socket.into(),
                source: Box::new(error),
            }),
        }
    }

    /// Tells people, once, that this is not the daemon.
    pub(super) fn remarked(&mut self) -> &Self {
        if let Some(remark) = self.remark.take() {
            print_remark(&remark);
        }
        self
    }

    pub(super) fn list(&self, request: &v1::ListRequest) -> Result<v1::ListResponse, CommandError> {
        let filter = list_filter(request).map_err(refused)?;
        let found = self.store.list(&filter);
        Ok(v1::ListResponse {
            bindings: found.iter().map(binding_record).collect(),
        })
    }

    pub(super) fn who(&self, request: &v1::WhoRequest) -> Result<v1::WhoResponse, CommandError> {
        let (address, at) = who_query(request).map_err(refused)?;
        let who = self.store.who(address, at).map_err(CommandError::ReadLog)?;
        Ok(who_response(&who))
    }

    pub(super) fn why(&self, request: &v1::WhyRequest) -> Result<v1::WhyResponse, CommandError> {
        let identity = why_query(request).map_err(refused)?;
        let why = self.store.why(identity).map_err(CommandError::ReadLog)?;
        Ok(why_response(why))
    }

    pub(super) fn fsck(&self) -> Result<v1::FsckResponse, CommandError> {
        let found = self.store.fsck().map_err(CommandError::ReadLog)?;
        Ok(v1::FsckResponse {
            records: found.records,
            findings: found.findings,
        })
    }

    pub(super) fn export(&self) -> Result<String, CommandError> {
        serde_json::to_string_pretty(&self.store.export()).map_err(|source| CommandError::Write {
            source: source.into(),
        })
    }
}

fn refused(refused: Refused) -> CommandError {
    CommandError::Refused(refused.into())
}
