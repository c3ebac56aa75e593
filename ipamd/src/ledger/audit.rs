//! The log of who had an address: closed lines in the order of their ends, kept for a configured time.
//!
//! A line is one record, so that an end costs one write; a question reads the log from the time it is about, in pieces, so
//! that commits go on between. What is open is in the book, not here.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::ControlFlow;

use ipamd_core::{AuditEntry, Timestamp};
use proto_ids::Identity;

use crate::clock::ClockBase;
use crate::store::engine::EngineError;
use crate::store::schema::Kind;
use crate::store::{Store, Writes};

/// Lines read at a time: about two milliseconds of the store's thread.
const PIECE_LINES: usize = 2_000;

/// Lines answered at most, the newest: they must fit a gRPC message (4 MiB).
const ANSWER_LINES: usize = 5_000;

/// Lines pruned at most in one commit.
const PRUNE_LINES: usize = 256;

/// What is asked of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    /// Who had an address.
    Address {
        /// The address.
        address: IpAddr,
        /// When; `None`: ever.
        at: Option<Timestamp>,
    },
    /// What an identity had.
    Identity {
        /// The identity.
        identity: Identity,
    },
}

impl Query {
    /// Where reading begins: lines that ended before are no answer.
    fn first_key(&self) -> Vec<u8> {
        let from = match self {
            // Ended after `at`, for a line that ends at `at` was over by then.
            Self::Address { at: Some(at), .. } => *at,
            _ => Timestamp::default(),
        };
        Kind::Audit.key(&key(from, 0))
    }

    fn wants(&self, line: &AuditEntry) -> bool {
        match self {
            Self::Address { address, at } => {
                line.address == *address && at.is_none_or(|at| line.from <= at && at < line.to)
            }
            Self::Identity { identity } => line.identity == *identity,
        }
    }
}

/// The key of a line, after its kind: time of the end, then a number that tells lines of one millisecond apart.
pub(super) fn key(to: Timestamp, sequence: u64) -> [u8; 16] {
    let mut key = [0; 16];
    let (time, number) = key.split_at_mut(8);
    time.copy_from_slice(&to.unix_milliseconds().to_be_bytes());
    number.copy_from_slice(&sequence.to_be_bytes());
    key
}

fn end() -> Vec<u8> {
    vec![Kind::Audit as u8 + 1]
}

/// A question on its way through the log.
#[derive(Debug)]
pub(crate) struct Reading {
    query: Query,
    next: Vec<u8>,
    found: VecDeque<AuditEntry>,
}

impl Reading {
    pub(crate) fn new(query: Query) -> Self {
        Self {
            next: query.first_key(),
            query,
            found: VecDeque::new(),
        }
    }

    /// Reads one piece; the answer after the last.
    pub(crate) fn step(
        mut self,
        store: &Store,
    ) -> Result<ControlFlow<Vec<AuditEntry>, Self>, EngineError> {
        let mut read = 0;
        let mut damage = None;
        let mut last = None;
        store.range(&self.next, &end(), |key, payload| {
            match serde_json::from_slice::<AuditEntry>(payload) {
                Ok(line) if self.query.wants(&line) => self.found.push_back(line),
                Ok(_) => {}
                Err(error) => {
                    damage = Some(format!("audit line {}: {error}", key.escape_ascii()));
                    return false;
                }
            }
            if self.found.len() > ANSWER_LINES {
                self.found.pop_front();
            }
            read += 1;
            last = Some(key.to_owned());
            read < PIECE_LINES
        })?;
        if let Some(reason) = damage {
            return Err(EngineError::Damaged { reason });
        }
        match last {
            Some(mut last) if read == PIECE_LINES => {
                last.push(0);
                self.next = last;
                Ok(ControlFlow::Continue(self))
            }
            _ => Ok(ControlFlow::Break(self.found.into())),
        }
    }
}

/// What removes the oldest lines that ended before `limit`, a bounded number of them.
pub(super) fn prune(store: &Store, limit: Timestamp) -> Result<Writes, EngineError> {
    let mut writes = Writes::new();
    let from = Kind::Audit.key(&[]);
    let to = Kind::Audit.key(&key(limit, 0));
    store.range(&from, &to, |key, _| {
        writes.insert(key.to_owned(), None);
        writes.len() < PRUNE_LINES
    })?;
    Ok(writes)
}

/// How what an identity had last came to its end, in sentences: a Pod's addresses ended together.
pub(super) fn last(log: &[AuditEntry]) -> impl Iterator<Item = String> {
    let end = log.last().map(|line| line.to);
    let together = log.iter().filter(move |line| Some(line.to) == end);
    together.map(AuditEntry::told)
}

/// A line with the times of the wall clock.
pub(super) fn show(line: &mut AuditEntry, clock: &ClockBase) {
    line.from = clock.to_wall(line.from);
    line.to = clock.to_wall(line.to);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_unix_milliseconds(milliseconds)
    }

    #[test]
    fn a_line_answers_for_its_address_from_its_begin_to_before_its_end() {
        let line = AuditEntry {
            address: "10.20.1.100".parse().unwrap(),
            network: "external".parse().unwrap(),
            identity: "prod/web".parse().unwrap(),
            pod_uid: None,
            sandbox: None,
            mac: "02:00:00:00:00:01".parse().unwrap(),
            from: at(1_000),
            to: at(2_000),
            ended: ipamd_core::Ended::Released,
        };
        let asked = |address: &str, time: Option<u64>| Query::Address {
            address: address.parse().unwrap(),
            at: time.map(at),
        };
        let table = [
            (asked("10.20.1.100", None), true),
            (asked("10.20.1.101", None), false),
            (asked("10.20.1.100", Some(999)), false),
            (asked("10.20.1.100", Some(1_000)), true),
            (asked("10.20.1.100", Some(1_999)), true),
            (asked("10.20.1.100", Some(2_000)), false),
        ];
        for (query, expected) in table {
            assert_eq!(query.wants(&line), expected, "{query:?}");
            // Reading begins early enough for every line that is an answer.
            let stored = Kind::Audit.key(&key(line.to, 7));
            assert!(!expected || query.first_key() <= stored, "{query:?}");
        }
    }

    #[test]
    fn keys_are_in_the_order_of_ends_then_of_numbers() {
        let ordered = [key(at(1), 9), key(at(2), 1), key(at(2), 2), key(at(300), 0)];
        assert!(ordered.is_sorted());
    }
}
