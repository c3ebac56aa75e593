//! Carrying out what was decided for a set: first its revisions, then its Pods and nodes side by side, then what is told.
//!
//! **Always holds:** what a write answers is known before the set is looked at again. A write that somebody was faster than is no
//! failure: the set is looked at again. A Pod that is not written keeps none of the others waiting.

mod pods;
mod rest;
mod revisions;

use std::sync::Arc;
use std::time::{Duration, Instant};

use node_agent_inplace::plan::{Deed, Plan, SetView};
use node_agent_restart::gate::HoldError;
use proto_crd::in_place_set::InPlaceSetStatus;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tracing::warn;

use super::look::Look;
use super::statuses::is_news;
use super::{PassError, Work, lock};
use crate::read::ReadError;
use crate::write::WriteError;

/// What came of carrying out a plan.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Somebody was faster somewhere.
    pub(super) is_overtaken: bool,
    /// When to look again even if nothing happens.
    pub(super) look_again: Option<Duration>,
}

/// Why one deed was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeedError {
    /// What it depends on could not be asked again.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It was not written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A Pod of the name is there that is not the set's.
    #[error("Pod {name} is there already and is {whose}: delete it, or call the set otherwise")]
    Taken {
        /// Its name.
        name: String,
        /// Whose it is, in words.
        whose: String,
    },
    /// The Pod's gate is somebody else's.
    #[error(transparent)]
    Hold(#[from] HoldError),
}

impl DeedError {
    /// Whether the others are not worth trying.
    pub(super) const fn is_of_the_api_server(&self) -> bool {
        match self {
            Self::Read(_) => true,
            Self::Write(error) => !error.is_of_this_object(),
            Self::Hold(_) | Self::Taken { .. } => false,
        }
    }

    pub(super) const fn is_overtaken(&self) -> bool {
        matches!(self, Self::Write(error) if error.is_overtaken())
    }

    fn of_pass(self) -> PassError {
        match self {
            Self::Read(error) => PassError::Read(error),
            Self::Write(error) => PassError::Write(error),
            other @ (Self::Hold(_) | Self::Taken { .. }) => PassError::Pod(Box::new(other)),
        }
    }
}

/// Whether it was done.
enum Done {
    Yes,
    /// What it was decided on is not so any more.
    NoMore,
}

/// When a deed comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Before everything: Pods name it.
    Revision,
    /// Side by side.
    Pod,
    /// At the end.
    Telling,
}

fn stage(deed: &Deed) -> Stage {
    match deed {
        Deed::CreateRevision { .. } | Deed::AdoptRevision { .. } | Deed::NumberRevision { .. } => {
            Stage::Revision
        }
        Deed::DeleteRevision { .. } | Deed::WriteStatus | Deed::Tell { .. } => Stage::Telling,
        _ => Stage::Pod,
    }
}

/// What is done to one set.
struct Job {
    look: Look,
    status: InPlaceSetStatus,
    /// The set as it is now, where a deed needs to know.
    live_set: OnceCell<Option<SetView>>,
}

impl Work {
    /// Carries out a plan.
    pub(super) async fn carry_out(
        this: &Arc<Self>,
        look: Look,
        plan: Plan,
    ) -> Result<Outcome, PassError> {
        let mut outcome = Outcome {
            is_overtaken: false,
            look_again: plan.look_again,
        };
        let job = Arc::new(Job {
            look,
            status: plan.status,
            live_set: OnceCell::new(),
        });
        let mut deeds = plan.deeds;
        // Stable: within a stage as they were decided.
        deeds.sort_by_key(stage);
        let mut failure = None;
        let mut rest = deeds.into_iter().peekable();
        while let Some(deed) = rest.next_if(|deed| stage(deed) == Stage::Revision) {
            // Pods of a revision that is not kept could not be told apart later.
            this.one(&job, &deed, &mut outcome).await?;
        }
        let mut pods = JoinSet::new();
        while let Some(deed) = rest.next_if(|deed| stage(deed) == Stage::Pod) {
            let (this, job) = (Arc::clone(this), Arc::clone(&job));
            pods.spawn(async move {
                let mut outcome = Outcome::default();
                let done = this.one(&job, &deed, &mut outcome).await;
                (done, outcome.is_overtaken)
            });
        }
        while let Some(done) = pods.join_next().await {
            match done {
                Ok((done, is_overtaken)) => {
                    outcome.is_overtaken |= is_overtaken;
                    failure = failure.or_else(|| done.err());
                }
                Err(error) => {
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
        for deed in rest {
            if let Some(wait) = this.waits(&job, &deed) {
                let then = outcome.look_again;
                outcome.look_again = Some(then.map_or(wait, |then| then.min(wait)));
                continue;
            }
            let done = this.one(&job, &deed, &mut outcome).await;
            failure = failure.or_else(|| done.err());
        }
        failure.map_or(Ok(outcome), Err)
    }

    /// How long the set's status waits, where it says nothing new.
    fn waits(&self, job: &Job, deed: &Deed) -> Option<Duration> {
        let set = &job.look.set;
        if !matches!(deed, Deed::WriteStatus) || is_news(&set.status, &job.status) {
            return None;
        }
        let key = (job.namespace().to_owned(), set.name.clone());
        lock(&self.statuses).wait(&key, Instant::now())
    }

    /// One deed, in its turn. What is wrong with its object alone is told in the log.
    async fn one(&self, job: &Job, deed: &Deed, outcome: &mut Outcome) -> Result<(), PassError> {
        let turn = self.reign.unless_over(self.turns.acquire()).await;
        if turn.is_none() || !self.reign.goes_on() {
            return Ok(());
        }
        match self.deed(job, deed).await {
            Ok(Done::Yes) => Ok(()),
            Ok(Done::NoMore) => {
                outcome.is_overtaken = true;
                Ok(())
            }
            Err(error) if error.is_overtaken() => {
                outcome.is_overtaken = true;
                Ok(())
            }
            Err(error) => {
                if !error.is_of_the_api_server() {
                    let set = job.look.set.name.as_str();
                    warn!(set, kind = kind(deed), error = %ipamd_daemon::chain(&error), "not done");
                }
                Err(error.of_pass())
            }
        }
    }

    async fn deed(&self, job: &Job, deed: &Deed) -> Result<Done, DeedError> {
        match stage(deed) {
            Stage::Pod => self.pod_deed(job, deed).await,
            Stage::Revision | Stage::Telling => self.other_deed(job, deed).await,
        }
    }
}

/// For the log.
const fn kind(deed: &Deed) -> &'static str {
    match deed {
        Deed::CreatePod { .. } => "create Pod",
        Deed::DeletePod { .. } => "delete Pod",
        Deed::Stamp { .. } => "stamp Pod",
        Deed::HoldGate { .. } => "hold Pod",
        Deed::ReleaseGate { .. } => "release Pod",
        Deed::PatchPod { .. } => "patch Pod",
        Deed::Finish { .. } => "finish Pod",
        Deed::AskRestart { .. } => "ask for restart",
        Deed::AskPull { .. } => "ask for images",
        Deed::EndPull { .. } => "end request for images",
        Deed::Adopt { .. } => "adopt Pod",
        Deed::Orphan { .. } => "orphan Pod",
        Deed::CreateRevision { .. } => "create revision",
        Deed::AdoptRevision { .. } => "adopt revision",
        Deed::NumberRevision { .. } => "number revision",
        Deed::DeleteRevision { .. } => "delete revision",
        Deed::WriteStatus => "write status",
        Deed::Tell { .. } => "tell",
    }
}
