//! One task for each segment: hears, asks the ledger, sends the questions that are due.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cni_neigh::{Family, Observation, OpenSocketError, Socket};
use ipamd_core::Sighting;
use ipamd_daemon::{Tasks, chain};
use ipnet::IpNet;
use proto_ids::{MacAddr, NetworkName};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::assess::{Assessment, View, assess};
use super::claims::{Claims, Verdict};
use super::handle::Searched;
use super::metrics::WireMetrics;
use super::schedule::{PAGE, Schedule, Survey};
use super::segments::{Segment, World};
use super::{Guard, WireSettings};
use crate::ledger::{LedgerHandle, Unavailable};

/// How often the ledger is asked which addresses matter: an address that comes near to being handed out is known to be
/// unused some seconds later.
const SURVEY: Duration = Duration::from_secs(2);
/// Time in which the hosts of a segment answer: the first addresses are asked for in one burst.
const ANSWERS: Duration = Duration::from_millis(150);
/// Time until a segment that could not be listened to is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Starts and ends the watching of segments as they come and go.
pub(super) struct Watchers {
    pub(super) tasks: Tasks,
    pub(super) settings: WireSettings,
    pub(super) ledger: LedgerHandle,
    pub(super) guards: watch::Receiver<Arc<[Guard]>>,
    pub(super) world: watch::Receiver<Arc<World>>,
    pub(super) searched: Searched,
    pub(super) metrics: WireMetrics,
}

impl Watchers {
    /// Runs until the tasks are stopped.
    pub(super) async fn run(mut self) {
        let token = self.tasks.token();
        let mut running: BTreeMap<Segment, CancellationToken> = BTreeMap::new();
        loop {
            let world = Arc::clone(&self.world.borrow_and_update());
            running.retain(|segment, stop| {
                let stays = world.segments.contains_key(segment);
                if !stays {
                    stop.cancel();
                    self.searched.remove(&segment.name());
                }
                stays
            });
            for segment in world.segments.keys() {
                if !running.contains_key(segment) {
                    let stop = token.child_token();
                    self.start(segment, &stop);
                    running.insert(segment.clone(), stop);
                }
            }
            self.metrics
                .segments
                .set(i64::try_from(running.len()).unwrap_or(i64::MAX));
            match token.run_until_cancelled(self.world.changed()).await {
                Some(Ok(())) => {}
                // The sender ends only when everything does.
                Some(Err(_)) => return token.cancelled().await,
                None => return,
            }
        }
    }

    fn start(&self, segment: &Segment, stop: &CancellationToken) {
        let watcher = Watcher {
            segment: segment.clone(),
            ledger: self.ledger.clone(),
            guards: self.guards.clone(),
            world: self.world.clone(),
            searched: self.searched.clone(),
            metrics: self.metrics.clone(),
            schedule: Schedule::new(&self.settings, Instant::now()),
            claims: Claims::default(),
            ahead: self.settings.ahead,
            search: Search::NotBegun,
        };
        let stop = stop.clone();
        self.tasks
            .spawn_job(format!("wire-{}", segment.link), watcher.run(stop));
    }
}

/// One segment.
struct Watcher {
    segment: Segment,
    ledger: LedgerHandle,
    guards: watch::Receiver<Arc<[Guard]>>,
    world: watch::Receiver<Arc<World>>,
    searched: Searched,
    metrics: WireMetrics,
    schedule: Schedule,
    claims: Claims,
    ahead: usize,
    search: Search,
}

/// How far the first questions to a segment have come.
#[derive(Clone, Copy, Debug)]
enum Search {
    NotBegun,
    AnswersUntil(Instant),
    Over,
}

struct Sockets {
    v4: AsyncFd<Socket>,
    v6: AsyncFd<Socket>,
}

#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error(transparent)]
    Open(#[from] OpenSocketError),
    #[error("wait for frames on a packet socket")]
    Register(#[source] io::Error),
    #[error("receive frames")]
    Receive(#[source] io::Error),
    #[error("the thread that opens packet sockets ended")]
    Thread(#[source] tokio::task::JoinError),
}

impl Watcher {
    async fn run(mut self, stop: CancellationToken) {
        let mut complained = false;
        loop {
            let Some(error) = stop.run_until_cancelled(self.listen(&mut complained)).await else {
                return;
            };
            self.metrics.listen_failures.inc();
            if !complained {
                let link = &self.segment.link;
                warn!(%link, network = %self.segment.network, error = %chain(&error), "segment is not heard");
                complained = true;
            }
            let pause = tokio::time::sleep(LISTEN_AGAIN);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn listen(&mut self, complained: &mut bool) -> ListenError {
        let sockets = match self.open().await {
            Ok(sockets) => sockets,
            Err(error) => return error,
        };
        info!(link = %self.segment.link, network = %self.segment.network, "segment is heard");
        *complained = false;
        let mut survey = interval(SURVEY);
        survey.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let has_way_out = self.has_way_out();
            let wake = self.schedule.wake_at(Instant::now());
            let answers = match self.search {
                Search::AnswersUntil(until) => Some(until),
                Search::NotBegun | Search::Over => None,
            };
            tokio::select! {
                heard = hear(&sockets.v4) => match heard {
                    Ok(heard) => self.judge(&heard).await,
                    Err(error) => return ListenError::Receive(error),
                },
                heard = hear(&sockets.v6) => match heard {
                    Ok(heard) => self.judge(&heard).await,
                    Err(error) => return ListenError::Receive(error),
                },
                () = at(wake.filter(|_| has_way_out)) => self.ask(&sockets),
                () = at(answers) => {
                    self.search = Search::Over;
                    self.searched.insert(self.segment.name());
                }
                // A bridge that was just made gets its carrier a little later.
                Ok(()) = self.world.changed(), if !has_way_out => {}
                _ = survey.tick() => self.survey().await,
            }
        }
    }

    async fn open(&self) -> Result<Sockets, ListenError> {
        let link = self.segment.link.clone();
        // Binding waits for an RCU grace period.
        let open = move || {
            let v4 = Socket::open(&link, Family::V4)?;
            Ok::<_, OpenSocketError>((v4, Socket::open(&link, Family::V6)?))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let (v4, v6) = opened.map_err(ListenError::Thread)??;
        Ok(Sockets {
            v4: register(v4).map_err(ListenError::Register)?,
            v6: register(v6).map_err(ListenError::Register)?,
        })
    }

    fn has_way_out(&self) -> bool {
        let world = self.world.borrow();
        world.segments.get(&self.segment).copied().unwrap_or(false)
    }

    fn port(&self, address: IpAddr) -> Option<MacAddr> {
        let key = (self.segment.network.clone(), address);
        self.world.borrow().ports.get(&key).copied()
    }

    async fn judge(&mut self, heard: &Observation) {
        self.metrics.heard.inc();
        let now = Instant::now();
        let guarded: Vec<IpNet> = (self.guards.borrow().iter())
            .filter(|guard| guard.network == self.segment.network)
            .map(|guard| guard.subnet)
            .collect();
        let view = View {
            guarded: &guarded,
            port: self.port(heard.address),
            verdict: self.claims.verdict(heard.address, heard.mac, now),
        };
        match assess(heard, &view) {
            Assessment::Ignore => {}
            Assessment::StillForeign => self.schedule.heard_foreign(heard.address, now),
            Assessment::Report => self.report(heard, now).await,
        }
    }

    async fn report(&mut self, heard: &Observation, now: Instant) {
        self.metrics.sightings.inc();
        let judged = self.ledger.conflict(Sighting {
            network: self.segment.network.clone(),
            address: heard.address,
            mac: heard.mac,
        });
        // Not judged, not remembered: the next frame of that host is reported again.
        let Some(judged) = known(judged.await) else {
            return;
        };
        let verdict = if judged.foreign {
            Verdict::Foreign
        } else {
            Verdict::Harmless
        };
        self.claims.judged(heard.address, heard.mac, verdict, now);
        if judged.foreign {
            self.metrics.foreign.inc();
            self.schedule.heard_foreign(heard.address, now);
        }
        if judged.new {
            warn!(
                ip = %heard.address, mac = %heard.mac, network = %self.segment.network,
                link = %self.segment.link, "a foreign host has an address of ours"
            );
        }
    }

    async fn survey(&mut self) {
        let network = &self.segment.network;
        let free = known(self.ledger.probe_candidates(self.ahead).await);
        let conflicts = known(self.ledger.conflicts().await);
        let (Some(free), Some(conflicts)) = (free, conflicts) else {
            return;
        };
        let free = free
            .iter()
            .filter(|candidate| candidate.network == *network);
        let conflicts = conflicts
            .iter()
            .filter(|conflict| conflict.network == *network);
        let survey = Survey {
            free: free.map(|candidate| candidate.address).collect(),
            conflicts: conflicts.map(|conflict| conflict.address).collect(),
        };
        let now = Instant::now();
        self.schedule.survey(&survey, now);
        for address in self.schedule.silent(now) {
            self.silent(address).await;
        }
        let schedule = &self.schedule;
        self.claims
            .keep_foreign(|address| schedule.follows(address));
        self.next_held(now).await;
    }

    async fn silent(&mut self, address: IpAddr) {
        let network = self.segment.network.clone();
        if known(self.ledger.clear_conflict(network, address).await).is_some() {
            self.metrics.silent.inc();
            self.schedule.forget(address);
            info!(ip = %address, network = %self.segment.network, "the foreign host is silent");
        }
    }

    async fn next_held(&mut self, now: Instant) {
        let Some(page) = self.schedule.wants_held(now) else {
            return;
        };
        let after = behind(&self.segment.network, page.after);
        let Some(held) = known(self.ledger.held_candidates(Some(after), PAGE).await) else {
            return;
        };
        let network = &self.segment.network;
        let ours = held
            .iter()
            .take_while(|candidate| candidate.network == *network);
        self.schedule
            .held(ours.map(|candidate| candidate.address).collect());
    }

    fn ask(&mut self, sockets: &Sockets) {
        let Some(address) = self.schedule.take(Instant::now()) else {
            return;
        };
        let socket = match Family::of(address) {
            Family::V4 => &sockets.v4,
            Family::V6 => &sockets.v6,
        };
        match socket.get_ref().probe(address) {
            Ok(()) => {
                self.metrics.probes.inc();
                self.schedule.asked(address);
                if matches!(self.search, Search::NotBegun) {
                    self.search = Search::AnswersUntil(Instant::now() + ANSWERS);
                }
            }
            Err(error) => {
                self.metrics.send_failures.inc();
                debug!(ip = %address, link = %self.segment.link, %error, "question not sent");
            }
        }
    }
}

#[allow(
    deprecated,
    reason = "the successor is unsafe, because a type could close its descriptor while it is registered; Socket owns \
              its descriptor and cannot"
)]
fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    AsyncFd::new(socket)
}

/// Waits until then; for ever without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Where a page begins: the ledger goes by network and address, and no address is lower than the unspecified one.
fn behind(network: &NetworkName, after: Option<IpAddr>) -> (NetworkName, IpAddr) {
    let lowest = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    (network.clone(), after.unwrap_or(lowest))
}

/// What the ledger said. While it cannot say anything (it recovers, it is busy) the wire goes on with what is known.
fn known<T>(said: Result<T, Unavailable>) -> Option<T> {
    said.inspect_err(|error| debug!(error = %chain(error), "the ledger was asked in vain"))
        .ok()
}

/// The next message, whatever else is heard before it.
///
/// # Cancellation
/// Safe: a message is taken from the socket only when it is returned.
async fn hear(socket: &AsyncFd<Socket>) -> io::Result<Observation> {
    loop {
        let mut ready = socket.readable().await?;
        match ready.try_io(|socket| socket.get_ref().receive()) {
            Ok(Ok(Some(heard))) => return Ok(heard),
            Ok(Ok(None)) | Err(_) => {}
            // Said once after the interface was down; the kernel goes on by itself when it is up. Where the interface is
            // gone for good the links tell.
            Ok(Err(error)) if error.kind() == io::ErrorKind::NetworkDown => {}
            Ok(Err(error)) => return Err(error),
        }
    }
}
