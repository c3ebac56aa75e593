use super::*;

fn address(n: u32) -> IpAddr {
    std::net::Ipv4Addr::from(0x0a00_0000 + n).into()
}

fn addresses(numbers: impl IntoIterator<Item = u32>) -> Vec<IpAddr> {
    numbers.into_iter().map(address).collect()
}

fn survey(free: Vec<IpAddr>, conflicts: Vec<IpAddr>) -> Survey {
    Survey { free, conflicts }
}

fn settings() -> WireSettings {
    WireSettings {
        probes_per_second: 50,
        ahead: 64,
        probe_again: Duration::from_secs(180),
        silence: Duration::from_secs(600),
    }
}

/// Lets `milliseconds` pass and collects what is asked, with the time of each question since `start`.
fn run(
    schedule: &mut Schedule,
    start: Instant,
    milliseconds: std::ops::Range<u64>,
) -> Vec<(u64, IpAddr)> {
    let mut asked = Vec::new();
    for millisecond in milliseconds.step_by(10) {
        let now = start + Duration::from_millis(millisecond);
        while let Some(address) = schedule.take(now) {
            schedule.asked(address);
            asked.push((millisecond, address));
        }
    }
    asked
}

#[test]
fn new_free_addresses_are_asked_for_in_order_twice_and_again_after_minutes() {
    let start = Instant::now();
    let mut schedule = Schedule::new(&settings(), start);
    schedule.survey(&survey(addresses([3, 1, 2]), vec![]), start);
    let asked = run(&mut schedule, start, 0..200_000);
    let order: Vec<_> = asked.iter().map(|(_, address)| *address).collect();
    assert_eq!(order, addresses([3, 1, 2, 3, 1, 2, 3, 1, 2]));
    assert!((1000..1100).contains(&asked[3].0), "{asked:?}");
    assert!((181_000..181_200).contains(&asked[6].0), "{asked:?}");
}

#[test]
fn address_that_comes_near_is_asked_for_before_all_others() {
    let start = Instant::now();
    let mut schedule = Schedule::new(&settings(), start);
    schedule.survey(&survey(addresses(1..60), addresses([500])), start);
    assert_eq!(schedule.wants_held(start), Some(Page { after: None }));
    schedule.held(addresses(1000..1100));
    // The first askings are over, the second ones and the held addresses are under way.
    run(&mut schedule, start, 0..1500);
    let now = start + Duration::from_millis(1500);
    schedule.survey(
        &survey(addresses((1..60).chain([77])), addresses([500])),
        now,
    );
    let next = run(&mut schedule, start, 1500..1600);
    assert_eq!(next.first().map(|(_, first)| *first), Some(address(77)));
    assert!(next.len() > 1, "the others go on: {next:?}");
}

#[test]
fn address_that_stays_in_the_survey_is_not_asked_for_anew() {
    let start = Instant::now();
    let mut schedule = Schedule::new(&settings(), start);
    for second in 0..60 {
        let now = start + Duration::from_secs(second);
        // The same address twice (two pools of one network that an operator overlaps by mistake) counts once.
        schedule.survey(&survey(addresses([1, 2, 1]), vec![]), now);
        let asked = run(&mut schedule, start, second * 1000..(second + 1) * 1000);
        let expected = if second < 2 { 2 } else { 0 };
        assert_eq!(asked.len(), expected, "second {second}: {asked:?}");
    }
}

#[test]
fn rate_is_kept_however_much_there_is_to_ask() {
    let start = Instant::now();
    let mut schedule = Schedule::new(&settings(), start);
    schedule.survey(
        &survey(addresses(0..5000), addresses(10_000..14_000)),
        start,
    );
    let asked = run(&mut schedule, start, 0..20_000);
    assert!((1000..=1010).contains(&asked.len()), "{}", asked.len());
}

#[test]
fn held_addresses_are_gone_through_in_pages_and_again_after_minutes() {
    let start = Instant::now();
    let mut schedule = Schedule::new(&settings(), start);
    let page = u32::try_from(PAGE).unwrap();
    let mut now = start;
    let mut asked = Vec::new();
    for first in [0, page, 2 * page] {
        let after = first.checked_sub(1).map(address);
        assert_eq!(schedule.wants_held(now), Some(Page { after }));
        let length = if first == 2 * page { 7 } else { page };
        schedule.held(addresses(first..first + length));
        assert_eq!(
            schedule.wants_held(now),
            None,
            "while a page is being asked for"
        );
        let from = u64::try_from((now - start).as_millis()).unwrap();
        asked.extend(
            run(&mut schedule, start, from..from + 3000)
                .into_iter()
                .map(|(_, a)| a),
        );
        now += Duration::from_secs(3);
    }
    assert_eq!(asked, addresses(0..2 * page + 7));
    assert_eq!(schedule.wants_held(now), None, "the round is over");
    assert_eq!(schedule.wants_held(start + Duration::from_secs(179)), None);
    let again = start + Duration::from_secs(180);
    assert_eq!(schedule.wants_held(again), Some(Page { after: None }));
}

#[test]
fn round_of_nothing_is_not_repeated_at_once() {
    let start = Instant::now();
    let mut schedule = Schedule::new(&settings(), start);
    assert_eq!(schedule.wants_held(start), Some(Page { after: None }));
    schedule.held(vec![]);
    assert_eq!(schedule.wants_held(start + Duration::from_secs(100)), None);
    assert_eq!(schedule.wake_at(start), None, "nothing to wake for");
}

#[test]
fn conflict_ends_only_after_silence_that_was_asked_into() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut schedule = Schedule::new(&settings(), start);
    schedule.heard_foreign(address(1), start);
    schedule.survey(&survey(vec![], addresses([1])), start);
    let asked = run(&mut schedule, start, 0..300_000);
    assert_eq!(asked.len(), 10, "every 30 s: {asked:?}");
    assert!(schedule.silent(at(599)).is_empty());
    assert_eq!(schedule.silent(at(600)), addresses([1]));

    schedule.heard_foreign(address(1), at(600));
    assert!(schedule.silent(at(600)).is_empty(), "heard again");
    assert!(
        schedule.silent(at(1300)).is_empty(),
        "silent, but not asked"
    );
    run(&mut schedule, start, 1_300_000..1_361_000);
    assert_eq!(
        schedule.silent(at(1361)),
        addresses([1]),
        "asked three times"
    );

    schedule.forget(address(1));
    assert!(schedule.silent(at(1361)).is_empty() && !schedule.follows(address(1)));
}

#[test]
fn question_that_was_not_sent_counts_for_nothing() {
    let start = Instant::now();
    let mut schedule = Schedule::new(&settings(), start);
    schedule.survey(&survey(vec![], addresses([1])), start);
    for second in 0..1000 {
        // Taken, but the interface is down: never told to have been asked.
        schedule.take(start + Duration::from_secs(second));
    }
    assert!(
        schedule
            .silent(start + Duration::from_secs(1000))
            .is_empty()
    );
}

#[test]
fn conflict_that_the_ledger_dropped_is_followed_no_more() {
    let start = Instant::now();
    let mut schedule = Schedule::new(&settings(), start);
    schedule.survey(&survey(vec![], addresses([1, 2])), start);
    schedule.survey(&survey(vec![], addresses([2])), start);
    assert!(!schedule.follows(address(1)) && schedule.follows(address(2)));
}

#[test]
fn many_conflicts_leave_half_of_the_rate_to_held_addresses_and_bounded_memory() {
    let start = Instant::now();
    let mut schedule = Schedule::new(&settings(), start);
    schedule.survey(&survey(vec![], addresses(0..9000)), start);
    assert_eq!(schedule.conflicts.len(), CONFLICTS);
    schedule.heard_foreign(address(1_000_000), start);
    assert!(!schedule.follows(address(1_000_000)));
    // Each is asked for once at first; from then on at half of the rate.
    run(&mut schedule, start, 0..90_000);
    schedule.held(addresses(20_000..21_000));
    let asked = run(&mut schedule, start, 90_000..100_000);
    let is_held = |asked: &(u64, IpAddr)| asked.1 >= address(20_000);
    let (held, conflicts): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_held);
    assert!(
        held.len() >= 200 && conflicts.len() <= 300,
        "{} {}",
        held.len(),
        conflicts.len()
    );
}

#[test]
fn waking_is_for_the_next_question_that_the_rate_allows() {
    let start = Instant::now();
    let mut schedule = Schedule::new(&settings(), start);
    assert_eq!(schedule.wake_at(start), None);
    schedule.survey(&survey(addresses([1]), vec![]), start);
    assert_eq!(schedule.wake_at(start), Some(start));
    assert_eq!(schedule.take(start), Some(address(1)));
    assert_eq!(schedule.wake_at(start), Some(start + SECOND_ASKING));
    schedule.held(addresses(5..50));
    while schedule.take(start).is_some() {}
    assert_eq!(
        schedule.wake_at(start),
        Some(start + Duration::from_millis(20))
    );
}
