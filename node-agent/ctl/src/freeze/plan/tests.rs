use clap::Parser as _;
use serde_json::json;

use super::*;
use crate::args::{Args, Command};

fn typed(words: &str) -> Result<FreezeArgs, String> {
    let words = ["kubectl-berth", "freeze"]
        .into_iter()
        .chain(words.split_whitespace());
    match Args::try_parse_from(words)
        .map_err(|error| error.to_string())?
        .command
    {
        Command::Freeze(args) => Ok(args),
        _ => panic!("another command"),
    }
}

#[test]
fn exactly_one_scope_and_a_reason_are_asked_for() {
    for (words, because) in [
        ("--cluster", "--reason"),
        ("--reason x", "--cluster"),
        ("--cluster --node n1 --reason x", "cannot be used with"),
        ("--rack a --app b/c --reason x", "cannot be used with"),
        ("--cluster --reason=", "say something"),
        ("--cluster --reason x --for nothing", "is no duration"),
        ("--cluster --reason x --for 0s", "longer than nothing"),
        ("--cluster --reason x --for=-2h", "longer than nothing"),
        ("--cluster --reason x --until soon", "--until"),
        (
            "--cluster --reason x --for 2h --until 2026-01-01T00:00:00Z",
            "cannot be used with",
        ),
    ] {
        let error = typed(words).unwrap_err();
        assert!(error.contains(because), "{words}: {error}");
    }
}

#[test]
fn each_scope_becomes_itself_and_names_its_freeze() {
    for (words, expected, prefix) in [
        ("--cluster", json!({"cluster": true}), "cluster-"),
        ("--rack A_1", json!({"rack": "A_1"}), "rack-a-1-"),
        (
            "--node n1.example",
            json!({"node": "n1.example"}),
            "node-n1-example-",
        ),
        (
            "--app prod/shop",
            json!({"application": {"namespace": "prod", "name": "shop"}}),
            "app-shop-",
        ),
    ] {
        let args = typed(&format!("{words} --reason x")).unwrap();
        let scope = scope(&args).unwrap();
        assert_eq!(serde_json::to_value(&scope).unwrap(), expected);
        assert_eq!(super::prefix(&scope), prefix);
    }
    let long = FreezeScope {
        node: Some("n".repeat(253)),
        ..FreezeScope::default()
    };
    assert!(prefix(&long).len() <= 58);
}

#[test]
fn application_is_named_with_its_namespace() {
    for words in ["shop", "/shop", "prod/", "prod/shop/x"] {
        let args = typed(&format!("--app {words} --reason x")).unwrap();
        let error = scope(&args).unwrap_err().to_string();
        assert!(error.contains("NAMESPACE/NAME"), "{words}: {error}");
    }
}

#[test]
fn end_lies_ahead_and_is_never_earlier_than_asked_for() {
    let now: Timestamp = "2026-01-31T12:00:00.5Z".parse().unwrap();
    let end = |length: Option<&str>, until: Option<&str>| {
        let length = length.map(|text| duration(text).unwrap());
        let until = until.map(|text| text.parse().unwrap());
        expiry(length, until, now).map(|end| end.map(|end| end.to_string()))
    };
    assert_eq!(end(None, None).unwrap(), None);
    let two_hours = Some("2026-01-31T14:00:01Z".to_owned());
    assert_eq!(end(Some("2h"), None).unwrap(), two_hours);
    let at = Some("2026-02-01T00:00:00Z".to_owned());
    assert_eq!(end(None, Some("2026-02-01T00:00:00Z")).unwrap(), at);
    for (length, until, because) in [
        (None, Some("2026-01-31T12:00:00Z"), "has passed"),
        (None, Some("2020-01-01T00:00:00Z"), "has passed"),
        (Some("9000h"), None, "more than a year"),
    ] {
        let error = end(length, until).unwrap_err().to_string();
        assert!(error.contains(because), "{error}");
    }
}

#[test]
fn durations_are_as_people_write_them() {
    for (text, seconds) in [("90m", 5_400), ("2h", 7_200), ("1h30m", 5_400), ("45s", 45)] {
        assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    assert!(duration("2").is_err());
    assert!(duration("tomorrow").is_err());
}
