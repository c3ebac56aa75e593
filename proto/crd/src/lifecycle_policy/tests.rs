use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::names;

fn spec_schema() -> Value {
    let crd = serde_json::to_value(LifecyclePolicy::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

#[test]
fn group_version_and_short_name_are_those_that_people_type() {
    let crd = LifecyclePolicy::crd();
    assert_eq!(crd.spec.group, names::GROUP);
    assert_eq!(crd.spec.versions[0].name, names::VERSION);
    assert_eq!(crd.spec.names.short_names, Some(vec!["lp".to_owned()]));
    let text = serde_json::to_string(&crd).unwrap();
    assert!(text.contains(&format!(
        "self.metadata.name == '{}'",
        names::LIFECYCLE_POLICY
    )));
}

#[test]
fn policy_that_says_nothing_is_in_dry_run_and_keeps_the_default_number_of_decisions() {
    let properties = &spec_schema()["properties"];
    assert_eq!(properties["mode"]["default"], json!("DryRun"));
    assert_eq!(
        properties["decisionsKept"]["default"],
        DEFAULT_DECISIONS_KEPT
    );
    let empty: LifecyclePolicySpec = serde_json::from_str("{}").unwrap();
    assert_eq!(empty, LifecyclePolicySpec::default());
    assert_eq!(serde_json::to_value(&empty).unwrap(), json!({}));
}

#[test]
fn policy_reads_back_as_it_was_written() {
    let text = json!({
        "mode": "DryRun",
        "rules": {"cordon": "Enforce", "localRepair": "Observe"},
        "racks": [{"rack": "a", "rules": {"softEvict": "Enforce"}}],
        "businessWindows": [{"days": ["Monday", "Friday"], "from": "09:00", "until": "11:30", "timeZone": "+08:00"}],
        "budgets": {"clusterPercent": 1},
        "timers": {"quorumHoldSeconds": 90},
        "decisionsKept": 500,
        "replace": true,
    });
    let spec: LifecyclePolicySpec = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap(), text);
}
