//! One volley: Pods created at once, each timed from bound to Ready as a watch of the API server tells it, then deleted.
//!
//! Pods name their node themselves: they are bound when they are there, and no scheduler is in the figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use tests_testbed::{ApiProxy, ApiWatch};

use super::Shape;
use super::counters::{Timed, Writes};
use super::samples::Samples;

/// Where the Pods are.
pub(crate) const NAMESPACE: &str = "bench";

/// No Pod changes for so long: 250 are Ready within some minutes on two cores, and kubelet tries one again that failed.
const STALLED: Duration = Duration::from_secs(120);

/// Creating calls at once: that many make all Pods within a second or two.
const CREATORS: usize = 4;

/// What a volley showed.
#[derive(Clone, Debug)]
pub(crate) struct Volley {
    /// From bound to Ready, each Pod.
    pub(crate) ready: Samples,
    pub(crate) ready_mean_ms: f64,
    /// From the first that was bound to the last that was Ready.
    pub(crate) all_ready: Duration,
    /// ADD and DEL as containerd timed them.
    pub(crate) adds: Timed,
    pub(crate) dels: Timed,
    /// What of the ADDs the address daemon took.
    pub(crate) asked: Timed,
    /// Requests that write claims until all were Ready, and from then on until nothing was written after their end.
    pub(crate) start_writes: Writes,
    pub(crate) del_writes: Writes,
    pub(crate) pods: f64,
    /// Whether these writes are this subject's.
    pub(crate) is_written: bool,
}

impl Volley {
    /// The part of a Pod's way to Ready that is the plugin's.
    pub(crate) fn share_percent(&self) -> f64 {
        self.adds.mean_ms() / self.ready_mean_ms * 100.0
    }

    /// Requests a Pod that is started.
    pub(crate) fn writes_per_start(&self) -> f64 {
        self.per_pod(self.start_writes)
    }

    /// Requests a Pod that is ended.
    pub(crate) fn writes_per_del(&self) -> f64 {
        self.per_pod(self.del_writes)
    }

    fn per_pod(&self, writes: Writes) -> f64 {
        if self.is_written {
            writes.all() / self.pods
        } else {
            f64::NAN
        }
    }

    /// One line of progress.
    pub(crate) fn told(&self, shape: Shape) -> String {
        let mut said = format!(
            "{}: all Ready in {:.1} s, p50 {:.1} s, ADD {:.0} ms, DEL {:.0} ms",
            shape.name(),
            self.all_ready.as_secs_f64(),
            self.ready.percentile_ms(50) / 1000.0,
            self.adds.mean_ms(),
            self.dels.mean_ms()
        );
        if self.is_written && self.start_writes != Writes::default() {
            let _ = write!(
                said,
                "; started with {}; ended with {}",
                self.start_writes, self.del_writes
            );
        }
        let again = self.adds.count - self.pods;
        if again > 0.5 {
            let _ = write!(said, "; {again:.0} ADDs failed and were tried again");
        }
        said
    }
}

/// Pods that are there.
#[derive(Debug)]
pub(crate) struct Flight {
    label: String,
    watch: ApiWatch,
    pods: BTreeMap<String, Seen>,
}

/// When a Pod was seen how.
#[derive(Clone, Debug, Default)]
struct Seen {
    bound: Option<Instant>,
    ready: Option<Instant>,
    address: String,
    gone: bool,
    /// As it was told last, for a failure.
    status: Value,
}

impl Flight {
    /// Creates the Pods of a shape and waits until all are Ready.
    pub(crate) fn start(api: &ApiProxy, label: &str, nodes: &[&str], each: usize) -> Result<Self> {
        let collection = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        let list = api.json(&format!("{collection}?limit=1"))?;
        let version = list["metadata"]["resourceVersion"].as_str();
        let version = version.context("a list without a version")?;
        let watch = api.watch(&format!(
            "{collection}?watch=true&resourceVersion={version}&labelSelector=volley%3D{label}"
        ))?;
        // Nodes take turns.
        let pods: Vec<Value> = (0..each)
            .flat_map(|number| nodes.iter().map(move |node| (number, *node)))
            .map(|(number, node)| pod(label, &format!("{label}{node}p{number}"), node))
            .collect();
        let mut flight = Self {
            label: label.to_owned(),
            watch,
            pods: BTreeMap::new(),
        };
        for pod in &pods {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            flight.pods.insert(name.to_owned(), Seen::default());
        }
        thread::scope(|scope| {
            let creators: Vec<_> = (0..CREATORS)
                .map(|first| {
                    let mine = pods.iter().skip(first).step_by(CREATORS);
                    let collection = &collection;
                    scope.spawn(move || {
                        for pod in mine {
                            api.create(collection, pod)?;
                        }
                        anyhow::Ok(())
                    })
                })
                .collect();
            let seen = flight.follow("Ready", |seen| seen.ready.is_some());
            for creator in creators {
                let ended = creator.join().map_err(|_| anyhow!("a creator panicked"));
                ended.flatten()?;
            }
            seen
        })?;
        Ok(flight)
    }

    /// The addresses of all.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.pods.values().map(|seen| seen.address.as_str())
    }

    /// From bound to Ready, each.
    pub(crate) fn durations(&self) -> Vec<Duration> {
        let times = self.pods.values().filter_map(|seen| {
            let (bound, ready) = (seen.bound?, seen.ready?);
            Some(ready.duration_since(bound))
        });
        times.collect()
    }

    /// From the first that was bound to the last that was Ready.
    pub(crate) fn all_ready(&self) -> Option<Duration> {
        let first = self.pods.values().filter_map(|seen| seen.bound).min()?;
        let last = self.pods.values().filter_map(|seen| seen.ready).max()?;
        Some(last.duration_since(first))
    }

    /// Deletes all and waits until they are gone, which is after their networks are.
    pub(crate) fn end(mut self, api: &ApiProxy) -> Result<()> {
        let path = format!(
            "/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=volley%3D{}",
            self.label
        );
        let answer = api.call("DELETE", &path, None)?;
        ensure!(answer.status == 200, "DELETE {path}: {answer:?}");
        self.follow("gone", |seen| seen.gone)
    }

    /// Takes what the watch tells until it is so of every Pod.
    fn follow(&mut self, what: &str, is_so: impl Fn(&Seen) -> bool) -> Result<()> {
        while let Some((name, seen)) = self.pods.iter().find(|(_, seen)| !is_so(seen)) {
            match self.watch.next_before(Instant::now() + STALLED)? {
                Some(event) => self.take(&event)?,
                None => bail!(
                    "{name} is not {what}, and no Pod has changed for {STALLED:?}: {}",
                    seen.status
                ),
            }
        }
        Ok(())
    }

    fn take(&mut self, event: &Value) -> Result<()> {
        let now = Instant::now();
        let (kind, object) = (&event["type"], &event["object"]);
        ensure!(kind != "ERROR", "the watch failed: {object}");
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let Some(seen) = self.pods.get_mut(name) else {
            return Ok(());
        };
        if object["spec"]["nodeName"].is_string() {
            seen.bound.get_or_insert(now);
        }
        if is_ready(object) {
            seen.ready.get_or_insert(now);
            let address = object["status"]["podIP"].as_str();
            address.unwrap_or_default().clone_into(&mut seen.address);
        }
        seen.gone |= kind == "DELETED";
        seen.status = object["status"].clone();
        Ok(())
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|it| it["type"] == "Ready" && it["status"] == "True")
}

/// A Pod that does nothing, from an image that is there.
fn pod(label: &str, name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": NAMESPACE, "labels": {"volley": label},
            "annotations": {"berth.dev/networks": "external"},
        },
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false, "enableServiceLinks": false,
            "containers": [{"name": "app", "image": tests_testbed::PAUSE_IMAGE, "imagePullPolicy": "Never"}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_is_ready_by_its_condition_only() {
        let pod = |status: &str| json!({"status": {"conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": status}]}});
        assert!(is_ready(&pod("True")));
        assert!(!is_ready(&pod("False")));
        assert!(!is_ready(&json!({})));
    }
}
