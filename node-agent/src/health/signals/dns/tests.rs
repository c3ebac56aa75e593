use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn kind(verdict: &Verdict) -> &'static str {
    match &verdict.finding {
        Finding::Good => "good",
        Finding::Bad(trouble) => trouble.kind,
        Finding::Absent => "absent",
        Finding::Unclear { .. } => "unclear",
    }
}

#[test]
fn configuration_is_read_as_the_resolver_does() {
    let text = "# nameserver 1.1.1.1\nsearch old\nnameserver 10.0.0.1\n nameserver\tfd00::1 \nnameserver fe80::1%eth0\nnameserver no\n\
                nameserver 10.0.0.2\nnameserver 10.0.0.3\noptions ndots:5\nsearch bank.example other\n";
    let resolver = parse(text);
    assert_eq!(
        resolver.servers,
        [ip("10.0.0.1"), ip("fd00::1"), ip("10.0.0.2")]
    );
    assert_eq!(resolver.search.as_deref(), Some("bank.example"));
    assert_eq!(
        default_name("n1", resolver.search.as_deref()),
        "n1.bank.example"
    );
    assert_eq!(default_name("n1.dc", resolver.search.as_deref()), "n1.dc");
    assert_eq!(default_name("n1", None), "n1");
    assert_eq!(parse(""), Resolver::default());
}

#[test]
fn servers_are_judged_by_the_table() {
    let away = || Sight::Away("connection refused".into());
    let table = [
        (vec![], "absent"),
        (vec![Sight::Answers], "good"),
        (vec![Sight::Silent], "dead"),
        (vec![away(), Sight::Fails("SERVFAIL")], "dead"),
        (vec![Sight::Answers, Sight::Silent], "degraded"),
        (vec![Sight::Fails("REFUSED"), Sight::Answers], "degraded"),
        (
            vec![Sight::Silent, Sight::Blind("EMFILE".into())],
            "unclear",
        ),
    ];
    for (sights, expected) in table {
        let servers = ["10.0.0.1", "10.0.0.2"].map(ip);
        let all: Vec<_> = servers.into_iter().zip(sights.clone()).collect();
        assert_eq!(kind(&assess(&all)), expected, "{sights:?}");
    }
}

#[test]
fn three_bad_looks_of_five_are_trouble() {
    let server = ip("10.0.0.1");
    let mut looks = VecDeque::new();
    let mut look = |is_bad: bool| {
        let sight = if is_bad {
            Sight::Silent
        } else {
            Sight::Answers
        };
        kind(&of_late(&mut looks, assess(&[(server, sight)])))
    };
    // What an earlier process found is not taken back by looks that are too few.
    assert_eq!([true, true].map(&mut look), ["unclear", "unclear"]);
    assert_eq!([false, true].map(&mut look), ["good", "dead"]);
    assert_eq!([false, false].map(&mut look), ["degraded", "good"]);
    assert_eq!([true, true, true].map(&mut look), ["good", "dead", "dead"]);
    let absent = of_late(&mut looks, assess(&[]));
    assert_eq!((kind(&absent), looks.len()), ("absent", 0));
}

#[test]
fn file_is_found_where_the_node_links_it_to() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(read(root.path()).unwrap(), None);
    fs::create_dir_all(root.path().join("etc")).unwrap();
    fs::create_dir_all(root.path().join("run/resolve")).unwrap();
    let link = root.path().join("etc/resolv.conf");
    std::os::unix::fs::symlink("/run/resolve/resolv.conf", link).unwrap();
    fs::write(
        root.path().join("run/resolve/resolv.conf"),
        "nameserver ::1",
    )
    .unwrap();
    assert_eq!(
        read(root.path()).unwrap().as_deref(),
        Some("nameserver ::1")
    );
}

/// Serves one question by these heads, each with the question's number but for the first.
async fn asked(heads: &[[u8; 2]]) -> Sight {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let serve = async {
        let mut question = [0; 64];
        let (length, from) = server.recv_from(&mut question).await.unwrap();
        assert_eq!(question[..length], message::question(7, "n1.bank.example"));
        server
            .send_to(b"\0\x08another question's", from)
            .await
            .unwrap();
        for [flags, code] in heads {
            question[2..4].copy_from_slice(&[*flags, *code]);
            server.send_to(&question[..length], from).await.unwrap();
        }
    };
    tokio::join!(ask(address, 7, "n1.bank.example"), serve).0
}

#[tokio::test]
async fn answer_to_this_question_counts() {
    assert_eq!(asked(&[[0x81, 0x83]]).await, Sight::Answers);
    assert_eq!(asked(&[[0x81, 0x82]]).await, Sight::Fails("SERVFAIL"));
    assert_eq!(
        asked(&[[0x01, 0x00], [0x81, 0x85]]).await,
        Sight::Fails("REFUSED")
    );
}

#[tokio::test]
async fn server_that_says_nothing_is_silent_and_one_that_is_not_there_is_away() {
    assert_eq!(asked(&[]).await, Sight::Silent);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let sight = ask(address, 7, "n1").await;
    assert!(matches!(sight, Sight::Away(_)), "{sight:?}");
}
