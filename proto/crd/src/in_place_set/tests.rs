use kube::CustomResourceExt;
use serde_json::json;

use super::*;

fn least() -> Value {
    json!({
        "selector": {"matchLabels": {"app": "shop"}},
        "template": {
            "metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{"name": "main", "image": "shop:v1", "fieldOfTheFuture": 1}]},
        },
    })
}

#[test]
fn what_is_not_said_is_the_default() {
    let spec: InPlaceSetSpec = serde_json::from_value(least()).unwrap();
    assert_eq!((spec.replicas, spec.updated_replicas()), (1, 1));
    assert_eq!(spec.max_unavailable(), 1);
    assert_eq!(spec.upgrade_policy, UpgradePolicy::InPlaceIfPossible);
    assert_eq!(spec.progress_deadline(), Duration::from_secs(600));
    assert_eq!(spec.lossless, None);
    let lossless: Lossless = serde_json::from_value(json!({})).unwrap();
    assert_eq!(lossless, Lossless::default());
    assert_eq!(lossless.quiet(), Duration::from_secs(3));
    assert_eq!(
        serde_json::to_value(&spec).unwrap()["template"],
        least()["template"]
    );
}

#[test]
fn more_updated_than_there_are_is_all() {
    let mut spec: InPlaceSetSpec = serde_json::from_value(least()).unwrap();
    spec.replicas = 4;
    for (given, meant) in [(None, 4), (Some(0), 0), (Some(3), 3), (Some(9), 4)] {
        spec.updated_replicas = given;
        assert_eq!(spec.updated_replicas(), meant, "{given:?}");
    }
}

#[test]
fn unavailable_pods_are_a_number_or_a_percentage_rounded_down_but_at_least_one() {
    for (text, replicas, meant) in [
        ("1", 10, 1),
        ("3", 10, 3),
        ("\"25%\"", 10, 2),
        ("\"100%\"", 10, 10),
        ("\"1%\"", 10, 1),
        ("\"50%\"", 1, 1),
        ("\"33%\"", 10_000, 3_300),
    ] {
        let max: MaxUnavailable = serde_json::from_str(text).unwrap();
        assert_eq!(max.of(replicas), meant, "{text} of {replicas}");
        assert_eq!(serde_json::to_string(&max).unwrap(), text);
    }
    for text in ["\"0%\"", "\"101%\"", "\"3\"", "\"x%\"", "-1"] {
        assert!(
            serde_json::from_str::<MaxUnavailable>(text).is_err(),
            "{text}"
        );
    }
}

#[test]
fn selector_selects_what_kubectl_would_by_its_text() {
    let selector: Selector = serde_json::from_value(json!({
        "matchLabels": {"app": "shop", "berth.dev/cell": "a"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["one", "two"]},
            {"key": "kind", "operator": "NotIn", "values": ["canary"]},
            {"key": "owner", "operator": "Exists"},
            {"key": "retired", "operator": "DoesNotExist"},
        ],
    }))
    .unwrap();
    assert_eq!(
        selector.to_string(),
        "app=shop,berth.dev/cell=a,tier in (one,two),kind notin (canary),owner,!retired"
    );
    let good = [
        ("app", "shop"),
        ("berth.dev/cell", "a"),
        ("tier", "two"),
        ("owner", ""),
    ];
    let labels = |change: Option<(&str, Option<&str>)>| {
        let mut labels: std::collections::BTreeMap<String, String> = good
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        match change {
            Some((key, Some(value))) => drop(labels.insert(key.to_owned(), value.to_owned())),
            Some((key, None)) => drop(labels.remove(key)),
            None => {}
        }
        labels
    };
    assert!(selector.matches(&labels(None)));
    assert!(selector.matches(&labels(Some(("kind", Some("plain"))))));
    for change in [
        ("app", Some("other")),
        ("berth.dev/cell", None),
        ("tier", Some("three")),
        ("tier", None),
        ("kind", Some("canary")),
        ("owner", None),
        ("retired", Some("")),
    ] {
        assert!(!selector.matches(&labels(Some(change))), "{change:?}");
    }
}

#[test]
fn sets_are_scaled_and_their_templates_kept() {
    let definition = serde_json::to_value(InPlaceSet::crd()).unwrap();
    let version = &definition["spec"]["versions"][0];
    assert_eq!(
        version["subresources"]["scale"],
        json!({
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.labelSelector",
        })
    );
    let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    assert_eq!(
        spec["template"]["x-kubernetes-preserve-unknown-fields"],
        true
    );
    assert_eq!(spec["replicas"]["maximum"], f64::from(REPLICAS_LIMIT));
    let rules = version["schema"]["openAPIV3Schema"]["x-kubernetes-validations"].to_string();
    assert!(
        rules.contains(&format!("size(self.metadata.name) <= {NAME_LIMIT} ")),
        "{rules}"
    );
    let defaults = [
        ("replicas", json!(1)),
        ("maxUnavailable", json!(1)),
        ("upgradePolicy", json!("InPlaceIfPossible")),
        ("minReadySeconds", json!(0)),
        ("paused", json!(false)),
        ("revisionHistoryLimit", json!(10)),
        ("progressDeadlineSeconds", json!(600)),
        ("prePullTimeoutSeconds", json!(600)),
    ];
    for (field, default) in defaults {
        assert_eq!(spec[field]["default"], default, "{field}");
    }
    let status = &version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    assert_eq!(
        status["release"]["properties"]["waitsFor"]["maxLength"],
        TEXT_LIMIT
    );
    assert_eq!(
        status["release"]["properties"]["pods"]["maxItems"],
        PODS_LIMIT
    );
}
