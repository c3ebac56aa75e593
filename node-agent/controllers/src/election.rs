//! Who leads: one process of all that run the controllers, by the Lease `berth-controllers`.
//!
//! Owns the Lease while it leads. What is decided stands in [`plan`]; here it is asked, written and published as a
//! [`Term`]. Never waits for the API server longer than a few seconds, and never gives the Lease to others while a write of
//! its term is under way.

mod plan;
mod roll;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use ipamd_daemon::readiness::{Readiness, Ready};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use proto_crd::names;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::ControllersMetrics;
use crate::term::Term;
pub(crate) use plan::TERM;
use plan::{Candidate, LEASE, Seen, Step};
use roll::Dead;

/// From one look at the Lease to the next. A Lease that is given up is taken within so long: a hand-over takes two seconds.
const LOOK_EVERY: Duration = Duration::from_millis(800);
/// A leader renews so often: four tries within a term.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// An answer that takes longer is none: a renewal must be tried again before the term ends.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// Writes under way at the end have so long; else the Lease is left to run out.
const LAST_WRITES: Duration = Duration::from_secs(1);
/// While the API server is away, the log says so only this often.
const REMINDER: Duration = Duration::from_secs(10 * 60);

const CONFLICT: u16 = 409;

/// Stands for election.
pub(crate) struct Election {
    api: Api<Lease>,
    candidate: Candidate,
    roll: Option<PathBuf>,
    signing: Option<oneshot::Receiver<io::Result<Dead>>>,
    term: Option<Term>,
    published: watch::Sender<Option<Term>>,
    readiness: Arc<Readiness>,
    metrics: ControllersMetrics,
    reached_at: Option<Instant>,
    told: Option<Instant>,
}

/// Why a round came to nothing.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    /// Reading the Lease.
    #[error("reading Lease {}", names::CONTROLLERS_LEASE)]
    Read(#[source] kube::Error),
    /// Writing it.
    #[error("writing Lease {}", names::CONTROLLERS_LEASE)]
    Write(#[source] kube::Error),
    /// No answer in time.
    #[error(
        "no answer of the API server about Lease {} within {ANSWER_LIMIT:?}",
        names::CONTROLLERS_LEASE
    )]
    Late,
}

impl Election {
    /// A candidate on this node, and what it finds out. `roll`: where the processes of this node sign.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        (node, roll): (&str, Option<PathBuf>),
        readiness: Arc<Readiness>,
        metrics: ControllersMetrics,
    ) -> (Self, watch::Receiver<Option<Term>>) {
        let (published, standing) = watch::channel(None);
        let election = Self {
            api: Api::namespaced(client, namespace),
            candidate: Candidate::new(identity(node)),
            roll,
            signing: None,
            term: None,
            published,
            readiness,
            metrics,
            reached_at: None,
            told: None,
        };
        (election, standing)
    }

    /// Stands for election until told to end; then gives the Lease to whoever is next.
    pub(crate) async fn run(mut self, token: CancellationToken) {
        info!(
            identity = self.candidate.identity(),
            "standing for election"
        );
        if let Some(path) = self.roll.take() {
            let identity = self.candidate.identity().to_owned();
            self.signing = Some(roll::sign_when_free(path, identity));
        }
        loop {
            let pause = tokio::select! {
                () = token.cancelled() => break,
                pause = self.round() => pause,
            };
            tokio::select! {
                () = token.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.resign().await;
    }

    /// One look at the Lease and what follows. Answers how long to wait for the next.
    async fn round(&mut self) -> Duration {
        self.hear_of_the_roll();
        let asked = tokio::time::timeout(ANSWER_LIMIT, self.ask()).await;
        let outcome = asked.unwrap_or(Err(RoundError::Late));
        let now = Instant::now();
        let leads = self.leads(now);
        match outcome {
            Ok(()) => self.reached(now),
            Err(error) => self.failed(&chain(&error), now),
        }
        if leads { RENEW_EVERY } else { look_again() }
    }

    /// Takes in whom the roll proves to be dead, once it is signed.
    fn hear_of_the_roll(&mut self) {
        let told = match self.signing.as_mut().map(oneshot::Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => return,
            Some(Err(TryRecvError::Closed)) => Err(io::Error::other("no thread")),
            Some(Ok(told)) => told,
        };
        self.signing = None;
        match told {
            Ok(dead) => self.candidate.learn(dead.names, dead.at),
            Err(error) => warn!(
                error = %chain(&error),
                "the election's roll is not signed: when this process dies while it leads, the next one waits for the Lease to run out; mend the \
                 file that --election-roll names"
            ),
        }
    }

    async fn ask(&mut self) -> Result<(), RoundError> {
        let lease = self.api.get_opt(names::CONTROLLERS_LEASE).await;
        let lease = lease.map_err(RoundError::Read)?;
        let seen = lease.as_ref().map(seen);
        let now = Instant::now();
        let leads = self.leads(now);
        match self.candidate.plan(seen, leads, now) {
            Step::Wait => {
                self.lost();
                Ok(())
            }
            Step::Create { number } => {
                self.lost();
                let lease = self.lease(None, number);
                let sent = Instant::now();
                let made = self.api.create(&PostParams::default(), &lease).await;
                self.won(taken(made)?, number, sent);
                Ok(())
            }
            Step::Take { seen, number } => {
                self.lost();
                let lease = self.lease(Some(&seen), number);
                let sent = Instant::now();
                let taken = taken(self.replace(&lease).await)?;
                self.won(taken, number, sent);
                Ok(())
            }
            Step::Renew { seen } => {
                let mut lease = lease.unwrap_or_default();
                lease.metadata.managed_fields = None;
                let spec = lease.spec.get_or_insert_default();
                spec.renew_time = Some(MicroTime(Timestamp::now()));
                lease.metadata.uid = Some(seen.uid);
                let sent = Instant::now();
                if taken(self.replace(&lease).await)? {
                    self.renewed(sent);
                }
                Ok(())
            }
        }
    }

    async fn replace(&self, lease: &Lease) -> kube::Result<Lease> {
        let params = PostParams::default();
        self.api
            .replace(names::CONTROLLERS_LEASE, &params, lease)
            .await
    }

    /// The Lease as this process has it from now on; at the version of what it was, so that only one can take it.
    fn lease(&self, seen: Option<&Seen>, number: u64) -> Lease {
        let now = MicroTime(Timestamp::now());
        Lease {
            metadata: ObjectMeta {
                name: Some(names::CONTROLLERS_LEASE.to_owned()),
                labels: Some([("app.kubernetes.io/part-of".to_owned(), "berth".to_owned())].into()),
                uid: seen.map(|seen| seen.uid.clone()),
                resource_version: seen.map(|seen| seen.version.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.candidate.identity().to_owned()),
                lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: i32::try_from(number).ok(),
                ..LeaseSpec::default()
            }),
        }
    }

    fn leads(&self, now: Instant) -> bool {
        self.term.as_ref().is_some_and(|term| term.stands(now))
    }

    fn won(&mut self, won: bool, number: u64, sent: Instant) {
        let until = sent + TERM;
        if !won || Instant::now() >= until {
            return;
        }
        info!(term = number, "leading");
        let term = Term::won(number, until);
        self.term = Some(term.clone());
        self.metrics.leads(Some(number));
        self.published.send_replace(Some(term));
    }

    fn renewed(&mut self, sent: Instant) {
        let now = Instant::now();
        let extended = self
            .term
            .as_ref()
            .is_some_and(|term| term.extend(now, sent + TERM));
        if !extended {
            self.lost();
        }
    }

    /// Leads no more, if it did.
    fn lost(&mut self) {
        let Some(term) = self.term.take() else {
            return;
        };
        warn!(term = term.number(), "leading no more: the term has ended");
        term.end();
        self.metrics.leads(None);
        self.published.send_replace(None);
    }

    fn reached(&mut self, now: Instant) {
        if self.told.take().is_some() {
            info!("API server answers again");
        }
        self.reached_at = Some(now);
        self.readiness.set(Ready::Yes);
    }

    fn failed(&mut self, reason: &str, now: Instant) {
        // A term that has run out is over at once, not with the next answer.
        if !self.leads(now) {
            self.lost();
        }
        if self.told.is_none_or(|at| now - at >= REMINDER) {
            warn!(error = reason, "Lease neither read nor written; trying on");
            self.told = Some(now);
        }
        // All candidates lose the API server together: they need not turn unready at the first miss.
        if self.reached_at.is_none_or(|at| now - at >= LEASE) {
            self.readiness.set(Ready::No(reason.to_owned()));
        }
    }

    /// Gives the Lease up, so that the next one need not wait for its end.
    async fn resign(&mut self) {
        let Some(term) = self.term.take().filter(|term| term.stands(Instant::now())) else {
            return;
        };
        self.metrics.leads(None);
        let written = term.give_up(LAST_WRITES).await;
        self.published.send_replace(None);
        if let Err(error) = written {
            warn!(error = %chain(&error), "Lease left to run out");
            return;
        }
        match tokio::time::timeout(ANSWER_LIMIT, self.vacate()).await {
            Ok(Ok(())) => info!(term = term.number(), "Lease given up"),
            Ok(Err(error)) => warn!(error = %chain(&error), "Lease not given up; it runs out"),
            Err(_) => warn!("Lease not given up in time; it runs out"),
        }
    }

    async fn vacate(&self) -> Result<(), RoundError> {
        let lease = self.api.get_opt(names::CONTROLLERS_LEASE).await;
        let Some(mut lease) = lease.map_err(RoundError::Read)? else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(self.candidate.identity()) {
            return Ok(());
        }
        spec.holder_identity = None;
        lease.metadata.managed_fields = None;
        let written = self.replace(&lease).await;
        written.map(drop).map_err(RoundError::Write)
    }
}

/// Whether a write was taken: somebody who was faster is no failure.
fn taken(answer: kube::Result<Lease>) -> Result<bool, RoundError> {
    match answer {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == CONFLICT => Ok(false),
        Err(error) => Err(RoundError::Write(error)),
    }
}

fn seen(lease: &Lease) -> Seen {
    let spec = lease.spec.as_ref();
    let transitions = spec.and_then(|spec| spec.lease_transitions);
    Seen {
        uid: lease.metadata.uid.clone().unwrap_or_default(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.and_then(|spec| spec.holder_identity.clone()),
        transitions: transitions
            .and_then(|count| count.try_into().ok())
            .unwrap_or_default(),
    }
}

/// Another one for each process, also on the same node: what a killed leader had sent is its own and not its successor's.
fn identity(node: &str) -> String {
    format!("{node}_{:016x}", random())
}

/// Spread, so that candidates do not ask all at once.
fn look_again() -> Duration {
    LOOK_EVERY.mul_f64(0.75 + 0.5 * chance())
}

/// From 0 to 1.
fn chance() -> f64 {
    f64::from((random() >> 32) as u32) / f64::from(u32::MAX)
}

/// The standard library's hashers are seeded by the kernel's randomness, and differ from each other.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
