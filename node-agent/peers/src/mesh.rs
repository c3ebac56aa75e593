//! One node among its peers: whom it asks, what it answers, what it knows. Everything but the socket.
//!
//! The caller has the clock, the randomness and the wire: it calls [`Mesh::tick`] every [`PERIOD`] and sends what that says, gives
//! [`Mesh::receive`] each datagram and sends what that says. **Always holds:** a datagram that is not authentic, not for this node,
//! or not asked for changes nothing but a counter of the caller's; at most [`PEER_LIMIT`] peers are asked.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::answer::{Answerer, Unanswered};
use crate::datagram::{BootId, Datagram, Ends, Keys, Kind, NodeId, Nonce, OpenDatagramError, SIZE};
use crate::judge::{Heard, Moment, PERIOD, State, Told, Track};
use crate::pace::Pace;
use crate::vote::{self, Gateway, Standing, Vote};

/// More peers than these are not asked, whatever a roster says.
pub const PEER_LIMIT: usize = 8;

/// Datagrams a second that are looked at, whoever sends them: each costs two codes at most, some microseconds.
const READ_PER_SECOND: u32 = 1000;
const READ_BURST: u32 = 1000;

/// A tick that comes so late was missed: the process stood still.
const LAG: Duration = Duration::from_secs(1);

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub node: String,
    /// Its rack.
    pub rack: String,
    /// Where it answers.
    pub address: IpAddr,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: [u8; SIZE],
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A probe: this is the answer.
    Asked(Outgoing),
    /// An answer to a probe of ours.
    Told(Told),
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dropped {
    /// More arrive than are read.
    Flood,
    /// There is no key to tell by.
    NoKey,
    /// None of ours: another size, protocol or version.
    Alien,
    /// Not signed with a key of the cluster, or not for these two addresses.
    Forged,
    /// Signed, and yet not what is written.
    Malformed,
    /// For another node, or of this one itself.
    Misdirected,
    /// A probe that was answered before.
    Replayed,
    /// Probes come too fast, from one or from all.
    Paced,
    /// An answer that nobody waits for: to no probe of ours, or to one that was answered.
    Unasked,
}

impl From<OpenDatagramError> for Dropped {
    fn from(error: OpenDatagramError) -> Self {
        match error {
            OpenDatagramError::Size | OpenDatagramError::Version => Self::Alien,
            OpenDatagramError::Forged => Self::Forged,
            OpenDatagramError::Malformed => Self::Malformed,
        }
    }
}

/// This node.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub node: String,
    /// What the kernel calls this boot.
    pub boot: String,
    /// Where it sends from and answers. Peers answer at the same port.
    pub address: SocketAddr,
}

/// One node among its peers.
#[derive(Clone, Debug)]
pub struct Mesh {
    id: NodeId,
    boot: BootId,
    address: SocketAddr,
    keys: Option<Keys>,
    peers: Vec<(Peer, NodeId, Track)>,
    answerer: Answerer,
    reads: Pace,
    sequence: u64,
    last_tick: Option<Instant>,
    lagged: Option<Instant>,
    flooded: Option<Instant>,
}

impl Mesh {
    /// Without a key and without peers.
    pub fn new(me: &Identity) -> Self {
        Self {
            id: NodeId::of(&me.node),
            boot: BootId::of(&me.boot),
            address: me.address,
            keys: None,
            peers: Vec::new(),
            answerer: Answerer::default(),
            reads: Pace::new(READ_PER_SECOND, READ_BURST),
            sequence: 0,
            last_tick: None,
            lagged: None,
            flooded: None,
        }
    }

    /// What to sign with from now on.
    pub fn set_keys(&mut self, keys: Keys) {
        self.keys = Some(keys);
    }

    /// Whom to ask from now on. What is known of those that stay is kept.
    pub fn set_peers(&mut self, peers: &[Peer], now: Moment) {
        let mut old = std::mem::take(&mut self.peers);
        // A roster that names this node itself, or more than are asked, is no reason to do so.
        let asked = peers.iter().filter(|it| NodeId::of(&it.node) != self.id);
        for peer in asked.take(PEER_LIMIT) {
            let known = old.iter().position(|(it, ..)| it == peer);
            let kept = match known {
                Some(place) => old.swap_remove(place),
                None => (peer.clone(), NodeId::of(&peer.node), Track::new(now)),
            };
            self.peers.push(kept);
        }
    }

    /// A second has passed: judges what was sent before, and says what to send. `sequence` rises with time within a boot, over
    /// restarts of the process too; `nonce` is random.
    pub fn tick(
        &mut self,
        now: Moment,
        sequence: u64,
        mut nonce: impl FnMut() -> Nonce,
    ) -> Vec<Outgoing> {
        let passed = self
            .last_tick
            .map(|last| now.at.saturating_duration_since(last));
        self.last_tick = Some(now.at);
        if passed.is_some_and(|passed| passed > PERIOD + LAG) {
            self.lagged = Some(now.at);
            self.peers
                .iter_mut()
                .for_each(|(_, _, track)| track.excuse());
        }
        for (_, _, track) in &mut self.peers {
            track.tick(now);
        }
        let Some(keys) = &self.keys else {
            return Vec::new();
        };
        self.sequence = self.sequence.max(sequence);
        let mut outgoing = Vec::new();
        for (peer, id, track) in &mut self.peers {
            let nonce = nonce();
            self.sequence += 1;
            let probe = Datagram {
                kind: Kind::Probe,
                sender: self.id,
                target: *id,
                nonce,
                boot: self.boot,
                sequence: self.sequence,
                time_micros: now.wall_micros,
            };
            let ends = Ends {
                from: self.address.ip(),
                to: peer.address,
            };
            outgoing.push(Outgoing {
                to: SocketAddr::new(peer.address, self.address.port()),
                bytes: probe.seal(keys, ends),
            });
            track.sent(nonce, now);
        }
        outgoing
    }

    /// Takes a datagram.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        from: SocketAddr,
        now: Moment,
    ) -> Result<Received, Dropped> {
        if !self.reads.take(now.at) {
            self.flooded = Some(now.at);
            return Err(Dropped::Flood);
        }
        let keys = self.keys.as_ref().ok_or(Dropped::NoKey)?;
        let ends = Ends {
            from: from.ip(),
            to: self.address.ip(),
        };
        let datagram = Datagram::open(bytes, keys, ends)?;
        if datagram.target != self.id || datagram.sender == self.id {
            return Err(Dropped::Misdirected);
        }
        match datagram.kind {
            Kind::Probe => self.answer(&datagram, from, now).map(Received::Asked),
            Kind::Answer => self.hear(&datagram, from, now).map(Received::Told),
        }
    }

    fn answer(
        &mut self,
        probe: &Datagram,
        from: SocketAddr,
        now: Moment,
    ) -> Result<Outgoing, Dropped> {
        let keys = self.keys.as_ref().ok_or(Dropped::NoKey)?;
        let admitted = self.answerer.admit(probe, now.at);
        admitted.map_err(|why| match why {
            Unanswered::Replayed => Dropped::Replayed,
            Unanswered::SenderPaced | Unanswered::AllPaced => Dropped::Paced,
        })?;
        self.sequence += 1;
        let answer = Datagram {
            kind: Kind::Answer,
            sender: self.id,
            target: probe.sender,
            nonce: probe.nonce,
            boot: self.boot,
            sequence: self.sequence,
            time_micros: now.wall_micros,
        };
        let ends = Ends {
            from: self.address.ip(),
            to: from.ip(),
        };
        Ok(Outgoing {
            to: from,
            bytes: answer.seal(keys, ends),
        })
    }

    fn hear(&mut self, answer: &Datagram, from: SocketAddr, now: Moment) -> Result<Told, Dropped> {
        let of = |peer: &Peer, id: NodeId| id == answer.sender && peer.address == from.ip();
        let found = self.peers.iter_mut().find(|(peer, id, _)| of(peer, *id));
        let (_, _, track) = found.ok_or(Dropped::Unasked)?;
        let heard = Heard {
            nonce: answer.nonce,
            boot: answer.boot,
            time_micros: answer.time_micros,
        };
        track.heard(heard, now).map_err(|_| Dropped::Unasked)
    }

    /// The peers, and what is known of each.
    pub fn peers(&self) -> impl Iterator<Item = (&Peer, &Track)> {
        self.peers.iter().map(|(peer, _, track)| (peer, track))
    }

    /// Whether this node's view counts.
    pub fn vote(&self, roster_age: Option<Duration>, gateway: Gateway, now: Instant) -> Vote {
        let ago = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let standing =
            |track: &Track| -> (State, Option<Instant>) { (track.state(), track.silent_since()) };
        vote::decide(&Standing {
            now,
            has_key: self.keys.is_some(),
            roster_age,
            lagged_ago: ago(self.lagged),
            flooded_ago: ago(self.flooded),
            gateway,
            peers: self.peers().map(|(_, track)| standing(track)).collect(),
        })
    }
}

#[cfg(test)]
mod tests;
