use k8s_openapi::jiff::SignedDuration;
use proptest::prelude::*;
use proto_crd::node_health::SignalState::{Healthy, Unhealthy, Unknown};
use serde_json::json;

use super::*;
use crate::health::assess::Escalation;

const TTL: u64 = 60;

const RULE: Rule = Rule {
    signal: Signal::new("kubelet"),
    period: Duration::from_secs(10),
    ttl: Duration::from_secs(TTL),
    set: 3,
    clear: 2,
    decision: Decision::Observe,
    escalation: Some(Escalation {
        after: Duration::from_secs(60),
        to: Decision::Cordon,
    }),
    threshold: "fine",
};

/// One look: good, bad, or one that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Good,
    Bad,
    Unclear,
}

use Seen::{Bad, Good, Unclear};

fn trouble() -> Trouble {
    Trouble {
        kind: "away",
        message: "it is away".into(),
        impact: "bad".into(),
        advice: "look".into(),
    }
}

fn verdict(seen: Seen) -> Verdict {
    let signal = RULE.signal;
    match seen {
        Good => Verdict::good(signal, "ok"),
        Bad => Verdict::bad(signal, "no", trouble()),
        Unclear => Verdict::unclear(signal, "cannot look"),
    }
}

/// A beginning on whole seconds, as times are written.
fn beginning() -> Moment {
    Moment {
        at: std::time::Instant::now(),
        wall: "2025-11-21T10:00:00Z".parse().unwrap(),
    }
}

fn seconds(begin: Moment, seconds: u64) -> Moment {
    begin.after(Duration::from_secs(seconds))
}

/// State, second since, and decision at the last of the looks (or `at`, where later).
fn judged(looks: &[(u64, Seen)], at: u64) -> (SignalState, u64, Option<Decision>) {
    let begin = beginning();
    let mut tracker = Tracker::new(RULE, begin);
    for (second, seen) in looks {
        tracker.look(verdict(*seen), seconds(begin, *second));
    }
    let view = tracker.view(seconds(begin, at));
    let since = view.since.duration_since(begin.wall).as_secs();
    let decision = view.wrong.map(|wrong| wrong.decision);
    (view.state, since.try_into().unwrap(), decision)
}

const OBSERVE: Option<Decision> = Some(Decision::Observe);
const CORDON: Option<Decision> = Some(Decision::Cordon);

/// Name, looks, when it is judged, and what is expected then.
type Judged = (
    &'static str,
    &'static [(u64, Seen)],
    u64,
    (SignalState, u64, Option<Decision>),
);

const STATES: &[Judged] = &[
    ("never looked at", &[], 0, (Unknown, 0, None)),
    ("good once", &[(1, Good)], 1, (Healthy, 1, None)),
    ("bad once, first", &[(1, Bad)], 1, (Unknown, 0, None)),
    (
        "bad twice, first",
        &[(1, Bad), (11, Bad)],
        11,
        (Unknown, 0, None),
    ),
    (
        "bad thrice, first",
        &[(1, Bad), (11, Bad), (21, Bad)],
        21,
        (Unhealthy, 1, OBSERVE),
    ),
    (
        "good, bad once",
        &[(0, Good), (10, Bad)],
        10,
        (Healthy, 0, None),
    ),
    (
        "good, bad twice",
        &[(0, Good), (10, Bad), (20, Bad)],
        20,
        (Healthy, 0, None),
    ),
    (
        "good, bad thrice: since the first bad one",
        &[(0, Good), (10, Bad), (20, Bad), (30, Bad)],
        30,
        (Unhealthy, 10, OBSERVE),
    ),
    (
        "bad looks that are not in a row",
        &[
            (0, Good),
            (10, Bad),
            (20, Bad),
            (30, Good),
            (40, Bad),
            (50, Bad),
        ],
        50,
        (Healthy, 0, None),
    ),
    (
        "stays long",
        &[
            (0, Bad),
            (10, Bad),
            (20, Bad),
            (30, Bad),
            (40, Bad),
            (50, Bad),
            (60, Bad),
        ],
        60,
        (Unhealthy, 0, CORDON),
    ),
    (
        "good once is not enough to clear",
        &[(0, Bad), (10, Bad), (20, Bad), (30, Good)],
        30,
        (Unhealthy, 0, OBSERVE),
    ),
    (
        "cleared since the first good one",
        &[(0, Bad), (10, Bad), (20, Bad), (30, Good), (40, Good)],
        40,
        (Healthy, 30, None),
    ),
    (
        "a look that says nothing does not break a row",
        &[(0, Good), (10, Bad), (20, Unclear), (30, Bad), (40, Bad)],
        40,
        (Unhealthy, 10, OBSERVE),
    ),
    ("expired", &[(0, Good)], TTL + 1, (Unknown, TTL, None)),
    ("not yet expired", &[(0, Good)], TTL, (Healthy, 0, None)),
    (
        "looks that say nothing let it expire",
        &[(0, Good), (30, Unclear), (61, Unclear)],
        61,
        (Unknown, TTL, None),
    ),
    (
        "good again after an expiry: since then",
        &[(0, Good), (100, Good)],
        100,
        (Healthy, 100, None),
    ),
    (
        "wrong expires too",
        &[(0, Bad), (10, Bad), (20, Bad)],
        81,
        (Unknown, 80, None),
    ),
    (
        "wrong again after an expiry: it may have been so all the time",
        &[(0, Bad), (10, Bad), (20, Bad), (200, Bad)],
        200,
        (Unhealthy, 0, CORDON),
    ),
    (
        "bad looks before and after an expiry are not in a row",
        &[(0, Good), (10, Bad), (20, Bad), (100, Bad)],
        100,
        (Unknown, TTL, None),
    ),
];

#[test]
fn states_set_and_clear_by_the_table() {
    for (case, looks, at, expected) in STATES {
        assert_eq!(judged(looks, *at), *expected, "{case}");
    }
}

#[test]
fn unknown_says_why() {
    let begin = beginning();
    let mut tracker = Tracker::new(RULE, begin);
    let why = |tracker: &Tracker, second| tracker.view(seconds(begin, second)).unknown.unwrap();
    assert_eq!(why(&tracker, 0), "nobody has looked at it yet");
    tracker.look(verdict(Bad), seconds(begin, 1));
    assert_eq!(
        why(&tracker, 1),
        "not wrong for long enough to count: it is away"
    );
    assert_eq!(
        why(&tracker, 62),
        "no look at it has ended for more than 60 s"
    );
    tracker.look(verdict(Unclear), seconds(begin, 70));
    assert_eq!(why(&tracker, 70), "cannot look");
}

#[test]
fn nothing_is_decided_before_the_first_look_or_the_time_to_live() {
    let begin = beginning();
    let mut tracker = Tracker::new(RULE, begin);
    assert!(!tracker.is_decided(seconds(begin, TTL)));
    assert!(tracker.is_decided(seconds(begin, TTL + 1)));
    tracker.look(verdict(Bad), seconds(begin, 1));
    assert!(tracker.is_decided(seconds(begin, 1)));
}

/// What an earlier process reported: this state since that many seconds before the beginning.
fn prior(begin: Moment, state: &str, before: i64) -> node_health::Signal {
    let since = begin
        .wall
        .checked_sub(SignedDuration::from_secs(before))
        .unwrap();
    let mut signal = json!({
        "name": "kubelet", "state": state, "since": since, "observedTime": begin.wall,
        "ttlSeconds": TTL, "value": "no", "threshold": "fine",
    });
    if state == "Unhealthy" {
        signal["decision"] = json!("Observe");
        signal["message"] = json!("it was away");
        signal["impact"] = json!("bad");
        signal["advice"] = json!("look");
    }
    serde_json::from_value(signal).unwrap()
}

/// Name, earlier state, looks before and after the earlier report is read (a second apart), what is expected, and since
/// when: seconds from the beginning.
type Continued = (
    &'static str,
    &'static str,
    &'static [Seen],
    &'static [Seen],
    SignalState,
    i64,
);

const CONTINUED: &[Continued] = &[
    (
        "wrong, and still bad",
        "Unhealthy",
        &[],
        &[Bad],
        Unhealthy,
        -100,
    ),
    (
        "wrong, seen bad before it is read",
        "Unhealthy",
        &[Bad],
        &[],
        Unhealthy,
        -100,
    ),
    (
        "wrong, and good once",
        "Unhealthy",
        &[],
        &[Good],
        Unhealthy,
        -100,
    ),
    (
        "wrong, and good twice",
        "Unhealthy",
        &[],
        &[Good, Good],
        Healthy,
        0,
    ),
    (
        "wrong, but good when it is read",
        "Unhealthy",
        &[Good],
        &[],
        Healthy,
        0,
    ),
    ("fine, and good", "Healthy", &[], &[Good], Healthy, -100),
    (
        "fine, seen good before it is read",
        "Healthy",
        &[Good],
        &[],
        Healthy,
        -100,
    ),
    ("fine, not looked at yet", "Healthy", &[], &[], Unknown, 0),
    ("fine, and bad", "Healthy", &[], &[Bad], Unknown, 0),
    (
        "fine, and bad thrice",
        "Healthy",
        &[],
        &[Bad, Bad, Bad],
        Unhealthy,
        0,
    ),
    ("unknown, and good", "Unknown", &[], &[Good], Healthy, 0),
    (
        "wrong, found wrong by itself",
        "Unhealthy",
        &[Bad, Bad, Bad],
        &[],
        Unhealthy,
        -100,
    ),
];

#[test]
fn state_of_an_earlier_process_goes_on() {
    for (case, state, before, after, expected, since) in CONTINUED {
        let begin = beginning();
        let mut tracker = Tracker::new(RULE, begin);
        let mut now = begin;
        for seen in *before {
            tracker.look(verdict(*seen), now);
            now = seconds(now, 1);
        }
        tracker.adopt(&prior(begin, state, 100), now);
        for seen in *after {
            tracker.look(verdict(*seen), now);
            now = seconds(now, 1);
        }
        let view = tracker.view(now);
        assert_eq!(view.state, *expected, "{case}");
        assert_eq!(
            view.since.duration_since(begin.wall).as_secs(),
            *since,
            "{case}"
        );
        if *expected == Unhealthy && *since < 0 {
            // It has been wrong for longer than a minute, by two processes.
            assert_eq!(view.wrong.unwrap().decision, Decision::Cordon, "{case}");
        }
    }
}

#[test]
fn trouble_of_an_earlier_process_is_told_until_there_is_a_newer_look() {
    let begin = beginning();
    let mut tracker = Tracker::new(RULE, begin);
    tracker.adopt(&prior(begin, "Unhealthy", 5), begin);
    tracker.look(verdict(Good), begin);
    let told = |tracker: &Tracker| tracker.view(begin).wrong.unwrap().trouble.message;
    assert_eq!(told(&tracker), "it was away");
    tracker.look(verdict(Bad), begin);
    assert_eq!(told(&tracker), "it is away");
}

#[derive(Clone, Debug)]
enum Step {
    Look(Seen),
    Adopt(&'static str, i64),
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let seen = prop_oneof![Just(Good), Just(Bad), Just(Unclear)].prop_map(Step::Look);
    let states = prop_oneof![Just("Healthy"), Just("Unhealthy"), Just("Unknown")];
    let adopt = (states, -50..500_i64).prop_map(|(state, before)| Step::Adopt(state, before));
    (0..100_u64, prop_oneof![9 => seen, 1 => adopt])
}

proptest! {
    #[test]
    fn nothing_is_reported_fine_without_a_good_look_within_its_time_to_live(
        steps in proptest::collection::vec(step(), 0..60),
        idle in 0..200_u64,
    ) {
        let begin = beginning();
        let mut tracker = Tracker::new(RULE, begin);
        let (mut now, mut last, mut last_good) = (0, None, None);
        let check = |tracker: &Tracker, now: u64, last: Option<u64>, last_good: Option<u64>| {
            let view = tracker.view(seconds(begin, now));
            let fresh = |look: Option<u64>| look.is_some_and(|look| now - look <= TTL);
            match view.state {
                Healthy | SignalState::Absent => assert!(fresh(last_good) && view.wrong.is_none(), "{view:?}"),
                Unhealthy => assert!(fresh(last) && view.wrong.is_some(), "{view:?}"),
                Unknown => assert!(view.unknown.is_some() && view.wrong.is_none(), "{view:?}"),
            }
            assert!(view.state == Unknown || view.observed.is_some());
        };
        for (pause, step) in steps {
            // Just before the next look, when what is known is oldest.
            now += pause;
            check(&tracker, now, last, last_good);
            match step {
                Step::Look(seen) => {
                    tracker.look(verdict(seen), seconds(begin, now));
                    if seen != Unclear { last = Some(now); }
                    if seen == Good { last_good = Some(now); }
                }
                Step::Adopt(state, before) => {
                    tracker.adopt(&prior(begin, state, before), seconds(begin, now));
                }
            }
            check(&tracker, now, last, last_good);
        }
        check(&tracker, now + idle, last, last_good);
    }

    #[test]
    fn what_is_bad_at_every_look_is_reported_wrong_and_what_is_good_is_cleared(
        before in proptest::collection::vec(step(), 0..30),
        good in any::<bool>(),
    ) {
        let begin = beginning();
        let mut tracker = Tracker::new(RULE, begin);
        let mut now = begin;
        for (pause, step) in before {
            now = seconds(now, pause);
            match step {
                Step::Look(seen) => tracker.look(verdict(seen), now),
                Step::Adopt(state, before) => tracker.adopt(&prior(begin, state, before), now),
            }
        }
        for _ in 0..RULE.set.max(RULE.clear) {
            now = seconds(now, 10);
            tracker.look(verdict(if good { Good } else { Bad }), now);
        }
        prop_assert_eq!(tracker.view(now).state, if good { Healthy } else { Unhealthy });
    }
}

#[test]
fn what_a_node_does_not_have_is_absent_while_it_is_looked_at() {
    let born = Moment::now();
    let mut tracker = Tracker::new(RULE, born);
    let absent = || Verdict::absent(RULE.signal, "no such module");
    tracker.look(absent(), born);
    let view = tracker.view(born);
    assert_eq!(view.state, SignalState::Absent);
    assert_eq!(view.value, "no such module");
    let late = born.after(Duration::from_secs(TTL + 1));
    assert_eq!(tracker.view(late).state, Unknown);
    tracker.look(Verdict::good(RULE.signal, "there"), late);
    assert_eq!(tracker.view(late).state, Healthy);
}

#[test]
fn what_looks_urge_counts_when_as_many_say_it_as_the_rule_needs() {
    let begin = beginning();
    let mut tracker = Tracker::new(RULE, begin);
    let drain = Some(Decision::Drain);
    let urges = [drain, None, drain, drain, drain, None, None, None];
    let mut decisions = Vec::new();
    for (second, urge) in (0..).step_by(5).zip(urges) {
        let mut look = verdict(Bad);
        look.urges = urge;
        tracker.look(look, seconds(begin, second));
        let view = tracker.view(seconds(begin, second));
        decisions.push(view.wrong.map(|wrong| wrong.decision));
    }
    let expected = [None, None, OBSERVE, OBSERVE, drain, drain, drain, OBSERVE];
    assert_eq!(decisions, expected);
}

#[test]
fn what_a_look_urges_takes_nothing_from_the_rule() {
    let begin = beginning();
    let mut tracker = Tracker::new(RULE, begin);
    for second in (0..=60).step_by(10) {
        let look = verdict(Bad).urging(Decision::Observe);
        tracker.look(look, seconds(begin, second));
    }
    let view = tracker.view(seconds(begin, 60));
    assert_eq!(view.wrong.map(|wrong| wrong.decision), CORDON);
}
