//! Whose turn it is of several requests for one Pod: one at a time, the others in the order of their creation.
//!
//! A request that has begun is never overtaken or superseded. One that waits gives way to a later one that asks for all
//! its containers. Every request has a deadline, so the turn always passes on.

use proto_crd::container_restart::{ContainerRestartSpec, ContainerRestartStatus};
use proto_crd::time::Timestamp;

/// Whether it is a request's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is.
    Now,
    /// Others come first.
    After {
        /// How many.
        position: u32,
        /// The first of them.
        behind: String,
    },
    /// A later one asks for the same.
    SupersededBy(String),
}

/// One request for the Pod that has not ended and is not being deleted.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it asks for.
    pub spec: &'a ContainerRestartSpec,
    /// What was stored about it.
    pub status: &'a ContainerRestartStatus,
}

/// Whose turn it is, in the order in which the requests are given; requests that have ended are passed over as if it were
/// their turn, since nothing is done for them.
pub fn turns(requests: &[Waiting<'_>]) -> Vec<Turn> {
    let mut order: Vec<&Waiting<'_>> = requests
        .iter()
        .filter(|request| !request.status.phase.is_final())
        .collect();
    order.sort_by_key(|request| {
        (
            !request.status.has_begun(),
            request.created_at,
            request.name,
        )
    });
    let superseded: Vec<(&str, &str)> = order
        .iter()
        .enumerate()
        .filter_map(|(index, request)| {
            let later = &order[index + 1..];
            // The last one that covers it: that one is itself superseded by nobody.
            let by = later.iter().rev().find(|later| covers(later, request))?;
            (!request.status.has_begun()).then_some((request.name, by.name))
        })
        .collect();
    let is_superseded = |name: &str| superseded.iter().find(|(from, _)| *from == name);
    order.retain(|request| is_superseded(request.name).is_none());
    requests
        .iter()
        .map(|request| {
            if let Some((_, by)) = is_superseded(request.name) {
                return Turn::SupersededBy((*by).to_owned());
            }
            let position = order.iter().position(|other| other.name == request.name);
            match position.map(u32::try_from) {
                None | Some(Ok(0)) => Turn::Now,
                Some(position) => Turn::After {
                    position: position.unwrap_or(u32::MAX),
                    behind: order[0].name.to_owned(),
                },
            }
        })
        .collect()
}

fn covers(later: &Waiting<'_>, request: &Waiting<'_>) -> bool {
    request
        .spec
        .containers
        .iter()
        .all(|target| later.spec.containers.contains(target))
}

#[cfg(test)]
mod tests;
