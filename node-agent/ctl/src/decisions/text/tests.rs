use node_agent_lifecycle::Action;
use node_agent_lifecycle::decision::{Change, DecisionId, Hash, Outcome};

use super::*;
use crate::decisions::fixture::{Draft, chain, draft};

fn all() -> Vec<NodeDecisionSpec> {
    let cordon = Change::Action(Action::Cordon {
        node: "n7".parse().unwrap(),
    });
    let of = DecisionId {
        term: 3,
        sequence: 1,
    };
    let became = Change::Outcome {
        of,
        action: cordon.action().unwrap().clone(),
    };
    chain(
        3,
        Hash::default(),
        vec![
            Draft {
                outcome: Outcome::Ordered,
                ..draft("n7", ChangeType::Action, cordon.clone())
            },
            Draft {
                outcome: Outcome::Failed("conflict".into()),
                at: 2,
                text: "what became of 3-1: cordon n7",
                ..draft("n7", ChangeType::Outcome, became)
            },
            Draft {
                outcome: Outcome::WouldDo,
                at: 3,
                ..draft("n7", ChangeType::Action, cordon)
            },
        ],
    )
}

#[test]
fn outcomes_are_told_with_what_they_are_of() {
    let text = table(&all(), false, Paint::NONE);
    assert_eq!(
        text,
        "TIME                   ABOUT   WHAT              OUTCOME\n\
         2026-01-31T12:00:00Z   n7      cordon n7         ordered\n\
         2026-01-31T12:00:02Z   n7      cordon n7 (3-1)   failed: conflict\n\
         2026-01-31T12:00:03Z   n7      cordon n7         not done: dry-run\n"
    );
    // Of one that is not here, its id.
    let text = table(&all()[1..], false, Paint::NONE);
    assert!(text.contains("what became of 3-1"), "{text}");
    let wide = table(&all(), true, Paint::NONE);
    assert!(wide.contains("3-2") && wide.contains("LEADER"), "{wide}");
}

#[test]
fn what_does_not_hold_is_told_first_and_what_is_missing_after() {
    let findings = Findings {
        sound: 1,
        broken: vec!["decision 3-2 was changed: its hash is another".into()],
        missing: vec!["decision 3-1 is not there".into()],
        ..Findings::default()
    };
    assert_eq!(
        super::chain(&findings, Paint::NONE),
        "\nThe record does not hold together:\n  decision 3-2 was changed: its hash is another\n\
         Not here (removed because there are many, of which the archive has them; or by somebody):\n  decision 3-1 is not there\n"
    );
    let fine = Findings {
        sound: 2,
        links: 1,
        unrecorded: 1,
        ..Findings::default()
    };
    let text = super::chain(&fine, Paint::NONE);
    assert!(text.contains("holds together: 2 decisions"), "{text}");
    assert!(text.contains("1 are too long"), "{text}");
    assert_eq!(super::chain(&Findings::default(), Paint::NONE), "");
}
