//! Why an attempt failed: what the runtime's words mean, whether another attempt could end otherwise, and what to do.
//!
//! The runtime tells everything in one text. What is not recognised is repeated and told as it is. What an image is called is
//! never taken for a cause. Query strings are cut out: a registry's storage is reached by addresses that hold signatures.

use std::time::Duration;

use proto_crd::image_pull::PullReason;

use crate::reference::Reference;

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub reason: PullReason,
    /// Whether another attempt could end otherwise.
    pub is_repeated: bool,
    /// Cause and what to do, for people.
    pub message: String,
}

/// What has become of a call to the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It went away, or closed the connection.
    Away(String),
    /// It had not ended after this time.
    Late(Duration),
    /// It refused, in these words.
    Refused(String),
}

impl Failure {
    /// Another attempt may succeed.
    pub fn passing(reason: PullReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            is_repeated: true,
            message: message.into(),
        }
    }

    /// Another attempt would end the same way.
    pub fn last(reason: PullReason, message: impl Into<String>) -> Self {
        Self {
            is_repeated: false,
            ..Self::passing(reason, message)
        }
    }

    /// Whether other credentials could help.
    pub const fn is_of_credentials(&self) -> bool {
        matches!(
            self.reason,
            PullReason::Unauthorized | PullReason::Forbidden
        )
    }
}

/// A cause that is known by words of the runtime.
struct Rule {
    /// Any of these, in lower case.
    words: &'static [&'static str],
    reason: PullReason,
    is_repeated: bool,
    /// The cause and what to do.
    says: &'static str,
}

/// The first whose words are found decides: what is more precise stands first.
const RULES: &[Rule] = &[
    Rule {
        words: &[
            "unexpected commit digest",
            "unexpected digest",
            "digest mismatch",
            "does not match digest",
            "failed size validation",
            "unexpected commit size",
        ],
        reason: PullReason::WrongDigest,
        is_repeated: false,
        says: "the registry sends something else than what the digest stands for; look at the registry and what stands before it",
    },
    Rule {
        words: &["no space left", "disk quota exceeded"],
        reason: PullReason::Space,
        is_repeated: true,
        says: "the node has no room for the image; make room where the runtime keeps images",
    },
    Rule {
        words: &[
            "x509:",
            "tls:",
            "http response to https client",
            "connection refused",
            "connection reset",
            "broken pipe",
            "no such host",
            "no route to host",
            "network is unreachable",
            "i/o timeout",
            "unexpected eof",
            ": eof",
            "handshake timeout",
        ],
        reason: PullReason::Network,
        is_repeated: true,
        says: "the registry cannot be reached from the node, or the connection broke off; look at the path between them",
    },
    Rule {
        words: &["context canceled", "context deadline exceeded"],
        reason: PullReason::Timeout,
        is_repeated: true,
        says: "the runtime gave the pull up, as containerd 2 does when nothing comes for five minutes; look why the registry is slow",
    },
    Rule {
        words: &[
            "401 unauthorized",
            "status 401",
            "authorization failed",
            "authentication required",
            "no basic auth credentials",
            "pull access denied",
        ],
        reason: PullReason::Unauthorized,
        is_repeated: false,
        says: "the registry wants credentials, or others; name a pull secret that is right for it",
    },
    Rule {
        words: &["403 forbidden", "status 403"],
        reason: PullReason::Forbidden,
        is_repeated: false,
        says: "the registry refuses this image to who asks; use a pull secret of somebody who may have it",
    },
    Rule {
        words: &["429 too many requests", "status 429", "toomanyrequests"],
        reason: PullReason::Registry,
        is_repeated: true,
        says: "the registry is asked too much; let fewer nodes pull at once",
    },
    Rule {
        words: &[
            "internal server error",
            "bad gateway",
            "service unavailable",
            "gateway timeout",
            "status 50",
            "unexpected status",
        ],
        reason: PullReason::Registry,
        is_repeated: true,
        says: "the registry, or what stands before it, has a failure of its own; look there",
    },
    Rule {
        words: &[
            "404 not found",
            "status 404",
            "not found",
            "manifest unknown",
            "name unknown",
        ],
        reason: PullReason::NotFound,
        is_repeated: false,
        says: "the registry has no such image; look at the name, and whether it was pushed",
    },
];

/// What the end of a call means.
pub fn explain(reference: &Reference, said: Said) -> Failure {
    match said {
        Said::Away(words) => Failure::passing(
            PullReason::Runtime,
            format!("the runtime went away while it pulled ({words}); look whether it runs"),
        ),
        Said::Late(time) => Failure::passing(
            PullReason::Timeout,
            format!(
                "not done within {} s, and given up; what has arrived is kept. Allow it more (timeoutSeconds), or look why the registry is slow",
                time.as_secs()
            ),
        ),
        Said::Refused(words) => refused(reference, &words),
    }
}

fn refused(reference: &Reference, words: &str) -> Failure {
    let words = essence(reference, words);
    let lower = nameless(reference, &words).to_lowercase();
    let rule = RULES
        .iter()
        .find(|rule| rule.words.iter().any(|words| lower.contains(words)));
    let Some(rule) = rule else {
        return Failure::passing(PullReason::Other, format!("the runtime says: {words}"));
    };
    Failure {
        reason: rule.reason,
        is_repeated: rule.is_repeated,
        message: format!("{} (the runtime says: {words})", rule.says),
    }
}

/// Without what is said before everything else, and without query strings.
fn essence(reference: &Reference, words: &str) -> String {
    let mut rest = words;
    for before in [
        "failed to pull and unpack image ",
        "failed to resolve reference ",
        "failed to resolve image: ",
    ] {
        if let Some(after) = rest.strip_prefix(before) {
            let named = format!("\"{reference}\": ");
            rest = after.strip_prefix(named.as_str()).unwrap_or(after);
        }
    }
    let mut text = String::with_capacity(rest.len());
    let mut is_query = false;
    for letter in rest.chars() {
        if is_query && !(letter.is_whitespace() || matches!(letter, '"' | '\'' | ')')) {
            continue;
        }
        is_query = letter == '?';
        text.push(letter);
        if is_query {
            text.push('…');
        }
    }
    text
}

/// What an image is called is no cause, whatever the word.
fn nameless(reference: &Reference, words: &str) -> String {
    words
        .replace(&reference.to_string(), "")
        .replace(reference.path(), "")
}

#[cfg(test)]
mod tests;
