//! What is seen, kept up to date in place: Nodes, Leases and reports as the core takes them. Pure.
//!
//! **Always holds:** a node is looked at where its rack and address are known and Berth runs there; its ages are the core's, by when a
//! version was seen to change.

use std::time::{Duration, Instant};

use node_agent_lifecycle::beside::Beside;
use node_agent_lifecycle::fencing::fence_proof;
use node_agent_lifecycle::freeze::Freezes;
use node_agent_lifecycle::observation::{
    ControllerHealth, NodeObservation, Observations, Report, Version,
};
use node_agent_lifecycle::window::MinuteOfWeek;
use node_agent_lifecycle::{Core, Moment};
use proto_crd::names;
use proto_crd::time::Timestamp;
use proto_ids::NodeName;

use super::rules::{of_week, zone_of};
use crate::heartbeats::{Beat, Beats, Heartbeats};
use crate::lean::{NodeMarks, NodeView};
use crate::world::World;

/// kubelet's period: while there are any, one of them renewed within it.
const KUBELET_PERIOD: Duration = Duration::from_secs(10);
/// The leader's own Lease is seen to change so often, by the watch that shows the agents'.
const OWN_PERIOD: Duration = Duration::from_secs(2);

/// The clock of this process, as the core has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// From now on.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// An instant of it.
    pub(super) fn moment(self, at: Instant) -> Moment {
        Moment::after_start(at.saturating_duration_since(self.0))
    }

    /// Now.
    pub(super) fn now(self) -> Moment {
        self.moment(Instant::now())
    }
}

/// Nothing is known yet.
pub(super) const fn nothing() -> Observations {
    Observations {
        controller: ControllerHealth {
            term: None,
            watch_lag: Duration::ZERO,
            lease_write_p99: Duration::ZERO,
        },
        freezes: Freezes::Unreadable,
        week: None,
        nodes: std::collections::BTreeMap::new(),
        pods: std::collections::BTreeMap::new(),
        apps: std::collections::BTreeMap::new(),
        replacements: Vec::new(),
    }
}

/// Takes in what the watches have seen of all nodes.
pub(super) fn refresh(
    seen: &mut Observations,
    world: &World,
    heartbeats: &Heartbeats,
    now: Timestamp,
) {
    let nodes = world.nodes.items();
    let at_home = || nodes.iter().filter(|(_, node)| node.home.is_some());
    let mut there = Beside::walk(at_home());
    seen.nodes
        .retain(|name, _| there.at(name.as_str()).is_some());
    if seen.nodes.len() < at_home().count() {
        for (name, node) in at_home() {
            let (Ok(name), Some(first)) = (name.parse::<NodeName>(), at_first_sight(node)) else {
                continue;
            };
            seen.nodes.entry(name).or_insert(first);
        }
    }
    let mut there = Beside::walk(nodes);
    let mut reports = Beside::walk(world.reports.items());
    let mut kubelets = Beside::walk(heartbeats.kubelets.all());
    let mut agents = Beside::walk(heartbeats.agents.all());
    for (name, seen) in &mut seen.nodes {
        let name = name.as_str();
        let beats = (kubelets.at(name), agents.at(name));
        let report = reports.at(name).and_then(Option::as_ref);
        if let Some(node) = there.at(name) {
            look(seen, node, beats, report, now);
        }
    }
}

fn at_first_sight(node: &NodeView) -> Option<NodeObservation> {
    let home = node.home.as_ref()?;
    Some(NodeObservation {
        rack: home.rack.parse().ok()?,
        zone: zone_of(node.marks.zone.as_deref()),
        kubelet_lease: None,
        kubelet_lease_read: None,
        agent_lease: None,
        report: None,
        fence: None,
        cordoned: false,
        endpoints_withdrawn: false,
        fence_marked: false,
        maintenance: false,
    })
}

fn look(
    seen: &mut NodeObservation,
    node: &NodeView,
    (kubelet, agent): (Option<&Beat>, Option<&Beat>),
    report: Option<&Report>,
    now: Timestamp,
) {
    if let Some(home) = &node.home
        && seen.rack.as_str() != home.rack
        && let Ok(rack) = home.rack.parse()
    {
        seen.rack = rack;
    }
    let zone = node.marks.zone.as_deref();
    if zone.is_none_or(|zone| seen.zone.as_str() != zone) {
        seen.zone = zone_of(zone);
    }
    version(&mut seen.kubelet_lease, kubelet);
    version(&mut seen.agent_lease, agent);
    if seen.report.as_ref() != report {
        seen.report = report.cloned();
    }
    take_marks(seen, &node.marks, now);
}

/// What was put on a Node, as it is now.
pub(super) fn take_marks(seen: &mut NodeObservation, marks: &NodeMarks, now: Timestamp) {
    seen.fence = fence_proof(&marks.fence);
    seen.cordoned = marks.is_cordoned;
    seen.endpoints_withdrawn = marks.is_withdrawn;
    seen.fence_marked = marks.fence.is_decided;
    seen.maintenance = marks
        .maintenance
        .as_deref()
        .is_some_and(|until| is_before(now, until));
}

/// Whether people's maintenance goes on. What is no time says nothing about an end: it goes on.
fn is_before(now: Timestamp, until: &str) -> bool {
    until.parse::<Timestamp>().is_ok_and(|until| now < until) || until.parse::<Timestamp>().is_err()
}

/// The Lease of one node, as it is now.
pub(super) fn version(seen: &mut Option<Version>, beat: Option<&Beat>) {
    let is_same = match (&*seen, beat) {
        (Some(seen), Some(beat)) => seen.as_str() == &*beat.version,
        (None, None) => true,
        _ => false,
    };
    if !is_same {
        *seen = beat.map(|beat| Version::new(&beat.version));
    }
}

/// How far the watches are behind, at least: something of each changes all the time, and how often is known.
pub(super) fn lag(heartbeats: &Heartbeats, nodes: usize, now: Instant) -> Duration {
    let behind = |beats: &Beats, period| {
        let age = beats.changed().map(|at| now.saturating_duration_since(at));
        age.unwrap_or_default().saturating_sub(period)
    };
    let own = heartbeats.agents.get(names::CONTROLLERS_LEASE);
    let own = own.map_or(Duration::ZERO, |beat| {
        now.saturating_duration_since(beat.since)
    });
    let agents = own.saturating_sub(OWN_PERIOD);
    if nodes == 0 {
        return agents;
    }
    agents.max(behind(&heartbeats.kubelets, KUBELET_PERIOD))
}

/// The minute of UTC's week. The epoch was a Thursday.
pub(super) fn week(now: Timestamp) -> MinuteOfWeek {
    const THURSDAY: i64 = 3 * 24 * 60;
    let minutes = now.since(Timestamp::default()).as_secs() / 60;
    of_week(i64::try_from(minutes).unwrap_or_default() + THURSDAY)
}

/// How many nodes are what, by verdict.
pub(super) fn census(core: &Core) -> Vec<(super::figures::VerdictKind, i64)> {
    let mut counts = std::collections::BTreeMap::new();
    for (_, verdict, _) in core.nodes() {
        *counts.entry(super::figures::kind(verdict)).or_default() += 1;
    }
    super::figures::VerdictKind::ALL
        .into_iter()
        .map(|kind| (kind, counts.get(&kind).copied().unwrap_or(0)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use kube::runtime::watcher::Event;
    use node_agent_lifecycle::fencing::FenceMarks;

    use super::*;
    use crate::lean::Home;

    fn view(rack: Option<&str>, marks: NodeMarks) -> NodeView {
        NodeView {
            uid: "u".to_owned(),
            home: rack.map(|rack| Home {
                rack: rack.to_owned(),
                address: IpAddr::from([10, 0, 0, 1]),
            }),
            marks,
        }
    }

    fn world(nodes: &[(&str, NodeView)]) -> World {
        let mut world = World::default();
        world.nodes.apply(Event::Init);
        for (name, node) in nodes {
            let event = Event::InitApply(((*name).to_owned(), node.clone()));
            world.nodes.apply(event);
        }
        world.nodes.apply(Event::InitDone);
        world
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn nodes_are_seen_with_their_marks_and_only_where_berth_runs() {
        let now = at("2026-03-02T10:00:00Z");
        let marks = NodeMarks {
            is_cordoned: true,
            is_withdrawn: true,
            fence: FenceMarks {
                is_decided: true,
                taint: None,
                fenced_by: Some("operator:jane:1".to_owned()),
            },
            maintenance: Some("2026-03-02T10:00:01Z".to_owned()),
            zone: Some("z1".to_owned()),
        };
        let mut seen = nothing();
        let first = world(&[
            ("n1", view(Some("r1"), marks.clone())),
            ("n2", view(None, NodeMarks::default())),
        ]);
        let mut beats = Heartbeats::default();
        beats.kubelets.saw("n1", Some("7"), Instant::now());
        refresh(&mut seen, &first, &beats, now);
        assert_eq!(seen.nodes.len(), 1);
        let n1 = seen.nodes.values().next().unwrap();
        assert!(n1.cordoned && n1.endpoints_withdrawn && n1.fence_marked && n1.maintenance);
        assert_eq!(n1.zone.as_str(), "z1");
        assert_eq!(n1.kubelet_lease.as_ref().map(Version::as_str), Some("7"));
        assert_eq!(n1.fence.as_ref().map(|it| it.by.as_str()), Some("jane"));
        // Later nothing of it is left, and its rack is another.
        let later = world(&[("n1", view(Some("r2"), NodeMarks::default()))]);
        refresh(&mut seen, &later, &Heartbeats::default(), now);
        let n1 = seen.nodes.values().next().unwrap();
        assert!(!n1.cordoned && !n1.endpoints_withdrawn && !n1.fence_marked && !n1.maintenance);
        assert_eq!((n1.rack.as_str(), n1.zone.as_str()), ("r2", "cluster"));
        assert_eq!((&n1.fence, &n1.kubelet_lease), (&None, &None));
        refresh(&mut seen, &world(&[]), &Heartbeats::default(), now);
        assert!(seen.nodes.is_empty());
    }

    #[test]
    fn maintenance_ends_at_its_time_and_never_where_that_is_none() {
        let now = at("2026-03-02T10:00:00Z");
        for (until, expected) in [
            ("2026-03-02T10:00:01Z", true),
            ("2026-03-02T10:00:00Z", false),
            ("2026-03-02T09:00:00Z", false),
            ("until the disk is there", true),
        ] {
            assert_eq!(is_before(now, until), expected, "{until}");
        }
    }

    #[test]
    fn the_week_begins_on_monday_of_utc() {
        for (time, day, minute) in [
            ("1970-01-01T00:00:00Z", 3, 0),
            ("2026-03-02T10:01:59Z", 0, 601),
            ("2026-03-01T23:59:00Z", 6, 24 * 60 - 1),
        ] {
            assert_eq!(week(at(time)), MinuteOfWeek::new(day, minute), "{time}");
        }
    }

    #[test]
    fn a_watch_is_behind_when_what_changes_all_the_time_does_not() {
        let start = Instant::now();
        let mut beats = Heartbeats::default();
        beats.kubelets.saw("n1", Some("1"), start);
        beats.kubelets.saw("n1", Some("2"), start);
        beats.agents.saw(names::CONTROLLERS_LEASE, Some("1"), start);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(lag(&beats, 3, after(2)), Duration::ZERO);
        assert_eq!(lag(&beats, 3, after(12)), Duration::from_secs(10));
        beats
            .agents
            .saw(names::CONTROLLERS_LEASE, Some("2"), after(30));
        assert_eq!(lag(&beats, 3, after(30)), Duration::from_secs(20));
        assert_eq!(lag(&beats, 0, after(30)), Duration::ZERO);
    }
}
