//! Signal `gateway`: the switch of each of this node's networks answers ARP, or neighbour solicitations. Not ICMP, which switches answer
//! at their leisure. berth-ipamd tells the gateways; `uplink` finds the links on which they are heard.
//!
//! A question a second. What came since the last look is judged, then the next is asked: nothing waits here. Once the gateway's MAC is
//! known the question goes to it alone: broadcasts of all nodes, every second, would wake every Pod of the rack. No question speaks in
//! a Pod's name, and none claims an address: neighbours learn nothing from it, and berth-ipamd hears no conflict.

mod ear;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use proto_crd::node_health::Decision;
use proto_ipam::v1::Phase;
use tokio::sync::watch;

use self::ear::Ear;
use super::Look;
use super::ipamd;
use crate::health::assess::Rule;
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::health::underlay::Underlay;

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("gateway");

const PERIOD: Duration = Duration::from_secs(1);

/// How it is judged.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: Duration::from_secs(30),
    // vSphere HA calls a host isolated after 12 to 30 s without its gateway; here it is the node's own suspicion first: five questions.
    set: 5,
    clear: 3,
    // It says more of the switch than of the node, and the node's Pods may be well: it is for whoever weighs this node's word.
    decision: Decision::Observe,
    escalation: None,
    threshold: "each gateway answers ARP or ND; wrong after 5 questions without, 1 s apart",
};

/// The switch on one of this rack's subnets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::health) struct Gateway {
    /// The network.
    pub(in crate::health) network: String,
    /// Its address there.
    pub(in crate::health) address: IpAddr,
    /// The subnet.
    pub(in crate::health) subnet: IpNet,
}

/// The gateways that berth-ipamd tells; `None` where it does not tell.
pub(super) fn told(sight: &ipamd::Sight) -> Option<Vec<Gateway>> {
    let ipamd::Sight::Told(status) = sight else {
        return None;
    };
    if !matches!(status.phase(), Phase::Serving | Phase::ReadOnly) {
        return None;
    }
    let pools = status.pools.iter().filter(|pool| pool.rack == status.rack);
    let mut gateways: Vec<_> = pools
        .filter_map(|pool| {
            Some(Gateway {
                network: pool.network.clone(),
                address: pool.gateway.parse().ok()?,
                subnet: pool.subnet.parse().ok()?,
            })
        })
        .collect();
    gateways.sort();
    gateways.dedup();
    Some(gateways)
}

/// The gateways.
pub(in crate::health) struct Source {
    gateways: watch::Receiver<Option<Vec<Gateway>>>,
    underlay: watch::Receiver<Arc<Underlay>>,
    ears: BTreeMap<Gateway, Ear>,
}

/// What is known of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    /// Not asked yet.
    New,
    /// The last question was answered, or it spoke by itself.
    Answers,
    /// So many questions in a row were not.
    Silent { misses: u32 },
    /// It has never answered; the node has no address there, and some do not answer a question without one.
    Mute,
    /// The node itself is not on the network, or has no address that may ask.
    Unasked { why: &'static str },
    /// We could not ask.
    Blind { why: String },
}

impl Source {
    /// Asks the gateways, where the networks are heard.
    pub(in crate::health) fn new(
        gateways: watch::Receiver<Option<Vec<Gateway>>>,
        underlay: watch::Receiver<Arc<Underlay>>,
    ) -> Self {
        Self {
            gateways,
            underlay,
            ears: BTreeMap::new(),
        }
    }
}

impl Look for Source {
    const NAME: &'static str = "gateway";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        let gateways = self.gateways.borrow_and_update().clone();
        let Some(gateways) = gateways else {
            let why = "only berth-ipamd knows the gateways, and it has not told them yet";
            return vec![Verdict::unclear(SIGNAL, why)];
        };
        let underlay = Arc::clone(&self.underlay.borrow_and_update());
        self.ears.retain(|gateway, _| gateways.contains(gateway));
        let mut sights = Vec::new();
        for gateway in gateways {
            let mut segments = underlay.segments.iter();
            let segment = segments.find(|it| it.network == gateway.network);
            let ear = self.ears.entry(gateway.clone()).or_default();
            let link = segment.and_then(|segment| segment.ear.as_deref());
            let sight = ear.look(&gateway, link).await;
            sights.push((gateway, sight));
        }
        assess(&sights).into_iter().collect()
    }
}

/// What the gateways say; nothing before each was asked.
fn assess(sights: &[(Gateway, Sight)]) -> Option<Verdict> {
    if sights.is_empty() {
        let why = "no pool of this node's rack has a gateway";
        return Some(Verdict::absent(SIGNAL, why));
    }
    if sights.iter().any(|(_, sight)| *sight == Sight::New) {
        return None;
    }
    let value = sights.iter().map(describe).collect::<Vec<_>>().join(", ");
    let silent: Vec<_> = sights
        .iter()
        .filter(|(_, sight)| matches!(sight, Sight::Silent { .. }))
        .map(describe)
        .collect();
    if !silent.is_empty() {
        return Some(Verdict::bad(SIGNAL, value, trouble(&silent)));
    }
    if let Some((_, Sight::Blind { why })) = sights
        .iter()
        .find(|(_, sight)| matches!(sight, Sight::Blind { .. }))
    {
        return Some(Verdict::unclear(SIGNAL, why));
    }
    let has = |wanted: fn(&Sight) -> bool| sights.iter().any(|(_, sight)| wanted(sight));
    if has(|sight| *sight == Sight::Answers) {
        return Some(Verdict::good(SIGNAL, value));
    }
    if has(|sight| *sight == Sight::Mute) {
        let why = format!("{value}: give the node an address of the network to ask with");
        return Some(Verdict::unclear(SIGNAL, why));
    }
    Some(Verdict::absent(SIGNAL, value))
}

fn describe((gateway, sight): &(Gateway, Sight)) -> String {
    let Gateway {
        network, address, ..
    } = gateway;
    let state = match sight {
        Sight::New => "not asked yet".to_owned(),
        Sight::Answers => "answers".to_owned(),
        Sight::Silent { misses } => format!("silent for {misses} s"),
        Sight::Mute => "has never answered a question without an address".to_owned(),
        Sight::Unasked { why } => format!("not asked ({why})"),
        Sight::Blind { .. } => "cannot be asked".to_owned(),
    };
    format!("{network} {address} {state}")
}

fn trouble(silent: &[String]) -> Trouble {
    Trouble {
        kind: "silent",
        message: format!("the gateway does not answer: {}", silent.join(", ")),
        impact: "Pods of this node reach nothing beyond that subnet, and nothing beyond reaches them; where the other nodes of the rack see \
                 the same it is the switch, else the way from this node to it"
            .to_owned(),
        advice: "kubectl berth health shows the rack's other nodes. All of them: the switch. This one alone: its uplink, the switch's port, \
                 its VLAN; arping -I BRIDGE GATEWAY on the node asks by hand"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests;
