//! Whether the process is ready: all its roles are.

use std::sync::Arc;
use std::time::Duration;

use ipamd_daemon::Tasks;
use ipamd_daemon::readiness::{Readiness, ReadinessWatch, Ready};

/// Nobody is waiting for it sooner: kubelet asks every five seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Starts to follow the roles.
pub(crate) fn spawn_readiness(tasks: &Tasks, parts: Vec<ReadinessWatch>, whole: Arc<Readiness>) {
    let token = tasks.token();
    tasks.spawn("readiness", async move {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                _ = tick.tick() => whole.set(together(&parts)),
            }
        }
    });
}

/// The first that is not ready says why.
fn together(parts: &[ReadinessWatch]) -> Ready {
    let parts = parts.iter().map(ReadinessWatch::now);
    parts
        .into_iter()
        .find(|ready| *ready != Ready::Yes)
        .unwrap_or(Ready::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_roles_must_be_ready() {
        let (one, other) = (Readiness::new("one"), Readiness::new("other"));
        let parts = [one.watch(), other.watch()];
        assert_eq!(together(&parts), Ready::No("one".to_owned()));
        one.set(Ready::Yes);
        assert_eq!(together(&parts), Ready::No("other".to_owned()));
        other.set(Ready::Yes);
        assert_eq!(together(&parts), Ready::Yes);
    }
}
