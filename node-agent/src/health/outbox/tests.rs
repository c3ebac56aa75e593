use proptest::prelude::*;
use proto_crd::node_health::Decision;

use super::*;
use crate::health::moment::Moment;
use crate::health::signal::Trouble;
use crate::health::tracker::Wrong;

fn never() -> Chance {
    Chance::new(0)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn view(name: &'static str, state: SignalState, since: Timestamp) -> View {
    let wrong = Wrong {
        trouble: Trouble {
            kind: "away",
            message: format!("{name} is away"),
            impact: "nothing works".into(),
            advice: "look".into(),
        },
        decision: Decision::Observe,
    };
    View {
        signal: Signal::new(name),
        state,
        since,
        observed: None,
        value: String::new(),
        wrong: (state == SignalState::Unhealthy).then_some(wrong),
        unknown: None,
    }
}

fn wrong(name: &'static str, since: Timestamp) -> View {
    view(name, SignalState::Unhealthy, since)
}

fn fine(name: &'static str) -> View {
    view(name, SignalState::Healthy, Timestamp::UNIX_EPOCH)
}

/// Writes all that is due; the reasons.
fn tell(outbox: &mut Outbox, now: &mut Instant) -> Vec<String> {
    let mut reasons = Vec::new();
    while let Some(note) = outbox.next(*now) {
        outbox.written(&note, *now);
        reasons.push(note.reason);
        *now += GAP;
    }
    reasons
}

#[test]
fn change_is_told_once_and_told_when_it_is_over() {
    let begun = Moment::now();
    let mut now = begun.at;
    let mut outbox = Outbox::new(begun.wall);
    outbox.observe(&[wrong("kubelet", begun.wall), fine("ipamd")], now, never());
    let note = outbox.next(now).unwrap();
    assert_eq!(note.text, "kubelet is away; nothing works. To do: look");
    assert!(note.is_wrong);
    assert_eq!(tell(&mut outbox, &mut now), ["KubeletUnhealthy"]);
    outbox.observe(&[wrong("kubelet", begun.wall)], now, never());
    assert_eq!(outbox.due(now), None);
    // What is not known is no news.
    let unknown = view("kubelet", SignalState::Unknown, begun.wall);
    outbox.observe(&[unknown], now, never());
    assert_eq!(outbox.due(now), None);
    outbox.observe(&[fine("kubelet")], now, never());
    assert_eq!(tell(&mut outbox, &mut now), ["KubeletHealthy"]);
    assert_eq!(outbox.due(now), None);
}

#[test]
fn what_an_earlier_process_told_is_not_told_again_but_its_end_is() {
    let begun = Moment::now();
    let mut now = begun.at;
    let mut outbox = Outbox::new(begun.wall);
    outbox.observe(&[wrong("kubelet", Timestamp::UNIX_EPOCH)], now, never());
    assert_eq!(outbox.due(now), None);
    outbox.observe(&[fine("kubelet")], now, never());
    assert_eq!(tell(&mut outbox, &mut now), ["KubeletHealthy"]);
}

#[test]
fn what_is_over_before_it_was_told_is_not_told() {
    let begun = Moment::now();
    let mut now = begun.at;
    let mut outbox = Outbox::new(begun.wall);
    outbox.observe(&[wrong("kubelet", begun.wall)], now, never());
    outbox.failed(now, never());
    assert_eq!(outbox.next(now), None);
    assert_eq!(outbox.due(now), Some(now + seconds(5)));
    outbox.observe(&[fine("kubelet")], now, never());
    assert_eq!(outbox.due(now), None);
    now += seconds(60);
    assert_eq!(tell(&mut outbox, &mut now), [] as [&str; 0]);
}

#[test]
fn flapping_signal_is_told_of_each_reason_once_in_five_minutes_and_last_as_it_is() {
    let begun = Moment::now();
    let mut now = begun.at;
    let mut outbox = Outbox::new(begun.wall);
    let mut told = Vec::new();
    for _ in 0..10 {
        outbox.observe(&[wrong("kubelet", begun.wall)], now, never());
        told.extend(tell(&mut outbox, &mut now));
        now += seconds(10);
        outbox.observe(&[fine("kubelet")], now, never());
        told.extend(tell(&mut outbox, &mut now));
        now += seconds(10);
    }
    assert_eq!(told, ["KubeletUnhealthy", "KubeletHealthy"]);
    outbox.observe(&[wrong("kubelet", begun.wall)], now, never());
    let due = outbox.due(now).unwrap();
    assert_eq!(due, begun.at + PERIOD);
    assert_eq!(outbox.next(due).unwrap().reason, "KubeletUnhealthy");
}

#[test]
fn long_words_fit_into_a_note() {
    let begun = Moment::now();
    let mut outbox = Outbox::new(begun.wall);
    let mut long = wrong("kubelet", begun.wall);
    long.wrong.as_mut().unwrap().trouble.message = "ü".repeat(2000);
    outbox.observe(&[long], begun.at, never());
    let note = outbox.next(begun.at).unwrap();
    assert!(note.text.len() <= NOTE_LIMIT && note.text.starts_with('ü'));
}

proptest! {
    #[test]
    fn no_reason_is_told_twice_in_five_minutes_whatever_happens(
        steps in prop::collection::vec((0_usize..3, any::<bool>(), 0_u64..120, any::<bool>(), any::<u32>()), 1..200),
    ) {
        const NAMES: [&str; 3] = ["kubelet", "ipamd", "runtime"];
        let begun = Moment::now();
        let mut now = begun.at;
        let mut outbox = Outbox::new(begun.wall);
        let mut told: BTreeMap<String, Instant> = BTreeMap::new();
        for (which, is_wrong, pause, fails, bits) in steps {
            let name = NAMES[which];
            let seen = if is_wrong { wrong(name, begun.wall) } else { fine(name) };
            outbox.observe(&[seen], now, Chance::new(bits));
            if let Some(note) = outbox.next(now) {
                if fails {
                    outbox.failed(now, Chance::new(bits));
                } else {
                    if let Some(before) = told.insert(note.reason.clone(), now) {
                        prop_assert!(now - before >= PERIOD);
                    }
                    outbox.written(&note, now);
                }
            }
            prop_assert!(outbox.entries.len() <= NAMES.len());
            now += seconds(pause);
        }
    }
}
