//! Which addresses a pool may hand out, as its object says it. Pure; nothing here enumerates.
//!
//! The daemons have their own arithmetic and refuse a pool that does not make sense; here such a part is left out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proto_crd::pool::PoolSpec;

/// Addresses of one family as intervals, in order, apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    intervals: Vec<(u128, u128)>,
    v6: bool,
}

/// How an address stands to a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It may be handed out.
    Usable,
    /// In the subnet, but not in the ranges, excluded, or a router's.
    NotHandedOut,
    /// Not in the subnet.
    Elsewhere,
}

impl Addresses {
    /// What a pool may hand out: the ranges without exclusions, routers, and the addresses no host may have.
    pub(crate) fn usable(pool: &PoolSpec) -> Self {
        let Some(subnet) = Subnet::parse(&pool.subnet) else {
            return Self::default();
        };
        let mut usable = Self {
            intervals: Vec::new(),
            v6: subnet.v6,
        };
        if pool.ranges.is_empty() {
            usable.intervals.push(subnet.ends());
        }
        let parse = |text: &String| parse_range(text).filter(|(v6, _)| *v6 == subnet.v6);
        let ranges = pool.ranges.iter().filter_map(parse);
        usable.intervals.extend(ranges.map(|(_, ends)| ends));
        usable.join();
        for (_, ends) in pool.exclude.iter().filter_map(parse) {
            usable.remove(ends);
        }
        let hops = pool.routes.iter().filter_map(|route| route.via.as_ref());
        let routers = hops.chain(&pool.gateway);
        for address in routers.filter_map(|text| text.parse().ok()) {
            usable.remove((bits(address), bits(address)));
        }
        for address in subnet.unassignable() {
            usable.remove((address, address));
        }
        usable
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u128 {
        let sizes = self.intervals.iter().map(|(first, last)| last - first);
        sizes.fold(0, |sum: u128, size| {
            sum.saturating_add(size).saturating_add(1)
        })
    }

    /// Whether it is one of them.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let wanted = bits(address);
        let mut intervals = self.intervals.iter();
        address.is_ipv6() == self.v6
            && intervals.any(|(first, last)| (*first..=*last).contains(&wanted))
    }

    /// An address that is in both.
    pub(crate) fn shared(&self, other: &Self) -> Option<IpAddr> {
        if self.v6 != other.v6 {
            return None;
        }
        let both = self.intervals.iter().find_map(|one| {
            let meets = |it: &&(u128, u128)| it.0 <= one.1 && one.0 <= it.1;
            let met = other.intervals.iter().find(meets)?;
            Some(one.0.max(met.0))
        });
        both.map(|it| address(it, self.v6))
    }

    fn join(&mut self) {
        self.intervals.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::new();
        for (first, last) in self.intervals.drain(..) {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => joined.push((first, last)),
            }
        }
        self.intervals = joined;
    }

    fn remove(&mut self, (first, last): (u128, u128)) {
        let mut rest = Vec::with_capacity(self.intervals.len() + 1);
        for (low, high) in self.intervals.drain(..) {
            if last < low || high < first {
                rest.push((low, high));
                continue;
            }
            if low < first {
                rest.push((low, first - 1));
            }
            if last < high {
                rest.push((last + 1, high));
            }
        }
        self.intervals = rest;
    }
}

/// A pool's addresses, made once and asked often.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    subnet: Addresses,
    usable: Addresses,
}

impl Extent {
    /// Of a pool.
    pub(crate) fn of(pool: &PoolSpec) -> Self {
        let subnet = Subnet::parse(&pool.subnet);
        let subnet = subnet.map(|subnet| Addresses {
            intervals: vec![subnet.ends()],
            v6: subnet.v6,
        });
        Self {
            subnet: subnet.unwrap_or_default(),
            usable: Addresses::usable(pool),
        }
    }

    /// What the pool may hand out.
    pub(crate) fn usable(&self) -> &Addresses {
        &self.usable
    }

    /// How an address stands to the pool.
    pub(crate) fn place(&self, address: IpAddr) -> Place {
        if self.usable.contains(address) {
            Place::Usable
        } else if self.subnet.contains(address) {
            Place::NotHandedOut
        } else {
            Place::Elsewhere
        }
    }
}

/// How an address stands to a pool.
pub(crate) fn place(pool: &PoolSpec, address: IpAddr) -> Place {
    Extent::of(pool).place(address)
}

struct Subnet {
    first: u128,
    prefix: u32,
    v6: bool,
}

impl Subnet {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let (address, prefix): (IpAddr, u32) = (address.parse().ok()?, prefix.parse().ok()?);
        let width = if address.is_ipv6() { 128 } else { 32 };
        let host = width - Some(prefix).filter(|it| *it <= width)?;
        // A shift by 128 has no result: all of them are host bits then.
        let first = bits(address).checked_shr(host).unwrap_or(0);
        Some(Self {
            first: first.checked_shl(host).unwrap_or(0),
            prefix,
            v6: address.is_ipv6(),
        })
    }

    fn ends(&self) -> (u128, u128) {
        let host = if self.v6 { 128 } else { 32 } - self.prefix;
        let span = 1_u128.checked_shl(host).map_or(u128::MAX, |size| size - 1);
        (self.first, self.first.saturating_add(span))
    }

    /// IPv4: network and broadcast address, which /31 and /32 do not have. IPv6: the subnet routers' anycast address, which
    /// /127 and /128 do not have.
    fn unassignable(&self) -> Vec<u128> {
        let (first, last) = self.ends();
        match self.v6 {
            false if self.prefix <= 30 => vec![first, last],
            true if self.prefix <= 126 => vec![first],
            _ => Vec::new(),
        }
    }
}

fn parse_range(text: &str) -> Option<(bool, (u128, u128))> {
    if text.contains('/') {
        let subnet = Subnet::parse(text)?;
        return Some((subnet.v6, subnet.ends()));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (IpAddr, IpAddr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let ordered = first.is_ipv6() == last.is_ipv6() && first <= last;
    ordered.then(|| (first.is_ipv6(), (bits(first), bits(last))))
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(bits: u128, v6: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(bits) if !v6 => Ipv4Addr::from_bits(bits).into(),
        _ => Ipv6Addr::from_bits(bits).into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(spec: &serde_json::Value) -> PoolSpec {
        let mut whole = json!({"network": "external", "rack": "a"});
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn usable_is_what_the_daemons_hand_out() {
        let table = [
            (json!({"subnet": "10.20.1.0/24"}), 254),
            (
                json!({"subnet": "10.20.1.0/24", "gateway": "10.20.1.1"}),
                253,
            ),
            (json!({"subnet": "10.20.1.0/31"}), 2),
            (json!({"subnet": "10.20.1.7/32"}), 1),
            (json!({"subnet": "fd00::/64"}), (1 << 64) - 1),
            (json!({"subnet": "fd00::/127"}), 2),
            (json!({"subnet": "::/0"}), u128::MAX),
            (
                json!({"subnet": "10.20.1.0/24", "ranges": ["10.20.1.100-10.20.1.199", "10.20.1.190-10.20.1.209"],
                       "exclude": ["10.20.1.150", "10.20.1.128/30"]}),
                105,
            ),
            (
                json!({"subnet": "10.20.1.0/24", "ranges": ["10.20.1.100"], "routes": [
                    {"dst": "10.0.0.0/8", "via": "10.20.1.100"}]}),
                0,
            ),
            (json!({"subnet": "nonsense"}), 0),
        ];
        for (spec, count) in table {
            let text = spec.to_string();
            let all = Addresses::usable(&pool(&spec));
            assert_eq!(all.count(), count, "{text}");
        }
    }

    #[test]
    fn place_tells_unusable_from_elsewhere() {
        let pool = pool(
            &json!({"subnet": "10.20.1.0/24", "ranges": ["10.20.1.100-10.20.1.199"], "exclude": ["10.20.1.150"]}),
        );
        for (address, expected) in [
            ("10.20.1.100", Place::Usable),
            ("10.20.1.199", Place::Usable),
            ("10.20.1.150", Place::NotHandedOut),
            ("10.20.1.99", Place::NotHandedOut),
            ("10.20.2.100", Place::Elsewhere),
            ("::ffff:10.20.1.100", Place::Elsewhere),
        ] {
            assert_eq!(
                place(&pool, address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn overlap_is_found_with_an_address_in_both() {
        let of = |range: &str| {
            Addresses::usable(&pool(&json!({"subnet": "10.20.1.0/24", "ranges": [range]})))
        };
        let one = of("10.20.1.100-10.20.1.199");
        assert_eq!(
            one.shared(&of("10.20.1.199-10.20.1.210")),
            Some("10.20.1.199".parse().unwrap())
        );
        assert_eq!(one.shared(&of("10.20.1.200-10.20.1.210")), None);
        let v6 = Addresses::usable(&pool(&json!({"subnet": "fd00::/64"})));
        assert_eq!(one.shared(&v6), None);
    }
}
