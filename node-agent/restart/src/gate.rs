//! Who holds a Pod unready: the condition of the readiness gate `berth.dev/ServiceReady`, its message a JSON list of holders.
//!
//! Always holds: the condition is True only when nobody holds the Pod; a holder enters and leaves by its own name and touches
//! no other. A message that is no such list is somebody else's: it is left alone. Whoever writes reads the Pod live first, and
//! writes with its version as a precondition.

use proto_crd::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The condition's reason while somebody holds the Pod.
pub const HELD: &str = "Held";
/// The condition's reason while nobody does.
pub const FREE: &str = "Free";

/// Holders of one Pod at a time: more are a mistake that has to stop growing.
const MOST_HOLDERS: usize = 32;

/// Somebody who holds a Pod unready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Kind and name of what it is held for, such as `ContainerRestart/shop-1`.
    pub holder: String,
    /// Since when.
    pub since: Timestamp,
}

/// All who hold a Pod unready, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders(Vec<Holder>);

/// The condition as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition<'a> {
    /// Its status: `True`, `False` or `Unknown`.
    pub status: &'a str,
    /// Its message.
    pub message: &'a str,
}

/// Why it is not known who holds a Pod, or nobody more can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// The condition is not of our making.
    #[error(
        "the Pod's condition berth.dev/ServiceReady is False with a message that is no list of holders ({message:?}): somebody set it by hand; set it to True"
    )]
    Foreign {
        /// What it says, cut short.
        message: String,
    },
    /// Too many.
    #[error(
        "{MOST_HOLDERS} hold the Pod unready already; look at its condition berth.dev/ServiceReady for those that have ended"
    )]
    TooMany,
}

impl Holders {
    /// Those a condition names; nobody where there is none.
    ///
    /// # Errors
    /// [`HoldError::Foreign`]: it holds the Pod unready and does not say for whom.
    pub fn of(condition: Option<Condition<'_>>) -> Result<Self, HoldError> {
        let Some(condition) = condition.filter(|condition| condition.status != "True") else {
            return Ok(Self::default());
        };
        if condition.message.is_empty() {
            return Ok(Self::default());
        }
        let holders = serde_json::from_str(condition.message);
        holders.map(Self).map_err(|_| HoldError::Foreign {
            message: condition.message.chars().take(64).collect(),
        })
    }

    /// Whether this one is among them.
    pub fn has(&self, holder: &str) -> bool {
        self.0.iter().any(|other| other.holder == holder)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Holder> {
        self.0.iter()
    }

    /// Whether nobody holds the Pod: the condition is True then.
    pub const fn is_free(&self) -> bool {
        self.0.is_empty()
    }

    /// Enters a holder; one that is there stays as it is.
    ///
    /// # Errors
    /// [`HoldError::TooMany`].
    pub fn enter(mut self, holder: &str, now: Timestamp) -> Result<Self, HoldError> {
        if self.has(holder) {
            return Ok(self);
        }
        if self.0.len() >= MOST_HOLDERS {
            return Err(HoldError::TooMany);
        }
        self.0.push(Holder {
            holder: holder.to_owned(),
            since: now,
        });
        Ok(self)
    }

    /// Without this one.
    #[must_use]
    pub fn leave(mut self, holder: &str) -> Self {
        self.0.retain(|other| other.holder != holder);
        self
    }

    /// The condition's status.
    pub const fn status(&self) -> &'static str {
        if self.is_free() { "True" } else { "False" }
    }

    /// The condition's reason.
    pub const fn reason(&self) -> &'static str {
        if self.is_free() { FREE } else { HELD }
    }

    /// The condition's message; empty when nobody holds the Pod.
    pub fn message(&self) -> String {
        if self.is_free() {
            return String::new();
        }
        // Texts and times: there is nothing that JSON could not say.
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

/// What a request is called as a holder.
pub fn holder_of(request: &str) -> String {
    format!("{OF_REQUESTS}{request}")
}

/// Which request a holder is, if it is one.
pub fn request_of(holder: &str) -> Option<&str> {
    holder.strip_prefix(OF_REQUESTS)
}

const OF_REQUESTS: &str = "ContainerRestart/";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_milliseconds(seconds * 1000)
    }

    fn held(status: &str, message: &str) -> Result<Holders, HoldError> {
        Holders::of(Some(Condition { status, message }))
    }

    #[test]
    fn pod_is_ready_again_when_the_last_holder_leaves() {
        let one = Holders::of(None)
            .unwrap()
            .enter("ContainerRestart/a", at(1))
            .unwrap();
        let two = one.enter("release/x", at(2)).unwrap();
        assert_eq!((two.status(), two.reason()), ("False", "Held"));
        let read = held("False", &two.message()).unwrap();
        assert_eq!(read, two);
        let left = read.leave("ContainerRestart/a");
        assert_eq!(left.status(), "False");
        assert!(left.has("release/x"));
        let free = left.leave("release/x");
        assert_eq!((free.status(), free.message().as_str()), ("True", ""));
    }

    #[test]
    fn who_enters_twice_is_one_holder_since_the_first_time() {
        let once = Holders::default().enter("a", at(1)).unwrap();
        let twice = once.clone().enter("a", at(9)).unwrap();
        assert_eq!(twice, once);
        assert_eq!(
            twice.message(),
            r#"[{"holder":"a","since":"1970-01-01T00:00:01Z"}]"#
        );
    }

    #[test]
    fn condition_of_somebody_else_is_left_alone() {
        let foreign = held("False", "under repair").unwrap_err();
        assert!(foreign.to_string().contains("under repair"), "{foreign}");
        assert_eq!(held("True", "well"), Ok(Holders::default()));
        assert_eq!(held("False", ""), Ok(Holders::default()));
    }

    #[test]
    fn holders_do_not_grow_without_bound() {
        let full = (0..MOST_HOLDERS).try_fold(Holders::default(), |all, number| {
            all.enter(&number.to_string(), at(1))
        });
        assert_eq!(
            full.unwrap().enter("one more", at(1)),
            Err(HoldError::TooMany)
        );
    }

    #[test]
    fn a_request_is_found_by_its_holders_name() {
        assert_eq!(request_of(&holder_of("shop-1")), Some("shop-1"));
        assert_eq!(request_of("release/shop-1"), None);
    }
}
