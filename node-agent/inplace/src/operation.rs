//! How far a Pod's upgrade or deletion is: the annotation [`names::LOSSLESS_ANNOTATION`], from which alone, with the Pod's
//! own signals, every leader goes on.
//!
//! Always holds: a Pod has one operation at a time. What a later version wrote is kept as it is: a field that is not known
//! is ignored, an operation that cannot be read is left alone and told.

use std::collections::BTreeMap;
use std::fmt;

use proto_crd::names;
use proto_crd::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Annotation of a Pod, set by a human with a release's id as its value: where its traffic cannot be led away in that release,
/// its containers are replaced all the same.
pub const FORCE_DRAIN_ANNOTATION: &str = "berth.dev/force-drain";

/// What is done with a Pod, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// What is done.
    pub op: Kind,
    /// For which release.
    pub release_id: String,
    /// The revision it is to have, by its hash; of a Pod that is taken away, the one that it has.
    pub to_revision: String,
    /// How far it is.
    pub state: State,
    /// Since when it is there; while it is being drained, since it began to be.
    pub since: Timestamp,
    /// How often its traffic was begun to be led away.
    #[serde(default)]
    pub attempts: u32,
    /// The number of the leader's term that wrote this. A leader of an earlier one leaves the Pod alone.
    #[serde(default)]
    pub term: u64,
    /// Each container that is replaced: the id of the one that ran before; empty, where none did.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<String, String>,
    /// Those of them that the agent stops, because kubelet sees no difference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<String>,
    /// What must be the same afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Its traffic was not led away in time, and that is to be no obstacle.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Why it was given up; the Pod serves, and is left alone until somebody decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// What is done with a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Its containers are replaced in place.
    Upgrade,
    /// It is deleted, and made anew under its name.
    Recreate,
    /// It is deleted, because there are to be fewer.
    Remove,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// It serves.
    Serving,
    /// Its node gets the images. Nothing is touched. Told, never written: it follows from what its node is asked for.
    PrePull,
    /// It is held unready, and its traffic is led away.
    Draining,
    /// No traffic is led to it any more. Passed through.
    Detached,
    /// What was on its way to it comes to an end. Told; written only where its traffic was not led away and that is no obstacle.
    Quiet,
    /// It was patched, or deleted: its containers are replaced.
    Upgrading,
    /// All run anew, and have to stay ready. Told, never written: it follows from the containers.
    Verifying,
    /// Its containers are ready, and its traffic is led back. Told; written only with why it was given up.
    Attaching,
}

impl State {
    /// Whether nothing was done yet that cannot be taken back.
    pub const fn is_before_patch(self) -> bool {
        matches!(
            self,
            Self::Serving | Self::PrePull | Self::Draining | Self::Detached | Self::Quiet
        )
    }

    /// Whether the Pod is held unready.
    pub const fn is_held(self) -> bool {
        matches!(
            self,
            Self::Draining | Self::Detached | Self::Quiet | Self::Upgrading | Self::Verifying
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a Pod keeps over an upgrade.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its addresses.
    #[serde(default)]
    pub ips: Vec<String>,
    /// Its sandbox, as the agent told it; empty: it did not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
}

/// Why something does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, and what to do; for people.
    pub message: String,
}

/// Why something does not go on, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// Its node did not get an image.
    ImagePullFailed,
    /// Its node did not get an image in time.
    PrePullTimeout,
    /// Its traffic was not led away in time.
    DrainTimeout,
    /// It was not up in time after its patch.
    ProgressDeadlineExceeded,
    /// Its node's agent could not restart a container.
    RestartFailed,
    /// It has another address than before.
    IdentityLost,
    /// Its traffic was not led back in time.
    AttachTimeout,
    /// The change cannot be made in place, and Pods are not to be made anew.
    NotInPlace,
    /// Its annotation cannot be read.
    Unreadable,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why an annotation is no operation.
#[derive(Debug, thiserror::Error)]
#[error(
    "the Pod's annotation {} cannot be read; if no newer Berth wrote it, remove it",
    names::LOSSLESS_ANNOTATION
)]
pub struct ParseOperationError(#[source] serde_json::Error);

impl Operation {
    /// What an annotation says.
    ///
    /// # Errors
    /// [`ParseOperationError`]: it is not of our making, or a later version's.
    pub fn parse(text: &str) -> Result<Self, ParseOperationError> {
        serde_json::from_str(text).map_err(ParseOperationError)
    }

    /// The annotation's text.
    pub fn text(&self) -> String {
        // Texts, numbers and times: there is nothing that JSON could not say.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same at another state, from now on.
    #[must_use]
    pub fn at(&self, state: State, now: Timestamp) -> Self {
        Self {
            state,
            // Kept in whole seconds: rounded down, a time would seem to have passed that has not.
            since: now.rounded_up(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation() -> Operation {
        Operation {
            op: Kind::Upgrade,
            release_id: "6c9f-7".to_owned(),
            to_revision: "6c9f".to_owned(),
            state: State::Draining,
            since: Timestamp::from_unix_milliseconds(1_000),
            attempts: 1,
            term: 3,
            before: BTreeMap::new(),
            restart: Vec::new(),
            identity: None,
            forced: false,
            failure: None,
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_is_short() {
        let text = operation().text();
        assert_eq!(
            text,
            r#"{"op":"Upgrade","releaseId":"6c9f-7","toRevision":"6c9f","state":"Draining","since":"1970-01-01T00:00:01Z","attempts":1,"term":3}"#
        );
        assert_eq!(Operation::parse(&text).unwrap(), operation());
    }

    #[test]
    fn fields_of_a_later_version_are_ignored_and_other_states_are_not_guessed() {
        let later = operation()
            .text()
            .replace("\"op\":", "\"cell\":\"a\",\"op\":");
        assert_eq!(Operation::parse(&later).unwrap(), operation());
        let other = operation().text().replace("Draining", "Warming");
        let refused = Operation::parse(&other).unwrap_err().to_string();
        assert!(refused.contains("remove it"), "{refused}");
    }

    #[test]
    fn a_time_that_is_kept_in_whole_seconds_is_never_too_early() {
        let now = Timestamp::from_unix_milliseconds(1_001);
        assert_eq!(
            operation()
                .at(State::Quiet, now)
                .since
                .since(now)
                .as_millis(),
            999
        );
    }
}
