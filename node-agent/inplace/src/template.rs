//! What a Pod is made of, and what of it changes in place.
//!
//! A template is what the API server keeps of it (JSON), so that fields that are not known here are neither lost nor
//! overlooked: what is not known to change in place does not. Always holds: of labels and annotations only those are touched
//! that one of the two templates names; a container whose image changes is not restarted besides.

mod difference;
mod metadata;
mod pod;

use std::collections::{BTreeMap, BTreeSet};

use proto_crd::in_place_set::UpgradePolicy;
use serde_json::{Map, Value, json};

use crate::plan::PodPatch;
use difference::{Difference, differences};
use metadata::{Changed, List, Reader};

pub use pod::{Making, Precondition, patch_of, pod_name, pod_of};

/// How many differences are named where a Pod cannot be changed in place.
const NAMED: usize = 4;

/// What becomes of a Pod of one template that is to be of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: they are the same.
    None,
    /// It is changed in place.
    InPlace(InPlace),
    /// It is made anew.
    ReCreate {
        /// Because of which fields.
        why: String,
    },
    /// Nothing: it cannot be changed in place, and is not to be made anew.
    Refused {
        /// Because of which fields.
        why: String,
    },
}

/// What is changed of a Pod in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InPlace {
    /// New images of containers, by name: kubelet replaces these.
    pub images: BTreeMap<String, String>,
    /// New images of sidecars, by name: kubelet replaces these too.
    pub init_images: BTreeMap<String, String>,
    /// Labels; nothing: the label goes.
    pub labels: BTreeMap<String, Option<String>>,
    /// Annotations; nothing: the annotation goes.
    pub annotations: BTreeMap<String, Option<String>>,
    /// Containers that have to be restarted besides, in the order of the Pod: kubelet sees no difference.
    pub restart: Vec<String>,
}

/// By which rules it is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What is done with a change.
    pub policy: UpgradePolicy,
    /// Whether kubelet replaces a sidecar (an init container with `restartPolicy: Always`) whose image changes: from 1.32 on.
    pub sidecars: bool,
}

/// As kubelet 1.32 or later does it.
impl From<UpgradePolicy> for Rules {
    fn from(policy: UpgradePolicy) -> Self {
        Self {
            policy,
            sidecars: true,
        }
    }
}

impl InPlace {
    /// What the Pod is patched with, at the revision that it is to have.
    pub fn patch(&self, revision: &str) -> PodPatch {
        PodPatch {
            revision: revision.to_owned(),
            images: self.images.clone(),
            init_images: self.init_images.clone(),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
        }
    }

    /// Whether containers are replaced: otherwise nothing of the Pod's service is touched.
    pub fn is_disruptive(&self) -> bool {
        !(self.images.is_empty() && self.init_images.is_empty() && self.restart.is_empty())
    }
}

/// What becomes of a Pod of template `from` that is to be of `to`.
pub fn change(from: &Value, to: &Value, rules: impl Into<Rules>) -> Change {
    let rules = rules.into();
    let (from, to) = (canonical(from), canonical(to));
    let found = differences(&from, &to);
    if found.is_empty() {
        return Change::None;
    }
    if rules.policy == UpgradePolicy::ReCreate {
        return Change::ReCreate {
            why: "upgradePolicy is ReCreate".to_owned(),
        };
    }
    let mut sorted = Sorted::default();
    for difference in &found {
        sorted.sort(difference, &to, rules);
    }
    let Sorted {
        mut in_place,
        mut obstacles,
    } = sorted;
    restarts(&mut in_place, &mut obstacles, &to);
    if obstacles.is_empty() {
        return Change::InPlace(in_place);
    }
    let why = words(&obstacles);
    if rules.policy == UpgradePolicy::InPlaceOnly {
        Change::Refused { why }
    } else {
        Change::ReCreate { why }
    }
}

/// The parts of a template that a Pod is made of, and no field that is null: to the API server that is none.
///
/// What else `metadata` may have (a name, finalizers, the time that generators write) is no Pod's.
pub fn canonical(template: &Value) -> Value {
    let of = |field: &str| match without_nulls(&template["metadata"][field]) {
        Value::Null => json!({}),
        given => given,
    };
    json!({
        "metadata": {"labels": of("labels"), "annotations": of("annotations")},
        "spec": without_nulls(&template["spec"]),
    })
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// What changes in place, and what cannot.
#[derive(Default)]
struct Sorted {
    in_place: InPlace,
    obstacles: Vec<String>,
}

impl Sorted {
    fn sort(&mut self, difference: &Difference, to: &Value, rules: Rules) {
        let path: Vec<&str> = difference.path.iter().map(String::as_str).collect();
        let text = || {
            difference
                .to
                .as_ref()
                .map(|value| value.as_str().unwrap_or_default().to_owned())
        };
        match path[..] {
            ["metadata", field @ ("labels" | "annotations"), key] => {
                self.mark(field, &name_of(key), text());
            }
            ["spec", "containers", name, "image"] if difference.is_text() => {
                let image = text().unwrap_or_default();
                self.in_place.images.insert(name_of(name), image);
            }
            ["spec", "initContainers", name, "image"] if difference.is_text() => {
                let name = name_of(name);
                if !metadata::is_sidecar(to, &name) {
                    self.obstacles.push(format!(
                        "{difference} (an init container does not run again in a Pod that is there)"
                    ));
                } else if !rules.sidecars {
                    self.obstacles.push(format!(
                        "{difference} (kubelet replaces sidecars from 1.32 on)"
                    ));
                } else {
                    let image = text().unwrap_or_default();
                    self.in_place.init_images.insert(name, image);
                }
            }
            _ => self.obstacles.push(difference.to_string()),
        }
    }

    fn mark(&mut self, field: &str, key: &str, value: Option<String>) {
        if field == "labels" {
            self.in_place.labels.insert(key.to_owned(), value);
        } else if metadata::is_of_the_sandbox(key) {
            self.obstacles.push(format!(
                "metadata.annotations[{key}] (read when a Pod is set up, and never again)"
            ));
        } else {
            self.in_place.annotations.insert(key.to_owned(), value);
        }
    }
}

/// The containers that have to be restarted for what changes in place, each once, whatever the reasons.
fn restarts(in_place: &mut InPlace, obstacles: &mut Vec<String>, to: &Value) {
    let changed = Changed::of(in_place);
    let all = changed.asks_for_restart();
    let mut restart = Vec::new();
    let mut refused = BTreeSet::new();
    for Reader {
        list,
        name,
        reads,
        comes_back,
    } in metadata::readers(to, &changed)
    {
        let replaced = match list {
            List::Containers => in_place.images.contains_key(&name),
            List::InitContainers => in_place.init_images.contains_key(&name),
        };
        let why = match (list, reads) {
            _ if replaced => continue,
            (List::Containers, reads) if !all && reads.is_none() => continue,
            (List::Containers, _) if comes_back => {
                restart.push(name);
                continue;
            }
            (List::Containers, _) => format!(
                "spec.containers[{name}] would have to be restarted, and has a restartPolicy of its own"
            ),
            (List::InitContainers, Some(reads)) => format!(
                "{reads}, which spec.initContainers[{name}] reads when it starts (only containers of spec.containers are restarted)"
            ),
            (List::InitContainers, None) => continue,
        };
        refused.insert(why);
    }
    in_place.restart = restart;
    obstacles.extend(refused);
}

fn name_of(segment: &str) -> String {
    segment
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned()
}

fn words(obstacles: &[String]) -> String {
    let (named, others) = obstacles.split_at(obstacles.len().min(NAMED));
    let more = match others.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("not in place: {}{more}", named.join("; "))
}

#[cfg(test)]
mod tests;
