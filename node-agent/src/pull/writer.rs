//! The task that writes the status: when [`Pace`] says so, what is true by then. With the API server away it tries on.

use std::time::{Duration, Instant};

use ipamd_daemon::{Tasks, chain};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource as _};
use node_agent_pull::pace::{News, Pace, news};
use proto_crd::image_pull::{ImagePull, ImagePullStatus};
use proto_crd::names;
use serde_json::json;
use tokio::sync::watch;
use tracing::{info, warn};

const DEADLINE: Duration = Duration::from_secs(15);

/// What is to be written, and of which object: one that was made again has another UID, and another status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) uid: String,
    pub(super) status: ImagePullStatus,
}

/// The object in the API.
pub(super) struct Writer {
    api: Api<ImagePull>,
    node: String,
}

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
enum WriteStatusError {
    #[error("writing the status of ImagePull {name}")]
    Apply {
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error(
        "writing the status of ImagePull {name}: the API server did not answer within {DEADLINE:?}"
    )]
    Silent { name: String },
}

impl Writer {
    pub(super) fn new(client: Client, namespace: &str, node: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            node: node.to_owned(),
        }
    }

    /// Never makes the object: a status alone cannot.
    async fn write(&self, stand: &Stand) -> Result<(), WriteStatusError> {
        let name = &self.node;
        let patch = json!({
            "apiVersion": ImagePull::api_version(&()),
            "kind": ImagePull::kind(&()),
            "metadata": {"name": name, "uid": stand.uid},
            "status": stand.status,
        });
        // Nobody else writes what is ours: a conflict could only be with an older field manager of our own.
        let manager = PatchParams::apply(names::AGENT_FIELD_MANAGER).force();
        let patch = Patch::Apply(patch);
        let writing = self.api.patch_status(name, &manager, &patch);
        match tokio::time::timeout(DEADLINE, writing).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(source)) => Err(WriteStatusError::Apply {
                name: name.clone(),
                source,
            }),
            Err(_) => Err(WriteStatusError::Silent { name: name.clone() }),
        }
    }
}

/// Starts the task.
pub(super) fn spawn_writer(
    tasks: &Tasks,
    writer: Writer,
    mut told: watch::Receiver<Option<Stand>>,
) {
    let token = tasks.token();
    tasks.spawn("pull status", async move {
        // Nothing is lost by ending in the middle: the next process writes again.
        tokio::select! {
            () = token.cancelled() => {}
            () = write_all(&writer, &mut told) => token.cancelled().await,
        }
    });
}

async fn write_all(writer: &Writer, told: &mut watch::Receiver<Option<Stand>>) {
    let (origin, mut pace) = (Instant::now(), Pace::default());
    let (mut written, mut warned) = (None::<Stand>, String::new());
    loop {
        let stand = told.borrow_and_update().clone();
        let news = match (&stand, &written) {
            (None, _) => News::Nothing,
            (Some(stand), Some(old)) if old.uid == stand.uid => {
                news(Some(&old.status), &stand.status)
            }
            (Some(stand), _) => news(None, &stand.status),
        };
        let due = pace.due(news, origin.elapsed());
        let (Some(stand), Some(due)) = (stand, due) else {
            if told.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            () = tokio::time::sleep_until((origin + due).into()) => {}
            changed = told.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        match writer.write(&stand).await {
            Ok(()) => {
                pace.written(origin.elapsed());
                if !std::mem::take(&mut warned).is_empty() {
                    info!("status of ImagePull written");
                }
                written = Some(stand);
            }
            Err(error) => {
                pace.failed(origin.elapsed());
                let text = chain(&error);
                if text != warned {
                    warn!(error = text, "status of ImagePull not written; trying on");
                    warned = text;
                }
            }
        }
    }
}
