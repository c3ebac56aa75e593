//! Who looks at whom: each node at three of its rack and at two of other racks.
//!
//! The nodes stand in circles by the digest of rack and name, one circle a rack and one of all, and each looks at those that stand
//! next to it. So nobody has to be asked, a node that comes or goes changes the few before it only, and **always holds:** in a
//! rack of four or more every node is looked at by exactly three of it (were each to choose for itself by chance, one node in
//! twenty would be looked at by none), and nobody is looked at by more than [`OBSERVER_LIMIT`].

use std::collections::BTreeMap;

use ring::digest;

/// Peers of the own rack.
pub const OWN_RACK: usize = 3;

/// Peers of other racks, of two different ones where there are two.
pub const OTHER_RACKS: usize = 2;

/// Nobody is looked at by more, of both kinds together: a rack of three beside one of forty must not drown.
pub const OBSERVER_LIMIT: usize = OWN_RACK + OTHER_OBSERVERS;

const OTHER_OBSERVERS: usize = 16;

/// So far around the circle of all another one is looked for.
const SEARCH: usize = 64;

/// A node that may look and be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its rack.
    pub rack: String,
    /// Its name.
    pub node: String,
}

/// For each member, by its place in the list: the places of those that it looks at, those of its own rack first. Names must differ.
pub fn choose(members: &[Member]) -> Vec<Vec<usize>> {
    let mut chosen = vec![Vec::new(); members.len()];
    let mut racks = BTreeMap::<&str, Vec<usize>>::new();
    for (place, member) in members.iter().enumerate() {
        racks.entry(&member.rack).or_default().push(place);
    }
    for circle in racks.values_mut() {
        sort(circle, members, "rack");
        let next = circle.iter().cycle();
        for (at, place) in circle.iter().enumerate() {
            let count = OWN_RACK.min(circle.len() - 1);
            let targets = next.clone().skip(at + 1).take(count);
            chosen[*place].extend(targets);
        }
    }
    for (observer, target) in others(members, racks.len()) {
        chosen[observer].push(target);
    }
    chosen
}

/// Who looks at whom across racks.
fn others(members: &[Member], racks: usize) -> Vec<(usize, usize)> {
    if racks < 2 {
        return Vec::new();
    }
    let mut order: Vec<_> = (0..members.len()).collect();
    sort(&mut order, members, "all");
    let circle = Circle {
        racks: order.iter().map(|at| members[*at].rack.as_str()).collect(),
        has_third: racks > 2,
    };
    let first = circle.round(1, &vec![None; order.len()]);
    let second = circle.round(2, &first);
    let mut observers = vec![Vec::new(); members.len()];
    for (at, target) in first
        .into_iter()
        .enumerate()
        .chain(second.into_iter().enumerate())
    {
        if let Some(target) = target {
            observers[order[target]].push(order[at]);
        }
    }
    let mut pairs = Vec::new();
    for (target, observers) in observers.iter_mut().enumerate() {
        // Which of too many does not depend on how many there are.
        observers.sort_by_cached_key(|observer| {
            rank(&[&members[*observer].node, &members[target].node])
        });
        let kept = observers.iter().take(OTHER_OBSERVERS);
        pairs.extend(kept.map(|observer| (*observer, target)));
    }
    pairs
}

/// All nodes in a circle, each by its rack.
struct Circle<'a> {
    racks: Vec<&'a str>,
    has_third: bool,
}

impl Circle<'_> {
    /// For each the one so many steps on. Where that is not of another rack, it changes with one nearby that may have it: so
    /// everybody is still looked at by one. Only where nobody nearby may, it looks at whom it can.
    fn round(&self, step: usize, earlier: &[Option<usize>]) -> Vec<Option<usize>> {
        let count = self.racks.len();
        let mut targets: Vec<_> = (0..count).map(|at| (at + step) % count).collect();
        let may = |at: usize, target: usize| self.may(at, target, earlier[at]);
        for at in 0..count {
            if may(at, targets[at]) {
                continue;
            }
            let nearby = (1..count.min(SEARCH)).map(|step| (at + step) % count);
            let swap = |other: &usize| may(at, targets[*other]) && may(*other, targets[at]);
            if let Some(other) = nearby.into_iter().find(swap) {
                targets.swap(at, other);
            }
        }
        let settle = |(at, target): (usize, usize)| {
            let onward = || (1..count).map(|step| (at + step) % count);
            let is_other = |target: &usize| {
                self.racks[*target] != self.racks[at] && earlier[at] != Some(*target)
            };
            std::iter::once(target)
                .chain(onward().take(SEARCH))
                .find(|target| may(at, *target))
                .or_else(|| onward().find(is_other))
        };
        targets.into_iter().enumerate().map(settle).collect()
    }

    fn may(&self, at: usize, target: usize, earlier: Option<usize>) -> bool {
        let is_new = |earlier: usize| {
            earlier != target && (!self.has_third || self.racks[earlier] != self.racks[target])
        };
        self.racks[at] != self.racks[target] && earlier.is_none_or(is_new)
    }
}

fn sort(circle: &mut [usize], members: &[Member], circle_name: &str) {
    circle.sort_by_cached_key(|place| {
        let member = &members[*place];
        rank(&[circle_name, &member.rack, &member.node])
    });
}

/// A place in a circle: the same for ever, and as good as random.
fn rank(words: &[&str]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for word in words {
        // Names of Kubernetes have no zero.
        context.update(word.as_bytes());
        context.update(&[0]);
    }
    let mut rank = [0; 32];
    rank.copy_from_slice(context.finish().as_ref());
    rank
}

#[cfg(test)]
mod tests;
