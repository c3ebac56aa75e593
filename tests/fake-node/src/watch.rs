//! Lists and watches: one thread a kind, which tells the driver everything in order and begins anew when the API server ends it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests_testbed::ApiProxy;

use crate::drive::Input;

/// How often a watch that hears nothing looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// When what failed is tried again: the API server is away, or does not serve the kind yet.
const AGAIN: Duration = Duration::from_millis(250);

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Pod,
    Pull,
    Restart,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Pod, Self::Pull, Self::Restart];

    /// The collection of all its objects.
    const fn path(self) -> &'static str {
        match self {
            Self::Pod => "/api/v1/pods",
            Self::Pull => "/apis/berth.dev/v1alpha1/namespaces/berth-system/imagepulls",
            Self::Restart => "/apis/berth.dev/v1alpha1/containerrestarts",
        }
    }

    /// One of its objects.
    pub(crate) fn object(self, namespace: &str, name: &str) -> String {
        let (group, plural) = match self {
            Self::Pod => ("/api/v1", "pods"),
            Self::Pull => ("/apis/berth.dev/v1alpha1", "imagepulls"),
            Self::Restart => ("/apis/berth.dev/v1alpha1", "containerrestarts"),
        };
        format!("{group}/namespaces/{namespace}/{plural}/{name}")
    }
}

/// Until the other end of `over` is dropped.
pub(crate) fn run(proxy: &Arc<ApiProxy>, kind: Kind, told: &Sender<Input>, over: &Receiver<()>) {
    loop {
        match follow(proxy, kind, told, over) {
            Ok(()) => return,
            // An old version is refused, and watches end after an hour: both are answered by a new list.
            Err(error) => interrupted(told, kind, &error),
        }
        if over.recv_timeout(AGAIN) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn interrupted(told: &Sender<Input>, kind: Kind, error: &anyhow::Error) {
    let _ = told.send(Input::Interrupted(format!("{kind:?}: {error:#}")));
}

/// Answers when it is over.
fn follow(
    proxy: &Arc<ApiProxy>,
    kind: Kind,
    told: &Sender<Input>,
    over: &Receiver<()>,
) -> Result<()> {
    let path = kind.path();
    let mut list = proxy.json(path)?;
    let version = list["metadata"]["resourceVersion"].clone();
    let version = version.as_str().context("a list without version")?;
    let items = match list["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    if told.send(Input::Listed(kind, items)).is_err() {
        return Ok(());
    }
    let query = format!("{path}?watch=true&allowWatchBookmarks=true&resourceVersion={version}");
    let mut watch = proxy.watch(&query)?;
    loop {
        if !matches!(over.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
            return Ok(());
        }
        let Some(mut event) = watch.next_before(Instant::now() + LOOK_EVERY)? else {
            continue;
        };
        let object = event["object"].take();
        let input = match event["type"].as_str() {
            Some("BOOKMARK") => continue,
            Some("DELETED") => Input::Gone(kind, object),
            Some("ADDED" | "MODIFIED") => Input::Changed(kind, object),
            _ => anyhow::bail!("the watch says {object}"),
        };
        if told.send(input).is_err() {
            return Ok(());
        }
    }
}
