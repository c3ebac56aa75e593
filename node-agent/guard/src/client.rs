//! Asks the guard: one connection, one line after the other. Nothing waits for ever.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::request::{Held, LINE_LIMIT, Request};

/// A guard that takes longer has trouble of its own.
const DEADLINE: Duration = Duration::from_secs(5);

/// Longest line of an answer, in bytes: a refusal repeats the line.
const ANSWER_LIMIT: u64 = 8 * LINE_LIMIT as u64;

/// A connection to the guard.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
    socket: PathBuf,
}

/// Why the guard did not do it.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It does not listen.
    #[error("the guard does not listen at {}: does its container run (install/overlays/recovery-guard)?", .socket.display())]
    Connect {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not answer, or not in words that are known.
    #[error("no answer of the guard at {}", .socket.display())]
    Exchange {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not do that.
    #[error("the guard says: {text}")]
    Refused {
        /// Its words.
        text: String,
    },
}

impl Connection {
    /// To the guard that listens there.
    ///
    /// # Errors
    /// It does not listen.
    pub async fn open(socket: &Path) -> Result<Self, AskError> {
        let connected = timeout(DEADLINE, UnixStream::connect(socket)).await;
        let stream = connected
            .map_err(io::Error::from)
            .flatten()
            .map_err(|source| AskError::Connect {
                socket: socket.into(),
                source,
            })?;
        Ok(Self {
            stream: BufReader::new(stream),
            socket: socket.into(),
        })
    }

    /// Asks once; the answer of a list, which is empty for the other verbs.
    ///
    /// # Errors
    /// The guard refuses, or does not answer: then the connection is of no more use.
    ///
    /// # Cancellation
    /// The connection is of no more use; it may be done or not, and asked again it does no harm.
    pub async fn ask(&mut self, request: &Request) -> Result<Vec<Held>, AskError> {
        let exchanged = timeout(DEADLINE, self.exchange(request)).await;
        let exchanged = exchanged.map_err(io::Error::from).flatten();
        let answer = exchanged.map_err(|source| AskError::Exchange {
            socket: self.socket.clone(),
            source,
        })?;
        answer.map_err(|text| AskError::Refused { text })
    }

    async fn exchange(&mut self, request: &Request) -> io::Result<Result<Vec<Held>, String>> {
        let line = format!("{request}\n");
        self.stream.write_all(line.as_bytes()).await?;
        let mut held = Vec::new();
        loop {
            let mut line = String::new();
            let mut bounded = (&mut self.stream).take(ANSWER_LIMIT);
            bounded.read_line(&mut line).await?;
            let Some(line) = line.strip_suffix('\n') else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            if line == "ok" {
                return Ok(Ok(held));
            }
            if let Some(text) = line.strip_prefix("error ") {
                return Ok(Err(text.to_owned()));
            }
            held.push(Held::parse(line).ok_or(io::ErrorKind::InvalidData)?);
        }
    }
}
