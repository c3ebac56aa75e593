//! What is kept of revisions and of the images that nodes are asked for.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt as _};
use node_agent_inplace::plan::Pull;
use proto_crd::image_pull::{ImagePull, ImageStatus, PullPhase};
use proto_crd::names;
use proto_crd::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::view::time;
use crate::mirror::{Mirrored, version_of};
use crate::world::Key;

/// What the name of a field manager begins with that asks a node for images: the UID of the set follows.
pub(super) const MANAGER_PREFIX: &str = "berth-inplaceset-";

/// As whom a set asks nodes for images: each for itself, so that none takes another's away.
pub(super) fn manager_of(uid: &str) -> String {
    format!("{MANAGER_PREFIX}{uid}")
}

/// A `ControllerRevision`, with its template as it is: what is not known of it must not be lost.
#[derive(Resource, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[resource(inherit = ControllerRevision)]
pub(super) struct LeanRevision {
    /// Its metadata.
    pub(super) metadata: ObjectMeta,
    /// What it holds.
    #[serde(default)]
    pub(super) data: Value,
    /// Its number.
    pub(super) revision: i64,
}

impl LeanRevision {
    /// The template.
    pub(super) fn template(&self) -> &Value {
        &self.data["spec"]["template"]
    }

    /// Whether it is that of a set of this name: this one, or one that was before.
    pub(super) fn is_of_set(&self, set: &str) -> bool {
        let mut owners = self.metadata.owner_references.iter().flatten();
        match owners.find(|owner| owner.controller == Some(true)) {
            Some(owner) => owner.kind == "InPlaceSet" && owner.name == set,
            None => {
                self.labels()
                    .get(names::IN_PLACE_SET_LABEL)
                    .map(String::as_str)
                    == Some(set)
            }
        }
    }
}

impl Mirrored for LeanRevision {
    fn key(&self) -> Key {
        (self.namespace().unwrap_or_default(), self.name_any())
    }

    fn id(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    fn version(&self) -> u64 {
        version_of(self)
    }
}

/// What is asked of a node, and what has become of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PullSeen {
    key: Key,
    uid: String,
    version: u64,
    /// The node.
    pub(super) node: String,
    /// Whether the agent has looked at what is asked now.
    is_observed: bool,
    /// By the UID of the set: for which release.
    releases: BTreeMap<String, String>,
    /// By image: how far it is.
    states: BTreeMap<String, Pull>,
    /// By the UID of the set: the images that it asks for.
    pub(super) asked: BTreeMap<String, BTreeSet<String>>,
    /// By the UID of the set: since when.
    since: BTreeMap<String, Timestamp>,
}

impl Mirrored for PullSeen {
    fn key(&self) -> Key {
        self.key.clone()
    }

    fn id(&self) -> &str {
        &self.uid
    }

    fn version(&self) -> u64 {
        self.version
    }
}

impl From<&ImagePull> for PullSeen {
    fn from(pull: &ImagePull) -> Self {
        let status = pull.status.as_ref();
        let observed = status.map_or(0, |status| status.observed_generation);
        let told = status.into_iter().flat_map(|status| &status.images);
        let key = (pull.namespace().unwrap_or_default(), pull.name_any());
        Self {
            node: key.1.clone(),
            key,
            uid: pull.uid().unwrap_or_default(),
            version: version_of(pull),
            is_observed: observed >= pull.metadata.generation.unwrap_or_default(),
            releases: releases(&pull.metadata),
            states: told
                .map(|image| (image.image.clone(), state(image)))
                .collect(),
            asked: asked(&pull.metadata),
            since: since(&pull.metadata),
        }
    }
}

impl PullSeen {
    /// What has become of each image that a set asks for.
    pub(super) fn images(&self, uid: &str) -> BTreeMap<String, Pull> {
        let images = self.asked.get(uid).into_iter().flatten();
        let state = |image: &String| {
            let told = self.states.get(image).filter(|_| self.is_observed);
            told.cloned()
                .unwrap_or_else(|| Pull::Pending("its agent has not looked at it yet".to_owned()))
        };
        images.map(|image| (image.clone(), state(image))).collect()
    }

    /// Since when a set asks for what it asks for now: the API server's clock.
    pub(super) fn since(&self, uid: &str) -> Option<Timestamp> {
        self.since.get(uid).copied()
    }

    /// For which release a set asks.
    pub(super) fn requested_by(&self, uid: &str) -> Option<&String> {
        self.releases.get(uid)
    }
}

fn state(image: &ImageStatus) -> Pull {
    let words = |phase: &str| match &image.message {
        Some(message) => format!("{phase}: {message}"),
        None => phase.to_owned(),
    };
    match image.phase {
        PullPhase::Succeeded => Pull::Present,
        PullPhase::Failed => Pull::Failed(image.message.clone().unwrap_or_default()),
        PullPhase::Pending => Pull::Pending(words("Pending")),
        PullPhase::BackOff => Pull::Pending(words("BackOff")),
        PullPhase::Pulling => Pull::Pending(match &image.progress {
            Some(progress) => format!(
                "Pulling, {} of {} MB",
                progress.received_bytes / 1_000_000,
                progress.known_bytes / 1_000_000
            ),
            None => "Pulling".to_owned(),
        }),
    }
}

/// For which release each set asks, by its UID.
fn releases(metadata: &ObjectMeta) -> BTreeMap<String, String> {
    let annotations = metadata.annotations.iter().flatten();
    annotations
        .filter_map(|(key, release)| {
            let uid = key.strip_prefix(names::ASKED_FOR_ANNOTATIONS)?;
            Some((uid.to_owned(), release.clone()))
        })
        .collect()
}

/// Since when each set asks for what it asks for now, by the UID in the names of their field managers.
fn since(metadata: &ObjectMeta) -> BTreeMap<String, Timestamp> {
    let entries = metadata.managed_fields.iter().flatten();
    entries
        .filter_map(|entry| {
            let uid = entry.manager.as_deref()?.strip_prefix(MANAGER_PREFIX)?;
            Some((uid.to_owned(), time(entry.time.as_ref()?.0)))
        })
        .collect()
}

/// The images of each set, by the UID in the names of their field managers.
fn asked(metadata: &ObjectMeta) -> BTreeMap<String, BTreeSet<String>> {
    let managers = asked_by_managers(metadata).into_iter();
    managers
        .filter_map(|(manager, images)| {
            Some((manager.strip_prefix(MANAGER_PREFIX)?.to_owned(), images))
        })
        .collect()
}

/// The images of each field manager that asks for one.
pub(super) fn asked_by_managers(metadata: &ObjectMeta) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::<String, BTreeSet<String>>::new();
    for entry in metadata.managed_fields.iter().flatten() {
        let fields = entry.fields_v1.as_ref();
        let images = fields.and_then(|it| it.0["f:spec"]["f:images"].as_object());
        let (Some(manager), Some(images)) = (&entry.manager, images) else {
            continue;
        };
        let images = images.keys().filter_map(|key| {
            let key: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
            key["image"].as_str().map(ToOwned::to_owned)
        });
        all.entry(manager.clone()).or_default().extend(images);
    }
    all
}
