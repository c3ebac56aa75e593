//! Tells the neighbours of many interfaces who has which address: sends only, never listens.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};
use proto_ids::{IfName, MacAddr};

use crate::frame::Frame;
use crate::link::{FindLinkError, Links};

/// What to tell on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The interface in the namespace of the [`Announcer`].
    pub ifname: IfName,
    /// The MAC that has the addresses.
    pub mac: MacAddr,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// Why the neighbours may not have been told.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// No packet socket (is `CAP_NET_RAW` missing?).
    #[error("open a packet socket to announce addresses")]
    Open(#[source] io::Error),
    /// An interface to announce on could not be found.
    #[error(transparent)]
    FindLink(#[from] FindLinkError),
    /// The kernel did not take a frame: the interface is down.
    #[error("announce {address} on {ifname}")]
    Send {
        /// The interface.
        ifname: IfName,
        /// The address.
        address: IpAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// One packet socket for all interfaces of the namespace it was opened in.
///
/// Closing a packet socket, whatever it was used for, waits for an RCU grace period (`packet_release` calls
/// `synchronize_net`): 8 to 16 ms on an idle machine. So it is one for a whole Pod, not one for each interface or
/// family; and who must not wait keeps it open, or hands it ([`OwnedFd::from`]) to a process that may. Opening and
/// sending take microseconds, since the socket asks for no protocol and so never receives.
#[derive(Debug)]
pub struct Announcer {
    socket: OwnedFd,
}

impl Announcer {
    /// Opens the socket in the thread's namespace.
    ///
    /// # Errors
    /// [`AnnounceError::Open`].
    pub fn open() -> Result<Self, AnnounceError> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socket(AddressFamily::Packet, SockType::Raw, flags, None)
            .map(|socket| Self { socket })
            .map_err(|errno| AnnounceError::Open(errno.into()))
    }

    /// Sends all announcements at once; must be called from the namespace of [`Announcer::open`].
    ///
    /// Tries all of them and returns the first failure.
    ///
    /// # Errors
    /// [`AnnounceError::FindLink`] before anything is sent on that interface, [`AnnounceError::Send`].
    pub fn announce(&self, announcements: &[Announcement]) -> Result<(), AnnounceError> {
        let links = Links::observe()?;
        let mut outcome = Ok(());
        for announcement in announcements {
            let sent = links
                .find(&announcement.ifname)
                .map_err(AnnounceError::from)
                .and_then(|(link, _)| self.announce_on(&link, announcement));
            outcome = outcome.and(sent);
        }
        outcome
    }

    fn announce_on(&self, link: &LinkAddr, told: &Announcement) -> Result<(), AnnounceError> {
        let mut outcome = Ok(());
        for &address in &told.addresses {
            for frame in Frame::announcements(told.mac, address) {
                let fd = self.socket.as_raw_fd();
                let sent = sendto(fd, frame.as_bytes(), link, MsgFlags::empty());
                if let (Err(errno), Ok(())) = (sent, &outcome) {
                    outcome = Err(AnnounceError::Send {
                        ifname: told.ifname.clone(),
                        address,
                        source: errno.into(),
                    });
                }
            }
        }
        outcome
    }
}

impl From<Announcer> for OwnedFd {
    fn from(announcer: Announcer) -> Self {
        announcer.socket
    }
}
