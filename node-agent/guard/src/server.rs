//! Answers what is asked on the socket, one caller after the other, and logs every use. What is not understood changes nothing.

use std::io;
use std::time::Duration;

use ipamd_daemon::{chain, uds};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tracing::{info, warn};

use crate::limits::{ChangeError, Limits};
use crate::request::{LINE_LIMIT, Request};

/// A caller that is silent for longer keeps others waiting no more.
const SILENCE: Duration = Duration::from_secs(5);

/// Answers for ever.
///
/// # Errors
/// The socket fails.
///
/// # Cancellation
/// Safe: a request is carried out whole or not at all.
pub async fn serve(limits: Limits, mut incoming: uds::Incoming) -> io::Result<()> {
    while let Some(stream) = incoming.next().await {
        let stream = stream?;
        let caller = stream.peer_cred().ok().and_then(|it| it.pid());
        if let Err(error) = answer_all(&limits, stream, caller).await {
            info!(caller, %error, "a caller went away");
        }
    }
    Ok(())
}

async fn answer_all(limits: &Limits, stream: UnixStream, caller: Option<i32>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        // With the end of the line.
        let mut bounded = (&mut stream).take(LINE_LIMIT as u64 + 1);
        let read = timeout(SILENCE, bounded.read_until(b'\n', &mut line)).await;
        if read.map_err(|_| io::ErrorKind::TimedOut)?? == 0 {
            return Ok(());
        }
        let Some(line) = line.strip_suffix(b"\n") else {
            warn!(caller, "refused: a line that does not end");
            let refusal = format!("error a line has {LINE_LIMIT} bytes at most, and an end\n");
            timeout(SILENCE, stream.write_all(refusal.as_bytes())).await??;
            return Ok(());
        };
        let said = answer(limits, &String::from_utf8_lossy(line), caller);
        timeout(SILENCE, stream.write_all(said.as_bytes())).await??;
    }
}

fn answer(limits: &Limits, line: &str, caller: Option<i32>) -> String {
    let request = match line.parse::<Request>() {
        Ok(request) => request,
        Err(error) => {
            warn!(caller, %error, "refused");
            return format!("error {error}\n");
        }
    };
    match carry_out(limits, &request) {
        Ok(mut said) => {
            match &request {
                Request::Limit {
                    pod,
                    millicores,
                    why,
                } => info!(caller, uid = %pod, millicores, why, "limited"),
                Request::Release { pod, why } => info!(caller, uid = %pod, why, "released"),
                Request::List => info!(caller, "listed"),
            }
            said.push_str("ok\n");
            said
        }
        Err(error) => {
            let error = chain(&error);
            warn!(caller, request = %request, error, "not done");
            format!("error {}\n", error.replace('\n', " "))
        }
    }
}

fn carry_out(limits: &Limits, request: &Request) -> Result<String, ChangeError> {
    match request {
        Request::Limit {
            pod, millicores, ..
        } => limits.limit(pod, *millicores)?,
        Request::Release { pod, .. } => limits.release(pod)?,
        Request::List => {
            let held = limits.list()?;
            let lines = held.iter().flat_map(|it| [it.to_string(), "\n".to_owned()]);
            return Ok(lines.collect());
        }
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::client::{AskError, Connection};
    use crate::request::PodUid;
    use crate::tree::Tree;

    const UID: &str = "0f3a2b1c-4d5e-4f60-8a7b-9c0d1e2f3a4b";

    fn start(folder: &Path) -> impl Future<Output = io::Result<()>> + use<> {
        fs::create_dir_all(folder.join(format!("cpu/kubepods/pod{UID}"))).unwrap();
        let tree = Tree::open(folder, "/").unwrap();
        let limits = Limits::open(tree, folder.join("kept")).unwrap();
        let incoming = uds::bind(&folder.join("guard.sock")).unwrap();
        serve(limits, incoming.into_incoming())
    }

    /// With a server beside it that nobody ends.
    async fn beside<T>(
        server: impl Future<Output = io::Result<()>>,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::select! {
            end = server => panic!("{end:?}"),
            done = work => done,
        }
    }

    #[tokio::test]
    async fn callers_are_answered_one_after_the_other_and_in_turn() {
        let folder = tempfile::tempdir().unwrap();
        let (quota, socket) = (
            folder
                .path()
                .join(format!("cpu/kubepods/pod{UID}/cpu.cfs_quota_us")),
            folder.path().join("guard.sock"),
        );
        let server = start(folder.path());
        fs::write(&quota, "-1\n").unwrap();
        let pod: PodUid = UID.parse().unwrap();
        let limit = Request::Limit {
            pod: pod.clone(),
            millicores: 50,
            why: "a test".to_owned(),
        };
        let release = Request::Release {
            pod,
            why: "a test".to_owned(),
        };
        beside(server, async {
            let mut first = Connection::open(&socket).await.unwrap();
            assert_eq!(first.ask(&limit).await.unwrap(), []);
            assert_eq!(fs::read_to_string(&quota).unwrap(), "5000");
            let held = first.ask(&Request::List).await.unwrap();
            assert_eq!(held[0].to_string(), format!("held {UID} 50"));
            drop(first);
            let mut second = Connection::open(&socket).await.unwrap();
            second.ask(&release).await.unwrap();
            assert_eq!(fs::read_to_string(&quota).unwrap(), "-1");
            let refused = second.ask(&release).await;
            assert!(
                matches!(&refused, Err(AskError::Refused { text }) if text.contains("is not limited")),
                "{refused:?}"
            );
        })
        .await;
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_off_and_a_bad_one_is_told_why() {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path());
        let socket = folder.path().join("guard.sock");
        beside(server, async {
            for (sent, said, stays) in [
                ("stop\n".to_owned(), "is not known", true),
                ("list\u{0}\n".to_owned(), "is not known", true),
                (
                    format!("{}\n", "x".repeat(LINE_LIMIT)),
                    "is not known",
                    true,
                ),
                ("x".repeat(LINE_LIMIT + 1), "512 bytes at most", false),
            ] {
                let mut stream = BufReader::new(UnixStream::connect(&socket).await.unwrap());
                stream.write_all(sent.as_bytes()).await.unwrap();
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                assert!(line.starts_with("error ") && line.contains(said), "{line}");
                line.clear();
                if stays {
                    stream.write_all(b"list\n").await.unwrap();
                    stream.read_line(&mut line).await.unwrap();
                    assert_eq!(line, "ok\n");
                } else {
                    assert_eq!(stream.read_line(&mut line).await.unwrap(), 0);
                }
            }
        })
        .await;
    }
}
