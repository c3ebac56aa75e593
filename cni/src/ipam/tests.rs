use proto_ipam::version::{OWN, OWN_TEXT, Version};
use tonic::metadata::MetadataValue;

use super::*;

/// Two minor versions ahead.
fn beyond() -> String {
    let version = Version {
        minor: OWN.minor + 2,
        ..OWN
    };
    version.to_string()
}

fn metadata(release: Option<&str>) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    if let Some(release) = release {
        let value: MetadataValue<_> = release.parse().unwrap();
        metadata.insert(version::KEY, value);
    }
    metadata
}

fn answered(release: Option<&str>) -> Response<u32> {
    Response::from_parts(metadata(release), 7, tonic::Extensions::default())
}

fn failed(release: Option<&str>) -> Status {
    let mut status = refusal(Reason::Recovering).into_status(Code::Unavailable);
    *status.metadata_mut() = metadata(release);
    status
}

fn refusal(reason: Reason) -> Refusal {
    Refusal {
        reason,
        message: "m".to_owned(),
        advice: "a".to_owned(),
    }
}

fn refused(reason: Reason) -> AskIpamdError {
    AskIpamdError::Refused(refusal(reason))
}

fn away(kind: io::ErrorKind) -> AskIpamdError {
    AskIpamdError::Away {
        socket: "/x".into(),
        source: kind.into(),
    }
}

#[test]
fn only_passing_trouble_is_waited_out() {
    for error in [
        away(io::ErrorKind::NotFound),
        away(io::ErrorKind::ConnectionRefused),
        refused(Reason::Recovering),
        refused(Reason::Busy),
        AskIpamdError::Broken {
            problem: "broken pipe".to_owned(),
        },
    ] {
        assert!(error.is_passing(), "{error}");
    }
    for error in [
        away(io::ErrorKind::PermissionDenied),
        refused(Reason::Exhausted),
        refused(Reason::StoreUnavailable),
        refused(Reason::VersionSkew),
        AskIpamdError::Skew(refusal(Reason::VersionSkew)),
        AskIpamdError::Call {
            code: Code::Unimplemented,
            message: String::new(),
        },
    ] {
        assert!(!error.is_passing(), "{error}");
    }
}

#[test]
fn absent_daemon_is_reported_when_the_deadline_is_over() {
    let root = tempfile::tempdir().unwrap();
    let socket = root.path().join("no.sock");
    let error = Ipam {
        socket: &socket,
        deadline: Duration::from_millis(50),
        patience: Patience::Wait,
    }
    .status(Vec::new())
    .unwrap_err();
    assert!(matches!(error, AskIpamdError::Away { .. }), "{error}");
}

#[test]
fn who_has_another_way_does_not_wait_for_an_absent_daemon() {
    let root = tempfile::tempdir().unwrap();
    let socket = root.path().join("no.sock");
    let begun = std::time::Instant::now();
    let error = Ipam {
        socket: &socket,
        deadline: Duration::from_secs(60),
        patience: Patience::GiveUp,
    }
    .status(Vec::new())
    .unwrap_err();
    assert!(matches!(error, AskIpamdError::Away { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn daemon_that_accepts_and_says_nothing_is_silent() {
    let root = tempfile::tempdir().unwrap();
    let socket = root.path().join("ipamd.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let error = Ipam {
        socket: &socket,
        deadline: Duration::from_millis(50),
        patience: Patience::Wait,
    }
    .status(Vec::new())
    .unwrap_err();
    assert!(matches!(error, AskIpamdError::Silent { .. }), "{error}");
    assert!(!error.changed_nothing());
}

#[test]
fn daemon_that_refused_and_then_was_silent_is_quoted_and_may_have_done_something() {
    let silent = || AskIpamdError::Silent {
        socket: "/x".into(),
        deadline: Duration::from_secs(10),
    };
    let said = Some(refusal(Reason::Recovering));
    let error = with_last_words::<()>(Err(silent()), said.clone()).unwrap_err();
    assert_eq!(error.to_string(), "m");
    assert_eq!(error.advice(), Some("a"));
    assert!(!error.changed_nothing() && !error.is_passing());
    let unheard = with_last_words::<()>(Err(silent()), None).unwrap_err();
    assert!(matches!(unheard, AskIpamdError::Silent { .. }));
    assert_eq!(with_last_words(Ok(7), said).unwrap(), 7);
}

#[test]
fn refusal_is_read_from_the_status() {
    let refusal = Refusal {
        reason: Reason::Exhausted,
        message: "pool external-a has no free address".to_owned(),
        advice: "add a range".to_owned(),
    };
    let error = read_status(&refusal.into_status(Code::ResourceExhausted));
    assert!(matches!(
        &error,
        AskIpamdError::Refused(refusal) if refusal.reason == Reason::Exhausted
    ));
    assert_eq!(error.to_string(), "pool external-a has no free address");
}

#[test]
fn own_release_is_named_in_every_request() {
    let request = claim(Request::new(())).unwrap();
    assert_eq!(request.metadata().get(version::KEY).unwrap(), OWN_TEXT);
}

#[test]
fn answer_of_a_daemon_within_reach_or_of_unknown_release_counts() {
    let next = Version {
        minor: OWN.minor + 1,
        ..OWN
    };
    for release in [None, Some(OWN_TEXT.to_owned()), Some(next.to_string())] {
        assert_eq!(
            within_reach(Ok(answered(release.as_deref()))).unwrap(),
            7,
            "{release:?}"
        );
        let error = within_reach::<u32>(Err(failed(release.as_deref()))).unwrap_err();
        assert!(matches!(error, AskIpamdError::Refused(_)), "{error}");
    }
}

#[test]
fn daemon_beyond_reach_is_refused_whatever_it_answers() {
    let beyond = beyond();
    for outcome in [Ok(answered(Some(&beyond))), Err(failed(Some(&beyond)))] {
        let error = within_reach(outcome).unwrap_err();
        assert!(matches!(error, AskIpamdError::Skew(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains(OWN_TEXT) && text.contains(&beyond), "{text}");
        assert!(error.advice().unwrap().starts_with("upgrade the plugin"));
        // It may have granted addresses before we looked at its release.
        assert!(!error.changed_nothing());
    }
}

#[test]
fn release_of_addresses_by_a_daemon_beyond_reach_counts() {
    assert_eq!(as_told(Ok(answered(Some(&beyond())))).unwrap(), 7);
}

#[test]
fn recovering_daemon_is_asked_again_and_what_it_says_last_is_the_answer() {
    let recovering: fn(&Phase) -> bool = |phase| *phase == Phase::Recovering;
    let silent = || AskIpamdError::Silent {
        socket: "/x".into(),
        deadline: Duration::from_secs(1),
    };
    let ask = |patience, outcome: Result<Phase, AskIpamdError>| {
        let ipamd = Ipam {
            socket: Path::new("/x"),
            deadline: Duration::from_secs(1),
            patience,
        };
        ipamd.asks_again(&outcome, recovering)
    };
    for patience in [Patience::Wait, Patience::Insist] {
        assert!(ask(patience, Ok(Phase::Recovering)));
        assert!(ask(patience, Err(away(io::ErrorKind::NotFound))));
        for definite in [Phase::Serving, Phase::ReadOnly, Phase::Damaged] {
            assert!(!ask(patience, Ok(definite)), "{definite:?}");
        }
        assert!(!ask(patience, Err(refused(Reason::NoPool))));
    }
    assert!(ask(Patience::Insist, Err(silent())));
    assert!(!ask(Patience::Wait, Err(silent())));
    assert!(!ask(Patience::GiveUp, Ok(Phase::Recovering)));
    assert!(!ask(Patience::GiveUp, Err(away(io::ErrorKind::NotFound))));
}
