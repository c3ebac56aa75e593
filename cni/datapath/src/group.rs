//! The link group of a Pod's ports: DEL removes them all by one request, and knows without listing the node's links
//! whether it has found them all.
//!
//! Number: a mark, how many ports, and the interface index of the first. An index is unique while its port lives, so
//! no two Pods ever share a group. What does not fit gets no group, and its ports are removed one by one.

/// Berth's groups. Operators' groups are small numbers (`/etc/iproute2/group`).
const MARK: u32 = 0x4000_0000;
const COUNT_SHIFT: u32 = 24;
const COUNT_LIMIT: u32 = 1 << (30 - COUNT_SHIFT);
const INDEX_LIMIT: u32 = 1 << COUNT_SHIFT;

/// The group of a Pod with so many ports, the first of which has this interface index.
pub(crate) fn of(ports: usize, first: u32) -> Option<u32> {
    let count = u32::try_from(ports).ok()?;
    let fits = (1..COUNT_LIMIT).contains(&count) && first < INDEX_LIMIT;
    fits.then_some(MARK | (count << COUNT_SHIFT) | first)
}

/// How many ports a group of Berth's has.
pub(crate) fn ports(group: u32) -> Option<usize> {
    let count = (group ^ MARK) >> COUNT_SHIFT;
    if (1..COUNT_LIMIT).contains(&count) {
        usize::try_from(count).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_tells_how_many_ports_it_has() {
        for count in [1, 2, 63] {
            assert_eq!(ports(of(count, 7).unwrap()), Some(count));
            assert_eq!(ports(of(count, INDEX_LIMIT - 1).unwrap()), Some(count));
        }
    }

    #[test]
    fn groups_of_two_pods_differ() {
        assert_ne!(of(2, 6), of(2, 8));
        assert_ne!(of(1, 6), of(2, 6));
    }

    #[test]
    fn what_does_not_fit_gets_no_group() {
        assert_eq!(
            (of(0, 6), of(64, 6), of(2, INDEX_LIMIT)),
            (None, None, None)
        );
    }

    #[test]
    fn others_groups_are_not_taken_for_ours() {
        for group in [0, 1, 255, MARK, MARK | 6, 0x8200_0006] {
            assert_eq!(ports(group), None, "{group:#x}");
        }
    }
}
