//! Following a watch of what is this node's: how it goes on after failures, and who hears of them. Has no end of its own.

use kube::runtime::watcher::{Error, Event};
use node_agent_controllers::Paced;
use tokio_stream::Stream;
use tracing::{debug, warn};

/// Hands on every event; tries on at a growing pace ([`Paced`]), and tells of a row of failures once.
///
/// # Cancellation
/// Safe: each event is taken whole or not at all.
pub(crate) async fn follow<T>(
    what: &'static str,
    events: impl Stream<Item = Result<Event<T>, Error>> + Send,
    mut take: impl FnMut(Event<T>),
) {
    let mut events = Paced::new(events);
    let mut is_failing = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                is_failing &= matches!(event, Event::Init);
                take(event);
            }
            Err(error) if is_failing => debug!(what, %error, "watch failed again"),
            Err(error) => {
                is_failing = true;
                warn!(what, %error, "watch failed; trying on");
            }
        }
    }
}
