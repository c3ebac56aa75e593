use std::sync::Arc;
use std::time::Instant;

use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::*;
use crate::endpoints::{LeanSlice, SliceView};

const NAMED: &str = r#"["protection.berth.dev/endpoints", "protection.berth.dev/dns"]"#;
const OTHERS: &str = r#"["protection.berth.dev/dns"]"#;

fn pod(name: &str, protections: Option<&str>, finalizers: &[&str], is_deleting: bool) -> LeanPod {
    let mut pod = json!({
        "metadata": {
            "name": name, "namespace": "prod", "uid": format!("u-{name}"), "resourceVersion": "7", "finalizers": finalizers,
        },
        "status": {"podIPs": [{"ip": "10.0.0.5"}]},
    });
    if let Some(protections) = protections {
        pod["metadata"]["annotations"] = json!({names::PROTECTIONS_ANNOTATION: protections});
    }
    if is_deleting {
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    serde_json::from_value(pod).unwrap()
}

fn slice(name: &str, service: Option<&str>, endpoints: &[(&str, bool)]) -> (Key, SliceView) {
    let endpoints = endpoints.iter().map(|(pod, ready)| {
        json!({
            "addresses": ["10.0.0.5"], "conditions": {"ready": ready, "serving": ready},
            "targetRef": {"kind": "Pod", "name": pod, "uid": format!("u-{pod}")},
        })
    });
    let endpoints: Vec<Value> = endpoints.collect();
    let mut slice =
        json!({"metadata": {"name": name, "namespace": "prod"}, "endpoints": endpoints});
    if let Some(service) = service {
        slice["metadata"]["labels"] = json!({"kubernetes.io/service-name": service});
    }
    let slice: LeanSlice = serde_json::from_value(slice).unwrap();
    (("prod".to_owned(), name.to_owned()), (&slice).into())
}

fn fleet(pods: Vec<LeanPod>, slices: Vec<(Key, SliceView)>) -> Fleet {
    let mut fleet = Fleet::default();
    take_pods(&mut fleet, pods);
    take_slices(&mut fleet, slices);
    fleet
}

fn take_pods(fleet: &mut Fleet, pods: Vec<LeanPod>) {
    fleet.take_pod(Event::Init);
    for pod in pods {
        fleet.take_pod(Event::InitApply((pod.key(), Arc::new(pod))));
    }
    fleet.take_pod(Event::InitDone);
}

fn take_slices(fleet: &mut Fleet, slices: Vec<(Key, SliceView)>) {
    fleet.take_slice(Event::Init);
    for (key, slice) in slices {
        fleet.take_slice(Event::InitApply((key, Arc::new(slice))));
    }
    fleet.take_slice(Event::InitDone);
}

#[test]
fn nothing_is_done_before_all_pods_and_all_endpoints_are_known() {
    let pods = || {
        vec![
            pod("shop-0", Some(NAMED), &[], false),
            pod("shop-1", Some(NAMED), &[names::ENDPOINTS_PROTECTION], false),
        ]
    };
    let slices = || vec![slice("a", Some("shop"), &[("shop-0", true)])];
    let written = BTreeMap::new();
    let mut fleet = Fleet::default();
    take_pods(&mut fleet, pods());
    assert_eq!(plan(&fleet, &written), []);
    // Half a list is none.
    fleet.take_slice(Event::Init);
    for (key, slice) in slices() {
        fleet.take_slice(Event::InitApply((key, Arc::new(slice))));
    }
    assert_eq!(plan(&fleet, &written), []);
    fleet.take_slice(Event::InitDone);
    assert_eq!(plan(&fleet, &written).len(), 2);

    let mut fleet = Fleet::default();
    take_slices(&mut fleet, slices());
    assert_eq!(plan(&fleet, &written), []);
}

#[test]
fn the_finalizer_is_there_for_as_long_as_traffic_is() {
    const OURS: &str = names::ENDPOINTS_PROTECTION;
    let quiet = Some(Deed::Remove(Cause::Quiet));
    let unasked = Some(Deed::Remove(Cause::Unasked));
    let add = Some(Deed::Add);
    let (ready, unready): (&[_], &[_]) = (&[("shop-0", true)], &[("shop-0", false)]);
    // What the Pod names; its finalizers; whether it is being deleted; the endpoints; what is done.
    for (named, finalizers, is_deleting, endpoints, deed) in [
        (Some(NAMED), vec![], false, ready, add),
        (Some(NAMED), vec![OURS], false, ready, None),
        (Some(NAMED), vec![OURS], false, unready, quiet),
        (Some(NAMED), vec![], false, unready, None),
        // In no slice.
        (Some(NAMED), vec![OURS], false, &[][..], quiet),
        (Some(NAMED), vec![], false, &[][..], None),
        // Being deleted: none comes, and it goes as soon as traffic does.
        (Some(NAMED), vec![], true, ready, None),
        (Some(NAMED), vec![OURS], true, ready, None),
        (Some(NAMED), vec![OURS], true, unready, quiet),
        // Other people's finalizers are no business of ours.
        (
            Some(NAMED),
            vec!["protection.berth.dev/dns"],
            false,
            ready,
            add,
        ),
        (
            Some(OTHERS),
            vec!["protection.berth.dev/dns"],
            false,
            unready,
            None,
        ),
        (Some(OTHERS), vec![], false, ready, None),
        (None, vec![], false, ready, None),
        (None, vec!["example.com/x"], false, unready, None),
        // Asked for no more, whatever the traffic.
        (Some(OTHERS), vec![OURS], false, ready, unasked),
        (None, vec![OURS], true, ready, unasked),
        // What cannot be read: none comes; one that is there goes with the traffic.
        (Some("endpoints"), vec![], false, ready, None),
        (Some("endpoints"), vec![OURS], false, ready, None),
        (Some("endpoints"), vec![OURS], false, unready, quiet),
    ] {
        let case = format!("{named:?} {finalizers:?} {is_deleting} {endpoints:?}");
        let pod = pod("shop-0", named, &finalizers, is_deleting);
        let (key, slice) = slice("a", Some("shop"), endpoints);
        let traffic = Traffic::of([(&key, &slice)]);
        assert_eq!(decide(&pod, &traffic), deed, "{case}");
    }
}

#[test]
fn finalizers_of_others_stay_where_they_are() {
    let ours = names::ENDPOINTS_PROTECTION;
    let dns = "protection.berth.dev/dns";
    let one = pod("shop-0", Some(NAMED), &["example.com/x", ours, dns], false);
    let left = finalizers(&one, Deed::Remove(Cause::Quiet));
    assert_eq!(left, ["example.com/x", dns]);
    let other = pod("shop-0", Some(NAMED), &["example.com/x", dns], false);
    assert_eq!(finalizers(&other, Deed::Add), ["example.com/x", dns, ours]);
}

#[test]
fn removals_go_first_and_what_was_just_written_waits_to_be_seen() {
    let pods = vec![
        pod("shop-0", Some(NAMED), &[], false),
        pod("shop-1", Some(NAMED), &[names::ENDPOINTS_PROTECTION], false),
        pod("shop-2", None, &[], false),
    ];
    let endpoints = [("shop-0", true), ("shop-1", false), ("shop-2", true)];
    let fleet = fleet(pods, vec![slice("a", Some("shop"), &endpoints)]);
    let key = |name: &str| ("prod".to_owned(), name.to_owned());
    let (add, remove) = (Deed::Add, Deed::Remove(Cause::Quiet));
    let mut written = BTreeMap::new();
    assert_eq!(
        plan(&fleet, &written),
        [(key("shop-1"), remove), (key("shop-0"), add)]
    );
    written.insert(key("shop-1"), "7".to_owned());
    assert_eq!(plan(&fleet, &written), [(key("shop-0"), add)]);
    // The view has gone on since.
    written.insert(key("shop-1"), "6".to_owned());
    assert_eq!(plan(&fleet, &written).len(), 2);
}

#[test]
fn what_is_read_again_is_what_the_pod_is_judged_by() {
    let one = pod("shop-0", Some(NAMED), &[], false);
    let mine: &[_] = &[("shop-0", true)];
    let services = |slices| services(&fleet(vec![], slices), &one);
    let none: &[&str] = &[];
    assert_eq!(services(vec![]), none);
    assert_eq!(
        services(vec![
            slice("a", Some("shop"), mine),
            slice("b", Some("all"), &[("shop-0", false), ("shop-1", true)]),
            slice("c", Some("all"), mine),
            slice("d", Some("other"), &[("shop-1", true)]),
        ]),
        ["all", "shop"]
    );
    // One of them was written by hand: all of the namespace are read.
    assert_eq!(
        services(vec![slice("a", Some("shop"), mine), slice("b", None, mine)]),
        none
    );
}

/// `cargo test -- --ignored --nocapture a_pass_over_many`.
#[test]
#[ignore = "a measurement"]
fn a_pass_over_many_pods_and_endpoints() {
    let named: Vec<_> = (0..100_000).map(|n| format!("shop-{n}")).collect();
    let pods = named.iter().map(|name| {
        let finalizers = &[names::ENDPOINTS_PROTECTION];
        pod(name, Some(NAMED), finalizers, false)
    });
    let slices = named.chunks(100).enumerate().map(|(n, names)| {
        let endpoints: Vec<_> = names.iter().map(|name| (name.as_str(), true)).collect();
        slice(&format!("s{n}"), Some("shop"), &endpoints)
    });
    let fleet = fleet(pods.collect(), slices.collect());
    let began = Instant::now();
    assert_eq!(plan(&fleet, &BTreeMap::new()), []);
    let took = began.elapsed();
    let mut stderr = std::io::stderr();
    std::io::Write::write_fmt(&mut stderr, format_args!("a pass takes {took:?}\n")).unwrap();
}
