//! DEL: whatever is left of an attachment, from nothing but its key.
//!
//! Never enters the Pod's namespace: an interface inside and its port are one pair, and removing the port on the node
//! removes both. So a namespace path that meanwhile belongs to somebody else cannot be harmed. A port is known by its
//! alias, or by its name where an ADD was killed before the alias was written.

use std::collections::HashSet;
use std::fmt;

use ipnet::IpNet;
use proto_ids::{Attachment, IfName, PortAlias};

use crate::fault::Fault;
use crate::group;
use crate::netlink::link::{self, Link};
use crate::netlink::route::{self, Installed, NODE_PROTOCOL, Route};
use crate::netlink::{NetlinkError, Request, Socket};

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwired {
    /// Host-side ports that were there and are gone.
    pub ports: Vec<IfName>,
    /// Host routes that were there and are gone, those of Pods whose namespace just vanished included.
    pub routes: usize,
}

/// One thing that could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum UnwireError {
    /// The node's links or routes could not be read, so nothing is known to be left or not.
    #[error("read the node's links and routes")]
    Observe(#[source] NetlinkError),
    /// A port stays.
    #[error("remove port {port}: try `ip link delete {port}`")]
    Port {
        /// The port.
        port: String,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// A host route stays.
    #[error("remove the node's route to {dst}: try `ip route delete {dst} proto {NODE_PROTOCOL}`")]
    Route {
        /// Where the route leads.
        dst: IpNet,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
}

/// All that could not be removed; the rest is gone.
#[derive(Debug)]
pub struct UnwireErrors(pub Vec<UnwireError>);

impl UnwireErrors {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        Fault::Kernel
    }
}

impl fmt::Display for UnwireErrors {
    /// The sources too: an error list has no single source for a chain printer to follow.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.0.iter().enumerate() {
            let between = if position == 0 { "" } else { "; " };
            write!(f, "{between}{error}")?;
            if let Some(source) = std::error::Error::source(error) {
                write!(f, " ({source})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for UnwireErrors {}

/// What is to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Remains {
    ports: Vec<Link>,
    /// The link group that holds these ports, all of them, and nothing else.
    group: Option<u32>,
    routes: Vec<Installed>,
}

/// Removes the attachment's interfaces, ports and host routes. What is missing already is success.
///
/// # Errors
/// Everything is tried; all failures are returned.
pub fn unwire(attachment: &Attachment) -> Result<Unwired, UnwireErrors> {
    let observe = |error| UnwireErrors(vec![UnwireError::Observe(error)]);
    let mut socket = Socket::open().map_err(observe)?;
    if let Some(ports) = by_name(&mut socket, attachment).map_err(observe)? {
        return remove(&mut socket, complete(ports)).map_err(UnwireErrors);
    }
    // Killed half-way, gone with its namespace, or never there: everything is looked at. Routes before links: a route in the first list whose port is not in the second has lost it.
    let routes = route::all(&mut socket, Some(NODE_PROTOCOL)).map_err(observe)?;
    let links = link::all(&mut socket).map_err(observe)?;
    remove(&mut socket, plan(attachment, &links, &routes)).map_err(UnwireErrors)
}

/// All ports of a Pod that was wired whole, by their derived names; `None`: not known to be all.
///
/// Listing a node's links takes the kernel as long as removing some, so the usual DEL does without. The names beside
/// the attachment's own are those of the CNI configuration's further networks, `net1`, `net2`, ….
fn by_name(
    socket: &mut Socket,
    attachment: &Attachment,
) -> Result<Option<Vec<Link>>, NetlinkError> {
    let get = |ifname: &IfName| {
        let port = Attachment::port_name(&attachment.sandbox, ifname);
        link::get(port.as_str())
    };
    let first = link::found(socket.call(&get(&attachment.ifname)))?;
    let Some(first) = first.filter(|first| is_of(attachment, first)) else {
        return Ok(None);
    };
    let Some(count) = group::ports(first.group) else {
        return Ok(None);
    };
    let others: Vec<Request> = (1..count)
        .filter_map(|number| format!("net{number}").parse().ok())
        .map(|ifname: IfName| get(&ifname))
        .collect();
    let group = first.group;
    let mut ports = vec![first];
    for reply in socket.batch(&others)? {
        ports.extend(link::found(reply)?);
    }
    let all = ports.len() == count
        && ports
            .iter()
            .all(|port| port.group == group && is_of(attachment, port));
    Ok(all.then_some(ports))
}

/// What there is of a Pod whose ports are all known: their host routes are those that their aliases and indexes tell.
fn complete(ports: Vec<Link>) -> Remains {
    let routes = |port: &Link| -> Vec<Installed> {
        let alias = port.alias.as_deref().map(str::parse::<PortAlias>);
        let addresses = match alias {
            Some(Ok(alias)) => alias.addresses,
            _ => Vec::new(),
        };
        let route = |address: &IpNet| Installed {
            index: 0,
            route: Route {
                metric: Some(port.index),
                ..Route::to_neighbour(address.addr(), NODE_PROTOCOL)
            },
        };
        addresses.iter().map(route).collect()
    };
    Remains {
        routes: ports.iter().flat_map(routes).collect(),
        group: ports.first().map(|port| port.group),
        ports,
    }
}

fn plan(attachment: &Attachment, links: &[Link], routes: &[Installed]) -> Remains {
    let ports: Vec<_> = links
        .iter()
        .filter(|link| is_of(attachment, link))
        .cloned()
        .collect();
    let gone: HashSet<_> = ports.iter().map(|port| port.index).collect();
    let group = ports
        .first()
        .map(|port| port.group)
        .filter(|group| *group != 0 && ports.len() > 1)
        .filter(|group| {
            links
                .iter()
                .all(|link| (link.group == *group) == gone.contains(&link.index))
        });
    let live: HashSet<_> = links
        .iter()
        .map(|link| link.index)
        .filter(|index| !gone.contains(index))
        .collect();
    Remains {
        ports,
        group,
        // The metric of a host route is its port's interface index.
        routes: routes
            .iter()
            .filter(|found| !live.contains(&found.route.effective_metric()))
            .cloned()
            .collect(),
    }
}

fn is_of(attachment: &Attachment, link: &Link) -> bool {
    if !link.is_kind("veth") {
        return false;
    }
    if let Some(alias) = &link.alias {
        let alias: Result<PortAlias, _> = alias.parse();
        return alias.is_ok_and(|alias| alias.attachment == *attachment);
    }
    let name = Attachment::port_name(&attachment.sandbox, &attachment.ifname);
    link.name == name.as_str()
}

fn remove(socket: &mut Socket, remains: Remains) -> Result<Unwired, Vec<UnwireError>> {
    let mut unwired = Unwired::default();
    let mut errors = Vec::new();
    let routes: Vec<_> = remains
        .routes
        .iter()
        .map(|found| route::delete(found.index, &found.route))
        .collect();
    let mut requests = routes;
    let by_group = remains.group.map(link::delete_group);
    match &by_group {
        Some(request) => requests.push(request.clone()),
        None => requests.extend(remains.ports.iter().map(|port| link::delete(port.index))),
    }
    let mut replies = match socket.batch(&requests) {
        Ok(replies) => replies.into_iter(),
        Err(error) => return Err(vec![UnwireError::Observe(error)]),
    };
    for found in remains.routes {
        match replies.next() {
            Some(Err(source)) if !is_gone(&source) => errors.push(UnwireError::Route {
                dst: found.route.dst,
                source,
            }),
            Some(Err(_)) => {}
            _ => unwired.routes += 1,
        }
    }
    let one_by_one: Vec<Request> = remains
        .ports
        .iter()
        .map(|p| link::delete(p.index))
        .collect();
    let replies: Vec<_> = match (by_group, replies.next()) {
        (Some(_), Some(Ok(_))) => Vec::new(),
        // Somebody removed one of them meanwhile, or the kernel will not: each by itself, for an error by name.
        (Some(_), _) => socket
            .batch(&one_by_one)
            .map_err(|e| vec![UnwireError::Observe(e)])?,
        (None, first) => first.into_iter().chain(replies).collect(),
    };
    let mut replies = replies.into_iter();
    for port in remains.ports {
        match replies.next() {
            Some(Err(source)) if !is_gone(&source) => errors.push(UnwireError::Port {
                port: port.name,
                source,
            }),
            _ => unwired.ports.extend(port.name.parse()),
        }
    }
    if errors.is_empty() {
        Ok(unwired)
    } else {
        Err(errors)
    }
}

fn is_gone(error: &NetlinkError) -> bool {
    error.is(&[libc::ENODEV, libc::ESRCH, libc::ENOENT])
}

#[cfg(test)]
mod tests;
