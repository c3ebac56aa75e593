//! How long an address serves nobody, as a client sees it: this program, run where the client is, connects again and again and says when that stopped and
//! when it worked again. Times are of the monotonic clock, which all namespaces share.

use std::io::{BufRead as _, BufReader, Write as _, stdout};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tests_testbed::Namespace;

/// From one try to the next: the resolution of what is measured.
const EVERY: Duration = Duration::from_millis(2);

/// Who is there answers at once; on the way to an address that nobody has, nothing ever comes.
const TRY_DEADLINE: Duration = Duration::from_millis(50);

/// Tries of an outage that never ends.
const LIMIT: Duration = Duration::from_secs(300);

/// What the client's side prints when it is sure that the address serves.
const SERVES: &str = "serves";

/// A client that looks at one address, in a namespace of its own.
#[derive(Debug)]
pub(crate) struct Client {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Client {
    /// Starts to look; answers when the address serves.
    pub(crate) fn start(place: &Namespace, address: &str) -> Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let mut command: Command = place.command(own);
        let child = command
            .args(["client", address])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = child.spawn().context("start the client")?;
        let said = child.stdout.take().context("a client without output")?;
        let mut client = Self {
            child,
            said: BufReader::new(said),
        };
        let first = client.line()?;
        ensure!(first == SERVES, "the client says {first:?}");
        Ok(client)
    }

    /// Waits for the end of the first outage; how long it was.
    pub(crate) fn outage(mut self) -> Result<Duration> {
        let line = self.line()?;
        let micros: u64 = line.parse().with_context(|| format!("{line:?}"))?;
        Ok(Duration::from_micros(micros))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let length = self.said.read_line(&mut line).context("hear the client")?;
        ensure!(length > 0, "the client has ended");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The client's side: says that the address serves, then how many microseconds the first outage took.
pub(crate) fn look(address: &str) -> Result<()> {
    let address: SocketAddr = address.parse().context("parse the address")?;
    let begun = Instant::now();
    while !serves(&address) {
        ensure!(begun.elapsed() < LIMIT, "{address} does not serve");
        thread::park_timeout(EVERY);
    }
    say(SERVES)?;
    let mut last = Instant::now();
    let mut was_out = false;
    loop {
        let tried = Instant::now();
        if serves(&address) {
            if was_out {
                return say(&last.elapsed().as_micros().to_string());
            }
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
