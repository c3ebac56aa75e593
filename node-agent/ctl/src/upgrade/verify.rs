//! Whether an upgrade has taken effect: what the Pod was, against what it is. Pure.
//!
//! Not by image ids: they differ by tag, registry and runtime, and stay the same where two tags name one image.

use std::collections::BTreeMap;

use crate::running::{Reported, RunningContainer, RunningPod};

/// Reasons of kubelet's for which a container does not come, and which waiting does not mend.
const HOPELESS: &[&str] = &["ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];

/// kubelet keeps a container down. It says so of one that never crashed too: where an image comes back within ten minutes.
const BACK_OFF: &str = "CrashLoopBackOff";

/// What the Pod was before anything was touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Before {
    uid: String,
    ips: Vec<String>,
    containers: BTreeMap<String, ContainerBefore>,
}

/// What a container was.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ContainerBefore {
    image: String,
    id: String,
    sandbox: String,
    restarts: i32,
    waiting: Option<(String, String)>,
    /// It has the image that is wanted already, and what runs is not of it: somebody else has begun.
    begun: bool,
}

/// Whether the Pod names every wanted image.
pub(super) fn is_patched(pod: &RunningPod, images: &BTreeMap<String, String>) -> bool {
    images
        .iter()
        .all(|(name, image)| pod.container(name).is_some_and(|it| it.image == *image))
}

/// How far the new containers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Not yet.
    Waiting(String),
    /// They run and are ready.
    Ready,
    /// They will not be.
    Failed(String),
}

impl Before {
    /// What is seen now.
    pub(super) fn of(
        pod: &RunningPod,
        reported: &BTreeMap<String, Reported>,
        images: &BTreeMap<String, String>,
    ) -> Self {
        let containers = pod.containers.iter().map(|container| {
            let runs = reported.get(&container.name).cloned().unwrap_or_default();
            let before = ContainerBefore {
                begun: images.get(&container.name) == Some(&container.image) && !runs.current,
                image: container.image.clone(),
                id: runs.id,
                sandbox: runs.sandbox,
                restarts: container.restarts,
                waiting: container.waiting.clone(),
            };
            (container.name.clone(), before)
        });
        Self {
            uid: pod.uid.clone(),
            ips: pod.ips.clone(),
            containers: containers.collect(),
        }
    }

    /// Why the Pod is no longer what it was.
    pub(super) fn lost(&self, pod: &RunningPod) -> Option<String> {
        if pod.uid != self.uid {
            return Some(format!("Pod {} is now another one", pod.key()));
        }
        if let Some(unfit) = pod.unfit {
            return Some(format!("Pod {} has changed: {unfit}", pod.key()));
        }
        if !pod.ips.is_empty() && !self.ips.is_empty() && pod.ips != self.ips {
            return Some(format!(
                "the Pod's addresses are {}, and were {}",
                pod.ips.join(", "),
                self.ips.join(", ")
            ));
        }
        let reported = pod.facts.iter().flatten();
        let moved = reported.filter_map(|(name, it)| Some((name, it.sandbox.as_ref()?)));
        let mut moved = moved.filter(|(name, sandbox)| {
            let before = self.containers.get(*name).map(|it| &it.sandbox);
            before.is_some_and(|before| !before.is_empty() && before != *sandbox)
        });
        moved.next().map(|(name, _)| {
            format!(
                "container {name} runs in another sandbox: kubelet has set the whole Pod up anew"
            )
        })
    }

    /// What goes on with a container until its image is changed is the old one's: a container that crashes all the time is upgraded too.
    pub(super) fn renew(&mut self, pod: &RunningPod) {
        for container in &pod.containers {
            if let Some(before) = self.containers.get_mut(&container.name) {
                before.restarts = container.restarts;
                before.waiting.clone_from(&container.waiting);
            }
        }
    }

    /// The images that are changed, as they were.
    pub(super) fn changed(&self, images: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let old = images.iter().filter_map(|(name, image)| {
            let before = self.containers.get(name)?;
            (before.image != *image).then(|| (name.clone(), before.image.clone()))
        });
        old.collect()
    }

    /// Why nothing is patched: somebody else has changed an image meanwhile.
    pub(super) fn changed_by_others(
        &self,
        pod: &RunningPod,
        images: &BTreeMap<String, String>,
    ) -> Option<String> {
        let mut other = pod.containers.iter().filter(|container| {
            let before = self.containers.get(&container.name);
            before.is_some_and(|before| before.image != container.image)
                && images.get(&container.name) != Some(&container.image)
        });
        other.next().map(|container| {
            format!(
                "somebody else has changed the image of container {} to {} meanwhile; no image was changed",
                container.name, container.image
            )
        })
    }

    /// How far the new containers are.
    pub(super) fn judge(&self, pod: &RunningPod, images: &BTreeMap<String, String>) -> Judged {
        for name in images.keys() {
            let Some(container) = pod.container(name) else {
                return Judged::Failed(format!("container {name} is gone"));
            };
            match self.judge_container(pod, container) {
                Judged::Ready => {}
                other => return other,
            }
        }
        if let Some(name) = self.touched(pod, images) {
            return Judged::Failed(format!(
                "container {name} was restarted too, which nobody asked for"
            ));
        }
        match pod.containers.iter().find(|it| !it.ready) {
            Some(container) => {
                Judged::Waiting(format!("for container {} to be ready", container.name))
            }
            None => Judged::Ready,
        }
    }

    fn judge_container(&self, pod: &RunningPod, container: &RunningContainer) -> Judged {
        let name = &container.name;
        let Some(before) = self.containers.get(name) else {
            return Judged::Failed(format!("container {name} was not there before"));
        };
        // kubelet's words of the old container stay until it has seen the new image.
        let has_run = container.restarts > before.restarts;
        let news = container.waiting.as_ref();
        let news = news.filter(|_| has_run || container.waiting != before.waiting);
        if let Some((reason, message)) = news
            && (HOPELESS.contains(&reason.as_str()) || reason == BACK_OFF && has_run)
        {
            return Judged::Failed(format!("container {name}: {reason}: {message}"));
        }
        if container.restarts > before.restarts.saturating_add(1) {
            let times = container.restarts.saturating_sub(before.restarts);
            return Judged::Failed(format!(
                "container {name} was restarted {times} times: it ends by itself"
            ));
        }
        let reported = pod.reported().and_then(|mut it| it.remove(name));
        let Some(runs) = reported.filter(|it| it.current) else {
            let why = news.map_or_else(String::new, |(reason, message)| {
                format!(" ({reason}: {message})")
            });
            return Judged::Waiting(format!("for container {name} to run its new image{why}"));
        };
        let is_new = before.begun || before.image == container.image || runs.id != before.id;
        if !is_new || runs.id != container.id {
            return Judged::Waiting(format!("for kubelet to tell of the new container {name}"));
        }
        if container.ready {
            Judged::Ready
        } else {
            Judged::Waiting(format!("for container {name} to be ready"))
        }
    }

    /// A container that was not to be touched and was.
    fn touched<'a>(
        &self,
        pod: &'a RunningPod,
        images: &BTreeMap<String, String>,
    ) -> Option<&'a str> {
        let mut others = pod
            .containers
            .iter()
            .filter(|it| !images.contains_key(&it.name));
        let other = others.find(|container| {
            let before = self.containers.get(&container.name);
            before.is_some_and(|before| {
                !before.id.is_empty() && container.restarts != before.restarts
            })
        });
        other.map(|it| it.name.as_str())
    }
}
