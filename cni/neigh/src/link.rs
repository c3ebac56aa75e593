//! The link-layer address of an interface, by name: the only safe source of a `sockaddr_ll` to bind or send to.

use std::io;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, SockaddrStorage};
use proto_ids::{IfName, MacAddr};

/// Why an interface could not be found in the thread's namespace.
#[derive(Debug, thiserror::Error)]
pub enum FindLinkError {
    /// The kernel did not list the interfaces.
    #[error("list the interfaces")]
    List(#[source] io::Error),
    /// There is none of the name.
    #[error("there is no interface {0}")]
    Missing(IfName),
    /// It is no Ethernet interface (a tunnel, say): nothing speaks ARP there.
    #[error("interface {0} has no Ethernet address")]
    NotEthernet(IfName),
}

/// The interfaces of the thread's namespace. Its protocol field is zero: a bind keeps the socket's own.
pub(crate) struct Links(Vec<(String, LinkAddr)>);

impl Links {
    pub(crate) fn observe() -> Result<Self, FindLinkError> {
        let all = getifaddrs().map_err(|errno| FindLinkError::List(errno.into()))?;
        let links = all.filter_map(|entry| {
            let address = entry
                .address
                .as_ref()
                .and_then(SockaddrStorage::as_link_addr);
            address.map(|address| (entry.interface_name.clone(), *address))
        });
        Ok(Self(links.collect()))
    }

    /// The address to send to and the MAC of the interface.
    pub(crate) fn find(&self, name: &IfName) -> Result<(LinkAddr, MacAddr), FindLinkError> {
        let (_, link) = self
            .0
            .iter()
            .find(|(other, _)| other == name.as_str())
            .ok_or_else(|| FindLinkError::Missing(name.clone()))?;
        let mac = link
            .addr()
            .filter(|_| link.hatype() == libc::ARPHRD_ETHER && link.halen() == 6)
            .map(MacAddr::from_octets)
            .filter(|mac| mac.is_unicast())
            .ok_or_else(|| FindLinkError::NotEthernet(name.clone()))?;
        Ok((*link, mac))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_a_missing_name_are_refused_by_name() {
        let links = Links::observe().unwrap();
        let refused = |name: &str| links.find(&name.parse().unwrap()).unwrap_err().to_string();
        assert_eq!(
            refused("no-such-link"),
            "there is no interface no-such-link"
        );
        assert_eq!(refused("lo"), "interface lo has no Ethernet address");
    }
}
