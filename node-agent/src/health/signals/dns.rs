//! Signal `dns`: every name server of the node's own `/etc/resolv.conf` answers. Pods with `dnsPolicy: Default`, the runtime's pulls and
//! the cluster's DNS itself go there.

mod message;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto_crd::node_health::Decision;
use tokio::net::UdpSocket;

use self::message::{Answer, question};
use super::{Look, is_own};
use crate::health::aside::{Aside, Outcome};
use crate::health::assess::{PERIOD, Rule, TTL};
use crate::health::rooted;
use crate::health::signal::{Finding, Signal, Trouble, Verdict};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("dns");

/// How it is judged: three bad looks of the last five, which the look itself counts.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: TTL,
    set: 1,
    clear: 1,
    decision: Decision::Observe,
    escalation: None,
    threshold: "each name server answers in 1.5 s; wrong when not so at 3 of 5 looks, 10 s apart",
};

const OF_LATE: usize = 5;
const BAD_OF_LATE: usize = 3;

/// The resolver reads no more of them (`MAXNS`).
const SERVERS_LIMIT: usize = 3;

/// Of a file and a question; three of the latter fit into a look, one after the other.
const FILE_DEADLINE: Duration = Duration::from_millis(400);
const ANSWER_DEADLINE: Duration = Duration::from_millis(1500);

const PORT: u16 = 53;

/// The longest answer that is read (512 bytes without EDNS); the header is enough.
const ANSWER_LIMIT: usize = 512;

/// The node's name servers.
#[derive(Debug)]
pub(in crate::health) struct Source {
    root: PathBuf,
    node: String,
    /// What is asked for, where somebody said it.
    name: Option<String>,
    files: Aside<io::Result<Option<String>>>,
    of_late: VecDeque<bool>,
    number: u16,
}

/// What the resolver is configured with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Resolver {
    servers: Vec<IpAddr>,
    search: Option<String>,
}

/// What one name server said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    Answers,
    /// It answers that it cannot or will not.
    Fails(&'static str),
    Silent,
    /// Nobody is there, or no way to it.
    Away(String),
    Blind(String),
}

impl Source {
    /// Asks the name servers of the node whose file tree is at `root` for `name`; else for the node itself.
    pub(in crate::health) fn new(root: PathBuf, node: String, name: Option<String>) -> Self {
        Self {
            root,
            node,
            name,
            files: Aside::new("dns"),
            of_late: VecDeque::new(),
            number: 0,
        }
    }

    async fn read(&mut self) -> Result<Resolver, String> {
        let root = self.root.clone();
        match self.files.run(FILE_DEADLINE, move || read(&root)).await {
            Outcome::Done(Ok(text)) => Ok(parse(&text.unwrap_or_default())),
            Outcome::Done(Err(error)) | Outcome::NotDone(error) => {
                Err(format!("/etc/resolv.conf: {error}"))
            }
            Outcome::Hangs(since) => Err(format!(
                "/etc/resolv.conf has not been read for {} s",
                since.as_secs()
            )),
        }
    }

    async fn observe(&mut self) -> Verdict {
        let resolver = match self.read().await {
            Ok(resolver) => resolver,
            Err(why) => return Verdict::unclear(SIGNAL, why),
        };
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| default_name(&self.node, resolver.search.as_deref()));
        let mut sights = Vec::new();
        for server in resolver.servers {
            self.number = self.number.wrapping_add(1);
            let sight = ask((server, PORT).into(), self.number, &name).await;
            sights.push((server, sight));
        }
        assess(&sights)
    }
}

impl Look for Source {
    const NAME: &'static str = "dns";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        let verdict = self.observe().await;
        vec![of_late(&mut self.of_late, verdict)]
    }
}

/// `None`: there is no such file.
fn read(root: &Path) -> io::Result<Option<String>> {
    let file = rooted::resolve(root, Path::new("/etc/resolv.conf"))?;
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// As resolv.conf(5). A server with a zone (`fe80::1%eth0`) is passed over.
fn parse(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("nameserver"), Some(server)) if resolver.servers.len() < SERVERS_LIMIT => {
                resolver.servers.extend(server.parse::<IpAddr>());
            }
            // The last one counts.
            (Some("search" | "domain"), Some(first)) => resolver.search = Some(first.to_owned()),
            _ => {}
        }
    }
    resolver
}

/// The node's own name: the nearest there is to one that its name servers must know, or know not to exist.
fn default_name(node: &str, search: Option<&str>) -> String {
    match search {
        Some(search) if !node.contains('.') => format!("{node}.{search}"),
        _ => node.to_owned(),
    }
}

async fn ask(server: SocketAddr, number: u16, name: &str) -> Sight {
    let asked = tokio::time::timeout(ANSWER_DEADLINE, exchange(server, number, name)).await;
    match asked {
        Ok(Ok(Answer::Found)) => Sight::Answers,
        Ok(Ok(Answer::Fails(why))) => Sight::Fails(why),
        Ok(Err(error)) if is_own(&error) => Sight::Blind(error.to_string()),
        Ok(Err(error)) => Sight::Away(error.to_string()),
        Err(_) => Sight::Silent,
    }
}

async fn exchange(server: SocketAddr, number: u16, name: &str) -> io::Result<Answer> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A port of its own for each question: an answer to an earlier one does not come here.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(&question(number, name)).await?;
    let mut answer = [0; ANSWER_LIMIT];
    loop {
        let length = socket.recv(&mut answer).await?;
        if let Some(found) = message::parse(&answer[..length], number) {
            return Ok(found);
        }
    }
}

/// What one look says.
fn assess(sights: &[(IpAddr, Sight)]) -> Verdict {
    if sights.is_empty() {
        return Verdict::absent(SIGNAL, "the node has no name server in /etc/resolv.conf");
    }
    let describe = |(server, sight): &(IpAddr, Sight)| match sight {
        Sight::Answers => format!("{server} answers"),
        Sight::Fails(why) => format!("{server} answers {why}"),
        Sight::Silent => format!("{server} is silent"),
        Sight::Away(why) => format!("{server} is away ({why})"),
        Sight::Blind(why) => format!("{server} cannot be asked ({why})"),
    };
    let value = sights.iter().map(describe).collect::<Vec<_>>().join(", ");
    if sights.iter().any(|(_, it)| matches!(it, Sight::Blind(_))) {
        return Verdict::unclear(SIGNAL, value);
    }
    let well = sights
        .iter()
        .filter(|(_, it)| *it == Sight::Answers)
        .count();
    if well == sights.len() {
        return Verdict::good(SIGNAL, value);
    }
    let (kind, impact) = if well == 0 {
        (
            "dead",
            "the node finds no name: images are not pulled, and Pods that use the node's name servers, the cluster's DNS among them, find \
             nothing outside of the cluster",
        )
    } else {
        (
            "degraded",
            "each look-up that begins with the dead name server takes 5 s longer; many clients give up by then",
        )
    };
    let trouble = Trouble {
        kind,
        message: format!("name servers of the node: {value}"),
        impact: impact.to_owned(),
        advice: "dig @SERVER NAME on the node asks by hand; is the server well, and the way to it (signals uplink, gateway)? SERVFAIL or \
                 REFUSED for a name that it need not know: say another one by --dns-name"
            .to_owned(),
    };
    Verdict::bad(SIGNAL, value, trouble)
}

/// Three of the last five: a datagram may be lost.
fn of_late(looks: &mut VecDeque<bool>, verdict: Verdict) -> Verdict {
    let is_bad = match &verdict.finding {
        Finding::Good => false,
        Finding::Bad(_) => true,
        Finding::Absent | Finding::Unclear { .. } => {
            looks.clear();
            return verdict;
        }
    };
    looks.push_back(is_bad);
    if looks.len() > OF_LATE {
        looks.pop_front();
    }
    let bad = looks.iter().filter(|it| **it).count();
    match (is_bad, bad >= BAD_OF_LATE) {
        (true, true) | (false, false) => verdict,
        // An earlier process may have seen the others: it is not over because this one has looked too seldom to say so.
        (true, false) if looks.len() < OF_LATE => {
            let why = format!(
                "{}; at {bad} of {} looks so far",
                verdict.value,
                looks.len()
            );
            Verdict::unclear(SIGNAL, why)
        }
        (true, false) => Verdict::good(SIGNAL, verdict.value),
        (false, true) => {
            let trouble = Trouble {
                kind: "degraded",
                message: format!("name servers of the node answered at {} of {OF_LATE} looks only", OF_LATE - bad),
                impact: "some look-ups take 5 s longer, or fail".to_owned(),
                advice: "wait for the next looks; where it stays so, look for frames that are lost on the way to the name servers".to_owned(),
            };
            Verdict::bad(SIGNAL, verdict.value, trouble)
        }
    }
}

#[cfg(test)]
mod tests;
