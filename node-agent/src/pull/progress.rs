//! Looks every few seconds how much of an image has arrived, while it is pulled. That it cannot be said is nobody's failure.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use ipamd_daemon::chain;
use node_agent_cri::{CallRuntimeError, Runtime};
use node_agent_pull::book::Key;
use node_agent_pull::progress::{MANIFEST_AT_MOST, MANIFESTS_AT_MOST, Manifest, arrived};
use node_agent_pull::reference::Reference;
use proto_crd::image_pull::PullProgress;
use tracing::debug;

use super::attempt::Site;
use super::keeper::Notice;

/// As often as progress alone is written.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The runtime looks into its store for it.
const LOOK_DEADLINE: Duration = Duration::from_secs(2);

/// Tells it until it is dropped.
pub(super) async fn tell(site: &Site, reference: &Reference, key: &Key) -> Infallible {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match look(&site.runtime, reference).await {
            Ok(Some(progress)) => {
                let notice = Notice::Arrived(key.clone(), progress);
                // Nobody listens any more only when the process is on its way out.
                let _ = site.notices.send(notice).await;
            }
            Ok(None) => {}
            Err(error) => debug!(image = key.image, error = %chain(&error), "progress not known"),
        }
    }
}

async fn look(
    runtime: &Runtime,
    reference: &Reference,
) -> Result<Option<PullProgress>, CallRuntimeError> {
    let transfers = runtime.transfers(LOOK_DEADLINE).await?;
    if transfers.is_empty() {
        return Ok(None);
    }
    let contents = runtime.contents(reference.host(), reference.path(), LOOK_DEADLINE);
    let contents = contents.await?;
    let mut manifests = Vec::new();
    let small = contents
        .iter()
        .filter(|it| it.size_bytes <= MANIFEST_AT_MOST);
    for content in small.take(MANIFESTS_AT_MOST) {
        let bytes = runtime.content(content, LOOK_DEADLINE).await?;
        manifests.extend(Manifest::parse(&bytes));
    }
    let there = contents.into_iter().map(|it| (it.digest, it.size_bytes));
    let arriving = transfers
        .into_iter()
        .map(|it| (it.digest, it.received_bytes));
    let (there, arriving): (BTreeMap<_, _>, BTreeMap<_, _>) = (there.collect(), arriving.collect());
    Ok(arrived(&manifests, &there, &arriving))
}
