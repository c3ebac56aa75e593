use proptest::prelude::*;

use super::*;
use crate::fixture::start;

/// A peer that is asked once a second.
struct Bench {
    track: Track,
    now: Moment,
    asked: u8,
}

impl Bench {
    fn new() -> Self {
        let now = Moment {
            at: start(),
            wall_micros: 0,
        };
        Self {
            track: Track::new(now),
            now,
            asked: 0,
        }
    }

    fn pass(&mut self, passed: Duration) {
        self.now.at += passed;
        self.now.wall_micros += i64::try_from(passed.as_micros()).unwrap();
    }

    /// The next probe, a second after the last.
    fn ask(&mut self) -> Nonce {
        self.asked += 1;
        self.track.tick(self.now);
        let nonce = Nonce([self.asked; 16]);
        self.track.sent(nonce, self.now);
        nonce
    }

    fn hear(&mut self, nonce: Nonce) -> Result<Told, Unasked> {
        self.hear_from(nonce, "a")
    }

    fn hear_from(&mut self, nonce: Nonce, boot: &str) -> Result<Told, Unasked> {
        let heard = Heard {
            nonce,
            boot: BootId::of(boot),
            time_micros: self.now.wall_micros + 500,
        };
        self.track.heard(heard, self.now)
    }

    /// Seconds in which every probe is answered after a millisecond (`+`), or none is (`-`).
    fn run(&mut self, course: &str) {
        for second in course.chars() {
            let nonce = self.ask();
            self.pass(Duration::from_millis(1));
            if second == '+' {
                self.hear(nonce).unwrap();
            }
            self.pass(Duration::from_millis(999));
        }
        self.track.tick(self.now);
    }
}

#[test]
fn five_misses_in_a_row_are_death_and_one_answer_is_life() {
    use State::{Alive, Dead, Unknown};
    for (course, state, lost) in [
        ("", Unknown, 0),
        ("----", Unknown, 100),
        ("-----", Dead, 100),
        ("+", Alive, 0),
        ("+----", Alive, 80),
        ("+-----", Dead, 83),
        ("+----+----", Alive, 80),
        ("-----+", Alive, 83),
        ("-----+----", Alive, 90),
        ("++++++++++", Alive, 0),
    ] {
        let mut bench = Bench::new();
        bench.run(course);
        let seen = (bench.track.state(), bench.track.lost_percent());
        assert_eq!(seen, (state, lost), "{course}");
        let is_silent = course.ends_with('-');
        assert_eq!(bench.track.silent_since().is_some(), is_silent, "{course}");
    }
}

#[test]
fn losses_are_of_the_last_minute() {
    let mut bench = Bench::new();
    bench.run("----------");
    bench.run(&"+".repeat(50));
    assert_eq!(bench.track.lost_percent(), 16);
    bench.run(&"+".repeat(10));
    assert_eq!(bench.track.lost_percent(), 0);
}

#[test]
fn since_is_when_the_state_changed() {
    let mut bench = Bench::new();
    let begun = bench.now.at;
    bench.run("+++-----");
    assert_eq!(bench.track.since().at - begun, Duration::from_secs(8));
    let silent = bench.track.silent_since().unwrap();
    assert_eq!(silent - begun, Duration::from_secs(3));
    bench.run("---");
    assert_eq!(bench.track.since().at - begun, Duration::from_secs(8));
}

#[test]
fn an_answer_counts_once_and_only_to_a_probe() {
    let mut bench = Bench::new();
    let nonce = bench.ask();
    assert_eq!(bench.hear(Nonce([99; 16])), Err(Unasked));
    assert!(bench.hear(nonce).is_ok());
    assert_eq!(bench.hear(nonce), Err(Unasked));
}

#[test]
fn a_late_answer_is_a_sign_of_life_and_no_loss() {
    let mut bench = Bench::new();
    let nonce = bench.ask();
    for _ in 0..4 {
        bench.pass(PERIOD);
        bench.ask();
    }
    assert_eq!(bench.track.lost_percent(), 100);
    assert_eq!(bench.hear(nonce).unwrap().rtt, Duration::from_secs(4));
    assert_eq!(bench.track.state(), State::Alive);
    assert_eq!(bench.track.lost_percent(), 75);
    assert_eq!(bench.track.silent_since(), None);
}

#[test]
fn an_answer_that_is_much_too_late_is_none() {
    let mut bench = Bench::new();
    let nonce = bench.ask();
    bench.pass(PATIENCE + Duration::from_millis(1));
    assert_eq!(bench.hear(nonce), Err(Unasked));
    assert_eq!(bench.track.state(), State::Unknown);
}

#[test]
fn who_stood_still_accuses_nobody() {
    let mut bench = Bench::new();
    bench.run("+----");
    bench.pass(Duration::from_secs(20));
    bench.track.excuse();
    bench.run("----");
    assert_eq!(bench.track.state(), State::Alive);
    bench.run("-");
    assert_eq!(bench.track.state(), State::Dead);
}

#[test]
fn a_reboot_is_told_once() {
    let mut bench = Bench::new();
    for (boot, is_rebooted) in [("a", false), ("a", false), ("b", true), ("b", false)] {
        let nonce = bench.ask();
        let told = bench.hear_from(nonce, boot).unwrap();
        assert_eq!(told.is_rebooted, is_rebooted);
    }
}

#[test]
fn times_are_smoothed_and_the_peers_clock_is_compared() {
    let mut bench = Bench::new();
    let nonce = bench.ask();
    bench.pass(Duration::from_millis(80));
    bench.hear(nonce).unwrap();
    assert_eq!(bench.track.rtt(), Some(Duration::from_millis(80)));
    // It read its clock 0.5 ms ahead of ours, at our end of the 80 ms.
    assert_eq!(bench.track.clock_offset_micros(), Some(40_500));
    bench.pass(Duration::from_millis(920));
    let nonce = bench.ask();
    bench.hear(nonce).unwrap();
    assert_eq!(bench.track.rtt(), Some(Duration::from_millis(70)));
    assert_eq!(bench.track.clock_offset_micros(), Some(500));
}

proptest! {
    #[test]
    fn the_wall_clock_judges_nothing(course in "[+-]{1,40}", steps in proptest::collection::vec(any::<i64>(), 40)) {
        let (mut steady, mut stepped) = (Bench::new(), Bench::new());
        for (second, step) in course.chars().zip(steps) {
            let second = second.to_string();
            steady.run(&second);
            stepped.now.wall_micros = step >> 1;
            stepped.run(&second);
            prop_assert_eq!(steady.track.state(), stepped.track.state());
            prop_assert_eq!(steady.track.lost_percent(), stepped.track.lost_percent());
        }
    }

    #[test]
    fn dead_is_who_missed_five_in_a_row_and_nobody_else(course in "[+-]{1,120}") {
        let mut bench = Bench::new();
        bench.run(&course);
        let row = course.chars().rev().take_while(|it| *it == '-').count();
        let expected = match row {
            5.. => State::Dead,
            _ if course.contains("-----") && !course[course.rfind("-----").unwrap()..].contains('+') => State::Dead,
            _ if course.contains('+') => State::Alive,
            _ => State::Unknown,
        };
        prop_assert_eq!(bench.track.state(), expected);
    }
}
