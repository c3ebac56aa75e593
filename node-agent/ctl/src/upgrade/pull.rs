//! Whether the images are on the node: what is asked for, and what the node's agent says of it. Pure.

use std::collections::BTreeMap;

use proto_crd::image_pull::{ImagePull, ImageStatus, PullPhase};
use proto_crd::names;
use serde_json::{Value, json};

use crate::running::RunningPod;

/// The longest name of a field manager.
const MANAGER_LIMIT: usize = 128;

/// How far the images are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    /// Nobody has asked for them.
    NotAsked,
    /// Not all are there.
    Waiting(String),
    /// All are there.
    All,
    /// One cannot be had.
    Failed(String),
}

/// As whom the images of an upgrade are asked for: one writer for each Pod, so that two upgrades do not take each other's entries away.
pub(super) fn manager(pod: &RunningPod) -> String {
    let whole = format!("kubectl-berth-upgrade-{}", pod.uid);
    whole.chars().take(MANAGER_LIMIT).collect()
}

/// What is applied to have these images.
pub(super) fn asked(
    node: &str,
    images: &BTreeMap<String, String>,
    pod: &RunningPod,
    how: &How,
) -> Value {
    let mut entries: BTreeMap<&str, bool> = BTreeMap::new();
    for (container, image) in images {
        let always = pod.container(container).is_some_and(|it| it.pulls_always);
        *entries.entry(image).or_default() |= always;
    }
    let entries: Vec<_> = entries
        .into_iter()
        .map(|(image, always)| {
            let mut entry = json!({
                "image": image,
                "pullPolicy": if always { "Always" } else { "IfNotPresent" },
                "requestedBy": how.requested_by,
                "timeoutSeconds": how.timeout_seconds,
                "backOffLimit": how.attempts.saturating_sub(1),
            });
            if !how.secrets.is_empty() {
                entry["pullSecrets"] = json!(how.secrets);
            }
            entry
        })
        .collect();
    let mut object = nothing(node);
    object["spec"] = json!({"images": entries});
    object
}

/// What is applied to ask for nothing any more: not even the node's name stays this writer's.
pub(super) fn nothing(node: &str) -> Value {
    json!({
        "apiVersion": format!("{}/{}", names::GROUP, names::VERSION), "kind": "ImagePull",
        "metadata": {"name": node},
    })
}

/// How they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct How {
    /// Another one each time: what was pulled once may have been collected since.
    pub(super) requested_by: String,
    /// How long an attempt may take.
    pub(super) timeout_seconds: u32,
    /// How many attempts there are.
    pub(super) attempts: u32,
    /// Secrets of the registry.
    pub(super) secrets: Vec<String>,
}

/// What the agent says, once it has seen the generation of what was asked for.
pub(super) fn judge(
    object: Option<&ImagePull>,
    generation: i64,
    images: &BTreeMap<String, String>,
) -> Pulled {
    let status = object.and_then(|it| it.status.as_ref());
    let Some(status) = status.filter(|it| it.observed_generation >= generation) else {
        return Pulled::Waiting("for the node's agent to see which images are wanted".to_owned());
    };
    let mut waiting = None;
    for image in images.values() {
        let Some(entry) = status.images.iter().find(|it| it.image == *image) else {
            waiting.get_or_insert_with(|| format!("for the node's agent to pull {image}"));
            continue;
        };
        match entry.phase {
            PullPhase::Succeeded => {}
            PullPhase::Failed => {
                let why = entry
                    .message
                    .as_deref()
                    .unwrap_or("its agent does not say why");
                return Pulled::Failed(format!("the node cannot have image {image}: {why}"));
            }
            PullPhase::Pending | PullPhase::Pulling | PullPhase::BackOff => {
                waiting.get_or_insert_with(|| words(entry));
            }
        }
    }
    waiting.map_or(Pulled::All, Pulled::Waiting)
}

fn words(entry: &ImageStatus) -> String {
    let image = &entry.image;
    match (entry.phase, &entry.message) {
        (PullPhase::Pending, _) => format!("for image {image}, which waits for its turn"),
        (PullPhase::BackOff, Some(why)) => {
            format!(
                "for image {image}: attempt {} failed: {why}",
                entry.attempts
            )
        }
        _ => format!("for image {image} to be pulled"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::running::RunningContainer;

    fn images(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |&(name, image): &(&str, &str)| (name.to_owned(), image.to_owned());
        pairs.iter().map(owned).collect()
    }

    fn object(status: &Value) -> ImagePull {
        serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "ImagePull", "metadata": {"name": "n1"},
            "spec": {"nodeName": "n1"}, "status": status,
        }))
        .unwrap()
    }

    fn entry(image: &str, phase: &str, message: &str) -> Value {
        json!({"image": image, "request": "a", "phase": phase, "attempts": 2, "message": message})
    }

    fn counted(generation: i64, entries: &[Value]) -> ImagePull {
        object(&json!({
            "observedGeneration": generation, "wanted": 0, "pulling": 0, "succeeded": 0, "failed": 0, "images": entries,
        }))
    }

    #[test]
    fn an_image_is_there_when_the_agent_says_so_of_this_request() {
        let wanted = images(&[("main", "r/a:2"), ("side", "r/b:2")]);
        let (a, b) = (
            entry("r/a:2", "Succeeded", ""),
            entry("r/b:2", "Succeeded", ""),
        );
        let rows = [
            (None, "waiting for the node's agent to see"),
            (
                Some(counted(6, &[a.clone(), b.clone()])),
                "waiting for the node's agent to see",
            ),
            (
                Some(counted(7, std::slice::from_ref(&a))),
                "waiting for the node's agent to pull r/b:2",
            ),
            (Some(counted(7, &[a.clone(), b.clone()])), "all"),
            (Some(counted(9, &[b, a.clone()])), "all"),
            (
                Some(counted(7, &[a.clone(), entry("r/b:2", "Pending", "")])),
                "waiting for image r/b:2, which waits for its turn",
            ),
            (
                Some(counted(7, &[a.clone(), entry("r/b:2", "Pulling", "")])),
                "waiting for image r/b:2 to be pulled",
            ),
            (
                Some(counted(
                    7,
                    &[a.clone(), entry("r/b:2", "BackOff", "broke off")],
                )),
                "waiting for image r/b:2: attempt 2 failed: broke off",
            ),
            // One that cannot be had is enough, whatever the other does.
            (
                Some(counted(
                    7,
                    &[
                        entry("r/a:2", "Pulling", ""),
                        entry("r/b:2", "Failed", "no such image"),
                    ],
                )),
                "failed the node cannot have image r/b:2: no such image",
            ),
        ];
        for (object, words) in rows {
            let said = match judge(object.as_ref(), 7, &wanted) {
                Pulled::NotAsked => "not asked".to_owned(),
                Pulled::Waiting(words) => format!("waiting {words}"),
                Pulled::All => "all".to_owned(),
                Pulled::Failed(words) => format!("failed {words}"),
            };
            assert!(said.starts_with(words), "{said}, wanted {words}");
        }
    }

    #[test]
    fn each_image_is_asked_for_once_and_of_the_registry_where_a_container_always_asks() {
        let pod = RunningPod {
            uid: "6f1c".to_owned(),
            containers: vec![RunningContainer {
                name: "side".to_owned(),
                pulls_always: true,
                ..RunningContainer::default()
            }],
            ..RunningPod::default()
        };
        let how = How {
            requested_by: "upgrade prod/shop-0 7".to_owned(),
            timeout_seconds: 300,
            attempts: 3,
            secrets: vec!["hub".to_owned()],
        };
        let wanted = images(&[("main", "r/a:2"), ("side", "r/a:2"), ("third", "r/b:2")]);
        let object = asked("n1", &wanted, &pod, &how);
        let entries = json!([
            {"image": "r/a:2", "pullPolicy": "Always", "requestedBy": "upgrade prod/shop-0 7", "timeoutSeconds": 300, "backOffLimit": 2, "pullSecrets": ["hub"]},
            {"image": "r/b:2", "pullPolicy": "IfNotPresent", "requestedBy": "upgrade prod/shop-0 7", "timeoutSeconds": 300, "backOffLimit": 2, "pullSecrets": ["hub"]},
        ]);
        assert_eq!(object["spec"]["images"], entries);
        assert_eq!(nothing("n1").get("spec"), None);
        assert_eq!(manager(&pod), "kubectl-berth-upgrade-6f1c");
    }
}
