//! Signal `kubelet`: kubelet's own check of itself, on the node's loopback.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use ipamd_daemon::chain;
use proto_crd::node_health::Decision;
use tokio::net::TcpStream;

use super::{Look, is_own};
use crate::health::assess::{CORDON, LOOK_DEADLINE, PERIOD, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("kubelet");

/// How it is judged.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: TTL,
    // As node-problem-detector looks; three, since a kubelet under load misses one.
    set: 3,
    clear: 2,
    decision: Decision::Observe,
    escalation: CORDON,
    threshold: "healthz answers 200 in 5 s; wrong when not so at 3 looks, 10 s apart",
};

/// kubelet answers "ok", or a line for each check that failed.
const BODY_LIMIT: usize = 4 * 1024;

/// Where kubelet says whether it is well: `http://ADDRESS:PORT/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthzUrl {
    host: String,
    port: u16,
    path: String,
}

/// A text is no such URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not http://ADDRESS:PORT/PATH, as in http://127.0.0.1:10248/healthz")]
pub(crate) struct ParseHealthzUrlError {
    /// The text.
    text: String,
}

impl FromStr for HealthzUrl {
    type Err = ParseHealthzUrlError;

    fn from_str(text: &str) -> Result<Self, ParseHealthzUrlError> {
        let wrong = || ParseHealthzUrlError { text: text.into() };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong());
        }
        let host = uri.host().ok_or_else(wrong)?;
        // A URI keeps the brackets of an IPv6 address.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            host: host.to_owned(),
            port: uri.port_u16().ok_or_else(wrong)?,
            path: uri.path().to_owned(),
        })
    }
}

impl fmt::Display for HealthzUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, path } = self;
        if host.contains(':') {
            write!(f, "http://[{host}]:{port}{path}")
        } else {
            write!(f, "http://{host}:{port}{path}")
        }
    }
}

/// kubelet.
#[derive(Clone, Debug)]
pub(in crate::health) struct Source {
    /// Where it says how it is.
    pub(in crate::health) healthz: HealthzUrl,
}

/// What one look saw.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    /// An answer.
    Answered { status: StatusCode, body: String },
    /// Nobody listens.
    Away { why: String },
    /// Somebody listens and does not answer in time.
    Silent,
    /// The answer broke off.
    Broken { why: String },
    /// We could not look.
    Blind { why: String },
}

impl Look for Source {
    const NAME: &'static str = "kubelet";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        let sight = tokio::time::timeout(LOOK_DEADLINE, ask(&self.healthz)).await;
        vec![assess(&sight.unwrap_or(Sight::Silent), &self.healthz)]
    }
}

async fn ask(url: &HealthzUrl) -> Sight {
    let stream = match TcpStream::connect((url.host.as_str(), url.port)).await {
        Ok(stream) => stream,
        Err(error) => return unreachable(&error),
    };
    exchange(stream, url)
        .await
        .unwrap_or_else(|error| Sight::Broken {
            why: chain(error.as_ref()),
        })
}

async fn exchange(
    stream: TcpStream,
    url: &HealthzUrl,
) -> Result<Sight, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let host = format!("{}:{}", url.host, url.port);
    let request = Request::get(url.path.as_str())
        .header(HOST, host)
        .body(Empty::<Bytes>::new())?;
    let asked = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_LIMIT)
            .collect()
            .await?;
        let body = String::from_utf8_lossy(&body.to_bytes()).trim().to_owned();
        Ok(Sight::Answered { status, body })
    };
    tokio::pin!(asked, connection);
    tokio::select! {
        sight = &mut asked => sight,
        // It may end first when all was read, or when the answer broke off: the request knows which.
        _ = &mut connection => asked.await,
    }
}

fn unreachable(error: &io::Error) -> Sight {
    let why = error.to_string();
    if is_own(error) {
        Sight::Blind { why }
    } else {
        Sight::Away { why }
    }
}

const IMPACT: &str = "no Pod starts, stops or is restarted on this node, and probes are not run; running containers run \
    on; after 40 s without a sign of life the node is NotReady and its Pods leave their Services";

/// What a look says.
fn assess(sight: &Sight, url: &HealthzUrl) -> Verdict {
    let signal = SIGNAL;
    let seconds = LOOK_DEADLINE.as_secs();
    let (kind, value, message) = match sight {
        Sight::Answered { status, .. } if *status == StatusCode::OK => {
            return Verdict::good(signal, "ok");
        }
        Sight::Blind { why } => {
            let why = format!("the agent cannot connect to {url}: {why}");
            return Verdict::unclear(signal, why);
        }
        Sight::Answered { status, body } => (
            "unwell",
            status.as_u16().to_string(),
            format!("kubelet says that it is not well ({status}): {body}"),
        ),
        Sight::Away { why } => (
            "away",
            "away".to_owned(),
            format!("kubelet does not listen at {url}: {why}"),
        ),
        Sight::Silent => (
            "silent",
            "silent".to_owned(),
            format!(
                "kubelet listens at {url} and does not answer within {seconds} s: it hangs, or is stopped"
            ),
        ),
        Sight::Broken { why } => (
            "broken",
            "broken".to_owned(),
            format!("kubelet's answer at {url} cannot be read: {why}"),
        ),
    };
    let trouble = Trouble {
        kind,
        message,
        impact: IMPACT.to_owned(),
        advice: "on the node: systemctl status kubelet, journalctl -u kubelet; a kubelet that hangs is restarted by \
                 systemctl restart kubelet, which leaves the containers alone"
            .to_owned(),
    };
    Verdict::bad(signal, value, trouble)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::health::signal::Finding;

    fn url(text: &str) -> HealthzUrl {
        text.parse().unwrap()
    }

    #[test]
    fn urls_are_read_and_shown() {
        for text in ["http://127.0.0.1:10248/healthz", "http://[::1]:1/"] {
            assert_eq!(url(text).to_string(), text);
        }
        for text in [
            "",
            "127.0.0.1:10248",
            "https://127.0.0.1:1/",
            "http://127.0.0.1/healthz",
        ] {
            assert!(text.parse::<HealthzUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn looks_are_judged_by_the_table() {
        let answered = |status, body: &str| Sight::Answered {
            status,
            body: body.into(),
        };
        let why = String::new;
        let table = [
            (answered(StatusCode::OK, "ok"), Some("good")),
            (
                answered(StatusCode::INTERNAL_SERVER_ERROR, "[-]syncloop failed"),
                Some("unwell"),
            ),
            (answered(StatusCode::NOT_FOUND, ""), Some("unwell")),
            (Sight::Away { why: why() }, Some("away")),
            (Sight::Silent, Some("silent")),
            (Sight::Broken { why: why() }, Some("broken")),
            (Sight::Blind { why: why() }, None),
        ];
        for (sight, expected) in table {
            let verdict = assess(&sight, &url("http://127.0.0.1:10248/healthz"));
            let found = match verdict.finding {
                Finding::Good => Some("good"),
                Finding::Bad(trouble) => Some(trouble.kind),
                Finding::Unclear { .. } | Finding::Absent => None,
            };
            assert_eq!(found, expected, "{sight:?}");
        }
    }

    /// Answers one request with these bytes and closes.
    async fn look_at(answer: &'static [u8]) -> Sight {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = url(&format!("http://127.0.0.1:{port}/healthz"));
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(answer).await.unwrap();
        };
        tokio::join!(ask(&target), serve).0
    }

    #[tokio::test]
    async fn answer_is_read_whole() {
        let sight = look_at(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let ok = Sight::Answered {
            status: StatusCode::OK,
            body: "ok".into(),
        };
        assert_eq!(sight, ok);
        let sight = look_at(b"HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\nbad\n").await;
        assert!(
            matches!(sight, Sight::Answered { status, body } if status == 500 && body == "bad")
        );
    }

    #[tokio::test]
    async fn answer_that_breaks_off_or_is_none_is_broken() {
        for answer in [
            &b""[..],
            b"HTTP/1.1 200",
            b"hello\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        ] {
            let sight = look_at(answer).await;
            assert!(matches!(sight, Sight::Broken { .. }), "{sight:?}");
        }
    }

    #[tokio::test]
    async fn closed_port_is_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let sight = ask(&url(&format!("http://127.0.0.1:{port}/healthz"))).await;
        assert!(matches!(sight, Sight::Away { .. }), "{sight:?}");
    }
}
