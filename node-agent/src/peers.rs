//! This node among its peers: asks some, answers others, and tells what it sees. Nothing acts on it.
//!
//! The decisions are `node-agent-peers`'; here are the socket ([`endpoint`]), the roster's file and the API ([`roster`]), the
//! key's files ([`key`]), and what is reported ([`sight`]). **Always holds:** it works without the API server, by the roster of the file;
//! without a key nobody is asked and nothing is answered, and the report says so.

mod endpoint;
mod gateway;
mod key;
mod metrics;
mod roster;
mod sight;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use ipamd_daemon::Tasks;
use node_agent_peers::mesh::Identity;
use tokio::sync::watch;
use tracing::info;

use self::endpoint::Endpoint;
use self::gateway::GatewayLook;
use self::key::KeyFolder;
use self::roster::{RosterFile, spawn_roster};
use crate::health::{Finding, Writer};

pub(crate) use self::metrics::PeerMetrics;
pub(crate) use self::sight::{Gist, Sights};

/// Where an agent answers its peers, by UDP.
const PORT: u16 = 9424;

/// How the node's agent looks at its peers.
#[derive(Clone, Debug, Args)]
pub(crate) struct PeersArgs {
    /// The node's own address: from there its peers are looked at, and there they are answered, by UDP, port 9424 where none is given;
    /// "" for neither
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "",
        value_parser = peers_address,
        env = "BERTH_AGENT_PEERS"
    )]
    peers: PeersAddress,

    /// Folder with what peers sign with, as kubelet mounts the Secret berth-peers: the files "key" and "other"
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/etc/berth/peers",
        env = "BERTH_AGENT_PEER_KEYS"
    )]
    peer_keys: PathBuf,
}

/// Where peers are answered, if they are. A type of its own, since clap gives `Option` a meaning of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PeersAddress(Option<SocketAddr>);

/// That is no address to look at peers from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum ParsePeersAddressError {
    /// No address at all.
    #[error(
        "{text:?} is no address; the node's own is wanted, such as 10.0.0.1, 10.0.0.1:{PORT} or [fd00::1]:{PORT}; in a Pod it comes from the downward API (fieldPath: status.hostIP)"
    )]
    NoAddress {
        /// The text.
        text: String,
    },
    /// One that stands for all.
    #[error(
        "{address} is none of this node alone; datagrams are signed for the addresses between which they travel, so the node's own is wanted"
    )]
    Unspecified {
        /// The address.
        address: IpAddr,
    },
}

fn peers_address(text: &str) -> Result<PeersAddress, ParsePeersAddressError> {
    if text.is_empty() {
        return Ok(PeersAddress(None));
    }
    let bare = || IpAddr::from_str(text).map(|address| SocketAddr::new(address, PORT));
    let address = SocketAddr::from_str(text).or_else(|_| bare());
    let address = address.map_err(|_| ParsePeersAddressError::NoAddress { text: text.into() })?;
    if address.ip().is_unspecified() || address.ip().is_multicast() {
        return Err(ParsePeersAddressError::Unspecified {
            address: address.ip(),
        });
    }
    Ok(PeersAddress(Some(address)))
}

/// What the part works with.
pub(crate) struct Peers {
    /// How it looks.
    pub(crate) args: PeersArgs,
    /// The node's name.
    pub(crate) node: String,
    /// What the kernel calls this boot.
    pub(crate) boot_id: String,
    /// Where the roster is kept.
    pub(crate) state: PathBuf,
    /// Hears of the roster with each report.
    pub(crate) writer: Arc<Writer>,
    /// What is counted.
    pub(crate) metrics: PeerMetrics,
}

/// What goes between this part and those who judge the node.
pub(crate) struct Ways {
    /// What the signal `gateway` says, look by look.
    gateway: watch::Sender<Option<GatewayLook>>,
    /// What is seen.
    sights: watch::Receiver<Option<Arc<Sights>>>,
}

impl Ways {
    /// Hears a look at this node's gateways.
    pub(crate) fn hear_gateway(&self, finding: &Finding, now: Instant) {
        let next = GatewayLook::after(*self.gateway.borrow(), finding, now);
        self.gateway.send_replace(next);
    }

    /// What is seen of the peers; nothing where they are not looked at.
    pub(crate) fn sights(&self) -> Option<Arc<Sights>> {
        self.sights.borrow().clone()
    }
}

/// Starts to look.
pub(crate) fn spawn_peers(tasks: &Tasks, peers: Peers) -> Ways {
    let (told, sights) = watch::channel(None);
    let (gateway, looks) = watch::channel(None);
    let ways = Ways { gateway, sights };
    let PeersAddress(Some(address)) = peers.args.peers else {
        info!("no peers are looked at or answered: --peers is not given");
        return ways;
    };
    let file = RosterFile::new(&peers.state);
    let rosters = spawn_roster(tasks, peers.writer, file);
    let identity = Identity {
        node: peers.node,
        boot: peers.boot_id,
        address,
    };
    let endpoint = Endpoint {
        identity,
        keys: KeyFolder::new(peers.args.peer_keys),
        rosters,
        gateway: looks,
        told,
        metrics: peers.metrics,
    };
    endpoint::spawn_endpoint(tasks, endpoint);
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_node_is_wanted() {
        for (text, expected) in [
            ("", None),
            ("10.0.0.1", Some("10.0.0.1:9424")),
            ("10.0.0.1:7", Some("10.0.0.1:7")),
            ("fd00::1", Some("[fd00::1]:9424")),
            ("[fd00::1]:7", Some("[fd00::1]:7")),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(peers_address(text), Ok(PeersAddress(expected)), "{text}");
        }
        for (text, words) in [
            ("n1", "downward API"),
            ("n1:9424", "downward API"),
            ("0.0.0.0:9424", "the node's own is wanted"),
            ("::", "the node's own is wanted"),
        ] {
            let error = peers_address(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
