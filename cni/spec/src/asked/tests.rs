use super::*;

fn asked(text: &str, args: &str) -> Result<Asked, ParseConfError> {
    Asked::parse(
        &Document::decode(text.as_bytes()).unwrap(),
        &CniArgs::parse(args).unwrap(),
    )
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[test]
fn runtime_config_wins_over_args_over_environment() {
    let env = "IP=10.0.0.3;MAC=02:00:00:00:00:03";
    let cases = [
        ("{}", "10.0.0.3", "02:00:00:00:00:03"),
        (
            r#"{"args":{"cni":{"ips":["10.0.0.2/24"],"mac":"02:00:00:00:00:02"}}}"#,
            "10.0.0.2",
            "02:00:00:00:00:02",
        ),
        (
            r#"{"runtimeConfig":{"ips":["10.0.0.1/24"],"mac":"02:00:00:00:00:01"},
                "args":{"cni":{"ips":["10.0.0.2/24"],"mac":"02:00:00:00:00:02"}}}"#,
            "10.0.0.1",
            "02:00:00:00:00:01",
        ),
        (
            r#"{"runtimeConfig":{"ips":[],"mac":null},"args":{"cni":{"ips":null}}}"#,
            "10.0.0.3",
            "02:00:00:00:00:03",
        ),
    ];
    for (text, ip, mac) in cases {
        let asked = asked(text, env).unwrap();
        assert_eq!(texts(&asked.addresses), [ip], "{text}");
        assert_eq!(asked.mac.unwrap().to_string(), mac, "{text}");
    }
}

#[test]
fn annotations_are_read_from_containerd_and_from_args() {
    let annotations = r#"{"runtimeConfig":{"io.kubernetes.cri.pod-annotations":
        {"berth.dev/networks":"internal, external","berth.dev/identity":"vip","other":"x"}}}"#;
    let args = r#"{"args":{"cni":{"berth.dev/networks":["internal","external"],"berth.dev/identity":"vip"}}}"#;
    let pod = "K8S_POD_NAMESPACE=prod;K8S_POD_NAME=db-0";
    for text in [annotations, args] {
        let asked = asked(text, pod).unwrap();
        assert_eq!(
            texts(&asked.networks.unwrap()),
            ["internal", "external"],
            "{text}"
        );
        assert_eq!(asked.identity.unwrap().as_str(), "prod/vip");
    }
}

#[test]
fn identity_stays_in_the_namespace_of_its_pod() {
    let text = |id: &str| format!(r#"{{"args":{{"cni":{{"berth.dev/identity":"{id}"}}}}}}"#);
    let pod = "K8S_POD_NAMESPACE=prod;K8S_POD_NAME=db-0";
    for (id, env, whole) in [
        ("vip", pod, Some("prod/vip")),
        ("prod/vip", pod, Some("prod/vip")),
        ("vip", "", Some("vip")),
        ("other/db-0", "", Some("other/db-0")),
        ("", pod, None),
    ] {
        let identity = asked(&text(id), env).unwrap().identity;
        assert_eq!(identity.as_ref().map(Identity::as_str), whole, "{id}");
    }
    let error = asked(&text("other/db-0"), pod).unwrap_err();
    assert_eq!(u32::from(error.code()), 7);
    assert!(
        error
            .to_string()
            .contains("not in the Pod's namespace prod"),
        "{error}"
    );
}

#[test]
fn empty_wish_is_no_wish() {
    for text in [
        "{}",
        r#"{"args":null,"runtimeConfig":null}"#,
        r#"{"args":{},"runtimeConfig":{}}"#,
        r#"{"args":{"cni":{"berth.dev/networks":""}}}"#,
        r#"{"args":{"cni":{"berth.dev/networks":[]}}}"#,
        r#"{"runtimeConfig":{"bandwidth":{"ingressRate":0,"egressRate":0}}}"#,
        r#"{"runtimeConfig":{"portMappings":[{"hostPort":80}],"dns":{}}}"#,
    ] {
        assert_eq!(asked(text, "").unwrap(), Asked::default(), "{text}");
    }
}

#[test]
fn bandwidth_is_noticed() {
    let text = r#"{"runtimeConfig":{"bandwidth":{"ingressRate":1000000,"ingressBurst":1}}}"#;
    assert!(asked(text, "").unwrap().bandwidth);
}

#[test]
fn malformed_wishes_are_refused_with_their_place() {
    let cases = [
        (r#"{"runtimeConfig":7}"#, "runtimeConfig: is not an object"),
        (
            r#"{"runtimeConfig":{"ips":["10.0.0"]}}"#,
            "runtimeConfig.ips: \"10.0.0\" is not an address",
        ),
        (
            r#"{"runtimeConfig":{"ips":"10.0.0.1"}}"#,
            "runtimeConfig.ips: is not a list",
        ),
        (
            r#"{"runtimeConfig":{"mac":"ff:ff:ff:ff:ff:ff"}}"#,
            "runtimeConfig.mac",
        ),
        (
            r#"{"args":{"cni":{"berth.dev/networks":"a,,b"}}}"#,
            "args.cni.berth.dev/networks",
        ),
        (
            r#"{"args":{"cni":{"berth.dev/networks":"a,a"}}}"#,
            "a is there twice",
        ),
        (
            r#"{"args":{"cni":{"berth.dev/identity":"a b"}}}"#,
            "args.cni.berth.dev/identity",
        ),
        (r#"{"args":[]}"#, "args: is not an object"),
    ];
    for (text, part) in cases {
        let error = asked(text, "").unwrap_err();
        assert_eq!(u32::from(error.code()), 7, "{text}");
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}
