//! What the agent of a node reports, as the rule about nodes takes it. Pure.
//!
//! No age and no time of the node's own clock goes on from here: how long a report holds is a difference of two of its times.

use node_agent_lifecycle::observation::{
    Class, Finding, Report, RuleName, Sight, SightState, Standing, Version,
};
use proto_crd::node_health::{Decision, SignalState};
use proto_crd::peer::{PeerState, VoteState};

use crate::lean::{LeanHealth, LeanHealthStatus, LeanSignal};

/// The signals that say that kubelet or the runtime does not work.
const KUBELET_SIGNALS: [&str; 2] = ["kubelet", "runtime"];

/// What it reports; none, where it has not yet.
pub(crate) fn report(health: &LeanHealth) -> Option<Report> {
    health.status.as_ref().map(of_status)
}

fn of_status(status: &LeanHealthStatus) -> Report {
    let sights = status.peers.iter().filter_map(|peer| {
        Some(Sight {
            // One that is no name is nobody's.
            target: peer.node.parse().ok()?,
            state: match peer.state {
                PeerState::Alive => SightState::Alive,
                PeerState::Dead => SightState::Dead,
                PeerState::Unknown => SightState::Unknown,
            },
        })
    });
    let is_given = |vote| matches!(vote, VoteState::Given);
    let is_given = status
        .vote
        .as_ref()
        .is_some_and(|vote| is_given(vote.state));
    Report {
        version: Version::new(&String::from(status.report_time)),
        ttl: status.expiry_time.since(status.report_time),
        vote: if is_given {
            Standing::Given
        } else {
            Standing::Withdrawn
        },
        sights: sights.collect(),
        findings: status.signals.iter().filter_map(finding).collect(),
        kubelet_failing: status
            .signals
            .iter()
            .any(|it| KUBELET_SIGNALS.contains(&&*it.name) && it.state == SignalState::Unhealthy),
        // Not known, or not said by an agent of before: the pace alone has to do then.
        under_pressure: status.processors_pressed == Some(true),
    }
}

/// What it is reason enough for; what people are only told of is none of the rule's business.
fn finding(signal: &LeanSignal) -> Option<Finding> {
    let class = match signal.decision? {
        Decision::Observe => return None,
        Decision::Cordon => Class::Cordon,
        Decision::Drain => Class::Drain,
        Decision::Urgent => Class::Urgent,
    };
    (signal.state == SignalState::Unhealthy).then(|| Finding {
        rule: RuleName::new(&signal.name),
        class,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn health(status: &Value) -> Option<Report> {
        let health = json!({"metadata": {"name": "n1"}, "spec": {}, "status": status});
        report(&serde_json::from_value(health).unwrap())
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is written at the call is used once"
    )]
    fn status(fields: Value) -> Value {
        let mut status = json!({
            "reportTime": "2026-01-01T00:00:00Z", "expiryTime": "2026-01-01T00:15:00Z",
            "bootId": "b", "problems": 0,
        });
        for (key, value) in fields.as_object().cloned().unwrap_or_default() {
            status[key] = value;
        }
        status
    }

    #[test]
    fn a_report_holds_for_as_long_as_its_agent_said_and_votes_only_where_it_says_so() {
        assert_eq!(health(&Value::Null), None);
        let bare = health(&status(json!({}))).unwrap();
        assert_eq!(bare.ttl, Duration::from_secs(900));
        assert_eq!(bare.vote, Standing::Withdrawn);
        assert!(!bare.kubelet_failing && !bare.under_pressure);
        let sights = json!({
            "vote": {"state": "Given", "reason": "Seeing", "message": "", "since": "2026-01-01T00:00:00Z"},
            "peers": [
                {"node": "n2", "rack": "r", "state": "Dead"}, {"node": "n3", "rack": "r", "state": "Alive"},
                {"node": "n4", "rack": "r", "state": "Unknown"}, {"node": "No name", "rack": "r", "state": "Dead"},
            ],
        });
        let seen = health(&status(sights)).unwrap();
        assert_eq!(seen.vote, Standing::Given);
        let states: Vec<_> = seen
            .sights
            .iter()
            .map(|it| (it.target.as_str(), it.state))
            .collect();
        assert_eq!(
            states,
            [
                ("n2", SightState::Dead),
                ("n3", SightState::Alive),
                ("n4", SightState::Unknown)
            ]
        );
    }

    #[test]
    fn findings_are_what_is_unhealthy_and_reason_enough_for_something() {
        for (name, state, decision, expected) in [
            ("disk-write", "Unhealthy", Some("Drain"), Some(Class::Drain)),
            (
                "disk-write",
                "Unhealthy",
                Some("Urgent"),
                Some(Class::Urgent),
            ),
            ("uplink", "Unhealthy", Some("Cordon"), Some(Class::Cordon)),
            ("dns", "Unhealthy", Some("Observe"), None),
            ("dns", "Unknown", None, None),
        ] {
            let signal = json!({"name": name, "state": state, "decision": decision});
            let report = health(&status(json!({"signals": [signal]}))).unwrap();
            let classes: Vec<_> = report.findings.iter().map(|it| it.class).collect();
            assert_eq!(
                classes,
                Vec::from_iter(expected),
                "{name} {state} {decision:?}"
            );
        }
    }

    #[test]
    fn kubelet_fails_by_its_own_signals() {
        for (name, state, is_failing) in [
            ("kubelet", "Unhealthy", true),
            ("runtime", "Unhealthy", true),
            ("kubelet", "Unknown", false),
            ("kubelet-lease", "Unhealthy", false),
        ] {
            let signal = json!({"name": name, "state": state});
            let report = health(&status(json!({"signals": [signal]}))).unwrap();
            assert_eq!(report.kubelet_failing, is_failing, "{name} {state}");
        }
    }

    #[test]
    fn pressure_is_what_the_agent_says_it_is() {
        for (said, is_pressed) in [
            (json!(true), true),
            (json!(false), false),
            (Value::Null, false),
        ] {
            let report = health(&status(json!({"processorsPressed": said}))).unwrap();
            assert_eq!(report.under_pressure, is_pressed, "{said}");
        }
    }
}
