//! What a complete store must at least hold, written beside it.
//!
//! sled opens a log that lost its end as a smaller store and a truncated one as an empty store, both without an error.
//! So after every synced commit its number, record count and digest go into this small file, and only then is the
//! commit answered. Two slots, written in turn, in different blocks: a torn write leaves the older one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::schema::Meta;

const MAGIC: [u8; 8] = *b"berthwit";
const SLOT_BYTES: usize = 48;
/// Slots lie in blocks of their own, so that one torn block holds one slot.
const SLOT_SPACING_BYTES: u64 = 4096;

/// The last commit that was answered, or was about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Testimony {
    /// Version of the store's records.
    pub(crate) format: u32,
    /// Number of the commit.
    pub(crate) commit: u64,
    /// Records after it.
    pub(crate) records: u64,
    /// Their digest.
    pub(crate) digest: u64,
}

impl From<&Meta> for Testimony {
    fn from(meta: &Meta) -> Self {
        Self {
            format: meta.format,
            commit: meta.commit,
            records: meta.records,
            digest: meta.digest,
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Witness {
    file: File,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// There is no file.
    Absent,
    /// There is a file without one valid slot.
    Unreadable,
    /// The newest valid slot.
    Testimony(Testimony),
}

impl Witness {
    /// Reads what the file says, without making one.
    pub(crate) fn hear(path: &Path) -> io::Result<Heard> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Heard::Absent),
            Err(error) => return Err(error),
        };
        let mut newest = None;
        for slot in 0..2 {
            let mut bytes = [0; SLOT_BYTES];
            match file.read_exact_at(&mut bytes, slot * SLOT_SPACING_BYTES) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(error),
            }
            newest = newest
                .into_iter()
                .chain(decode(&bytes))
                .max_by_key(|testimony: &Testimony| testimony.commit);
        }
        Ok(newest.map_or(Heard::Unreadable, Heard::Testimony))
    }

    /// Opens the file for writing, making it if need be.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        // Both blocks exist before the disk fills up.
        file.set_len(2 * SLOT_SPACING_BYTES)?;
        Ok(Self { file })
    }

    /// Writes and syncs.
    pub(crate) fn testify(&self, testimony: &Testimony) -> io::Result<()> {
        let slot = testimony.commit % 2;
        self.file
            .write_all_at(&encode(testimony), slot * SLOT_SPACING_BYTES)?;
        self.file.sync_data()
    }
}

fn encode(testimony: &Testimony) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    let mut rest = &mut bytes[..];
    let mut put = |field: &[u8]| {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(field.len());
        head.copy_from_slice(field);
        rest = tail;
    };
    put(&MAGIC);
    put(&u64::from(testimony.format).to_le_bytes());
    put(&testimony.commit.to_le_bytes());
    put(&testimony.records.to_le_bytes());
    put(&testimony.digest.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..SLOT_BYTES - 8]);
    bytes[SLOT_BYTES - 8..SLOT_BYTES - 4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; SLOT_BYTES]) -> Option<Testimony> {
    let (content, tail) = bytes.split_last_chunk::<8>()?;
    let crc = u32::from_le_bytes(*tail.first_chunk()?);
    if crc32fast::hash(content) != crc {
        return None;
    }
    let mut words = content.strip_prefix(&MAGIC)?.chunks_exact(8);
    let mut word = || {
        let chunk = words.next()?.first_chunk()?;
        Some(u64::from_le_bytes(*chunk))
    };
    Some(Testimony {
        format: u32::try_from(word()?).ok()?,
        commit: word()?,
        records: word()?,
        digest: word()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn testimony(commit: u64) -> Testimony {
        Testimony {
            format: 1,
            commit,
            records: 7,
            digest: u64::MAX - 3,
        }
    }

    #[test]
    fn newest_of_two_is_heard_and_a_torn_write_leaves_the_older() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness");
        assert_eq!(Witness::hear(&path).unwrap(), Heard::Absent);
        let witness = Witness::open(&path).unwrap();
        assert_eq!(Witness::hear(&path).unwrap(), Heard::Unreadable);
        for commit in 0..5 {
            witness.testify(&testimony(commit)).unwrap();
            assert_eq!(
                Witness::hear(&path).unwrap(),
                Heard::Testimony(testimony(commit))
            );
        }
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..SLOT_BYTES - 4 {
            // Commit 5 would go to slot 1: only its first bytes reach the disk.
            let mut torn = whole.clone();
            torn[4096..4096 + cut].copy_from_slice(&encode(&testimony(5))[..cut]);
            std::fs::write(&path, torn).unwrap();
            let heard = Witness::hear(&path).unwrap();
            assert_eq!(heard, Heard::Testimony(testimony(4)), "cut at {cut}");
        }
    }

    #[test]
    fn a_file_without_a_valid_slot_is_not_taken_for_an_absent_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness");
        for content in [&b""[..], &[0; 8192], &[0xff; 8192], b"short"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Witness::hear(&path).unwrap(), Heard::Unreadable);
        }
    }
}
