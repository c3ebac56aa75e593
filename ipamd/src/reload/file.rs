//! The configuration file, looked at every two seconds: a changed content asks for a reload.
//!
//! By content, not by inotify: a `ConfigMap`'s file is a link into a folder that is swapped, an editor's a new file under the old
//! name, and a few kilobytes are read in no time. A content counts when it is seen twice: an editor may be half-way through.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

const PERIOD: Duration = Duration::from_secs(2);

/// What was seen of the file. Pure.
#[derive(Debug, Default)]
struct Seen {
    /// What was applied or refused.
    dealt: Option<u32>,
    /// What was seen last.
    last: Option<u32>,
}

impl Seen {
    /// The file has this content now: whether it is to be read again.
    fn look(&mut self, content: u32) -> bool {
        let settled = self.last == Some(content);
        self.last = Some(content);
        settled && self.dealt != Some(content)
    }
}

/// Watches one file.
#[derive(Debug)]
pub(crate) struct FileWatch {
    path: PathBuf,
    seen: Seen,
    readable: bool,
}

impl FileWatch {
    /// Watches a file that will be read right after this.
    pub(crate) fn new(path: &Path) -> Self {
        let dealt = content(path);
        Self {
            path: path.to_owned(),
            seen: Seen { dealt, last: dealt },
            readable: true,
        }
    }

    /// Returns when the file has another content than the last one dealt with.
    ///
    /// # Cancellation
    /// Safe: what changes meanwhile is seen by the next call.
    pub(super) async fn changed(&mut self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let content = tokio::fs::read(&self.path).await;
            self.tell(content.as_ref().err());
            if let Ok(bytes) = content
                && self.seen.look(crc32fast::hash(&bytes))
            {
                return;
            }
        }
    }

    /// What the file has now; to be asked for before the file is read.
    pub(super) fn content(&self) -> Option<u32> {
        content(&self.path)
    }

    /// This content was applied, or refused for good.
    pub(super) const fn dealt_with(&mut self, content: Option<u32>) {
        self.seen.dealt = content;
    }

    /// Says once that the file cannot be read. What is in force stays.
    fn tell(&mut self, error: Option<&io::Error>) {
        if let Some(error) = error.filter(|_| self.readable) {
            warn!(path = %self.path.display(), %error, "configuration cannot be read; it stays as it is");
        }
        self.readable = error.is_none();
    }
}

fn content(path: &Path) -> Option<u32> {
    let bytes = std::fs::read(path).ok()?;
    Some(crc32fast::hash(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_counts_when_it_is_seen_twice_and_once() {
        let mut seen = Seen {
            dealt: Some(1),
            last: Some(1),
        };
        assert!(!seen.look(1));
        assert!(!seen.look(2), "it may be half of a file");
        assert!(!seen.look(3));
        assert!(seen.look(3));
        assert!(seen.look(3), "until it is dealt with");
        seen.dealt = seen.last;
        assert!(!seen.look(3));
        assert!(!seen.look(1) && seen.look(1), "back to what it was");
    }
}
