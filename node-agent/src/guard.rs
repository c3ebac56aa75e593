//! The recovery guard: Pods that were deleted while the node did not hear the API server all end at once when it does again, and
//! what they do at their end would take the processors from those that stay. It has the helper limit them for as long.
//!
//! Off unless a socket is named. [`plan`] decides; the helper (`node-agent-guard`), a process of its own, writes the cgroups. While
//! nothing storms the helper is asked nothing. What the helper does not do is tried again, and said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use ipamd_daemon::{Tasks, chain};
use node_agent_guard::{AskError, Connection, PodUid, Request};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tracing::{debug, info, warn};

mod plan;
mod role;

use self::plan::{Course, Plan, Seen, plan};
pub(crate) use self::role::serve;
use crate::contact::Contact;
use crate::pods::Pods;

/// What happens within it is looked at once: after a gap the Pods are told one after the other.
const PAUSE: Duration = Duration::from_millis(200);

/// During a storm, and after what failed.
const AGAIN: Duration = Duration::from_secs(5);

/// The guard's flags. The role `guard` listens on the socket, the role `node` asks there.
#[derive(Clone, Debug, Args)]
pub(crate) struct GuardArgs {
    /// Socket of the recovery guard, which limits the processors of Pods that were deleted while the node was cut off and end all at
    /// once; default: nothing is limited
    #[arg(
        id = "guard-socket",
        long = "guard-socket",
        value_name = "PATH",
        env = "BERTH_AGENT_GUARD_SOCKET"
    )]
    pub(crate) socket: Option<PathBuf>,

    /// Where the node's cgroups are mounted. Used by the guard
    #[arg(
        id = "guard-cgroups",
        long = "guard-cgroups",
        value_name = "FOLDER",
        default_value = "/sys/fs/cgroup",
        env = "BERTH_AGENT_GUARD_CGROUPS"
    )]
    pub(crate) cgroups: PathBuf,

    /// kubelet's cgroupRoot. Used by the guard
    #[arg(
        id = "guard-cgroup-root",
        long = "guard-cgroup-root",
        value_name = "CGROUP",
        default_value = "/",
        env = "BERTH_AGENT_GUARD_CGROUP_ROOT"
    )]
    pub(crate) cgroup_root: String,
}

/// Many Pods end, and are limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Storm {
    /// That end.
    pub(crate) ending: usize,
    /// On the node.
    pub(crate) pods: usize,
    /// What each may have, in thousandths of a processor.
    pub(crate) millicores: u32,
    /// The silence of the API server before; none: this agent did not see it.
    pub(crate) gap: Option<Duration>,
}

/// The storm, if there is one; no receiver: the guard is off.
pub(crate) type Storms = Option<watch::Receiver<Option<Storm>>>;

/// What is counted. Clones count into the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuardMetrics {
    storm: Gauge,
    limited: Gauge,
    calls: Family<CallLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    verb: Verb,
    result: CallResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
enum Verb {
    limit,
    release,
    list,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "as it is scraped")]
enum CallResult {
    done,
    failed,
}

impl GuardMetrics {
    /// Registers them.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "guard_storm",
            "1 while Pods that were deleted behind the node's back end all at once and are limited",
            metrics.storm.clone(),
        );
        registry.register(
            "guard_limited_pods",
            "Pods that the guard limits",
            metrics.limited.clone(),
        );
        registry.register(
            "guard_calls",
            "What the guard was asked",
            metrics.calls.clone(),
        );
        metrics
    }

    fn asked(&self, request: &Request, is_done: bool) {
        let verb = match request {
            Request::Limit { .. } => Verb::limit,
            Request::Release { .. } => Verb::release,
            Request::List => Verb::list,
        };
        let result = if is_done {
            CallResult::done
        } else {
            CallResult::failed
        };
        self.calls.get_or_create(&CallLabels { verb, result }).inc();
    }
}

/// What the guard is made with.
pub(crate) struct Guard {
    /// Where the helper listens.
    pub(crate) socket: PathBuf,
    /// This node's Pods.
    pub(crate) pods: Pods,
    /// When the API server was heard.
    pub(crate) contact: Contact,
    /// The agent's own Pod, in which the helper is: never limited.
    pub(crate) own: Option<String>,
    /// What is counted.
    pub(crate) metrics: GuardMetrics,
}

/// Starts to guard.
pub(crate) fn spawn_guard(tasks: &Tasks, guard: Guard) -> watch::Receiver<Option<Storm>> {
    let (sender, storms) = watch::channel(None);
    let token = tasks.token();
    tasks.spawn("guard", async move {
        let mut changes = guard.pods.changes();
        let mut state = State::new(processors());
        loop {
            let is_quiet = guard.pass(&mut state, &sender).await;
            let again = tokio::time::sleep(AGAIN);
            tokio::select! {
                () = token.cancelled() => return,
                told = changes.changed() => if told.is_err() {
                    // The watch has ended with its task, which ends the process.
                    return;
                },
                () = again, if !is_quiet => continue,
            }
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    });
    storms
}

/// What is remembered from one pass to the next.
#[derive(Debug)]
struct State {
    processors: u32,
    course: Course,
    /// What the helper would not limit in this storm: it has ended, and what is left of it in the API waits for something else.
    refused: BTreeSet<PodUid>,
    /// The helper holds nothing, and nothing storms: it is not asked.
    is_settled: bool,
    is_failing: bool,
}

impl State {
    fn new(processors: u32) -> Self {
        Self {
            processors,
            course: Course::default(),
            refused: BTreeSet::new(),
            is_settled: false,
            is_failing: false,
        }
    }

    fn failed(&mut self, error: &AskError) {
        let error = chain(error);
        if std::mem::replace(&mut self.is_failing, true) {
            debug!(error, "the guard did not do it again");
        } else {
            warn!(error, "the guard did not do what it was to; trying on");
        }
    }
}

impl Guard {
    /// Looks, and does what is due. Whether there is nothing to come back for but a change of the Pods.
    async fn pass(&self, state: &mut State, storms: &watch::Sender<Option<Storm>>) -> bool {
        if !self.pods.is_complete() {
            return true;
        }
        let held = self.held(state.is_settled).await;
        let held = held.map_err(|error| state.failed(&error)).ok();
        if held.is_none() && state.course == Course::Begun {
            return false;
        }
        let (pods, terminating) = self.look();
        let known = held.clone().unwrap_or_default();
        let gap = self.contact.gap();
        let seen = Seen {
            now: Instant::now(),
            gap,
            pods,
            terminating: &terminating,
            held: &known,
            processors: state.processors,
        };
        let mut plan = plan(state.course, seen);
        state.course = plan.course;
        plan.limit.retain(|pod| !state.refused.contains(pod));
        let is_storm = matches!(plan.course, Course::Storm(_));
        let storm = is_storm.then(|| Storm {
            ending: terminating.len(),
            pods,
            millicores: plan.millicores,
            gap: gap.map(|gap| gap.length),
        });
        self.tell(storms, storm);
        match self.apply(&plan, storm, &mut state.refused).await {
            Ok(()) => state.is_failing &= held.is_none(),
            Err(error) => state.failed(&error),
        }
        if !is_storm {
            state.refused.clear();
        }
        state.is_settled = !is_storm && held.is_some_and(|held| held.is_empty());
        state.is_settled
    }

    /// How many Pods have not ended, and which of them are to.
    fn look(&self) -> (usize, BTreeSet<PodUid>) {
        let mut pods = self.pods.all();
        pods.retain(|pod| !matches!(pod.status.phase.as_str(), "Succeeded" | "Failed"));
        let is_own = |uid: &str| self.own.as_deref() == Some(uid);
        let ending = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_some() && !is_own(pod.uid()));
        // A static Pod's is of another form; nobody deletes it through the API.
        let uids = ending.filter_map(|pod| pod.uid().parse().ok()).collect();
        (pods.len(), uids)
    }

    async fn held(&self, is_settled: bool) -> Result<BTreeMap<PodUid, u32>, AskError> {
        if is_settled {
            return Ok(BTreeMap::new());
        }
        let listed = match Connection::open(&self.socket).await {
            Ok(mut connection) => connection.ask(&Request::List).await,
            Err(error) => Err(error),
        };
        self.metrics.asked(&Request::List, listed.is_ok());
        let held = listed?.into_iter().map(|it| (it.pod, it.millicores));
        Ok(held.collect())
    }

    async fn apply(
        &self,
        plan: &Plan,
        storm: Option<Storm>,
        refused: &mut BTreeSet<PodUid>,
    ) -> Result<(), AskError> {
        if plan.limit.is_empty() && plan.release.is_empty() {
            return Ok(());
        }
        let why = storm.map_or_else(|| "the kill storm is over".to_owned(), Storm::words);
        let limits = plan.limit.iter().map(|pod| Request::Limit {
            pod: pod.clone(),
            millicores: plan.millicores,
            why: why.clone(),
        });
        let releases = plan.release.iter().map(|pod| Request::Release {
            pod: pod.clone(),
            why: why.clone(),
        });
        let mut connection = Connection::open(&self.socket).await?;
        for request in releases.chain(limits) {
            let asked = connection.ask(&request).await;
            self.metrics.asked(&request, asked.is_ok());
            match asked {
                Ok(_) => {}
                Err(AskError::Refused { text }) => {
                    debug!(%request, text, "refused by the guard");
                    if let Request::Limit { pod, .. } = request {
                        refused.insert(pod);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn tell(&self, storms: &watch::Sender<Option<Storm>>, storm: Option<Storm>) {
        let before = storms.send_replace(storm);
        let limited = storm.map_or(0, |storm| storm.ending);
        self.metrics.storm.set(storm.is_some().into());
        self.metrics
            .limited
            .set(i64::try_from(limited).unwrap_or(i64::MAX));
        match (before, storm) {
            (None, Some(storm)) => warn!(why = storm.words(), "Pods that end are limited"),
            (Some(_), None) => info!("Pods that end are limited no more"),
            _ => {}
        }
    }
}

impl Storm {
    /// For people.
    pub(crate) fn words(self) -> String {
        let gap = self.gap.map_or_else(String::new, |gap| {
            format!(" after {} s without the API server", gap.as_secs())
        });
        format!(
            "kill storm: {} of {} Pods end{gap}, {} thousandths of a processor each",
            self.ending, self.pods, self.millicores
        )
    }
}

fn processors() -> u32 {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
