//! Ends what has an address that another node owns by now: this node was declared dead (fenced) while it lived.
//!
//! Two on the wire with one address are worse than a Pod that ends at once, and kubelet ends it only when it hears from the API
//! server. Only a sandbox that berth-ipamd names is stopped, by its id; it is the runtime that takes it off its networks. Nothing is
//! started: kubelet may try, and berth-ipamd refuses the address.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ipamd_daemon::{Tasks, chain};
use node_agent_cri::Runtime;
use proto_ipam::v1::LostAddress;
use tokio::sync::watch;
use tracing::{error, warn};

/// containerd kills the containers and calls the plugins: seconds, on a busy node.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// A sandbox that could not be stopped, or is still named, is stopped again after so long.
const AGAIN: Duration = Duration::from_secs(20);

/// An address that a sandbox here has and another node owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The address.
    pub(crate) address: String,
    /// Whose it is now.
    pub(crate) node: String,
    /// Who has it here.
    pub(crate) identity: String,
    /// The sandbox that has it.
    pub(crate) sandbox: String,
}

impl Lost {
    /// As berth-ipamd tells; none where it does not say which sandbox.
    pub(crate) fn told(told: &LostAddress) -> Option<Self> {
        let attachment = told.attachment.as_ref()?;
        (!attachment.sandbox.is_empty()).then(|| Self {
            address: told.address.clone(),
            node: told.node.clone(),
            identity: told.identity.clone(),
            sandbox: attachment.sandbox.clone(),
        })
    }
}

/// Starts to end them.
pub(crate) fn spawn_lost(tasks: &Tasks, runtime: Runtime, mut lost: watch::Receiver<Vec<Lost>>) {
    let token = tasks.token();
    tasks.spawn("lost addresses", async move {
        let mut tried = BTreeMap::new();
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                changed = lost.changed() => if changed.is_err() {
                    token.cancelled().await;
                    return;
                },
                () = tokio::time::sleep(AGAIN) => {}
            }
            let now = Instant::now();
            let named = lost.borrow_and_update().clone();
            for lost in due(&named, &mut tried, now) {
                tokio::select! {
                    () = token.cancelled() => return,
                    () = end(&runtime, lost) => {}
                }
            }
        }
    });
}

/// What is to be stopped now: each sandbox once, and again when it is still named after a while.
fn due<'a>(
    named: &'a [Lost],
    tried: &mut BTreeMap<String, Instant>,
    now: Instant,
) -> Vec<&'a Lost> {
    tried.retain(|sandbox, _| named.iter().any(|lost| lost.sandbox == *sandbox));
    let is_due = |lost: &&Lost| {
        let last = tried.get(&lost.sandbox);
        let is_due = last.is_none_or(|last| now.saturating_duration_since(*last) >= AGAIN);
        if is_due {
            tried.insert(lost.sandbox.clone(), now);
        }
        is_due
    };
    named.iter().filter(is_due).collect()
}

async fn end(runtime: &Runtime, lost: &Lost) {
    let Lost {
        address,
        node,
        identity,
        sandbox,
    } = lost;
    warn!(%sandbox, pod = %identity, ip = %address, owner = %node, "stopping a sandbox whose address another node owns");
    if let Err(error) = runtime.stop_sandbox(sandbox, STOP_DEADLINE).await {
        error!(%sandbox, pod = %identity, ip = %address, error = %chain(&error), "not stopped; its address is on the wire twice");
    }
}

#[cfg(test)]
mod tests {
    use proto_ipam::v1::Attachment;

    use super::*;

    fn lost(sandbox: &str, address: &str) -> Lost {
        Lost {
            address: address.into(),
            node: "n1".into(),
            identity: "default/db-0".into(),
            sandbox: sandbox.into(),
        }
    }

    #[test]
    fn each_sandbox_is_stopped_once_and_again_when_it_is_still_named() {
        let start = Instant::now();
        let named = [
            lost("s1", "10.0.0.1"),
            lost("s1", "10.1.0.1"),
            lost("s2", "10.0.0.2"),
        ];
        let mut tried = BTreeMap::new();
        let sandboxes =
            |due: Vec<&Lost>| due.iter().map(|it| it.sandbox.clone()).collect::<Vec<_>>();
        assert_eq!(sandboxes(due(&named, &mut tried, start)), ["s1", "s2"]);
        assert!(due(&named, &mut tried, start + AGAIN / 2).is_empty());
        assert_eq!(
            sandboxes(due(&named, &mut tried, start + AGAIN)),
            ["s1", "s2"]
        );
        // What is not named any more is forgotten, and would be stopped at once if it were named again.
        assert!(due(&[], &mut tried, start + AGAIN).is_empty());
        assert!(tried.is_empty());
    }

    #[test]
    fn nothing_is_stopped_that_is_not_named() {
        let told = |sandbox: &str| LostAddress {
            network: "external".into(),
            address: "10.0.0.1".into(),
            node: "n1".into(),
            identity: "default/db-0".into(),
            attachment: Some(Attachment {
                sandbox: sandbox.into(),
                ..Attachment::default()
            }),
        };
        assert_eq!(Lost::told(&told("s1")), Some(lost("s1", "10.0.0.1")));
        assert_eq!(Lost::told(&told("")), None);
        let silent = LostAddress {
            attachment: None,
            ..told("s1")
        };
        assert_eq!(Lost::told(&silent), None);
    }
}
