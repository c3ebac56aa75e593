use super::*;

fn document(text: &str) -> Document {
    Document::decode(text.as_bytes()).unwrap()
}

#[test]
fn what_is_no_object_is_a_decoding_error() {
    for text in ["", "{", "nonsense", "[]", "null", "\"x\"", "{\"name\": }"] {
        let error = Document::decode(text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), SpecCode::Decode, "{text}");
    }
}

#[test]
fn header_has_the_codes_of_the_specification() {
    let cases = [
        (r#"{"cniVersion":"1.1.0"}"#, 7, "missing network name"),
        (
            r#"{"cniVersion":"1.1.0","name":""}"#,
            7,
            "missing network name",
        ),
        (
            r#"{"cniVersion":"1.1.0","name":"../x"}"#,
            7,
            "invalid network name",
        ),
        (r#"{"cniVersion":"1.1.0","name":7}"#, 7, "name: is not a"),
        (
            r#"{"cniVersion":"9.9.9","name":"bank"}"#,
            1,
            "incompatible CNI versions",
        ),
        (r#"{"name":"bank"}"#, 1, "incompatible CNI versions"),
        (r#"{"cniVersion":1,"name":"bank"}"#, 6, "cniVersion"),
    ];
    for (text, code, part) in cases {
        let error = document(text).header(Verb::Add).unwrap_err();
        assert_eq!(u32::from(error.code()), code, "{text}");
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn refused_version_lists_the_versions_spoken() {
    let error = document(r#"{"cniVersion":"9.9.9","name":"bank"}"#)
        .header(Verb::Add)
        .unwrap_err();
    assert_eq!(
        error.advice().unwrap(),
        r#"config is "9.9.9", plugin supports ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]"#
    );
}

#[test]
fn verb_younger_than_the_version_is_refused() {
    for (version, verb) in [
        ("0.3.1", Verb::Check),
        ("1.0.0", Verb::Status),
        ("1.0.0", Verb::Gc),
    ] {
        let text = format!(r#"{{"cniVersion":"{version}","name":"bank"}}"#);
        let error = document(&text).header(verb).unwrap_err();
        assert_eq!(error.code(), SpecCode::IncompatibleVersion);
        assert_eq!(
            error.to_string(),
            format!("config version does not allow {verb}")
        );
    }
}

#[test]
fn daemon_has_defaults_and_takes_what_is_given() {
    assert_eq!(document("{}").daemon().unwrap(), Daemon::default());
    let given = document(
        r#"{"ipamd":"/a","spool":"/b",
            "timeouts":{"allocateSeconds":2,"releaseSeconds":0.5,"statusSeconds":4,"gatewaySeconds":9}}"#,
    )
    .daemon()
    .unwrap();
    assert_eq!(
        given,
        Daemon {
            socket: "/a".into(),
            spool: "/b".into(),
            allocate: Duration::from_secs(2),
            release: Duration::from_millis(500),
            status: Duration::from_secs(4),
            gateway: Duration::from_secs(9),
        }
    );
}

#[test]
fn daemon_values_without_sense_are_refused_by_path() {
    let cases = [
        (r#"{"ipamd":"a.sock"}"#, 7, "ipamd: is not an absolute"),
        (r#"{"spool":7}"#, 7, "spool: is not a string"),
        (
            r#"{"timeouts":{"allocateSeconds":-1}}"#,
            7,
            "timeouts.allocateSeconds",
        ),
        (
            r#"{"timeouts":{"allocateSeconds":1e9}}"#,
            7,
            "timeouts.allocateSeconds",
        ),
        (
            r#"{"timeouts":{"allocate":1}}"#,
            2,
            "unknown key \"allocate\" in timeouts",
        ),
    ];
    for (text, code, part) in cases {
        let error = document(text).daemon().unwrap_err();
        assert_eq!(u32::from(error.code()), code, "{text}");
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn absent_list_of_attachments_is_not_an_empty_one() {
    assert_eq!(
        document(r#"{"name":"bank"}"#).valid_attachments().unwrap(),
        None
    );
    for key in VALID_ATTACHMENTS {
        for empty in ["null", "[]"] {
            let text = format!(r#"{{"name":"bank","{key}":{empty}}}"#);
            assert_eq!(
                document(&text).valid_attachments().unwrap(),
                Some(BTreeSet::new())
            );
        }
    }
}

#[test]
fn both_spellings_of_the_list_are_read_and_joined() {
    let keep = document(
        r#"{"name":"bank",
            "cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}],
            "cni.dev/attachments":[{"containerID":"a","ifname":"eth0"},
                                   {"containerID":"b","ifname":"eth0","more":1}]}"#,
    )
    .valid_attachments()
    .unwrap()
    .unwrap();
    let sandboxes: Vec<_> = keep.iter().map(|one| one.sandbox.as_str()).collect();
    assert_eq!(sandboxes, ["a", "b"]);
}

#[test]
fn half_a_list_of_attachments_is_refused_whole() {
    for entry in [
        r#"{"containerID":"a"}"#,
        r#"{"ifname":"eth0"}"#,
        r#"{"containerID":"../a","ifname":"eth0"}"#,
        "7",
    ] {
        let text = format!(
            r#"{{"name":"bank","cni.dev/valid-attachments":[{{"containerID":"b","ifname":"eth0"}},{entry}]}}"#
        );
        let error = document(&text).valid_attachments().unwrap_err();
        assert_eq!(error.code(), SpecCode::InvalidConfig, "{entry}");
        assert!(
            error.to_string().contains("cni.dev/valid-attachments[1]"),
            "{error}"
        );
    }
    let object = r#"{"name":"bank","cni.dev/attachments":{}}"#;
    assert!(document(object).valid_attachments().is_err());
}

#[test]
fn name_is_found_in_a_configuration_that_is_otherwise_broken() {
    let broken = document(r#"{"cniVersion":"9.9.9","name":"bank","networks":7,"ipamd":[]}"#);
    assert_eq!(broken.name().unwrap().as_str(), "bank");
    assert_eq!(broken.version(), None);
}

#[test]
fn damaged_prev_result_is_a_decoding_error() {
    let error = document(r#"{"prevResult":{"ips":"tr"}}"#)
        .prev_result()
        .unwrap_err();
    assert_eq!(error.code(), SpecCode::Decode);
    assert!(document("{}").prev_result().unwrap().is_none());
}
