//! As much of HTTP as stand-ins of servers need: one request a connection, one thread a connection, on a machine of the world.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sched::CloneFlags;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike as _};
use tests_testbed::Namespace;

/// How often who waits looks whether it is still wanted.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// No line and no body of ours is longer.
const LIMIT: u64 = 1024 * 1024;

/// A server on the loopback of a machine; it ends with this.
#[derive(Debug)]
pub struct Server {
    is_over: Arc<AtomicBool>,
}

/// What is asked.
#[derive(Debug)]
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// Without its query.
    pub path: String,
    /// The query, as it is.
    pub query: String,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// A client, as long as it is there and the server is.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    is_over: Arc<AtomicBool>,
}

impl Server {
    /// Serves a port of a machine's loopback.
    pub fn start(
        machine: &Namespace,
        port: u16,
        answer: impl Fn(&Request, &mut Client) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = listen(machine, port);
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, answer) = (Arc::clone(&is_over), Arc::new(answer));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    continue;
                };
                let (answer, is_over) = (Arc::clone(&answer), Arc::clone(&over));
                thread::spawn(move || {
                    let mut client = Client { stream, is_over };
                    // A client that goes away in the middle is nothing special. One that speaks TLS is told that this is none:
                    // containerd 2 tries both with a loopback.
                    let _ = match client.read() {
                        Ok(request) => answer(&request, &mut client),
                        Err(_) => client.head(400, &[]),
                    };
                });
            }
        });
        Self { is_over }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Client {
    /// Sends the head of an answer. Without a length the body ends with the connection.
    ///
    /// # Errors
    /// The client is gone.
    pub fn head(&mut self, status: u16, headers: &[(&str, String)]) -> std::io::Result<()> {
        let reason = match status {
            200 => "OK",
            206 => "Partial Content",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            429 => "Too Many Requests",
            500 => "Internal Server Error",
            503 => "Service Unavailable",
            _ => "Something",
        };
        let mut head = format!("HTTP/1.1 {status} {reason}\r\nConnection: close\r\n");
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        self.send(format!("{head}\r\n").as_bytes())
    }

    /// Sends a part of the body.
    ///
    /// # Errors
    /// The client is gone.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Whether nobody reads any more what is sent.
    pub fn is_gone(&self) -> bool {
        if self.is_over.load(Ordering::Relaxed) {
            return true;
        }
        let _ = self.stream.set_nonblocking(true);
        // One that has gone away is read as an end.
        let is_end = matches!(self.stream.peek(&mut [0]), Ok(0));
        let _ = self.stream.set_nonblocking(false);
        is_end
    }

    fn read(&mut self) -> std::io::Result<Request> {
        let mut reader = BufReader::new(self.stream.try_clone()?).take(LIMIT);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut request = Request {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: BTreeMap::new(),
            body: Vec::new(),
        };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            let name = name.to_ascii_lowercase();
            request.headers.insert(name, value.to_owned());
        }
        let length = request.headers.get("content-length");
        let length = length.and_then(|it| it.parse().ok()).unwrap_or(0);
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
        Ok(request)
    }
}

/// A socket belongs to the namespace in which it was made, wherever it is used.
fn listen(machine: &Namespace, port: u16) -> TcpListener {
    let netns = std::fs::File::open(machine.net_path()).unwrap();
    let listening = thread::spawn(move || {
        #[allow(
            clippy::disallowed_methods,
            reason = "a thread of its own, which ends here"
        )]
        nix::sched::setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap()
    });
    let listener = listening.join().unwrap();
    let wait = TimeVal::milliseconds(100);
    setsockopt(&listener, ReceiveTimeout, &wait).unwrap();
    listener
}
