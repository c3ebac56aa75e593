//! How a record looks on disk.
//!
//! Key: one byte for its kind, then the kind's own key. Value: version byte, CRC-32 over key, version and payload, payload.
//! One more record, [`META_KEY`], says how many records there are and what they add up to; every commit rewrites it in
//! the same batch, so that a store that lost a part can never agree with itself. Never decides what a damaged record
//! meant: it is refused.

use ipamd_core::RecordKey;
use serde::{Deserialize, Serialize};

use crate::clock::ClockBase;

/// Version of everything here; [`super::migrate`] leads from each older one to this.
pub(crate) const FORMAT: u32 = 1;

/// Key of the record about all others. Zero byte first: no kind has it.
pub(crate) const META_KEY: &[u8] = b"\0meta";

/// Kinds of record: the first byte of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The log of who had an address.
    Audit = b'a',
    /// The book.
    Book = b'b',
}

impl Kind {
    /// The key of a record of this kind.
    pub(crate) fn key(self, rest: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(rest.len() + 1);
        key.push(self as u8);
        key.extend_from_slice(rest);
        key
    }

    /// Kind and the kind's own key; `None` for a kind of another version.
    pub(crate) fn of(key: &[u8]) -> Option<(Self, &[u8])> {
        let (first, rest) = key.split_first()?;
        match first {
            b'a' => Some((Self::Audit, rest)),
            b'b' => Some((Self::Book, rest)),
            _ => None,
        }
    }
}

/// The key of a record of the book.
pub(crate) fn book_key(key: &RecordKey) -> Vec<u8> {
    Kind::Book.key(&key.to_bytes())
}

/// The record about all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Version of the records.
    pub(crate) format: u32,
    /// Number of the last commit; 0: nothing was ever committed.
    pub(crate) commit: u64,
    /// Records besides this one.
    pub(crate) records: u64,
    /// Sum of [`digest`] over all of them, wrapping.
    pub(crate) digest: u64,
    /// The book's clock at that commit.
    pub(crate) clock: Option<ClockBase>,
}

impl Meta {
    /// Of a store without records.
    pub(crate) const fn empty(format: u32) -> Self {
        Self {
            format,
            commit: 0,
            records: 0,
            digest: 0,
            clock: None,
        }
    }

    /// Counts a record in.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.records = self.records.wrapping_add(1);
        self.digest = self.digest.wrapping_add(digest(key, value));
    }

    /// Counts a record out.
    pub(crate) fn subtract(&mut self, key: &[u8], value: &[u8]) {
        self.records = self.records.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(digest(key, value));
    }
}

/// 64 bits of key and value: FNV-1a, then the finish of `MurmurHash3`, so that sums of digests do not cancel.
///
/// Part of the format: another function needs another [`FORMAT`].
pub(crate) fn digest(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let length = (key.len() as u64).to_le_bytes();
    for byte in length.iter().chain(key).chain(value) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Bytes before the payload: version and checksum.
const HEAD_BYTES: usize = 5;

/// Why a value is not what was stored under its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnsealError {
    /// Shorter than version and checksum.
    #[error("{bytes} bytes are no record")]
    Short {
        /// Its length.
        bytes: usize,
    },
    /// Checksum and content differ.
    #[error("checksum differs")]
    Checksum,
    /// Not of the store's version.
    #[error("its version is {version}, not the store's")]
    Version {
        /// The version.
        version: u8,
    },
}

/// The value that stores `payload` under `key`, as of record version `version`.
pub(crate) fn seal(version: u8, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEAD_BYTES + payload.len());
    value.push(version);
    value.extend_from_slice(&checksum(version, key, payload).to_le_bytes());
    value.extend_from_slice(payload);
    value
}

/// Version and payload of a stored value.
///
/// # Errors
/// When it is not, bit for bit, what [`seal`] made for this key.
pub(crate) fn unseal<'v>(key: &[u8], value: &'v [u8]) -> Result<(u8, &'v [u8]), UnsealError> {
    let bytes = value.len();
    let Some((head, payload)) = value.split_at_checked(HEAD_BYTES) else {
        return Err(UnsealError::Short { bytes });
    };
    let &[version, a, b, c, d] = head else {
        return Err(UnsealError::Short { bytes });
    };
    if u32::from_le_bytes([a, b, c, d]) == checksum(version, key, payload) {
        Ok((version, payload))
    } else {
        Err(UnsealError::Checksum)
    }
}

fn checksum(version: u8, key: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(&[version]);
    crc.update(payload);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_record_is_noticed() {
        let sealed = seal(1, b"bkey", b"{\"payload\":true}");
        assert_eq!(
            unseal(b"bkey", &sealed),
            Ok((1, &b"{\"payload\":true}"[..]))
        );
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                unseal(b"bkey", &bad),
                Err(UnsealError::Checksum),
                "bit {bit}"
            );
        }
        assert_eq!(
            unseal(b"other", &sealed),
            Err(UnsealError::Checksum),
            "another key"
        );
        for length in 0..sealed.len() {
            assert!(
                unseal(b"bkey", &sealed[..length]).is_err(),
                "cut to {length}"
            );
        }
    }

    #[test]
    fn digest_does_not_depend_on_order_and_does_on_everything_else() {
        let mut one = Meta::empty(FORMAT);
        one.add(b"a", b"1");
        one.add(b"b", b"2");
        let mut other = Meta::empty(FORMAT);
        other.add(b"b", b"2");
        other.add(b"a", b"1");
        assert_eq!(one, other);
        let mut swapped = Meta::empty(FORMAT);
        swapped.add(b"a", b"2");
        swapped.add(b"b", b"1");
        assert_ne!(one.digest, swapped.digest);
        assert_ne!(digest(b"ab", b"c"), digest(b"a", b"bc"));
        one.subtract(b"a", b"1");
        one.subtract(b"b", b"2");
        assert_eq!(one, Meta::empty(FORMAT));
    }

    #[test]
    fn digest_is_part_of_the_format_and_stays() {
        assert_eq!(digest(b"key", b"value"), 0xf741_2fa0_0305_f9de);
    }
}
