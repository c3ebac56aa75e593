//! One netlink socket: batches, dumps, and the kernel's own words when it refuses.
//!
//! A socket belongs to the namespace of the thread that opened it, for ever. Requests of one batch go to the kernel in
//! one call, which carries all of them out before a signal, SIGKILL included, is looked at; a refused one does not stop
//! those behind it.

pub(crate) mod address;
pub(crate) mod bridge;
pub(crate) mod link;
pub(crate) mod neighbour;
pub(crate) mod route;
pub(crate) mod vlan;

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkBuffer, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket as RawSocket, SocketAddr};
use nix::errno::Errno;

/// More than the kernel puts into one datagram of a dump (32 KiB).
const RECEIVE_BYTES: usize = 64 * 1024;
/// Requests sent in one call: their acknowledgements must fit the receive buffer together.
const BATCH: usize = 64;
/// A dump that others' changes interrupted is begun again this often.
const DUMP_TRIES: usize = 16;
/// `NLMSGERR_ATTR_MSG` of `linux/netlink.h`.
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_HEADER_BYTES: usize = 16;

/// Why the kernel did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be opened.
    #[error("open a netlink socket")]
    Open(#[source] io::Error),
    /// The request could not be sent.
    #[error("send a netlink request")]
    Send(#[source] io::Error),
    /// The answer could not be received.
    #[error("receive a netlink answer")]
    Receive(#[source] io::Error),
    /// The kernel refused.
    #[error("{}", refusal(*errno, message.as_deref()))]
    Refused {
        /// The error number.
        errno: i32,
        /// What the kernel says of it (extended acknowledgement).
        message: Option<String>,
    },
    /// The answer was not understood.
    #[error("the kernel's answer is not understood: {0}")]
    Decode(String),
    /// Others changed the list each time it was read.
    #[error("the kernel's list changed each of {DUMP_TRIES} times it was read")]
    Interrupted,
}

fn refusal(errno: i32, message: Option<&str>) -> String {
    let name = Errno::from_raw(errno);
    match message {
        Some(message) => format!("the kernel refused: {name} (errno {errno}): {message}"),
        None => format!("the kernel refused: {name} (errno {errno})"),
    }
}

impl NetlinkError {
    /// The kernel's error number, where it gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    pub(crate) fn is(&self, errnos: &[i32]) -> bool {
        self.errno().is_some_and(|errno| errnos.contains(&errno))
    }
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    message: RouteNetlinkMessage,
    flags: u16,
}

impl Request {
    /// Makes a new object; refused with EEXIST where there is one.
    pub(crate) fn create(message: RouteNetlinkMessage) -> Self {
        Self {
            message,
            flags: NLM_F_CREATE | NLM_F_EXCL,
        }
    }

    /// Makes an object or replaces it.
    pub(crate) fn replace(message: RouteNetlinkMessage) -> Self {
        Self {
            message,
            flags: NLM_F_CREATE | NLM_F_REPLACE,
        }
    }

    /// Reads, changes or removes an object that exists.
    pub(crate) fn plain(message: RouteNetlinkMessage) -> Self {
        Self { message, flags: 0 }
    }
}

/// What came back for one request.
pub(crate) type Reply = Result<Vec<RouteNetlinkMessage>, NetlinkError>;

/// A socket in one network namespace.
pub(crate) struct Socket {
    raw: RawSocket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket in the namespace of the calling thread.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let mut raw = RawSocket::new(NETLINK_ROUTE).map_err(NetlinkError::Open)?;
        raw.bind_auto().map_err(NetlinkError::Open)?;
        raw.connect(&SocketAddr::new(0, 0))
            .map_err(NetlinkError::Open)?;
        // Both are niceties of kernels since 4.12; without them errors have no text.
        let _ = raw.set_ext_ack(true);
        let _ = raw.set_cap_ack(true);
        // Lets the kernel filter dumps (4.20); without it whole tables come, and are filtered here.
        let _ = raw.set_netlink_get_strict_chk(true);
        Ok(Self {
            raw,
            sequence: 0,
            buffer: Vec::with_capacity(RECEIVE_BYTES),
        })
    }

    /// Sends all requests in as few calls as possible and returns one reply for each.
    pub(crate) fn batch(&mut self, requests: &[Request]) -> Result<Vec<Reply>, NetlinkError> {
        let mut replies = Vec::with_capacity(requests.len());
        for chunk in requests.chunks(BATCH) {
            let first = self.sequence.wrapping_add(1);
            let mut bytes = Vec::new();
            for request in chunk {
                self.push(&mut bytes, request, NLM_F_ACK);
            }
            self.send(&bytes)?;
            for offset in 0..chunk.len() {
                let sequence = first.wrapping_add(u32::try_from(offset).unwrap_or(0));
                replies.push(self.reply(sequence)?);
            }
        }
        Ok(replies)
    }

    /// Sends one request.
    pub(crate) fn call(&mut self, request: &Request) -> Reply {
        self.batch(std::slice::from_ref(request))?
            .pop()
            .unwrap_or(Ok(Vec::new()))
    }

    /// Reads a list. Begins again when others changed it meanwhile. A message that does not decode is left out:
    /// what Berth makes does decode, and a foreign object must not stop a DEL.
    pub(crate) fn dump(
        &mut self,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let request = Request::plain(message.clone());
        for _ in 0..DUMP_TRIES {
            let mut bytes = Vec::new();
            self.push(&mut bytes, &request, NLM_F_DUMP);
            self.send(&bytes)?;
            match self.reply(self.sequence)? {
                Err(NetlinkError::Interrupted) => {}
                reply => return reply,
            }
        }
        Err(NetlinkError::Interrupted)
    }

    fn push(&mut self, bytes: &mut Vec<u8>, request: &Request, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | request.flags | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(
            header,
            NetlinkPayload::InnerMessage(request.message.clone()),
        );
        message.finalize();
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..start + message.buffer_len()]);
    }

    fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        loop {
            match self.raw.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(NetlinkError::Send(error)),
            }
        }
    }

    /// Everything up to the acknowledgement (or the end of the dump) of `sequence`.
    fn reply(&mut self, sequence: u32) -> Result<Reply, NetlinkError> {
        let mut messages = Vec::new();
        let mut interrupted = false;
        loop {
            self.receive()?;
            let mut rest = self.buffer.as_slice();
            while rest.len() >= NLMSG_HEADER_BYTES {
                let packet = NetlinkBuffer::new_checked(rest)
                    .map_err(|error| NetlinkError::Decode(error.to_string()))?;
                let length = usize::try_from(packet.length()).unwrap_or(rest.len());
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
                // An answer to a request whose reader gave up.
                if packet.sequence_number() != sequence {
                    continue;
                }
                interrupted |= packet.flags() & NLM_F_DUMP_INTR != 0;
                match packet.message_type() {
                    NLMSG_ERROR | NLMSG_DONE => {
                        return Ok(match outcome(packet.message_type(), packet.payload()) {
                            Some(error) => Err(error),
                            None if interrupted => Err(NetlinkError::Interrupted),
                            None => Ok(messages),
                        });
                    }
                    kind => {
                        let mut header = NetlinkHeader::default();
                        header.message_type = kind;
                        messages
                            .extend(RouteNetlinkMessage::deserialize(&header, packet.payload()));
                    }
                }
            }
        }
    }

    fn receive(&mut self) -> Result<(), NetlinkError> {
        loop {
            self.buffer.clear();
            match self.raw.recv(&mut self.buffer, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(NetlinkError::Receive(error)),
            }
        }
    }
}

/// The refusal in an `NLMSG_ERROR` or `NLMSG_DONE`; `None`: it says that all went well.
fn outcome(kind: u16, payload: &[u8]) -> Option<NetlinkError> {
    let code = payload.first_chunk::<4>().map(|b| i32::from_ne_bytes(*b))?;
    if code >= 0 {
        return None;
    }
    let attributes = match kind {
        // The capped acknowledgement repeats the header of the request, nothing more.
        NLMSG_ERROR => payload.get(4 + NLMSG_HEADER_BYTES..),
        _ => payload.get(4..),
    };
    let message = NlasIterator::new(attributes.unwrap_or_default())
        .flatten()
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .map(|attribute| {
            String::from_utf8_lossy(attribute.value())
                .trim_end_matches('\0')
                .to_owned()
        });
    Some(NetlinkError::Refused {
        errno: code.saturating_neg(),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_payload(code: i32, text: Option<&str>) -> Vec<u8> {
        let mut payload = code.to_ne_bytes().to_vec();
        payload.extend([0; NLMSG_HEADER_BYTES]);
        if let Some(text) = text {
            let length = u16::try_from(4 + text.len() + 1).unwrap();
            payload.extend(length.to_ne_bytes());
            payload.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
            payload.extend(text.as_bytes());
            payload.push(0);
        }
        payload
    }

    #[test]
    fn acknowledgement_is_no_refusal() {
        assert!(outcome(NLMSG_ERROR, &error_payload(0, None)).is_none());
        assert!(outcome(NLMSG_DONE, &0_i32.to_ne_bytes()).is_none());
    }

    #[test]
    fn refusal_carries_the_error_number_and_the_kernels_words() {
        let error = outcome(
            NLMSG_ERROR,
            &error_payload(-libc::EBUSY, Some("Device is already a port")),
        )
        .unwrap();
        assert_eq!(error.errno(), Some(libc::EBUSY));
        let text = error.to_string();
        assert!(
            text.contains("EBUSY") && text.contains("errno 16"),
            "{text}"
        );
        assert!(text.ends_with("Device is already a port"), "{text}");
    }

    #[test]
    fn refusal_of_a_kernel_without_words_still_has_its_number() {
        let error = outcome(NLMSG_ERROR, &error_payload(-libc::EPERM, None)).unwrap();
        assert!(error.is(&[libc::EPERM]), "{error}");
    }
}
