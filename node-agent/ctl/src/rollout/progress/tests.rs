use serde_json::json;

use super::super::fixture::{pod, release, set};
use super::*;
use crate::cluster::sets::FailureSeen;

/// A release in this phase, with what the status says of `shop-1`.
fn busy(phase: &str, state: &str, waits_for: &str) -> InPlaceSet {
    set(|set| {
        set["status"]["release"] = release(
            phase,
            &json!({"pods": [
                {"name": "shop-1", "state": state, "waitsFor": waits_for, "since": "2026-01-01T00:00:20Z"},
            ]}),
        );
    })
}

fn states(set: &InPlaceSet, pods: &[PodOfSet]) -> Vec<String> {
    let lines = lines(set, pods);
    lines
        .iter()
        .map(|it| format!("{} {} {}", it.name, it.state, it.waits_for))
        .collect()
}

#[test]
fn pod_says_where_it_is_and_the_status_what_it_waits_for_there() {
    let set = busy(
        "Progressing",
        "Draining",
        "finalizer protection.berth.dev/slb to go",
    );
    let pods = [
        pod(0, "bb", None),
        pod(1, "aa", Some("Draining")),
        pod(2, "aa", Some("PrePull")),
        pod(3, "aa", None),
    ];
    assert_eq!(
        states(&set, &pods),
        [
            "shop-0 Released ",
            "shop-1 Draining finalizer protection.berth.dev/slb to go",
            "shop-2 PrePull ",
            "shop-3 Waiting ",
        ]
    );
    // The Pod is further than the status says.
    let later = [pod(1, "aa", Some("Quiet"))];
    assert_eq!(states(&set, &later), ["shop-1 Quiet "]);
    // The status is of before the last change of the set.
    let mut changed = set.clone();
    changed.metadata.generation = Some(9);
    assert_eq!(states(&changed, &later), ["shop-1 Quiet "]);
}

#[test]
fn status_says_more_finely_where_a_pod_is_and_that_it_was_given_up() {
    // The fixture's operation is there since the tenth second.
    let says = |state: &str| {
        let mut set = busy("Progressing", state, "container main to be ready");
        let release = set.status.as_mut().and_then(|it| it.release.as_mut());
        release.unwrap().pods[0].since = "2026-01-01T00:00:10Z".parse().unwrap();
        lines(&set, &[pod(1, "bb", Some("Upgrading"))]).remove(0)
    };
    let verified = says("Verifying");
    assert_eq!(
        (verified.state.as_str(), verified.failed),
        ("Verifying", false)
    );
    let late = says("ProgressDeadlineExceeded");
    assert!(late.failed, "{late:?}");
    assert!(words(&late).starts_with("shop-1: ProgressDeadlineExceeded: container main"));
}

#[test]
fn pod_that_waits_for_its_turn_is_not_told_until_it_comes() {
    let set = busy("Progressing", "Serving", "others to be available");
    let waits = lines(&set, &[pod(1, "aa", None)]);
    assert_eq!(
        (waits[0].state.as_str(), waits[0].waits_for.as_str()),
        ("Waiting", "others to be available")
    );
    assert_eq!(Told::default().lines(&waits), []);
}

#[test]
fn pod_that_was_given_up_says_why() {
    let set = busy("Held", "Serving", "");
    let mut given_up = pod(1, "aa", Some("Serving"));
    given_up.operation.as_mut().unwrap().failure = Some(FailureSeen {
        reason: "DrainTimeout".to_owned(),
        message: "slb is still there".to_owned(),
    });
    let lines = lines(&set, &[given_up]);
    assert_eq!(
        (lines[0].state.as_str(), lines[0].waits_for.as_str()),
        ("DrainTimeout", "slb is still there")
    );
    assert_eq!(tone(&lines[0]), Tone::Wrong);
}

#[test]
fn pod_with_nothing_under_way_is_released_waits_or_is_kept() {
    let going = busy("Progressing", "Draining", "");
    let done = busy("Succeeded", "Draining", "");
    let mut deleting = pod(2, "aa", None);
    deleting.deleting = true;
    let pods = [pod(0, "aa", None), deleting];
    assert_eq!(
        states(&going, &pods),
        ["shop-0 Waiting ", "shop-2 Deleting "]
    );
    assert_eq!(states(&done, &pods), ["shop-0 Kept ", "shop-2 Deleting "]);
}

#[test]
fn table_says_how_long_and_for_what() {
    let set = busy("Progressing", "Draining", "slb");
    let pods = [pod(0, "bb", None), pod(1, "aa", Some("Draining"))];
    let now = "2026-01-01T00:00:32Z".parse().unwrap();
    let text = table(&lines(&set, &pods), now, Paint::NONE);
    assert_eq!(
        text,
        "POD      REVISION   STATE      FOR   WAITS FOR\n\
         shop-0   bb         Released   -     -\n\
         shop-1   aa         Draining   12s   slb\n"
    );
}

#[test]
fn each_step_of_a_pod_is_told_once() {
    let mut told = Told::default();
    let mut said = |phase: &str, state: Option<&str>, revision: &str, waits_for: &str| {
        let listed = state.unwrap_or("Gone");
        let mut set = busy(phase, listed, waits_for);
        if state.is_none() {
            let release = set.status.as_mut().and_then(|it| it.release.as_mut());
            release.unwrap().pods.clear();
        }
        let pods = [pod(0, "bb", None), pod(1, revision, state)];
        let lines = told.lines(&lines(&set, &pods));
        lines.into_iter().map(|(_, it)| it).collect::<Vec<_>>()
    };
    // What is done already, and whose turn has not come, is not told.
    assert_eq!(said("Progressing", None, "aa", ""), [""; 0]);
    let since = "(since 2026-01-01T00:00:20Z)";
    assert_eq!(
        said("Progressing", Some("Draining"), "aa", "slb"),
        [format!("shop-1: Draining, waits for slb {since}")]
    );
    assert_eq!(said("Progressing", Some("Draining"), "aa", "slb"), [""; 0]);
    assert_eq!(
        said("Progressing", Some("Draining"), "aa", "dns"),
        [format!("shop-1: Draining, waits for dns {since}")]
    );
    // Taken back.
    assert_eq!(
        said("Progressing", None, "aa", ""),
        ["shop-1: serves again, untouched"]
    );
    assert_eq!(
        said("Progressing", Some("Upgrading"), "bb", ""),
        [format!("shop-1: Upgrading {since}")]
    );
    assert_eq!(said("Succeeded", None, "bb", ""), ["shop-1: Released"]);
    assert_eq!(said("Succeeded", None, "bb", ""), [""; 0]);
}

#[test]
fn pod_that_goes_and_one_that_comes_are_told() {
    let mut told = Told::default();
    let set = busy("Progressing", "Draining", "");
    let both = [pod(0, "bb", None), pod(2, "aa", None)];
    assert_eq!(told.lines(&lines(&set, &both)), []);
    let fewer = told.lines(&lines(&set, &both[..1]));
    assert_eq!(fewer, [(Tone::Plain, "shop-2: gone".to_owned())]);
    let more = [pod(0, "bb", None), pod(5, "bb", None)];
    let more = told.lines(&lines(&set, &more));
    assert_eq!(more, [(Tone::Fine, "shop-5: Released".to_owned())]);
}
