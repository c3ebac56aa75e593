//! What the registry answers.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{Client, LOOK_EVERY, Request};

use super::{Manner, Repository, Shared, State, TAG};

/// The media type of manifests.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

const BLOB: &str = "application/octet-stream";

/// What is sent at once where there is a pace: some milliseconds of it.
const PART_BYTES: u32 = 256 * 1024;

/// What is answered.
struct Answer {
    status: u16,
    kind: &'static str,
    digest: String,
    body: Arc<Vec<u8>>,
    sent: Sent,
}

/// How much of the body is sent.
enum Sent {
    Whole,
    /// Half, and the rest when this repository is released.
    Held(String),
    /// At so many bytes a second.
    Paced(u32),
    Nothing,
}

/// Answers one request.
pub(super) fn answer(
    request: &Request,
    client: &mut Client,
    shared: &Shared,
) -> std::io::Result<()> {
    let answer = decide(request, &mut shared.state());
    let whole = answer.body.len();
    // A client whose connection broke off goes on where it was.
    let range = request.headers.get("range");
    let first = range.and_then(|it| it.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
    let from = first.unwrap_or(0).min(whole);
    let body = &answer.body[from..];
    let mut headers = vec![
        ("Content-Type", answer.kind.to_owned()),
        ("Content-Length", body.len().to_string()),
    ];
    if answer.status == 401 {
        headers.push(("WWW-Authenticate", "Basic realm=\"registry\"".to_owned()));
    }
    let status = if from > 0 { 206 } else { answer.status };
    if status == 206 {
        let range = format!("bytes {from}-{}/{whole}", whole - 1);
        headers.push(("Content-Range", range));
    }
    if !answer.digest.is_empty() {
        headers.push(("Docker-Content-Digest", answer.digest));
    }
    client.head(status, &headers)?;
    match answer.sent {
        _ if request.method == "HEAD" => Ok(()),
        Sent::Whole => client.send(body),
        Sent::Held(repository) => send_held(client, body, &repository, shared),
        Sent::Paced(rate) => send_paced(client, body, rate),
        Sent::Nothing => Ok(()),
    }
}

/// Each part is sent when all before it would have come at this rate.
fn send_paced(client: &mut Client, body: &[u8], rate: u32) -> std::io::Result<()> {
    let begun = Instant::now();
    for (sent, part) in (0_u64..).zip(body.chunks(PART_BYTES as usize)) {
        let due = Duration::from_secs(sent) * PART_BYTES / rate;
        while let Some(early) = due.checked_sub(begun.elapsed()) {
            thread::park_timeout(early);
        }
        client.send(part)?;
    }
    Ok(())
}

/// Notes that a layer is being sent, as long as it is there.
struct Sending<'a>(&'a Shared, &'a str);

impl<'a> Sending<'a> {
    fn new(shared: &'a Shared, repository: &'a str) -> Self {
        let mut state = shared.state();
        *state.sending.entry(repository.to_owned()).or_default() += 1;
        state.most_at_once = state.most_at_once.max(state.sending.len());
        Self(shared, repository)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(times) = state.sending.get_mut(self.1) {
            *times -= 1;
            if *times == 0 {
                state.sending.remove(self.1);
            }
        }
    }
}

fn send_held(
    client: &mut Client,
    body: &[u8],
    repository: &str,
    shared: &Shared,
) -> std::io::Result<()> {
    let _sending = Sending::new(shared, repository);
    let (first, rest) = body.split_at(body.len() / 2);
    client.send(first)?;
    let mut state = shared.state();
    while !state.released.contains(repository) {
        if client.is_gone() {
            return Ok(());
        }
        let waited = shared.changed.wait_timeout(state, LOOK_EVERY);
        state = waited.map_err(|_| std::io::ErrorKind::Other)?.0;
    }
    drop(state);
    client.send(rest)
}

fn decide(request: &Request, state: &mut State) -> Answer {
    let Some((name, kind, what)) = taken_apart(&request.path) else {
        return plain(if request.path == "/v2/" { 200 } else { 404 });
    };
    *state.requests.entry(name.to_owned()).or_default() += 1;
    let Some(repository) = state.repositories.get_mut(name) else {
        return plain(404);
    };
    let shown = request.headers.get("authorization");
    let shown = shown.and_then(|it| it.strip_prefix("Basic "));
    match &mut repository.manner {
        Manner::Answers(status, times) if *times > 0 => {
            *times -= 1;
            return plain(*status);
        }
        Manner::Wants(credentials) if shown != Some(credentials) => return plain(401),
        _ => {}
    }
    let found = match kind {
        "manifests" => manifest(repository, what),
        _ => blob(repository, name, what, request.method == "HEAD"),
    };
    found.unwrap_or_else(|| plain(404))
}

/// `/v2/REPOSITORY/(manifests|blobs)/WHAT`.
fn taken_apart(path: &str) -> Option<(&str, &str, &str)> {
    let (rest, what) = path.strip_prefix("/v2/")?.rsplit_once('/')?;
    let (name, kind) = rest.rsplit_once('/')?;
    Some((name, kind, what))
}

fn plain(status: u16) -> Answer {
    Answer {
        status,
        kind: "application/json",
        digest: String::new(),
        body: Arc::new(b"{}".to_vec()),
        sent: Sent::Whole,
    }
}

fn manifest(repository: &Repository, what: &str) -> Option<Answer> {
    if what != TAG && what != repository.digest {
        return None;
    }
    let mut body = repository.manifest.clone();
    if repository.manner == Manner::OtherManifest {
        // As long, and still JSON: the number of the version.
        let number = body.iter().position(|&byte| byte == b'2')?;
        body[number] = b'3';
    }
    Some(Answer {
        kind: MANIFEST,
        digest: repository.digest.clone(),
        body: Arc::new(body),
        ..plain(200)
    })
}

fn blob(repository: &mut Repository, name: &str, what: &str, is_head: bool) -> Option<Answer> {
    let mut body = Arc::clone(repository.blobs.get(what)?);
    let mut sent = Sent::Whole;
    if what == repository.layer && !is_head {
        match &mut repository.manner {
            Manner::Held => sent = Sent::Held(name.to_owned()),
            Manner::OtherLayer => Arc::make_mut(&mut body)[512] ^= 1,
            Manner::Paced(rate) => sent = Sent::Paced(*rate),
            Manner::BreaksOff(times) if *times > 0 => {
                *times -= 1;
                // A client that goes on where it was would have all of it at last, had anything come.
                sent = Sent::Nothing;
            }
            _ => {}
        }
    }
    Some(Answer {
        kind: BLOB,
        digest: what.to_owned(),
        body,
        sent,
        ..plain(200)
    })
}
