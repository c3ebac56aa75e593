use super::*;

fn explained(image: &str, words: &str) -> Failure {
    let reference = Reference::parse(image).unwrap();
    explain(&reference, Said::Refused(words.to_owned()))
}

const IMAGE: &str = "127.0.0.1:5000/team/app:v2";

fn runtime_says(rest: &str) -> String {
    format!(
        "failed to pull and unpack image \"{IMAGE}\": failed to resolve reference \"{IMAGE}\": {rest}"
    )
}

#[test]
fn words_of_the_runtime_have_a_meaning() {
    let head =
        "unexpected status from HEAD request to http://127.0.0.1:5000/v2/team/app/manifests/v2";
    let table = [
        (format!("{head}: 500 Internal Server Error"), PullReason::Registry, true),
        (format!("{head}: 503 Service Unavailable"), PullReason::Registry, true),
        (format!("{head}: 429 Too Many Requests"), PullReason::Registry, true),
        (format!("{head}: 401 Unauthorized"), PullReason::Unauthorized, false),
        (format!("{head}: 403 Forbidden"), PullReason::Forbidden, false),
        (
            "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed".to_owned(),
            PullReason::Unauthorized,
            false,
        ),
        (
            "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://r/token?service=x: 401 Unauthorized".to_owned(),
            PullReason::Unauthorized,
            false,
        ),
        (format!("{IMAGE}: not found"), PullReason::NotFound, false),
        (
            "failed commit on ref \"layer-sha256:aa\": unexpected commit digest sha256:bb, expected sha256:aa: failed precondition".to_owned(),
            PullReason::WrongDigest,
            false,
        ),
        (
            "failed to copy: httpReadSeeker: failed open: failed to do request: Get \"http://127.0.0.1:5000/v2/team/app/blobs/sha256:aa\": dial tcp 127.0.0.1:5000: connect: connection refused".to_owned(),
            PullReason::Network,
            true,
        ),
        ("failed to copy: unexpected EOF".to_owned(), PullReason::Network, true),
        (
            "failed to extract layer: write /var/lib/x: no space left on device".to_owned(),
            PullReason::Space,
            true,
        ),
        ("context canceled".to_owned(), PullReason::Timeout, true),
        ("something new".to_owned(), PullReason::Other, true),
    ];
    for (words, reason, is_repeated) in table {
        let failure = explained(IMAGE, &runtime_says(&words));
        assert_eq!(
            (failure.reason, failure.is_repeated),
            (reason, is_repeated),
            "{words}: {}",
            failure.message
        );
    }
}

#[test]
fn cause_comes_first_and_the_runtimes_words_are_kept() {
    let failure = explained(IMAGE, &runtime_says("unexpected status: 403 Forbidden"));
    assert_eq!(
        failure.message,
        "the registry refuses this image to who asks; use a pull secret of somebody who may have it (the runtime says: unexpected status: 403 Forbidden)"
    );
}

#[test]
fn name_of_an_image_is_no_cause() {
    let image = "registry.example/404/not found/unauthorized:v1";
    for image in [image, "registry.example/no/connection-refused:v1"] {
        let words = format!(
            "failed to pull and unpack image \"{image}\": Get http://registry.example/v2/{}/manifests/v1: 500 Internal Server Error",
            Reference::parse(image).unwrap().path()
        );
        let failure = explained(image, &words);
        assert_eq!(failure.reason, PullReason::Registry, "{image}: {failure:?}");
    }
}

#[test]
fn signatures_of_a_registrys_storage_are_not_told() {
    let failure = explained(
        IMAGE,
        "failed to do request: Get \"https://store.example/blob?X-Signature=secret&k=secret\": dial tcp: connection refused",
    );
    assert!(!failure.message.contains("secret&k"), "{}", failure.message);
    assert!(
        failure
            .message
            .contains("https://store.example/blob?…\": dial tcp"),
        "{}",
        failure.message
    );
}

#[test]
fn late_or_away_is_repeated_and_says_what_to_do() {
    let reference = Reference::parse(IMAGE).unwrap();
    let late = explain(&reference, Said::Late(Duration::from_secs(7)));
    assert_eq!((late.reason, late.is_repeated), (PullReason::Timeout, true));
    assert!(late.message.contains("within 7 s"), "{}", late.message);
    assert!(late.message.contains("timeoutSeconds"), "{}", late.message);
    let away = explain(&reference, Said::Away("closed".into()));
    assert_eq!((away.reason, away.is_repeated), (PullReason::Runtime, true));
}

#[test]
fn only_credentials_are_tried_one_after_the_other() {
    let refused = |reason| Failure::last(reason, "").is_of_credentials();
    assert!(refused(PullReason::Unauthorized) && refused(PullReason::Forbidden));
    assert!(!refused(PullReason::NotFound) && !refused(PullReason::WrongDigest));
}
