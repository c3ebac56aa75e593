use proptest::prelude::*;

use super::*;

const HASH: u64 = 0xabc;

fn at(seconds: f64) -> Timestamp {
    Timestamp::default().after(Duration::from_secs_f64(1_000_000.0 + seconds))
}

fn run(restart_count: u32, started: f64, finished: Option<f64>) -> Run {
    Run {
        hash: HASH,
        restart_count,
        started_at: at(started),
        finished_at: finished.map(at),
    }
}

fn delay(memory: Option<Remembered>) -> Option<(u64, u64)> {
    memory.map(|memory| (memory.least.as_secs(), memory.most.as_secs()))
}

/// kubelet's own arithmetic, from `flowcontrol.Backoff` and `doBackOff`, with an exact clock.
struct Kubelet {
    settings: BackOff,
    entry: Option<(Duration, Timestamp)>,
}

impl Kubelet {
    fn start_after(&mut self, finished: Timestamp) -> Timestamp {
        let expired = |last: Timestamp| finished.since(last) > FORGOTTEN_AFTER;
        let (start, delay) = match self.entry {
            Some((delay, last)) if !expired(last) => {
                let forgotten = last.after(FORGOTTEN_AFTER).max(finished);
                if finished.after(delay) > forgotten {
                    (forgotten, self.settings.base)
                } else {
                    (finished.after(delay), (delay * 2).min(self.settings.max))
                }
            }
            _ => (finished, self.settings.base),
        };
        self.entry = Some((delay, start));
        start
    }
}

#[test]
fn delays_double_from_nothing_to_five_minutes() {
    let settings = BackOff::default();
    let mut runs = vec![run(0, 0.0, None)];
    let mut kubelet = Kubelet {
        settings,
        entry: None,
    };
    let mut seen = Vec::new();
    for restart in 1..=8 {
        let last = runs.last_mut().unwrap();
        let finished = last.started_at.after(Duration::from_secs(60));
        last.finished_at = Some(finished);
        let started = kubelet.start_after(finished);
        seen.push(started.since(finished).as_secs());
        runs.push(Run {
            restart_count: restart,
            started_at: started,
            finished_at: None,
            ..runs[0]
        });
    }
    assert_eq!(seen, [0, 10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(delay(settings.remembered(&runs, None)), Some((300, 300)));
}

#[test]
fn foresight_covers_what_was_measured_on_kubelet_1_36_3() {
    // From the stop to Ready: the application took 0.4 to 0.9 s to end, and was Ready 1.2 to 1.4 s after the stop when
    // nothing delayed it. (longest period, stops before, ready after at least, at most).
    let measured = [
        (300, 0, 1.2, 1.4),
        (300, 1, 13.0, 16.0),
        (300, 2, 22.0, 25.0),
        (1, 0, 1.2, 1.4),
        (1, 1, 2.7, 3.0),
        (1, 2, 2.7, 3.0),
        (1, 3, 2.7, 3.0),
    ];
    for (longest, stops, least, most) in measured {
        let settings = BackOff::with_longest(Duration::from_secs(longest));
        let mut kubelet = Kubelet {
            settings,
            entry: None,
        };
        let mut runs = vec![run(0, 0.0, None)];
        for restart in 1..=stops {
            let last = runs.last_mut().unwrap();
            let finished = last.started_at.after(Duration::from_secs(30));
            last.finished_at = Some(finished);
            runs.push(Run {
                restart_count: restart,
                started_at: kubelet.start_after(finished),
                finished_at: None,
                ..runs[0]
            });
        }
        let finished = runs
            .last()
            .unwrap()
            .started_at
            .after(Duration::from_secs(30));
        let foreseen = settings.remembered(&runs, None).map_or_else(
            || Foreseen::at_once(finished),
            |memory| memory.foresee(finished),
        );
        let earliest = foreseen.earliest.since(finished).as_secs_f64() + 1.2;
        let latest = foreseen.latest.since(finished).as_secs_f64() + 1.4;
        assert!(
            earliest <= least,
            "{longest} s, {stops} stops: {earliest} to {latest}"
        );
        assert!(
            most <= latest,
            "{longest} s, {stops} stops: {earliest} to {latest}"
        );
    }
}

/// What is shown, the runs, when kubelet started, the least and the most it remembers.
type Row<'a> = (&'a str, &'a [Run], Option<f64>, Option<(u64, u64)>);

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn rows_of_what_kubelet_remembers() {
    let settings = BackOff::default();
    let rows: &[Row<'_>] = &[
        ("nothing ran", &[], None, None),
        ("never restarted", &[run(0, 0.0, None)], None, None),
        (
            "restarted once",
            &[run(0, 0.0, Some(50.0)), run(1, 51.0, None)],
            None,
            Some((10, 10)),
        ),
        (
            "restarted twice",
            &[
                run(0, 0.0, Some(50.0)),
                run(1, 51.0, Some(60.0)),
                run(2, 72.0, None),
            ],
            None,
            Some((20, 20)),
        ),
        (
            "earlier restarts unknown",
            &[run(3, 0.0, None)],
            None,
            Some((0, 40)),
        ),
        (
            "very many restarts unknown",
            &[run(4_000_000_000, 0.0, None)],
            None,
            Some((0, 300)),
        ),
        (
            "the pause shows what was in force",
            &[run(6, 0.0, Some(5.0)), run(7, 18.0, None)],
            None,
            Some((10, 26)),
        ),
        (
            "no pause, so it was forgotten or never there",
            &[run(6, 0.0, Some(5.0)), run(7, 6.0, None)],
            None,
            Some((10, 10)),
        ),
        (
            "ran for more than ten minutes",
            &[run(6, 0.0, Some(700.0)), run(7, 701.0, None)],
            None,
            Some((10, 10)),
        ),
        (
            "exactly ten minutes are not more than ten minutes",
            &[run(2, 0.0, Some(600.0)), run(3, 620.0, None)],
            None,
            Some((10, 40)),
        ),
        (
            "another image begins anew",
            &[
                run(5, 0.0, Some(50.0)),
                Run {
                    hash: 7,
                    ..run(6, 51.0, None)
                },
            ],
            None,
            Some((0, 10)),
        ),
        (
            "a run between is not known",
            &[run(0, 0.0, Some(50.0)), run(2, 80.0, None)],
            None,
            Some((0, 20)),
        ),
        (
            "kubelet was restarted after the last start",
            &[run(0, 0.0, Some(50.0)), run(1, 51.0, None)],
            Some(60.0),
            None,
        ),
        (
            "kubelet was restarted before the last start",
            &[run(1, 0.0, Some(50.0)), run(2, 51.0, None)],
            Some(20.0),
            Some((10, 10)),
        ),
    ];
    for (name, runs, kubelet, wanted) in rows {
        let found = delay(settings.remembered(runs, kubelet.map(at)));
        assert_eq!(found, *wanted, "{name}");
    }
}

#[test]
fn what_is_ten_minutes_old_delays_nothing_and_a_smaller_period_changes_not_that() {
    for longest in [1, 300] {
        let settings = BackOff::with_longest(Duration::from_secs(longest));
        let runs = [run(0, 0.0, Some(50.0)), run(1, 51.0, None)];
        let memory = settings.remembered(&runs, None).unwrap();
        let first = longest.min(10);
        assert!(memory.longest(at(651.0)) >= Duration::from_secs(first));
        assert_eq!(memory.longest(at(651.1)), TICK);
        assert_eq!(memory.longest(memory.forgotten_at()), TICK);
    }
}

#[test]
fn a_container_that_waits_is_started_when_its_delay_is_cleaned_away() {
    let memory = Remembered {
        least: Duration::from_secs(300),
        most: Duration::from_secs(300),
        last_start: at(0.0),
    };
    let foreseen = memory.foresee(at(590.0));
    assert_eq!(foreseen.earliest, at(601.0));
    assert_eq!(foreseen.latest, at(590.0 + 331.0));
}

#[test]
fn what_kubelet_says_itself_is_believed() {
    let rows = [
        (
            "back-off 10s restarting failed container=a pod=shop_default(uid)",
            Some((10, 16)),
        ),
        (
            "back-off 2m40s restarting failed container=a pod=shop_default(uid)",
            Some((160, 191)),
        ),
        (
            "back-off 5m0s restarting failed container=a pod=shop_default(uid)",
            Some((300, 331)),
        ),
        ("Back-off pulling image \"x\"", None),
        ("back-off soon restarting failed container=a", None),
    ];
    for (message, wanted) in rows {
        let told = Foreseen::told(at(0.0), message).map(|told| {
            (
                told.earliest.since(at(0.0)).as_secs(),
                told.latest.since(at(0.0)).as_secs(),
            )
        });
        assert_eq!(told, wanted, "{message}");
    }
}

proptest! {
    #[test]
    fn kubelets_own_figure_lies_between_least_and_most_however_much_is_forgotten(
        lives in prop::collection::vec(1_u64..900, 1..12),
        late in prop::collection::vec(0_u64..20, 12),
        known in 1_usize..13,
        longest in prop::sample::select(vec![1_u64, 15, 60, 300]),
    ) {
        let settings = BackOff::with_longest(Duration::from_secs(longest));
        let mut kubelet = Kubelet { settings, entry: None };
        let mut runs = vec![run(0, 0.0, None)];
        for (index, life) in lives.iter().enumerate() {
            let last = runs.last_mut().unwrap();
            let finished = last.started_at.after(Duration::from_secs(*life));
            last.finished_at = Some(finished);
            let restart_count = last.restart_count + 1;
            let started = kubelet.start_after(finished).after(Duration::from_secs(late[index]));
            kubelet.entry = kubelet.entry.map(|(delay, _)| (delay, started));
            runs.push(Run { restart_count, started_at: started, finished_at: None, hash: HASH });
        }
        let (truth, _) = kubelet.entry.unwrap();
        let all = settings.remembered(&runs, None).unwrap();
        prop_assert!(all.least <= truth && truth <= all.most, "{truth:?} {all:?}");
        let some = &runs[runs.len().saturating_sub(known)..];
        let found = settings.remembered(some, None).unwrap();
        prop_assert!(found.least <= truth && truth <= found.most, "{truth:?} {found:?}");
    }
}
