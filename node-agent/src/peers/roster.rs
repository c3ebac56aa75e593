//! Whom this node looks at: as the API server says with each report, kept in a file for when it does not.
//!
//! No watch and no polling: ten thousand agents report every few minutes anyway, and each answer has the object. Only an agent that knows
//! of nobody asks, at a rate that falls. The file is written on change, and every hour as a sign that it still holds.

use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipamd_daemon::{Tasks, chain};
use k8s_openapi::jiff::Timestamp;
use node_agent_peers::mesh::Peer;
use proto_crd::peer;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::health::{Chance, Moment, Writer};

/// While nobody is known: from one question to the next, twice as long each time.
const FIRST_ASK: Duration = Duration::from_secs(5);
const LAST_ASK: Duration = Duration::from_secs(120);

/// A file that says nothing new is written so often.
const WRITE_EVERY: Duration = Duration::from_secs(60 * 60);

/// A roster, and how long ago the API server said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Roster {
    /// Whom to look at.
    pub(super) peers: Vec<Peer>,
    confirmed: Confirmed,
}

/// When the API server said so. Kept as an age at an instant: the time may be before any instant that this boot can express.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Confirmed {
    age: Duration,
    at: Instant,
}

impl Roster {
    /// How long ago the API server said so.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.confirmed.age + now.saturating_duration_since(self.confirmed.at)
    }
}

/// The file.
#[derive(Clone, Debug)]
pub(super) struct RosterFile {
    path: PathBuf,
}

/// What is in it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    confirmed: Timestamp,
    peers: Vec<peer::Peer>,
}

/// The file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing {path}: peers will not be known after a restart without the API server")]
struct StoreRosterError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl RosterFile {
    /// In the agent's folder.
    pub(super) fn new(state: &Path) -> Self {
        Self {
            path: state.join("peers.json"),
        }
    }

    /// What is kept; nothing, where there is no file or none that can be read: the API server says it again.
    fn load(&self) -> Option<Stored> {
        match fs::read(&self.path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(stored) => Some(stored),
                Err(error) => {
                    warn!(path = %self.path.display(), %error, "roster of peers not readable; waiting for the API server's");
                    None
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                warn!(path = %self.path.display(), %error, "roster of peers not read; waiting for the API server's");
                None
            }
        }
    }

    /// Replaces the file whole.
    fn store(&self, stored: &Stored) -> Result<(), StoreRosterError> {
        let write = || {
            let new = self.path.with_extension("new");
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = fs::File::create(&new)?;
            file.write_all(&serde_json::to_vec(stored)?)?;
            fs::rename(&new, &self.path)
        };
        write().map_err(|source| StoreRosterError {
            path: self.path.clone(),
            source,
        })
    }
}

/// Starts to follow what the API server says. The receiver has the roster, once there is one.
pub(super) fn spawn_roster(
    tasks: &Tasks,
    writer: Arc<Writer>,
    file: RosterFile,
) -> watch::Receiver<Option<Roster>> {
    let (publisher, rosters) = watch::channel(None);
    let token = tasks.token();
    tasks.spawn("roster", async move {
        tokio::select! {
            () = token.cancelled() => {}
            () = run(writer, file, publisher, token.clone()) => token.cancelled().await,
        }
    });
    rosters
}

async fn run(
    writer: Arc<Writer>,
    file: RosterFile,
    publisher: watch::Sender<Option<Roster>>,
    token: CancellationToken,
) {
    let kept = file.clone();
    // A disk that hangs keeps only this from being read.
    let stored = tokio::task::spawn_blocking(move || kept.load()).await;
    let mut written: Written = None;
    if let Some(stored) = stored.ok().flatten() {
        let roster = adopt(&stored, Moment::now());
        info!(peers = roster.peers.len(), age = ?roster.age(Instant::now()), "roster of peers read");
        publisher.send_replace(Some(roster));
        written = Some((stored.peers, Instant::now()));
    }
    let mut said = writer.rosters();
    let mut wait = FIRST_ASK;
    while !token.is_cancelled() {
        let told = said.borrow_and_update().clone();
        if let Some((Some(peers), at)) = told {
            let roster = Roster {
                peers: peers.iter().filter_map(parse).collect(),
                confirmed: Confirmed {
                    age: Duration::ZERO,
                    at: at.at,
                },
            };
            publisher.send_replace(Some(roster));
            keep(&file, peers, at, &mut written).await;
            if said.changed().await.is_err() {
                return;
            }
            continue;
        }
        // Nobody has chosen, or nothing was heard yet.
        if told.is_some() && publisher.borrow().is_some() {
            info!("the API server names no peers any more");
            publisher.send_replace(None);
        }
        tokio::select! {
            changed = said.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(Chance::draw().shorten(wait)) => {
                ask(&writer).await;
                wait = (wait * 2).min(LAST_ASK);
            }
        }
    }
}

/// What was written to the file, and when.
type Written = Option<(Vec<peer::Peer>, Instant)>;

/// Writes what the API server says where it is news, or the file is old.
async fn keep(file: &RosterFile, peers: Vec<peer::Peer>, at: Moment, written: &mut Written) {
    let is_news = written.as_ref().is_none_or(|(old, _)| *old != peers);
    if is_news {
        let names: Vec<_> = peers.iter().map(|peer| peer.node.as_str()).collect();
        info!(?names, "peers of this node");
    }
    let is_old = written
        .as_ref()
        .is_some_and(|(_, at)| at.elapsed() >= WRITE_EVERY);
    if is_news || is_old {
        let stored = Stored {
            confirmed: at.wall,
            peers: peers.clone(),
        };
        store(file, stored).await;
        *written = Some((peers, Instant::now()));
    }
}

/// The answer is heard where all are.
async fn ask(writer: &Writer) {
    if let Err(error) = writer.load().await {
        debug!(error = %chain(&error), "not asked whom to look at");
    }
}

async fn store(file: &RosterFile, stored: Stored) {
    let file = file.clone();
    let outcome = tokio::task::spawn_blocking(move || file.store(&stored)).await;
    if let Ok(Err(error)) = outcome {
        warn!(error = %chain(&error), "roster of peers not kept");
    }
}

/// A roster of a file.
fn adopt(stored: &Stored, now: Moment) -> Roster {
    Roster {
        peers: stored.peers.iter().filter_map(parse).collect(),
        confirmed: Confirmed {
            age: now.since_wall(stored.confirmed),
            at: now.at,
        },
    }
}

/// A peer whose address can be used.
fn parse(peer: &peer::Peer) -> Option<Peer> {
    let Ok(address) = peer.address.parse::<IpAddr>() else {
        let (peer, address) = (&peer.node, &peer.address);
        warn!(peer, address, "peer left out: that is no address");
        return None;
    };
    Some(Peer {
        node: peer.node.clone(),
        rack: peer.rack.clone(),
        address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(node: &str, address: &str) -> peer::Peer {
        peer::Peer {
            node: node.into(),
            rack: "a".into(),
            address: address.into(),
        }
    }

    #[test]
    fn a_roster_is_read_back_as_old_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = RosterFile::new(&folder.path().join("not/yet"));
        assert_eq!(file.load(), None);
        let now = Moment::now();
        let stored = Stored {
            confirmed: now.wall,
            peers: vec![peer("n2", "10.0.0.2"), peer("n3", "fd00::3")],
        };
        file.store(&stored).unwrap();
        file.store(&stored).unwrap();
        let read = file.load().unwrap();
        assert_eq!(read, stored);
        let later = now.after(Duration::from_secs(100));
        let roster = adopt(&read, later);
        let names: Vec<_> = roster.peers.iter().map(|it| it.node.as_str()).collect();
        assert_eq!(names, ["n2", "n3"]);
        let age = roster.age(later.at + Duration::from_secs(50));
        assert_eq!(age, Duration::from_secs(150));
    }

    #[test]
    fn a_file_that_is_none_is_as_no_file_and_a_peer_without_an_address_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = RosterFile::new(folder.path());
        fs::write(&file.path, b"{\"peers\": ").unwrap();
        assert_eq!(file.load(), None);
        let stored = Stored {
            confirmed: Moment::now().wall,
            peers: vec![peer("n2", "n2.example"), peer("n3", "10.0.0.3")],
        };
        assert_eq!(adopt(&stored, Moment::now()).peers.len(), 1);
    }
}
