use serde_json::json;

use super::*;

/// A Pool of network `external` in rack a, with these last bytes of 10.20.1.0/24.
pub(in super::super) fn object(name: &str, range: &str, created: i64) -> PoolObject {
    let (first, last) = range.split_once('-').unwrap();
    PoolObject {
        name: name.to_owned(),
        created: Some(created),
        spec: json!({
            "network": "external", "rack": "a", "subnet": "10.20.1.0/24",
            "ranges": [format!("10.20.1.{first}-10.20.1.{last}")],
        }),
    }
}

pub(in super::super) fn used(name: &str, range: &str, created: i64) -> UsedPool {
    let object = object(name, range, created);
    let pool = object.pool().unwrap();
    UsedPool { object, pool }
}

/// `name:1-9@5` is a Pool with that range, made at that second; with `!` it has a gateway that is none; `name/b` is of rack b,
/// and of its subnet.
fn written(text: &str) -> PoolObject {
    let is_bad = text.ends_with('!');
    let (name, rest) = text.trim_end_matches('!').split_once(':').unwrap();
    let (range, created) = rest.split_once('@').unwrap();
    let (name, rack) = name.split_once('/').unwrap_or((name, "a"));
    let mut object = object(name, range, created.parse().unwrap());
    if is_bad {
        object.spec["gateway"] = "tor".into();
    }
    if rack != "a" {
        let text = object.spec.to_string().replace("10.20.1.", "10.20.2.");
        object.spec = serde_json::from_str(&text).unwrap();
        object.spec["rack"] = rack.into();
    }
    object
}

fn stuck(text: &str) -> Vec<Displaced> {
    let one = |text: &str| Displaced {
        address: format!("10.20.{text}").parse().unwrap(),
        network: "external".parse().unwrap(),
        identity: "prod/db-0".parse().unwrap(),
    };
    text.split_whitespace().map(one).collect()
}

/// What is listed, what is in force, which addresses would be stranded; what is used then, and what is refused: `+` it goes on
/// as it was, `-` it is not used. `keeps` at the end: for the sake of addresses only.
const TABLE: &str = "
nothing                            |                       |                   |      |                           |
one                                | a:1-9@1               |                   |      | a:1-9@1                   |
two of one network side by side    | b:10-19@2 a:1-9@1     |                   |      | a:1-9@1 b:10-19@2         |
the older of two that overlap      | b:9-19@2 a:1-9@3      |                   |      | b:9-19@2                  | -a
of one age the first name          | b:9-19@2 a:1-9@2      |                   |      | a:1-9@2                   | -b
a bad one does not hurt the other  | b:9-19@2! a:1-9@1     |                   |      | a:1-9@1                   | -b
a bad one yields its place         | b:9-19@1! a:1-9@2     |                   |      | a:1-9@2                   | -b
changed                            | a:1-19@1              | a:1-9@1           |      | a:1-19@1                  |
changed to something bad           | a:1-19@1!             | a:1-9@1           |      | a:1-9@1                   | +a
grown into an older one            | a:1-9@1 b:5-19@2      | a:1-9@1 b:10-19@2 |      | a:1-9@1 b:10-19@2         | +b
the older one grown into a younger | a:1-12@1 b:10-19@2    | a:1-9@1 b:10-19@2 |      | a:1-12@1                  | -b
the same, b in use                 | a:1-12@1 b:10-19@2    | a:1-9@1 b:10-19@2 | 1.11 | a:1-9@1 b:10-19@2         | +a keeps
removed                            |                       | a:1-9@1           |      |                           |
removed while in use               |                       | a:1-9@1           | 1.5  | a:1-9@1                   | +a keeps
shrunk while in use                | a:1-4@1               | a:1-9@1           | 1.5  | a:1-9@1                   | +a keeps
shrunk, in use elsewhere           | a:1-4@1 b:10-19@2     | a:1-9@1 b:10-19@2 | 1.5  | a:1-9@1 b:10-19@2         | +a keeps
replaced while in use              | b:1-9@2               | a:1-9@1           | 1.5  | a:1-9@1                   | +a -b keeps
made anew just so                  | a:1-9@7               | a:1-9@1           |      | a:1-9@7                   |
of the rack before, in use         | a:1-9@1               | o/b:1-9@1         | 2.5  | a:1-9@1 o/b:1-9@1         | keeps
of the rack before, not in use     | a:1-9@1               | o/b:1-9@1         |      | a:1-9@1                   |
its name again, in another rack    | o:1-9@2               | o/b:1-9@1         | 2.5  | o/b:1-9@1                 | +o keeps
not in use any more, changed badly | o:1-9@2!              | o/b:1-9@1         |      |                           | -o
";

#[test]
fn plan_follows_the_table() {
    for row in TABLE.trim().lines() {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [case, listed, in_force, in_use, expected, marks] = cells[..] else {
            panic!("{row}");
        };
        let objects = |text: &str| text.split_whitespace().map(written).collect::<Vec<_>>();
        let in_force: Vec<_> = objects(in_force)
            .into_iter()
            .map(|object| UsedPool {
                pool: object.pool().unwrap(),
                object,
            })
            .collect();
        let rack = "a".parse().unwrap();
        let plan = plan(&rack, &objects(listed), &in_force, &stuck(in_use));
        let now: Vec<_> = plan.used.iter().map(|used| used.object.clone()).collect();
        assert_eq!(now, objects(expected), "{case}");
        let mut said: Vec<_> = plan
            .refused
            .iter()
            .map(|refused| format!("{}{}", if refused.stays { '+' } else { '-' }, refused.name))
            .collect();
        said.extend(plan.keeps.then(|| "keeps".to_owned()));
        assert_eq!(said.join(" "), marks, "{case}");
        let alone: Vec<_> = plan.used.iter().map(|used| used.pool.clone()).collect();
        for (index, pool) in alone.iter().enumerate() {
            assert_eq!(objections(pool, &alone[..index]), [], "{case}");
        }
    }
    assert_eq!(TABLE.trim().lines().count(), 22);
}

#[test]
fn refusal_names_the_pool_the_field_what_becomes_of_it_and_what_to_do() {
    let rack = "a".parse().unwrap();
    let told = |listed: &[PoolObject], in_force: &[UsedPool], in_use: &str| {
        let plan = plan(&rack, listed, in_force, &stuck(in_use));
        let refused = &plan.refused[0];
        format!("{refused}; {}", refused.advice())
    };
    let bad = told(&[written("x:1-9@1!")], &[], "");
    let overlap = told(&[object("x", "1-9", 1), object("y", "9-19", 2)], &[], "");
    let gone = told(&[], &[used("x", "1-9", 1)], "1.5 1.6");
    let shrunk = told(&[object("x", "1-4", 1)], &[used("x", "1-9", 1)], "1.5");
    for (said, words) in [
        (
            &bad,
            &[
                "pool x: gateway: ",
                "\"tor\"",
                "it is not used",
                "edit pool",
            ][..],
        ),
        (
            &overlap,
            &[
                "pool y: ranges: ",
                "10.20.1.9",
                "pool x",
                "the older one is used",
            ],
        ),
        (
            &gone,
            &[
                "pool x: that it was deleted",
                "2 addresses",
                "10.20.1.5 of prod/db-0",
                "as it was",
                "release",
            ],
        ),
        (&shrunk, &["pool x: its change", "1 addresses", "by itself"]),
    ] {
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}

#[test]
fn object_of_the_api_server_is_taken_with_its_age_and_without_its_status() {
    let object = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool",
        "metadata": {"name": "x", "creationTimestamp": "1970-01-01T00:01:40Z", "resourceVersion": "7"},
        "spec": {"network": "external"},
        "status": {"claimed": 3},
    });
    let taken = PoolObject::of(serde_json::from_value(object).unwrap());
    assert_eq!((taken.name.as_str(), taken.created), ("x", Some(100)));
    assert_eq!(taken.spec, json!({"network": "external"}));
    let told = taken.pool().unwrap_err();
    assert!(told.contains("missing field `rack`"), "{told}");
}
