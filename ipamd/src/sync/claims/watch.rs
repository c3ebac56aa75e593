//! Following the own claims: a watch that the API server filters to them.

use std::pin::Pin;
use std::time::Instant;

use kube::runtime::watcher::{self, Event, watcher};
use proto_crd::claim::Claim as Object;
use proto_ids::NodeName;
use tokio::time::timeout_at;
use tokio_stream::{Stream, StreamExt};

use super::claims;
use crate::sync::ANSWER_DEADLINE;
use crate::sync::api::Connection;
use crate::sync::node::Observed;

/// Claims in one page of the first list.
const PAGE: u32 = 500;

/// What was heard.
pub(super) enum Heard {
    /// A whole list begins; it is sent now.
    Listing,
    /// One of the list, which was sent at this time.
    Listed(Box<Object>, Instant),
    /// The list is whole.
    Whole(Box<Connection>),
    /// A claim is new or changed.
    Changed(Box<Object>),
    /// A claim is gone, or another node's.
    Gone(Box<Object>),
}

/// A watch of the own claims.
pub(super) struct Follow {
    connection: Connection,
    events: Pin<Box<dyn Stream<Item = watcher::Result<Event<Object>>> + Send>>,
    sent: Instant,
    /// Until the list is whole.
    deadline: Option<Instant>,
}

impl Follow {
    pub(super) fn new(connection: &Connection, node: &NodeName) -> Self {
        let own = watcher::Config::default()
            .fields(&format!("spec.node={node}"))
            .page_size(PAGE);
        let now = Instant::now();
        Self {
            connection: connection.clone(),
            events: Box::pin(watcher(claims(connection), own)),
            sent: now,
            deadline: Some(now + ANSWER_DEADLINE),
        }
    }

    /// By which connection.
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What is heard next; an error ends it.
    ///
    /// # Cancellation
    /// Loses nothing.
    pub(super) async fn next(&mut self) -> Result<Heard, String> {
        let next = match self.deadline {
            Some(deadline) => timeout_at(deadline.into(), self.events.next()).await,
            None => Ok(self.events.next().await),
        };
        match next {
            Ok(Some(Ok(event))) => Ok(self.heard(event)),
            Ok(Some(Err(error))) => Err(problem(self.connection.failed(&error))),
            // The stream has no end of its own.
            Ok(None) => Err("the watch of claims ended".to_owned()),
            Err(_) => Err(problem(self.connection.silent(ANSWER_DEADLINE))),
        }
    }

    fn heard(&mut self, event: Event<Object>) -> Heard {
        match event {
            Event::Init => {
                self.sent = Instant::now();
                Heard::Listing
            }
            Event::InitApply(claim) => Heard::Listed(Box::new(claim), self.sent),
            Event::InitDone => {
                self.deadline = None;
                Heard::Whole(Box::new(self.connection.clone()))
            }
            Event::Apply(claim) => Heard::Changed(Box::new(claim)),
            Event::Delete(claim) => Heard::Gone(Box::new(claim)),
        }
    }
}

fn problem(observed: Observed) -> String {
    match observed {
        Observed::Away { problem, .. } => problem,
        Observed::Present { .. } | Observed::Absent => "the watch of claims failed".to_owned(),
    }
}
