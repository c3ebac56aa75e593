//! How a request's status is stored: on the node first, then in the API; on the node alone while the API server is away.
//!
//! Always holds: a status counts as stored when the API has it, or when the node has it and the API server did not answer. What the API
//! server refused, or was decided on an older version of the request, is taken back from the node.

use std::collections::BTreeMap;

use ipamd_daemon::chain;
use proto_crd::container_restart::ContainerRestartStatus;
use tracing::{debug, warn};

use super::api::{Api, AskApiError};
use super::journal::{Entry, Journal};
use super::request::Request;
use super::requests::Requests;

/// What became of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// It is stored.
    Yes,
    /// It is not, since the request has been changed or is gone: what it is now is known.
    Outdated,
    /// It is not.
    No,
}

/// Stores what becomes of requests.
pub(super) struct Store {
    api: Api,
    requests: Requests,
    journal: Journal,
    /// What the node has, by UID.
    entries: BTreeMap<String, Entry>,
}

impl Store {
    /// With what an earlier process stored on the node.
    pub(super) fn open(api: Api, requests: Requests, journal: Journal) -> Self {
        let entries = journal.load();
        Self {
            api,
            requests,
            entries: entries
                .into_iter()
                .map(|entry| (entry.uid.clone(), entry))
                .collect(),
            journal,
        }
    }

    /// All requests of this node, each as it was last stored, oldest first.
    pub(super) fn all(&self) -> Vec<Request> {
        let mut all = self.requests.all();
        for (uid, entry) in &self.entries {
            all.entry(uid.clone()).or_insert_with(|| entry.into());
        }
        let mut all: Vec<Request> = all
            .into_iter()
            .map(|(uid, request)| request.with(self.entries.get(&uid)))
            .collect();
        all.sort_by(|one, other| {
            (one.created_at, &one.name, &one.uid).cmp(&(other.created_at, &other.name, &other.uid))
        });
        all
    }

    /// A request as it was last stored.
    pub(super) fn get(&self, uid: &str) -> Option<Request> {
        self.all().into_iter().find(|request| request.uid == uid)
    }

    /// Drops what the node has about requests that are gone, by what the API server says now.
    pub(super) async fn forget_gone(&mut self) {
        if !self.requests.is_complete() {
            return;
        }
        let known = self.requests.all();
        let missing: Vec<Request> = self
            .entries
            .values()
            .filter(|entry| !known.contains_key(&entry.uid))
            .map(Request::from)
            .collect();
        for request in missing {
            if self.refresh(&request).await && !self.requests.all().contains_key(&request.uid) {
                self.forget(&request.uid).await;
            }
        }
    }

    /// Reads a request live. Answers whether that could be done.
    pub(super) async fn refresh(&self, request: &Request) -> bool {
        match self.api.request(&request.namespace, &request.name).await {
            Ok(object) => {
                self.requests.read(&request.uid, object.as_ref());
                true
            }
            Err(error) => {
                debug!(restart = request.name, error = %chain(&error), "a request cannot be read");
                false
            }
        }
    }

    /// Stores a status that was decided on a request.
    pub(super) async fn store(
        &mut self,
        request: &Request,
        status: &ContainerRestartStatus,
    ) -> Stored {
        let before = self.entries.get(&request.uid).cloned();
        let mut entry = Entry::of(request);
        entry.status = status.clone();
        entry.sent = before
            .as_ref()
            .map_or_else(Vec::new, |before| before.sent.clone());
        let on_node = status.has_begun() && self.keep(entry.clone()).await;
        match self.api.store(request, status).await {
            Ok(object) => {
                self.requests.wrote(&object);
                if status.has_begun() {
                    entry.told = object.status.clone().unwrap_or_default();
                    entry.version = object.metadata.resource_version.unwrap_or_default();
                    entry.sent.clear();
                    self.keep(entry).await;
                }
                Stored::Yes
            }
            Err(error @ (AskApiError::Unanswered { .. } | AskApiError::Away)) if on_node => {
                debug!(restart = request.name, error = %chain(&error), "stored on the node alone");
                if matches!(error, AskApiError::Unanswered { .. }) && !entry.sent.contains(status) {
                    entry.sent.push(status.clone());
                    self.keep(entry).await;
                }
                Stored::Yes
            }
            Err(error) => {
                self.take_back(&request.uid, before).await;
                self.not_stored(request, &error).await
            }
        }
    }

    async fn not_stored(&self, request: &Request, error: &AskApiError) -> Stored {
        match error {
            AskApiError::Outdated | AskApiError::Gone if self.refresh(request).await => {
                Stored::Outdated
            }
            AskApiError::Refused { .. } => {
                warn!(restart = request.name, error = %chain(error), "what becomes of a restart cannot be stored; nothing is done for it until it can");
                Stored::No
            }
            // Said once for all of them by the watch.
            _ => {
                debug!(restart = request.name, error = %chain(error), "what becomes of a restart is not stored");
                Stored::No
            }
        }
    }

    /// Tells the API what only the node has. Answers whether the API has it.
    pub(super) async fn tell(&mut self, request: &Request) -> bool {
        match self.api.store(request, &request.status).await {
            Ok(object) => {
                self.requests.wrote(&object);
                if let Some(mut entry) = self.entries.get(&request.uid).cloned() {
                    entry.told = object.status.unwrap_or_default();
                    entry.version = object.metadata.resource_version.unwrap_or_default();
                    entry.sent.clear();
                    self.keep(entry).await;
                }
                true
            }
            Err(AskApiError::Outdated | AskApiError::Gone) => {
                // With what it is now it is tried again.
                self.refresh(request).await;
                false
            }
            Err(error) => {
                debug!(restart = request.name, error = %chain(&error), "the API does not have what this node stored yet");
                false
            }
        }
    }

    /// Drops what the node has about a request.
    pub(super) async fn forget(&mut self, uid: &str) {
        self.take_back(uid, None).await;
    }

    async fn take_back(&mut self, uid: &str, before: Option<Entry>) {
        if let Some(before) = before {
            self.keep(before).await;
        } else if self.entries.remove(uid).is_some()
            && let Err(error) = self.journal.drop(uid).await
        {
            warn!(error = %chain(&error), "what was stored about a restart is not removed");
        }
    }

    /// Answers whether the node has it.
    async fn keep(&mut self, entry: Entry) -> bool {
        match self.journal.keep(entry.clone()).await {
            Ok(()) => {
                self.entries.insert(entry.uid.clone(), entry);
                true
            }
            Err(error) => {
                warn!(error = %chain(&error), "a restart cannot be stored on the node: it does not go on while the API server is away");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
