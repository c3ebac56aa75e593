//! Signals `disk-space` and `disk-inodes`: the watched file systems have room. One look for both.
//!
//! Asking a file system may hang (a dead NFS server, a dead path to a disk), each for itself: it is asked aside, and what
//! does not answer is told as such.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statvfs::{Statvfs, statvfs};
use proto_crd::node_health::Decision;

use super::Look;
use crate::health::aside::{Aside, Outcome};
use crate::health::assess::{LOOK_DEADLINE, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};

/// Bytes.
pub(in crate::health) const SPACE: Signal = Signal::new("disk-space");

/// Files.
pub(in crate::health) const INODES: Signal = Signal::new("disk-inodes");

/// How space is judged: told before kubelet begins to remove images (15 % of the image file system) and Pods (10 % of the node's),
/// which is then its own business.
pub(in crate::health) const SPACE_RULE: Rule = Rule {
    signal: SPACE,
    period: Source::PERIOD,
    ttl: TTL,
    set: 2,
    clear: 2,
    decision: Decision::Observe,
    escalation: None,
    threshold: "15 % free where Pods, images and logs are; wrong when less at 2 looks, 15 s apart",
};

/// How inodes are judged: kubelet begins to remove Pods at 5 %.
pub(in crate::health) const INODES_RULE: Rule = Rule {
    signal: INODES,
    threshold: "10 % of inodes free where Pods, images and logs are; wrong when less at 2 looks, 15 s apart",
    ..SPACE_RULE
};

/// Of a hundred.
const SPACE_PERCENT: u64 = 15;

/// Of a hundred.
const INODES_PERCENT: u64 = 10;

/// The watched file systems.
#[derive(Debug)]
pub(in crate::health) struct Source {
    watched: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    /// On the node.
    folder: PathBuf,
    /// As this process sees it.
    path: PathBuf,
    answers: Aside<nix::Result<Statvfs>>,
}

/// What a file system answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Room(Room),
    /// Nothing, for so long.
    Hangs(Duration),
    /// There is no such folder here: a node of another making.
    Missing,
    /// The disk, or what stands for it, answered with an error.
    Broken(String),
    /// Our own fault.
    Blind(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    /// Which file system.
    id: u64,
    bytes: Share,
    /// Nothing where the file system makes them as they are needed.
    inodes: Option<Share>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    free: u64,
    /// Free and used, without what is reserved for root: as `df` counts.
    total: u64,
}

impl Share {
    fn percent(self) -> u64 {
        (u128::from(self.free) * 100 / u128::from(self.total.max(1)))
            .try_into()
            .unwrap_or(100)
    }
}

impl Room {
    /// Whether both are of one file system. Some have no id of their own.
    const fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.bytes.total == other.bytes.total
    }
}

impl Source {
    /// Looks at these folders, by their paths on the node, whose file tree is seen below `root`.
    pub(in crate::health) fn new(root: &Path, folders: Vec<PathBuf>) -> Self {
        let watched = folders.into_iter().map(|folder| Watched {
            path: root.join(folder.strip_prefix("/").unwrap_or(&folder)),
            folder,
            answers: Aside::new("disk-space"),
        });
        Self {
            watched: watched.collect(),
        }
    }
}

impl Look for Source {
    const NAME: &'static str = "disk-space";
    const PERIOD: Duration = Duration::from_secs(15);

    async fn look(&mut self) -> Vec<Verdict> {
        // One after the other: those that hang share what time there is.
        let number = u32::try_from(self.watched.len()).unwrap_or(u32::MAX);
        let deadline = LOOK_DEADLINE / (number + 1);
        let mut answers = Vec::new();
        for watched in &mut self.watched {
            let path = watched.path.clone();
            let outcome = watched.answers.run(deadline, move || statvfs(&path)).await;
            answers.push((watched.folder.clone(), answer(outcome)));
        }
        vec![assess_space(&answers), assess_inodes(&answers)]
    }
}

fn answer(outcome: Outcome<nix::Result<Statvfs>>) -> Answer {
    match outcome {
        Outcome::Done(Ok(told)) => Answer::Room(room(&told)),
        Outcome::Done(Err(Errno::ENOENT | Errno::ENOTDIR)) => Answer::Missing,
        Outcome::Done(Err(
            errno @ (Errno::EACCES | Errno::EPERM | Errno::EMFILE | Errno::ENFILE),
        )) => Answer::Blind(io::Error::from(errno).to_string()),
        Outcome::Done(Err(errno)) => Answer::Broken(io::Error::from(errno).to_string()),
        Outcome::Hangs(lasting) => Answer::Hangs(lasting),
        Outcome::NotDone(error) => Answer::Blind(error.to_string()),
    }
}

fn room(told: &Statvfs) -> Room {
    let used = told.blocks().saturating_sub(told.blocks_free());
    let size = told.fragment_size();
    let bytes = Share {
        free: told.blocks_available().saturating_mul(size),
        total: used
            .saturating_add(told.blocks_available())
            .saturating_mul(size),
    };
    let inodes = Share {
        free: told.files_available(),
        total: told.files(),
    };
    Room {
        id: told.filesystem_id(),
        bytes,
        inodes: (inodes.total > 0).then_some(inodes),
    }
}

const IMPACT: &str =
    "kubelet soon removes images and then Pods from this node, and what writes to the disk fails";

fn assess_space(answers: &[(PathBuf, Answer)]) -> Verdict {
    let describe = |share: Share| format!("{} % ({}) free", share.percent(), size(share.free));
    let shares = |room: &Room| Some(room.bytes);
    assess(SPACE, answers, shares, SPACE_PERCENT, describe)
}

fn assess_inodes(answers: &[(PathBuf, Answer)]) -> Verdict {
    let describe = |share: Share| format!("{} % ({}) of inodes free", share.percent(), share.free);
    assess(
        INODES,
        answers,
        |room| room.inodes,
        INODES_PERCENT,
        describe,
    )
}

/// What the file systems say of one of the two.
fn assess(
    signal: Signal,
    answers: &[(PathBuf, Answer)],
    share: impl Fn(&Room) -> Option<Share>,
    least_percent: u64,
    describe: impl Fn(Share) -> String,
) -> Verdict {
    let mut known = Vec::new();
    let mut seen: Vec<Room> = Vec::new();
    let mut failed = Vec::new();
    let mut blind = None;
    for (folder, answer) in answers {
        let folder = folder.display();
        match answer {
            // Several folders on one file system are full together.
            Answer::Room(room) if seen.iter().any(|it| it.is_same(room)) => {}
            Answer::Room(room) => {
                seen.push(*room);
                known.extend(
                    share(room).map(|share| (share, format!("{folder} {}", describe(share)))),
                );
            }
            Answer::Hangs(lasting) => {
                let seconds = lasting.as_secs();
                failed.push((
                    "hangs",
                    format!("{folder} has not answered for {seconds} s"),
                ));
            }
            Answer::Broken(why) => failed.push(("fails", format!("{folder} answers: {why}"))),
            Answer::Missing => {}
            Answer::Blind(why) => {
                blind = Some(format!("the agent could not look at {folder}: {why}"));
            }
        }
    }
    known.sort_by_key(|(share, _)| share.percent());
    let value = known.first().map(|(_, text)| text.clone());
    let low = known
        .iter()
        .filter(|(share, _)| share.percent() < least_percent)
        .map(|(_, text)| ("low", text.clone()));
    let wrong: Vec<_> = failed.iter().cloned().chain(low).collect();
    match (wrong.first(), value, blind) {
        (Some((kind, _)), value, _) => {
            let texts: Vec<_> = wrong.iter().map(|(_, text)| text.as_str()).collect();
            let value = value.unwrap_or_else(|| (*kind).to_owned());
            Verdict::bad(signal, value, trouble(kind, texts.join("; ")))
        }
        (None, _, Some(why)) => Verdict::unclear(signal, why),
        (None, Some(value), None) => Verdict::good(signal, value),
        (None, None, None) if seen.is_empty() => {
            Verdict::unclear(signal, "none of the watched folders is there")
        }
        (None, None, None) => Verdict::absent(signal, "made as they are needed"),
    }
}

fn trouble(kind: &'static str, message: String) -> Trouble {
    let advice = match kind {
        "hangs" => {
            "a mount whose server or disk is away: mount and dmesg on the node show it; umount -l takes it out of the way"
        }
        "fails" => {
            "dmesg on the node says which disk fails; move the Pods away if it is one that they write to"
        }
        _ => {
            "on the node: df -h, df -i and du -x show what fills it; remove unused images (crictl rmi --prune), rotate logs, or enlarge it"
        }
    };
    Trouble {
        kind,
        message,
        impact: IMPACT.to_owned(),
        advice: advice.to_owned(),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(name, unit)| format!("{} {name}", bytes / unit),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    fn room(id: u64, bytes: (u64, u64), inodes: (u64, u64)) -> Answer {
        let share = |(free, total)| Share { free, total };
        Answer::Room(Room {
            id,
            bytes: share(bytes),
            inodes: (inodes.1 > 0).then(|| share(inodes)),
        })
    }

    fn kind(verdict: &Verdict) -> &'static str {
        match &verdict.finding {
            Finding::Good => "good",
            Finding::Bad(trouble) => trouble.kind,
            Finding::Unclear { .. } => "unclear",
            Finding::Absent => "absent",
        }
    }

    #[test]
    fn file_systems_are_judged_by_the_table() {
        let much = || room(1, (50, 100), (50, 100));
        let table = [
            ("room", vec![much()], ("good", "good")),
            (
                "on the line",
                vec![room(1, (15, 100), (10, 100))],
                ("good", "good"),
            ),
            (
                "below it",
                vec![room(1, (14, 100), (9, 100))],
                ("low", "low"),
            ),
            (
                "one of two",
                vec![much(), room(2, (3, 100), (99, 100))],
                ("low", "good"),
            ),
            ("full", vec![room(1, (0, 100), (50, 100))], ("low", "good")),
            (
                "without inodes",
                vec![room(1, (50, 100), (0, 0))],
                ("good", "absent"),
            ),
            (
                "one hangs",
                vec![much(), Answer::Hangs(Duration::from_secs(9))],
                ("hangs", "hangs"),
            ),
            (
                "one fails",
                vec![Answer::Broken("I/O error".into()), much()],
                ("fails", "fails"),
            ),
            (
                "one missing",
                vec![Answer::Missing, much()],
                ("good", "good"),
            ),
            ("all missing", vec![Answer::Missing], ("unclear", "unclear")),
            (
                "blind",
                vec![much(), Answer::Blind("EPERM".into())],
                ("unclear", "unclear"),
            ),
            (
                "blind and low",
                vec![Answer::Blind("EPERM".into()), room(1, (0, 100), (0, 100))],
                ("low", "low"),
            ),
        ];
        for (name, answers, expected) in table {
            let answers: Vec<_> = answers.into_iter().map(|it| ("/f".into(), it)).collect();
            let found = (
                kind(&assess_space(&answers)),
                kind(&assess_inodes(&answers)),
            );
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn fullest_is_the_value_and_one_file_system_is_told_once() {
        let answers = [
            ("/".into(), room(1, (40 << 30, 100 << 30), (1, 2))),
            (
                "/var/lib/kubelet".into(),
                room(2, (1 << 20, 100 << 20), (1, 2)),
            ),
            (
                "/var/lib/containerd".into(),
                room(2, (1 << 20, 100 << 20), (1, 2)),
            ),
        ];
        let verdict = assess_space(&answers);
        assert_eq!(verdict.value, "/var/lib/kubelet 1 % (1 MiB) free");
        let Finding::Bad(trouble) = verdict.finding else {
            panic!("{verdict:?}");
        };
        assert_eq!(trouble.message, "/var/lib/kubelet 1 % (1 MiB) free");
    }

    #[tokio::test]
    async fn real_folders_are_looked_at_below_the_root() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("there")).unwrap();
        let folders = vec!["/there".into(), "/missing".into()];
        let mut source = Source::new(temp.path(), folders);
        let verdicts = source.look().await;
        assert!(verdicts[0].value.starts_with("/there "), "{verdicts:?}");
    }
}
