//! How often the status is written: a change soon, mere progress seldom, after a failure less and less often.

use std::time::Duration;

use proto_crd::image_pull::ImagePullStatus;

/// Between two writes of which the second tells a change. Whoever waits for an image waits no longer for this.
pub const CHANGE_EVERY: Duration = Duration::from_secs(1);

/// Between two writes of which the second tells progress only.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The longest wait after failures; the first is [`CHANGE_EVERY`].
pub const FAILED_AT_MOST: Duration = Duration::from_secs(60);

/// What a status tells that another does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    Nothing,
    /// How much has arrived.
    Progress,
    /// More than that.
    Change,
}

/// When the next write may be. Time is told as what has passed since any fixed moment, by a clock that only goes forward.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    last: Option<Duration>,
    failures: u32,
}

impl Pace {
    /// Something was written.
    pub const fn written(&mut self, now: Duration) {
        self.last = Some(now);
        self.failures = 0;
    }

    /// It could not be.
    pub const fn failed(&mut self, now: Duration) {
        self.last = Some(now);
        self.failures = self.failures.saturating_add(1);
    }

    /// When this may be written; nothing: there is no need.
    pub fn due(&self, news: News, now: Duration) -> Option<Duration> {
        let wait = match news {
            News::Nothing => return None,
            News::Progress => PROGRESS_EVERY,
            News::Change => CHANGE_EVERY,
        };
        let wait = match self.failures {
            0 => wait,
            // 2^7 halved is more than the longest wait.
            failures => wait
                .max(CHANGE_EVERY * (1 << failures.min(7)) / 2)
                .min(FAILED_AT_MOST),
        };
        Some(self.last.map_or(now, |last| last + wait))
    }
}

/// What the second tells that the first does not.
pub fn news(written: Option<&ImagePullStatus>, now: &ImagePullStatus) -> News {
    let Some(written) = written else {
        return News::Change;
    };
    if written == now {
        return News::Nothing;
    }
    let bare = |status: &ImagePullStatus| {
        let mut status = status.clone();
        for image in &mut status.images {
            image.progress = None;
        }
        status
    };
    if bare(written) == bare(now) {
        News::Progress
    } else {
        News::Change
    }
}

#[cfg(test)]
mod tests {
    use proto_crd::image_pull::{ImageStatus, PullPhase, PullProgress};

    use super::*;

    fn status(received_bytes: i64, phase: PullPhase) -> ImagePullStatus {
        let progress = PullProgress {
            received_bytes,
            known_bytes: 9,
        };
        ImagePullStatus {
            images: vec![ImageStatus {
                phase,
                progress: Some(progress),
                ..ImageStatus::default()
            }],
            ..ImagePullStatus::default()
        }
    }

    #[test]
    fn progress_alone_is_less_than_a_change() {
        let first = status(1, PullPhase::Pulling);
        assert_eq!(news(None, &first), News::Change);
        assert_eq!(news(Some(&first), &first), News::Nothing);
        assert_eq!(
            news(Some(&first), &status(2, PullPhase::Pulling)),
            News::Progress
        );
        assert_eq!(
            news(Some(&first), &status(1, PullPhase::Succeeded)),
            News::Change
        );
    }

    #[test]
    fn a_change_is_written_soon_and_progress_every_few_seconds() {
        let (start, mut pace) = (Duration::from_secs(1000), Pace::default());
        assert_eq!(pace.due(News::Nothing, start), None);
        assert_eq!(pace.due(News::Progress, start), Some(start));
        pace.written(start);
        assert_eq!(pace.due(News::Change, start), Some(start + CHANGE_EVERY));
        assert_eq!(
            pace.due(News::Progress, start),
            Some(start + PROGRESS_EVERY)
        );
    }

    #[test]
    fn failures_are_repeated_less_and_less_often() {
        let (start, mut pace) = (Duration::from_secs(1000), Pace::default());
        let mut waits = Vec::new();
        for _ in 0..8 {
            pace.failed(start);
            let due = pace.due(News::Change, start).unwrap();
            waits.push(due.as_secs() - start.as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        pace.written(start);
        assert_eq!(pace.due(News::Change, start), Some(start + CHANGE_EVERY));
    }
}
