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
            "problems": 1, "unknowns": 2, "conditions": [], "signals": [
                {"name": "ipamd", "area": "Addresses", "state": "Unhealthy", "since": at(-300), "observedTime": at(-5), "ttlSeconds": 60,
                 "value": "away", "threshold": "answers", "decision": "Cordon",
                 "message": "it is away", "impact": "no addresses", "advice": "look"},
                {"name": "addresses", "area": "Addresses", "state": "Unknown", "since": at(-240), "ttlSeconds": 60, "value": "",
                 "threshold": "5 % free", "message": "ipamd is away"},
                {"name": "disk", "area": "Storage", "state": "Unknown", "since": at(-60), "ttlSeconds": 60, "value": "",
                 "threshold": "takes writes", "message": "nobody looked"},
                {"name": "kubelet", "area": "Runtime", "state": "Healthy", "since": at(-9000), "observedTime": at(-5), "ttlSeconds": 60,
                 "value": "ok", "threshold": "answers ok"},
            ],
        },
    }))
    .unwrap();
    let seen = Seen {
        report: Some(&report),
        boot_id: None,
        renewed: Some(at(second - 20)),
    };
    judge("n1", seen, at(second))
}

#[test]
fn people_are_told_what_since_when_what_it_means_and_what_to_do() {
    let nowhere = judge("n2", Seen::default(), at(0));
    let text = table(&[view(0), nowhere], at(0), Paint::NONE);
    let expected = "\
NODE   HEALTH      WRONG OR UNKNOWN                                    PEERS ALIVE   REPORTED   AGENT
n1     unhealthy   addresses: ipamd 5m, addresses? 4m; storage: disk? 60s   0s ago     20s ago
n2     unknown     no report in force                                  never      never

n1: ipamd is unhealthy since 2025-11-21T09:55:00Z (5m)
  part    addresses
  what    it is away
  means   no addresses
  to do   look
  enough  to keep new Pods away (kubectl cordon); done by itself where the LifecyclePolicy enforces cordon

n1: addresses is unknown since 2025-11-21T09:56:00Z (4m)
  part    addresses
  what    ipamd is away

n1: disk is unknown since 2025-11-21T09:59:00Z (60s)
  part    storage
  what    nobody looked
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
    assert!(
        text.contains("before  1 signals were as they should be"),
        "{text}"
    );
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
    assert_eq!(lines.len(), 6, "{text}");
    // Those of one part of the node stand together.
    let parts: Vec<_> = lines[1..5]
        .iter()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(parts, ["runtime", "addresses", "addresses", "storage"]);
    assert!(
        lines[2].contains("away") && lines[2].trim_end().ends_with("answers"),
        "{text}"
    );
    assert!(lines[3].contains("never"), "{text}");
    assert!(lines[5].contains("no report"), "{text}");
}
