use super::*;
use crate::allocate::AllocateError;
use crate::fixture::{at, attachment, network, pool, request, settings, valid};
use crate::{Book, CheckedInterface, Reason};

const LABEL: &str = "topology.berth.dev/rack";

fn labelled(rack: &str) -> NodeRack {
    NodeRack::Labelled {
        label: LABEL.into(),
        rack: rack.parse().unwrap(),
    }
}

fn unknown(passing: bool) -> NodeRack {
    NodeRack::Unknown(Box::new(RackUnknown {
        cause: "node n1 has no label".to_owned(),
        advice: "set it".to_owned(),
        passing,
    }))
}

/// `n1` has `.10` to `.13`, `n2` has `.20` to `.23`, both in rack a; `n1` has a pool in rack b too.
fn two_nodes(rack: NodeRack) -> Settings {
    let mut settings = settings();
    settings.rack = rack;
    settings.pools[0].node = Some("n1".parse().unwrap());
    let mut other = pool(
        "external-a-n2",
        "external",
        "10.20.1.0/24",
        &["10.20.1.20-10.20.1.23"],
    );
    other.node = Some("n2".parse().unwrap());
    let mut moved = pool(
        "external-b-n1",
        "external",
        "10.20.2.0/24",
        &["10.20.2.10-10.20.2.13"],
    );
    moved.rack = "b".parse().unwrap();
    moved.node = Some("n1".parse().unwrap());
    settings.pools.extend([other, moved]);
    settings
}

fn book(rack: NodeRack) -> Book {
    Book::new(valid(two_nodes(rack)))
}

fn is_attached(book: &Book, sandbox: &str, address: std::net::IpAddr) -> bool {
    let interface = CheckedInterface {
        ifname: "eth0".parse().unwrap(),
        mac: None,
        addresses: vec![address],
    };
    book.check(&attachment(sandbox), &[interface]).is_ok()
}

#[test]
fn pools_of_other_nodes_are_checked_and_never_used() {
    let mut book = book(labelled("a"));
    let given: Vec<_> = (0..4)
        .map(|index| book.must_get(&format!("prod/db-{index}"), &format!("s{index}"), at(0)))
        .map(|address| address.to_string())
        .collect();
    assert_eq!(
        given,
        ["10.20.1.10", "10.20.1.11", "10.20.1.12", "10.20.1.13"]
    );
    let refused = book.allocate(&request("prod/db-4", "s4"), at(0));
    assert_eq!(refused.unwrap_err().reason(), Reason::Exhausted);
    let pools = book.pool_status();
    let names: Vec<_> = pools.iter().map(|pool| pool.pool.as_str()).collect();
    assert_eq!(names, ["external-a", "external-b-n1"]);
}

#[test]
fn address_of_two_nodes_is_refused_and_both_are_named() {
    let mut settings = two_nodes(labelled("a"));
    settings.pools[1].ranges = vec!["10.20.1.13-10.20.1.23".parse().unwrap()];
    let errors = settings.validate().unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let error = errors[0].to_string();
    for word in ["external-a-n2", "10.20.1.13", "node n1", "node n2"] {
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn nothing_is_handed_out_without_a_rack_and_the_words_are_those_of_the_cause() {
    for (passing, reason) in [(true, Reason::NotYet), (false, Reason::NoPool)] {
        let book = book(unknown(passing));
        let error = book
            .allocate(&request("prod/db-0", "s0"), at(0))
            .unwrap_err();
        assert_eq!(error.reason(), reason);
        assert_eq!(error.to_string(), "node n1 has no label");
        assert_eq!(error.advice(), "set it");
    }
}

#[test]
fn what_is_bound_is_checked_and_released_without_a_rack() {
    let mut known = book(labelled("a"));
    let address = known.must_get("prod/db-0", "s0", at(0));
    let mut lost = known
        .reconfigure(valid(two_nodes(unknown(false))))
        .unwrap()
        .book;
    assert!(lost.records().eq(known.records()));
    assert!(is_attached(&lost, "s0", address));
    lost.must_release("s0", at(1));
    let mut back = lost
        .reconfigure(valid(two_nodes(labelled("a"))))
        .unwrap()
        .book;
    assert_eq!(back.must_get("prod/db-0", "s1", at(2)), address);
}

#[test]
fn moved_node_keeps_what_is_attached_and_gives_new_pods_addresses_of_the_new_rack() {
    let mut book = book(labelled("a"));
    let old = book.must_get("prod/db-0", "s0", at(0));
    let mut book = book
        .reconfigure(valid(two_nodes(labelled("b"))))
        .unwrap()
        .book;
    assert!(is_attached(&book, "s0", old));
    let fresh = book.must_get("prod/db-1", "s1", at(1));
    assert_eq!(fresh.to_string(), "10.20.2.10");
    assert_eq!(book.who(old).len(), 1, "the old binding is kept");
    book.must_release("s0", at(2));
}

#[test]
fn missing_pool_is_told_with_the_command_that_corrects_the_label() {
    let book = book(labelled("c"));
    let error = book
        .allocate(&request("prod/db-0", "s0"), at(0))
        .unwrap_err();
    assert_eq!(error.reason(), Reason::NoPool);
    assert!(
        error
            .to_string()
            .contains("network external has no pool in rack c"),
        "{error}"
    );
    let advice = error.advice();
    for words in [
        "`kubectl label node n1 topology.berth.dev/rack=a --overwrite`",
        "`kubectl label node n1 topology.berth.dev/rack=b --overwrite`",
        "`node = \"n1\"` and `rack = \"c\"`",
    ] {
        assert!(advice.contains(words), "{words}: {advice}");
    }
    let unplaced = two_nodes(labelled("c")).unplaced().unwrap();
    assert!(unplaced.known);
    assert!(unplaced.cause.contains("rack a, b"), "{unplaced:?}");
    assert_eq!(two_nodes(labelled("a")).unplaced(), None);
    assert!(!two_nodes(unknown(true)).unplaced().unwrap().known);
}

#[test]
fn missing_pool_object_is_told_the_same_way_by_the_node_and_by_an_add() {
    let mut settings = settings();
    settings.claiming = true;
    settings.rack = labelled("c");
    settings.pools[0].network = network("internal");
    settings.pools[0].rack = "c".parse().unwrap();
    let refused = |settings: &Settings| {
        let book = Book::new(valid(settings.clone()));
        book.allocate(&request("prod/db-0", "s0"), at(0))
            .unwrap_err()
    };
    assert_eq!(settings.unplaced(), None, "another network has a pool");
    let error = refused(&settings);
    assert_eq!(error.reason(), Reason::NoPool);
    let advice = error.advice();
    assert!(
        advice.contains("create a Pool of network external and rack c"),
        "{advice}"
    );
    settings.pools.clear();
    let unplaced = settings.unplaced().unwrap();
    assert!(unplaced.known);
    let said = [
        format!("{}; {}", unplaced.cause, unplaced.advice),
        format!("{error}; {advice}"),
    ];
    for said in said {
        for words in [
            "pool in rack c",
            "create a Pool of",
            "and rack c (`kubectl -n berth-system get pools` shows those that exist)",
            "`kubectl label node n1 topology.berth.dev/rack=RACK --overwrite`",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}

#[test]
fn configured_rack_without_a_pool_of_this_node_is_a_mistake_and_a_labelled_one_is_not() {
    let mut settings = two_nodes("a".parse().unwrap());
    settings.node = "n3".parse().unwrap();
    let errors = settings.clone().validate().unwrap_err();
    assert_eq!(errors[0].field, "rack");
    assert!(errors[0].reason.contains("node n3"), "{errors:?}");
    settings.rack = labelled("a");
    let unplaced = settings.unplaced().unwrap();
    assert!(unplaced.cause.contains("no rack"), "{unplaced:?}");
    assert!(settings.validate().is_ok());
}

#[test]
fn address_of_another_node_is_told_to_be_so() {
    let book = book(labelled("a"));
    let error = book
        .allocate(
            &crate::fixture::wish("prod/db-0", "s0", "10.20.1.20"),
            at(0),
        )
        .unwrap_err();
    assert!(matches!(error, AllocateError::AddressOutside { .. }));
    assert!(error.to_string().contains("node n2"), "{error}");
    assert!(
        book.networks_without_pool(&[network("external")])
            .is_empty()
    );
}
