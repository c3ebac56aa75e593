//! The rules of `reference/inplace-release.md` 3.6 that one container can show.

use super::*;
use crate::rules::{Fault, Of};

/// A node with one container, and a clock that jumps.
struct Bench {
    container: Container,
    images: BTreeSet<String>,
    faults: Faults,
    pace: Pace,
    last_id: u64,
    now: Timestamp,
    ending: bool,
    grace: Duration,
    pre_stop: Duration,
}

impl Bench {
    fn new() -> Self {
        Self {
            container: Container::default(),
            images: BTreeSet::new(),
            faults: Faults::default(),
            pace: Pace::real(),
            last_id: 0,
            now: Timestamp::from_unix_milliseconds(1_000_000),
            ending: false,
            grace: Duration::from_secs(30),
            pre_stop: Duration::ZERO,
        }
    }

    fn with<T>(
        &mut self,
        image: &str,
        act: impl FnOnce(&mut Container, &Wanted<'_>, &mut Around<'_>) -> T,
    ) -> T {
        let wanted = Wanted {
            name: "app",
            image,
            pre_stop: self.pre_stop,
        };
        let mut around = Around {
            pod: "prod/shop-0",
            ending: self.ending,
            grace: self.grace,
            pace: &self.pace,
            faults: &self.faults,
            images: &mut self.images,
            last_id: &mut self.last_id,
            now: self.now,
        };
        act(&mut self.container, &wanted, &mut around)
    }

    /// Lets so much time pass, with a step whenever something is due.
    fn pass(&mut self, image: &str, time: Duration) {
        let end = self.now.after(time);
        loop {
            let due = self.with(image, Container::step);
            match due.filter(|due| *due <= end) {
                Some(due) => self.now = due,
                None => break,
            }
        }
        self.now = end;
        self.with(image, Container::step);
    }

    fn is_ready(&mut self, image: &str) -> bool {
        self.with(image, |container, _, around| container.is_ready(around))
    }

    fn id(&self) -> Option<String> {
        self.container.run().map(|run| run.id.clone())
    }

    /// When it last started, in seconds after the beginning.
    fn started(&self) -> f64 {
        let run = self.container.run().unwrap();
        run.since
            .since(Timestamp::from_unix_milliseconds(1_000_000))
            .as_secs_f64()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn image_change_kills_and_starts_once_with_another_id() {
    let mut bench = Bench::new();
    bench.pass("v1", SECOND * 10);
    let first = bench.id().unwrap();
    assert!(bench.is_ready("v1"));
    // What is being stopped is still ready: who waits for a ready Pod must not be deceived by it.
    bench.pass("v2", Duration::from_millis(100));
    assert_eq!(bench.id(), Some(first.clone()));
    assert!(bench.is_ready("v2"));
    bench.pass("v2", Duration::from_millis(150));
    assert_eq!(bench.id(), None);
    // The node has to pull it: in the outage.
    assert!(matches!(bench.container.state, State::Pulling { .. }));
    bench.pass("v2", SECOND * 5);
    assert_ne!(bench.id(), Some(first));
    assert_eq!((bench.container.starts, bench.is_ready("v2")), (2, true));
    bench.pass("v2", SECOND * 600);
    assert_eq!(bench.container.starts, 2);
}

#[test]
fn restarts_of_one_image_are_held_back_longer_and_longer_and_another_image_is_not() {
    let mut bench = Bench::new();
    bench.pace.start = Duration::ZERO;
    let crash = Some(Fault::Crashes { after: SECOND });
    bench.faults.set(Of::Image("v1".to_owned()), crash);
    bench.images = ["v1".to_owned(), "v2".to_owned()].into();
    let mut starts = Vec::new();
    while starts.len() < 5 {
        bench.pass("v1", Duration::from_millis(100));
        if bench.container.run().is_some() && bench.container.starts as usize > starts.len() {
            starts.push(bench.started());
        }
    }
    let pauses: Vec<f64> = starts.windows(2).map(|two| two[1] - two[0] - 1.0).collect();
    for (pause, wanted) in pauses.iter().zip([0.0, 10.0, 20.0, 40.0]) {
        assert!((pause - wanted).abs() < 0.5, "{pauses:?}");
    }
    bench.pass("v1", SECOND * 2);
    assert!(matches!(bench.container.state, State::Down { .. }));
    bench.pass("v2", Duration::ZERO);
    assert!(
        bench.container.run().is_some(),
        "{:?}",
        bench.container.state
    );
}

#[test]
fn restart_from_outside_counts_like_a_crash() {
    let mut bench = Bench::new();
    bench.pass("v1", SECOND * 60);
    for held_back in [false, true] {
        let id = bench.id().unwrap();
        bench.with("v1", |container, wanted, around| {
            container.stop_run(&id, wanted, around);
        });
        // Another id than the one that runs is nobody's.
        bench.with("v1", |container, wanted, around| {
            container.stop_run("other", wanted, around);
        });
        bench.pass("v1", SECOND * 2);
        assert_eq!(
            matches!(bench.container.state, State::Down { .. }),
            held_back
        );
        bench.pass("v1", SECOND * 20);
        assert_ne!(bench.id(), Some(id));
    }
    assert_eq!(bench.container.starts, 3);
}

#[test]
fn container_that_ran_long_is_started_at_once_again() {
    let mut bench = Bench::new();
    bench.pass("v1", SECOND);
    for _ in 0..4 {
        bench.pass("v1", SECOND * 700);
        let id = bench.id().unwrap();
        bench.with("v1", |container, wanted, around| {
            container.stop_run(&id, wanted, around);
        });
        bench.pass("v1", SECOND * 3);
        assert!(bench.id().is_some_and(|new| new != id));
    }
}

#[test]
fn image_that_nobody_has_is_tried_again_and_replaced_at_once() {
    let mut bench = Bench::new();
    bench
        .faults
        .set(Of::Image("bad".to_owned()), Some(Fault::NoImage));
    bench.pass("v1", SECOND * 10);
    bench.pass("bad", SECOND * 5);
    assert!(matches!(
        bench.container.state,
        State::Refused { tries: 1, .. }
    ));
    assert_eq!(bench.id(), None);
    bench.pass("bad", SECOND * 12);
    assert!(matches!(
        bench.container.state,
        State::Refused { tries: 2, .. }
    ));
    // Its old image is still there: back within a moment, and one restart in all.
    bench.pass("v1", SECOND * 2);
    assert!(bench.is_ready("v1"));
    assert_eq!(bench.container.starts, 2);
}

#[test]
fn rows_of_how_long_a_stop_takes() {
    // Hook, slow application, grace period: until it has ended.
    for (hook, slow, grace, wanted, exit_code) in [
        (0, None, 30, 0.2, 0),
        (8, None, 30, 8.2, 0),
        (8, None, 3, 3.2, 0),
        (0, Some(60), 5, 5.0, 137),
        (8, Some(60), 3, 5.0, 137),
        (0, Some(10), 30, 10.0, 0),
    ] {
        let mut bench = Bench::new();
        bench.pass("v1", SECOND * 10);
        bench.pre_stop = SECOND * hook;
        bench.grace = SECOND * grace;
        let slow = slow.map(|time| Fault::SlowStop(SECOND * time));
        bench.faults.set(Of::Pod("prod/shop-0".to_owned()), slow);
        let from = bench.now;
        bench.pass("v2", SECOND * 100);
        let last = bench.container.last.clone().unwrap();
        let took = last.at.since(from).as_secs_f64();
        assert!((took - wanted).abs() < 0.01, "{hook} {grace}: {took}");
        assert_eq!(last.exit_code, exit_code);
    }
}

#[test]
fn pod_that_is_deleted_ends_and_starts_nothing() {
    let mut bench = Bench::new();
    bench.pass("v1", SECOND * 10);
    bench.ending = true;
    bench.pass("v1", SECOND);
    assert_eq!((bench.id(), &bench.container.state), (None, &State::Idle));
    bench.pass("v1", SECOND * 100);
    assert_eq!(bench.container.starts, 1);
}

#[test]
fn after_a_loss_of_power_everything_starts_without_a_pause() {
    let mut bench = Bench::new();
    bench.pass("v1", SECOND * 10);
    let id = bench.id();
    let now = bench.now;
    bench.container.lose_power(now);
    bench.pass("v1", SECOND * 2);
    assert!(bench.id().is_some() && bench.id() != id);
}
