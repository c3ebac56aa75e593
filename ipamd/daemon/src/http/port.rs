//! A TCP port that is listened to on one address, and on the loopback where that is another.
//!
//! The address need not be there yet, or any more: a NIC may be late or its address on the way to a bridge, and neither
//! may keep a daemon from starting.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// As the standard library's.
const BACKLOG: u32 = 128;

/// The listeners of one port.
#[derive(Debug)]
pub(super) struct Port {
    told: TcpListener,
    loopback: Option<TcpListener>,
}

impl Port {
    /// Listens. An error comes with the address that it is of.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, (SocketAddr, io::Error)> {
        let told = listen(address).map_err(|error| (address, error))?;
        let loopback = match (address.ip(), told.local_addr()) {
            // "Any address" is the loopback's too.
            (ip, _) if ip.is_loopback() || ip.is_unspecified() => None,
            (_, Err(error)) => return Err((address, error)),
            (ip, Ok(bound)) => {
                let loopback: IpAddr = match ip {
                    IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                };
                let loopback = SocketAddr::new(loopback, bound.port());
                Some(listen(loopback).map_err(|error| (loopback, error))?)
            }
        };
        Ok(Self { told, loopback })
    }

    /// The address that was told, with the port in use.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.told.local_addr()
    }

    /// The next connection. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        let loopback = async {
            match &self.loopback {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let (stream, _) = tokio::select! {
            accepted = self.told.accept() => accepted?,
            accepted = loopback => accepted?,
        };
        Ok(stream)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Connections of a process before this one may still be closing.
    socket.set_reuseaddr(true)?;
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn address_that_the_host_does_not_have_is_listened_to_and_the_loopback_answers() {
        // Addresses for documentation: no host has them.
        for (address, loopback) in [("192.0.2.1:0", "127.0.0.1"), ("[2001:db8::1]:0", "::1")] {
            let port = Port::bind(address.parse().unwrap()).unwrap();
            let number = port.address().unwrap().port();
            let loopback: IpAddr = loopback.parse().unwrap();
            let client = TcpStream::connect(SocketAddr::new(loopback, number));
            let (client, server) = tokio::join!(client, port.accept());
            assert_eq!(
                client.unwrap().local_addr().unwrap(),
                server.unwrap().peer_addr().unwrap()
            );
        }
    }

    #[tokio::test]
    async fn loopback_is_listened_to_once_and_a_taken_one_is_named() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let port = Port::bind(address.parse().unwrap()).unwrap();
            assert!(port.loopback.is_none(), "{address}");
        }
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let taken = other.local_addr().unwrap();
        let address = SocketAddr::new("192.0.2.1".parse().unwrap(), taken.port());
        let (of, error) = Port::bind(address).unwrap_err();
        assert_eq!((of, error.kind()), (taken, io::ErrorKind::AddrInUse));
    }
}
