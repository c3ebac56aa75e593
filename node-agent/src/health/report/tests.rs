use proptest::prelude::*;

use super::*;
use crate::health::assess::Rule;
use crate::health::board::Board;
use crate::health::moment::Moment;
use crate::health::signal::{Trouble, Verdict};
use crate::health::signals::ipamd;

const FEW: &[Rule] = &[ipamd::RULE];

const HOUR: Duration = Duration::from_secs(3600);

/// Two that differ.
fn gists() -> [Gist; 2] {
    let now = Moment::now();
    let mut board = Board::new(FEW, now);
    let fine = board.report(now).gist();
    let trouble = Trouble {
        kind: "away",
        message: String::new(),
        impact: String::new(),
        advice: String::new(),
    };
    for _ in 0..3 {
        board.look(Verdict::bad(ipamd::SIGNAL, "", trouble.clone()), now);
    }
    [fine, board.report(now).gist()]
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn first_report_is_written_at_once_and_a_change_after_the_gap() {
    let [fine, wrong] = gists();
    let begin = Instant::now();
    let mut schedule = Schedule::default();
    assert_eq!(schedule.due(&fine, begin), begin);
    schedule.written(fine.clone(), begin, Chance::new(0));
    let now = begin + seconds(1);
    assert_eq!(schedule.due(&wrong, now), begin + MIN_GAP);
    assert_eq!(schedule.due(&fine, now), begin + RESYNC);
    // A change that was taken back before it was written is none.
    schedule.written(wrong.clone(), begin + MIN_GAP, Chance::new(0));
    assert_eq!(schedule.due(&wrong, now), begin + MIN_GAP + RESYNC);
}

#[test]
fn resync_is_spread_over_a_quarter_of_its_time() {
    let [fine, _] = gists();
    let begin = Instant::now();
    let due = |bits| {
        let mut schedule = Schedule::default();
        schedule.written(fine.clone(), begin, Chance::new(bits));
        schedule.due(&fine, begin).duration_since(begin)
    };
    assert_eq!(due(0), seconds(300));
    assert_eq!(due(u32::MAX), seconds(225));
    assert!(due(u32::MAX / 2) > seconds(225) && due(u32::MAX / 2) < seconds(300));
}

#[test]
fn failures_are_tried_again_later_and_later_and_forgotten_by_a_success() {
    let [fine, wrong] = gists();
    let begin = Instant::now();
    let mut schedule = Schedule::default();
    let mut waits = Vec::new();
    for _ in 0..6 {
        schedule.failed(begin, Chance::new(0));
        let due = schedule.due(&fine, begin);
        waits.push(due.duration_since(begin).as_secs());
    }
    assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
    schedule.written(fine, begin, Chance::new(0));
    assert_eq!(schedule.due(&wrong, begin), begin + MIN_GAP);
    schedule.failed(begin, Chance::new(0));
    // Not sooner than the gap either.
    assert_eq!(schedule.due(&wrong, begin), begin + MIN_GAP);
}

#[test]
fn report_outlives_two_writes_that_are_lost() {
    assert!(RESYNC * 2 + LAST_RETRY < REPORT_TTL);
}

proptest! {
    /// Whatever is seen, however the API server answers, an agent writes 121 reports an hour at most, tries 300 times at
    /// most, and a change that stays is tried within the gap or the longest wait for a retry.
    #[test]
    fn writes_of_an_hour_are_bounded(
        // Seconds until something changes, whether it is wrong then, whether writes succeed from then on.
        changes in proptest::collection::vec((0..200_u64, any::<bool>(), any::<bool>()), 1..400),
        bits in any::<u32>(),
    ) {
        let gists = gists();
        let begin = Instant::now();
        let end = begin + HOUR;
        let chance = Chance::new(bits);
        let mut schedule = Schedule::default();
        let (mut now, mut writes, mut tries) = (begin, 0, 0);
        for (pause, wrong, works) in changes {
            let gist = &gists[usize::from(wrong)];
            let next = now + seconds(pause);
            let changed = now;
            loop {
                let due = schedule.due(gist, now).max(now);
                if tries > 0 || due > now {
                    prop_assert!(due <= changed.max(now) + RESYNC.max(LAST_RETRY));
                }
                if due > next || due > end {
                    break;
                }
                now = due;
                tries += 1;
                if works {
                    writes += 1;
                    schedule.written(gist.clone(), now, chance);
                    prop_assert!(schedule.due(gist, now) >= now + MIN_GAP);
                } else {
                    schedule.failed(now, chance);
                    prop_assert!(schedule.due(gist, now) > now);
                }
            }
            now = next;
            if now > end {
                break;
            }
        }
        prop_assert!(writes <= 121, "{writes} writes");
        prop_assert!(tries <= 300, "{tries} tries");
    }
}
