//! What a node's agent answers to the node's `ImagePull`: each image after the time a pull takes, or never.
//!
//! An entry that was changed is a new request; what is final stays until then.

use std::collections::{BTreeMap, BTreeSet};

use proto_crd::time::Timestamp;
use serde_json::{Value, json};

use crate::kubelet::items;
use crate::rules::{Faults, Pace};

/// What is known of one node's requests, by image.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulls {
    entries: BTreeMap<String, Entry>,
    told: Option<Value>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// The whole entry: another one is another request.
    wanted: Value,
    request: u64,
    since: Timestamp,
    done: Option<(Timestamp, bool)>,
}

/// What is written, and when to look again.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) status: Option<Value>,
    pub(crate) due: Option<Timestamp>,
}

impl Pulls {
    /// By the object as it was last told.
    pub(crate) fn step(
        &mut self,
        object: &Value,
        images: &mut BTreeSet<String>,
        around: (&Pace, &Faults, Timestamp),
    ) -> Step {
        let (pace, faults, now) = around;
        let mut due = None;
        let mut told = Vec::new();
        let mut kept = BTreeMap::new();
        for wanted in items(&object["spec"]["images"]) {
            let image = wanted["image"].as_str().unwrap_or_default();
            let before = self.entries.remove(image);
            let mut entry = match before {
                Some(entry) if entry.wanted == *wanted => entry,
                before => Entry {
                    wanted: wanted.clone(),
                    request: before.map_or(1, |it| it.request + 1),
                    since: now,
                    done: None,
                },
            };
            let takes = if images.contains(image) {
                std::time::Duration::ZERO
            } else {
                pace.pull
            };
            let until = entry.since.after(takes);
            if entry.done.is_none() && now >= until {
                let is_there = faults.has_image(image);
                if is_there {
                    images.insert(image.to_owned());
                }
                entry.done = Some((now, is_there));
            }
            if entry.done.is_none() {
                due = Some(due.map_or(until, |due: Timestamp| due.min(until)));
            }
            told.push(entry.status(image));
            kept.insert(image.to_owned(), entry);
        }
        self.entries = kept;
        let count = |phase: &str| told.iter().filter(|it| it["phase"] == phase).count();
        let status = json!({
            "observedGeneration": object["metadata"]["generation"], "wanted": told.len(),
            "pulling": count("Pulling"), "succeeded": count("Succeeded"), "failed": count("Failed"), "images": told,
        });
        let is_told = self.told.as_ref() == Some(&status);
        Step {
            status: (!is_told).then_some(status),
            due,
        }
    }

    /// The API server has taken this status.
    pub(crate) fn told(&mut self, status: Value) {
        self.told = Some(status);
    }
}

impl Entry {
    fn status(&self, image: &str) -> Value {
        let mut status = json!({
            "image": image, "request": format!("{:x}", self.request), "attempts": 1,
            "startedAt": self.since.to_string(), "phase": "Pulling",
        });
        if let Some((at, is_there)) = self.done {
            status["completedAt"] = at.to_string().into();
            status["phase"] = if is_there { "Succeeded" } else { "Failed" }.into();
            if is_there {
                status["message"] = "pulled".into();
            } else {
                status["reason"] = "NotFound".into();
                status["message"] = "the registry has no such image: check the name".into();
            }
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Fault, Of};

    #[test]
    fn images_arrive_bad_ones_are_given_up_and_a_new_request_is_tried_again() {
        let (pace, mut faults) = (Pace::real(), Faults::default());
        faults.set(Of::Image("app:bad".to_owned()), Some(Fault::NoImage));
        let mut images = BTreeSet::from(["app:v1".to_owned()]);
        let mut pulls = Pulls::default();
        let mut object = json!({"metadata": {"generation": 3}, "spec": {"images": [
            {"image": "app:v1"}, {"image": "app:v2"}, {"image": "app:bad"},
        ]}});
        let start = Timestamp::from_unix_milliseconds(0);
        let step = pulls.step(&object, &mut images, (&pace, &faults, start));
        let status = step.status.unwrap();
        assert_eq!(
            (&status["succeeded"], &status["pulling"]),
            (&json!(1), &json!(2))
        );
        pulls.told(status);
        let later = step.due.unwrap();
        let status = pulls
            .step(&object, &mut images, (&pace, &faults, later))
            .status;
        let status = status.unwrap();
        assert_eq!(
            (&status["succeeded"], &status["failed"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(status["observedGeneration"], 3);
        pulls.told(status.clone());
        assert!(images.contains("app:v2"));
        faults.set(Of::Image("app:bad".to_owned()), None);
        let same = pulls.step(&object, &mut images, (&pace, &faults, later));
        assert_eq!(same.status, None);
        object["spec"]["images"][2]["requestedBy"] = "again".into();
        let again = pulls.step(&object, &mut images, (&pace, &faults, later));
        let entry = &again.status.unwrap()["images"][2];
        assert_eq!(
            (&entry["phase"], &entry["request"]),
            (&json!("Pulling"), &json!("2"))
        );
    }
}
