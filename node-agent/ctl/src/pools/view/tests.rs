use serde_json::{Value, json};

use super::*;
use crate::claims::fixture::{at, bound, claim};

pub(in crate::pools) fn pool(name: &str, spec: &Value, status: Value) -> PoolSeen {
    let mut whole = json!({
        "network": "external", "rack": "a", "subnet": "10.20.1.0/24", "ranges": ["10.20.1.100-10.20.1.199"],
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    PoolSeen {
        name: name.to_owned(),
        generation: 3,
        spec: serde_json::from_value(whole).unwrap(),
        status: serde_json::from_value(status).unwrap(),
    }
}

pub(in crate::pools) fn status(generation: i64, second: i64) -> Value {
    json!({
        "observedGeneration": generation, "capacity": 100, "claimed": 40, "bound": 30, "attached": 20,
        "exhaustedAt": at(7_200), "updateTime": at(second),
    })
}

#[test]
fn leaders_numbers_count_while_they_are_of_this_pool_and_of_now() {
    let claims = [
        claim("10.20.1.100", &bound("prod/a", "10.20.1.100", true)),
        claim("10.20.1.101", &bound("prod/b", "10.20.1.101", false)),
        claim("10.20.1.102", &json!({})),
        claim("10.30.1.102", &json!({"pool": "internal-a"})),
    ];
    let by_claims = (Source::Claims, [100, 3, 2, 1, 97], None);
    let by_status = (Source::Status, [100, 40, 30, 20, 60], Some(at(7_200)));
    for (case, status, leads, expected) in [
        ("of now", status(3, 0), true, by_status),
        ("unchanged for long", status(3, -90_000), true, by_status),
        ("nobody leads", status(3, 0), false, by_claims),
        ("of another generation", status(2, 0), true, by_claims),
        ("none", Value::Null, true, by_claims),
    ] {
        let views = views(
            &[pool("external-a", &json!({}), status)],
            &claims,
            leads,
            at(0),
        );
        let [view] = &views[..] else { panic!("{case}") };
        let numbers = [
            view.capacity,
            view.claimed,
            view.bound,
            view.attached,
            view.free,
        ];
        assert_eq!(
            (view.source, numbers, view.exhausted_at),
            expected,
            "{case}"
        );
    }
}

#[test]
fn pools_are_in_the_order_of_network_and_rack() {
    let pools = [
        pool("z", &json!({"network": "internal"}), Value::Null),
        pool("y", &json!({"rack": "b"}), Value::Null),
        pool("x6", &json!({}), Value::Null),
        pool("x4", &json!({}), Value::Null),
    ];
    let names: Vec<_> = views(&pools, &[], true, at(0))
        .into_iter()
        .map(|it| it.pool)
        .collect();
    assert_eq!(names, ["x4", "x6", "y", "z"]);
}

#[test]
fn pool_without_a_free_address_is_not_fine() {
    let one = pool("p", &json!({"ranges": ["10.20.1.100"]}), Value::Null);
    let claims = [claim("10.20.1.100", &json!({"pool": "p"}))];
    assert!(!views(std::slice::from_ref(&one), &claims, false, at(0))[0].is_fine());
    assert!(views(&[one], &[], false, at(0))[0].is_fine());
}

#[test]
fn who_said_nothing_for_two_minutes_does_not_lead() {
    for (renewed, expected) in [
        (Some(at(-120)), true),
        (Some(at(30)), true),
        (Some(at(-121)), false),
        (None, false),
    ] {
        assert_eq!(leads(renewed, at(0)), expected, "{renewed:?}");
    }
}
