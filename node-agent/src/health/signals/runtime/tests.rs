use std::path::PathBuf;

use node_agent_cri::Code;

use super::*;
use crate::health::signal::Finding;

fn status(conditions: &[(&str, bool)]) -> RuntimeStatus {
    let condition = |(name, holds): &(&str, bool)| RuntimeCondition {
        name: (*name).to_owned(),
        holds: *holds,
        reason: "Because".to_owned(),
        message: "it says so".to_owned(),
    };
    RuntimeStatus {
        conditions: conditions.iter().map(condition).collect(),
    }
}

fn away(message: &str) -> CallRuntimeError {
    CallRuntimeError::Away {
        socket: PathBuf::from("/run/x.sock"),
        call: "Status",
        message: message.to_owned(),
    }
}

fn kind(verdict: &Verdict) -> Option<&'static str> {
    match &verdict.finding {
        Finding::Good => Some("good"),
        Finding::Bad(trouble) => Some(trouble.kind),
        Finding::Unclear { .. } | Finding::Absent => None,
    }
}

fn silent() -> CallRuntimeError {
    CallRuntimeError::Silent {
        socket: PathBuf::from("/run/x.sock"),
        call: "Status",
        deadline: DEADLINE,
    }
}

fn refused() -> CallRuntimeError {
    CallRuntimeError::Refused {
        call: "Status",
        code: Code::Internal,
        message: "broken".to_owned(),
    }
}

#[test]
fn answers_are_judged_by_the_table() {
    let table = [
        (Ok(Ok(status(&[("RuntimeReady", true)]))), Some("good")),
        (Ok(Ok(status(&[("RuntimeReady", false)]))), Some("unready")),
        (Ok(Ok(status(&[]))), Some("unready")),
        // It answers, and waits for the network plugin.
        (Ok(Err(silent())), Some("good")),
        (Ok(Err(refused())), Some("faulty")),
        (Ok(Err(away("Connection reset"))), Some("away")),
        (Err(away("Connection refused")), Some("away")),
        (Err(away("Permission denied (os error 13)")), None),
        (Err(silent()), Some("silent")),
        (Err(refused()), Some("faulty")),
    ];
    for (answer, expected) in table {
        let case = format!("{answer:?}");
        let sight = see(answer);
        let mut course = Course::default();
        let mut verdict = course.assess(sight.clone());
        for _ in 1..FAILED {
            verdict = course.assess(sight.clone());
        }
        assert_eq!(kind(&verdict), expected, "{case}");
    }
}

#[test]
fn three_failed_looks_of_five_count_in_whatever_order() {
    let away = || see(Err(away("Connection refused")));
    let mut course = Course::default();
    let told = |course: &mut Course, failed: bool| {
        let sight = if failed { away() } else { Sight::Ready };
        kind(&course.assess(sight))
    };
    // (failed, what is told)
    let table = [
        (true, None),
        (false, Some("good")),
        (true, None),
        (false, Some("good")),
        (true, Some("away")),
        (false, Some("good")),
        (true, Some("away")),
        (false, Some("good")),
        (false, Some("good")),
        (false, Some("good")),
    ];
    for (step, (failed, expected)) in table.into_iter().enumerate() {
        assert_eq!(told(&mut course, failed), expected, "step {step}");
    }
}

#[test]
fn runtime_that_was_away_for_long_is_well_after_three_good_looks() {
    let mut course = Course::default();
    for _ in 0..20 {
        course.assess(see(Err(away("Connection refused"))));
    }
    let told: Vec<_> = (0..4).map(|_| kind(&course.assess(Sight::Ready))).collect();
    assert_eq!(
        told,
        [Some("away"), Some("away"), Some("good"), Some("good")]
    );
}

#[test]
fn network_is_judged_by_what_the_runtime_says_of_it() {
    let table = [
        (Some(Ok(status(&[("NetworkReady", true)]))), Some("good")),
        (
            Some(Ok(status(&[("NetworkReady", false)]))),
            Some("unready"),
        ),
        (Some(Ok(status(&[("RuntimeReady", true)]))), None),
        (Some(Err(silent())), Some("silent")),
        (Some(Err(refused())), None),
        (Some(Err(away("Connection reset"))), None),
        (None, None),
    ];
    for (answer, expected) in table {
        let verdict = assess_network(answer.as_ref());
        assert_eq!(kind(&verdict), expected, "{answer:?}");
        if let Finding::Bad(trouble) = verdict.finding {
            let words = ["it says so (Because)", "waits for the network plugin"];
            let is_told = words.iter().any(|words| trouble.message.contains(words));
            assert!(is_told, "{trouble:?}");
        }
    }
}
