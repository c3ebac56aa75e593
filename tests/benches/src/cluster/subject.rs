//! What is measured: Berth as it is installed, and Debian's `bridge` with `host-local` under a configuration that sorts before Berth's, so that the
//! runtime uses it without a restart. One interface and one IPv4 address a Pod in both.

use serde_json::{Value, json};

/// Berth's addresses: a subnet of its own, so large that what rests after a round is not missed in the next.
pub(crate) const OURS: &str = "10.64.0.0/16";
pub(crate) const OURS_GATEWAY: &str = "10.64.0.1";
/// The second network's; no Pod asks for it.
pub(crate) const OURS_SECOND: &str = "10.66.0.0/16";
/// How Berth's addresses begin.
const OURS_PREFIX: &str = "10.64.";
/// How the peer's addresses begin; each node has a /23 of them.
const PEER_PREFIX: &str = "10.65.";

/// As many as both subjects have addresses for and a kubelet takes.
pub(crate) const MOST_PODS: usize = 250;

/// The peer's configuration; before Berth's `10-berth.conflist`.
pub(crate) const PEER_FILE: &str = "00-peer.conflist";

/// One of the things measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// As installed, one network.
    Berth,
    /// Debian's `bridge` and `host-local`.
    Peer,
}

impl Subject {
    pub(crate) const ALL: [Self; 2] = [Self::Berth, Self::Peer];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Berth => "berth",
            Self::Peer => "bridge+host-local",
        }
    }

    /// Whether a Pod with this address was given it by this subject.
    pub(crate) fn gave(self, address: &str) -> bool {
        address.starts_with(match self {
            Self::Berth => OURS_PREFIX,
            Self::Peer => PEER_PREFIX,
        })
    }
}

/// The peer's configuration of one node: a bridge of its own that is the Pods' gateway. No masquerading, which would be rules of netfilter more.
pub(crate) fn peer_conflist(node: usize) -> Value {
    let subnet = format!("{PEER_PREFIX}{}.0/23", node * 2);
    json!({
        "cniVersion": "1.0.0", "name": "peer",
        "plugins": [{
            "type": "bridge", "bridge": "br-peer", "isDefaultGateway": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]]},
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_tell_who_gave_them() {
        assert!(Subject::Berth.gave("10.64.3.1"));
        assert!(Subject::Peer.gave("10.65.4.2"));
        assert!(!Subject::Peer.gave("10.64.3.1"));
        assert!(!Subject::Berth.gave(""));
    }
}
