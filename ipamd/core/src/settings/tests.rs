use proto_ids::Route;

use super::*;
use crate::fixture::{ip, pool, rule, settings};

/// Which fields of which pools are refused.
fn refused(settings: Settings) -> Vec<(String, &'static str)> {
    let errors = settings.validate().err().unwrap_or_default();
    errors
        .into_iter()
        .map(|error| (error.subject.to_string(), error.field))
        .collect()
}

fn with(change: impl FnOnce(&mut Pool)) -> Settings {
    let mut settings = settings();
    change(&mut settings.pools[0]);
    settings
}

fn route(dst: &str, via: Option<&str>) -> Route {
    Route {
        dst: dst.parse().unwrap(),
        via: via.map(ip),
        metric: None,
        mtu: None,
    }
}

#[test]
fn what_contradicts_itself_is_refused_by_pool_and_field() {
    type Change = fn(&mut Pool);
    let cases: [(&'static str, Change); 15] = [
        ("subnet", |pool| {
            pool.subnet = "10.20.1.9/24".parse().unwrap();
        }),
        ("ranges", |pool| {
            pool.ranges = vec!["10.20.2.1-10.20.2.9".parse().unwrap()];
        }),
        ("ranges", |pool| {
            pool.ranges = vec!["10.20.1.250-10.20.2.2".parse().unwrap()];
        }),
        ("ranges", |pool| {
            pool.ranges = vec!["10.20.1.255".parse().unwrap()];
        }),
        ("ranges", |pool| {
            pool.exclude = vec!["10.20.1.0/24".parse().unwrap()];
        }),
        ("exclude", |pool| {
            pool.exclude = vec!["10.30.0.0/24".parse().unwrap()];
        }),
        ("exclude", |pool| {
            pool.exclude = vec!["fd00::1".parse().unwrap()];
        }),
        ("gateway", |pool| pool.gateway = Some(ip("10.20.2.1"))),
        ("gateway", |pool| pool.gateway = Some(ip("10.20.1.255"))),
        ("gateway", |pool| pool.gateway = Some(ip("fd00::1"))),
        ("routes", |pool| {
            pool.routes = vec![route("10.0.0.0/8", Some("10.20.2.9"))];
        }),
        ("routes", |pool| pool.routes = vec![route("fd00::/8", None)]),
        ("routes", |pool| {
            pool.routes = vec![route("0.0.0.0/0", None)];
        }),
        ("routes", |pool| {
            pool.routes = vec![route("10.0.0.1/8", None)];
        }),
        ("routes", |pool| {
            pool.gateway = None;
            pool.routes = vec![route("10.0.0.0/8", None)];
        }),
    ];
    for (field, change) in cases {
        let found = refused(with(change));
        assert!(
            found.contains(&("pool external-a".to_owned(), field)),
            "{field}: {found:?}"
        );
    }
}

#[test]
fn route_mtu_must_be_one_that_the_family_works_with() {
    let mtu = |mtu| {
        with(|pool| {
            pool.routes = vec![Route {
                mtu: Some(mtu),
                ..route("10.0.0.0/8", None)
            }];
        })
    };
    assert_eq!(refused(mtu(67)).len(), 1);
    assert_eq!(refused(mtu(68)), []);
}

#[test]
fn everything_wrong_is_found_at_once() {
    let found = refused(with(|pool| {
        pool.gateway = Some(ip("10.9.9.9"));
        pool.exclude = vec!["10.9.9.9".parse().unwrap()];
        pool.rack = "b".parse().unwrap();
    }));
    let fields: Vec<_> = found.iter().map(|(_, field)| *field).collect();
    assert_eq!(fields, ["exclude", "gateway", "rack"]);
}

#[test]
fn two_pools_may_share_a_subnet_but_no_address() {
    let second = |network: &str, rack: &str, subnet: &str, range: &str| {
        let mut settings = settings();
        let mut second = pool("second", network, subnet, &[range]);
        second.rack = rack.parse().unwrap();
        settings.pools.push(second);
        refused(settings)
    };
    let subnet = "10.20.1.0/24";
    let beside = "10.20.1.20-10.20.1.29";
    assert_eq!(second("external", "a", subnet, beside), []);
    let overlapping = second("external", "a", subnet, "10.20.1.13-10.20.1.20");
    assert_eq!(overlapping, [("pool second".to_owned(), "ranges")]);
    let nested = second("external", "a", "10.20.0.0/16", "10.20.3.0/24");
    assert_eq!(nested, [("pool second".to_owned(), "subnet")]);
    let other_rack = second("external", "b", subnet, beside);
    assert_eq!(other_rack, [("pool second".to_owned(), "subnet")]);
    let other_segment = second("internal", "a", subnet, "10.20.1.10-10.20.1.13");
    assert_eq!(other_segment, []);
    let gateway_handed_out = second("external", "a", subnet, "10.20.1.1-10.20.1.5");
    assert_eq!(gateway_handed_out, [("pool second".to_owned(), "ranges")]);
}

#[test]
fn pool_names_are_unique() {
    let mut settings = settings();
    let mut twin = settings.pools[0].clone();
    twin.network = "internal".parse().unwrap();
    settings.pools.push(twin);
    let errors = settings.validate().unwrap_err();
    assert_eq!(errors[0].field, "name");
    assert!(matches!(errors[0].subject, Subject::Pool { index: 1, .. }));
}

#[test]
fn what_no_host_may_have_is_never_handed_out() {
    for (subnet, gateway, count) in [
        ("10.0.0.0/24", "10.0.0.1", 253),
        ("10.0.0.0/30", "10.0.0.1", 1),
        ("10.0.0.0/31", "10.0.0.1", 1),
        ("fd00::/126", "fd00::1", 2),
        ("fd00::/127", "fd00::1", 1),
        ("fd00::/64", "fd00::1", u64::MAX - 1),
    ] {
        let mut whole = pool("whole", "external", subnet, &[]);
        whole.gateway = Some(ip(gateway));
        assert_eq!(whole.usable().count(), count, "{subnet}");
    }
    let mut routed = pool("routed", "external", "10.0.0.0/29", &[]);
    routed.routes = vec![route("192.168.0.0/16", Some("10.0.0.6"))];
    assert_eq!(routed.usable().count(), 5, "a route's next hop is a router");
}

#[test]
fn hold_is_decided_by_the_first_rule_that_fits_then_by_the_ordinal() {
    let mut settings = settings();
    let minute = Hold::For(Duration::from_secs(60));
    settings.rules = vec![
        rule("lab", "keep-*", Hold::Forever),
        rule("lab", "*", minute),
        rule("prod", "scratch-*", Hold::None),
    ];
    let named = |pod: &str| Origin::Named {
        pod: Some(Box::new(pod.parse().unwrap())),
    };
    for (identity, origin, hold) in [
        ("lab/keep-x", Origin::Pod, Hold::Forever),
        ("lab/db-0", Origin::Pod, minute),
        ("prod/scratch-0", Origin::Pod, Hold::None),
        ("prod/db-0", Origin::Pod, Hold::Forever),
        ("prod/web-7f9-x2", Origin::Pod, Hold::None),
        ("vip", named("prod/web-7f9-x2"), Hold::Forever),
        ("vip", named("lab/web"), minute),
        ("vip", Origin::Named { pod: None }, Hold::Forever),
        ("sandbox:s1", Origin::Sandbox, Hold::None),
        ("sandbox:s1", Origin::Adopted, Hold::None),
        ("prod/later", Origin::Reserved, Hold::Forever),
    ] {
        let identity = identity.parse().unwrap();
        assert_eq!(
            settings.hold(&identity, &origin),
            hold,
            "{identity} {origin:?}"
        );
    }
}

#[test]
fn pool_is_judged_by_itself_and_beside_those_that_stand() {
    let fields = |pool: &Pool, others: &[Pool]| -> Vec<_> {
        let errors = objections(pool, others);
        errors.iter().map(|error| error.field).collect()
    };
    let one = settings().pools.remove(0);
    let mut two = pool(
        "two",
        "external",
        "10.20.1.0/24",
        &["10.20.1.13-10.20.1.20"],
    );
    assert_eq!(fields(&two, &[]), [""; 0]);
    assert_eq!(fields(&two, std::slice::from_ref(&one)), ["ranges"]);
    two.gateway = Some(ip("10.9.0.1"));
    assert_eq!(fields(&two, &[one]), ["gateway", "ranges"]);
}

#[test]
fn other_pools_are_checked_as_the_first_were() {
    let one = settings().pools.remove(0);
    let valid = settings().validate().unwrap();
    assert_eq!(valid.with_pools(vec![one.clone()]).unwrap(), valid);
    let errors = valid.with_pools(vec![one.clone(), one]).unwrap_err();
    assert_eq!(errors[0].field, "name");
    let none = valid.with_pools(Vec::new()).unwrap();
    assert!(none.settings().pools.is_empty());
}
