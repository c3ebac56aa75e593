//! Following a watch: when it lists, how it goes on after failures, who hears of them.
//!
//! **Always holds:** lists begin spread over half a second, and are tried again at a growing pace ([`Paced`]), so that an API server
//! that starts is not asked for everything at once. A row of failures is told once.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use kube::runtime::watcher::{Config, Error, Event};
use tokio_stream::Stream;
use tracing::{debug, warn};

use crate::metrics::ControllersMetrics;
use crate::paced::Paced;

/// Objects of one answer of a list: some hundred kilobytes.
const PAGE: u32 = 500;

/// How every watch of the controllers lists: in pages.
pub(crate) fn config() -> Config {
    Config::default().page_size(PAGE)
}

/// Follows a watch; has no end of its own.
///
/// # Cancellation
/// Safe: each event is taken whole or not at all.
pub(crate) async fn follow<T>(
    kind: &'static str,
    events: impl Stream<Item = Result<Event<T>, Error>> + Send,
    metrics: &ControllersMetrics,
    mut take: impl FnMut(Event<T>),
) {
    // Several leaders in a row, or several watches of one, must not list all at once after an API server's restart.
    tokio::time::sleep(Duration::from_millis(spread())).await;
    let mut events = Paced::new(events);
    let mut is_told = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if matches!(event, Event::Init) {
                    metrics.listed();
                } else {
                    is_told = false;
                }
                take(event);
            }
            Err(error) if is_told => debug!(kind, error = %root(&error), "watch failed again"),
            Err(error) => {
                warn!(kind, error = %root(&error), "watch failed; trying on");
                is_told = true;
            }
        }
    }
}

/// An event about what is kept of an object.
pub(crate) fn kept<T, K, V>(event: &Event<T>, keep: impl Fn(&T) -> (K, V)) -> Event<(K, V)> {
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(keep(object)),
        Event::Apply(object) => Event::Apply(keep(object)),
        Event::Delete(object) => Event::Delete(keep(object)),
    }
}

/// Up to half a second.
fn spread() -> u64 {
    RandomState::new().build_hasher().finish() % 500
}

/// The innermost cause. Errors of this client print their causes themselves: the chain would say everything twice.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
