//! Signal `read-only`: the file systems that a node must write to can be written to, as its own table of mounts says.
//!
//! A file system that the kernel takes read-only after an error keeps its mount options and changes its own: that tells it
//! from one that is read-only by design, as the root of an immutable system is. The table is that of the node's first process.

mod table;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::process::MountInfo;
use proto_crd::node_health::Decision;

use self::table::Table;
use super::Look;
use crate::health::assess::{Escalation, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("read-only");

/// How it is judged. Nothing but a repair and a new mount ends it, so that it is soon reason enough to move Pods away.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: Source::PERIOD,
    ttl: TTL,
    // One look may fall into a remount by hand.
    set: 2,
    clear: 2,
    decision: Decision::Cordon,
    escalation: Some(Escalation {
        after: Duration::from_secs(60),
        to: Decision::Drain,
    }),
    threshold: "watched folders can be written to; wrong when not so at 2 looks, 10 s apart",
};

/// The node's mounts.
#[derive(Debug)]
pub(in crate::health) struct Source {
    /// Of its first process.
    table: Table,
    watched: Vec<PathBuf>,
}

/// A watched folder and the mount that it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seat {
    /// Of the mount, in the table.
    id: i32,
    folder: PathBuf,
    mount: PathBuf,
    device: String,
    access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Writable,
    /// The mount is for writing, and the file system below does not take it any more.
    TakenAway,
    /// Mounted so.
    ReadOnly,
}

impl Source {
    /// Looks at the mounts of these folders, by their paths on the node.
    pub(in crate::health) fn new(proc: &Path, watched: Vec<PathBuf>) -> Self {
        Self {
            table: Table::new(proc.join("1/mountinfo")),
            watched,
        }
    }
}

impl Look for Source {
    const NAME: &'static str = "mounts";
    const PERIOD: Duration = Duration::from_secs(10);

    async fn look(&mut self) -> Vec<Verdict> {
        let seats = self.table.read().map(|lines| seats(&lines, &self.watched));
        if let Ok(seats) = &seats {
            let mounts = seats.iter().map(|seat| seat.id);
            self.table.suffice(mounts.collect());
        }
        vec![assess(&seats)]
    }
}

/// The mount of each folder. Some thousand mounts are there for a few that matter: only these are taken apart.
fn seats(lines: &[String], folders: &[PathBuf]) -> Vec<Seat> {
    let seat = |folder: &PathBuf| {
        let over = lines.iter().filter_map(|line| {
            let point = Path::new(line.split(' ').nth(4)?);
            let is_over = folder.starts_with(point);
            is_over.then(|| (point.components().count(), line))
        });
        // Of several in one place, the last one hides the others.
        let (_, line) = over.max_by_key(|(depth, _)| *depth)?;
        let mount = MountInfo::from_line(line).ok()?;
        let read_only = |options: &std::collections::HashMap<String, Option<String>>| {
            options.contains_key("ro") || options.contains_key("emergency_ro")
        };
        let access = match (
            read_only(&mount.mount_options),
            read_only(&mount.super_options),
        ) {
            (true, _) => Access::ReadOnly,
            (false, true) => Access::TakenAway,
            (false, false) => Access::Writable,
        };
        Some(Seat {
            id: mount.mnt_id,
            folder: folder.clone(),
            device: mount.mount_source.unwrap_or(mount.fs_type),
            mount: mount.mount_point,
            access,
        })
    };
    folders.iter().filter_map(seat).collect()
}

impl Seat {
    fn is_wrong(&self) -> bool {
        match self.access {
            Access::Writable => false,
            Access::TakenAway => true,
            // An immutable system's root is no fault. What must be written to is named besides it.
            Access::ReadOnly => self.folder != Path::new("/"),
        }
    }

    fn describe(&self) -> String {
        let (folder, mount) = (self.folder.display(), self.mount.display());
        let how = match self.access {
            Access::Writable => "can be written to",
            Access::TakenAway => "was taken read-only by the kernel",
            Access::ReadOnly => "is mounted read-only",
        };
        format!("{folder} {how} ({} on {mount})", self.device)
    }
}

/// What the mounts say.
fn assess(seats: &io::Result<Vec<Seat>>) -> Verdict {
    let seats = match seats {
        Ok(seats) if seats.is_empty() => {
            let why = "the node's table of mounts (1/mountinfo) names none of the watched folders";
            return Verdict::unclear(SIGNAL, why);
        }
        Ok(seats) => seats,
        Err(error) => {
            let why = format!("the node's table of mounts (1/mountinfo) cannot be read: {error}");
            return Verdict::unclear(SIGNAL, why);
        }
    };
    let wrong: Vec<_> = seats.iter().filter(|seat| seat.is_wrong()).collect();
    if wrong.is_empty() {
        return Verdict::good(SIGNAL, format!("{} folders writable", seats.len()));
    }
    let taken = wrong.iter().any(|seat| seat.access == Access::TakenAway);
    let texts: Vec<_> = wrong.iter().map(|seat| seat.describe()).collect();
    let trouble = Trouble {
        kind: if taken { "taken" } else { "mounted" },
        message: texts.join("; "),
        impact: "containers cannot be started, logs and volumes cannot be written; kubelet may still call the node Ready"
            .to_owned(),
        advice: if taken {
            "dmesg on the node says which error it was; move the Pods away, check the file system (fsck at a reboot), replace the disk if it \
             reports errors"
        } else {
            "mount -o remount,rw on the node if somebody mounted it so; else the entry in /etc/fstab is wrong"
        }
        .to_owned(),
    };
    Verdict::bad(
        SIGNAL,
        format!("{} of {} read-only", wrong.len(), seats.len()),
        trouble,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    const TABLE: &str = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
22 21 0:20 / /proc rw,nosuid shared:5 - proc proc rw
30 21 8:2 / /var/lib rw,relatime shared:9 - ext4 /dev/sdb1 rw
31 30 8:3 / /var/lib/kubelet rw,relatime shared:10 - xfs /dev/sdc1 rw
32 30 0:44 / /var/lib/kubelet/pods/x/volumes/v ro shared:11 - tmpfs tmpfs rw
33 30 8:5 / /var/lib/kubelet-other ro shared:12 - ext4 /dev/sdd1 ro";

    fn look(table: &str) -> Verdict {
        let lines: Vec<_> = table.lines().map(str::to_owned).collect();
        let folders = ["/", "/var/lib/kubelet", "/var/lib/containerd"].map(PathBuf::from);
        assess(&Ok(seats(&lines, &folders)))
    }

    fn kind(verdict: &Verdict) -> Option<&'static str> {
        match &verdict.finding {
            Finding::Good => Some("good"),
            Finding::Bad(trouble) => Some(trouble.kind),
            Finding::Unclear { .. } | Finding::Absent => None,
        }
    }

    #[test]
    fn mounts_are_judged_by_the_table() {
        let changed = |from: &str, to: &str| {
            assert!(TABLE.contains(from), "{from}");
            TABLE.replace(from, to)
        };
        let table = [
            ("as it should be", TABLE.to_owned(), Some("good")),
            (
                "the kernel took the root",
                changed("sda1 rw,", "sda1 ro,"),
                Some("taken"),
            ),
            (
                "a newer kernel took the root",
                changed("sda1 rw,", "sda1 emergency_ro,rw,"),
                Some("taken"),
            ),
            (
                "immutable root",
                changed("/ / rw,relatime", "/ / ro,relatime").replace("sda1 rw,", "sda1 ro,"),
                Some("good"),
            ),
            (
                "the kernel took what images are on",
                changed("sdb1 rw", "sdb1 ro"),
                Some("taken"),
            ),
            (
                "kubelet's remounted by hand",
                changed("/var/lib/kubelet rw", "/var/lib/kubelet ro"),
                Some("mounted"),
            ),
            (
                "something read-only hides kubelet's",
                format!("{TABLE}\n40 31 8:9 / /var/lib/kubelet ro - ext4 /dev/sde1 ro"),
                Some("mounted"),
            ),
            ("nothing", String::new(), None),
        ];
        for (name, text, expected) in table {
            let verdict = look(&text);
            assert_eq!(kind(&verdict), expected, "{name}: {verdict:?}");
        }
    }

    #[test]
    fn folder_device_and_mount_are_told() {
        let verdict = look(&TABLE.replace("sdb1 rw", "sdb1 ro"));
        let Finding::Bad(trouble) = verdict.finding else {
            panic!("{verdict:?}");
        };
        let told = "/var/lib/containerd was taken read-only by the kernel (/dev/sdb1 on /var/lib)";
        assert_eq!(trouble.message, told);
    }

    #[tokio::test]
    async fn what_happens_to_a_mount_is_seen_by_the_next_look() {
        let proc = tempfile::tempdir().unwrap();
        std::fs::create_dir(proc.path().join("1")).unwrap();
        let write = |text: &str| std::fs::write(proc.path().join("1/mountinfo"), text).unwrap();
        write(TABLE);
        let folders = vec![PathBuf::from("/"), PathBuf::from("/var/lib/kubelet")];
        let mut source = Source::new(proc.path(), folders);
        let over = "40 31 8:9 / /var/lib/kubelet ro - ext4 /dev/sde1 ro";
        for (text, expected) in [
            (TABLE.to_owned(), "good"),
            (TABLE.replace("sdc1 rw", "sdc1 ro"), "taken"),
            (TABLE.to_owned(), "good"),
            (format!("{TABLE}\n{over}"), "mounted"),
        ] {
            write(&text);
            let verdicts = source.look().await;
            assert_eq!(kind(&verdicts[0]), Some(expected), "{verdicts:?}");
        }
    }

    #[test]
    fn table_that_cannot_be_read_says_nothing() {
        let missing = Table::new("/nonexistent/1/mountinfo".into()).read();
        let verdict = assess(&missing.map(|_| Vec::new()));
        assert!(matches!(verdict.finding, Finding::Unclear { .. }));
    }
}
