//! Cheap calls of the API server: one `kubectl proxy` on a socket is asked by HTTP, where a run of kubectl a call would cost more than what is looked at.
//!
//! It speaks with the administrator's rights and decides nothing: status and body are given as they come. One connection a call.

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    control_plane::ControlPlane,
    process::Process,
    wait::{Pending, wait_patiently, wait_until},
};

/// Its name in the control plane's folder.
const SOCKET: &str = "proxy.sock";

/// kubectl listens within a tenth of a second; the machine may be busy.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// An API server that is there answers within seconds, however busy.
const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// HTTP's "too many requests": to be asked again in a moment.
const PUT_OFF: u16 = 429;

/// A running proxy.
#[derive(Debug)]
pub struct ApiProxy {
    process: Process,
    /// The socket is reached by its folder: a path of its own may be longer than a socket's may be.
    folder: File,
    socket: &'static str,
}

/// What the API server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, unparsed.
    pub body: String,
}

/// Changes as the API server tells them, one after the other.
#[derive(Debug)]
pub struct ApiWatch {
    reader: BufReader<UnixStream>,
    /// The beginning of a line of which the rest has not come yet.
    begun: Vec<u8>,
}

impl ControlPlane {
    /// Starts a proxy; there can be one at a time.
    ///
    /// # Errors
    /// It does not start.
    pub fn proxy(&self) -> Result<ApiProxy> {
        self.proxy_at(SOCKET)
    }

    /// Starts a proxy on a socket of this name in the control plane's folder.
    ///
    /// # Errors
    /// It does not start.
    pub fn proxy_at(&self, socket: &'static str) -> Result<ApiProxy> {
        let kubeconfig = self.kubeconfig();
        let folder = kubeconfig.parent().context("a kubeconfig without folder")?;
        let mut command = self.machine().command("sh");
        command.args(["-c", "cd \"$0\" && exec \"$@\""]);
        command
            .arg(folder)
            .arg(self.kubernetes().program("kubectl"));
        command.args(["proxy", "--unix-socket", socket, "--kubeconfig"]);
        command.arg(&kubeconfig);
        let name = format!("kubectl-{}", socket.trim_end_matches(".sock"));
        let process = self.machine().spawn_command(&name, command)?;
        let folder = File::open(folder).with_context(|| format!("open {}", folder.display()))?;
        let mut proxy = ApiProxy {
            process,
            folder,
            socket,
        };
        wait_until("kubectl proxy listening", START_DEADLINE, || {
            if !proxy.process.is_running() {
                return Ok(Err(proxy.process.log_tail()));
            }
            proxy.connect().map(|_| Ok(())).map_err(Pending::because)
        })?
        .map_err(|log| anyhow::anyhow!("kubectl proxy has ended; its log says:\n{log}"))?;
        Ok(proxy)
    }
}

impl ApiProxy {
    /// What the API server answers to a GET, as text.
    ///
    /// # Errors
    /// It does not answer, or answers anything but 200.
    pub fn text(&self, path: &str) -> Result<String> {
        let answer = self.get_within(path, CALL_DEADLINE)?;
        ensure!(answer.status == 200, "GET {path}: {answer:?}");
        Ok(answer.body)
    }

    /// What the API server answers to a GET, as JSON.
    ///
    /// # Errors
    /// As [`Self::text`], or it is no JSON.
    pub fn json(&self, path: &str) -> Result<Value> {
        let text = self.text(path)?;
        serde_json::from_str(&text).with_context(|| format!("GET {path}: no JSON: {text}"))
    }

    /// Creates an object in a collection.
    ///
    /// # Errors
    /// The API server refuses; with its words.
    pub fn create(&self, collection: &str, object: &Value) -> Result<Value> {
        let answer = self.call("POST", collection, Some(object))?;
        ensure!(answer.status == 201, "POST {collection}: {answer:?}");
        serde_json::from_str(&answer.body).context("parse what was created")
    }

    /// Deletes an object, or a collection, at once: a Pod's grace period is none. What is not there is deleted.
    ///
    /// # Errors
    /// The API server refuses; with its words.
    pub fn delete_now(&self, path: &str) -> Result<()> {
        let now = serde_json::json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
        let answer = self.call("DELETE", path, Some(&now))?;
        ensure!(
            matches!(answer.status, 200 | 202 | 404),
            "DELETE {path}: {answer:?}"
        );
        Ok(())
    }

    /// Any call.
    ///
    /// # Errors
    /// There is no answer.
    pub fn call(&self, verb: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let reader = self.ask(verb, path, body, CALL_DEADLINE)?;
        answer(reader, verb, path)
    }

    /// Any call with a body of this media type, such as `application/strategic-merge-patch+json`.
    ///
    /// # Errors
    /// There is no answer.
    pub fn call_in(&self, form: &str, verb: &str, path: &str, body: &Value) -> Result<Answer> {
        let reader = self.send(verb, path, Some((form, body)), CALL_DEADLINE)?;
        answer(reader, verb, path)
    }

    /// Begins to watch: a path with `watch=true`.
    ///
    /// # Errors
    /// The API server does not answer, or refuses.
    pub fn watch(&self, path: &str) -> Result<ApiWatch> {
        let mut reader = self.ask("GET", path, None, CALL_DEADLINE)?;
        let status = read_head(&mut reader).with_context(|| format!("watch {path}"))?;
        ensure!(status == 200, "watch {path}: the answer is {status}");
        Ok(ApiWatch {
            reader,
            begun: Vec::new(),
        })
    }

    /// What the API server answers to a GET within this time, whatever it is. While it puts off who asks (429, for instance when it has just
    /// been told of a kind), it is asked again, as all its clients do.
    pub(crate) fn get_within(&self, path: &str, deadline: Duration) -> Result<Answer> {
        let what = format!("an answer to GET {path}");
        wait_patiently(&what, CALL_DEADLINE, || {
            let reader = self.ask("GET", path, None, deadline);
            match reader.and_then(|reader| answer(reader, "GET", path)) {
                Ok(answer) if answer.status == PUT_OFF => Err(Pending::because(answer.body)),
                answered => Ok(answered),
            }
        })?
    }

    /// Whether it takes calls.
    pub(crate) fn is_there(&self) -> bool {
        self.connect().is_ok()
    }

    fn connect(&self) -> std::io::Result<UnixStream> {
        let folder = format!("/proc/self/fd/{}", self.folder.as_raw_fd());
        UnixStream::connect(PathBuf::from(folder).join(self.socket))
    }

    fn ask(
        &self,
        verb: &str,
        path: &str,
        body: Option<&Value>,
        deadline: Duration,
    ) -> Result<BufReader<UnixStream>> {
        let form = match verb {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        self.send(verb, path, body.map(|body| (form, body)), deadline)
    }

    /// HTTP/1.0: the answer ends with the connection and comes in no parts.
    fn send(
        &self,
        verb: &str,
        path: &str,
        body: Option<(&str, &Value)>,
        deadline: Duration,
    ) -> Result<BufReader<UnixStream>> {
        let mut stream = self.connect().context("connect to kubectl proxy")?;
        stream
            .set_read_timeout(Some(deadline))
            .context("set a time limit")?;
        let mut request = format!("{verb} {path} HTTP/1.0\r\nHost: localhost\r\n");
        let mut text = String::new();
        if let Some((form, body)) = body {
            text = body.to_string();
            let length = text.len();
            let _ = write!(
                request,
                "Content-Type: {form}\r\nContent-Length: {length}\r\n"
            );
        }
        let _ = write!(request, "\r\n{text}");
        stream
            .write_all(request.as_bytes())
            .context("ask kubectl proxy")?;
        Ok(BufReader::new(stream))
    }
}

impl ApiWatch {
    /// The next change, or none until this time.
    ///
    /// # Errors
    /// The watch has ended, or says what is no JSON.
    pub fn next_before(&mut self, time: Instant) -> Result<Option<Value>> {
        loop {
            let left = time.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.reader
                .get_ref()
                .set_read_timeout(Some(left))
                .context("set a time limit")?;
            match self.reader.read_until(b'\n', &mut self.begun) {
                Ok(_) if self.begun.ends_with(b"\n") => {
                    let line = std::mem::take(&mut self.begun);
                    return serde_json::from_slice(&line)
                        .map(Some)
                        .with_context(|| String::from_utf8_lossy(&line).into_owned());
                }
                Ok(_) => bail!("the watch has ended"),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error).context("read the watch"),
            }
        }
    }
}

fn answer(mut reader: BufReader<UnixStream>, verb: &str, path: &str) -> Result<Answer> {
    let status = read_head(&mut reader).with_context(|| format!("{verb} {path}"))?;
    let mut body = String::new();
    reader
        .read_to_string(&mut body)
        .with_context(|| format!("read what {verb} {path} answers"))?;
    Ok(Answer { status, body })
}

/// Reads up to the body; the status.
fn read_head(reader: &mut BufReader<UnixStream>) -> Result<u16> {
    let mut first = String::new();
    reader.read_line(&mut first).context("read the answer")?;
    let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.with_context(|| format!("the answer is no HTTP: {first:?}"))?;
    loop {
        let mut line = String::new();
        let length = reader.read_line(&mut line).context("read the answer")?;
        ensure!(length > 0, "the answer ends before its body");
        if line.trim_end().is_empty() {
            return Ok(status);
        }
    }
}
