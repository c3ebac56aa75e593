//! What a template is called, and which of a set's revisions is which.
//!
//! A revision's name is a short hash of its template, the same in whatever order its fields are. Always holds: equal templates
//! are one revision, so that a rollback comes back to the same hash; two templates never are, whatever their hashes; a
//! revision that a Pod has, or that the set names, is not pruned.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

use crate::plan::Revision;
use crate::template::canonical;

/// What hashes are written with: no vowels, so that they are no words, and nothing that looks like something else. Those of
/// Kubernetes' own (`k8s.io/apimachinery/pkg/util/rand`).
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// How long a hash is.
const LENGTH: usize = 10;

/// What has to be done so that a set's template is a revision.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded<'a> {
    /// Nothing: it is the latest.
    Latest(&'a Revision),
    /// It is an earlier one, which becomes the latest: it gets this number.
    Renumber(&'a Revision, i64),
    /// It is made.
    New {
        /// Its hash.
        hash: String,
        /// Its number.
        number: i64,
        /// What of the template is kept.
        template: Value,
        /// How often a hash was another template's, this time included.
        collision_count: u32,
    },
}

/// Why a set has no update revision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "spec.revision is {wanted}, which the set's history does not have; name one of these, or leave it out for the template's: {known}"
)]
pub struct UnknownRevisionError {
    wanted: String,
    known: String,
}

/// Why there is no revision to go back to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndoError {
    /// There is no earlier one.
    #[error("revision {number} is the first that is kept: there is none before it to go back to")]
    NoneBefore {
        /// The number of the one that is wanted now.
        number: i64,
    },
    /// The number is none of the history's.
    #[error("the history has no revision {number}; it has: {known}")]
    NoSuchNumber {
        /// The number that was asked for.
        number: i64,
        /// Those that there are.
        known: String,
    },
}

/// The hash of a template. `collision_count`: another number gives another hash.
pub fn hash(template: &Value, collision_count: u32) -> String {
    let mut text = String::new();
    write_sorted(&canonical(template), &mut text);
    if collision_count > 0 {
        // Writing to a String has no way to fail.
        let _ = write!(text, "#{collision_count}");
    }
    let mut rest = fnv1a(text.as_bytes());
    let mut name = String::with_capacity(LENGTH);
    for _ in 0..LENGTH {
        let place = usize::try_from(rest % 27).unwrap_or_default();
        name.push(char::from(ALPHABET[place]));
        rest /= 27;
    }
    name
}

/// What the `ControllerRevision` of a hash is called.
pub fn name_of(set: &str, hash: &str) -> String {
    format!("{set}-{hash}")
}

/// Finds a set's template among its revisions, or says what it is to be called. `collision_count`: the status's.
pub fn record<'a>(
    template: &Value,
    revisions: &'a [Revision],
    collision_count: u32,
) -> Recorded<'a> {
    let template = canonical(template);
    let latest = revisions.iter().map(|revision| revision.number).max();
    // Of two that are equal (a write whose answer was lost, seen late) the later one.
    let equal = revisions
        .iter()
        .filter(|revision| canonical(&revision.template) == template)
        .max_by_key(|revision| revision.number);
    if let Some(revision) = equal {
        return match latest {
            Some(latest) if latest > revision.number => {
                Recorded::Renumber(revision, latest.saturating_add(1))
            }
            _ => Recorded::Latest(revision),
        };
    }
    let taken: BTreeSet<&str> = revisions.iter().map(|known| known.hash.as_str()).collect();
    let mut count = collision_count;
    let mut name = hash(&template, count);
    while taken.contains(name.as_str()) && count < u32::MAX {
        count += 1;
        name = hash(&template, count);
    }
    Recorded::New {
        hash: name,
        number: latest.unwrap_or_default().saturating_add(1),
        template,
        collision_count: count,
    }
}

impl Recorded<'_> {
    /// The hash of the set's template.
    pub fn hash(&self) -> &str {
        match self {
            Self::Latest(revision) | Self::Renumber(revision, _) => &revision.hash,
            Self::New { hash, .. } => hash,
        }
    }
}

/// The revision that Pods are to have: the one that is pinned, or the template's.
///
/// # Errors
/// [`UnknownRevisionError`]: the one that is pinned is neither in the history nor the template's.
pub fn update<'a>(
    pinned: Option<&'a str>,
    recorded: &'a Recorded<'_>,
    revisions: &[Revision],
) -> Result<&'a str, UnknownRevisionError> {
    let Some(wanted) = pinned else {
        return Ok(recorded.hash());
    };
    let known = || revisions.iter().any(|revision| revision.hash == wanted);
    if recorded.hash() == wanted || known() {
        return Ok(wanted);
    }
    Err(UnknownRevisionError {
        wanted: wanted.to_owned(),
        known: list(revisions, |revision| revision.hash.clone()),
    })
}

/// The revision that all Pods had last. `told`: the status's; where it is not known any more, the update revision.
pub fn current<'a>(told: &'a str, update: &'a str, revisions: &[Revision]) -> &'a str {
    let known = revisions.iter().any(|revision| revision.hash == told);
    if known { told } else { update }
}

/// The revisions that are not kept: the oldest of those that nobody uses, where these are more than `limit`. `used`: hashes that
/// Pods have, and that the set names.
pub fn prune<'a>(
    revisions: &'a [Revision],
    used: &BTreeSet<&str>,
    limit: u32,
) -> Vec<&'a Revision> {
    let mut unused: Vec<&Revision> = revisions
        .iter()
        .filter(|revision| !used.contains(revision.hash.as_str()))
        .collect();
    unused.sort_by_key(|revision| revision.number);
    let kept = usize::try_from(limit).unwrap_or(usize::MAX);
    unused.truncate(unused.len().saturating_sub(kept));
    unused
}

/// The revision to go back to: that of a number, or the one before `update`.
///
/// # Errors
/// [`UndoError`]: there is none.
pub fn undo<'a>(
    revisions: &'a [Revision],
    update: &str,
    number: Option<i64>,
) -> Result<&'a Revision, UndoError> {
    if let Some(number) = number {
        let wanted = revisions.iter().find(|revision| revision.number == number);
        return wanted.ok_or_else(|| UndoError::NoSuchNumber {
            number,
            known: list(revisions, |revision| revision.number.to_string()),
        });
    }
    let now = revisions
        .iter()
        .find(|revision| revision.hash == update)
        .map(|revision| revision.number);
    revisions
        .iter()
        .filter(|revision| now.is_none_or(|now| revision.number < now))
        .max_by_key(|revision| revision.number)
        .ok_or_else(|| UndoError::NoneBefore {
            number: now.unwrap_or_default(),
        })
}

/// The latest first.
fn list(revisions: &[Revision], text: impl Fn(&Revision) -> String) -> String {
    let mut all: Vec<&Revision> = revisions.iter().collect();
    all.sort_by_key(|revision| std::cmp::Reverse(revision.number));
    let all: Vec<String> = all.into_iter().map(text).collect();
    if all.is_empty() {
        "none".to_owned()
    } else {
        all.join(", ")
    }
}

/// JSON with the fields in the order of their names, however the map that holds them orders them.
fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<_> = fields.iter().collect();
            names.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in names {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_sorted(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_sorted(item, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
