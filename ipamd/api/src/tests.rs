use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::{Client, Config};
use nix::sched::CloneFlags;

use super::{FOUND_WITHIN, PATIENCE, Patience, impatient};

/// The same in a fifth of the time.
const QUICK: Patience = Patience {
    asked_after: Duration::from_secs(2),
    asked_every: Duration::from_secs(1),
    questions: 3,
    unanswered: Duration::from_secs(3),
};

/// As `tests::inside` is called.
const INSIDE: &str = "tests::a_dead_connection_is_found_in_a_namespace_of_its_own";

const SERVER: &str = "10.99.0.2:80";

#[test]
fn what_is_said_is_what_is_set() {
    let Patience {
        asked_after,
        asked_every,
        questions,
        unanswered,
    } = PATIENCE;
    assert!(asked_after + asked_every * questions <= FOUND_WITHIN);
    // The kernel looks when a question is due.
    assert!(unanswered + asked_every <= FOUND_WITHIN);
}

/// Root of namespaces of its own is who runs this.
#[test]
fn a_connection_whose_other_end_vanishes_is_given_up() {
    let program = std::env::current_exe().unwrap();
    let ran = Command::new("unshare")
        .args(["--map-root-user", "--net", "--kill-child", "--"])
        .arg(program)
        .args(["--exact", INSIDE, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let wrong = String::from_utf8_lossy(&ran.stderr);
    let is_done = ran.status.success() && said.contains("1 passed");
    assert!(is_done, "{said}\n{wrong}");
}

/// Another machine, at the other end of a link.
struct Other(Child);

impl Other {
    fn start() -> Self {
        let sleeper = Command::new("unshare")
            .args(["--net", "sleep", "120"])
            .spawn();
        let other = Self(sleeper.unwrap());
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let begin = Instant::now();
        while fs::read_link(other.namespace()).is_ok_and(|it| it == own) {
            assert!(begin.elapsed() < FOUND_WITHIN, "no other namespace");
            thread::yield_now();
        }
        let pid = other.0.id().to_string();
        run(&[
            "ip", "link", "add", "near", "type", "veth", "peer", "far", "netns", &pid,
        ]);
        run(&["ip", "addr", "add", "10.99.0.1/24", "dev", "near"]);
        run(&["ip", "link", "set", "near", "up"]);
        other.run(&["ip", "addr", "add", "10.99.0.2/24", "dev", "far"]);
        other.run(&["ip", "link", "set", "far", "up"]);
        other
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    fn run(&self, words: &[&str]) {
        let net = format!("--net={}", self.namespace());
        run(&[&["nsenter", &net][..], words].concat());
    }

    /// Answers each request: what is asked for as a watch with one line and then nothing.
    fn serve(&self) {
        let net = File::open(self.namespace()).unwrap();
        let (listens, heard) = channel();
        thread::spawn(move || {
            #[expect(
                clippy::disallowed_methods,
                reason = "a thread of its own, which does nothing else"
            )]
            nix::sched::setns(net, CloneFlags::CLONE_NEWNET).unwrap();
            let listener = TcpListener::bind(SERVER).unwrap();
            listens.send(()).unwrap();
            for client in listener.incoming() {
                thread::spawn(move || answer(client.unwrap()));
            }
        });
        heard.recv().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(words: &[&str]) {
    let ran = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(ran.status.success(), "{words:?}: {ran:?}");
}

fn answer(mut client: TcpStream) {
    let reader = BufReader::new(client.try_clone().unwrap());
    let mut path = String::new();
    for line in reader.lines() {
        let Ok(line) = line else { return };
        if line.starts_with("GET ") {
            path = line;
        } else if line.is_empty() {
            let said = if path.contains("/watch") {
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none"
            };
            let _ = client.write_all(said.as_bytes());
        }
    }
}

/// What was begun, and one line of it.
async fn begun(client: &Client, path: &str) -> Body {
    let request = hyper::Request::get(path).body(Body::empty()).unwrap();
    let mut body = client.send(request).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap().as_ref(), b"one");
    body
}

#[test]
#[ignore = "the other test runs it in a namespace of its own"]
fn a_dead_connection_is_found_in_a_namespace_of_its_own() {
    let other = Other::start();
    other.serve();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = || Config::new(format!("http://{SERVER}").parse().unwrap());
        let ours = || impatient(config(), QUICK).unwrap();
        let (watching, asking) = (ours(), ours());
        let kubes = Client::try_from(config()).unwrap();
        let mut watch = begun(&watching, "/watch").await;
        let mut hangs = begun(&kubes, "/watch").await;
        // Its connection is kept for the next.
        let mut first = begun(&asking, "/").await;
        assert!(first.frame().await.is_none());

        other.run(&["ip", "link", "set", "far", "down"]);
        let begin = Instant::now();
        let request = hyper::Request::get("/").body(Body::empty()).unwrap();
        let both = async {
            let (watched, asked) = tokio::join!(watch.frame(), asking.send(request));
            assert!(watched.unwrap().is_err());
            assert!(asked.is_err());
        };
        tokio::select! {
            () = both => {}
            said = hangs.frame() => panic!("kube's own client noticed: is all this needed? {said:?}"),
        }
        let took = begin.elapsed();
        assert!(took >= QUICK.unanswered, "{took:?}");
        assert!(took < FOUND_WITHIN, "{took:?}");
    });
}
