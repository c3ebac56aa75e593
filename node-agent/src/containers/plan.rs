//! What is told of a Pod's containers, and whether that is news. Pure.

use std::collections::BTreeMap;

use node_agent_cri::Container;
use node_agent_restart::prestop::HASH;
use proto_crd::names;
use proto_crd::pod_containers::{ContainerFacts, PodContainers, specification_hash};

use crate::pods::LeanPod;

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// The annotation becomes this.
    Set(String),
    /// It goes.
    Remove,
}

/// Whether a Pod asks for it; nothing: it does not, and has nothing of it.
pub(super) fn asks(pod: &LeanPod) -> Option<bool> {
    let annotations = pod.metadata.annotations.as_ref()?;
    let asked = annotations.get(names::REPORT_CONTAINERS_ANNOTATION);
    if asked.is_some_and(|it| it == "true") {
        return Some(true);
    }
    let has = annotations.contains_key(names::CONTAINERS_ANNOTATION);
    has.then_some(false)
}

/// What is written on a Pod of which these containers run; nothing: it is so already.
pub(super) fn plan(pod: &LeanPod, running: &[Container]) -> Option<Write> {
    if !asks(pod)? {
        return Some(Write::Remove);
    }
    let mut newest: BTreeMap<&str, &Container> = BTreeMap::new();
    for container in running {
        let of_name = newest.entry(&container.name).or_insert(container);
        if container.created_at > of_name.created_at {
            *of_name = container;
        }
    }
    let facts: PodContainers = pod
        .spec
        .containers
        .iter()
        .map(|container| {
            let runs = newest.get(container.name.as_str());
            let facts = ContainerFacts {
                desired: specification_hash(&container.name, &container.image),
                reported: runs.and_then(|it| it.annotations.get(HASH).cloned()),
                id: runs.map(|it| it.id.clone()),
                sandbox: runs.map(|it| it.sandbox.clone()),
            };
            (container.name.clone(), facts)
        })
        .collect();
    // Names and numbers: there is nothing that JSON could not say.
    let text = serde_json::to_string(&facts).unwrap_or_default();
    let annotations = pod.metadata.annotations.as_ref();
    let was = annotations.and_then(|it| it.get(names::CONTAINERS_ANNOTATION));
    (was != Some(&text)).then_some(Write::Set(text))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use node_agent_cri::ContainerState;
    use serde_json::{Value, json};

    use super::*;

    fn pod(annotations: &Value) -> LeanPod {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "shop-0", "namespace": "prod", "uid": "u", "annotations": annotations},
            "spec": {"containers": [{"name": "test_container", "image": "foo/image:v1"}, {"name": "foo", "image": "bar"}]},
        }))
        .unwrap()
    }

    fn container(name: &str, id: &str, hash: &str, created: u64) -> Container {
        Container {
            id: id.to_owned(),
            sandbox: "s".to_owned(),
            name: name.to_owned(),
            attempt: 0,
            image: String::new(),
            image_ref: String::new(),
            state: ContainerState::Running,
            created_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(created)),
            labels: BTreeMap::new(),
            annotations: [(HASH.to_owned(), hash.to_owned())].into(),
        }
    }

    const ASKS: &str = "berth.dev/report-containers";
    const TELLS: &str = "berth.dev/containers";

    #[test]
    fn each_container_is_told_with_what_the_pod_says_and_what_runs() {
        let running = [
            container("test_container", "old", "1", 1),
            container("test_container", "new", "8e45cbd0", 2),
        ];
        let Some(Write::Set(text)) = plan(&pod(&json!({ASKS: "true"})), &running) else {
            panic!("nothing is told");
        };
        let told: Value = serde_json::from_str(&text).unwrap();
        let wanted = json!({
            "test_container": {"desired": "8e45cbd0", "reported": "8e45cbd0", "id": "new", "sandbox": "s"},
            "foo": {"desired": "11a6d6d6"},
        });
        assert_eq!(told, wanted);
        // What is told already is not written again, and what has changed is.
        let told = pod(&json!({ASKS: "true", TELLS: text}));
        assert_eq!(plan(&told, &running), None);
        assert!(matches!(plan(&told, &running[..1]), Some(Write::Set(_))));
    }

    #[test]
    fn who_does_not_ask_is_not_told_and_loses_what_it_had() {
        for (annotations, asked, wanted) in [
            (json!({}), None, None),
            (json!({"other": "true"}), None, None),
            (json!({ASKS: "false"}), None, None),
            (
                json!({ASKS: "yes", TELLS: "{}"}),
                Some(false),
                Some(Write::Remove),
            ),
            (json!({TELLS: "{}"}), Some(false), Some(Write::Remove)),
        ] {
            let pod = pod(&annotations);
            assert_eq!(asks(&pod), asked, "{annotations}");
            assert_eq!(plan(&pod, &[]), wanted, "{annotations}");
        }
        assert_eq!(asks(&LeanPod::default()), None);
    }
}
