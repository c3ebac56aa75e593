//! Signal `uplink`: the NIC of each network is there, has carrier, and is a port of its bridge that forwards. The same looks feed
//! `uplink-flaps`, `uplink-errors` and `bond`.
//!
//! A few links are asked for by name every two seconds; all of them, and the plugin's configuration, when those have changed or half
//! a minute is over.

mod bond;
mod quality;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use netlink_packet_route::link::BridgePortState;
use proto_crd::node_health::Decision;
use tokio::sync::watch;

use self::quality::Quality;
use super::Look;
use crate::health::aside::{Aside, Outcome};
use crate::health::assess::{Escalation, Rule};
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::health::underlay::links::{self, Links};
use crate::health::underlay::networks::{self, Networks, ReadNetworksError};
use crate::health::underlay::{Segment, Underlay, lay};

pub(in crate::health) use self::bond::RULE as BOND_RULE;
pub(in crate::health) use self::quality::{ERRORS_RULE, FLAPS_RULE};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("uplink");

/// A port that does not forward for 5 s is lost (vSphere HA and the reference's default say the same order): three looks.
const PERIOD: Duration = Duration::from_secs(2);

/// How it is judged.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: Duration::from_secs(30),
    set: 3,
    // A link that comes and goes does not come back with each of its moments.
    clear: 5,
    decision: Decision::Observe,
    // A switch that is restarted is back within some tens of seconds; then new Pods would have no network here.
    escalation: Some(Escalation {
        after: Duration::from_secs(30),
        to: Decision::Cordon,
    }),
    threshold: "each uplink has carrier and is a port that forwards; wrong when not so for 5 s",
};

/// All links are dumped so often, which costs some milliseconds with 256 Pods.
const SURVEY: Duration = Duration::from_secs(30);

/// Of a small file.
const FILE_DEADLINE: Duration = Duration::from_secs(2);

/// And so often while something is not where it was.
const SURVEY_AGAIN: Duration = Duration::from_secs(10);

/// Counters change slowly, and their windows are minutes: every fifth look.
const QUALITY_EVERY: u32 = 5;

/// The node's links.
pub(in crate::health) struct Source {
    root: PathBuf,
    files: Aside<Result<Networks, ReadNetworksError>>,
    published: watch::Sender<Arc<Underlay>>,
    surveyed: Option<Instant>,
    /// The links are not as the survey found them.
    has_moved: bool,
    underlay: Arc<Underlay>,
    /// The links whose word is wanted, by name.
    wanted: Vec<String>,
    looks: u32,
    quality: Quality,
}

impl Source {
    /// Looks at the node whose file tree is at `root`; `flaps`: how long a flap counts. The receiver has what was found of its networks.
    pub(in crate::health) fn new(
        root: PathBuf,
        flaps: Duration,
    ) -> (Self, watch::Receiver<Arc<Underlay>>) {
        let (published, underlay) = watch::channel(Arc::default());
        let source = Self {
            root,
            files: Aside::new("networks"),
            published,
            surveyed: None,
            has_moved: false,
            underlay: Arc::default(),
            wanted: Vec::new(),
            looks: 0,
            quality: Quality::new(flaps),
        };
        (source, underlay)
    }

    /// Finds the networks anew.
    async fn survey(&mut self) -> Result<(), String> {
        let root = self.root.clone();
        let networks = match self
            .files
            .run(FILE_DEADLINE, move || networks::read(&root))
            .await
        {
            Outcome::Done(networks) => networks.map_err(|error| chain(&error))?,
            Outcome::Hangs(since) => {
                let since = since.as_secs();
                return Err(format!(
                    "the plugin's configuration has not been read for {since} s"
                ));
            }
            Outcome::NotDone(error) => return Err(error.to_string()),
        };
        let links = links::read_all().await.map_err(|error| chain(&error))?;
        let mut underlay = lay(&networks, &links);
        underlay.laid = Some(Instant::now());
        let slaves = bond::slaves(&underlay, &links);
        let mut wanted = BTreeSet::from_iter(slaves);
        for segment in &underlay.segments {
            wanted.insert(segment.uplink.clone());
            wanted.extend(segment.port.clone());
            wanted.extend(segment.bridge.clone());
        }
        self.wanted = wanted.into_iter().collect();
        self.underlay = Arc::new(underlay);
        self.published.send_replace(Arc::clone(&self.underlay));
        self.surveyed = self.underlay.laid;
        Ok(())
    }

    async fn observe(&mut self) -> Result<Links, String> {
        let is_due = |at: Option<Instant>, after| at.is_none_or(|at| at.elapsed() >= after);
        if is_due(self.surveyed, SURVEY) {
            self.survey().await?;
            return self.ask().await;
        }
        let links = self.ask().await?;
        let has_moved = !is_as_surveyed(&self.underlay.segments, &links);
        let is_news = has_moved && !self.has_moved;
        self.has_moved = has_moved;
        // What is wrong here may be right in another place: the first Pod's bridge was made, a configuration was written just now.
        let is_nowhere = has_moved || self.underlay.segments.is_empty();
        if is_news || (is_nowhere && is_due(self.surveyed, SURVEY_AGAIN)) {
            self.survey().await?;
            return self.ask().await;
        }
        Ok(links)
    }

    async fn ask(&self) -> Result<Links, String> {
        let names: Vec<_> = self.wanted.iter().map(String::as_str).collect();
        let links = links::read_named(&names).await;
        links.map_err(|error| chain(&error))
    }
}

impl Look for Source {
    const NAME: &'static str = "uplink";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        let links = match self.observe().await {
            Ok(links) => links,
            Err(why) => {
                let all = [SIGNAL, quality::FLAPS, quality::ERRORS, bond::SIGNAL];
                return all
                    .map(|signal| Verdict::unclear(signal, why.clone()))
                    .into();
            }
        };
        let verdict = assess(&self.underlay.segments, &links);
        let mut verdicts = vec![verdict];
        if self.looks.is_multiple_of(QUALITY_EVERY) {
            verdicts.extend(self.quality.look(&links, Instant::now()));
            verdicts.push(bond::assess(&self.underlay.segments, &links));
        }
        self.looks = self.looks.wrapping_add(1);
        verdicts
    }
}

/// What is wrong with one network's way out, worst first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    rank: u8,
    kind: &'static str,
    message: String,
}

/// Whether everything is where the survey found it.
fn is_as_surveyed(segments: &[Segment], links: &Links) -> bool {
    segments.iter().all(|segment| {
        let port = segment.port.as_deref().and_then(|it| links.named(it));
        let bridge = segment.bridge.as_deref().and_then(|it| links.named(it));
        port.is_some_and(|it| it.master == bridge.map(|bridge| bridge.index))
    })
}

/// What the uplinks say.
fn assess(segments: &[Segment], links: &Links) -> Verdict {
    if segments.is_empty() {
        return Verdict::absent(SIGNAL, "no networks of Berth are configured on this node");
    }
    let value = describe(segments, links);
    let faults = segments.iter().filter_map(|it| fault(it, links));
    let mut faults: Vec<_> = faults.collect();
    faults.sort_by_key(|fault| fault.rank);
    let Some(worst) = faults.first() else {
        return Verdict::good(SIGNAL, value);
    };
    let messages: Vec<_> = faults.iter().map(|it| it.message.as_str()).collect();
    let trouble = Trouble {
        kind: worst.kind,
        message: messages.join("; "),
        impact: "Pods of this node cannot be reached on that network, nor reach anything there beyond the node; Pods that \
                 start get no working interface"
            .to_owned(),
        advice: "berth uplink on the node shows each uplink with what is missing; ip -d link shows carrier and bridge port. Without \
                 carrier: cable, transceiver, the switch's port. Off its bridge or not forwarding: who changed the bridge? \
                 The next Pod that starts puts an uplink back that Berth manages"
            .to_owned(),
    };
    Verdict::bad(SIGNAL, value, trouble)
}

fn fault(segment: &Segment, links: &Links) -> Option<Fault> {
    let Segment {
        network, uplink, ..
    } = segment;
    let fault = |rank, kind, what: String| {
        let message = format!("network {network}: {what}");
        Some(Fault {
            rank,
            kind,
            message,
        })
    };
    let Some(nic) = links.named(uplink) else {
        return fault(0, "missing", format!("uplink {uplink} is not there"));
    };
    if !nic.is_up {
        return fault(1, "down", format!("uplink {uplink} is set down"));
    }
    if !nic.has_carrier {
        return fault(2, "no-carrier", format!("uplink {uplink} has no carrier"));
    }
    // No Pod yet: there is no bridge, and nothing is missing.
    let bridge_name = segment.bridge.as_deref()?;
    let Some(bridge) = links.named(bridge_name) else {
        return fault(3, "no-bridge", format!("bridge {bridge_name} is gone"));
    };
    if !bridge.is_up {
        return fault(
            4,
            "bridge-down",
            format!("bridge {bridge_name} is set down"),
        );
    }
    let port = segment.port.as_deref().and_then(|it| links.named(it));
    let Some(port) = port else {
        let what = format!("the VLAN device of {uplink} is gone");
        return fault(5, "no-vlan-device", what);
    };
    if port.master != Some(bridge.index) {
        let what = format!("{} is no port of bridge {bridge_name}", port.name);
        return fault(6, "detached", what);
    }
    match port.bridge_state {
        Some(BridgePortState::Forwarding) => None,
        Some(state) => {
            let what = format!(
                "bridge {bridge_name} does not forward by {}: {state}",
                port.name
            );
            fault(7, "blocked", what)
        }
        None => {
            let what = format!(
                "the kernel does not say whether bridge {bridge_name} forwards by {}",
                port.name
            );
            fault(8, "blocked", what)
        }
    }
}

fn describe(segments: &[Segment], links: &Links) -> String {
    let one = |segment: &Segment| {
        let state = match fault(segment, links) {
            Some(fault) => fault.kind,
            None if segment.bridge.is_none() => "not in use",
            None => "forwarding",
        };
        format!("{} {}: {state}", segment.network, segment.uplink)
    };
    let all: Vec<_> = segments.iter().map(one).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests;
