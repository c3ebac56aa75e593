use super::*;
use crate::fixture::{at, attachment, book, request, settings, valid};
use crate::{Hold, ListFilter, ViewState};

const PATIENCE: Patience = Patience {
    apart: Duration::from_secs(60),
    age: Duration::from_secs(300),
};

fn running(pod: &str) -> Sandbox {
    Sandbox {
        running: true,
        pod: pod.to_owned(),
        addresses: Vec::new(),
    }
}

fn stopped(pod: &str) -> Sandbox {
    Sandbox {
        running: false,
        ..running(pod)
    }
}

fn port(sandbox: &str, address: &str) -> PortAlias {
    format!("berth1 bank {sandbox} eth0 eth0 external b6:e7:0a:14:01:0a {address}/24 prod/db-0")
        .parse()
        .unwrap()
}

/// A look at a node with one more Pod that lives, `prod/other` in sandbox `living`.
fn look(seconds: u64, sandboxes: &[(&str, Sandbox)], ports: &[(&str, PortAlias)]) -> Look {
    let others = [("living", running("prod/other"))];
    let sandboxes = sandboxes.iter().chain(&others);
    let others = [("p-living", port("living", "10.20.1.13"))];
    let ports = ports.iter().chain(&others);
    Look {
        at: Duration::from_secs(seconds),
        sandboxes: sandboxes
            .map(|(id, sandbox)| (id.parse().unwrap(), sandbox.clone()))
            .collect(),
        ports: ports
            .map(|(name, alias)| ((*name).to_owned(), alias.clone()))
            .collect(),
        unreadable_ports: Vec::new(),
    }
}

/// A book with `prod/other` in sandbox `living`, and this Pod in sandbox `s1` since second 0.
fn world(pod: &str) -> Book {
    let mut book = book();
    book.must_get(pod, "s1", at(0));
    book.must_get("prod/other", "living", at(0));
    book
}

/// Compares at each look; the plan of the last.
fn after(book: &Book, looks: &[Look]) -> GarbagePlan {
    let mut plan = GarbagePlan::default();
    for look in looks {
        assert!(plan.ended.is_empty(), "ended too early: {plan:?}");
        let now = at(look.at.as_secs());
        plan = book.garbage(look, &plan.doubts, PATIENCE, now);
    }
    plan
}

fn ended(plan: &GarbagePlan) -> Vec<&str> {
    let ended = plan.ended.iter();
    ended.map(|it| it.attachment.sandbox.as_str()).collect()
}

#[test]
fn an_attachment_ends_when_two_whole_answers_lack_its_sandbox_and_its_port_is_gone() {
    let book = world("prod/web-x");
    let plan = after(&book, &[look(400, &[], &[]), look(460, &[], &[])]);
    assert_eq!(ended(&plan), ["s1"]);
    let it = &plan.ended[0];
    assert_eq!(it.identity.as_str(), "prod/web-x");
    assert_eq!(it.addresses, [crate::fixture::ip("10.20.1.10")]);
    assert_eq!(
        it.evidence,
        "the runtime did not know sandbox s1 in two answers 1m apart, of 1 sandboxes the last; no port of it is on the \
         node; it was attached 7m 40s ago"
    );
    let audited = plan.changes.iter().any(|change| {
        matches!(change, Change::Audit(line) if line.ended == Ended::SandboxGone
            && line.sandbox.as_ref().is_some_and(|id| id.as_str() == "s1"))
    });
    assert!(audited, "{:?}", plan.changes);
    assert!(plan.findings.is_empty() && plan.doubts.is_empty());
}

#[test]
fn what_it_leaves_is_what_a_del_leaves() {
    for (pod, hold, expected) in [
        ("prod/db-0", None, ViewState::Held),
        ("prod/web-x", None, ViewState::Quarantined),
        ("lab/x", Some(Hold::Forever), ViewState::Held),
    ] {
        let mut book = book();
        let policy = crate::PodPolicy { hold, owner: None };
        let plan = book.allocate_for(&request(pod, "s1"), &policy, at(0));
        book.apply(&plan.unwrap().changes);
        book.must_get("prod/other", "living", at(0));
        let mut released = book.clone();
        released.must_release("s1", at(460));
        let plan = after(&book, &[look(400, &[], &[]), look(460, &[], &[])]);
        book.apply(&plan.changes);
        let states: Vec<_> = book.why(&pod.parse().unwrap());
        assert_eq!(states[0].state, expected, "{pod}");
        let filter = ListFilter::default();
        assert_eq!(book.list(&filter), released.list(&filter), "{pod}");
    }
}

#[test]
fn nothing_ends_without_evidence_of_every_kind() {
    let gone = || look(400, &[], &[]);
    let listed = |sandbox: Sandbox| look(460, &[("s1", sandbox)], &[]);
    let with_port = |seconds| look(seconds, &[], &[("p1", port("s1", "10.20.1.10"))]);
    let mut damaged = look(460, &[], &[]);
    damaged.unreadable_ports = vec![("p9".to_owned(), "no address".to_owned())];
    let mut empty = look(460, &[], &[]);
    empty.sandboxes.clear();
    let mut foreign = look(460, &[("x", running("a/b"))], &[]);
    foreign.sandboxes.remove(&"living".parse().unwrap());
    for (case, looks) in [
        ("one answer", vec![gone()]),
        ("two answers too near", vec![gone(), look(459, &[], &[])]),
        ("it runs", vec![gone(), listed(running("prod/web-x"))]),
        ("it is stopped", vec![gone(), listed(stopped("prod/web-x"))]),
        (
            "its port is there",
            vec![with_port(400), with_port(460), with_port(900)],
        ),
        ("a port says not whose it is", vec![gone(), damaged]),
        ("an empty answer", vec![gone(), empty.clone()]),
        ("another runtime's answer", vec![gone(), foreign]),
        (
            "an ADD may be under way",
            vec![look(200, &[], &[]), look(299, &[], &[])],
        ),
        (
            "it came back between",
            vec![gone(), listed(running("prod/web-x")), look(520, &[], &[])],
        ),
        (
            "an empty answer between",
            vec![gone(), empty, look(520, &[], &[])],
        ),
    ] {
        let book = world("prod/web-x");
        let plan = after(&book, &looks);
        assert!(
            plan.ended.is_empty() && plan.changes.is_empty(),
            "{case}: {plan:?}"
        );
    }
    // The same as the last but one, a look later: nothing above is so for ever.
    let again = [gone(), look(520, &[], &[])];
    assert_eq!(ended(&after(&world("prod/web-x"), &again)), ["s1"]);
}

#[test]
fn a_young_attachment_ends_once_it_is_old_enough() {
    let book = world("prod/web-x");
    let looks = [200, 260, 299, 300].map(|seconds| look(seconds, &[], &[]));
    assert_eq!(ended(&after(&book, &looks)), ["s1"]);
}

#[test]
fn what_no_pod_made_is_not_the_runtimes_to_know() {
    let mut book = book();
    book.must_allocate(&request("", "s1"), at(0));
    book.must_get("prod/other", "living", at(0));
    let plan = after(&book, &[look(400, &[], &[]), look(4000, &[], &[])]);
    assert_eq!(plan, GarbagePlan::default());
}

#[test]
fn dead_sandboxes_of_the_boot_before_are_nothing_to_tell() {
    let mut book = world("prod/db-0");
    let plan = book.reboot(at(10));
    book.apply(&plan.changes);
    let looks = [400, 460].map(|seconds| Look {
        sandboxes: look(0, &[("s1", stopped("prod/db-0"))], &[]).sandboxes,
        ..look(seconds, &[], &[])
    });
    let plan = after(&book, &looks);
    // Its own port and Pod of the fixture were not re-created: that is all there is.
    let lines: Vec<_> = plan
        .findings
        .iter()
        .filter(|it| it.contains("s1"))
        .collect();
    assert!(plan.ended.is_empty() && lines.is_empty(), "{plan:?}");
    // The new boot's sandbox of the same Pod lives beside the dead one.
    book.must_get("prod/db-0", "s2", at(100));
    let looks = [500, 560].map(|seconds| {
        look(
            seconds,
            &[("s1", stopped("prod/db-0")), ("s2", running("prod/db-0"))],
            &[("p2", port("s2", "10.20.1.10"))],
        )
    });
    let plan = after(&book, &looks);
    assert!(plan.ended.is_empty(), "{plan:?}");
    // The late DEL of the dead one changes nothing.
    assert!(!book.release(&attachment("s1"), at(600)).known);
}

/// Words of the finding (empty: none), and what is seen.
type Case = (
    &'static str,
    Vec<(&'static str, Sandbox)>,
    Vec<(&'static str, PortAlias)>,
);

#[test]
fn what_does_not_fit_is_told_at_the_second_look_and_left_alone() {
    let stray = || port("s9", "10.20.1.12");
    let mut taken = running("prod/lost");
    taken.addresses = vec!["10.20.1.12".parse().unwrap()];
    let mut on_host = running("kube-system/proxy");
    on_host.addresses = vec!["10.20.1.200".parse().unwrap()];
    let s1 = || ("s1", running("prod/web-x"));
    let p1 = || ("p1", port("s1", "10.20.1.10"));
    let cases: [Case; 6] = [
        ("", vec![s1(), ("host", on_host)], vec![p1()]),
        ("but its port is gone", vec![s1()], vec![]),
        ("but its port p1 is on the node", vec![], vec![p1()]),
        ("ip link del p9", vec![s1()], vec![p1(), ("p9", stray())]),
        (
            "restart berth-ipamd",
            vec![s1(), ("s9", running("prod/nine"))],
            vec![p1(), ("p9", stray())],
        ),
        (
            "prod/lost has 10.20.1.12",
            vec![s1(), ("s9", taken)],
            vec![p1()],
        ),
    ];
    for (words, sandboxes, ports) in cases {
        let book = world("prod/web-x");
        let looks = [400, 460].map(|seconds| look(seconds, &sandboxes, &ports));
        assert_eq!(
            after(&book, &looks[..1]).findings,
            [""; 0],
            "{words}: told at once"
        );
        let plan = after(&book, &looks);
        assert!(plan.ended.is_empty() && plan.changes.is_empty(), "{words}");
        let expected = usize::from(!words.is_empty());
        assert_eq!(
            plan.findings.len(),
            expected,
            "{words}: {:?}",
            plan.findings
        );
        assert!(
            plan.findings.iter().all(|line| line.contains(words)),
            "{:?}",
            plan.findings
        );
    }
}

#[test]
fn an_answer_that_is_none_is_told() {
    let mut empty = look(400, &[], &[]);
    empty.sandboxes.clear();
    let plan = after(&world("prod/web-x"), &[empty]);
    assert!(plan.flaw.is_some());
    assert!(
        plan.findings[0].contains("nothing is freed") && plan.findings[0].contains("`runtime`")
    );
}

#[test]
fn runtime_that_lists_nothing_yet_while_the_first_pods_are_made_is_no_trouble() {
    let empty = |seconds| Look {
        at: Duration::from_secs(seconds),
        ..Look::default()
    };
    let book = world("prod/web-x");
    assert_eq!(after(&book, &[empty(299)]), GarbagePlan::default());
    // Nor is it half of what frees an address.
    let plan = after(&book, &[empty(299), look(400, &[], &[])]);
    assert!(
        plan.ended.is_empty() && plan.findings.is_empty(),
        "{plan:?}"
    );
    assert!(after(&book, &[empty(300)]).flaw.is_some());
    let mut stray = empty(299);
    stray.unreadable_ports = vec![("p9".to_owned(), "no words".to_owned())];
    assert!(after(&book, &[stray]).flaw.is_some());
}

#[test]
fn running_sandboxes_without_an_attachment_are_to_be_asked_for() {
    let book = world("prod/web-x");
    let seen = look(
        0,
        &[
            ("s1", running("a/a")),
            ("s7", running("a/b")),
            ("s8", stopped("a/c")),
        ],
        &[],
    );
    let unknown = book.unknown_sandboxes(&seen.sandboxes);
    assert_eq!(unknown, [&"s7".parse().unwrap()]);
}

#[test]
fn interfaces_of_other_plugins_are_not_missed_while_they_run() {
    let mut settings = settings();
    settings.rules.clear();
    let mut book = Book::new(valid(settings));
    let mut delegated = request("prod/web-x", "s1");
    delegated.attachment.cni_network = "others".parse().unwrap();
    book.must_allocate(&delegated, at(0));
    book.must_get("prod/other", "living", at(0));
    let looks = [400, 460].map(|seconds| look(seconds, &[("s1", running("prod/web-x"))], &[]));
    assert_eq!(after(&book, &looks).findings, [""; 0]);
    let looks = [400, 460].map(|seconds| look(seconds, &[], &[]));
    assert_eq!(ended(&after(&book, &looks)), ["s1"]);
}
