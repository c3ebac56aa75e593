//! What a message heard on the wire is to us. Pure.

use cni_neigh::Observation;
use ipnet::IpNet;
use proto_ids::MacAddr;

use super::claims::Verdict;

/// What is known when a message is heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// The watched subnets of the segment's network.
    pub(super) guarded: &'a [IpNet],
    /// The MAC of our own port that has the address, by the links of this node.
    pub(super) port: Option<MacAddr>,
    /// What the ledger said of the same claim a short time ago.
    pub(super) verdict: Option<Verdict>,
}

/// What is to be done about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assessment {
    /// Nothing: no claim, no address of ours, or our own Pod.
    Ignore,
    /// Nothing new, but the foreign host is still there.
    StillForeign,
    /// The ledger must judge.
    Report,
}

/// Judges a message as far as that can be done without the ledger, so that it is not asked about every ARP of a busy
/// segment.
pub(super) fn assess(heard: &Observation, view: &View<'_>) -> Assessment {
    // A tag inside the frame: it is of another VLAN than this segment.
    let elsewhere = heard.vlan.is_some();
    let guarded = || view.guarded.iter().any(|net| net.contains(&heard.address));
    if elsewhere || !heard.kind.is_claim() || !guarded() || view.port == Some(heard.mac) {
        return Assessment::Ignore;
    }
    match view.verdict {
        Some(Verdict::Harmless) => Assessment::Ignore,
        Some(Verdict::Foreign) => Assessment::StillForeign,
        None => Assessment::Report,
    }
}

#[cfg(test)]
mod tests {
    use cni_neigh::Kind;

    use super::*;

    const FOREIGN: MacAddr = MacAddr::from_octets([2, 0, 0, 0, 0, 9]);
    const OURS: MacAddr = MacAddr::from_octets([0xb6, 0xe7, 10, 0, 0, 5]);

    #[test]
    fn only_unjudged_claims_of_others_to_guarded_addresses_are_reported() {
        use Assessment::{Ignore, Report, StillForeign};
        use Kind::{Announcement, Probe, Reply, Request};
        let guarded = ["10.0.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()];
        let (foreign, harmless) = (Some(Verdict::Foreign), Some(Verdict::Harmless));
        let rows = [
            // kind, address, vlan, our port, verdict, expected
            (Announcement, "10.0.0.5", None, None, None, Report),
            (Reply, "10.0.0.5", None, None, None, Report),
            (Request, "10.0.0.5", None, None, None, Report),
            (Reply, "fd00::5", None, None, None, Report),
            (Probe, "10.0.0.5", None, None, None, Ignore),
            (Probe, "10.0.0.5", None, None, foreign, Ignore),
            (Reply, "10.0.1.5", None, None, None, Ignore),
            (Reply, "fd01::5", None, None, None, Ignore),
            (Reply, "10.0.0.5", Some(7), None, None, Ignore),
            (Reply, "10.0.0.5", None, Some(OURS), None, Report),
            (Reply, "10.0.0.5", None, Some(FOREIGN), None, Ignore),
            (Reply, "10.0.0.5", None, None, harmless, Ignore),
            (Reply, "10.0.0.5", None, Some(OURS), foreign, StillForeign),
            (Request, "10.0.0.5", None, None, foreign, StillForeign),
        ];
        for (kind, address, vlan, port, verdict, expected) in rows {
            let heard = Observation {
                kind,
                address: address.parse().unwrap(),
                mac: FOREIGN,
                source: FOREIGN,
                asked: None,
                vlan,
            };
            let view = View {
                guarded: &guarded,
                port,
                verdict,
            };
            assert_eq!(assess(&heard, &view), expected, "{heard:?} {view:?}");
        }
    }
}
