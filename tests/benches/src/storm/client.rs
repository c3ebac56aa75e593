//! A client that asks at a steady pace, in a namespace of its own: this program, run there. How long a request took is reckoned from when it was due, so
//! that one that is slow does not hide those that had to wait for it.

use std::io::{Read as _, Write as _, sink, stdin, stdout};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tests_testbed::Namespace;

/// From one request to the next.
pub(crate) const EVERY: Duration = Duration::from_millis(20);

/// Who has no answer by then has failed.
const DEADLINE: Duration = Duration::from_secs(5);

const FAILED: &str = "failed";

/// What became of requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    pub(crate) took: Vec<Duration>,
    pub(crate) failed: usize,
}

impl Answers {
    pub(crate) fn words(&self) -> String {
        let longest = self.took.iter().max().copied().unwrap_or_default();
        let count = self.took.len();
        format!(
            "{count} requests were answered, the longest in {longest:.1?}, {} failed",
            self.failed
        )
    }
}

/// The client's process.
#[derive(Debug)]
pub(crate) struct Client {
    child: Child,
}

impl Client {
    /// Begins to ask.
    pub(crate) fn start(place: &Namespace, address: &str) -> Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let mut command: Command = place.command(own);
        let command = command
            .args(["client", address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let child = command.spawn().context("start the client")?;
        Ok(Self { child })
    }

    /// Asks no more.
    pub(crate) fn end(mut self) -> Result<Answers> {
        // The end of its input is what it ends by: it is not this program's child, but nsenter's.
        drop(self.child.stdin.take());
        let mut said = String::new();
        let mut out = self
            .child
            .stdout
            .take()
            .context("a client without output")?;
        out.read_to_string(&mut said).context("hear the client")?;
        let mut answers = Answers::default();
        for line in said.lines() {
            if line == FAILED {
                answers.failed += 1;
                continue;
            }
            let micros = line
                .parse()
                .with_context(|| format!("the client says {line:?}"))?;
            answers.took.push(Duration::from_micros(micros));
        }
        Ok(answers)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The client's side: of each request how many microseconds it took, said at the end, so that no pipe is full before. Ends with its input.
pub(crate) fn ask(address: &str) -> Result<()> {
    let address: SocketAddr = address.parse().context("parse the address")?;
    let maker = thread::spawn(|| std::io::copy(&mut stdin(), &mut sink()));
    let mut lines = Vec::new();
    let mut due = Instant::now();
    while !maker.is_finished() {
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
        lines.push(match request(&address) {
            Ok(()) => due.elapsed().as_micros().to_string(),
            Err(_) => FAILED.to_owned(),
        });
        due += EVERY;
    }
    let mut out = stdout().lock();
    writeln!(out, "{}", lines.join("\n")).context("print")?;
    out.flush().context("print")
}

fn request(address: &SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET /version HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    anyhow::ensure!(
        answer.starts_with("HTTP/1.") && answer.contains(" 200 "),
        "{answer}"
    );
    Ok(())
}
