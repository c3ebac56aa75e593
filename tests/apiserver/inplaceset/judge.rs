//! What is read of a Pod, and what must be true of every Pod at every moment. Judged by objects only.

use serde_json::Value;

use super::record::{Record, Seen};

const GATE: &str = "berth.dev/ServiceReady";

/// The finalizer of Berth's own protection controller.
pub(super) const ENDPOINTS: &str = "protection.berth.dev/endpoints";

/// The status of a condition; nothing: there is none.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|it| it["type"] == kind)?;
    condition["status"].as_str()
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready") == Some("True")
}

pub(super) fn gate(pod: &Value) -> Option<&str> {
    condition(pod, GATE)
}

pub(super) fn image(pod: &Value, container: usize) -> &str {
    pod["spec"]["containers"][container]["image"]
        .as_str()
        .unwrap_or_default()
}

/// The restarts of each container.
pub(super) fn restarts(pod: &Value) -> Vec<u64> {
    let all = pod["status"]["containerStatuses"].as_array();
    let all = all.into_iter().flatten();
    all.map(|it| it["restartCount"].as_u64().unwrap_or(u64::MAX))
        .collect()
}

/// The state of the operation that a Pod is in, by its annotation; nothing: none.
pub(super) fn state(pod: &Value) -> Option<String> {
    let text = pod["metadata"]["annotations"]["berth.dev/lossless"].as_str()?;
    let operation: Value = serde_json::from_str(text).ok()?;
    Some(operation["state"].as_str()?.to_owned())
}

/// The protections that a Pod has.
pub(super) fn protections(pod: &Value) -> Vec<&str> {
    let all = pod["metadata"]["finalizers"].as_array();
    let all = all.into_iter().flatten().filter_map(Value::as_str);
    all.filter(|it| it.starts_with("protection.berth.dev/"))
        .collect()
}

/// What stays of a Pod over a release: UID, node, address, and of each container the id.
pub(super) fn identity(pod: &Value) -> [String; 3] {
    [
        pod["metadata"]["uid"].to_string(),
        pod["spec"]["nodeName"].to_string(),
        pod["status"]["podIP"].to_string(),
    ]
}

/// The ids of a Pod's containers.
pub(super) fn ids(pod: &Value) -> Vec<String> {
    let all = pod["status"]["containerStatuses"].as_array();
    let all = all.into_iter().flatten();
    all.map(|it| it["containerID"].to_string()).collect()
}

/// When the images of a Pod changed: each version at which they were others than in the one before.
fn patches(row: &[Seen]) -> impl Iterator<Item = (&Seen, &Seen)> {
    let pairs = row.windows(2).map(|two| (&two[0], &two[1]));
    pairs.filter(|(before, after)| {
        before.object["metadata"]["uid"] == after.object["metadata"]["uid"]
            && image_list(&before.object) != image_list(&after.object)
    })
}

fn image_list(pod: &Value) -> Vec<&Value> {
    let all = pod["spec"]["containers"].as_array();
    all.into_iter().flatten().map(|it| &it["image"]).collect()
}

/// Whatever happens: no image is changed while the live gate is True, where the set is lossless.
#[track_caller]
pub(super) fn assert_never_patched_in_service(record: &Record, lossless: &[&str]) -> usize {
    let mut count = 0;
    for (name, row) in record.all_pods() {
        let is_lossless = lossless
            .iter()
            .any(|set| row[0].object["metadata"]["labels"]["app"] == *set);
        for (before, after) in patches(&row).filter(|_| is_lossless) {
            count += 1;
            assert_eq!(
                gate(&before.object),
                Some("False"),
                "{name}: {}",
                before.object
            );
            assert_eq!(
                gate(&after.object),
                Some("False"),
                "{name}: {}",
                after.object
            );
        }
    }
    count
}

/// The steps of the release of one Pod, each with its version: in this order they must have happened.
#[track_caller]
pub(super) fn assert_order(record: &Record, name: &str, from: u64, quiet_at_least: f64) {
    let row = record.pod(name);
    let row: Vec<&Seen> = row.iter().filter(|seen| seen.version > from).collect();
    let ip = row[0].object["status"]["podIP"]
        .as_str()
        .unwrap()
        .to_owned();
    let endpoint = record.endpoint(&ip);
    let pod = |what: &str, after: u64, is: &dyn Fn(&Value) -> bool| {
        let found = row
            .iter()
            .find(|seen| seen.version > after && is(&seen.object));
        let found = found.unwrap_or_else(|| panic!("{name}: {what} never came after {after}"));
        (found.version, found.at)
    };
    let told = |what: &str, after: u64, ready: bool| {
        let mut all = endpoint.iter();
        let found = all.find(|(version, _, is)| *version > after && *is == ready);
        let found = found
            .unwrap_or_else(|| panic!("{name}: {what} never came after {after}: {endpoint:?}"));
        (found.0, found.1)
    };
    let (gate_false, _) = pod("gate False", from, &|pod| gate(pod) == Some("False"));
    let (unready, _) = told("endpoint not ready", gate_false, false);
    let (free, freed) = pod("last protection gone", gate_false, &|pod| {
        protections(pod).is_empty()
    });
    let old = image(&row[0].object, 0).to_owned();
    let (patch, patched) = pod("image patch", gate_false, &|pod| image(pod, 0) != old);
    let (gate_true, _) = pod("gate True", patch, &|pod| gate(pod) == Some("True"));
    let (ready, _) = told("endpoint ready", patch, true);
    let (back, _) = pod("protection back", patch, &|pod| {
        protections(pod).contains(&ENDPOINTS)
    });
    let steps = [
        from, gate_false, unready, free, patch, gate_true, ready, back,
    ];
    assert!(steps.is_sorted(), "{name}: {steps:?}");
    // Both were heard by the same watch; a machine that is busy may have kept the first one for a while.
    let quiet = patched.duration_since(freed).as_secs_f64();
    assert!(
        quiet >= quiet_at_least,
        "{name}: patched {quiet} s after the last protection was gone"
    );
}
