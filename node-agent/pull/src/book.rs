//! What is asked for and how far each image is: which attempts begin now, and what an attempt's end means.
//!
//! An image's status only goes forward until its entry is changed. Attempts never exceed what the entry allows, and never more
//! run at once than the object allows. The caller runs the attempts, tells every end, and stores [`Book::status`]. Points in time
//! are the wall's, because they are stored; a clock that is set back delays an attempt by [`BACK_OFF_AT_MOST`] at most.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proto_crd::image_pull::{
    DEFAULT_BACK_OFF_LIMIT, DEFAULT_PARALLELISM, DEFAULT_TIMEOUT_SECONDS, ImagePullSpec,
    ImagePullStatus, ImageStatus, MESSAGE_LIMIT, PullPhase, PullPolicy, PullProgress, PullReason,
    WantedImage,
};

use crate::failure::Failure;

/// Between the first attempt and the second; then twice as long each time.
pub const BACK_OFF: Duration = Duration::from_secs(1);

/// Between two attempts, at most.
pub const BACK_OFF_AT_MOST: Duration = Duration::from_secs(30);

/// Until a runtime is asked again that was away before anything was begun. That is no attempt.
pub const AWAY: Duration = Duration::from_secs(5);

/// What a node is asked for, and how far it is.
#[derive(Clone, Debug, Default)]
pub struct Book {
    generation: i64,
    parallelism: usize,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    wanted: WantedImage,
    status: ImageStatus,
    /// Of one that is pending: the runtime was away and is asked again then.
    not_before: Option<Timestamp>,
}

/// An attempt that begins now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which.
    pub key: Key,
    /// Whether the registry is asked where the node has the image.
    pub policy: PullPolicy,
    /// The secrets with credentials, by name.
    pub secrets: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
}

/// An image, as one version of its entry asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// As it was asked for.
    pub image: String,
    /// The version of the entry.
    pub request: String,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The node has it and had it before.
    Present {
        /// What its name stands for, where the runtime says so.
        digest: Option<String>,
    },
    /// The node has it now.
    Pulled {
        /// What its name stands for, where the runtime says so.
        digest: Option<String>,
        /// How long it took.
        took: Duration,
    },
    /// It did not succeed.
    Failed(Failure),
    /// Nothing was begun: the runtime is away. Why.
    Away(String),
}

/// What an end meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The node has the image.
    Succeeded,
    /// There will be another attempt.
    Repeated,
    /// It is given up.
    GivenUp,
    /// Nobody asks for it any more.
    Forgotten,
}

impl Book {
    /// What an object asks for, with what an earlier process wrote. An attempt that was under way then is owed.
    pub fn load(generation: i64, spec: &ImagePullSpec, prior: Option<&ImagePullStatus>) -> Self {
        let mut book = Self::default();
        book.follow(generation, spec);
        for entry in &mut book.entries {
            let images = prior.into_iter().flat_map(|prior| &prior.images);
            let mut known = images.filter(|status| entry.is_of(&key(status)));
            if let Some(status) = known.next() {
                entry.status = status.clone();
                if status.phase == PullPhase::Pulling {
                    entry.owe();
                }
            }
        }
        book
    }

    /// The object has changed. Answers the attempts to be stopped: nobody asks for them any more, or otherwise.
    pub fn follow(&mut self, generation: i64, spec: &ImagePullSpec) -> Vec<Key> {
        self.generation = generation;
        let parallelism = spec.parallelism.unwrap_or(DEFAULT_PARALLELISM).max(1);
        self.parallelism = usize::try_from(parallelism).unwrap_or(usize::MAX);
        let mut before = std::mem::take(&mut self.entries);
        for wanted in &spec.images {
            let key = Key {
                image: wanted.image.clone(),
                request: request(wanted),
            };
            let known = before.iter().position(|entry| entry.is_of(&key));
            let entry = match known {
                Some(place) => before.swap_remove(place),
                None => Entry::new(wanted.clone(), key),
            };
            self.entries.push(entry);
        }
        let running = before.into_iter().filter(Entry::is_running);
        running.map(|entry| key(&entry.status)).collect()
    }

    /// The attempts that begin now; they count as under way.
    pub fn start(&mut self, now: Timestamp) -> Vec<Attempt> {
        let running = self.entries.iter().filter(|entry| entry.is_running());
        let room = self.parallelism.saturating_sub(running.count());
        let due = self.entries.iter_mut().filter(|entry| entry.is_due(now));
        due.take(room).map(|entry| entry.start(now)).collect()
    }

    /// How much of an image has arrived. Of one that is not under way nothing is noted.
    pub fn progress(&mut self, key: &Key, progress: PullProgress) {
        if let Some(entry) = self.running(key) {
            entry.status.progress = Some(progress);
        }
    }

    /// An attempt has ended. Each wait is shortened by up to a quarter, by this chance of `u32::MAX`, so that many nodes do not
    /// ask a registry in step.
    pub fn end(&mut self, key: &Key, outcome: Outcome, now: Timestamp, chance: u32) -> Verdict {
        let Some(entry) = self.running(key) else {
            return Verdict::Forgotten;
        };
        entry.status.progress = None;
        match outcome {
            Outcome::Present { digest } => entry.succeed(digest, "the node had it", now),
            Outcome::Pulled { digest, took } => {
                let message = format!("pulled in {:.1} s", took.as_secs_f64());
                entry.succeed(digest, &message, now)
            }
            Outcome::Failed(failure) => entry.fail(&failure, now, chance),
            Outcome::Away(message) => {
                entry.owe();
                entry.status.reason = Some(PullReason::Runtime);
                entry.status.message = Some(cut(&message));
                entry.not_before = Some(later(now, shortened(AWAY, chance)));
                Verdict::Repeated
            }
        }
    }

    /// How long until an attempt is due, where there is room for one; nothing: only an end or a change makes one.
    pub fn next_start(&self, now: Timestamp) -> Option<Duration> {
        let running = self.entries.iter().filter(|entry| entry.is_running());
        if running.count() >= self.parallelism {
            return None;
        }
        let waits = self.entries.iter().filter_map(|entry| entry.wait_left(now));
        waits.min()
    }

    /// What is under way.
    pub fn under_way(&self) -> Vec<Key> {
        let running = self.entries.iter().filter(|entry| entry.is_running());
        running.map(|entry| key(&entry.status)).collect()
    }

    /// What is stored, and read by whoever waits.
    pub fn status(&self) -> ImagePullStatus {
        let count = |phase: PullPhase| {
            let entries = self.entries.iter();
            let all = entries.filter(|entry| entry.status.phase == phase).count();
            u32::try_from(all).unwrap_or(u32::MAX)
        };
        ImagePullStatus {
            observed_generation: self.generation,
            wanted: u32::try_from(self.entries.len()).unwrap_or(u32::MAX),
            pulling: count(PullPhase::Pulling),
            succeeded: count(PullPhase::Succeeded),
            failed: count(PullPhase::Failed),
            images: self
                .entries
                .iter()
                .map(|entry| entry.status.clone())
                .collect(),
        }
    }

    fn running(&mut self, key: &Key) -> Option<&mut Entry> {
        let mut entries = self.entries.iter_mut();
        entries.find(|entry| entry.is_running() && entry.is_of(key))
    }
}

impl Entry {
    fn new(wanted: WantedImage, key: Key) -> Self {
        Self {
            wanted,
            status: ImageStatus {
                image: key.image,
                request: key.request,
                ..ImageStatus::default()
            },
            not_before: None,
        }
    }

    fn is_of(&self, key: &Key) -> bool {
        self.status.image == key.image && self.status.request == key.request
    }

    fn is_running(&self) -> bool {
        self.status.phase == PullPhase::Pulling
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.wait_left(now) == Some(Duration::ZERO)
    }

    /// Until it may begin; nothing: it is under way or done. Longer than any wait is a clock that was set back.
    fn wait_left(&self, now: Timestamp) -> Option<Duration> {
        match self.status.phase {
            PullPhase::Pending | PullPhase::BackOff => {
                let next = self.status.next_attempt_at.as_ref().map(|next| next.0);
                let next = next.or(self.not_before);
                let left = next.map_or(SignedDuration::ZERO, |next| next.duration_since(now));
                let left = Duration::try_from(left).unwrap_or_default();
                Some(if left > BACK_OFF_AT_MOST {
                    Duration::ZERO
                } else {
                    left
                })
            }
            PullPhase::Pulling | PullPhase::Succeeded | PullPhase::Failed => None,
        }
    }

    fn start(&mut self, now: Timestamp) -> Attempt {
        self.not_before = None;
        let status = &mut self.status;
        let is_owed = status.phase == PullPhase::Pending && status.attempts > 0;
        if !is_owed {
            status.attempts = status.attempts.saturating_add(1);
        }
        status.phase = PullPhase::Pulling;
        status.next_attempt_at = None;
        status.started_at.get_or_insert(Time(now));
        let seconds = self.wanted.timeout_seconds;
        Attempt {
            key: key(status),
            policy: self.wanted.pull_policy.unwrap_or_default(),
            secrets: self.wanted.pull_secrets.clone(),
            timeout: Duration::from_secs(seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS).into()),
        }
    }

    /// The attempt that was counted was not made, or not to its end, by no fault of the image: it waits for its turn again.
    fn owe(&mut self) {
        self.status.phase = PullPhase::Pending;
        self.status.progress = None;
    }

    fn succeed(&mut self, digest: Option<String>, message: &str, now: Timestamp) -> Verdict {
        self.status.phase = PullPhase::Succeeded;
        self.status.reason = None;
        self.status.message = Some(cut(message));
        self.status.digest = digest;
        self.status.completed_at = Some(Time(now));
        Verdict::Succeeded
    }

    fn fail(&mut self, failure: &Failure, now: Timestamp, chance: u32) -> Verdict {
        let limit = self.wanted.back_off_limit.unwrap_or(DEFAULT_BACK_OFF_LIMIT);
        let attempts = self.status.attempts;
        if failure.is_repeated && attempts <= limit {
            let wait = shortened(back_off(attempts), chance);
            return self.wait(failure.reason, &failure.message, wait, now);
        }
        let message = match (failure.is_repeated, attempts) {
            (true, 2..) => format!("given up after {attempts} attempts: {}", failure.message),
            _ => failure.message.clone(),
        };
        self.status.phase = PullPhase::Failed;
        self.status.reason = Some(failure.reason);
        self.status.message = Some(cut(&message));
        self.status.completed_at = Some(Time(now));
        Verdict::GivenUp
    }

    fn wait(
        &mut self,
        reason: PullReason,
        message: &str,
        wait: Duration,
        now: Timestamp,
    ) -> Verdict {
        self.status.phase = PullPhase::BackOff;
        self.status.reason = Some(reason);
        self.status.message = Some(cut(message));
        self.status.next_attempt_at = Some(Time(later(now, wait)));
        Verdict::Repeated
    }
}

fn key(status: &ImageStatus) -> Key {
    Key {
        image: status.image.clone(),
        request: status.request.clone(),
    }
}

/// Until the next attempt, after so many.
fn back_off(attempts: u32) -> Duration {
    // 2^5 is more than the longest wait.
    let doublings = attempts.saturating_sub(1).min(5);
    (BACK_OFF * (1 << doublings)).min(BACK_OFF_AT_MOST)
}

fn shortened(wait: Duration, chance: u32) -> Duration {
    wait.saturating_sub(wait / 4 * (chance >> 16) / 65_536)
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// A text that the API server takes.
fn cut(message: &str) -> String {
    if message.chars().count() <= MESSAGE_LIMIT {
        return message.to_owned();
    }
    let kept = message.chars().take(MESSAGE_LIMIT - 1);
    kept.chain(['…']).collect()
}

/// A number of an entry that no other version of it has (64 bits, FNV-1a). What is not written counts as its default, so that the
/// API server's filling in is no change.
fn request(wanted: &WantedImage) -> String {
    let timeout = wanted.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    let limit = wanted.back_off_limit.unwrap_or(DEFAULT_BACK_OFF_LIMIT);
    let policy = match wanted.pull_policy.unwrap_or_default() {
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Always => "Always",
    };
    let text = format!(
        "{}\n{policy}\n{}\n{timeout}\n{limit}\n{}",
        wanted.image,
        wanted.pull_secrets.join(","),
        wanted.requested_by.as_deref().unwrap_or_default(),
    );
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests;
