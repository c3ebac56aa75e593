//! Who reads a Pod's labels and annotations, and when: what was read at a start is known anew only after another one.

use std::collections::BTreeSet;

use proto_crd::names;
use serde_json::Value;

use super::InPlace;

/// Annotations that are read when a Pod's network or a container's confinement is set up.
const OF_THE_SANDBOX: [&str; 6] = [
    names::NETWORKS_ANNOTATION,
    names::IDENTITY_ANNOTATION,
    names::ADDRESSES_ANNOTATION,
    "kubernetes.io/ingress-bandwidth",
    "kubernetes.io/egress-bandwidth",
    "k8s.v1.cni.cncf.io/networks",
];

/// Annotations with this prefix cannot be changed at all: the API server refuses it.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Which labels and annotations change, as paths of a `fieldRef`.
pub(super) struct Changed {
    paths: BTreeSet<String>,
    restarted: bool,
}

/// Which list of a Pod a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// `spec.containers`.
    Containers,
    /// `spec.initContainers`.
    InitContainers,
}

/// A container, and what of the change it reads when it starts.
pub(super) struct Reader {
    pub(super) list: List,
    pub(super) name: String,
    pub(super) reads: Option<String>,
    /// Whether kubelet starts it again whatever it ended with, so that an agent may stop it.
    pub(super) comes_back: bool,
}

/// Whether an annotation is read when a Pod is set up, and never again.
pub(super) fn is_of_the_sandbox(key: &str) -> bool {
    OF_THE_SANDBOX.contains(&key) || key.starts_with(APP_ARMOR)
}

/// Whether an init container runs for as long as the Pod does.
pub(super) fn is_sidecar(template: &Value, name: &str) -> bool {
    items(&template["spec"]["initContainers"])
        .any(|container| container["name"] == name && container["restartPolicy"] == "Always")
}

impl Changed {
    pub(super) fn of(in_place: &InPlace) -> Self {
        let path = |field: &str, key: &str| format!("metadata.{field}['{key}']");
        let labels = in_place.labels.keys().map(|key| path("labels", key));
        let annotations = in_place.annotations.keys();
        let annotations = annotations.map(|key| path("annotations", key));
        // The revision's label is another one with every change.
        let revision = path("labels", names::REVISION_LABEL);
        let restarted = in_place.annotations.get(names::RESTARTED_AT_ANNOTATION);
        Self {
            paths: labels
                .chain(annotations)
                .chain(std::iter::once(revision))
                .collect(),
            // Gone, as by a rollback over a restart: there is nothing to restart for.
            restarted: restarted.is_some_and(Option::is_some),
        }
    }

    /// Whether every container is to be restarted.
    pub(super) const fn asks_for_restart(&self) -> bool {
        self.restarted
    }

    /// Whether what this path means changes: one key, or all.
    fn has(&self, path: &str) -> bool {
        match path {
            "metadata.labels" | "metadata.annotations" => {
                let of = format!("{path}[");
                self.paths.iter().any(|changed| changed.starts_with(&of))
            }
            _ => self.paths.contains(path),
        }
    }
}

/// Every container of a template, with what of the change it reads when it starts: by its environment, or by a file that is
/// mounted by its own path (`subPath`), which kubelet does not renew as it does a whole volume.
pub(super) fn readers(template: &Value, changed: &Changed) -> Vec<Reader> {
    let spec = &template["spec"];
    let volumes: Vec<(&str, &str)> = items(&spec["volumes"])
        .filter_map(|volume| Some((volume["name"].as_str()?, read_by(volume, changed)?)))
        .collect();
    [
        (List::Containers, "containers"),
        (List::InitContainers, "initContainers"),
    ]
    .into_iter()
    .flat_map(|(list, field)| items(&spec[field]).map(move |container| (list, container)))
    .map(|(list, container)| {
        let by_environment = items(&container["env"])
            .filter_map(|variable| variable["valueFrom"]["fieldRef"]["fieldPath"].as_str())
            .find(|path| changed.has(path));
        let by_file = || {
            items(&container["volumeMounts"])
                .filter(|mount| mount["subPath"].is_string() || mount["subPathExpr"].is_string())
                .find_map(|mount| {
                    let read = volumes.iter().find(|(name, _)| mount["name"] == *name);
                    read.map(|(_, path)| *path)
                })
        };
        Reader {
            list,
            name: container["name"].as_str().unwrap_or_default().to_owned(),
            reads: by_environment.or_else(by_file).map(str::to_owned),
            comes_back: container["restartPolicyRules"].is_null()
                && ["Always", ""]
                    .contains(&container["restartPolicy"].as_str().unwrap_or_default()),
        }
    })
    .collect()
}

/// What of the change is in a volume.
fn read_by<'a>(volume: &'a Value, changed: &Changed) -> Option<&'a str> {
    let projected = items(&volume["projected"]["sources"]).map(|source| &source["downwardAPI"]);
    std::iter::once(&volume["downwardAPI"])
        .chain(projected)
        .flat_map(|downward| items(&downward["items"]))
        .filter_map(|item| item["fieldRef"]["fieldPath"].as_str())
        .find(|path| changed.has(path))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
