//! How long Pods are out of service, as the API server tells it: from the gate that is False, the Pod that is being deleted or is not Ready, whichever is
//! first, to the Pod that is Ready again. One connection, which changes come over as they happen; both ends of a time have come the same way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::Value;
use tests_testbed::{ApiProxy, ApiWatch, Pending, wait_patiently};

use crate::field::{DEADLINE, PODS, container};

/// How long a watch waits for a change before it asks whether it is over.
const PAUSE: Duration = Duration::from_millis(200);

/// One change of a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    at: Instant,
    pod: String,
    container: String,
    serves: bool,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    changes: Mutex<Vec<Change>>,
    over: AtomicBool,
}

/// A watch over all Pods of the namespace.
#[derive(Debug)]
pub(crate) struct Services {
    seen: Arc<Seen>,
    watching: Option<JoinHandle<Result<()>>>,
}

impl Services {
    /// Begins to watch.
    pub(crate) fn watch(api: &ApiProxy) -> Result<Self> {
        let watch = api.watch(&format!("{PODS}?watch=true"))?;
        let seen = Arc::new(Seen::default());
        let of_watch = Arc::clone(&seen);
        let watching = thread::spawn(move || of_watch.note(watch));
        Ok(Self {
            seen,
            watching: Some(watching),
        })
    }

    /// How long a Pod has been out of service since this moment, when it is in service again, in this container.
    pub(crate) fn outage(&self, pod: &str, since: Instant, container: &str) -> Result<Duration> {
        let what = format!("{pod} being seen in service again");
        wait_patiently(&what, DEADLINE, || {
            if self.watching.as_ref().is_none_or(JoinHandle::is_finished) {
                return Ok(Err(anyhow!("the watch over Pods has ended")));
            }
            let changes = self.seen.changes();
            let of_pod: Vec<&Change> = changes.iter().filter(|it| it.pod == pod).collect();
            let last = of_pod.last();
            if !last.is_some_and(|it| it.serves && it.container == container) {
                return Err(Pending::because(format!("{last:?}")));
            }
            // Ready was never anything but True: who asks the API server saw the Pod in service all the time.
            Ok(Ok(outage(&of_pod, since).unwrap_or_default()))
        })?
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.seen.over.store(true, Ordering::Relaxed);
        if let Some(watching) = self.watching.take() {
            let _ = watching.join();
        }
    }
}

impl Seen {
    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, mut watch: ApiWatch) -> Result<()> {
        while !self.over.load(Ordering::Relaxed) {
            let Some(event) = watch.next_before(Instant::now() + PAUSE)? else {
                continue;
            };
            let pod = &event["object"];
            let change = Change {
                at: Instant::now(),
                pod: pod["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                container: container(pod).to_owned(),
                serves: event["type"] != "DELETED" && serves(pod),
            };
            self.changes().push(change);
        }
        Ok(())
    }
}

/// Whether a Pod is in service: it is Ready, and nobody has begun to take it out.
fn serves(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let is = |kind: &str, status: &str| {
        let mut all = conditions.into_iter().flatten();
        all.any(|it| it["type"] == kind && it["status"] == status)
    };
    pod["metadata"]["deletionTimestamp"].is_null()
        && is("Ready", "True")
        && !is("berth.dev/ServiceReady", "False")
}

/// From the first moment out of service after this one to the last time that it came back.
fn outage(changes: &[&Change], since: Instant) -> Option<Duration> {
    let later = || changes.iter().skip_while(|it| it.at < since);
    let out = later().find(|it| !it.serves)?.at;
    let mut back = None;
    let mut was_out = false;
    for change in later() {
        if change.serves && was_out {
            back = Some(change.at);
        }
        was_out = !change.serves;
    }
    Some(back? - out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(ready: &str, gate: Option<&str>) -> Value {
        let mut conditions = vec![json!({"type": "Ready", "status": ready})];
        let gate = gate.map(|status| json!({"type": "berth.dev/ServiceReady", "status": status}));
        conditions.extend(gate);
        json!({"metadata": {"name": "served-0"}, "status": {"conditions": conditions}})
    }

    #[test]
    fn gate_that_is_false_takes_a_ready_pod_out_of_service_and_so_does_its_deletion() {
        assert!(serves(&pod("True", None)));
        assert!(serves(&pod("True", Some("True"))));
        assert!(!serves(&pod("True", Some("False"))));
        assert!(!serves(&pod("False", Some("True"))));
        let mut deleted = pod("True", None);
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(!serves(&deleted));
    }

    #[test]
    fn outage_is_from_the_first_moment_out_to_the_last_return() {
        let begin = Instant::now();
        let told = |changes: &[(u64, bool)], since: u64| {
            let changes: Vec<Change> = changes
                .iter()
                .map(|(at, serves)| Change {
                    at: begin + Duration::from_secs(*at),
                    pod: "served-0".to_owned(),
                    container: "a".to_owned(),
                    serves: *serves,
                })
                .collect();
            let all: Vec<&Change> = changes.iter().collect();
            outage(&all, begin + Duration::from_secs(since)).map(|it| it.as_secs())
        };
        let once = [(1, true), (5, false), (6, false), (9, true), (10, true)];
        assert_eq!(told(&once, 2), Some(4));
        let twice = [
            (1, false),
            (2, true),
            (5, false),
            (7, true),
            (8, false),
            (11, true),
        ];
        assert_eq!(told(&twice, 3), Some(6));
        assert_eq!(told(&once, 10), None);
        assert_eq!(told(&[(1, true), (5, false)], 0), None);
    }
}
