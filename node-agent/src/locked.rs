//! The process's memory, locked: an agent whose code must be read from a disk that hangs, or from swap on a node that thrashes, cannot
//! tell of either.
//!
//! The program is fetched and stays (fifteen megabytes of the release), but for what only a panic reads: the tables by which stacks are
//! unwound, two megabytes. What is mapped later, stacks of threads above all, stays from its first use on, so that only what
//! is really used is there. Needs `CAP_IPC_LOCK` for as long as the process lives: without it the kernel would refuse the next
//! allocation.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, mlockall};
use object::read::{Object as _, ObjectSection as _, ObjectSegment as _, ReadCache};
use procfs::ProcError;
use procfs::process::{MMPermissions, MMapPath, Process};

/// How much is asked for at once.
const PIECE: usize = 1 << 18;

/// The sections that only a panic reads: by which stacks are unwound, and what is cleaned up on the way.
const PANIC_TABLES: [&str; 3] = [".eh_frame_hdr", ".eh_frame", ".gcc_except_table"];

/// Why memory is not locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockMemoryError {
    /// What is there, and what is to come.
    #[error(
        "locking memory (CAP_IPC_LOCK, or a higher limit of locked memory: ulimit -l; a kernel from 4.4 on)"
    )]
    Lock {
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// Where the program is in memory.
    #[error("finding the program in memory (/proc/self/maps)")]
    Find {
        /// Why.
        #[source]
        source: ProcError,
    },
    /// The program itself.
    #[error("fetching the program into memory (/proc/self/mem)")]
    Fetch {
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Locks what is there and what is to come, each from its first use on, and uses the program.
///
/// # Errors
/// The kernel refuses: without the capability, or beyond a limit. What could be locked is.
pub(crate) fn lock_memory() -> Result<(), LockMemoryError> {
    // nix has no name for the third.
    let on_use = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let locked = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_use);
    locked.map_err(|source| LockMemoryError::Lock { source })?;
    fetch_program()
}

/// Has the kernel read all of the program from its disk, as it would at the first use of each page.
fn fetch_program() -> Result<(), LockMemoryError> {
    let find = |source| LockMemoryError::Find { source };
    let process = Process::myself().map_err(find)?;
    let program = process.exe().map_err(find)?;
    let maps = process.maps().map_err(find)?;
    let of_program = |path: &MMapPath| matches!(path, MMapPath::Path(path) if *path == program);
    let ours: Vec<_> = maps.iter().filter(|it| of_program(&it.pathname)).collect();
    let first = ours.iter().find(|it| it.offset == 0);
    // A program that does not say where they are is fetched whole.
    let of_panics = first.and_then(|first| {
        File::open(&program)
            .ok()
            .and_then(|file| of_panics(file, first.address.0))
    });
    let of_panics = of_panics.unwrap_or_default();
    let memory = process.mem().map_err(find)?;
    for map in ours
        .iter()
        .filter(|it| it.perms.contains(MMPermissions::READ))
    {
        for part in without(map.address.0..map.address.1, &of_panics) {
            let fetched = read(&memory, part);
            fetched.map_err(|source| LockMemoryError::Fetch { source })?;
        }
    }
    Ok(())
}

fn read(memory: &File, range: Range<u64>) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut at = range.start;
    while at < range.end {
        let left = usize::try_from(range.end - at).unwrap_or(PIECE);
        let size = PIECE.min(left);
        memory.read_exact_at(&mut piece[..size], at)?;
        at = at.saturating_add(size as u64);
    }
    Ok(())
}

/// Where in memory is what only a panic reads, of a program whose file is mapped there from its beginning on.
fn of_panics(file: impl io::Read + io::Seek, mapped_at: u64) -> Option<Vec<Range<u64>>> {
    let file = ReadCache::new(file);
    let program = object::File::parse(&file).ok()?;
    let mut segments = program.segments();
    let first = segments.find(|it| it.file_range().0 == 0)?;
    let moved_by = mapped_at.wrapping_sub(first.address());
    let tables = PANIC_TABLES
        .iter()
        .filter_map(|name| program.section_by_name(name));
    let ranges = tables.map(|table| {
        let start = table.address().wrapping_add(moved_by);
        start..start.saturating_add(table.size())
    });
    Some(ranges.collect())
}

/// What is left of a range, in order.
fn without(range: Range<u64>, holes: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut parts = vec![range];
    for hole in holes {
        let cut = |part: Range<u64>| {
            [
                part.start..part.end.min(hole.start),
                part.start.max(hole.end)..part.end,
            ]
        };
        parts = parts
            .into_iter()
            .flat_map(cut)
            .filter(|part| !part.is_empty())
            .collect();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_panic_reads_is_found_by_its_name_or_nothing_is_left_out() {
        let program = File::open("/proc/self/exe").unwrap();
        let base = 0x5555_0000_0000;
        let found = of_panics(&program, base).unwrap();
        assert_eq!(found.len(), PANIC_TABLES.len(), "{found:x?}");
        for table in &found {
            assert!(table.start > base && table.end > table.start, "{found:x?}");
        }
        let size = |found: &[Range<u64>]| found.iter().map(|it| it.end - it.start).sum::<u64>();
        assert!(size(&found) < program.metadata().unwrap().len());
        assert_eq!(of_panics(io::Cursor::new(b"#!/bin/sh"), base), None);
        assert_eq!(of_panics(io::Cursor::new(b""), base), None);
        let mut half = vec![0; 4096];
        program.read_exact_at(&mut half, 0).unwrap();
        assert_eq!(of_panics(io::Cursor::new(half), base), None);
    }

    #[test]
    fn holes_are_left_out_of_a_range() {
        type Ranges = &'static [(u64, u64)];
        let rows: [(Ranges, Ranges); 8] = [
            (&[], &[(10, 20)]),
            (&[(12, 14)], &[(10, 12), (14, 20)]),
            (&[(12, 14), (16, 18)], &[(10, 12), (14, 16), (18, 20)]),
            (&[(16, 18), (12, 17)], &[(10, 12), (18, 20)]),
            (&[(0, 12)], &[(12, 20)]),
            (&[(18, 30)], &[(10, 18)]),
            (&[(0, 30)], &[]),
            (&[(0, 10), (20, 30)], &[(10, 20)]),
        ];
        for (holes, left) in rows {
            let holes: Vec<_> = holes.iter().map(|hole| hole.0..hole.1).collect();
            let parts = without(10..20, &holes);
            let parts: Vec<_> = parts.iter().map(|part| (part.start, part.end)).collect();
            assert_eq!(parts, left, "{holes:?}");
        }
    }

    #[test]
    fn code_is_all_there_once_it_was_fetched_and_tables_for_panics_are_not_asked_for() {
        fetch_program().unwrap();
        let process = Process::myself().unwrap();
        let program = process.exe().unwrap();
        let maps = process.smaps().unwrap();
        let ours = maps.iter().filter(|it| {
            matches!(&it.pathname, MMapPath::Path(path) if *path == program)
                && it.perms.contains(MMPermissions::EXECUTE)
        });
        let mut count = 0;
        for map in ours {
            let size = map.address.1 - map.address.0;
            let there = map.extension.map.get("Rss").copied().unwrap_or_default();
            assert_eq!(there, size, "{map:?}");
            count += 1;
        }
        assert_eq!(count, 1);
    }
}
