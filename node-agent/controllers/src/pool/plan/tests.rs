use proto_crd::claim::Claim;
use proto_crd::pool::Pool;
use serde_json::{Value, json};

use super::*;

const V4: &str = "10.20.1.0/24";

fn pool(name: &str, spec: &Value) -> (String, PoolView) {
    let mut all = json!({"network": "external", "rack": "a", "subnet": V4});
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    let pool = json!({"metadata": {"name": name, "uid": "p1", "generation": 2}, "spec": all});
    let pool: Pool = serde_json::from_value(pool).unwrap();
    (name.to_owned(), (&pool).into())
}

fn pools(all: &[(&str, Value)]) -> BTreeMap<String, PoolView> {
    let all = all.iter();
    all.map(|(name, spec)| pool(name, spec)).collect()
}

fn claim(attached: Option<bool>) -> ClaimView {
    let mut spec = json!({
        "pool": "p", "network": "external", "rack": "a", "address": "10.20.1.5", "node": "n1", "epoch": 1,
    });
    if let Some(attached) = attached {
        spec["binding"] = json!({
            "identity": "shop/db-0", "mac": "02:00:00:00:00:01", "addresses": ["10.20.1.5"], "attached": attached,
            "origin": {"kind": "Pod"},
        });
    }
    let claim = json!({"metadata": {"name": "c"}, "spec": spec});
    (&serde_json::from_value::<Claim>(claim).unwrap()).into()
}

fn wall(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn capacity_is_what_the_address_daemons_would_hand_out() {
    for (spec, capacity) in [
        (json!({}), 254),
        (json!({"gateway": "10.20.1.1"}), 253),
        (json!({"ranges": ["10.20.1.100-10.20.1.199"]}), 100),
        (
            json!({"ranges": ["10.20.1.100-10.20.1.199"], "exclude": ["10.20.1.150", "10.20.1.128/30"]}),
            95,
        ),
        (
            json!({"routes": [{"dst": "10.0.0.0/8", "via": "10.20.1.254"}]}),
            253,
        ),
        (json!({"subnet": "fd00::/64"}), u64::MAX),
        (json!({"subnet": "10.20.1.0/33"}), 0),
    ] {
        assert_eq!(pool("p", &spec).1.capacity, capacity, "{spec}");
    }
}

#[test]
fn claims_are_counted_by_what_they_have() {
    let claims = [claim(None), claim(Some(false)), claim(Some(true))];
    let counts = count(claims.iter());
    let expected = Count {
        claimed: 3,
        bound: 2,
        attached: 1,
    };
    assert_eq!(counts, [("p", expected)].into());
}

#[test]
fn a_pool_that_contradicts_itself_or_another_of_its_rack_is_told() {
    for (case, others, words) in [
        ("alone", vec![("p", json!({}))], None),
        (
            "unreadable",
            vec![("p", json!({"ranges": ["10.20.1.9-10.20.1.5"]}))],
            Some("ranges"),
        ),
        (
            "range outside",
            vec![("p", json!({"ranges": ["10.20.2.5"]}))],
            Some("ranges"),
        ),
        (
            "the same addresses",
            vec![("p", json!({})), ("q", json!({}))],
            Some("q"),
        ),
        (
            "in another rack",
            vec![("p", json!({})), ("q", json!({"rack": "b"}))],
            None,
        ),
    ] {
        let said = objections("p", &pools(&others));
        match words {
            None => assert!(said.is_empty(), "{case}: {said:?}"),
            Some(words) => assert!(said.join(" ").contains(words), "{case}: {said:?}"),
        }
    }
}

/// What is written stands in the pool that the next pass sees.
fn write(
    history: &mut History,
    pools: &mut BTreeMap<String, PoolView>,
    claimed: i64,
    (start, after): (Instant, u64),
) -> Option<PoolStatus> {
    let count = Count {
        claimed,
        ..Count::default()
    };
    let now = start + seconds(after);
    let wall = wall(after.try_into().unwrap());
    let due = history.plan(pools, &[("p", count)].into(), now, wall);
    let (name, status) = due.into_iter().next()?;
    history.wrote(&name, now);
    pools.get_mut(&name).unwrap().status = Some(status.clone());
    Some(status)
}

#[test]
fn status_is_written_on_change_and_not_more_often_than_every_half_minute() {
    let (mut history, start) = (History::default(), Instant::now());
    let mut pools = pools(&[("p", json!({}))]);
    let first = write(&mut history, &mut pools, 1, (start, 0)).unwrap();
    assert_eq!(
        (first.capacity, first.claimed, first.observed_generation),
        (254, 1, 2)
    );
    assert_eq!(first.conditions[0].status, ConditionStatus::True);
    for (after, claimed, is_written) in [
        (40, 1, false),
        (3600, 1, false),
        (3601, 2, true),
        (3602, 3, false),
        (3631, 3, true),
        (3632, 3, false),
        (3700, 3, false),
    ] {
        let written = write(&mut history, &mut pools, claimed, (start, after));
        assert_eq!(written.is_some(), is_written, "after {after} s");
    }
}

#[test]
fn a_condition_that_stays_keeps_its_time() {
    let (mut history, start) = (History::default(), Instant::now());
    let mut pools = pools(&[("p", json!({}))]);
    let first = write(&mut history, &mut pools, 1, (start, 0)).unwrap();
    let second = write(&mut history, &mut pools, 2, (start, 60)).unwrap();
    assert_eq!(first.conditions, second.conditions);
    assert_ne!(first.update_time, second.update_time);
    let bad = pool("p", &json!({"ranges": ["10.20.2.5"]})).1;
    let status = pools["p"].status.clone();
    pools.insert("p".to_owned(), PoolView { status, ..bad });
    let third = write(&mut history, &mut pools, 2, (start, 120)).unwrap();
    let condition = &third.conditions[0];
    assert_eq!(condition.status, ConditionStatus::False);
    assert_eq!(condition.last_transition_time, Time(wall(120)));
}

#[test]
fn exhaustion_is_told_while_it_comes_nearer_and_since_it_came() {
    let (mut history, start) = (History::default(), Instant::now());
    let mut pools = pools(&[("p", json!({"ranges": ["10.20.1.100-10.20.1.199"]}))]);
    // One address a minute.
    let mut last = None;
    for minute in 0..=60_u64 {
        let claimed = i64::try_from(minute).unwrap();
        last = write(&mut history, &mut pools, claimed, (start, minute * 60)).or(last);
    }
    let told = last.unwrap().exhausted_at.unwrap();
    let off = told.0.duration_since(wall(100 * 60)).abs();
    assert!(off < SignedDuration::from_mins(5), "{told:?}");
    let full = write(&mut history, &mut pools, 100, (start, 3700)).unwrap();
    let since = full.exhausted_at.unwrap();
    assert!(since.0 <= wall(3700));
    assert_eq!(write(&mut history, &mut pools, 100, (start, 9000)), None);
    let over = write(&mut history, &mut pools, 101, (start, 9100)).unwrap();
    assert_eq!(over.exhausted_at, Some(since));
}
