use proptest::prelude::*;
use proto_crd::node_health::Decision;

use super::*;
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
fn tell(outbox: &mut Outbox, now: &mut Moment) -> Vec<String> {
    let mut reasons = Vec::new();
    while let Some(note) = outbox.next(now.at) {
        outbox.begin(&note, *now);
        outbox.written(&note, *now);
        reasons.push(note.reason);
        *now = now.after(GAP);
    }
    reasons
}

/// The next process, which reads what this one kept.
fn restarted(outbox: &Outbox, now: Moment) -> Outbox {
    let kept = serde_json::to_vec(&outbox.told()).unwrap();
    Outbox::new(now.wall, Some(serde_json::from_slice(&kept).unwrap()))
}

#[test]
fn change_is_told_once_and_told_when_it_is_over() {
    let begun = Moment::now();
    let mut now = begun;
    let mut outbox = Outbox::new(begun.wall, None);
    outbox.observe(&[wrong("kubelet", begun.wall), fine("ipamd")], now, never());
    let note = outbox.next(now.at).unwrap();
    assert_eq!(note.text, "kubelet is away; nothing works. To do: look");
    assert!(note.is_wrong);
    assert_eq!(tell(&mut outbox, &mut now), ["KubeletUnhealthy"]);
    outbox.observe(&[wrong("kubelet", begun.wall)], now, never());
    assert_eq!(outbox.due(now.at), None);
    // What is not known is no news.
    let unknown = view("kubelet", SignalState::Unknown, begun.wall);
    outbox.observe(&[unknown], now, never());
    assert_eq!(outbox.due(now.at), None);
    outbox.observe(&[fine("kubelet")], now, never());
    assert_eq!(tell(&mut outbox, &mut now), ["KubeletHealthy"]);
    assert_eq!(outbox.due(now.at), None);
}

#[test]
fn what_an_earlier_process_told_is_not_told_again_but_its_end_is() {
    let begun = Moment::now();
    let mut now = begun;
    let mut outbox = Outbox::new(begun.wall, None);
    outbox.observe(&[wrong("kubelet", Timestamp::UNIX_EPOCH)], now, never());
    assert_eq!(outbox.due(now.at), None);
    outbox.observe(&[fine("kubelet")], now, never());
    assert_eq!(tell(&mut outbox, &mut now), ["KubeletHealthy"]);
}

#[test]
fn what_is_over_before_it_was_told_is_not_told() {
    let begun = Moment::now();
    let mut now = begun;
    let mut outbox = Outbox::new(begun.wall, None);
    outbox.observe(&[wrong("kubelet", begun.wall)], now, never());
    outbox.failed(now.at, never());
    assert_eq!(outbox.next(now.at), None);
    assert_eq!(outbox.due(now.at), Some(now.at + seconds(5)));
    outbox.observe(&[fine("kubelet")], now, never());
    assert_eq!(outbox.due(now.at), None);
    now = now.after(seconds(60));
    assert_eq!(tell(&mut outbox, &mut now), [] as [&str; 0]);
}

#[test]
fn flapping_signal_is_told_of_each_reason_once_in_five_minutes_and_last_as_it_is() {
    let begun = Moment::now();
    let mut now = begun;
    let mut outbox = Outbox::new(begun.wall, None);
    let mut told = Vec::new();
    for _ in 0..10 {
        outbox.observe(&[wrong("kubelet", begun.wall)], now, never());
        told.extend(tell(&mut outbox, &mut now));
        now = now.after(seconds(10));
        outbox.observe(&[fine("kubelet")], now, never());
        told.extend(tell(&mut outbox, &mut now));
        now = now.after(seconds(10));
    }
    assert_eq!(told, ["KubeletUnhealthy", "KubeletHealthy"]);
    outbox.observe(&[wrong("kubelet", begun.wall)], now, never());
    let due = outbox.due(now.at).unwrap();
    assert_eq!(due, begun.at + PERIOD);
    assert_eq!(outbox.next(due).unwrap().reason, "KubeletUnhealthy");
}

#[test]
fn long_words_fit_into_a_note() {
    let begun = Moment::now();
    let mut outbox = Outbox::new(begun.wall, None);
    let mut long = wrong("kubelet", begun.wall);
    long.wrong.as_mut().unwrap().trouble.message = "ü".repeat(2000);
    outbox.observe(&[long], begun, never());
    let note = outbox.next(begun.at).unwrap();
    assert!(note.text.len() <= NOTE_LIMIT && note.text.starts_with('ü'));
}

#[test]
fn five_minutes_are_also_those_of_an_earlier_process_and_its_end_is_told_by_the_next() {
    let begun = Moment::now();
    let mut now = begun;
    let mut outbox = Outbox::new(begun.wall, None);
    outbox.observe(&[wrong("kubelet", begun.wall)], now, never());
    assert_eq!(tell(&mut outbox, &mut now), ["KubeletUnhealthy"]);
    now = begun.after(seconds(60));
    let mut outbox = restarted(&outbox, now);
    // It was told, and is what it was.
    outbox.observe(&[wrong("kubelet", begun.wall)], now, never());
    assert_eq!(outbox.due(now.at), None);
    outbox.observe(&[fine("kubelet")], now, never());
    assert_eq!(tell(&mut outbox, &mut now), ["KubeletHealthy"]);
    now = begun.after(seconds(120));
    let mut outbox = restarted(&outbox, now);
    // A clock that was put back by an hour keeps nothing from being told for longer.
    let mut behind = Outbox::new(now.wall, Some(outbox.told()));
    let back = Moment {
        at: now.at,
        wall: now.wall - k8s_openapi::jiff::SignedDuration::from_hours(1),
    };
    outbox.observe(&[wrong("kubelet", now.wall)], now, never());
    assert_eq!(outbox.due(now.at), Some(begun.at + PERIOD));
    behind.observe(&[wrong("kubelet", now.wall)], back, never());
    assert_eq!(behind.due(now.at), Some(now.at + PERIOD));
}

#[test]
fn what_an_earlier_process_did_not_come_to_tell_is_told() {
    let begun = Moment::now();
    let mut outbox = Outbox::new(begun.wall, None);
    outbox.observe(
        &[wrong("kubelet", begun.wall), wrong("ipamd", begun.wall)],
        begun,
        never(),
    );
    let note = outbox.next(begun.at).unwrap();
    outbox.begin(&note, begun);
    outbox.written(&note, begun);
    let mut now = begun.after(seconds(1));
    let mut next = restarted(&outbox, now);
    let both = [wrong("kubelet", begun.wall), wrong("ipamd", begun.wall)];
    next.observe(&both, now, never());
    let told = tell(&mut next, &mut now);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_ne!(told[0], note.reason);
}

#[test]
fn event_that_may_have_been_written_is_tried_as_the_same_one_for_five_minutes() {
    let begun = Moment::now();
    let mut outbox = Outbox::new(begun.wall, None);
    outbox.observe(&[wrong("kubelet", begun.wall)], begun, never());
    let note = outbox.next(begun.at).unwrap();
    let first = outbox.begin(&note, begun);
    // The process ends before it knows.
    let soon = begun.after(seconds(20));
    let mut next = restarted(&outbox, soon);
    next.observe(&[wrong("kubelet", begun.wall)], soon, never());
    let again = next.next(soon.at).unwrap();
    assert_eq!(next.begin(&again, soon), first);
    let later = begun.after(PERIOD);
    assert_eq!(next.begin(&again, later), later.wall);
}

/// How telling one Event goes.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Written,
    /// It was not made.
    Failed,
    /// It was made, and nobody knows.
    Unanswered,
    /// It was made, and the process ended before it knew.
    Killed,
}

fn fates() -> impl Strategy<Value = Fate> {
    use Fate::{Failed, Killed, Unanswered, Written};
    prop_oneof![4 => Just(Written), 1 => Just(Failed), 1 => Just(Unanswered), 1 => Just(Killed)]
}

proptest! {
    #[test]
    fn no_reason_is_told_twice_in_five_minutes_whatever_happens(
        steps in prop::collection::vec((0_usize..3, any::<bool>(), 0_u64..120, fates(), any::<bool>(), any::<u32>()), 1..200),
    ) {
        const NAMES: [&str; 3] = ["kubelet", "ipamd", "runtime"];
        let begun = Moment::now();
        let mut now = begun;
        let mut outbox = Outbox::new(begun.wall, None);
        // By the names of the Events, each of which the API server makes once.
        let mut made: BTreeMap<String, Timestamp> = BTreeMap::new();
        for (which, is_wrong, pause, fate, restarts, bits) in steps {
            let name = NAMES[which];
            let seen = if is_wrong { wrong(name, begun.wall) } else { fine(name) };
            outbox.observe(&[seen], now, Chance::new(bits));
            if let Some(note) = outbox.next(now.at) {
                let since = outbox.begin(&note, now);
                let kept = outbox.clone();
                if !matches!(fate, Fate::Failed) {
                    let before = made.insert(note.reason.clone(), since);
                    let apart = before.map(|before| since.duration_since(before).as_secs());
                    prop_assert!(apart.is_none_or(|apart| apart == 0 || apart >= 300), "{apart:?}");
                }
                match fate {
                    Fate::Written => outbox.written(&note, now),
                    Fate::Failed | Fate::Unanswered => outbox.failed(now.at, Chance::new(bits)),
                    Fate::Killed => outbox = restarted(&kept, now),
                }
            }
            prop_assert!(outbox.entries.len() <= NAMES.len());
            now = now.after(seconds(pause));
            if restarts {
                outbox = restarted(&outbox, now);
            }
        }
    }
}
