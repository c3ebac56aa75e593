//! Signal `disk-write`: what is written to the agent's own folder reaches the disk, and in time.
//!
//! The only look that touches the disk, and it does so aside: a disk that hangs keeps nothing waiting but this look. A file
//! system that fails may look fine in every other way (kubernetes/kubernetes#99126: the node stays Ready).

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use proto_crd::node_health::Decision;

use super::{Look, is_own};
use crate::health::aside::{Aside, Outcome};
use crate::health::assess::{Escalation, LOOK_DEADLINE, Rule};
use crate::health::signal::{Signal, Trouble, Verdict};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("disk-write");

/// How it is judged: Huawei's CCE writes every 30 s; two failures are no accident. A disk that stays so serves no Pod.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: Source::PERIOD,
    ttl: Duration::from_secs(60),
    set: 2,
    clear: 2,
    decision: Decision::Cordon,
    escalation: Some(Escalation {
        after: Duration::from_secs(120),
        to: Decision::Drain,
    }),
    threshold: "4 KiB are on the disk within 4 s; wrong when not so at 2 looks, 15 s apart",
};

/// One block of nearly every file system.
const BLOCK: [u8; 4096] = [0xa5; 4096];

/// What is written, and gone again.
const FILE: &str = ".write-test";

/// A healthy disk needs milliseconds; the look must end before [`LOOK_DEADLINE`].
const DEADLINE: Duration = Duration::from_secs(4);

/// The disk below the agent's folder.
#[derive(Debug)]
pub(in crate::health) struct Source {
    folder: PathBuf,
    writes: Aside<Result<Duration, WriteTestError>>,
}

/// Which step failed.
#[derive(Debug, thiserror::Error)]
enum WriteTestError {
    /// The folder was not there, and could not be made.
    #[error("making {}", folder.display())]
    Folder {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file could not be made.
    #[error("making {}", file.display())]
    Create {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The kernel did not take the bytes.
    #[error("writing {}", file.display())]
    Write {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// They did not reach the disk.
    #[error("syncing {}", file.display())]
    Sync {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file did not go.
    #[error("removing {}", file.display())]
    Remove {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl WriteTestError {
    const fn io(&self) -> &io::Error {
        match self {
            Self::Folder { source, .. }
            | Self::Create { source, .. }
            | Self::Write { source, .. }
            | Self::Sync { source, .. }
            | Self::Remove { source, .. } => source,
        }
    }
}

impl Source {
    /// The folder is made where it is missing.
    pub(in crate::health) const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            writes: Aside::new("disk-write"),
        }
    }
}

impl Look for Source {
    const NAME: &'static str = "disk-write";
    const PERIOD: Duration = Duration::from_secs(15);

    async fn look(&mut self) -> Vec<Verdict> {
        const { assert!(DEADLINE.as_secs() < LOOK_DEADLINE.as_secs()) };
        let folder = self.folder.clone();
        let outcome = self.writes.run(DEADLINE, move || write_test(&folder)).await;
        vec![assess(&outcome, &self.folder)]
    }
}

fn write_test(folder: &Path) -> Result<Duration, WriteTestError> {
    let begun = Instant::now();
    fs::create_dir_all(folder).map_err(|source| WriteTestError::Folder {
        folder: folder.to_owned(),
        source,
    })?;
    let file = folder.join(FILE);
    let path = || file.clone();
    let mut open = fs::File::create(&file).map_err(|source| WriteTestError::Create {
        file: path(),
        source,
    })?;
    let written = open
        .write_all(&BLOCK)
        .map_err(|source| WriteTestError::Write {
            file: path(),
            source,
        })
        .and_then(|()| {
            open.sync_all().map_err(|source| WriteTestError::Sync {
                file: path(),
                source,
            })
        });
    drop(open);
    // Also where writing failed: an empty file takes an inode, and on a full disk that is one too many.
    let removed = fs::remove_file(&file).map_err(|source| WriteTestError::Remove {
        file: path(),
        source,
    });
    written.and(removed).map(|()| begun.elapsed())
}

const IMPACT: &str = "Pods on this node that write to the same disk fail or hang, containers cannot be started or logged; what only \
    computes and talks goes on";

/// What a write says.
fn assess(outcome: &Outcome<Result<Duration, WriteTestError>>, folder: &Path) -> Verdict {
    let folder = folder.display();
    let (kind, value, message) = match outcome {
        Outcome::Done(Ok(took)) => {
            return Verdict::good(SIGNAL, format!("{} ms", took.as_millis()));
        }
        Outcome::NotDone(error) => {
            let why = format!("the agent could not try to write to {folder}: {error}");
            return Verdict::unclear(SIGNAL, why);
        }
        Outcome::Hangs(lasting) => (
            "hangs",
            "hangs".to_owned(),
            format!(
                "a write of 4 KiB to {folder} has not ended for {} s",
                lasting.as_secs()
            ),
        ),
        Outcome::Done(Err(error)) if is_own(error.io()) => {
            let why = format!("the agent could not try to write: {}", chain(error));
            return Verdict::unclear(SIGNAL, why);
        }
        Outcome::Done(Err(error)) => {
            let kind = kind(error.io());
            let message = format!("a write of 4 KiB failed: {}", chain(error));
            (kind, kind.to_owned(), message)
        }
    };
    let trouble = Trouble {
        kind,
        message,
        impact: IMPACT.to_owned(),
        advice: advice(kind).to_owned(),
    };
    Verdict::bad(SIGNAL, value, trouble)
}

fn kind(error: &io::Error) -> &'static str {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        ReadOnlyFilesystem => "read-only",
        StorageFull | QuotaExceeded => "full",
        _ => "fails",
    }
}

fn advice(kind: &str) -> &'static str {
    match kind {
        "read-only" => {
            "on the node: dmesg says why the kernel took the file system read-only; it is checked and mounted anew (a reboot with fsck), the \
             disk replaced if it reports errors"
        }
        "full" => {
            "on the node: df -h and df -i show what is full, du -x what filled it; kubelet removes images and Pods by itself only above its \
             own thresholds (evictionHard)"
        }
        _ => {
            "on the node: dmesg and smartctl show whether the disk or the path to it fails, iostat -x whether it is merely busy; move the Pods \
             away if it stays so"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    fn failed(code: i32) -> Outcome<Result<Duration, WriteTestError>> {
        Outcome::Done(Err(WriteTestError::Create {
            file: "/state/.write-test".into(),
            source: io::Error::from_raw_os_error(code),
        }))
    }

    #[test]
    fn writes_are_judged_by_the_table() {
        const EIO: i32 = 5;
        const ENOSPC: i32 = 28;
        const EROFS: i32 = 30;
        const EUCLEAN: i32 = 117;
        const EMFILE: i32 = 24;
        let table = [
            (Outcome::Done(Ok(Duration::from_millis(3))), Some("good")),
            (Outcome::Hangs(Duration::from_secs(30)), Some("hangs")),
            (failed(EROFS), Some("read-only")),
            (failed(ENOSPC), Some("full")),
            (failed(EIO), Some("fails")),
            (failed(EUCLEAN), Some("fails")),
            (failed(EMFILE), None),
            (Outcome::NotDone(io::Error::other("no thread")), None),
        ];
        for (outcome, expected) in table {
            let verdict = assess(&outcome, Path::new("/state"));
            let found = match verdict.finding {
                Finding::Good => Some("good"),
                Finding::Bad(trouble) => Some(trouble.kind),
                Finding::Unclear { .. } | Finding::Absent => None,
            };
            assert_eq!(found, expected, "{outcome:?}");
        }
    }

    #[test]
    fn cause_and_step_are_told() {
        let verdict = assess(&failed(30), Path::new("/state"));
        let Finding::Bad(trouble) = verdict.finding else {
            panic!("{verdict:?}");
        };
        assert!(
            trouble
                .message
                .contains("making /state/.write-test: Read-only file system"),
            "{}",
            trouble.message
        );
    }

    #[test]
    fn test_leaves_nothing_behind_and_makes_its_folder() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("agent");
        write_test(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        write_test(&folder).unwrap();
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        let error = write_test(&file).unwrap_err();
        assert!(matches!(error, WriteTestError::Folder { .. }), "{error:?}");
    }
}
