use super::*;

fn annotations(more: &[(&str, &str)]) -> BTreeMap<String, String> {
    [
        (HASH, "9f3a0c1e"),
        (RESTART_COUNT, "2"),
        (GRACE_PERIOD, "30"),
    ]
    .iter()
    .chain(more)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect::<BTreeMap<_, _>>()
    .into_iter()
    .filter(|(_, value)| value != "-")
    .collect()
}

fn parse(more: &[(&str, &str)]) -> Result<StopSpec, ParseStopError> {
    StopSpec::parse(&annotations(more))
}

fn spec(grace: u64, hook: Option<Hook>) -> StopSpec {
    StopSpec {
        hash: 1,
        restart_count: 0,
        grace: Duration::from_secs(grace),
        hook,
    }
}

#[test]
fn a_container_without_a_hook_is_stopped_within_its_pods_grace_period() {
    let stop = parse(&[("io.kubernetes.container.terminationMessagePath", "/dev/x")]).unwrap();
    assert_eq!(
        stop,
        StopSpec {
            hash: 0x9f3a_0c1e,
            restart_count: 2,
            grace: Duration::from_secs(30),
            hook: None
        }
    );
    assert_eq!(parse(&[(GRACE_PERIOD, "-")]).unwrap().grace, LEAST_GRACE);
    assert_eq!(
        parse(&[(GRACE_PERIOD, "-1")]).unwrap().grace,
        Duration::from_secs(1)
    );
}

#[test]
fn hooks_are_read_as_kubelet_writes_them() {
    let ports = r#"[{"name":"admin","containerPort":8081,"protocol":"TCP"},{"containerPort":80,"protocol":"TCP"}]"#;
    let get = |port, scheme, host: Option<&str>, headers: &[(&str, &str)]| {
        Hook::HttpGet(HttpGet {
            host: host.map(str::to_owned),
            port,
            path: "/drain?now=1".to_owned(),
            scheme,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        })
    };
    let rows = [
        (
            r#"{"exec":{"command":["sh","-c","sleep 8"]}}"#,
            Hook::Exec {
                command: ["sh", "-c", "sleep 8"].map(str::to_owned).to_vec(),
            },
        ),
        (
            r#"{"httpGet":{"path":"/drain?now=1","port":"admin","scheme":"HTTP"}}"#,
            get(8081, Scheme::Http, None, &[]),
        ),
        (
            r#"{"httpGet":{"path":"/drain?now=1","port":9000,"host":"h","scheme":"HTTPS","httpHeaders":[{"name":"A","value":"1"},{"name":"A","value":""}]}}"#,
            get(9000, Scheme::Https, Some("h"), &[("A", "1"), ("A", "")]),
        ),
        (
            r#"{"httpGet":{"path":"/drain?now=1","port":"9000"}}"#,
            get(9000, Scheme::Http, None, &[]),
        ),
        (
            r#"{"sleep":{"seconds":8}}"#,
            Hook::Sleep(Duration::from_secs(8)),
        ),
        (r#"{"sleep":{"seconds":0}}"#, Hook::Sleep(Duration::ZERO)),
        (
            r#"{"tcpSocket":{"port":"admin"}}"#,
            Hook::TcpSocket {
                host: None,
                port: 8081,
            },
        ),
    ];
    for (text, wanted) in rows {
        let stop = parse(&[(HOOK, text), (PORTS, ports)]).unwrap();
        assert_eq!(stop.hook, Some(wanted), "{text}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn what_cannot_be_understood_is_said_in_words() {
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[(HASH, "-")], "no annotation io.kubernetes.container.hash"),
        (
            &[(RESTART_COUNT, "-")],
            "no annotation io.kubernetes.container.restartCount",
        ),
        (
            &[(HASH, "zz")],
            r#"container.hash of the container is "zz""#,
        ),
        (
            &[(RESTART_COUNT, "-3")],
            r#"restartCount of the container is "-3""#,
        ),
        (
            &[(GRACE_PERIOD, "soon")],
            r#"GracePeriod of the container is "soon""#,
        ),
        (&[(GRACE_PERIOD, "-2")], "grace period is -2 s"),
        (
            &[(HOOK, "{")],
            "preStopHandler of the container cannot be read",
        ),
        (
            &[(HOOK, r#"{"httpGet":{"path":"/"}}"#)],
            "preStopHandler of the container cannot be read",
        ),
        (
            &[(PORTS, "7")],
            "container.ports of the container cannot be read",
        ),
        (&[(HOOK, "{}")], "has 0 handlers"),
        (&[(HOOK, r#"{"grpc":{"port":1}}"#)], "has 0 handlers"),
        (
            &[(HOOK, r#"{"sleep":{"seconds":1},"exec":{"command":["a"]}}"#)],
            "has 2 handlers",
        ),
        (
            &[(HOOK, r#"{"sleep":{"seconds":-1}}"#)],
            "preStop sleep is -1 s",
        ),
        (
            &[(HOOK, r#"{"httpGet":{"port":"admin"}}"#)],
            r#"asks port "admin""#,
        ),
        (
            &[
                (HOOK, r#"{"httpGet":{"port":""}}"#),
                (PORTS, r#"[{"containerPort":80}]"#),
            ],
            r#"asks port """#,
        ),
        (&[(HOOK, r#"{"httpGet":{"port":0}}"#)], r#"asks port "0""#),
        (
            &[(HOOK, r#"{"httpGet":{"port":70000}}"#)],
            r#"asks port "70000""#,
        ),
    ];
    for (more, wanted) in rows {
        let words = parse(more).unwrap_err().to_string();
        assert!(words.contains(wanted), "{words}");
    }
}

#[test]
fn a_hook_runs_inside_the_grace_period_and_term_has_two_seconds_at_least() {
    // (grace period, how long the hook ran in milliseconds, its limit, what TERM has)
    let rows = [
        (30, 0, Some(30), 30),
        (30, 8_900, Some(30), 22),
        (30, 28_000, Some(30), 2),
        (30, 29_500, Some(30), 2),
        (30, 30_000, Some(30), 2),
        (3, 3_000, Some(3), 2),
        (1, 900, Some(1), 2),
        (0, 0, None, 2),
    ];
    for (grace, ran, limit, term) in rows {
        let stop = spec(grace, Some(Hook::Sleep(Duration::from_secs(8))));
        assert_eq!(
            stop.hook_limit(),
            limit.map(Duration::from_secs),
            "{grace} s"
        );
        let left = stop.term_grace(Duration::from_millis(ran));
        assert_eq!(left, Duration::from_secs(term), "{grace} s, hook {ran} ms");
        assert!(Duration::from_millis(ran) + left <= stop.longest());
    }
    assert_eq!(spec(30, None).hook_limit(), None);
    let asked = spec(30, None).with_grace(Some(Duration::from_secs(5)));
    assert_eq!(asked.grace, Duration::from_secs(5));
    assert_eq!(asked.clone().with_grace(None), asked);
}
