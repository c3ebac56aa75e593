use std::time::Duration;

use proto_crd::node_health::Decision;

use super::*;
use crate::health::assess::TABLE;
use crate::health::moment::Moment;
use crate::health::signal::Trouble;
use crate::health::tracker::Wrong;

fn view(name: &'static str, state: SignalState) -> View {
    View {
        signal: Signal::new(name),
        state,
        since: Timestamp::UNIX_EPOCH,
        observed: None,
        value: String::new(),
        wrong: None,
        unknown: (state == SignalState::Unknown).then(|| "nobody looked".to_owned()),
    }
}

fn wrong(name: &'static str, kind: &'static str, decision: Decision) -> View {
    View {
        wrong: Some(Wrong {
            trouble: Trouble {
                kind,
                message: format!("{name} is {kind}"),
                impact: "none".into(),
                advice: "look".into(),
            },
            decision,
        }),
        ..view(name, SignalState::Unhealthy)
    }
}

fn judged(areas: &mut Areas, views: &[View], now: Timestamp) -> AreaView {
    let all = areas.judge(views, true, now);
    assert_eq!(all.len(), Area::ALL.len());
    all.into_iter().find(|it| it.area == Area::Runtime).unwrap()
}

#[test]
fn every_signal_is_sorted_into_one_part() {
    let sorted: Vec<&str> = SIGNALS
        .iter()
        .flat_map(|(_, names)| *names)
        .copied()
        .collect();
    for rule in TABLE {
        let name = rule.signal.as_str();
        let count = sorted.iter().filter(|it| **it == name).count();
        assert_eq!(count, 1, "{name}: name it in area.rs, once");
    }
}

#[test]
fn strongest_trouble_gives_the_reason_and_all_are_told() {
    let now = Timestamp::UNIX_EPOCH;
    let mut areas = Areas::new(now);
    let views = [
        wrong("kubelet", "away", Decision::Observe),
        wrong("kubelet", "too-slow", Decision::Cordon),
        view("kubelet", SignalState::Unknown),
        wrong("ipamd", "away", Decision::Urgent),
    ];
    let runtime = judged(&mut areas, &views, now);
    assert_eq!(runtime.status, ConditionStatus::True);
    assert_eq!(runtime.reason, "KubeletTooSlow");
    assert_eq!(
        runtime.message,
        "kubelet: kubelet is too-slow; kubelet: kubelet is away"
    );
}

#[test]
fn what_is_not_known_is_neither_a_problem_nor_none() {
    let now = Timestamp::UNIX_EPOCH;
    let mut areas = Areas::new(now);
    let views = [
        view("kubelet", SignalState::Healthy),
        view("kubelet", SignalState::Unknown),
    ];
    let runtime = judged(&mut areas, &views, now);
    assert_eq!(runtime.status, ConditionStatus::Unknown);
    assert_eq!(runtime.reason, "KubeletUnknown");
    assert_eq!(runtime.message, "kubelet: nobody looked");
    let views = [
        view("kubelet", SignalState::Healthy),
        view("kubelet", SignalState::Absent),
    ];
    let runtime = judged(&mut areas, &views, now);
    assert_eq!(runtime.status, ConditionStatus::False);
    assert_eq!(runtime.reason, "NoProblem");
}

#[test]
fn since_is_of_the_status_and_goes_on_in_the_next_process() {
    let mut now = Moment::now();
    let mut later = || {
        now = now.after(Duration::from_secs(60));
        now.wall
    };
    let mut areas = Areas::new(later());
    let set = later();
    let away = [wrong("kubelet", "away", Decision::Observe)];
    assert_eq!(judged(&mut areas, &away, set).since, set);
    // Another trouble is the same status.
    let worse = [wrong("kubelet", "silent", Decision::Cordon)];
    let still = judged(&mut areas, &worse, later());
    assert_eq!((still.since, still.reason.as_str()), (set, "KubeletSilent"));

    let mut next = Areas::new(later());
    next.adopt(&[still.to_condition()]);
    assert_eq!(judged(&mut next, &worse, later()).since, set);
    let cleared = later();
    let fine = judged(&mut next, &[view("kubelet", SignalState::Healthy)], cleared);
    assert_eq!((fine.since, fine.status), (cleared, ConditionStatus::False));

    // A look that is missing at the start is no transition.
    let mut young = Areas::new(later());
    young.adopt(&[still.to_condition()]);
    young.judge(&[view("kubelet", SignalState::Unknown)], false, later());
    assert_eq!(judged(&mut young, &worse, later()).since, set);
}

#[test]
fn texts_fit_into_a_condition() {
    let long = "x".repeat(600);
    let mut views = vec![wrong("kubelet", "away", Decision::Observe); 3];
    for view in &mut views {
        view.wrong
            .as_mut()
            .unwrap()
            .trouble
            .message
            .clone_from(&long);
    }
    let mut areas = Areas::new(Timestamp::UNIX_EPOCH);
    let told = judged(&mut areas, &views, Timestamp::UNIX_EPOCH);
    assert_eq!(told.message.chars().count(), MESSAGE_LIMIT);
    assert!(
        word(&[
            "a-very-long-signal-name-of-forty-letters",
            "and-a-long-kind-of-it"
        ])
        .len()
            <= REASON_LIMIT
    );
}
