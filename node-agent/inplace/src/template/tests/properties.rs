//! A Pod that is changed in place is, in what was changed, the Pod that would have been made.

use super::*;

/// A template out of few values, so that two of them often differ in little.
fn templates() -> impl Strategy<Value = Value> {
    let marks = || proptest::collection::btree_map("[ab]", "[12]", 0..3);
    let container = |name: &'static str| {
        (
            "[12]",
            prop::option::of("(metadata\\.labels\\['[ab]'\\])"),
            0..8_u8,
        )
            .prop_map(move |(version, reads, rare)| {
                let mut container = json!({"name": name, "image": format!("{name}:v{version}")});
                if let Some(path) = reads {
                    container["env"] =
                        json!([{"name": "L", "valueFrom": {"fieldRef": {"fieldPath": path}}}]);
                }
                if rare == 0 {
                    container["tty"] = true.into();
                }
                container
            })
    };
    let containers = (container("one"), container("two"));
    let sidecar = ("[12]", any::<bool>());
    (marks(), marks(), containers, sidecar).prop_map(
        |(labels, annotations, containers, sidecar)| {
            let (one, two) = containers;
            let (version, runs_on) = sidecar;
            let mut init = json!({"name": "init", "image": format!("init:v{version}")});
            if runs_on {
                init["restartPolicy"] = "Always".into();
            }
            json!({
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [one, two], "initContainers": [init]},
            })
        },
    )
}

/// As the API server merges a patch into a Pod.
fn merged(pod: &Value, patch: &Value) -> Value {
    let mut pod = pod.clone();
    for field in ["labels", "annotations"] {
        for (key, value) in patch["metadata"][field].as_object().into_iter().flatten() {
            let marks = pod["metadata"][field].as_object_mut().unwrap();
            if value.is_null() {
                marks.remove(key);
            } else {
                marks.insert(key.clone(), value.clone());
            }
        }
    }
    for field in ["containers", "initContainers"] {
        for item in patch["spec"][field].as_array().into_iter().flatten() {
            let containers = pod["spec"][field].as_array_mut().unwrap();
            let there = containers
                .iter_mut()
                .find(|there| there["name"] == item["name"]);
            there.expect("a container of the Pod")["image"] = item["image"].clone();
        }
    }
    pod
}

fn image(template: &Value, name: &str) -> Value {
    let containers = template["spec"]["containers"].as_array().unwrap();
    let found = containers
        .iter()
        .find(|container| container["name"] == name);
    found.unwrap()["image"].clone()
}

fn environment(template: &Value, name: &str) -> Vec<Value> {
    let containers = template["spec"]["containers"].as_array().unwrap();
    let container = containers.iter().find(|one| one["name"] == name).unwrap();
    let variables = container["env"].as_array().into_iter().flatten();
    variables
        .map(|variable| {
            let path = variable["valueFrom"]["fieldRef"]["fieldPath"]
                .as_str()
                .unwrap();
            let key = path.split('\'').nth(1).unwrap();
            template["metadata"]["labels"][key].clone()
        })
        .collect()
}

proptest! {
    #[test]
    fn a_pod_changed_in_place_is_the_pod_that_would_have_been_made(from in templates(), to in templates()) {
        let set = set(json!({"lossless": {}}));
        let made = pod_of(&set, &revision("to", &to), 0, Making::default());
        match change(&from, &to, IN_PLACE) {
            Change::None => prop_assert_eq!(canonical(&from), canonical(&to)),
            Change::InPlace(changed) => {
                let pod = pod_of(&set, &revision("from", &from), 0, Making::default());
                let precondition = Precondition { uid: "u", version: "1" };
                let patched = merged(&pod, &patch_of(precondition, &changed.patch("to"), &BTreeMap::new()));
                prop_assert_eq!(&patched, &made);
                for name in ["one", "two"] {
                    // It is replaced or restarted exactly where its start would be another one, and never both.
                    let replaced = changed.images.contains_key(name);
                    let restarted = changed.restart.iter().filter(|one| *one == name).count();
                    prop_assert_eq!(replaced, image(&from, name) != image(&to, name));
                    let other = environment(&from, name) != environment(&to, name);
                    prop_assert_eq!(restarted, usize::from(other && !replaced), "{}", name);
                }
            }
            Change::ReCreate { why } => {
                prop_assert!(why.len() > "not in place: ".len());
                let refused = change(&from, &to, UpgradePolicy::InPlaceOnly);
                prop_assert_eq!(refused, Change::Refused { why });
            }
            Change::Refused { why } => prop_assert!(false, "{}", why),
        }
    }

    #[test]
    fn others_labels_and_annotations_are_not_touched(from in templates(), to in templates()) {
        if let Change::InPlace(changed) = change(&from, &to, IN_PLACE) {
            let mut pod = pod_of(&set(json!({})), &revision("from", &from), 0, Making::default());
            pod["metadata"]["labels"]["theirs"] = "x".into();
            pod["metadata"]["annotations"]["theirs"] = "y".into();
            let precondition = Precondition { uid: "u", version: "1" };
            let patched = merged(&pod, &patch_of(precondition, &changed.patch("to"), &BTreeMap::new()));
            prop_assert_eq!(&patched["metadata"]["labels"]["theirs"], "x");
            prop_assert_eq!(&patched["metadata"]["annotations"]["theirs"], "y");
        }
    }
}
