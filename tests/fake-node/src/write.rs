//! Writes: some threads that each do one call after the other, and tell the driver what came of it.

use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tests_testbed::ApiProxy;

use crate::drive::{Input, Key};

/// So many calls are under way at once; a cluster has as many as it has nodes.
pub(crate) const AT_ONCE: usize = 8;

pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const PLAIN: &str = "application/json";

/// What a write is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Purpose {
    /// The scheduler's: on this node.
    Bind(String),
    /// kubelet's status of a Pod.
    Status(Value),
    /// The agent's gate of a Pod.
    Gate,
    /// The agent's annotation of a Pod.
    Report,
    /// kubelet's last word about a Pod.
    Delete,
    /// The agent's status of an `ImagePull`, or of a `ContainerRestart`.
    Verdict(Value),
    /// A Node, a Lease, or a Pod whose node is dead: nobody waits for it.
    Other,
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) key: Key,
    pub(crate) purpose: Purpose,
    pub(crate) verb: &'static str,
    pub(crate) form: &'static str,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) key: Key,
    pub(crate) purpose: Purpose,
    /// The HTTP status, 0 where there was no answer, and the body.
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Until there are no more jobs.
pub(crate) fn run(proxy: &ApiProxy, jobs: &Arc<Mutex<Receiver<Job>>>, told: &Sender<Input>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let answer = proxy.call_in(job.form, job.verb, &job.path, &job.body);
        let (status, body) = match answer {
            Ok(answer) => (answer.status, answer.body),
            Err(error) => (0, format!("{error:#}")),
        };
        let done = Done {
            key: job.key,
            purpose: job.purpose,
            status,
            body,
        };
        if told.send(Input::Written(done)).is_err() {
            return;
        }
    }
}
