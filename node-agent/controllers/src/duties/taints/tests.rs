use super::*;

fn taint(short: &str) -> Taint {
    let (key, effect) = short.split_once(':').unwrap();
    let key = match key.split_once('/') {
        Some(_) => key.to_owned(),
        None => format!("node.kubernetes.io/{key}"),
    };
    Taint {
        effect: effect.to_owned(),
        key,
        time_added: None,
        value: None,
    }
}

/// A node of such conditions and taints, as words; `cordoned` among the conditions: people have said that it gets no Pods.
fn node(conditions: &str, taints: &str) -> NodeView {
    let words = conditions
        .split_whitespace()
        .filter_map(|word| word.split_once('='));
    NodeView {
        unschedulable: conditions.contains("cordoned"),
        taints: taints.split_whitespace().map(taint).collect(),
        conditions: words
            .map(|(kind, status)| (kind.to_owned(), status.to_owned()))
            .collect(),
        ..NodeView::default()
    }
}

fn short(taints: &[Taint]) -> String {
    let short = taints.iter().map(|it| {
        let key = it.key.trim_start_matches("node.kubernetes.io/");
        format!("{key}:{}", it.effect)
    });
    short.collect::<Vec<_>>().join(" ")
}

fn planned(node: &NodeView) -> Option<Taints> {
    plan(node, &Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH))
}

const CALM: &str = "MemoryPressure=False DiskPressure=False PIDPressure=False";

#[test]
fn taints_follow_conditions() {
    for (conditions, has, is_to_have) in [
        // A new node, with the taint of admission: the one without which nothing would ever run there.
        ("Ready=True", "not-ready:NoSchedule", Some("")),
        ("Ready=False", "not-ready:NoSchedule", None),
        ("Ready=False", "", Some("not-ready:NoSchedule")),
        // From one to the other in one write.
        (
            "Ready=Unknown",
            "not-ready:NoSchedule",
            Some("unreachable:NoSchedule"),
        ),
        ("Ready=Unknown", "unreachable:NoSchedule", None),
        (
            "Ready=True",
            "unreachable:NoSchedule example.com/gpu:NoSchedule",
            Some("example.com/gpu:NoSchedule"),
        ),
        // People's word.
        ("Ready=True cordoned", "", Some("unschedulable:NoSchedule")),
        ("Ready=True cordoned", "unschedulable:NoSchedule", None),
        ("Ready=True", "unschedulable:NoSchedule", Some("")),
        // A node that has not said yet whether it is ready stays as it is.
        ("", "not-ready:NoSchedule", None),
        ("", "", None),
    ] {
        let node = node(&format!("{conditions} {CALM}"), has);
        let plan = planned(&node);
        let is = plan.as_ref().map(|it| short(&it.all));
        assert_eq!(is.as_deref(), is_to_have, "{conditions:?} {has:?}");
        assert!(plan.is_none_or(|it| !it.lifts_sentence));
    }
}

#[test]
fn each_pressure_has_its_taint_and_what_is_not_known_of_one_is_none() {
    for (conditions, has, is_to_have) in [
        (
            "Ready=True MemoryPressure=True",
            "",
            Some("memory-pressure:NoSchedule"),
        ),
        (
            "Ready=False DiskPressure=True PIDPressure=True NetworkUnavailable=True",
            "memory-pressure:NoSchedule",
            Some(
                "not-ready:NoSchedule disk-pressure:NoSchedule pid-pressure:NoSchedule network-unavailable:NoSchedule",
            ),
        ),
        (
            "Ready=Unknown MemoryPressure=Unknown",
            "unreachable:NoSchedule memory-pressure:NoSchedule",
            Some("unreachable:NoSchedule"),
        ),
        (
            "Ready=True NetworkUnavailable=False",
            "network-unavailable:NoSchedule",
            Some(""),
        ),
        // Conditions of others are nothing to do with it.
        ("Ready=True berth.dev/KernelProblem=True", "", None),
    ] {
        let plan = planned(&node(conditions, has));
        let is = plan.map(|it| short(&it.all));
        assert_eq!(is.as_deref(), is_to_have, "{conditions:?} {has:?}");
    }
}

#[test]
fn no_sentence_is_passed_and_those_of_others_are_lifted() {
    // Others' are left alone: fencing, and whatever people mean.
    let others = "out-of-service:NoExecute example.com/x:NoExecute disk-pressure:NoExecute";
    for ready in ["True", "False", "Unknown"] {
        let has = format!("not-ready:NoExecute {others} unreachable:NoExecute");
        let plan = planned(&node(&format!("Ready={ready}"), &has)).unwrap();
        assert!(plan.lifts_sentence);
        let mut left = plan.all;
        left.retain(|it| it.effect == NO_EXECUTE);
        assert_eq!(short(&left), others, "{ready}");
    }
}

#[test]
fn a_plan_that_is_carried_out_is_followed_by_none() {
    let statuses = ["True", "False", "Unknown"];
    let kinds = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
    for number in 0..3_usize.pow(4) {
        let conditions = kinds.iter().enumerate().map(|(at, kind)| {
            let divisor = 3_usize.pow(u32::try_from(at).unwrap());
            format!("{kind}={} ", statuses[number / divisor % 3])
        });
        let conditions: String = conditions.collect();
        for has in [
            "",
            "not-ready:NoSchedule unreachable:NoSchedule",
            "unreachable:NoExecute example.com/gpu:PreferNoSchedule",
            "memory-pressure:NoSchedule unschedulable:NoSchedule not-ready:PreferNoSchedule",
        ] {
            for word in ["", "cordoned"] {
                let mut node = node(&format!("{conditions} {word}"), has);
                if let Some(plan) = planned(&node) {
                    node.taints = plan.all;
                }
                assert_eq!(planned(&node), None, "{conditions:?} {has:?}");
            }
        }
    }
}
