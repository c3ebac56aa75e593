//! How a container is to be stopped, read from the annotations that kubelet left on it in the runtime.
//!
//! kubelet writes `io.kubernetes.container.*` and `io.kubernetes.pod.*` when it creates a container (`labels.go`), and
//! reads them itself to stop containers whose Pod it no longer knows: with them a container is stopped properly while the
//! API server is away. What cannot be understood is an error: nothing is stopped without its hook by mistake.

use std::collections::BTreeMap;
use std::time::Duration;

mod handler;

pub use handler::{Hook, HttpGet, Port, Scheme};

/// kubelet's hash of the container's name and image, in hexadecimal.
pub const HASH: &str = "io.kubernetes.container.hash";
/// How often the container had been restarted when it was created.
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
/// The Pod's `terminationGracePeriodSeconds`.
pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
/// The container's `lifecycle.preStop`, in JSON.
pub const HOOK: &str = "io.kubernetes.container.preStopHandler";
/// The container's `ports`, in JSON.
pub const PORTS: &str = "io.kubernetes.container.ports";

/// What kubelet leaves for TERM at least (`minimumGracePeriodInSeconds`), and takes where no Pod says otherwise.
pub const LEAST_GRACE: Duration = Duration::from_secs(2);

/// How a container is to be stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopSpec {
    /// kubelet's hash of name and image.
    pub hash: u64,
    /// How often the container had been restarted.
    pub restart_count: u32,
    /// How much time it has for its hook and for TERM together.
    pub grace: Duration,
    /// What is done before TERM.
    pub hook: Option<Hook>,
}

/// Why the annotations of a container do not say how to stop it.
#[derive(Debug, thiserror::Error)]
pub enum ParseStopError {
    /// An annotation that kubelet always writes is not there.
    #[error(
        "the container has no annotation {annotation}: it was not created by kubelet; restart its Pod by deleting it"
    )]
    Missing {
        /// Which.
        annotation: &'static str,
    },
    /// A number is none.
    #[error(
        "annotation {annotation} of the container is {text:?}, which is no number that kubelet writes"
    )]
    Number {
        /// Which annotation.
        annotation: &'static str,
        /// What it says.
        text: String,
        /// What is wrong with it.
        #[source]
        source: std::num::ParseIntError,
    },
    /// JSON that is none, or of another shape.
    #[error(
        "annotation {annotation} of the container cannot be read; restart its Pod by deleting it"
    )]
    Json {
        /// Which annotation.
        annotation: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// No kind of hook, more than one, or one that is not known here.
    #[error(
        "the preStop hook of the container has {count} handlers that are known here, not one of exec, httpGet, sleep and tcpSocket; restart its Pod by deleting it"
    )]
    Handlers {
        /// How many are known.
        count: usize,
    },
    /// A hook names a port that the container does not have.
    #[error(
        "the preStop hook of the container asks port {port:?}, which is none of its ports and no number from 1 to 65535"
    )]
    PortOf {
        /// What it names.
        port: String,
    },
    /// A time that runs backwards.
    #[error("the container's {what} is {seconds} s; it cannot be less than none")]
    Negative {
        /// Of what.
        what: &'static str,
        /// How much.
        seconds: i64,
    },
}

impl StopSpec {
    /// What the annotations of a container say.
    ///
    /// # Errors
    /// When kubelet did not write them, or wrote what is not known here.
    pub fn parse(annotations: &BTreeMap<String, String>) -> Result<Self, ParseStopError> {
        let text = |annotation: &'static str| annotations.get(annotation).map(String::as_str);
        let needed = |annotation| text(annotation).ok_or(ParseStopError::Missing { annotation });
        let number = |annotation: &'static str| {
            move |source| ParseStopError::Number {
                annotation,
                text: text(annotation)
                    .unwrap_or_default()
                    .chars()
                    .take(64)
                    .collect(),
                source,
            }
        };
        let grace = match text(GRACE_PERIOD) {
            Some(text) => {
                let seconds: i64 = text.parse().map_err(number(GRACE_PERIOD))?;
                // -1 was allowed once; the API server and kubelet take it for one second.
                seconds_of("grace period", if seconds == -1 { 1 } else { seconds })?
            }
            None => LEAST_GRACE,
        };
        let ports = text(PORTS).map_or(Ok(Vec::new()), |text| {
            serde_json::from_str(text).map_err(|source| ParseStopError::Json {
                annotation: PORTS,
                source,
            })
        })?;
        Ok(Self {
            hash: u64::from_str_radix(needed(HASH)?, 16).map_err(number(HASH))?,
            restart_count: needed(RESTART_COUNT)?
                .parse()
                .map_err(number(RESTART_COUNT))?,
            grace,
            hook: text(HOOK)
                .map(|text| Hook::parse(text, &ports))
                .transpose()?,
        })
    }

    /// With another grace period, where one is asked for.
    #[must_use]
    pub fn with_grace(self, grace: Option<Duration>) -> Self {
        Self {
            grace: grace.unwrap_or(self.grace),
            ..self
        }
    }

    /// How long the hook may run; none when it is not run: there is none, or no time for it.
    pub fn hook_limit(&self) -> Option<Duration> {
        (self.hook.is_some() && !self.grace.is_zero()).then_some(self.grace)
    }

    /// What is left for TERM after the hook ran that long, in whole seconds as kubelet reckons, at least [`LEAST_GRACE`].
    pub fn term_grace(&self, hook_ran: Duration) -> Duration {
        let ran = Duration::from_secs(hook_ran.as_secs());
        self.grace.saturating_sub(ran).max(LEAST_GRACE)
    }

    /// How long the whole takes at most, from the start of the hook to KILL.
    pub fn longest(&self) -> Duration {
        self.grace + LEAST_GRACE
    }
}

fn seconds_of(what: &'static str, seconds: i64) -> Result<Duration, ParseStopError> {
    u64::try_from(seconds)
        .map(Duration::from_secs)
        .map_err(|_| ParseStopError::Negative { what, seconds })
}

#[cfg(test)]
mod tests;
