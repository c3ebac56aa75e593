//! The claims of this node at the API server: which addresses are this node's to hand out, and whose they are.
//!
//! Owns one task that follows the node's own claims, asks the book what is to be done about each ([`ipamd_core::Book::plan_claim`]),
//! and does it. Always: one request for a claim at a time; an answer that came late is none; what a Pod waits for goes before
//! everything else, which goes at a steady rate. Never on the way of an ADD that finds its addresses here.

mod board;
mod grant;
mod metrics;
mod object;
mod pace;
mod requests;
mod round;
mod settle;
mod survey;
mod sweep;
mod views;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipamd_core::ClaimWait;
use ipamd_daemon::Tasks;
use kube::Api;
use proto_crd::claim::Claim as Object;
use proto_crd::names;
use proto_ids::{Identity, NetworkName, NodeName, PoolName};
use tokio::sync::{Notify, watch as channel};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tracing::{info, warn};

use super::api::{Connection, another};
use super::events::EventsHandle;
use super::pods::PodsView;
use crate::ledger::LedgerHandle;
use crate::ledger::claims::Place;
use board::{Board, Stamp};
pub(crate) use grant::{GrantError, Granting};
pub(crate) use metrics::ClaimsMetrics;
use pace::Pace;
use requests::{Answer, Call, send};
use survey::Survey;
use sweep::Sweep;
use views::Views;
use watch::Follow;

/// Rounds of decisions are so far apart at least: many Pods that start at once are decided about together.
const ROUND_PAUSE: Duration = Duration::from_millis(10);
/// A round without any cause: deadlines pass, and what was put off may be due.
const IDLE_PAUSE: Duration = Duration::from_secs(10);
/// After a connection failed, the next one is tried after this time and as much again by chance; each time twice as long, at most the
/// second, or as soon as there is a new one.
const CONNECT_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// What the driver and the ADDs share.
#[derive(Debug)]
struct Shared {
    board: Mutex<Board>,
    /// Something on the board needs the driver.
    wake: Notify,
    /// Changes when an ADD that waits should try again.
    arrived: channel::Sender<u64>,
    metrics: ClaimsMetrics,
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(&self) {
        self.arrived
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Gives ADDs their addresses, and has them claimed where they are not.
#[derive(Clone, Debug)]
pub(crate) struct ClaimsHandle {
    /// `None`: nothing is claimed here, and every address of the pools is this node's.
    shared: Option<Arc<Shared>>,
    events: EventsHandle,
}

impl ClaimsHandle {
    /// Addresses that another node took over while a sandbox here has them, and whose they are now.
    pub(crate) fn lost(&self) -> BTreeMap<Place, NodeName> {
        let lost = |(place, wait): (&Place, &ClaimWait)| match wait {
            ClaimWait::Lost(node) => Some((place.clone(), node.clone())),
            _ => None,
        };
        let shared = self.shared.as_ref();
        shared.map_or_else(BTreeMap::new, |shared| {
            shared.board().waits.iter().filter_map(lost).collect()
        })
    }

    /// Claims nothing.
    pub(crate) const fn of_nobody() -> Self {
        Self {
            shared: None,
            events: EventsHandle::to_nobody(),
        }
    }
}

/// What the driver works with.
pub(super) struct ClaimsParts {
    pub(super) node: NodeName,
    pub(super) ledger: LedgerHandle,
    pub(super) pods: channel::Receiver<PodsView>,
    pub(super) connections: channel::Receiver<Option<Connection>>,
    pub(super) events: EventsHandle,
    pub(super) metrics: ClaimsMetrics,
    /// Free addresses that are kept claimed in each network and family.
    pub(super) warm: usize,
}

/// Starts to claim.
pub(super) fn spawn_claims(tasks: &Tasks, parts: ClaimsParts) -> ClaimsHandle {
    let shared = Arc::new(Shared {
        board: Mutex::default(),
        wake: Notify::new(),
        arrived: channel::channel(0).0,
        metrics: parts.metrics.clone(),
    });
    let handle = ClaimsHandle {
        shared: Some(Arc::clone(&shared)),
        events: parts.events.clone(),
    };
    let driver = Driver {
        views: Views::new(parts.node.clone()),
        parts,
        shared,
        others: BTreeMap::new(),
        pace: Pace::new(Instant::now()),
        calls: JoinSet::new(),
        busy: BTreeSet::new(),
        finding: BTreeMap::new(),
        look: BTreeSet::new(),
        barred: BTreeMap::new(),
        owned: BTreeSet::new(),
        listed: BTreeSet::new(),
        read: BTreeMap::new(),
        surveys: BTreeMap::new(),
        sweep: Sweep::default(),
        connection: None,
        away: None,
        told: BTreeSet::new(),
        starved: BTreeSet::new(),
        wake: Instant::now(),
    };
    let token = tasks.token();
    tasks.spawn("claims", async move {
        super::until(&token, driver.run()).await;
    });
    handle
}

/// The task.
struct Driver {
    parts: ClaimsParts,
    shared: Arc<Shared>,
    views: Views,
    /// Claims of other nodes: whether a binding is on them, and when that was heard.
    others: BTreeMap<Place, (bool, Instant)>,
    pace: Pace,
    calls: JoinSet<(Call, Answer, Instant)>,
    /// Places with a request under way.
    busy: BTreeSet<Place>,
    /// Identities that are searched for, and for which Pods.
    finding: BTreeMap<Identity, Stamp>,
    /// Places to be read before anything is decided about them.
    look: BTreeSet<Place>,
    /// Places whose last request was refused: not before this time.
    barred: BTreeMap<Place, Instant>,
    /// Places of own claims of which the book knows, as of the last round.
    owned: BTreeSet<Place>,
    /// Own claims of a list that is being read.
    listed: BTreeSet<Place>,
    /// When another node's claim was last read.
    read: BTreeMap<Place, Instant>,
    /// Lists of the claims of each pool.
    surveys: BTreeMap<PoolName, Survey>,
    /// Claims under another pool's name.
    sweep: Sweep,
    /// The connection whose own claims are known; `None`: nothing is sent.
    connection: Option<Connection>,
    /// Since when there is none.
    away: Option<Instant>,
    /// Places about which an operator was told.
    told: BTreeSet<Place>,
    /// Networks in which Pods wait and too few addresses are left.
    starved: BTreeSet<NetworkName>,
    /// When something that was put off is due.
    wake: Instant,
}

/// What woke the driver.
enum Woken {
    Round,
    Cause,
    Answered(Box<(Call, Answer, Instant)>),
    Heard(Result<watch::Heard, String>),
    Connect,
    Ended,
}

impl Driver {
    async fn run(mut self) {
        let mut commits = self.parts.ledger.commits();
        let mut status = self.parts.ledger.status();
        let shared = Arc::clone(&self.shared);
        let mut follow: Option<Follow> = None;
        let mut connections = self.parts.connections.clone();
        let mut newer = connections.clone();
        let mut connect_at = Instant::now();
        let mut pause = CONNECT_PAUSES.0;
        let (mut last_round, mut dirty) = (Instant::now(), true);
        loop {
            let due = self.due(last_round, dirty);
            let followed = follow.as_ref().map(|it| it.connection().clone());
            let woken = tokio::select! {
                Some(Ok(answered)) = self.calls.join_next() => Woken::Answered(Box::new(answered)),
                heard = heard(&mut follow) => Woken::Heard(heard),
                () = sleep_until(connect_at.into()), if follow.is_none() => Woken::Connect,
                Ok(()) = connections.changed(), if follow.is_none() => Woken::Connect,
                () = another(&mut newer, followed.as_ref()), if followed.is_some() => Woken::Connect,
                changed = commits.changed() => cause(changed.is_ok()),
                changed = status.changed() => cause(changed.is_ok()),
                changed = self.parts.pods.changed() => cause(changed.is_ok()),
                () = shared.wake.notified() => Woken::Cause,
                () = sleep_until(due.into()) => Woken::Round,
            };
            match woken {
                Woken::Round => {
                    last_round = Instant::now();
                    // What changes while it is decided is a cause for the next one.
                    commits.mark_unchanged();
                    status.mark_unchanged();
                    dirty = self.round().await;
                }
                Woken::Cause => dirty = true,
                Woken::Answered(answered) => {
                    let (call, answer, sent) = *answered;
                    self.settle(call, answer, sent).await;
                    dirty = true;
                }
                Woken::Heard(Ok(heard)) => {
                    if matches!(heard, watch::Heard::Whole(_)) {
                        pause = CONNECT_PAUSES.0;
                    }
                    dirty |= self.hear(heard);
                }
                Woken::Heard(Err(problem)) => {
                    follow = None;
                    connect_at = Instant::now() + pause.mul_f64(1.0 + chance());
                    pause = (pause * 2).min(CONNECT_PAUSES.1);
                    self.lose(problem);
                    dirty = true;
                }
                Woken::Connect => {
                    let connection = connections.borrow_and_update().clone();
                    follow = self.follow(connection);
                    connect_at = Instant::now() + CONNECT_PAUSES.0;
                }
                Woken::Ended => return std::future::pending().await,
            }
        }
    }

    /// When the next round is due.
    fn due(&self, last: Instant, dirty: bool) -> Instant {
        if dirty {
            return last + ROUND_PAUSE;
        }
        self.wake.clamp(last + ROUND_PAUSE, last + IDLE_PAUSE)
    }

    /// Begins to follow the own claims; `None`: there is no connection yet.
    fn follow(&mut self, connection: Option<Connection>) -> Option<Follow> {
        if connection.is_none() && self.away.is_none() {
            self.lose("there is no connection to the API server yet".to_owned());
        }
        connection.map(|connection| Follow::new(&connection, &self.parts.node))
    }

    /// The API server does not answer.
    fn lose(&mut self, problem: String) {
        self.connection = None;
        if self.away.is_none() {
            self.away = Some(Instant::now());
            warn!(
                error = problem,
                "claims are not followed: the API server does not answer"
            );
        }
        self.shared.board().away = Some(problem);
        self.shared.arrive();
    }

    /// It answers, and said what this node has.
    fn regain(&mut self, connection: Connection) {
        let now = Instant::now();
        if let Some(since) = self.away.take() {
            let away = now.saturating_duration_since(since);
            self.pace.back(chance(), away, now);
            info!(away_seconds = away.as_secs(), "claims are followed");
        }
        self.connection = Some(connection);
        self.shared.board().away = None;
        self.shared.arrive();
    }

    /// Sends a request.
    fn send(&mut self, call: Call) {
        let Some(connection) = &self.connection else {
            return;
        };
        let connection = connection.clone();
        let sent = Instant::now();
        self.calls.spawn(async move {
            let answer = send(&connection, &call).await;
            (call, answer, sent)
        });
    }
}

/// The next thing that is heard of own claims.
async fn heard(follow: &mut Option<Follow>) -> Result<watch::Heard, String> {
    match follow {
        Some(follow) => follow.next().await,
        None => std::future::pending().await,
    }
}

const fn cause(is_there: bool) -> Woken {
    if is_there { Woken::Cause } else { Woken::Ended }
}

fn claims(connection: &Connection) -> Api<Object> {
    Api::namespaced(connection.client.clone(), names::NAMESPACE)
}

/// A number from 0 to 1, another one each time: so that nodes do not act at the same time.
fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / f64::from(u32::MAX)
}
