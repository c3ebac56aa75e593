//! The socket: asks the peers every second, answers who asks, and tells what is seen.
//!
//! One task owns the socket and the [`Mesh`]. What has arrived is read before anything is judged by its absence. **Never:** waits for the API
//! server or a disk.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipamd_daemon::{Tasks, chain};
use k8s_openapi::jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use node_agent_peers::datagram::{Nonce, SIZE};
use node_agent_peers::judge::{self, PERIOD, State};
use node_agent_peers::mesh::{Dropped, Identity, Mesh, Outgoing, PEER_LIMIT, Received};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::gateway::{self, GatewayLook};
use super::key::KeyFolder;
use super::metrics::{PeerMetrics, Sent};
use super::roster::Roster;
use super::sight::Sights;

/// From one look at the key's files to the next: they are in memory.
const KEY_EVERY: Duration = Duration::from_secs(10);

/// Figures that changed alone are told so often.
const FIGURES_EVERY: Duration = Duration::from_secs(30);

/// Datagrams that are read between two other things.
const READS: usize = 256;

/// The log says the same only so often.
const REMINDER: Duration = Duration::from_secs(10 * 60);

/// An address that is not there yet is tried again.
const BIND_EVERY: Duration = Duration::from_secs(5);

/// What the task works with.
pub(super) struct Endpoint {
    /// This node.
    pub(super) identity: Identity,
    /// What is signed with.
    pub(super) keys: KeyFolder,
    /// Whom to look at.
    pub(super) rosters: watch::Receiver<Option<Roster>>,
    /// What is known of this node's gateways.
    pub(super) gateway: watch::Receiver<Option<GatewayLook>>,
    /// Who is told what is seen.
    pub(super) told: watch::Sender<Option<Arc<Sights>>>,
    /// What is counted.
    pub(super) metrics: PeerMetrics,
}

/// No datagram can be sent or received.
#[derive(Debug, thiserror::Error)]
#[error(
    "binding UDP {address}: --peers must be an address of this node, and nothing else may have the port"
)]
struct BindError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Starts the task.
pub(super) fn spawn_endpoint(tasks: &Tasks, endpoint: Endpoint) {
    let token = tasks.token();
    tasks.spawn("peers", async move {
        // Nothing is lost by ending in the middle.
        tokio::select! {
            () = token.cancelled() => {}
            () = endpoint.run() => {}
        }
    });
}

/// What the task remembers.
struct Course {
    mesh: Mesh,
    random: SystemRandom,
    key_due: Instant,
    told_at: Option<Instant>,
    key_warned: Option<Instant>,
    drop_warned: Option<Instant>,
}

impl Endpoint {
    async fn run(mut self) {
        let socket = self.bind().await;
        let mut course = Course {
            mesh: Mesh::new(&self.identity),
            random: SystemRandom::new(),
            key_due: Instant::now(),
            told_at: None,
            key_warned: None,
            drop_warned: None,
        };
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_reading = true;
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    is_reading = self.read(&socket, &mut course);
                    self.tick(&socket, &mut course);
                }
                ready = socket.readable(), if is_reading => {
                    // A socket that cannot be waited for is looked at with every tick.
                    is_reading = ready.is_ok() && self.read(&socket, &mut course);
                }
            }
        }
    }

    /// The socket. A node's address may come after its agent.
    async fn bind(&self) -> UdpSocket {
        let address = self.identity.address;
        let mut warned: Option<Instant> = None;
        loop {
            match UdpSocket::bind(address).await {
                Ok(socket) => {
                    info!(%address, "looking at peers");
                    return socket;
                }
                Err(source) => {
                    if is_due(&mut warned, Instant::now()) {
                        let error = BindError { address, source };
                        warn!(error = %chain(&error), "no peers are looked at or answered; trying on");
                    }
                }
            }
            tokio::time::sleep(BIND_EVERY).await;
        }
    }

    /// Reads what has arrived. Answers whether to go on before the next tick: a flood is left to the kernel.
    fn read(&self, socket: &UdpSocket, course: &mut Course) -> bool {
        // One byte more, so that a longer datagram is seen to be none of ours.
        let mut bytes = [0; SIZE + 1];
        for _ in 0..READS {
            let (length, from) = match socket.try_recv_from(&mut bytes) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                // A peer's port that is closed comes back as an error of the next read.
                Err(_) => continue,
            };
            let received = bytes.get(..length).unwrap_or_default();
            match course.mesh.receive(received, from, now()) {
                Ok(Received::Asked(answer)) => {
                    self.metrics.received(super::metrics::Result::probe);
                    self.send(socket, &answer, Sent::answer);
                }
                Ok(Received::Told(told)) => {
                    self.metrics.received(super::metrics::Result::answer);
                    self.metrics.answered(told.rtt);
                    if told.is_rebooted {
                        info!(peer = %from.ip(), "peer answers from another boot");
                    }
                }
                Err(why) => {
                    self.metrics.received(why.into());
                    if is_hostile(why) && is_due(&mut course.drop_warned, Instant::now()) {
                        warn!(%from, ?why, "datagram to the peers' port dropped; the metric berth_agent_peer_datagrams_received_total counts them");
                    }
                    if why == Dropped::Flood {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn tick(&mut self, socket: &UdpSocket, course: &mut Course) {
        let now = now();
        if now.at >= course.key_due {
            course.key_due = now.at + KEY_EVERY;
            self.look_at_key(course);
        }
        // Marked as seen also where it was only confirmed.
        if self.rosters.has_changed().unwrap_or_default() {
            let roster = self.rosters.borrow_and_update();
            let peers = roster.as_ref().map(|roster| roster.peers.as_slice());
            course.mesh.set_peers(peers.unwrap_or_default(), now);
        }
        let Some(mut nonces) = course.draw() else {
            warn!("the kernel gives no random bytes: no peer is asked");
            return;
        };
        // Times since the boot rise over restarts of the process.
        let sequence = since_boot();
        let before: Vec<_> = states(&course.mesh);
        let nonce = || nonces.pop().unwrap_or(Nonce([0; 16]));
        let probes = course.mesh.tick(now, sequence, nonce);
        for probe in &probes {
            self.send(socket, probe, Sent::probe);
        }
        log_changes(&before, &states(&course.mesh));
        self.tell(course, now);
    }

    fn look_at_key(&mut self, course: &mut Course) {
        match self.keys.look() {
            Ok(None) => {}
            Ok(Some(keys)) => {
                course.mesh.set_keys(keys);
                course.key_warned = None;
                info!("key of the peers read");
            }
            Err(error) => {
                if is_due(&mut course.key_warned, Instant::now()) {
                    let goes_on = self.keys.has_any();
                    warn!(error = %chain(&error), goes_on, "key of the peers not read; without one no peer is looked at or answered");
                }
            }
        }
    }

    fn send(&self, socket: &UdpSocket, outgoing: &Outgoing, kind: Sent) {
        let sent = socket.try_send_to(&outgoing.bytes, outgoing.to);
        self.metrics
            .sent(if sent.is_ok() { kind } else { Sent::failed });
    }

    fn tell(&self, course: &mut Course, now: judge::Moment) {
        let age = self.rosters.borrow().as_ref().map(|it| it.age(now.at));
        let look = *self.gateway.borrow();
        let gateway = gateway::known(look, now.at);
        let vote = course.mesh.vote(age, gateway, now.at);
        let wall = Timestamp::from_microsecond(now.wall_micros).unwrap_or(Timestamp::UNIX_EPOCH);
        let last = self.told.borrow().clone();
        let sights = Sights::new(course.mesh.peers(), vote, last.as_deref(), wall);
        self.metrics.sees(&sights);
        let is_news = last.is_none_or(|last| last.gist() != sights.gist());
        let is_due = |at| now.at.saturating_duration_since(at) >= FIGURES_EVERY;
        if is_news || course.told_at.is_none_or(is_due) {
            if is_news {
                info!(vote = ?sights.vote.state, reason = ?sights.vote.reason, "peers");
            }
            course.told_at = Some(now.at);
            self.told.send_replace(Some(Arc::new(sights)));
        }
    }
}

impl Course {
    /// Nonces for one round.
    fn draw(&self) -> Option<Vec<Nonce>> {
        let mut bytes = [[0; 16]; PEER_LIMIT];
        let filled = self.random.fill(bytes.as_flattened_mut());
        filled.is_ok().then(|| bytes.map(Nonce).to_vec())
    }
}

/// Whether it is worth a line: what an honest network does not bring about. Repeats and late answers it does.
const fn is_hostile(why: Dropped) -> bool {
    matches!(
        why,
        Dropped::Flood | Dropped::Forged | Dropped::Malformed | Dropped::Misdirected
    )
}

/// Whether it is time for a line of the log again.
fn is_due(warned: &mut Option<Instant>, now: Instant) -> bool {
    let is_due = warned.is_none_or(|at| now.saturating_duration_since(at) >= REMINDER);
    if is_due {
        *warned = Some(now);
    }
    is_due
}

fn states(mesh: &Mesh) -> Vec<(String, State)> {
    let of = mesh
        .peers()
        .map(|(peer, track)| (peer.node.clone(), track.state()));
    of.collect()
}

fn log_changes(before: &[(String, State)], after: &[(String, State)]) {
    for ((peer, old), (_, new)) in before.iter().zip(after) {
        if old != new && *new == State::Dead {
            warn!(peer, "peer does not answer");
        }
    }
}

fn now() -> judge::Moment {
    judge::Moment {
        at: Instant::now(),
        wall_micros: Timestamp::now().as_microsecond(),
    }
}

/// Nanoseconds; nothing where the kernel has no such clock, which none of those that are supported is.
fn since_boot() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
    let nanos = time.unwrap_or_default().as_nanos();
    nanos.try_into().unwrap_or(u64::MAX)
}
