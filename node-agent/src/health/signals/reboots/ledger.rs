//! The boots that the agent has seen, as they are kept on the disk: a line for each, oldest first.
//!
//! `BOOT_ID SECONDS expected|unexpected running|ended`. The file is replaced as a whole; one that cannot be read as such is
//! begun anew, since it only tells of the past.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Below the agent's folder.
const FILE: &str = "boots";

/// More boots in a day are as bad.
const KEPT: usize = 16;

/// The boots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    boots: Vec<Boot>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Boot {
    id: String,
    /// By the clock of the first look in it; seconds since 1970.
    begun: u64,
    is_unexpected: bool,
    /// The agent was told to end in it, and has not run since.
    is_ended: bool,
}

/// The boots cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepLedgerError {
    /// The file is there and cannot be read.
    #[error("reading {}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file cannot be replaced.
    #[error("writing {}", file.display())]
    Write {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Ledger {
    /// With this boot as the last one, in which the agent runs.
    pub(super) fn with_boot(mut self, id: &str, begun: u64) -> Self {
        match self.boots.last_mut() {
            Some(last) if last.id == id => last.is_ended = false,
            last => {
                let is_unexpected = last.is_some_and(|last| !last.is_ended);
                self.boots.push(Boot {
                    id: id.to_owned(),
                    begun,
                    is_unexpected,
                    is_ended: false,
                });
            }
        }
        let surplus = self.boots.len().saturating_sub(KEPT);
        self.boots.drain(..surplus);
        self
    }

    /// The agent was told to end.
    pub(super) fn ended(mut self) -> Self {
        if let Some(last) = self.boots.last_mut() {
            last.is_ended = true;
        }
        self
    }

    /// When the boots began that nobody expected, since then.
    pub(super) fn unexpected_since(&self, since: u64) -> Vec<u64> {
        let wanted = self
            .boots
            .iter()
            .filter(|boot| boot.is_unexpected && boot.begun >= since);
        wanted.map(|boot| boot.begun).collect()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for boot in &self.boots {
            let how = if boot.is_unexpected {
                "unexpected"
            } else {
                "expected"
            };
            let end = if boot.is_ended { "ended" } else { "running" };
            let _ = writeln!(text, "{} {} {how} {end}", boot.id, boot.begun);
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let parse = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            let [id, begun, how, end] = words.as_slice() else {
                return None;
            };
            Some(Boot {
                id: (*id).to_owned(),
                begun: begun.parse().ok()?,
                is_unexpected: match *how {
                    "unexpected" => true,
                    "expected" => false,
                    _ => return None,
                },
                is_ended: match *end {
                    "ended" => true,
                    "running" => false,
                    _ => return None,
                },
            })
        };
        let boots: Option<Vec<_>> = text.lines().map(parse).collect();
        boots.map(|boots| Self { boots })
    }
}

/// What is kept in a folder; nothing where there is no file yet.
///
/// # Errors
/// The file is there and cannot be read.
pub(super) fn load(folder: &Path) -> Result<Ledger, KeepLedgerError> {
    let file = folder.join(FILE);
    match fs::read_to_string(&file) {
        Ok(text) => Ok(Ledger::parse(&text).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ledger::default()),
        // Not text: as good as none.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Ledger::default()),
        Err(source) => Err(KeepLedgerError::Read { file, source }),
    }
}

/// Replaces what is kept: old or new after a power cut, never half.
///
/// # Errors
/// The disk does not take it.
pub(super) fn store(folder: &Path, ledger: &Ledger) -> Result<(), KeepLedgerError> {
    let file = folder.join(FILE);
    let new = folder.join(format!("{FILE}.new"));
    let replace = || {
        fs::create_dir_all(folder)?;
        let mut open = fs::File::create(&new)?;
        open.write_all(ledger.text().as_bytes())?;
        open.sync_all()?;
        fs::rename(&new, &file)?;
        fs::File::open(folder)?.sync_all()
    };
    replace().map_err(|source| KeepLedgerError::Write {
        file: file.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginnings of unexpected boots after these: boot, and whether it ended in an orderly way.
    fn unexpected(boots: &[(&str, bool)]) -> Vec<u64> {
        let mut ledger = Ledger::default();
        for (second, (id, ends)) in (0..).zip(boots) {
            ledger = ledger.with_boot(id, second);
            if *ends {
                ledger = ledger.ended();
            }
        }
        ledger.unexpected_since(0)
    }

    /// Boots, and when the unexpected ones begin.
    type Row<'a> = (&'a [(&'a str, bool)], &'a [u64]);

    #[test]
    fn boots_are_judged_by_the_table() {
        let table: [Row<'_>; 6] = [
            (&[], &[]),
            (&[("a", false)], &[]),
            (&[("a", false), ("b", false)], &[1]),
            (&[("a", true), ("b", false)], &[]),
            // Ended, and begun again in the same boot.
            (&[("a", true), ("a", false), ("b", false)], &[2]),
            (
                &[("a", false), ("b", true), ("c", false), ("d", false)],
                &[1, 3],
            ),
        ];
        for (boots, expected) in table {
            assert_eq!(unexpected(boots), expected, "{boots:?}");
        }
    }

    #[test]
    fn unexpected_boot_counts_for_its_span_only() {
        let ledger = Ledger::default()
            .with_boot("a", 0)
            .with_boot("b", 100)
            .with_boot("c", 200);
        assert_eq!(ledger.unexpected_since(100), [100, 200]);
        assert_eq!(ledger.unexpected_since(101), [200]);
        assert!(ledger.unexpected_since(201).is_empty());
    }

    #[test]
    fn what_is_stored_is_loaded_and_what_is_damaged_is_begun_anew() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("agent");
        assert_eq!(load(&folder).unwrap(), Ledger::default());
        let ledger = Ledger::default()
            .with_boot("a", 1)
            .with_boot("b", 2)
            .ended();
        store(&folder, &ledger).unwrap();
        assert_eq!(load(&folder).unwrap(), ledger);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        for damaged in [
            &b"a 1 expected"[..],
            b"a x expected ended\n",
            b"\xff\xfe",
            b"\0\0\0\n",
        ] {
            fs::write(folder.join(FILE), damaged).unwrap();
            assert_eq!(load(&folder).unwrap(), Ledger::default(), "{damaged:?}");
        }
    }

    #[test]
    fn only_the_last_boots_are_kept() {
        let mut ledger = Ledger::default();
        for boot in 0..100 {
            ledger = ledger.with_boot(&boot.to_string(), boot);
        }
        assert_eq!(ledger.boots.len(), KEPT);
        assert_eq!(ledger.unexpected_since(99), [99]);
    }
}
