//! How long an address serves nobody, as a client sees it: this program, run where the client is, connects again and again and says how long that did not
//! work. Times are of the monotonic clock, which all namespaces share.

use std::io::{BufRead as _, BufReader, Read as _, Write as _, sink, stdin, stdout};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tests_testbed::Namespace;

/// From one try to the next: the resolution of what is measured.
const EVERY: Duration = Duration::from_millis(2);

/// Who is there answers at once, also on a busy machine; on the way to an address that nobody has, nothing ever comes. The second part of the resolution.
const TRY_DEADLINE: Duration = Duration::from_millis(30);

/// Tries of an outage that never ends.
const LIMIT: Duration = Duration::from_secs(300);

/// What the client's side prints when it is sure that the address serves.
const SERVES: &str = "serves";

/// How long a container that is made to run anew was away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    /// How long its address served nobody.
    pub(crate) nobody: Duration,
    /// How long its Pod was out of service, as the API server tells it, who is not asked by everything that is measured.
    pub(crate) out: Option<Duration>,
}

/// A client that looks at one address, in a namespace of its own.
#[derive(Debug)]
pub(crate) struct Client {
    child: Child,
    said: BufReader<ChildStdout>,
    outages: Vec<Duration>,
}

impl Client {
    /// Starts to look; answers when the address serves.
    pub(crate) fn start(place: &Namespace, address: &str) -> Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let mut command: Command = place.command(own);
        let child = command
            .args(["client", address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = child.spawn().context("start the client")?;
        let said = child.stdout.take().context("a client without output")?;
        let mut client = Self {
            child,
            said: BufReader::new(said),
            outages: Vec::new(),
        };
        let first = client.line()?;
        ensure!(first == SERVES, "the client says {first:?}");
        Ok(client)
    }

    /// Waits for the end of an outage.
    pub(crate) fn wait_outage(&mut self) -> Result<()> {
        let line = self.line()?;
        self.outages.push(parse(&line)?);
        Ok(())
    }

    /// Looks no more; how long the longest outage was. A client that is not let run for a while takes that for an outage, a short one.
    pub(crate) fn longest(mut self) -> Result<Duration> {
        // The end of its input is what it ends by: it is not this program's child, but nsenter's.
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.said
            .read_to_string(&mut rest)
            .context("hear the client")?;
        for line in rest.lines() {
            self.outages.push(parse(line)?);
        }
        let longest = self.outages.iter().max();
        longest.copied().context("there was no outage")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let length = self.said.read_line(&mut line).context("hear the client")?;
        ensure!(length > 0, "the client has ended");
        Ok(line.trim_end().to_owned())
    }
}

fn parse(line: &str) -> Result<Duration> {
    let micros: u64 = line.parse().with_context(|| format!("{line:?}"))?;
    Ok(Duration::from_micros(micros))
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The client's side: says that the address serves, then of each outage how many microseconds it took. Ends with its input, but not in an outage.
pub(crate) fn look(address: &str) -> Result<()> {
    let address: SocketAddr = address.parse().context("parse the address")?;
    let begun = Instant::now();
    while !serves(&address) {
        ensure!(begun.elapsed() < LIMIT, "{address} does not serve");
        thread::park_timeout(EVERY);
    }
    say(SERVES)?;
    let maker = thread::spawn(|| std::io::copy(&mut stdin(), &mut sink()));
    let mut last = Instant::now();
    let mut was_out = false;
    loop {
        let tried = Instant::now();
        if serves(&address) {
            if was_out {
                say(&last.elapsed().as_micros().to_string())?;
            }
            if maker.is_finished() {
                return Ok(());
            }
            was_out = false;
            last = tried;
        } else {
            was_out = true;
        }
        if last.elapsed() > LIMIT {
            bail!("{address} has served nobody for {LIMIT:?}");
        }
        thread::park_timeout(EVERY);
    }
}

fn serves(address: &SocketAddr) -> bool {
    TcpStream::connect_timeout(address, TRY_DEADLINE).is_ok()
}

fn say(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{text}").context("print")?;
    out.flush().context("print")
}
