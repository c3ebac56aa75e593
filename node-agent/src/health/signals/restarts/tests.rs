use std::fs;

use super::*;
use crate::health::signal::Finding;

const WINDOW: Duration = Duration::from_secs(20 * 60);

fn daemon() -> Daemon {
    Daemon {
        signal: RUNTIME,
        label: Restarted::runtime,
        name: "containerd".to_owned(),
        process: None,
        restarts: VecDeque::new(),
    }
}

const fn process(pid: i32, started: u64) -> Run {
    Run { pid, started }
}

fn kind(verdict: &Verdict) -> &'static str {
    match &verdict.finding {
        Finding::Good => "good",
        Finding::Bad(trouble) => trouble.kind,
        Finding::Unclear { .. } => "unclear",
        Finding::Absent => "absent",
    }
}

#[test]
fn restart_is_another_process_that_started_later() {
    let now = Moment::now();
    let mut daemon = daemon();
    let table = [
        (None, Step::Away),
        (Some(process(10, 100)), Step::Same),
        (Some(process(10, 100)), Step::Same),
        (None, Step::Away),
        (Some(process(11, 200)), Step::Restarted),
        // The number comes round.
        (Some(process(11, 300)), Step::Restarted),
        // An older process of the same name is another daemon's.
        (Some(process(5, 50)), Step::Same),
    ];
    for (found, expected) in table {
        assert_eq!(daemon.step(found, now), expected, "{found:?}");
    }
    assert_eq!(daemon.restarts.len(), 2);
}

#[test]
fn five_restarts_within_the_window_are_wrong_and_four_are_not() {
    let mut now = Moment::now();
    let mut daemon = daemon();
    assert_eq!(kind(&daemon.assess(WINDOW, now)), "absent");
    daemon.step(Some(process(1, 1)), now);
    let mut told = Vec::new();
    for start in 2..7 {
        now = now.after(Duration::from_secs(60));
        daemon.step(Some(process(1, start)), now);
        told.push(kind(&daemon.assess(WINDOW, now)));
    }
    assert_eq!(told, ["good", "good", "good", "good", "often"]);
    // The first was four minutes before the last.
    now = now.after(Duration::from_secs(16 * 60 - 1));
    assert_eq!(kind(&daemon.assess(WINDOW, now)), "often");
    now = now.after(Duration::from_secs(1));
    assert_eq!(kind(&daemon.assess(WINDOW, now)), "good");
    // A year of one restart a month is nothing.
    for start in 10..30 {
        now = now.after(Duration::from_secs(30 * 86_400));
        daemon.step(Some(process(1, start)), now);
        assert_eq!(kind(&daemon.assess(WINDOW, now)), "good");
    }
}

#[test]
fn what_is_kept_counts_for_the_next_process() {
    let begun = Moment::now();
    let mut first = daemon();
    first.step(Some(process(1, 1)), begun);
    for start in 2..6 {
        first.step(Some(process(1, start)), begun);
    }
    let (name, value) = first.kept();
    let kept = json!({name: value});
    let later = begun.after(Duration::from_secs(60));
    let mut second = daemon();
    second.recall(&kept, later);
    assert_eq!(second.restarts.len(), 4);
    // Restarted while no agent looked.
    assert_eq!(second.step(Some(process(2, 90)), later), Step::Restarted);
    assert_eq!(kind(&second.assess(WINDOW, later)), "often");
    for damaged in [
        json!(null),
        json!({"runtime-restarts": {"restarts": ["x", -1, 1e300]}}),
    ] {
        let mut third = daemon();
        third.recall(&damaged, later);
        assert_eq!(kind(&third.assess(WINDOW, later)), "absent");
    }
}

#[test]
fn process_is_found_by_its_name_alone_and_the_oldest_counts() {
    let proc = tempfile::tempdir().unwrap();
    let add = |pid: i32, comm: &str, started: u64| {
        let folder = proc.path().join(pid.to_string());
        fs::create_dir_all(&folder).unwrap();
        let zeros = "0 ".repeat(18);
        let rest = "0 ".repeat(30);
        fs::write(
            folder.join("stat"),
            format!("{pid} ({comm}) S {zeros}{started} {rest}\n"),
        )
        .unwrap();
    };
    add(1, "init", 1);
    add(20, "containerd-shim", 5);
    add(30, "containerd", 90);
    add(31, "containerd", 70);
    add(40, "a) S (containerd", 3);
    fs::create_dir(proc.path().join("self")).unwrap();
    let found = observe(proc.path(), "containerd", None).unwrap();
    assert_eq!(found, Some(process(31, 70)));
    // The one that is known is asked first.
    let same = observe(proc.path(), "containerd", Some(process(30, 90))).unwrap();
    assert_eq!(same, Some(process(30, 90)));
    let other = observe(proc.path(), "containerd", Some(process(30, 80))).unwrap();
    assert_eq!(other, Some(process(31, 70)));
    assert_eq!(observe(proc.path(), "crio", None).unwrap(), None);
    assert!(observe(&proc.path().join("none"), "crio", None).is_err());
}
