use serde_json::json;

use super::*;
use crate::health::view::{Seen, judge};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_763_719_200 + second).unwrap()
}

fn view(second: i64) -> NodeView {
    let report = serde_json::from_value(json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "NodeHealth",
        "metadata": {"name": "n1"}, "spec": {"nodeName": "n1"},
        "status": {
            "bootId": "boot-1", "agentVersion": "0.1.0", "reportTime": at(0), "expiryTime": at(720),
            "problems": 1, "unknowns": 1, "conditions": [], "signals": [
                {"name": "ipamd", "state": "Unhealthy", "since": at(-300), "observedTime": at(-5), "ttlSeconds": 60,
                 "value": "away", "threshold": "answers", "decision": "Cordon",
                 "message": "it is away", "impact": "no addresses", "advice": "look"},
                {"name": "addresses", "state": "Unknown", "since": at(-240), "ttlSeconds": 60, "value": "",
                 "threshold": "5 % free", "message": "ipamd is away"},
                {"name": "kubelet", "state": "Healthy", "since": at(-9000), "observedTime": at(-5), "ttlSeconds": 60,
                 "value": "ok", "threshold": "answers ok"},
            ],
        },
    }))
    .unwrap();
    let seen = Seen {
        report: Some(&report),
        boot_id: None,
    };
    judge("n1", seen, at(second))
}

#[test]
fn people_are_told_what_since_when_what_it_means_and_what_to_do() {
    let nowhere = judge("n2", Seen::default(), at(0));
    let text = table(&[view(0), nowhere], at(0), Paint::NONE);
    let expected = "\
NODE   HEALTH      WRONG OR UNKNOWN         REPORTED
n1     unhealthy   ipamd 5m, addresses? 4m   0s ago
n2     unknown     no report in force        never

n1: ipamd is unhealthy since 2025-11-21T09:55:00Z (5m)
  what    it is away
  means   no addresses
  to do   look
  enough  to keep new Pods away (kubectl cordon); Berth does nothing by itself

n1: addresses is unknown since 2025-11-21T09:56:00Z (4m)
  what    ipamd is away
";
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(squeeze(&text).starts_with(&squeeze(expected)), "{text}");
    assert!(
        text.contains("n2: not known\n  what    there is no report"),
        "{text}"
    );
}

#[test]
fn what_was_reported_before_an_expiry_is_told_as_past() {
    let text = table(&[view(1000)], at(1000), Paint::NONE);
    assert!(text.contains("before  ipamd was unhealthy"), "{text}");
    assert!(!text.contains("ipamd is unhealthy"), "{text}");
    let wide = wide(&[view(1000)], at(1000), Paint::NONE);
    assert!(
        !wide.contains(" healthy ") && !wide.contains("unhealthy"),
        "{wide}"
    );
}

#[test]
fn wide_has_a_line_for_each_signal_and_for_each_node_without_one() {
    let text = wide(
        &[view(0), judge("n2", Seen::default(), at(0))],
        at(0),
        Paint::NONE,
    );
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[1].ends_with("away        answers"), "{text}");
    assert!(lines[2].contains("never"), "{text}");
    assert!(lines[4].contains("no report"), "{text}");
}
