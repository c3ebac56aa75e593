use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use node_agent_lifecycle::fencing::{FenceMarks, Life, SignOfLife};
use proto_crd::claim::{Mark, OriginKind, Owner};

use super::*;
use crate::lean::{NodeMarks, NodeView};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_secs(29);

fn wall() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn mark(by: &str, reason: &str) -> Mark {
    Mark {
        reason: reason.to_owned(),
        by: by.to_owned(),
        at: Time(wall()),
    }
}

fn ours(cause: Cause) -> Mark {
    mark(names::CONTROLLERS_ACCOUNT, &cause.reason("n1"))
}

fn operators() -> Mark {
    mark("anna", "the machine burns")
}

/// An idle claim of n1, of UID u1.
fn claim() -> ClaimView {
    ClaimView {
        uid: "c1".to_owned(),
        version: "1".to_owned(),
        node: "n1".to_owned(),
        node_uid: Some("u1".to_owned()),
        pool: "p".to_owned(),
        fenced: None,
        release: None,
        binding: None,
        is_deleting: false,
        finalizers: vec![names::CLAIM_FINALIZER.to_owned()],
    }
}

/// Of a Pod of a `StatefulSet`, held.
fn held() -> BindingView {
    BindingView {
        identity: "shop/db-2".to_owned(),
        origin: OriginKind::Pod,
        pod: Some(("shop".to_owned(), "db-2".to_owned())),
        is_reserved: false,
        hold: Some("forever".to_owned()),
        owner: Some(Box::new(Owner {
            api_version: "apps/v1".to_owned(),
            kind: "StatefulSet".to_owned(),
            name: "db".to_owned(),
            uid: "s1".to_owned(),
            ordinal: Some(2),
        })),
        is_attached: false,
        until: None,
    }
}

/// Of a Pod that nobody replaces under its name.
fn passing() -> BindingView {
    BindingView {
        identity: "shop/web-7d9f-x2k4p".to_owned(),
        pod: Some(("shop".to_owned(), "web-7d9f-x2k4p".to_owned())),
        hold: None,
        owner: None,
        is_attached: true,
        ..held()
    }
}

fn bound(binding: BindingView) -> ClaimView {
    ClaimView {
        binding: Some(Box::new(binding)),
        ..claim()
    }
}

fn node(uid: &str, is_out_of_service: bool) -> NodeView {
    NodeView {
        uid: uid.to_owned(),
        home: None,
        marks: NodeMarks {
            fence: FenceMarks {
                taint: is_out_of_service.then(|| "off".to_owned()),
                ..FenceMarks::default()
            },
            ..NodeMarks::default()
        },
    }
}

fn facts(node: NodeSight<'_>) -> Facts<'_> {
    Facts {
        node,
        owner: None,
        pod: PodSight::Gone,
        marked: LONG,
        rest: Duration::from_secs(600),
        wall: wall(),
    }
}

fn owner(is_wanted: bool, unwanted: Duration) -> OwnerFact {
    let wish = if is_wanted {
        Wish::Wanted
    } else {
        let reason = "StatefulSet shop/db was scaled to 2".to_owned();
        Wish::Unwanted { reason }
    };
    OwnerFact { wish, unwanted }
}

fn fence(reason: &str) -> Deed {
    let reason = reason.to_owned();
    Deed::Fence { reason }
}

#[test]
fn a_holder_is_declared_dead_by_what_its_node_is() {
    let (own, new) = (node("u1", false), node("u2", false));
    let (tainted, new_tainted) = (node("u1", true), node("u2", true));
    let unsaid = ClaimView {
        node_uid: None,
        ..claim()
    };
    let missing = |seconds| NodeSight::Missing(Duration::from_secs(seconds));
    let deleted = "Node n1 was deleted";
    let recreated = "Node n1 was deleted and made anew: this is of the earlier one";
    let taint = "Node n1 has the taint node.kubernetes.io/out-of-service, and shows no life";
    for (case, claim, node, deed) in [
        ("there", claim(), NodeSight::There(&own, Life::Silent), None),
        ("just gone", claim(), missing(59), None),
        ("gone", claim(), missing(60), Some(fence(deleted))),
        (
            "gone, in use",
            bound(passing()),
            missing(60),
            Some(fence(deleted)),
        ),
        (
            "another one",
            claim(),
            NodeSight::There(&new, Life::Silent),
            Some(fence(recreated)),
        ),
        (
            "another one, shut down",
            claim(),
            NodeSight::There(&new_tainted, Life::Silent),
            Some(fence(recreated)),
        ),
        (
            "shut down",
            claim(),
            NodeSight::There(&tainted, Life::Silent),
            Some(fence(taint)),
        ),
        (
            "no UID, gone",
            unsaid.clone(),
            missing(60),
            Some(fence(deleted)),
        ),
        (
            "no UID, maybe another one",
            unsaid.clone(),
            NodeSight::There(&new, Life::Silent),
            None,
        ),
        (
            "no UID, shut down",
            unsaid,
            NodeSight::There(&tainted, Life::Silent),
            Some(fence(taint)),
        ),
    ] {
        assert_eq!(decide(&claim, &facts(node)), deed, "{case}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row a case")]
fn only_a_node_that_shows_no_life_is_taken_for_fenced() {
    use SignOfLife::{Agent, Kubelet, Peer};
    let fence = |marks: FenceMarks| NodeView {
        marks: NodeMarks {
            fence: marks,
            ..NodeMarks::default()
        },
        ..node("u1", false)
    };
    let decided = fence(FenceMarks {
        is_decided: true,
        ..FenceMarks::default()
    });
    let annotated = fence(FenceMarks {
        fenced_by: Some("operator:jane:now".to_owned()),
        ..FenceMarks::default()
    });
    let (plain, tainted) = (node("u1", false), node("u1", true));
    let seen = |sign| Life::Seen(sign);
    let marked = |cause: Cause| ClaimView {
        fenced: Some(ours(cause)),
        ..claim()
    };
    let (fences, leaves, lifts) = (
        |cause: Cause| Some(self::fence(&cause.reason("n1"))),
        None,
        Some(Deed::Unfence),
    );
    // Of a claim without a mark, and of one that has it.
    for (node, life, cause, without, with) in [
        (
            &tainted,
            Life::Silent,
            Cause::Tainted,
            fences(Cause::Tainted),
            &leaves,
        ),
        (&tainted, Life::Unknown, Cause::Tainted, None, &leaves),
        (&tainted, seen(Kubelet), Cause::Tainted, None, &lifts),
        (&tainted, seen(Agent), Cause::Tainted, None, &lifts),
        (&tainted, seen(Peer), Cause::Tainted, None, &lifts),
        (
            &annotated,
            Life::Silent,
            Cause::Annotated,
            fences(Cause::Annotated),
            &leaves,
        ),
        (&annotated, seen(Peer), Cause::Annotated, None, &lifts),
        // What was decided needs no proof of its own, and holds for as long as the node does not come back.
        (
            &decided,
            Life::Unknown,
            Cause::Decided,
            fences(Cause::Decided),
            &leaves,
        ),
        (
            &decided,
            Life::Silent,
            Cause::Decided,
            fences(Cause::Decided),
            &leaves,
        ),
        (&decided, seen(Kubelet), Cause::Decided, None, &lifts),
        (&plain, Life::Silent, Cause::Tainted, None, &lifts),
        (&plain, Life::Unknown, Cause::Decided, None, &lifts),
    ] {
        let facts = facts(NodeSight::There(node, life));
        let case = format!("{:?} {life:?}", node.marks.fence);
        assert_eq!(decide(&claim(), &facts), without, "{case}");
        assert_eq!(decide(&marked(cause), &facts), *with, "marked: {case}");
    }
}

#[test]
fn a_mark_of_the_controllers_goes_with_its_cause_and_an_operators_stays() {
    let (own, new, tainted) = (node("u1", false), node("u2", false), node("u1", true));
    let unfence = Some(Deed::Unfence);
    let unsaid = |fenced| ClaimView {
        node_uid: None,
        fenced: Some(fenced),
        ..bound(held())
    };
    let said = |fenced| ClaimView {
        fenced: Some(fenced),
        ..bound(held())
    };
    for (case, claim, node, deed) in [
        (
            "taint gone",
            said(ours(Cause::Tainted)),
            &own,
            unfence.clone(),
        ),
        ("taint there", said(ours(Cause::Tainted)), &tainted, None),
        (
            "a Node that is back",
            said(ours(Cause::Deleted)),
            &own,
            unfence.clone(),
        ),
        ("another Node", said(ours(Cause::Deleted)), &new, None),
        ("operator's", said(operators()), &own, None),
        (
            "no UID, taint gone",
            unsaid(ours(Cause::Tainted)),
            &own,
            unfence,
        ),
        (
            "no UID, Node was gone",
            unsaid(ours(Cause::Deleted)),
            &own,
            None,
        ),
        ("no UID, operator's", unsaid(operators()), &own, None),
    ] {
        let facts = Facts {
            marked: SHORT,
            ..facts(NodeSight::There(node, Life::Silent))
        };
        assert_eq!(decide(&claim, &facts), deed, "{case}");
    }
}

/// A claim of a Node that was deleted, as the controllers have marked it.
fn fenced(claim: ClaimView) -> ClaimView {
    ClaimView {
        fenced: Some(ours(Cause::Deleted)),
        ..claim
    }
}

/// Why a claim of a gone Node is deleted, if it is.
fn discarded(claim: &ClaimView, facts: &Facts<'_>) -> Option<String> {
    match decide(claim, facts) {
        Some(Deed::Discard { reason }) => Some(reason),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

#[test]
fn an_idle_claim_of_a_node_that_is_gone_for_good_is_deleted_when_its_mark_has_stood() {
    let (tainted, new) = (node("u1", true), node("u2", false));
    let gone = NodeSight::Missing(LONG);
    let with = |fenced| ClaimView {
        fenced: Some(fenced),
        ..claim()
    };
    let let_go = ClaimView {
        is_deleting: true,
        finalizers: vec!["other.example/x".to_owned()],
        ..fenced(claim())
    };
    let deleted = ClaimView {
        is_deleting: true,
        ..fenced(claim())
    };
    for (case, claim, node, marked, is_discarded) in [
        ("gone", fenced(claim()), gone, LONG, true),
        ("marked just now", fenced(claim()), gone, SHORT, false),
        (
            "missing just now",
            fenced(claim()),
            NodeSight::Missing(SHORT),
            LONG,
            false,
        ),
        (
            "another one",
            with(ours(Cause::Recreated)),
            NodeSight::There(&new, Life::Silent),
            LONG,
            true,
        ),
        (
            "shut down",
            with(ours(Cause::Tainted)),
            NodeSight::There(&tainted, Life::Silent),
            LONG,
            false,
        ),
        (
            "gone, an operator's mark",
            with(operators()),
            gone,
            LONG,
            true,
        ),
        ("being deleted", deleted, gone, LONG, true),
        ("waits for somebody else", let_go, gone, LONG, false),
    ] {
        let facts = Facts {
            marked,
            ..facts(node)
        };
        assert_eq!(discarded(&claim, &facts).is_some(), is_discarded, "{case}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_bound_claim_of_a_node_that_is_gone_goes_only_when_nobody_can_want_it() {
    let quarantine = Duration::from_secs(599);
    let attached = |binding| BindingView {
        is_attached: true,
        ..binding
    };
    let kept = |hold: &str| BindingView {
        hold: Some(hold.to_owned()),
        ..passing()
    };
    let until = |second| BindingView {
        is_attached: false,
        until: Timestamp::from_second(second).ok(),
        ..passing()
    };
    let reserved = BindingView {
        is_reserved: true,
        ..passing()
    };
    let unknown = BindingView {
        owner: held().owner.map(|owner| {
            Box::new(Owner {
                kind: "Fleet".to_owned(),
                ..*owner
            })
        }),
        ..passing()
    };
    let (wanted, unwanted) = (Some(owner(true, LONG)), Some(owner(false, LONG)));
    let (there, none) = (PodSight::There, PodSight::Gone);
    for (case, binding, owner, pod, marked, why) in [
        ("wanted", held(), wanted.clone(), none, LONG, None),
        (
            "unwanted",
            held(),
            unwanted.clone(),
            none,
            LONG,
            Some("scaled to 2"),
        ),
        (
            "unwanted since now",
            held(),
            Some(owner(false, SHORT)),
            none,
            LONG,
            None,
        ),
        (
            "unwanted, had a Pod",
            attached(held()),
            unwanted.clone(),
            none,
            LONG,
            Some("scaled to 2"),
        ),
        (
            "unwanted, has a Pod",
            attached(held()),
            unwanted.clone(),
            there,
            LONG,
            None,
        ),
        (
            "unwanted, its address rests",
            held(),
            unwanted,
            none,
            quarantine,
            None,
        ),
        ("an owner nobody knows", unknown, None, none, LONG, None),
        ("nobody's Pod", passing(), None, none, LONG, Some("is gone")),
        (
            "nobody's Pod, which lives",
            passing(),
            None,
            there,
            LONG,
            None,
        ),
        (
            "nobody's Pod, its address rests",
            passing(),
            None,
            none,
            quarantine,
            None,
        ),
        ("kept for ever", kept("forever"), None, none, LONG, None),
        (
            "kept for a time that is over",
            kept("50m"),
            None,
            none,
            LONG,
            Some("has been gone"),
        ),
        ("kept for a time", kept("2h"), None, none, LONG, None),
        (
            "held until now",
            until(1_000_000),
            None,
            none,
            LONG,
            Some("was held"),
        ),
        ("held until later", until(1_000_001), None, none, LONG, None),
        ("reserved", reserved, None, none, LONG, None),
    ] {
        let facts = Facts {
            owner,
            pod,
            marked,
            ..facts(NodeSight::Missing(LONG))
        };
        let said = discarded(&fenced(bound(binding)), &facts);
        let fits = match (&said, why) {
            (None, None) => true,
            (Some(said), Some(why)) => {
                said.contains(why) && said.starts_with("Node n1 was deleted; ")
            }
            _ => false,
        };
        assert!(fits, "{case}: {said:?}");
    }
    // Somebody deleted it himself: then the wishes of others do not count.
    let deleting = ClaimView {
        is_deleting: true,
        ..fenced(bound(held()))
    };
    let facts = Facts {
        owner: wanted,
        ..facts(NodeSight::Missing(LONG))
    };
    assert!(discarded(&deleting, &facts).is_some());
}

#[test]
fn a_held_binding_is_released_when_its_owner_wants_it_no_more() {
    let here = node("u1", false);
    let release = Some(Deed::Release {
        reason: "StatefulSet shop/db was scaled to 2".to_owned(),
    });
    let (wanted, unwanted) = (Some(owner(true, LONG)), Some(owner(false, LONG)));
    let marked = |by: &str| ClaimView {
        release: Some(mark(by, "why")),
        ..bound(held())
    };
    let changed = |change: fn(&mut BindingView)| {
        let mut binding = held();
        change(&mut binding);
        bound(binding)
    };
    let ours = marked(names::CONTROLLERS_ACCOUNT);
    for (case, claim, owner, deed) in [
        ("wanted", bound(held()), wanted.clone(), None),
        ("unwanted", bound(held()), unwanted.clone(), release),
        (
            "unwanted since now",
            bound(held()),
            Some(owner(false, SHORT)),
            None,
        ),
        ("idle", claim(), unwanted.clone(), None),
        ("no owner that can be asked", bound(held()), None, None),
        (
            "a Pod has it",
            changed(|it| it.is_attached = true),
            unwanted.clone(),
            None,
        ),
        (
            "reserved",
            changed(|it| it.is_reserved = true),
            unwanted.clone(),
            None,
        ),
        (
            "held for a time",
            changed(|it| it.until = Some(wall())),
            unwanted.clone(),
            None,
        ),
        ("marked already", ours.clone(), unwanted, None),
        (
            "marked, wanted again",
            ours,
            wanted.clone(),
            Some(Deed::Unrelease),
        ),
        ("marked by an operator", marked("anna"), wanted, None),
    ] {
        let facts = Facts {
            owner,
            ..facts(NodeSight::There(&here, Life::Silent))
        };
        assert_eq!(decide(&claim, &facts), deed, "{case}");
    }
}

#[test]
fn what_a_node_left_that_was_made_anew_becomes_the_new_ones_when_nobody_took_it() {
    let (new, new_tainted) = (node("u2", false), node("u2", true));
    let made_anew = |fenced| ClaimView {
        fenced: Some(fenced),
        ..bound(held())
    };
    let ours = made_anew(ours(Cause::Recreated));
    let deleting = ClaimView {
        is_deleting: true,
        ..ours.clone()
    };
    let adopt = Some(Deed::Adopt {
        uid: "u2".to_owned(),
    });
    let minute = Duration::from_secs(60);
    for (case, claim, node, marked, deed) in [
        ("others had their time", &ours, &new, minute, adopt),
        ("others have it now", &ours, &new, SHORT, None),
        ("the new one is shut down", &ours, &new_tainted, LONG, None),
        (
            "an operator's mark",
            &made_anew(operators()),
            &new,
            LONG,
            None,
        ),
    ] {
        let facts = Facts {
            owner: Some(owner(true, LONG)),
            marked,
            ..facts(NodeSight::There(node, Life::Silent))
        };
        assert_eq!(decide(claim, &facts), deed, "{case}");
    }
    let facts = facts(NodeSight::There(&new, Life::Silent));
    assert!(matches!(
        decide(&deleting, &facts),
        Some(Deed::Discard { .. })
    ));
}
