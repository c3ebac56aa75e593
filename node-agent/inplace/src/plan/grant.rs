//! Who may cost service now: the budget.
//!
//! Always holds: what is granted leaves at least `replicas - maxUnavailable` Pods available, counting every Pod that is not,
//! whatever the cause; a Pod that serves nobody costs nothing.

use std::collections::BTreeSet;

use super::Deed;
use crate::pod::{Next, PodView, Step};

/// How many Pods are unavailable, and how many may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Of the Pods that are wanted.
    pub(super) unavailable: i64,
    /// The same, with those that are too many standing in.
    pub(super) lacking: i64,
    /// How many may be.
    pub(super) most: i64,
}

/// A Pod, with where it stands.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) pod: &'a PodView,
    pub(super) step: Step,
    pub(super) is_available: bool,
}

impl Budget {
    /// Whether this Pod may lose its service for a release; if so, it has.
    fn take(&mut self, member: &Member<'_>) -> bool {
        if !member.pod.is_serving() {
            return true;
        }
        // One that serves but is not counted as available is in these figures already.
        let cost = i64::from(member.is_available);
        let fits = self.unavailable.max(self.lacking) + cost <= self.most;
        if fits {
            self.unavailable += cost;
            self.lacking += cost;
        }
        fits
    }

    /// The same for one of those that are too many.
    fn take_surplus(&mut self, member: &Member<'_>) -> bool {
        let cost = i64::from(member.is_available);
        let fits = !member.pod.is_serving() || self.lacking + cost <= self.most;
        if fits && member.pod.is_serving() {
            self.lacking += cost;
        }
        fits
    }
}

/// What those that stay get.
#[derive(Debug, Default)]
pub(super) struct Granted<'a> {
    /// Writes on them.
    pub(super) deeds: Vec<Deed>,
    /// Those, by UID, whose nodes are asked for their images.
    pub(super) asking: BTreeSet<&'a str>,
}

/// What those that stay get, in the order in which they come. `may_begin`: whether further Pods follow.
pub(super) fn of_kept<'a>(
    members: &mut [Member<'a>],
    budget: &mut Budget,
    may_begin: bool,
) -> Granted<'a> {
    let mut deeds = Vec::new();
    let mut asking = BTreeSet::new();
    let under_way = members
        .iter()
        .filter(|member| member.step.state == crate::operation::State::PrePull)
        .count();
    // Images of those that come next are pulled while those before them are upgraded.
    let window = usize::try_from(budget.most).unwrap_or(1).max(1);
    let mut room = window.saturating_sub(under_way);
    let mut waits = Vec::new();
    for (index, member) in members.iter_mut().enumerate() {
        match std::mem::replace(&mut member.step.next, Next::Nothing) {
            Next::Do(deed) => deeds.push(deed),
            Next::Free(deed) if may_begin => deeds.push(deed),
            Next::AskImages if may_begin => {
                // One that is unavailable already holds others up as long as it waits.
                let costs = member.is_available;
                if !costs || room > 0 {
                    room = room.saturating_sub(usize::from(costs));
                    asking.insert(member.pod.uid.as_str());
                }
            }
            Next::Drain(deed) if may_begin && budget.take(member) => deeds.push(deed),
            Next::Drain(_) if may_begin => waits.push(index),
            Next::Nothing | Next::Free(_) | Next::AskImages | Next::Drain(_) => {}
        }
    }
    for index in waits {
        let step = &mut members[index].step;
        if step.waits_for.is_empty() {
            step.waits_for = format!(
                "its turn: {} of {} that may be are unavailable",
                budget.unavailable.max(budget.lacking).max(0),
                budget.most
            );
        }
    }
    Granted { deeds, asking }
}

/// The deeds of those that are too many.
pub(super) fn of_surplus(members: &mut [Member<'_>], budget: &mut Budget) -> Vec<Deed> {
    let mut deeds = Vec::new();
    for member in members {
        match std::mem::replace(&mut member.step.next, Next::Nothing) {
            Next::Drain(deed) if budget.take_surplus(member) => deeds.push(deed),
            Next::Drain(_) => {
                "others to be available".clone_into(&mut member.step.waits_for);
            }
            Next::Do(deed) | Next::Free(deed) => deeds.push(deed),
            Next::Nothing | Next::AskImages => {}
        }
    }
    deeds
}
