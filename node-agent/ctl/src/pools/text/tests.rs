use serde_json::{Value, json};

use super::*;
use crate::claims::fixture::{at, claim};
use crate::pools::view::tests::{pool, status};
use crate::pools::view::views;

#[test]
fn people_see_what_is_free_until_when_and_where_the_numbers_are_from() {
    let mut told = status(3, -60);
    told["conditions"] = json!([{
        "type": "Accepted", "status": "False", "reason": "Contradictory", "message": "ranges: it overlaps.",
        "lastTransitionTime": at(-60),
    }]);
    let full = json!({"rack": "b", "subnet": "10.20.2.0/24", "ranges": ["10.20.2.7"]});
    let pools = [
        pool("external-a", &json!({}), told),
        pool("external-b", &full, Value::Null),
    ];
    let claims = [claim(
        "10.20.2.7",
        &json!({"pool": "external-b", "rack": "b"}),
    )];
    let views = views(&pools, &claims, true, at(0));
    let text = table(&views, at(0), Paint::NONE);
    let lines: Vec<Vec<_>> = text
        .lines()
        .map(|it| it.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[1..3],
        [
            vec![
                "external",
                "a",
                "external-a",
                "100",
                "40",
                "30",
                "20",
                "60",
                "in",
                "2h"
            ],
            vec![
                "external",
                "b",
                "external-b",
                "1",
                "1",
                "0",
                "0",
                "0",
                "now"
            ],
        ],
        "{text}"
    );
    for words in [
        "Numbers of the controllers",
        "Counted from the claims now: external-b.",
        "external-a: not accepted (Contradictory) since 2025-11-21T09:59:00Z\n  ranges: it overlaps.",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    let wide = wide(&views, at(0), Paint::NONE);
    assert!(wide.contains("10.20.1.0/24"), "{wide}");
    assert!(wide.contains("status, so for 60s"), "{wide}");
}
