use proptest::prelude::*;
use proto_crd::container_restart::{Phase, Strategy as How, Target};

use super::*;

fn spec(containers: &str) -> ContainerRestartSpec {
    ContainerRestartSpec {
        node_name: "n1".to_owned(),
        pod_name: "p".to_owned(),
        pod_uid: "u".to_owned(),
        containers: containers
            .chars()
            .map(|name| Target {
                name: name.to_string(),
            })
            .collect(),
        strategy: How::default(),
        active_deadline_seconds: None,
        ttl_seconds_after_finished: None,
    }
}

/// `name/containers`, in order of creation; `*` has begun, `!` has ended.
fn told(requests: &[&str]) -> Vec<String> {
    let parsed: Vec<(String, ContainerRestartSpec, ContainerRestartStatus)> = requests
        .iter()
        .map(|text| {
            let (name, containers) = text.trim_end_matches(['*', '!']).split_once('/').unwrap();
            let status = ContainerRestartStatus {
                accepted_at: text.ends_with('*').then(Timestamp::default),
                phase: if text.ends_with('!') {
                    Phase::Failed
                } else {
                    Phase::Pending
                },
                ..ContainerRestartStatus::default()
            };
            (name.to_owned(), spec(containers), status)
        })
        .collect();
    let waiting: Vec<Waiting<'_>> = parsed
        .iter()
        .enumerate()
        .map(|(index, (name, spec, status))| Waiting {
            name,
            created_at: Timestamp::from_unix_milliseconds(index as u64),
            spec,
            status,
        })
        .collect();
    turns(&waiting)
        .into_iter()
        .map(|turn| match turn {
            Turn::Now => "now".to_owned(),
            Turn::After { position, behind } => format!("{position} {behind}"),
            Turn::SupersededBy(name) => format!("by {name}"),
        })
        .collect()
}

#[test]
fn rows_of_whose_turn_it_is() {
    let rows: &[(&[&str], &[&str])] = &[
        (&["a/x"], &["now"]),
        (&["a/x", "b/y"], &["now", "1 a"]),
        (&["a/x", "b/x"], &["by b", "now"]),
        (&["a/x", "b/xy"], &["by b", "now"]),
        (&["a/xy", "b/x"], &["now", "1 a"]),
        (&["a/x*", "b/x"], &["now", "1 a"]),
        (&["a/x*", "b/x", "c/x"], &["now", "by c", "1 a"]),
        (
            &["a/x*", "b/x", "c/y", "d/z"],
            &["now", "1 a", "2 a", "3 a"],
        ),
        (&["a/x", "b/y*"], &["1 b", "now"]),
        (&["a/x*", "b/y*"], &["now", "1 a"]),
        (&["a/x!", "b/x"], &["now", "now"]),
        (&["a/x", "b/x!"], &["now", "now"]),
        (&["a/x", "b/x*"], &["1 b", "now"]),
    ];
    for (requests, wanted) in rows {
        assert_eq!(told(requests), *wanted, "{requests:?}");
    }
}

proptest! {
    #[test]
    fn one_request_at_a_time_has_its_turn_and_positions_have_no_gaps(
        requests in prop::collection::vec(("[xyz]{1,2}", 0..6_u8), 1..8),
    ) {
        let texts: Vec<String> = requests.iter().enumerate().map(|(index, (containers, mark))| {
            let mark = match mark { 0 => "*", 1 => "!", _ => "" };
            format!("r{index}/{containers}{mark}")
        }).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let told = told(&texts);
        let living: Vec<&String> =
            told.iter().zip(&texts).filter(|(_, text)| !text.ends_with('!')).map(|(turn, _)| turn).collect();
        let turns = living.iter().filter(|turn| turn.as_str() == "now").count();
        prop_assert_eq!(turns, usize::from(!living.is_empty()));
        let queued = living.iter().filter(|turn| !turn.starts_with("by")).count();
        for position in 1..queued {
            let text = format!("{position} ");
            prop_assert_eq!(living.iter().filter(|turn| turn.starts_with(&text)).count(), 1);
        }
    }
}
