//! Signal `runtime-exec`: how long the runtime takes to run something in a container. A runtime that has lost its data disk answers
//! every question well and can start nothing; what is asked for here needs a new process, as a container's start does.
//!
//! Run is this program's own version, in the agent's own container: the image has no shell. It costs the node some ten milliseconds of
//! processor time (runc and its shim), and so is done twice a minute.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use node_agent_cri::{CallRuntimeError, ContainerFilter, ContainerState, Runtime};
use proto_crd::node_health::Decision;

use super::Look;
use crate::health::assess::Rule;
use crate::health::signal::{Signal, Trouble, Verdict};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("runtime-exec");

/// How it is judged. Two of three looks are counted here: a node under load is slow once.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: Source::PERIOD,
    ttl: Duration::from_secs(3 * 60),
    set: 1,
    clear: 1,
    decision: Decision::Observe,
    escalation: None,
    threshold: "runs something in 2 s; wrong when slower at 2 of 3 looks, 30 s apart; cordon when not in 10 s",
};

/// Slower is told.
const SLOW: Duration = Duration::from_secs(2);

/// Slower is no running at all. Longer than other looks may take: nothing else waits for it.
const DEADLINE: Duration = Duration::from_secs(10);

/// Finding the container.
const LIST_DEADLINE: Duration = Duration::from_secs(4);

/// Looks that count.
const LOOKS: usize = 3;

/// So many bad ones of them make it unhealthy.
const BAD: usize = 2;

/// The label that kubelet gives to every container.
const POD_UID: &str = "io.kubernetes.pod.uid";

/// The agent's own container.
#[derive(Debug)]
pub(in crate::health) struct Source {
    runtime: Runtime,
    /// Its Pod, if it is in one.
    pod_uid: Option<String>,
    course: Course,
}

/// The other container of the agent's Pod (`install/overlays/recovery-guard`).
const GUARD: &str = "guard";

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    Took(Duration),
    /// It did not run, and why.
    Stuck(String),
    /// The look said nothing.
    Blind(String),
}

/// The last looks, oldest first.
#[derive(Clone, Debug, Default)]
struct Course {
    looks: VecDeque<Sight>,
}

impl Source {
    /// Runs something in a container of this Pod.
    pub(in crate::health) fn new(runtime: Runtime, pod_uid: Option<String>) -> Self {
        Self {
            runtime,
            pod_uid,
            course: Course::default(),
        }
    }

    async fn see(&self, pod_uid: &str) -> Sight {
        let filter = ContainerFilter {
            state: Some(ContainerState::Running),
            labels: BTreeMap::from([(POD_UID.to_owned(), pod_uid.to_owned())]),
            ..ContainerFilter::default()
        };
        let own = match self.runtime.containers(filter, LIST_DEADLINE).await {
            Ok(own) => own,
            // The signal `runtime` tells.
            Err(error) => return Sight::Blind(chain(&error)),
        };
        // One follows the other when the agent is restarted; the guard, where there is one, is another that should not pay for this.
        let Some(own) = own
            .iter()
            .max_by_key(|it| (it.name != GUARD, it.created_at))
        else {
            return Sight::Blind(
                "the runtime knows no running container of the agent's own Pod".to_owned(),
            );
        };
        let words = vec![env!("CARGO_BIN_NAME").to_owned(), "--version".to_owned()];
        let begun = Instant::now();
        match self.runtime.exec_sync(&own.id, words, DEADLINE).await {
            Ok(outcome) if outcome.code == 0 => Sight::Took(begun.elapsed()),
            Ok(outcome) => Sight::Stuck(format!("the command ended with {}", outcome.code)),
            Err(error @ CallRuntimeError::Away { .. }) => Sight::Blind(chain(&error)),
            Err(error) => Sight::Stuck(chain(&error)),
        }
    }
}

impl Look for Source {
    const NAME: &'static str = "runtime-exec";
    const PERIOD: Duration = Duration::from_secs(30);

    async fn look(&mut self) -> Vec<Verdict> {
        let Some(pod_uid) = &self.pod_uid else {
            return vec![Verdict::absent(SIGNAL, "the agent is in no Pod")];
        };
        let sight = self.see(pod_uid).await;
        vec![self.course.assess(sight)]
    }
}

impl Sight {
    fn is_bad(&self) -> bool {
        match self {
            Self::Took(time) => *time > SLOW,
            Self::Stuck(_) => true,
            Self::Blind(_) => false,
        }
    }
}

impl Course {
    fn assess(&mut self, sight: Sight) -> Verdict {
        if let Sight::Blind(why) = sight {
            return Verdict::unclear(SIGNAL, format!("nothing could be run: {why}"));
        }
        self.looks.push_back(sight.clone());
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        let bad: Vec<_> = self.looks.iter().filter(|look| look.is_bad()).collect();
        let value = match &sight {
            Sight::Took(time) => format!("{} ms", time.as_millis()),
            Sight::Stuck(_) | Sight::Blind(_) => "nothing runs".to_owned(),
        };
        if bad.len() >= BAD {
            return tell(&bad, &value);
        }
        if sight.is_bad() {
            let why = format!("not wrong for long enough to count: {value}");
            return Verdict::unclear(SIGNAL, why);
        }
        Verdict::good(SIGNAL, value)
    }
}

fn tell(bad: &[&Sight], value: &str) -> Verdict {
    let stuck: Vec<_> = bad
        .iter()
        .filter_map(|look| match look {
            Sight::Stuck(why) => Some(why),
            Sight::Took(_) | Sight::Blind(_) => None,
        })
        .collect();
    let (kind, message) = match stuck.last() {
        Some(why) if stuck.len() >= BAD => (
            "stuck",
            format!("the runtime answers and runs nothing in a container: {why}"),
        ),
        _ => (
            "slow",
            format!(
                "the runtime takes long to run something in a container: {value} this time, more than 2 s at {} of the last {LOOKS} looks",
                bad.len()
            ),
        ),
    };
    let trouble = Trouble {
        kind,
        message,
        impact: "containers start slowly or not at all; probes by exec fail, and kubelet may kill what is well".to_owned(),
        advice: "on the node: is the disk of /var/lib/containerd well and the processor free (top, iostat)? journalctl -u containerd; \
                 systemctl restart containerd leaves the containers alone"
            .to_owned(),
    };
    let verdict = Verdict::bad(SIGNAL, value, trouble);
    if kind == "stuck" {
        verdict.urging(Decision::Cordon)
    } else {
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    fn took(milliseconds: u64) -> Sight {
        Sight::Took(Duration::from_millis(milliseconds))
    }

    fn stuck() -> Sight {
        Sight::Stuck("no space left on device".to_owned())
    }

    fn told(course: &mut Course, sight: Sight) -> Option<&'static str> {
        match course.assess(sight).finding {
            Finding::Good => Some("good"),
            Finding::Bad(trouble) => Some(trouble.kind),
            Finding::Unclear { .. } | Finding::Absent => None,
        }
    }

    #[test]
    fn looks_are_judged_by_the_table() {
        let blind = || Sight::Blind("away".to_owned());
        // Each row is one node's looks, and what the last of them says.
        let table = [
            (vec![took(30)], Some("good")),
            (vec![took(2000)], Some("good")),
            (vec![took(2001)], None),
            (vec![took(30), took(5000), took(30)], Some("good")),
            (vec![took(5000), took(30), took(5000)], Some("slow")),
            (vec![took(5000), took(5000), took(30)], Some("slow")),
            (vec![stuck()], None),
            (vec![stuck(), took(5000)], Some("slow")),
            (vec![stuck(), took(30), stuck()], Some("stuck")),
            (vec![stuck(), blind(), stuck()], Some("stuck")),
            (vec![stuck(), stuck(), blind()], None),
            (vec![stuck(), stuck(), took(30), took(30)], Some("good")),
        ];
        for (looks, expected) in table {
            let mut course = Course::default();
            let case = format!("{looks:?}");
            let last = looks.into_iter().map(|look| told(&mut course, look)).last();
            assert_eq!(last, Some(expected), "{case}");
        }
    }

    #[test]
    fn runtime_that_runs_nothing_is_reason_enough_for_no_new_pods() {
        let mut course = Course::default();
        course.assess(stuck());
        let verdict = course.assess(stuck());
        assert_eq!(verdict.urges, Some(Decision::Cordon));
        let mut course = Course::default();
        course.assess(took(3000));
        assert_eq!(course.assess(took(3000)).urges, None);
    }
}
