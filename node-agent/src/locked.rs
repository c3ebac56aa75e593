//! The process's memory, locked: an agent whose code must be read from a disk that hangs, or from swap on a node that thrashes, cannot
//! tell of either.
//!
//! The program is fetched and stays (fifteen megabytes of the release), but for what only a panic reads: the tables by which stacks are
//! unwound, more than a megabyte. What is mapped later, stacks of threads above all, stays from its first use on, so that only what
//! is really used is there. Needs `CAP_IPC_LOCK` for as long as the process lives: without it the kernel would refuse the next
//! allocation.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, mlockall};
use procfs::ProcError;
use procfs::process::{MMPermissions, MMapPath, Process};

/// How much is asked for at once.
const PIECE: usize = 1 << 18;

/// Enough of an ELF file for its program headers: a dozen of 56 bytes each.
const HEADERS: usize = 4096;

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
    let fetch = |source| LockMemoryError::Fetch { source };
    let process = Process::myself().map_err(find)?;
    let program = process.exe().map_err(find)?;
    let maps = process.maps().map_err(find)?;
    let of_program = |path: &MMapPath| matches!(path, MMapPath::Path(path) if *path == program);
    let ours = maps.iter().filter(|it| of_program(&it.pathname));
    let memory = process.mem().map_err(find)?;
    let mut unwinding = None;
    for map in ours.filter(|it| it.perms.contains(MMPermissions::READ)) {
        let (from, until) = map.address;
        if map.offset == 0 {
            let mut headers = vec![0; HEADERS.min(length(from, until))];
            memory.read_exact_at(&mut headers, from).map_err(fetch)?;
            unwinding = unwinding_tables(&headers, from);
        }
        let whole = from..until;
        // They end what is only read.
        let end = unwinding.filter(|at| whole.contains(at)).unwrap_or(until);
        read(&memory, from..end).map_err(fetch)?;
    }
    Ok(())
}

fn length(from: u64, until: u64) -> usize {
    usize::try_from(until.saturating_sub(from)).unwrap_or(usize::MAX)
}

fn read(memory: &File, range: Range<u64>) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut at = range.start;
    while at < range.end {
        let size = PIECE.min(length(at, range.end));
        memory.read_exact_at(&mut piece[..size], at)?;
        at = at.saturating_add(size as u64);
    }
    Ok(())
}

/// Where the tables are by which stacks are unwound, of a program of 64 bits that is loaded there; none where it does not say so.
fn unwinding_tables(headers: &[u8], loaded_at: u64) -> Option<u64> {
    const KIND_MOVABLE: u16 = 3;
    const HEADER_UNWINDING: u32 = 0x6474_e550;
    let bytes = |at: usize, count: usize| headers.get(at..at.checked_add(count)?);
    let half = |at| Some(u16::from_le_bytes(bytes(at, 2)?.try_into().ok()?));
    let word = |at| Some(u32::from_le_bytes(bytes(at, 4)?.try_into().ok()?));
    let long = |at| Some(u64::from_le_bytes(bytes(at, 8)?.try_into().ok()?));
    if bytes(0, 6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let first = usize::try_from(long(32)?).ok()?;
    let (size, count) = (usize::from(half(54)?), usize::from(half(56)?));
    let mut all = (0..count).map(|index| first + index * size);
    let header = all.find(|at| word(*at) == Some(HEADER_UNWINDING))?;
    let address = long(header + 16)?;
    let is_movable = half(16)? == KIND_MOVABLE;
    Some(address + if is_movable { loaded_at } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of two headers, of which the second is of this kind, at this address.
    fn program(movable: u16, kind: u32, address: u64) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 2 * 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16..18].copy_from_slice(&movable.to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&2_u16.to_le_bytes());
        bytes[64..68].copy_from_slice(&1_u32.to_le_bytes());
        bytes[120..124].copy_from_slice(&kind.to_le_bytes());
        bytes[136..144].copy_from_slice(&address.to_le_bytes());
        bytes
    }

    #[test]
    fn unwinding_tables_are_where_the_program_says_or_nowhere() {
        let base = 0x5000_0000;
        let tables = |bytes: &[u8]| unwinding_tables(bytes, base);
        let movable = program(3, 0x6474_e550, 0x24_9f60);
        assert_eq!(tables(&movable), Some(0x5024_9f60));
        assert_eq!(tables(&program(2, 0x6474_e550, 0x44_9f60)), Some(0x44_9f60));
        assert_eq!(tables(&program(3, 0x6474_e551, 0x24_9f60)), None);
        assert_eq!(tables(&movable[..130]), None);
        assert_eq!(tables(&movable[..40]), None);
        assert_eq!(tables(b"#!/bin/sh"), None);
        assert_eq!(tables(b""), None);
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
