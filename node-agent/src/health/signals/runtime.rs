//! Signals `runtime` and `runtime-network`: the container runtime answers, and says that it and the Pods' network are ready. One look
//! for both.
//!
//! Two questions: containerd 2 asks the network plugin (verb STATUS) before it answers `Status`, so that an address daemon that hangs
//! keeps that answer away for longer than a look has (seen: with 2.4 and a stopped daemon). `Version` asks nobody.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use node_agent_cri::{CallRuntimeError, Runtime, RuntimeCondition, RuntimeStatus};
use proto_crd::node_health::Decision;

use super::Look;
use crate::health::assess::{CORDON, LOOK_DEADLINE, PERIOD, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};

/// The runtime.
pub(in crate::health) const SIGNAL: Signal = Signal::new("runtime");

/// The network of its Pods.
pub(in crate::health) const NETWORK: Signal = Signal::new("runtime-network");

/// How the runtime is judged. Three of five looks are counted here: one that answers now and then is no runtime to start Pods with, and
/// would never fail three times in a row.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: TTL,
    set: 1,
    clear: 1,
    decision: Decision::Observe,
    escalation: CORDON,
    threshold: "answers in 2 s and is ready; wrong when not so at 3 of 5 looks, 10 s apart",
};

/// How the network is judged.
pub(in crate::health) const NETWORK_RULE: Rule = Rule {
    signal: NETWORK,
    set: 3,
    clear: 2,
    threshold: "the runtime says NetworkReady; wrong when not so at 3 looks, 10 s apart",
    ..RULE
};

/// A runtime that is well answers in milliseconds.
const DEADLINE: Duration = Duration::from_secs(2);

/// Looks that count.
const LOOKS: usize = 5;

/// So many failed of them make it unhealthy.
const FAILED: usize = 3;

/// The runtime.
#[derive(Debug)]
pub(in crate::health) struct Source {
    runtime: Runtime,
    course: Course,
}

/// What one look saw.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    Ready,
    /// One word, and the same in a sentence.
    Failed(&'static str, String),
    /// Our own fault.
    Blind(String),
}

/// The last looks, oldest first.
#[derive(Clone, Debug, Default)]
struct Course {
    failed: VecDeque<bool>,
    /// How the last one that failed did.
    last: Option<(&'static str, String)>,
}

impl Source {
    /// Looks at this runtime.
    pub(in crate::health) fn new(runtime: Runtime) -> Self {
        Self {
            runtime,
            course: Course::default(),
        }
    }
}

impl Look for Source {
    const NAME: &'static str = "runtime";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        let begun = Instant::now();
        let answer = match self.runtime.version(DEADLINE).await {
            Ok(_) => {
                // The plugin waits for its daemon for three seconds.
                let left = LOOK_DEADLINE.saturating_sub(begun.elapsed());
                Ok(self.runtime.status(left).await)
            }
            Err(error) => Err(error),
        };
        let network = assess_network(answer.as_ref().ok());
        vec![self.course.assess(see(answer)), network]
    }
}

/// What the answer to `Status` says, where the runtime answered at all.
fn see(answer: Result<Result<RuntimeStatus, CallRuntimeError>, CallRuntimeError>) -> Sight {
    let status = match answer {
        Ok(Ok(status)) => status,
        // It answers; that it does not say how it is may be its network's fault, and is told as that.
        Ok(Err(CallRuntimeError::Silent { .. })) => return Sight::Ready,
        Ok(Err(error)) | Err(error) => return failed(&error),
    };
    match status.condition("RuntimeReady") {
        Some(condition) if condition.holds => Sight::Ready,
        Some(condition) => Sight::Failed(
            "unready",
            format!(
                "the runtime says that it is not ready: {}",
                words(condition)
            ),
        ),
        None => Sight::Failed(
            "unready",
            "the runtime does not say whether it is ready".to_owned(),
        ),
    }
}

fn failed(error: &CallRuntimeError) -> Sight {
    let why = chain(error);
    match error {
        CallRuntimeError::Away { .. } if is_forbidden(&why) => Sight::Blind(why),
        CallRuntimeError::Away { .. } => Sight::Failed("away", why),
        CallRuntimeError::Silent { .. } | CallRuntimeError::Overrun { .. } => {
            Sight::Failed("silent", why)
        }
        CallRuntimeError::Refused { .. }
        | CallRuntimeError::NotFound { .. }
        | CallRuntimeError::TooLong { .. } => Sight::Failed("faulty", why),
    }
}

/// The kernel's words for what only another user, or no free descriptor, is told.
fn is_forbidden(why: &str) -> bool {
    ["Permission denied", "Too many open files"]
        .iter()
        .any(|words| why.contains(words))
}

fn words(condition: &RuntimeCondition) -> String {
    match (condition.reason.as_str(), condition.message.as_str()) {
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{message} ({reason})"),
    }
}

impl Course {
    fn assess(&mut self, sight: Sight) -> Verdict {
        let failed = match sight {
            Sight::Blind(why) => {
                return Verdict::unclear(
                    SIGNAL,
                    format!("the agent cannot ask the runtime: {why}"),
                );
            }
            Sight::Ready => false,
            Sight::Failed(kind, why) => {
                self.last = Some((kind, why));
                true
            }
        };
        self.failed.push_back(failed);
        if self.failed.len() > LOOKS {
            self.failed.pop_front();
        }
        let count = self.failed.iter().filter(|failed| **failed).count();
        let of = self.failed.len();
        match &self.last {
            Some((kind, why)) if count >= FAILED => {
                let value = format!("{kind}, {count} of {of} looks failed");
                Verdict::bad(SIGNAL, value, trouble(kind, why.clone()))
            }
            Some((_, why)) if failed => {
                Verdict::unclear(SIGNAL, format!("not wrong for long enough to count: {why}"))
            }
            _ if count == 0 => Verdict::good(SIGNAL, "ready"),
            _ => Verdict::good(SIGNAL, format!("ready, {count} of {of} looks failed")),
        }
    }
}

fn trouble(kind: &'static str, message: String) -> Trouble {
    Trouble {
        kind,
        message,
        impact: "no container of this node can be started, stopped or looked into; those that run go on".to_owned(),
        advice: "on the node: systemctl status containerd (or the runtime that there is), journalctl -u containerd; one that hangs is \
                 restarted by systemctl restart containerd, which leaves the containers alone"
            .to_owned(),
    }
}

fn assess_network(answer: Option<&Result<RuntimeStatus, CallRuntimeError>>) -> Verdict {
    let (kind, message) = match answer {
        None | Some(Err(CallRuntimeError::Away { .. })) => {
            let why = "only the runtime says it, and it does not answer";
            return Verdict::unclear(NETWORK, why);
        }
        Some(Ok(status)) => match status.condition("NetworkReady") {
            None => {
                let why = "the runtime does not say whether the network is ready";
                return Verdict::unclear(NETWORK, why);
            }
            Some(condition) if condition.holds => return Verdict::good(NETWORK, "ready"),
            Some(condition) => (
                "unready",
                format!(
                    "the runtime says that the Pods' network is not ready: {}",
                    words(condition)
                ),
            ),
        },
        Some(Err(error @ CallRuntimeError::Silent { .. })) => (
            "silent",
            format!(
                "the runtime answers, but not whether the Pods' network is ready: it waits for the network plugin ({})",
                chain(error)
            ),
        ),
        Some(Err(error)) => return Verdict::unclear(NETWORK, chain(error)),
    };
    let trouble = Trouble {
        kind,
        message,
        impact: "the Node is NotReady, and new Pods do not start on it; running Pods keep their network".to_owned(),
        advice: "where the signal ipamd is wrong too, that is why; else look at the configuration in /etc/cni/net.d and at \
                 kubectl -n berth-system logs POD -c conflist of this node's berth-ipamd"
            .to_owned(),
    };
    Verdict::bad(
        NETWORK,
        if kind == "silent" {
            "not told"
        } else {
            "not ready"
        },
        trouble,
    )
}

#[cfg(test)]
mod tests;
