//! The Pod that is made, and its patch.

use super::*;

#[test]
fn a_pod_has_its_name_its_owner_its_gate_and_what_is_told_of_it() {
    let set = set(json!({"lossless": {"protections": [names::ENDPOINTS_PROTECTION]}}));
    let pod = pod_of(
        &set,
        &revision("bcd", &template()),
        3,
        Making {
            release: Some("bcd-1"),
            ..Making::default()
        },
    );
    assert_eq!(
        pod["metadata"],
        json!({
            "name": "shop-3",
            "labels": {"app": "shop", "version": "1", "controller-revision-hash": "bcd", "apps.kubernetes.io/pod-index": "3"},
            "annotations": {
                "contact": "ops", "rate": "5",
                "berth.dev/report-containers": "true",
                "berth.dev/protections": "[\"protection.berth.dev/endpoints\"]",
                "berth.dev/release": "bcd-1",
            },
            "ownerReferences": [{
                "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet", "name": "shop", "uid": "u-1",
                "controller": true, "blockOwnerDeletion": true,
            }],
        })
    );
    assert_eq!(
        pod["spec"]["readinessGates"],
        json!([{"conditionType": "berth.dev/ServiceReady"}])
    );
    assert_eq!(pod["spec"]["hostname"], "shop-3");
    assert_eq!(pod["spec"]["affinity"], Value::Null);
    assert_eq!(pod["spec"]["containers"], template()["spec"]["containers"]);
}

#[test]
fn a_set_that_leads_no_traffic_away_expects_no_finalizers() {
    let pod = pod_of(
        &set(json!({})),
        &revision("bcd", &template()),
        0,
        Making::default(),
    );
    let annotations = pod["metadata"]["annotations"].as_object().unwrap();
    assert!(!annotations.contains_key(names::PROTECTIONS_ANNOTATION));
    assert!(!annotations.contains_key(names::RELEASE_ANNOTATION));
    let none = pod_of(
        &set(json!({"lossless": {}})),
        &revision("bcd", &template()),
        0,
        Making::default(),
    );
    assert_eq!(
        none["metadata"]["annotations"]["berth.dev/protections"],
        "[]"
    );
}

#[test]
fn a_pod_made_anew_would_rather_be_where_it_was_beside_what_else_it_wishes() {
    let wish = |node: &str| json!({"weight": 100, "preference": {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}});
    let near = |template: &Value| {
        let pod = pod_of(
            &set(json!({})),
            &revision("b", template),
            0,
            Making {
                near: Some("n1"),
                ..Making::default()
            },
        );
        pod["spec"]["affinity"].clone()
    };
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    assert_eq!(
        near(&template()),
        json!({"nodeAffinity": {preferred: [wish("n1")]}})
    );
    let affinity = json!({
        "podAntiAffinity": {"x": 1},
        "nodeAffinity": {preferred: [{"weight": 1}], "requiredDuringSchedulingIgnoredDuringExecution": {"y": 1}},
    });
    let mut expected = affinity.clone();
    expected["nodeAffinity"][preferred] = json!([{"weight": 1}, wish("n1")]);
    assert_eq!(near(&with("/spec/affinity", affinity)), expected);
}

#[test]
fn what_the_template_says_itself_stays() {
    let mut own = template();
    own["spec"]["hostname"] = "own".into();
    own["spec"]["subdomain"] = "shops".into();
    own["spec"]["readinessGates"] =
        json!([{"conditionType": "x.example/lb"}, {"conditionType": "berth.dev/ServiceReady"}]);
    let pod = pod_of(&set(json!({})), &revision("b", &own), 0, Making::default());
    assert_eq!(pod["spec"]["hostname"], "own");
    assert_eq!(pod["spec"]["subdomain"], "shops");
    assert_eq!(pod["spec"]["readinessGates"], own["spec"]["readinessGates"]);
}

#[test]
fn a_replacement_says_for_whom_and_wishes_to_be_where_it_is_better_off() {
    let racks = |away: &[&str], to: &[&str]| RackWish {
        label: "rack".to_owned(),
        away_from: away.iter().map(|rack| (*rack).to_owned()).collect(),
        with_addresses: to.iter().map(|rack| (*rack).to_owned()).collect(),
    };
    let made = |racks: &RackWish| {
        let making = Making {
            replaces: Some(("u7", racks)),
            ..Making::default()
        };
        pod_of(&set(json!({})), &revision("b", &template()), 3, making)
    };
    let wish = |weight: u32, operator: &str, racks: &[&str]| {
        let expression = json!({"key": "rack", "operator": operator, "values": racks});
        json!({"weight": weight, "preference": {"matchExpressions": [expression]}})
    };
    for (racks, wishes) in [
        (racks(&[], &[]), Value::Null),
        (
            racks(&["b", "a"], &[]),
            json!([wish(100, "NotIn", &["a", "b"])]),
        ),
        (
            racks(&["a"], &["c"]),
            json!([wish(100, "NotIn", &["a"]), wish(50, "In", &["c"])]),
        ),
    ] {
        let pod = made(&racks);
        let affinity = &pod["spec"]["affinity"]["nodeAffinity"];
        let told = &affinity["preferredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(*told, wishes, "{racks:?}");
        assert_eq!(pod["metadata"]["annotations"]["berth.dev/replaces"], "u7");
    }
}

#[test]
fn one_patch_says_which_pod_it_is_for_and_only_what_changes() {
    let mut to = template();
    to["spec"]["containers"][0]["image"] = "shop:v2".into();
    to["spec"]["initContainers"][1]["image"] = "mesh:v2".into();
    to["metadata"]["labels"]["version"] = Value::Null;
    to["metadata"]["annotations"]["rate"] = "9".into();
    let pod = Precondition {
        uid: "u",
        version: "42",
    };
    let more = map(&[
        ("berth.dev/lossless", Some("{}".to_owned())),
        ("berth.dev/release", Some("xyz-1".to_owned())),
    ]);
    assert_eq!(
        patch_of(pod, &in_place(&to).patch("xyz"), &more),
        json!({
            "metadata": {
                "uid": "u", "resourceVersion": "42",
                "labels": {"version": null, "controller-revision-hash": "xyz"},
                "annotations": {"rate": "9", "berth.dev/lossless": "{}", "berth.dev/release": "xyz-1"},
            },
            "spec": {
                "containers": [{"name": "main", "image": "shop:v2"}],
                "initContainers": [{"name": "mesh", "image": "mesh:v2"}],
            },
        })
    );
    // A rollback of a Pod that was not patched yet changes its revision alone.
    let none = patch_of(pod, &InPlace::default().patch("xyz"), &BTreeMap::new());
    assert_eq!(
        none,
        json!({"metadata": {"uid": "u", "resourceVersion": "42", "labels": {"controller-revision-hash": "xyz"}}})
    );
}
