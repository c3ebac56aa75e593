//! One datagram: fixed size, authenticated, and no command in it.
//!
//! A probe asks "are you there?", an answer says "I am" with the probe's nonce. Both are of one size, so that nobody can use an
//! answerer to make more traffic than he sends. **Always holds:** nothing is read from a datagram before its code is right;
//! the code covers both ends' addresses too, so that a recorded one is of no use from or to anywhere else.

use std::net::IpAddr;

use ring::{digest, hmac};

/// The size of every datagram.
pub const SIZE: usize = BODY + CODE;

/// The length of a key.
pub const KEY_SIZE: usize = 32;

const BODY: usize = 88;
const CODE: usize = 32;
const MAGIC: [u8; 4] = *b"BRTH";
const VERSION: u8 = 1;
/// Keeps codes of this protocol apart from any other use of the key.
const CONTEXT: [u8; 16] = *b"berth peers v1\0\0";
const ADDRESS: usize = 16;

/// A node, as datagrams name it: names have no fixed length, a digest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 16]);

/// One boot of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId([u8; 16]);

/// A random number that nobody can foresee: an answer to it was made after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub [u8; 16]);

impl NodeId {
    /// Of the node of this name.
    pub fn of(node: &str) -> Self {
        Self(short_digest(node))
    }
}

impl BootId {
    /// Of the boot that the kernel calls so.
    pub fn of(boot: &str) -> Self {
        Self(short_digest(boot))
    }
}

fn short_digest(text: &str) -> [u8; 16] {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    take(digest.as_ref(), 0)
}

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Are you there?
    Probe,
    /// I am.
    Answer,
}

/// What is in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// What it is.
    pub kind: Kind,
    /// Who sends it.
    pub sender: NodeId,
    /// Whom it is for.
    pub target: NodeId,
    /// The probe's; an answer repeats it.
    pub nonce: Nonce,
    /// The sender's boot.
    pub boot: BootId,
    /// Rises with every datagram of a sender's boot.
    pub sequence: u64,
    /// The sender's wall clock, in microseconds since 1970. Nothing is judged by it but the clock itself.
    pub time_micros: i64,
}

/// Between which addresses it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where it comes from.
    pub from: IpAddr,
    /// Where it goes.
    pub to: IpAddr,
}

/// What datagrams are signed with, and what else is accepted.
#[derive(Clone, Debug)]
pub struct Keys {
    current: hmac::Key,
    other: Option<hmac::Key>,
}

impl Keys {
    /// Signs with the first. The other one, if there is one, is accepted too: while keys change, some nodes have the next one
    /// already and some still the last.
    pub fn new(current: &[u8; KEY_SIZE], other: Option<&[u8; KEY_SIZE]>) -> Self {
        let key = |bytes: &[u8; KEY_SIZE]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Self {
            current: key(current),
            other: other.map(key),
        }
    }
}

/// Why a datagram is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenDatagramError {
    /// Not the size of one.
    #[error("it has not the size of a peer's datagram")]
    Size,
    /// Another protocol, or another version of this one.
    #[error("it is of another protocol, or of a version that is not known")]
    Version,
    /// Its code is not right.
    #[error("it was not signed with a key of this cluster, or not for these two addresses")]
    Forged,
    /// Rightly signed, and yet not what this version writes.
    #[error("it is signed, but cannot be read")]
    Malformed,
}

impl Datagram {
    /// As it is sent.
    pub fn seal(&self, keys: &Keys, ends: Ends) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let kind = match self.kind {
            Kind::Probe => 1,
            Kind::Answer => 2,
        };
        let mut put = {
            let mut at = 0;
            let bytes = &mut bytes;
            move |field: &[u8]| {
                bytes[at..at + field.len()].copy_from_slice(field);
                at += field.len();
            }
        };
        put(&MAGIC);
        put(&[VERSION, kind, 0, 0]);
        put(&self.sender.0);
        put(&self.target.0);
        put(&self.nonce.0);
        put(&self.boot.0);
        put(&self.sequence.to_be_bytes());
        put(&self.time_micros.to_be_bytes());
        let code = hmac::sign(&keys.current, &signed(&bytes, ends));
        bytes[BODY..].copy_from_slice(code.as_ref());
        bytes
    }

    /// What was received.
    ///
    /// # Errors
    /// Where it is none of ours: see [`OpenDatagramError`].
    pub fn open(bytes: &[u8], keys: &Keys, ends: Ends) -> Result<Self, OpenDatagramError> {
        let bytes: &[u8; SIZE] = bytes.try_into().map_err(|_| OpenDatagramError::Size)?;
        if bytes[..4] != MAGIC || bytes[4] != VERSION {
            return Err(OpenDatagramError::Version);
        }
        let signed = signed(bytes, ends);
        let fits = |key: &hmac::Key| hmac::verify(key, &signed, &bytes[BODY..]).is_ok();
        if !fits(&keys.current) && !keys.other.as_ref().is_some_and(fits) {
            return Err(OpenDatagramError::Forged);
        }
        let kind = match bytes[5..8] {
            [1, 0, 0] => Kind::Probe,
            [2, 0, 0] => Kind::Answer,
            _ => return Err(OpenDatagramError::Malformed),
        };
        Ok(Self {
            kind,
            sender: NodeId(take(bytes, 8)),
            target: NodeId(take(bytes, 24)),
            nonce: Nonce(take(bytes, 40)),
            boot: BootId(take(bytes, 56)),
            sequence: u64::from_be_bytes(take(bytes, 72)),
            time_micros: i64::from_be_bytes(take(bytes, 80)),
        })
    }
}

/// What the code is made of.
fn signed(bytes: &[u8; SIZE], ends: Ends) -> [u8; CONTEXT.len() + 2 * ADDRESS + BODY] {
    let mut signed = [0; CONTEXT.len() + 2 * ADDRESS + BODY];
    let (context, rest) = signed.split_at_mut(CONTEXT.len());
    let (from, rest) = rest.split_at_mut(ADDRESS);
    let (to, body) = rest.split_at_mut(ADDRESS);
    context.copy_from_slice(&CONTEXT);
    from.copy_from_slice(&octets(ends.from));
    to.copy_from_slice(&octets(ends.to));
    body.copy_from_slice(&bytes[..BODY]);
    signed
}

fn octets(address: IpAddr) -> [u8; ADDRESS] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// So many bytes from there on. Only called where there are so many; what is missing would be zero.
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut taken = [0; N];
    for (to, from) in taken.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    taken
}

#[cfg(test)]
mod tests;
