//! Listens and sends on one interface, for one address family.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{LinkAddr, MsgFlags, bind, recvfrom, send};
use proto_ids::{IfName, MacAddr};
use socket2::{Domain, Protocol, SockFilter, Type};

use crate::filter;
use crate::frame::{Frame, Observation};
use crate::link::{FindLinkError, Links};
use crate::{arp, nd};

/// Time between two questions of [`resolve`]: well above a switch's control plane's answer, and several fit a deadline
/// of a second.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Which messages a [`Socket`] hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// ARP.
    V4,
    /// Neighbour solicitations and advertisements.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Why no socket listens on an interface.
#[derive(Debug, thiserror::Error)]
pub enum OpenSocketError {
    /// The interface could not be found.
    #[error(transparent)]
    FindLink(#[from] FindLinkError),
    /// No packet socket (is `CAP_NET_RAW` missing?).
    #[error("open a packet socket on {ifname}")]
    Open {
        /// The interface.
        ifname: IfName,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel did not take the filter.
    #[error("attach a filter to the packet socket on {ifname}")]
    Filter {
        /// The interface.
        ifname: IfName,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The socket could not be bound to the interface.
    #[error("bind a packet socket to {ifname}")]
    Bind {
        /// The interface.
        ifname: IfName,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Why a question got neither an answer nor silence.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No socket.
    #[error(transparent)]
    Open(#[from] OpenSocketError),
    /// The question could not be sent: the interface is down.
    #[error("ask for {target} on {ifname}")]
    Send {
        /// The interface.
        ifname: IfName,
        /// The address asked for.
        target: IpAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Waiting or reading failed: the interface went away.
    #[error("wait for {target} on {ifname}")]
    Receive {
        /// The interface.
        ifname: IfName,
        /// The address asked for.
        target: IpAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A non-blocking packet socket bound to one interface. It hears one family's messages that are addressed to this host,
/// to a group or to all; not what this host sends itself.
///
/// On a bridge that is everything the bridge floods, from the uplink and from local ports, whether or not it has an
/// address. Opening and closing each wait for an RCU grace period (8 to 16 ms): open it once and keep it.
#[derive(Debug)]
pub struct Socket {
    inner: socket2::Socket,
    ifindex: usize,
    mac: MacAddr,
}

impl Socket {
    /// Opens a socket on an interface of the thread's namespace.
    ///
    /// # Errors
    /// The interface is missing or not Ethernet, or the process lacks `CAP_NET_RAW`.
    pub fn open(ifname: &IfName, family: Family) -> Result<Self, OpenSocketError> {
        match family {
            Family::V4 => Self::with(ifname, arp::ETHERTYPE, &filter::arp()),
            Family::V6 => Self::with(ifname, nd::ETHERTYPE, &filter::nd()),
        }
    }

    /// As [`Self::open`], but hears only what is said of one address by who has it: of a segment full of questions nothing fills the
    /// queue. Of IPv6 a message of another address that ends alike may pass.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_about(ifname: &IfName, address: IpAddr) -> Result<Self, OpenSocketError> {
        match address {
            IpAddr::V4(v4) => Self::with(ifname, arp::ETHERTYPE, &filter::arp_of(v4)),
            IpAddr::V6(v6) => Self::with(ifname, nd::ETHERTYPE, &filter::nd_of(v6)),
        }
    }

    fn with(
        ifname: &IfName,
        ethertype: u16,
        program: &[SockFilter],
    ) -> Result<Self, OpenSocketError> {
        let (link, mac) = Links::observe()?.find(ifname)?;
        let protocol = Protocol::from(i32::from(ethertype.to_be()));
        let kind = Type::RAW.nonblocking().cloexec();
        let socket =
            socket2::Socket::new_raw(Domain::PACKET, kind, Some(protocol)).map_err(|source| {
                OpenSocketError::Open {
                    ifname: ifname.clone(),
                    source,
                }
            })?;
        socket
            .attach_filter(program)
            .map_err(|source| OpenSocketError::Filter {
                ifname: ifname.clone(),
                source,
            })?;
        bind(socket.as_raw_fd(), &link).map_err(|errno| OpenSocketError::Bind {
            ifname: ifname.clone(),
            source: errno.into(),
        })?;
        Ok(Self {
            inner: socket,
            ifindex: link.ifindex(),
            mac,
        })
    }

    /// The MAC of the interface when the socket was opened.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// `ENETDOWN` when the interface is down, `EAGAIN` or `ENOBUFS` when its queue is full, `ENXIO` when it is gone.
    pub fn send(&self, frame: &Frame) -> io::Result<()> {
        send(self.inner.as_raw_fd(), frame.as_bytes(), MsgFlags::empty())?;
        Ok(())
    }

    /// Asks whether anybody has `address`; the answer comes by [`Socket::receive`].
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn probe(&self, address: IpAddr) -> io::Result<()> {
        self.send(&Frame::probe(self.mac, address))
    }

    /// Takes the next frame from the queue; `None` when it is not a well-formed message.
    ///
    /// # Errors
    /// `WouldBlock` when the queue is empty; `ENETDOWN` once after the interface went down or away.
    pub fn receive(&self) -> io::Result<Option<Observation>> {
        let mut bytes = [0; filter::SNAP_BYTES as usize];
        let (length, from) = recvfrom::<LinkAddr>(self.inner.as_raw_fd(), &mut bytes)?;
        // Between its opening and its binding the socket hears every interface.
        let ours = from.is_some_and(|from| from.ifindex() == self.ifindex);
        Ok(bytes.get(..length).filter(|_| ours).and_then(Frame::parse))
    }

    /// Asks for `target` until somebody says that it has it, or `timeout` is over; returns that one's MAC.
    ///
    /// `own` is the asker's address; without one the question is a probe, which some hosts leave unanswered.
    ///
    /// # Errors
    /// What the kernel said to sending ([`Asking::Send`]) or to waiting.
    fn ask(
        &self,
        target: IpAddr,
        own: Option<IpAddr>,
        timeout: Duration,
    ) -> Result<Option<MacAddr>, Asking> {
        let question = own.map_or_else(
            || Frame::probe(self.mac, target),
            |own| Frame::request(self.mac, own, target),
        );
        let deadline = Instant::now() + timeout;
        loop {
            self.send(&question).map_err(Asking::Send)?;
            let next = deadline.min(Instant::now() + ASK_AGAIN);
            if let Some(mac) = self.hear(target, next).map_err(Asking::Receive)? {
                return Ok(Some(mac));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    fn hear(&self, target: IpAddr, until: Instant) -> io::Result<Option<MacAddr>> {
        loop {
            match self.receive() {
                Ok(Some(heard)) if heard.kind.is_claim() && heard.address == target => {
                    return Ok(Some(heard.mac));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    // Rounded up, so that the rest of a millisecond is not spent in a busy loop.
                    let left = PollTimeout::try_from(left + Duration::from_millis(1))
                        .unwrap_or(PollTimeout::MAX);
                    match poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], left) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

enum Asking {
    Send(io::Error),
    Receive(io::Error),
}

/// Asks on `ifname` for `target` until somebody answers or `timeout` is over; `None` is silence. Blocks the thread.
///
/// `own` is an address of the asker's; without one, or with one of the other family, the question is a probe, which
/// some hosts leave unanswered.
///
/// # Errors
/// The interface is missing or down, or the process lacks `CAP_NET_RAW`.
pub fn resolve(
    ifname: &IfName,
    target: IpAddr,
    own: Option<IpAddr>,
    timeout: Duration,
) -> Result<Option<MacAddr>, ResolveError> {
    let ifname = ifname.clone();
    let socket = Socket::open(&ifname, Family::of(target))?;
    socket
        .ask(target, own, timeout)
        .map_err(|asking| match asking {
            Asking::Send(source) => ResolveError::Send {
                ifname,
                target,
                source,
            },
            Asking::Receive(source) => ResolveError::Receive {
                ifname,
                target,
                source,
            },
        })
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}
