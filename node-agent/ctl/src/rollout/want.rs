//! What people want of a set, as patches. Pure.
//!
//! Each names the set's UID: one of the same name that was made anew is another one.

use anyhow::{Result, bail};
use k8s_openapi::jiff::Timestamp;
use proto_crd::in_place_set::InPlaceSet;
use proto_crd::names;
use serde_json::{Value, json};

use super::key;

/// Paused, or not. Whoever writes last is right: no version.
pub(super) fn paused(set: &InPlaceSet, paused: bool) -> Value {
    json!({"metadata": {"uid": set.metadata.uid}, "spec": {"paused": paused}})
}

/// All containers restarted. It adds to whatever the template is: no version.
pub(super) fn restarted(set: &InPlaceSet, now: Timestamp) -> Value {
    let at = Timestamp::from_second(now.as_second()).unwrap_or(now);
    json!({
        "metadata": {"uid": set.metadata.uid},
        "spec": {"template": {"metadata": {"annotations": {names::RESTARTED_AT_ANNOTATION: at.to_string()}}}},
    })
}

/// Another template as a whole, as a JSON patch: what the present one has besides must go, and what somebody wrote meanwhile must not.
pub(super) fn template(set: &InPlaceSet, template: &Value) -> Value {
    json!([
        {"op": "replace", "path": "/metadata/uid", "value": set.metadata.uid},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": set.metadata.resource_version},
        {"op": "replace", "path": "/spec/template", "value": template},
    ])
}

/// A set that is pinned to a revision, or that goes, does not follow its template.
pub(super) fn ensure_template_counts(set: &InPlaceSet, what: &str) -> Result<()> {
    let key = key(set);
    if let Some(pinned) = &set.spec.revision {
        bail!(
            "InPlaceSet {key} is pinned to revision {pinned} (spec.revision), so {what} would change no Pod: pin it to another one, or take \
             the pin away: kubectl patch inplaceset {} -n {} --type=merge -p '{{\"spec\":{{\"revision\":null}}}}'",
            set.metadata.name.as_deref().unwrap_or_default(),
            set.metadata.namespace.as_deref().unwrap_or_default(),
        );
    }
    if set.metadata.deletion_timestamp.is_some() {
        bail!("InPlaceSet {key} is being deleted: there is nothing to be released any more");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn every_patch_names_the_set_that_was_read_and_a_template_its_version_too() {
        let set = fixture::set(|_| {});
        assert_eq!(
            paused(&set, true),
            json!({"metadata": {"uid": "u1"}, "spec": {"paused": true}})
        );
        let at: Timestamp = "2026-01-01T00:00:05.7Z".parse().unwrap();
        let patch = restarted(&set, at);
        assert_eq!(patch["metadata"]["uid"], "u1");
        assert_eq!(
            patch["spec"]["template"]["metadata"]["annotations"],
            json!({"berth.dev/restarted-at": "2026-01-01T00:00:05Z"})
        );
        let patch = template(&set, &json!({"spec": {}}));
        assert_eq!(
            patch,
            json!([
                {"op": "replace", "path": "/metadata/uid", "value": "u1"},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": "42"},
                {"op": "replace", "path": "/spec/template", "value": {"spec": {}}},
            ])
        );
    }

    #[test]
    fn template_of_a_pinned_set_does_not_count() {
        let set = fixture::set(|set| set["spec"]["revision"] = json!("aa"));
        let said = ensure_template_counts(&set, "a restart")
            .unwrap_err()
            .to_string();
        assert!(said.contains("is pinned to revision aa"), "{said}");
        assert!(
            said.contains("kubectl patch inplaceset shop -n prod"),
            "{said}"
        );
        assert!(ensure_template_counts(&fixture::set(|_| {}), "a restart").is_ok());
    }
}
