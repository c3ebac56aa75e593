//! The node's table of mounts, read as far as it must be: 100 Pods make it some hundred lines long, and the kernel takes milliseconds to
//! write them all.
//!
//! That mounts come, go or are remounted the kernel says by poll(2), of a table that is kept open. That it has taken a file system
//! read-only after an error it does not: so the lines that matter are read again each time, and they are mostly the first ones.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// A file of the kernel's has no length; any other one does not say when it changes.
    is_kernels: bool,
    /// The mounts that are enough to know, until the table changes.
    enough: Option<BTreeSet<i32>>,
}

impl Table {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// The lines of all mounts; or of those alone that are enough, where no mount came or went.
    pub(super) fn read(&mut self) -> io::Result<Vec<String>> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.path)?,
        };
        // After an error it is opened anew.
        let lines = open.read()?;
        self.open = Some(open);
        Ok(lines)
    }

    /// From now on these mounts are enough, until the table changes.
    pub(super) fn suffice(&mut self, mounts: BTreeSet<i32>) {
        if let Some(open) = &mut self.open {
            open.enough = Some(mounts).filter(|mounts| !mounts.is_empty());
        }
    }
}

impl Open {
    fn new(path: &PathBuf) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self {
            is_kernels: file.metadata()?.len() == 0,
            file,
            enough: None,
        })
    }

    fn read(&mut self) -> io::Result<Vec<String>> {
        // Asked before it is read: what changes meanwhile is told the next time.
        if self.has_changed() {
            self.enough = None;
        }
        if let Some(enough) = &self.enough
            && let Some(lines) = self.some(enough.clone())?
        {
            return Ok(lines);
        }
        self.enough = None;
        self.lines()?.collect()
    }

    /// The lines of these mounts; nothing, where one is not there any more.
    fn some(&self, mut wanted: BTreeSet<i32>) -> io::Result<Option<Vec<String>>> {
        let mut found = Vec::new();
        for line in self.lines()? {
            let line = line?;
            let id = line.split(' ').next().and_then(|id| id.parse().ok());
            if id.is_some_and(|id| wanted.remove(&id)) {
                found.push(line);
            }
            if wanted.is_empty() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn lines(&self) -> io::Result<io::Lines<BufReader<&File>>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        Ok(BufReader::new(file).lines())
    }

    fn has_changed(&self) -> bool {
        let told = PollFlags::POLLPRI | PollFlags::POLLERR;
        let mut asked = [PollFd::new(self.file.as_fd(), PollFlags::POLLPRI)];
        let answered = poll(&mut asked, PollTimeout::ZERO);
        let [asked] = asked;
        let is_told = asked.revents().is_none_or(|it| it.intersects(told));
        !self.is_kernels || answered.is_err() || is_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 21 8:2 / /var rw - ext4 /dev/sdb1 rw\n33 30 8:5 / /var/x ro - ext4 /dev/sdd1 ro\n";

    fn open(text: &str) -> (tempfile::NamedTempFile, Open) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let open = Open::new(&file.path().to_owned()).unwrap();
        (file, open)
    }

    #[test]
    fn lines_of_some_mounts_are_those_that_are_asked_for_as_they_are_now() {
        let (file, mut open) = open(LINES);
        let taken = LINES.replace("/dev/sda1 rw", "/dev/sda1 ro");
        std::fs::write(file.path(), taken).unwrap();
        // As if it were the kernel's, and did not tell of a change.
        open.is_kernels = true;
        open.enough = Some([30, 21].into());
        let lines = open.read().unwrap();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("/dev/sda1 ro"), "{lines:?}");
    }

    #[test]
    fn all_is_read_where_a_mount_has_gone_and_of_a_file_that_tells_no_changes() {
        let (_file, mut open) = open(LINES);
        open.enough = Some([21].into());
        assert_eq!(open.read().unwrap().len(), 3);
        open.is_kernels = true;
        open.enough = Some([21, 99].into());
        assert_eq!(open.read().unwrap().len(), 3);
        assert_eq!(open.enough, None);
    }

    #[test]
    fn the_kernels_own_table_is_known_for_such_and_read_in_part() {
        let mut table = Table::new("/proc/self/mountinfo".into());
        let all = table.read().unwrap();
        assert!(table.open.as_ref().unwrap().is_kernels);
        let first = all[0].split(' ').next().unwrap().parse().unwrap();
        table.suffice([first].into());
        let lines = table.read().unwrap();
        // Whoever mounts something meanwhile has all of it read, which is right as well.
        assert!(
            lines.len() == 1 || lines.len() >= all.len() - 1,
            "{lines:?}"
        );
    }
}
