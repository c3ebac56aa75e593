//! Whether Pods end here in a storm, and what each of them may have of the processors meanwhile. Pure: instants and counts are passed in.
//!
//! A storm begins where many Pods end right after the API server was not heard for long: they were deleted meanwhile, and kubelet
//! ends them all at once. It is over when none ends any more, and after ten minutes: one Pod that never goes must not slow later ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use node_agent_guard::PodUid;

use crate::contact::Gap;

/// So long after a gap a storm may begin: the watch of Pods is back later than kubelet's, or than what is heard first.
const WINDOW: Duration = Duration::from_secs(2 * 60);

/// A storm takes no longer.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// Fewer Pods than this are no storm.
const LEAST: usize = 3;

/// Of a hundred of the node's Pods.
const PERCENT: usize = 5;

/// Of a hundred of the node's processors, for all that end together.
const SHARE_PERCENT: u32 = 20;

/// What is no less in effect: the kernel's least quota of a period.
const LEAST_MILLICORES: u32 = 10;

/// What is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) now: Instant,
    /// The last long silence of the API server.
    pub(super) gap: Option<Gap>,
    /// Pods on the node that have not ended.
    pub(super) pods: usize,
    /// Those of them that are to end.
    pub(super) terminating: &'a BTreeSet<PodUid>,
    /// What the guard holds, in thousandths of a processor.
    pub(super) held: &'a BTreeMap<PodUid, u32>,
    pub(super) processors: u32,
}

/// How it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Course {
    /// This process begins: what the guard holds is an earlier one's storm.
    #[default]
    Begun,
    /// No storm.
    Calm,
    /// Since then.
    Storm(Instant),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) course: Course,
    /// What each Pod that ends may have, in thousandths of a processor.
    pub(super) millicores: u32,
    /// To be given that.
    pub(super) limit: Vec<PodUid>,
    /// To get back what they had.
    pub(super) release: Vec<PodUid>,
}

/// So many Pods that end are a storm.
pub(super) fn threshold(pods: usize) -> usize {
    (pods * PERCENT).div_ceil(100).max(LEAST)
}

/// What is to be done about this.
pub(super) fn plan(course: Course, seen: Seen<'_>) -> Plan {
    let course = next(course, seen);
    let count = u32::try_from(seen.terminating.len()).unwrap_or(u32::MAX);
    let whole = seen.processors.saturating_mul(10 * SHARE_PERCENT);
    let millicores = (whole / count.max(1)).max(LEAST_MILLICORES);
    let is_storm = matches!(course, Course::Storm(_));
    let stays = |pod: &&PodUid| is_storm && seen.terminating.contains(*pod);
    // What one Pod leaves behind is not worth telling all others again: a half more is. Too much is taken back at once.
    let is_due = |pod: &&PodUid| {
        let held = seen.held.get(*pod).copied();
        held.is_none_or(|held| held > millicores || held + held / 2 <= millicores)
    };
    let limit = seen.terminating.iter().filter(stays).filter(is_due);
    let release = seen.held.keys().filter(|pod| !stays(pod));
    Plan {
        course,
        millicores,
        limit: limit.cloned().collect(),
        release: release.cloned().collect(),
    }
}

fn next(course: Course, seen: Seen<'_>) -> Course {
    let passed = |since| seen.now.saturating_duration_since(since);
    let is_banked = seen.gap.is_some_and(|gap| passed(gap.ended) <= WINDOW)
        && seen.terminating.len() >= threshold(seen.pods);
    match course {
        Course::Storm(since) if passed(since) < LONGEST && !seen.terminating.is_empty() => course,
        Course::Storm(_) => Course::Calm,
        Course::Begun if seen.held.keys().any(|it| seen.terminating.contains(it)) => {
            Course::Storm(seen.now)
        }
        _ if is_banked => Course::Storm(seen.now),
        _ => Course::Calm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uids(count: usize) -> Vec<PodUid> {
        let uid = |n| format!("00000000-0000-4000-8000-{n:012x}").parse().unwrap();
        (0..count).map(uid).collect()
    }

    #[test]
    fn a_storm_is_many_pods_that_end_soon_after_a_gap() {
        // Pods, how many end, seconds since a gap ended, whether that is a storm.
        let table = [
            (10, 3, Some(0), true),
            (10, 3, Some(120), true),
            (10, 3, Some(121), false),
            (10, 3, None, false),
            (10, 2, Some(0), false),
            (2, 2, Some(0), false),
            (60, 3, Some(5), true),
            (61, 3, Some(5), false),
            (61, 4, Some(5), true),
            (110, 5, Some(5), false),
            (110, 6, Some(5), true),
            (40, 40, Some(5), true),
            (40, 40, None, false),
        ];
        let start = Instant::now();
        for (pods, ending, since, storms) in table {
            let now = start + Duration::from_secs(1000);
            let gap = since.map(|since| Gap {
                ended: start + Duration::from_secs(1000 - since),
                length: Duration::from_secs(61),
            });
            let seen = Seen {
                now,
                gap,
                pods,
                terminating: &uids(ending).into_iter().collect(),
                held: &BTreeMap::new(),
                processors: 4,
            };
            for course in [Course::Begun, Course::Calm] {
                let plan = plan(course, seen);
                let expected = if storms {
                    Course::Storm(now)
                } else {
                    Course::Calm
                };
                assert_eq!(plan.course, expected, "{ending} of {pods}, {since:?}");
                assert_eq!(plan.limit.len(), if storms { ending } else { 0 });
                assert_eq!(plan.release, []);
            }
        }
    }

    #[test]
    fn a_fifth_of_the_node_is_divided_and_told_again_when_it_changes_by_much() {
        // Processors, Pods that end, what each is held at, what each gets, whether that is told.
        let table = [
            (2, 4, None, 100, true),
            (2, 40, None, 10, true),
            (2, 400, None, 10, true),
            (64, 3, None, 4266, true),
            (4, 8, Some(100), 100, false),
            (4, 7, Some(100), 114, false),
            (4, 6, Some(100), 133, false),
            (4, 5, Some(100), 160, true),
            (4, 9, Some(100), 88, true),
        ];
        let now = Instant::now();
        for (processors, ending, held, millicores, is_told) in table {
            let terminating: BTreeSet<_> = uids(ending).into_iter().collect();
            let held = held.map(|held| terminating.iter().map(|it| (it.clone(), held)).collect());
            let seen = Seen {
                now,
                gap: None,
                pods: 500,
                terminating: &terminating,
                held: &held.unwrap_or_default(),
                processors,
            };
            let plan = plan(Course::Storm(now), seen);
            assert_eq!(plan.millicores, millicores, "{processors}, {ending}");
            let told = if is_told { ending } else { 0 };
            assert_eq!(
                (plan.limit.len(), plan.release.len()),
                (told, 0),
                "{ending}"
            );
        }
    }

    #[test]
    fn a_storm_ends_with_its_last_pod_or_after_ten_minutes_and_everything_is_given_back() {
        let start = Instant::now();
        let all = uids(3);
        let held: BTreeMap<_, _> = all.iter().map(|it| (it.clone(), 50)).collect();
        // How it stood, seconds later, how many still end, whether it storms on, how many are released.
        let table = [
            (Course::Storm(start), 30, 3, true, 0),
            (Course::Storm(start), 30, 1, true, 2),
            (Course::Storm(start), 30, 0, false, 3),
            (Course::Storm(start), 599, 1, true, 2),
            (Course::Storm(start), 600, 3, false, 3),
            // A release that was not done is tried again, and is no storm.
            (Course::Calm, 30, 3, false, 3),
            // An earlier process's storm.
            (Course::Begun, 0, 2, true, 1),
            (Course::Begun, 0, 0, false, 3),
        ];
        for (course, later, ending, storms, released) in table {
            let terminating = all.iter().take(ending).cloned().collect();
            let seen = Seen {
                now: start + Duration::from_secs(later),
                gap: None,
                pods: 20,
                terminating: &terminating,
                held: &held,
                processors: 1,
            };
            let plan = plan(course, seen);
            let is_storm = matches!(plan.course, Course::Storm(_));
            assert_eq!(is_storm, storms, "{course:?} {later} {ending}");
            assert_eq!(plan.release.len(), released, "{course:?} {later} {ending}");
            assert!(storms || plan.limit.is_empty());
        }
    }
}
