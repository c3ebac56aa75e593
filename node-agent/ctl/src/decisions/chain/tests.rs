use node_agent_lifecycle::Action;
use node_agent_lifecycle::verdict::Verdict;

use super::*;
use crate::decisions::fixture::{chain, draft};

fn cordon() -> Change {
    let node = "n7".parse().unwrap();
    Change::Action(Action::Cordon { node })
}

fn two() -> Vec<crate::decisions::fixture::Draft> {
    let change = Change::Verdict {
        from: Verdict::Healthy,
        to: Verdict::Unknown,
    };
    vec![
        draft("n7", ChangeType::Verdict, change),
        draft("n7", ChangeType::Action, cordon()),
    ]
}

fn last(decisions: &[NodeDecisionSpec]) -> Hash {
    Hash::try_from(decisions.last().unwrap().hash.clone()).unwrap()
}

#[test]
fn chain_of_two_terms_holds_and_each_link_is_followed() {
    let mut all = chain(3, Hash::default(), two());
    let second = chain(4, last(&all), two());
    all.extend(second);
    let findings = verify(&all, true);
    let expected = Findings {
        sound: 4,
        links: 3,
        ..Findings::default()
    };
    assert_eq!(findings, expected);
}

#[test]
fn term_that_begins_anew_is_no_fault_and_one_that_follows_what_is_gone_is_told() {
    let mut all = chain(3, Hash::default(), two());
    all.extend(chain(4, Hash::default(), two()));
    assert_eq!(verify(&all, true).missing, [""; 0]);
    let mut all = chain(3, Hash::default(), two());
    let next = chain(4, last(&all), two());
    all.pop();
    all.extend(next);
    let findings = verify(&all, true);
    assert_eq!(
        findings.missing,
        ["the decision that 4-1 follows is not there"]
    );
    assert!(findings.broken.is_empty());
}

#[test]
fn what_was_removed_is_told_only_where_all_was_asked_for() {
    let drafts = || two().into_iter().chain(two()).collect();
    let mut all = chain(3, Hash::default(), drafts());
    all.remove(1);
    assert_eq!(verify(&all, true).missing, ["decision 3-2 is not there"]);
    assert_eq!(verify(&all, false).missing, [""; 0]);
    all.remove(1);
    let told = ["decisions 3-2 to 3-3 are not there"];
    assert_eq!(verify(&all, true).missing, told);
    // The oldest are removed when there are many.
    all.remove(0);
    assert_eq!(verify(&all, true).missing, [""; 0]);
}

#[test]
fn what_was_changed_is_found() {
    type Change = fn(&mut NodeDecisionSpec);
    let changes: [(&str, Change, &str); 7] = [
        (
            "the record",
            |it| it.record = it.record.replace("n7", "n8"),
            "decision 3-2 was changed: its hash is another",
        ),
        (
            "the outcome that people read",
            |it| it.outcome.r#type = OutcomeType::Done,
            "decision 3-2: outcome is not what its record says",
        ),
        (
            "the node that people read",
            |it| it.subject.name = Some("n8".to_owned()),
            "decision 3-2: subject is not what its record says",
        ),
        (
            "the type that people read",
            |it| it.change.r#type = ChangeType::Cancelled,
            "decision 3-2: change is not what its record says",
        ),
        (
            "the hash",
            |it| it.hash = "0".repeat(64),
            "decision 3-2: hash is not what its record says",
        ),
        (
            "no record at all any more",
            |it| it.record = "{}".to_owned(),
            "decision 3-2: its record cannot be read by this version",
        ),
        (
            "the decision before",
            |it| it.previous = "0".repeat(64),
            "decision 3-2: previous is not what its record says",
        ),
    ];
    for (what, change, told) in changes {
        let mut all = chain(3, Hash::default(), two());
        change(&mut all[1]);
        let findings = verify(&all, true);
        assert!(findings.broken[0].starts_with(told), "{what}: {findings:?}");
    }
}

#[test]
fn decision_that_was_made_anew_with_a_right_hash_breaks_the_link() {
    let mut all = chain(3, Hash::default(), two());
    let forged = chain(
        3,
        Hash::default(),
        vec![draft("n7", ChangeType::Action, cordon())],
    );
    all[0] = forged.into_iter().next().unwrap();
    let findings = verify(&all, true);
    assert_eq!(findings.sound, 2);
    assert_eq!(
        findings.broken,
        ["decision 3-2 does not follow 3-1: the hash of the one before is another"]
    );
}

#[test]
fn record_that_is_too_long_for_an_object_is_no_fault() {
    let mut all = chain(3, Hash::default(), two());
    all[0].record.clear();
    let findings = verify(&all, true);
    assert_eq!((findings.unrecorded, findings.links), (1, 1));
    assert!(findings.broken.is_empty());
}
