//! Address arithmetic: ranges as an operator writes them, and sets of addresses as intervals.
//!
//! Nothing here enumerates: a /64 costs as much as a /32.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first, as grants list them.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub(crate) fn address(self, bits: u128) -> IpAddr {
        match self {
            // Only bits that came from an IPv4 address are given back to IPv4.
            Self::V4 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))),
            Self::V6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

pub(crate) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Addresses from first to last, both included: written `10.0.0.5-10.0.0.9`, `10.0.0.5` or `10.0.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// Why a text is not a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseRangeError {
    /// Not an address, two addresses with `-` between, or a CIDR.
    #[error("{0:?} is not an address, a range FIRST-LAST or a CIDR")]
    Form(String),
    /// First and last are of different families.
    #[error("range {0:?} mixes IPv4 and IPv6")]
    Families(String),
    /// Last comes before first.
    #[error("range {0:?} ends before it begins")]
    Order(String),
}

impl AddressRange {
    /// The first address.
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// The family of both ends.
    pub const fn family(&self) -> Family {
        Family::of(self.first)
    }

    /// Whether the address lies between the ends.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && self.first <= address && address <= self.last
    }

    pub(crate) fn bits(&self) -> (u128, u128) {
        (bits(self.first), bits(self.last))
    }
}

impl From<IpNet> for AddressRange {
    fn from(net: IpNet) -> Self {
        Self {
            first: net.network(),
            last: net.broadcast(),
        }
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        Self {
            first: address,
            last: address,
        }
    }
}

impl FromStr for AddressRange {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, ParseRangeError> {
        let shown = || text.chars().take(96).collect::<String>();
        let form = |_| ParseRangeError::Form(shown());
        if text.contains('/') {
            let net: IpNet = text.parse().map_err(|_| ParseRangeError::Form(shown()))?;
            return Ok(net.into());
        }
        let Some((first, last)) = text.split_once('-') else {
            return Ok(text.trim().parse::<IpAddr>().map_err(form)?.into());
        };
        let first: IpAddr = first.trim().parse().map_err(form)?;
        let last: IpAddr = last.trim().parse().map_err(form)?;
        if Family::of(first) != Family::of(last) {
            return Err(ParseRangeError::Families(shown()));
        }
        if last < first {
            return Err(ParseRangeError::Order(shown()));
        }
        Ok(Self { first, last })
    }
}

impl TryFrom<String> for AddressRange {
    type Error = ParseRangeError;

    fn try_from(text: String) -> Result<Self, ParseRangeError> {
        text.parse()
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return f.pad(&self.first.to_string());
        }
        f.pad(&format!("{}-{}", self.first, self.last))
    }
}

/// A set of addresses of one family, as disjoint intervals that do not touch: first → last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddressSet {
    intervals: BTreeMap<u128, u128>,
}

impl AddressSet {
    pub(crate) fn insert(&mut self, (first, last): (u128, u128)) {
        let (mut first, mut last) = (first, last);
        if let Some((&before, &end)) = self.intervals.range(..=first).next_back()
            && end.saturating_add(1) >= first
        {
            first = before;
            last = last.max(end);
        }
        while let Some((&next, &end)) = self.intervals.range(first..).next()
            && next <= last.saturating_add(1)
        {
            self.intervals.remove(&next);
            last = last.max(end);
        }
        self.intervals.insert(first, last);
    }

    pub(crate) fn remove(&mut self, (first, last): (u128, u128)) {
        let start = self
            .intervals
            .range(..=first)
            .next_back()
            .map_or(first, |(&before, _)| before);
        while let Some((&from, &to)) = self
            .intervals
            .range(start..=last)
            .find(|&(_, &to)| to >= first)
        {
            self.intervals.remove(&from);
            if from < first {
                self.intervals.insert(from, first - 1);
            }
            if to > last {
                self.intervals.insert(last + 1, to);
            }
        }
    }

    pub(crate) fn contains(&self, address: u128) -> bool {
        self.intervals
            .range(..=address)
            .next_back()
            .is_some_and(|(_, &last)| address <= last)
    }

    /// The lowest address that both have.
    pub(crate) fn first_in_both(&self, other: &Self) -> Option<u128> {
        other.intervals().find_map(|(first, last)| {
            self.intervals()
                .find(|&(start, end)| start <= last && first <= end)
                .map(|(start, _)| start.max(first))
        })
    }

    /// How many addresses there are, at most `u64::MAX`.
    pub(crate) fn count(&self) -> u64 {
        self.intervals().fold(0, |sum: u64, (first, last)| {
            let size = u64::try_from(last - first).unwrap_or(u64::MAX);
            sum.saturating_add(size).saturating_add(1)
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// The address at this place, counted from 0.
    pub(crate) fn nth(&self, place: u128) -> Option<u128> {
        let mut left = place;
        self.intervals().find_map(|(first, last)| {
            let size = last - first;
            if left <= size {
                return Some(first + left);
            }
            left -= size + 1;
            None
        })
    }

    /// The addresses in order, beginning at one of them. Lazy.
    pub(crate) fn iter_from(&self, start: u128) -> impl Iterator<Item = u128> + Clone {
        self.intervals()
            .filter(move |&(_, last)| last >= start)
            .flat_map(move |(first, last)| first.max(start)..=last)
    }

    pub(crate) fn intervals(&self) -> impl Iterator<Item = (u128, u128)> + Clone {
        self.intervals.iter().map(|(&first, &last)| (first, last))
    }

    /// The addresses in order. Lazy: only what is taken is visited.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u128> + Clone {
        self.intervals().flat_map(|(first, last)| first..=last)
    }
}

#[cfg(test)]
mod tests;
