//! Where the kernel's log is read from, without taking anything away from other readers and without waiting.
//!
//! A file in the form of `/dev/kmsg` (that device, a pipe, a plain file), or syslog(2): a container may not open the device unless it
//! is privileged (the runtime's device rules), while syslog(2) needs `CAP_SYSLOG` only.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use node_agent_kernel::{log_size, read_log};

use super::record::{Record, sequence};

/// The file that needs not be there: then syslog(2) is asked. Any other is meant.
const DEVICE: &str = "/dev/kmsg";

/// The kernel gives one record of the device at a time, and refuses where it does not fit.
const CHUNK: usize = 16 * 1024;

/// What one look takes at most of a file; the rest is taken by the next one.
const LOOK_BYTES: usize = 1 << 20;

/// What is asked of syslog(2) at first: some thousand lines. More only where they do not reach back to the last look.
const USUAL: usize = 128 * 1024;

/// What is asked of it at most, however large the kernel's own buffer is.
const MOST: usize = 1 << 20;

/// Reads what is new.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    source: Option<Source>,
}

#[derive(Debug)]
enum Source {
    File(Tail),
    Syslog(Syslog),
}

/// What is new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// Whole lines, oldest first.
    pub(super) lines: Vec<String>,
    /// Lines were overwritten before they were read: at least so many.
    pub(super) lost: u64,
    /// Nothing was left for the next look.
    pub(super) is_all: bool,
}

impl Reader {
    /// Of this file. It is opened by the first look, and again after an error.
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, source: None }
    }

    /// What has come since the last call; at first, what the kernel still has.
    pub(super) fn read(&mut self) -> io::Result<Batch> {
        let mut source = match self.source.take() {
            Some(source) => source,
            None => open(&self.path)?,
        };
        let batch = match &mut source {
            Source::File(tail) => tail.read(),
            Source::Syslog(syslog) => syslog.read(),
        }?;
        self.source = Some(source);
        Ok(batch)
    }
}

fn open(path: &Path) -> io::Result<Source> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path);
    match opened {
        Ok(file) => Ok(Source::File(Tail::new(file))),
        Err(error)
            if path == Path::new(DEVICE)
                && matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::PermissionDenied
                ) =>
        {
            tracing::info!(%error, "the kernel's log is read by syslog(2): /dev/kmsg is not to be had");
            Ok(Source::Syslog(Syslog::default()))
        }
        Err(error) => Err(error),
    }
}

/// The end of a file.
#[derive(Debug)]
struct Tail {
    file: File,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    /// Of the last record.
    sequence: Option<u64>,
}

impl Tail {
    const fn new(file: File) -> Self {
        Self {
            file,
            begun: Vec::new(),
            sequence: None,
        }
    }

    fn read(&mut self) -> io::Result<Batch> {
        let mut batch = Batch::default();
        let mut chunk = vec![0; CHUNK];
        let mut taken = 0;
        while taken < LOOK_BYTES && !batch.is_all {
            match self.file.read(&mut chunk) {
                Ok(0) => batch.is_all = true,
                Ok(read) => {
                    taken += read;
                    self.take(&chunk[..read], &mut batch);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => batch.is_all = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The device's word for records that were overwritten: the sequence says how many.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) => return Err(error),
            }
        }
        Ok(batch)
    }

    fn take(&mut self, bytes: &[u8], batch: &mut Batch) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = String::from_utf8_lossy(&self.begun).into_owned();
            self.begun.clear();
            if let Some(sequence) = sequence(&line) {
                batch.lost += self.missed(sequence);
            }
            batch.lines.push(line);
        }
        // No line is so long: what has no end is none.
        if self.begun.len() < CHUNK {
            self.begun.extend_from_slice(rest);
        }
    }

    /// How many are missing before this record.
    fn missed(&mut self, sequence: u64) -> u64 {
        let last = self.sequence.replace(sequence);
        last.map_or(0, |last| sequence.saturating_sub(last.saturating_add(1)))
    }
}

/// The kernel's own buffer, asked again and again: each time it tells its last lines.
#[derive(Debug, Default)]
struct Syslog {
    /// The last line of the last look, and its time.
    last: Option<(String, u64)>,
}

impl Syslog {
    fn read(&mut self) -> io::Result<Batch> {
        let all = log_size()?.clamp(USUAL, MOST);
        if self.last.is_some() {
            let text = ask(USUAL)?;
            if let Some(batch) = self.after_last(&text) {
                return Ok(self.remember(batch));
            }
        }
        let text = ask(all)?;
        let batch = match self.after_last(&text) {
            Some(batch) => batch,
            None => self.anew(&text, all),
        };
        Ok(self.remember(batch))
    }

    /// The lines after the last one of the last look. Nothing where that one is not there any more.
    fn after_last(&self, text: &str) -> Option<Batch> {
        let (last, _) = self.last.as_ref()?;
        let lines: Vec<_> = text.lines().collect();
        let at = lines.iter().rposition(|line| line == last)?;
        Some(Batch {
            lines: lines[at + 1..].iter().map(|it| (*it).to_owned()).collect(),
            lost: 0,
            is_all: true,
        })
    }

    /// The lines that are younger than the last one. Between, some were overwritten (how many, the kernel does not say), or somebody
    /// has cleared the log (`dmesg -C`): then there are few.
    fn anew(&self, text: &str, room: usize) -> Batch {
        let since = self.last.as_ref().map(|(_, micros)| *micros);
        let is_new = |line: &&str| {
            let record = Record::parse(line);
            since.is_none_or(|since| record.is_some_and(|record| record.micros > since))
        };
        Batch {
            lines: text.lines().filter(is_new).map(str::to_owned).collect(),
            lost: u64::from(since.is_some() && text.len() > room / 2),
            is_all: true,
        }
    }

    fn remember(&mut self, batch: Batch) -> Batch {
        let known = batch.lines.iter().rev().find_map(|line| {
            let record = Record::parse(line)?;
            Some((line.clone(), record.micros))
        });
        if let Some(known) = known {
            self.last = Some(known);
        }
        batch
    }
}

fn ask(room: usize) -> io::Result<String> {
    let mut buffer = vec![0; room];
    let read = read_log(&mut buffer)?;
    buffer.truncate(read);
    Ok(String::from_utf8_lossy(&buffer).into_owned())
}

#[cfg(test)]
mod tests;
