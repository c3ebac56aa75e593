use super::*;
use crate::health::signal::Finding;

const SPAN: Duration = Duration::from_secs(600);

fn nic(index: u32, carrier_changes: u32, counters: Counters) -> Links {
    Links(vec![Link {
        index,
        name: "eth0".into(),
        carrier_changes,
        counters,
        ..Link::default()
    }])
}

fn kind(verdict: &Verdict) -> &'static str {
    match &verdict.finding {
        Finding::Good => "good",
        Finding::Bad(trouble) => trouble.kind,
        Finding::Absent => "absent",
        Finding::Unclear { .. } => "unclear",
    }
}

/// What is said after looks at these seconds, with these changes of carrier since boot.
fn flaps(looks: &[(u64, u32, u32)]) -> Vec<&'static str> {
    let start = Instant::now();
    let mut quality = Quality::new(SPAN);
    let look = |&(second, index, changes): &(u64, u32, u32)| {
        let links = nic(index, changes, Counters::default());
        kind(&quality.look(&links, start + Duration::from_secs(second))[0])
    };
    looks.iter().map(look).collect()
}

#[test]
fn changes_of_carrier_count_for_ten_minutes() {
    assert_eq!(
        flaps(&[(0, 1, 9), (10, 1, 11), (20, 1, 12)]),
        ["good", "good", "good"],
        "what was before the first look is not counted"
    );
    assert_eq!(flaps(&[(0, 1, 2), (10, 1, 6)]), ["good", "flapping"]);
    assert_eq!(
        flaps(&[
            (0, 1, 0),
            (100, 1, 2),
            (400, 1, 4),
            (699, 1, 4),
            (700, 1, 4)
        ]),
        ["good", "good", "flapping", "flapping", "good"]
    );
    assert_eq!(
        flaps(&[
            (0, 1, 0),
            (10, 1, 1_000_000),
            (609, 1, 1_000_000),
            (610, 1, 1_000_000)
        ]),
        ["good", "flapping", "flapping", "good"]
    );
}

#[test]
fn another_nic_of_the_same_name_begins_anew() {
    assert_eq!(
        flaps(&[(0, 1, 0), (10, 1, 8), (20, 2, 8), (30, 2, 9)]),
        ["good", "flapping", "good", "good"]
    );
    let mut quality = Quality::new(SPAN);
    let verdicts = quality.look(&Links::default(), Instant::now());
    assert_eq!(verdicts.each_ref().map(kind), ["absent", "absent"]);
}

#[test]
fn errors_are_judged_by_the_last_minute() {
    let start = Instant::now();
    let table = [
        ("none", vec![(0, 0, 0), (10, 9_000, 0)], "good"),
        (
            "many of old",
            vec![(0, 5_000, 5_000), (10, 9_000, 5_000)],
            "good",
        ),
        ("some", vec![(0, 0, 0), (10, 9_000, 100)], "good"),
        ("many", vec![(0, 0, 0), (10, 9_000, 101)], "errors"),
        (
            "many of very many",
            vec![(0, 0, 0), (10, 20_000_000, 101)],
            "good",
        ),
        (
            "many, a minute ago",
            vec![
                (0, 0, 0),
                (10, 9_000, 500),
                (40, 9_100, 500),
                (70, 9_200, 500),
                (80, 9_300, 500),
            ],
            "good",
        ),
    ];
    for (case, looks, expected) in table {
        let mut quality = Quality::new(SPAN);
        let mut last = "";
        for (second, packets, errors) in looks {
            let links = nic(1, 0, Counters { packets, errors });
            last = kind(&quality.look(&links, start + Duration::from_secs(second))[1]);
        }
        assert_eq!(last, expected, "{case}");
    }
}

#[test]
fn memory_is_bounded() {
    let start = Instant::now();
    let mut quality = Quality::new(SPAN);
    for second in 0..1000 {
        let links = nic(1, 0, Counters::default());
        quality.look(&links, start + Duration::from_millis(second));
    }
    assert!(quality.links.values().all(|it| it.samples.len() <= SAMPLES));
}
