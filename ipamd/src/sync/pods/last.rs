//! Pods that say something of their addresses, in a file of the store's folder: so that they keep identity and policy when the
//! daemon starts while the API server is away.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipamd_daemon::chain;
use proto_ids::NodeName;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::facts::PodFacts;
use super::view::PodsView;
use crate::sync::sealed::{SealedFile, StoreSealedError};

/// The file's name in the store's folder.
const NAME: &str = "pods";
const VERSION: u32 = 1;
/// A workload that is scaled up is one write, not one for each of its Pods.
const PAUSE: Duration = Duration::from_secs(3);

/// The file.
#[derive(Debug)]
pub(super) struct PodsFile {
    file: SealedFile,
    node: NodeName,
}

#[derive(Serialize, Deserialize)]
struct Content<P> {
    version: u32,
    node: NodeName,
    pods: Vec<P>,
}

impl PodsFile {
    pub(super) const fn new(folder: PathBuf, node: NodeName) -> Self {
        Self {
            file: SealedFile::new(folder, NAME),
            node,
        }
    }

    /// What the file says; nothing where it is of another node or cannot be used.
    pub(super) fn load(&self) -> Vec<PodFacts> {
        let content = self.file.load::<Content<PodFacts>>();
        let ours =
            content.filter(|content| content.version == VERSION && content.node == self.node);
        ours.map(|content| content.pods).unwrap_or_default()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the disk refuses; what the file said before stays.
    fn store(&self, pods: &[Arc<PodFacts>]) -> Result<(), StoreSealedError> {
        self.file.store(&Content {
            version: VERSION,
            node: self.node.clone(),
            pods: pods.iter().map(AsRef::as_ref).collect::<Vec<&PodFacts>>(),
        })
    }
}

/// Writes what is to be remembered whenever that is another, until the token is cancelled, and then what is still to be written.
/// When this is called, the file says what the view says.
pub(super) fn remember(
    file: PodsFile,
    mut view: watch::Receiver<PodsView>,
    token: CancellationToken,
) -> impl Future<Output = ()> {
    let file = Arc::new(file);
    let mut written = telling(&view.borrow_and_update());
    async move {
        let mut ending = false;
        while !ending {
            let changed = token.run_until_cancelled(change(&mut view)).await;
            ending = changed.is_none();
            let new = telling(&view.borrow_and_update());
            if new != written && store(&file, new.clone()).await {
                written = new;
            }
        }
    }
}

/// Something changed a while ago. Nobody changes anything any more when the channel is closed.
async fn change(view: &mut watch::Receiver<PodsView>) {
    if view.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep(PAUSE).await;
}

/// Those that say more than their name.
fn telling(view: &PodsView) -> Vec<Arc<PodFacts>> {
    let pods = view.pods().filter(|facts| facts.is_telling());
    pods.cloned().collect()
}

/// Whether the disk took it; it is tried again at the next change.
async fn store(file: &Arc<PodsFile>, pods: Vec<Arc<PodFacts>>) -> bool {
    let file = Arc::clone(file);
    let problem = match tokio::task::spawn_blocking(move || file.store(&pods)).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => chain(&error),
        Err(error) => error.to_string(),
    };
    warn!(error = problem, "what Pods say cannot be remembered");
    false
}

#[cfg(test)]
mod tests {
    use ipamd_daemon::Tasks;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn file(folder: &tempfile::TempDir, node: &str) -> PodsFile {
        PodsFile::new(folder.path().join("store"), node.parse().unwrap())
    }

    fn facts(name: &str, hold: &str) -> PodFacts {
        let hold = ("berth.dev/hold".to_owned(), hold.to_owned());
        PodFacts::parse(&ObjectMeta {
            namespace: Some("prod".to_owned()),
            name: Some(name.to_owned()),
            uid: Some("u1".to_owned()),
            annotations: Some([hold].into()),
            ..ObjectMeta::default()
        })
        .unwrap()
    }

    #[test]
    fn pods_are_stored_and_read_back_on_their_own_node() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(file(&folder, "n1").load(), []);
        let facts = facts("db-0", "1h");
        file(&folder, "n1")
            .store(&[Arc::new(facts.clone())])
            .unwrap();
        assert!(folder.path().join("store/pods").is_file());
        assert_eq!(file(&folder, "n2").load(), []);
        assert_eq!(file(&folder, "n1").load(), [facts]);
        file(&folder, "n1").store(&[]).unwrap();
        assert_eq!(file(&folder, "n1").load(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_written_together_after_a_pause_and_the_last_ones_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (publish, view) = watch::channel(PodsView::default());
        let put = |pods: &[(&str, &str)]| {
            let pods = pods.iter().map(|&(name, hold)| facts(name, hold));
            publish.send_replace(PodsView::remembered(pods.collect()));
        };
        let names = || {
            let pods = file(&folder, "n1").load();
            let names = pods.iter().map(|facts| facts.pod.name().to_owned());
            names.collect::<Vec<_>>()
        };
        let (tasks, _supervisor) = Tasks::new();
        tasks.spawn("file", remember(file(&folder, "n1"), view, tasks.token()));
        put(&[("db-0", "1h")]);
        put(&[("db-0", "1h"), ("web", ""), ("db-1", "1h")]);
        sleep(PAUSE / 2).await;
        assert_eq!(names(), [""; 0]);
        sleep(PAUSE).await;
        assert_eq!(names(), ["db-0", "db-1"]);
        put(&[("db-1", "1h")]);
        tasks.stop(PAUSE).await.unwrap();
        assert_eq!(names(), ["db-1"]);
    }
}
