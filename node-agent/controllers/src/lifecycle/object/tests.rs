use node_agent_lifecycle::decision::{Budget, DecisionId, Hash};
use node_agent_lifecycle::mode::Rule;
use node_agent_lifecycle::observation::{SightState, Version};
use node_agent_lifecycle::phase::Phase;
use node_agent_lifecycle::verdict::Verdict;
use node_agent_lifecycle::{Config, Core, Moment};
use proto_ids::{NodeName, RackName};

use super::*;

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn decision(subject: Subject, change: Change, evidence: Vec<Evidence>) -> Decision {
    let mut decision = Decision {
        id: DecisionId {
            term: 3,
            sequence: 12,
        },
        at: Moment::after_start(Duration::from_secs(100)),
        policy: Hash::default(),
        subject,
        change,
        evidence,
        budget: Budget::default(),
        breakers: vec![Cause::WarmUp],
        outcome: Outcome::Recorded,
        previous: Hash::default(),
        hash: Hash::default(),
    };
    decision.hash = decision.digest();
    decision
}

fn told(decision: &Decision) -> NodeDecisionSpec {
    let place = Place {
        rack: Some("r1".to_owned()),
        mode: Some(Mode::Enforce),
    };
    let object = object(decision, &place, "m1", Timestamp::from_unix_milliseconds(0));
    assert_eq!(object.metadata.name.as_deref(), Some("3-12"));
    // Everything that the kind bounds.
    for text in object.spec.evidence.iter().map(|it| &it.text) {
        assert!(text.len() <= TEXT_LIMIT);
    }
    object.spec
}

#[test]
fn the_record_is_what_was_hashed_and_can_be_verified_again() {
    let made = decision(
        Subject::Node(node("n1")),
        Change::Verdict {
            from: Verdict::Healthy,
            to: Verdict::QuorumDead,
        },
        vec![Evidence::Vote {
            observer: node("n2"),
            same_rack: true,
            sees: SightState::Dead,
            counts: true,
        }],
    );
    let spec = told(&made);
    let read: Decision = serde_json::from_str(&spec.record).unwrap();
    assert_eq!(read, made);
    assert_eq!(read.digest().to_string(), spec.hash);
    assert_eq!(
        (spec.node.as_deref(), spec.rack.as_deref()),
        (Some("n1"), Some("r1"))
    );
    assert_eq!(spec.change.from.as_deref(), Some("Healthy"));
    assert_eq!(spec.change.to.as_deref(), Some("QuorumDead"));
    assert_eq!(spec.evidence[0].observer.as_deref(), Some("n2"));
}

#[test]
fn every_member_of_a_decision_about_many_is_named() {
    let members: Vec<NodeName> = (0..500)
        .map(|index| {
            node(&format!(
                "a-node-with-a-rather-long-name-{index:04}.example"
            ))
        })
        .collect();
    let spec = told(&decision(
        Subject::Rack("r7".parse::<RackName>().unwrap()),
        Change::Phase {
            from: Phase::RackDark,
            to: Phase::SoftEvicting,
        },
        vec![Evidence::Members(members.clone())],
    ));
    let named: Vec<&str> = spec
        .evidence
        .iter()
        .filter(|it| it.r#type == "Members")
        .flat_map(|it| it.text.split(", "))
        .collect();
    let wanted: Vec<&str> = members.iter().map(NodeName::as_str).collect();
    assert_eq!(named, wanted);
    assert_eq!((spec.node, spec.rack.as_deref()), (None, Some("r7")));
}

#[test]
fn an_action_says_its_pod_its_rule_and_its_mode_and_an_outcome_of_what_it_is() {
    let action = Action::SoftEvict {
        node: node("n1"),
        target: PodTarget {
            pod: "prod/shop-0".parse().unwrap(),
            uid: "u-1".parse().unwrap(),
            version: Version::new("77"),
        },
    };
    let subject = || Subject::Node(node("n1"));
    let spec = told(&decision(
        subject(),
        Change::Action(action.clone()),
        Vec::new(),
    ));
    assert_eq!(spec.change.action.as_deref(), Some("SoftEvict"));
    assert_eq!(spec.change.rule, Some(format!("{:?}", Rule::SoftEvict)));
    assert_eq!(spec.change.mode.as_deref(), Some("Enforce"));
    let target = &spec.targets[0];
    assert_eq!((&*target.namespace, &*target.name), ("prod", "shop-0"));
    assert_eq!((&*target.uid, &*target.resource_version), ("u-1", "77"));
    assert_eq!(spec.of, None);

    let of = DecisionId {
        term: 3,
        sequence: 4,
    };
    let mut failed = decision(subject(), Change::Outcome { of, action }, Vec::new());
    failed.outcome = Outcome::Failed(String::new());
    let became = told(&failed);
    assert_eq!(became.of.as_deref(), Some("3-4"));
    // Whoever asks for a node's decisions sees what became of them too.
    assert_eq!(became.node.as_deref(), Some("n1"));
    assert_eq!(became.targets, spec.targets);
    assert_eq!(became.outcome.r#type, OutcomeType::Failed);
    assert!(became.outcome.message.is_some());
}

#[test]
fn what_the_core_says_first_can_be_told() {
    let mut core = Core::new(Config::default(), 3, Moment::default(), Hash::default());
    let seen = crate::lifecycle::scene::nothing();
    let step = core.step(Moment::default(), &seen);
    for decision in &step.decisions {
        let place = Place {
            rack: None,
            mode: None,
        };
        let spec = object(decision, &place, "m1", Timestamp::default()).spec;
        assert!(spec.node.is_none() && !spec.change.text.is_empty());
    }
}
