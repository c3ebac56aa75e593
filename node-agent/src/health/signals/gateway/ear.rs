//! One gateway: the socket on which it is heard, and how its answers went.

use std::io;
use std::net::IpAddr;

use cni_neigh::{Frame, OpenSocketError, Socket};
use ipamd_daemon::chain;
use proto_ids::{IfName, MacAddr};

use super::{Gateway, Sight};
use crate::health::underlay::links;

/// So many questions in a row without an answer: then the way may be another one (a bridge made anew, an address that came), and is found
/// anew as often.
const LOST: u32 = 5;

/// Frames that are read in one look; only the gateway's own come through.
const FRAMES: usize = 64;

/// One gateway, as it is heard.
#[derive(Debug, Default)]
pub(super) struct Ear {
    way: Option<Way>,
    course: Course,
}

/// The socket, and what may ask by it.
#[derive(Debug)]
struct Way {
    link: String,
    socket: Socket,
    own: Option<IpAddr>,
}

/// How the answers went. Pure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Course {
    /// Where the gateway was last heard.
    mac: Option<MacAddr>,
    /// A question waits for its answer.
    is_asked: bool,
    /// Looks without a word of it since the first question that was not answered.
    misses: u32,
}

/// Whom the next question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    All,
    One(MacAddr),
    /// It is not time yet.
    Nobody,
}

impl Ear {
    /// Judges what came since the last look, and asks again.
    pub(super) async fn look(&mut self, gateway: &Gateway, link: Option<&str>) -> Sight {
        let Some(link) = link else {
            self.way = None;
            return Sight::Unasked {
                why: "the node itself is not on that network",
            };
        };
        if self.way.as_ref().is_some_and(|way| way.link != link) {
            self.way = None;
        }
        if let Some(way) = &self.way {
            let heard = way.hear(gateway.address);
            self.course.judge(heard);
        }
        if self.course.is_lost() {
            self.way = None;
        }
        if self.way.is_none() {
            match Way::open(gateway, link).await {
                Ok(Some(way)) => self.way = Some(way),
                Ok(None) => return self.course.gone(),
                Err(why) => return Sight::Blind { why },
            }
        }
        let Some(way) = &self.way else {
            return self.course.gone();
        };
        if way.own.is_none() && gateway.address.is_ipv6() {
            // A solicitation without a sender says "I want this address": a router that boots would take it for a duplicate and
            // give its own up (RFC 4862, 5.4.3).
            return Sight::Unasked {
                why: "the node has no IPv6 address there",
            };
        }
        let sight = self.course.sight(way.own.is_some());
        let to = self.course.to(gateway.address);
        if to != To::Nobody {
            // A link that is down takes no question, and gives no answer: that is seen at the next look.
            let _ = way.ask(gateway.address, to);
            self.course.is_asked = true;
        }
        sight
    }
}

impl Course {
    /// What was heard since the last question.
    pub(super) const fn judge(&mut self, heard: Option<MacAddr>) {
        if heard.is_some() {
            self.mac = heard;
            self.misses = 0;
        } else if self.is_asked || self.misses > 0 {
            self.misses = self.misses.saturating_add(1);
        }
        self.is_asked = false;
    }

    const fn is_lost(&self) -> bool {
        self.misses > 0 && self.misses.is_multiple_of(LOST)
    }

    /// The link has gone, or is none that can ask.
    const fn gone(&mut self) -> Sight {
        self.misses = self.misses.saturating_add(1);
        Sight::Silent {
            misses: self.misses,
        }
    }

    pub(super) const fn sight(&self, has_address: bool) -> Sight {
        match (self.misses, self.mac) {
            (0, Some(_)) => Sight::Answers,
            (0, None) => Sight::New,
            (_, None) if !has_address => Sight::Mute,
            (misses, _) => Sight::Silent { misses },
        }
    }

    /// Who knows the gateway's MAC asks it alone. One that has missed a question may have moved: then all are asked, and later, while it
    /// stays away, now and then.
    pub(super) const fn to(&self, gateway: IpAddr) -> To {
        let often = self.misses < LOST;
        let at_times = self.misses.is_multiple_of(LOST);
        match (self.mac, gateway) {
            // A solicitation goes to the gateway's own group, which is few.
            (_, IpAddr::V6(_)) => {
                if often || at_times {
                    To::All
                } else {
                    To::Nobody
                }
            }
            (Some(mac), _) if self.misses == 0 => To::One(mac),
            (Some(mac), _) if !often && !at_times => To::One(mac),
            (None, _) if !often && !at_times => To::Nobody,
            _ => To::All,
        }
    }
}

/// A switch may leave a question unanswered that comes from another subnet.
fn may_ask(own: IpAddr, gateway: &Gateway) -> bool {
    let is_link_local = match own {
        IpAddr::V4(_) => false,
        IpAddr::V6(own) => own.is_unicast_link_local(),
    };
    own.is_ipv4() == gateway.address.is_ipv4() && (is_link_local || gateway.subnet.contains(&own))
}

impl Way {
    /// `None` where the link has gone.
    async fn open(gateway: &Gateway, name: &str) -> Result<Option<Self>, String> {
        let links = links::read_named(&[name]).await;
        let links = links.map_err(|error| chain(&error))?;
        let Some(link) = links.named(name) else {
            return Ok(None);
        };
        let addresses = links::read_addresses(link.index).await;
        let addresses = addresses.map_err(|error| chain(&error))?;
        let ifname: IfName = name.parse().map_err(|_| format!("{name:?} is no link"))?;
        match Socket::open_about(&ifname, gateway.address) {
            Ok(socket) => Ok(Some(Self {
                link: name.to_owned(),
                socket,
                own: addresses.into_iter().find(|own| may_ask(*own, gateway)),
            })),
            Err(OpenSocketError::FindLink(_)) => Ok(None),
            Err(error) => Err(chain(&error)),
        }
    }

    /// The MAC from which the gateway was last heard since the last look.
    fn hear(&self, gateway: IpAddr) -> Option<MacAddr> {
        let mut heard = None;
        for _ in 0..FRAMES {
            match self.socket.receive() {
                Ok(Some(told)) if told.kind.is_claim() && told.address == gateway => {
                    heard = Some(told.mac);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Empty; or down, and then there is nothing more either.
                Err(_) => break,
            }
        }
        heard
    }

    fn ask(&self, gateway: IpAddr, to: To) -> io::Result<()> {
        let mac = self.socket.mac();
        let question = self.own.map_or_else(
            || Frame::probe(mac, gateway),
            |own| Frame::request(mac, own, gateway),
        );
        self.socket.send(&match to {
            To::One(gateways) => question.addressed(gateways),
            To::All | To::Nobody => question,
        })
    }
}

#[cfg(test)]
mod tests;
