//! What the book should do, written the slow and obvious way: maps without indices, searched from end to end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use proto_ids::{
    AllocateRequest, Attachment, Identity, IfName, InterfaceRequest, MacAddr, NetworkName, PodKey,
    RackName,
};

use crate::{
    AddressUse, BindingState, Book, FreeRequest, Hold, ListFilter, Pool, Reason, Record,
    ReserveRequest, Settings, Sighting, Timestamp, ValidSettings, ViewState,
};

/// More IPv6 addresses of a pool than a case ever uses.
const SIX: u128 = 200;

type Place = (NetworkName, IpAddr);
type Granted = Vec<(NetworkName, Vec<IpAddr>, MacAddr)>;

#[derive(Clone)]
enum Spot {
    Rests {
        since: Timestamp,
        until: Timestamp,
        former: Identity,
        mac: MacAddr,
    },
    Retired {
        order: u64,
    },
    Aside,
}

#[derive(Clone)]
struct Bond {
    addresses: Vec<IpAddr>,
    mac: MacAddr,
    rack: RackName,
    pod: Option<PodKey>,
    hold: Hold,
    adopted: bool,
    reserved: bool,
    on: Option<(Attachment, IfName)>,
    until: Option<Timestamp>,
}

#[derive(Clone)]
pub(super) struct Model {
    settings: ValidSettings,
    // By place in the settings.
    allowed: Rc<Vec<BTreeSet<IpAddr>>>,
    spots: BTreeMap<Place, Spot>,
    conflicts: BTreeMap<Place, MacAddr>,
    bonds: BTreeMap<(NetworkName, Identity), Bond>,
    retired: u64,
}

fn is_six(address: IpAddr) -> bool {
    address.is_ipv6()
}

/// Every address a pool hands out, one by one.
fn allowed(pool: &Pool) -> BTreeSet<IpAddr> {
    let all: Vec<IpAddr> = match pool.subnet {
        IpNet::V4(v4) => {
            let (first, last) = (u32::from(v4.network()), u32::from(v4.broadcast()));
            let hosts = first + 1..last;
            hosts.map(|bits| Ipv4Addr::from(bits).into()).collect()
        }
        IpNet::V6(v6) => {
            let first = u128::from(v6.network());
            let hosts = first + 1..first + SIX;
            hosts.map(|bits| Ipv6Addr::from(bits).into()).collect()
        }
    };
    let inside = |address: &IpAddr| {
        pool.ranges.is_empty() || pool.ranges.iter().any(|range| range.contains(*address))
    };
    all.into_iter()
        .filter(inside)
        .filter(|address| pool.exclude.iter().all(|range| !range.contains(*address)))
        .filter(|address| pool.gateway != Some(*address))
        .collect()
}

impl Model {
    pub(super) fn new(settings: ValidSettings) -> Self {
        Self {
            allowed: Self::all_allowed(&settings),
            settings,
            spots: BTreeMap::new(),
            conflicts: BTreeMap::new(),
            bonds: BTreeMap::new(),
            retired: 0,
        }
    }

    fn all_allowed(settings: &ValidSettings) -> Rc<Vec<BTreeSet<IpAddr>>> {
        let pools = settings.settings().pools.iter();
        Rc::new(pools.map(allowed).collect())
    }

    fn settings(&self) -> &Settings {
        self.settings.settings()
    }

    fn rack(&self) -> &RackName {
        self.settings()
            .rack
            .name()
            .expect("the small world knows its rack")
    }

    fn pools(&self, network: &NetworkName) -> impl Iterator<Item = (usize, &Pool)> {
        let pools = self.settings().pools.iter().enumerate();
        pools.filter(move |(_, pool)| pool.network == *network)
    }

    fn here(&self, network: &NetworkName) -> impl Iterator<Item = (usize, &Pool)> {
        let rack = self.rack();
        self.pools(network)
            .filter(move |(_, pool)| pool.rack == *rack)
    }

    fn has(&self, pool: usize, address: IpAddr) -> bool {
        self.allowed[pool].contains(&address)
    }

    fn is_here(&self, network: &NetworkName, address: IpAddr) -> bool {
        self.here(network).any(|(pool, _)| self.has(pool, address))
    }

    fn families(&self, network: &NetworkName) -> Vec<bool> {
        let mut families: Vec<_> = self
            .here(network)
            .map(|(_, pool)| matches!(pool.subnet, IpNet::V6(_)))
            .collect();
        families.sort_unstable();
        families.dedup();
        families
    }

    fn holder(&self, network: &NetworkName, address: IpAddr) -> Option<(&Identity, &Bond)> {
        self.bonds
            .iter()
            .find(|((joined, _), bond)| joined == network && bond.addresses.contains(&address))
            .map(|((_, identity), bond)| (identity, bond))
    }

    fn retire(&mut self, network: &NetworkName, address: IpAddr) {
        let spot = Spot::Retired {
            order: self.retired,
        };
        self.retired += 1;
        self.spots.insert((network.clone(), address), spot);
    }

    fn dissolve(&mut self, network: &NetworkName, identity: &Identity, rest: bool, now: Timestamp) {
        let key = (network.clone(), identity.clone());
        let bond = self.bonds.remove(&key).expect("bound");
        for address in bond.addresses {
            let rests: Duration = self
                .pools(network)
                .find(|&(pool, _)| self.has(pool, address))
                .map(|(_, pool)| pool.quarantine)
                .or_else(|| self.pools(network).map(|(_, pool)| pool.quarantine).max())
                .unwrap_or_default();
            if !rest || rests.is_zero() {
                self.retire(network, address);
                continue;
            }
            self.spots.insert(
                (network.clone(), address),
                Spot::Rests {
                    since: now,
                    until: now.after(rests),
                    former: identity.clone(),
                    mac: bond.mac,
                },
            );
        }
    }

    /// Ends attachments; tells whether there were any.
    pub(super) fn end(&mut self, over: impl Fn(&Attachment) -> bool, now: Timestamp) -> bool {
        let mut ending: Vec<_> = self
            .bonds
            .iter()
            .filter_map(|(key, bond)| Some((bond.on.as_ref()?.0.clone(), key.clone())))
            .filter(|(attachment, _)| over(attachment))
            .collect();
        ending.sort();
        let any = !ending.is_empty();
        for (_, key) in ending {
            let bond = self.bonds.get_mut(&key).expect("bound");
            bond.on = None;
            match bond.hold {
                _ if bond.reserved => {}
                Hold::Forever => {}
                Hold::For(duration) => bond.until = Some(now.after(duration)),
                Hold::None => self.dissolve(&key.0, &key.1, true, now),
            }
        }
        any
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let holds = self.bonds.iter().filter_map(|((network, identity), bond)| {
            Some((
                bond.until?,
                network.clone(),
                0,
                Some(identity.clone()),
                None,
            ))
        });
        let rests = self.spots.iter().filter_map(|((network, address), spot)| {
            let Spot::Rests { until, .. } = spot else {
                return None;
            };
            Some((*until, network.clone(), 1, None, Some(*address)))
        });
        let mut due: Vec<_> = holds.chain(rests).filter(|due| due.0 <= now).collect();
        due.sort();
        for (_, network, _, identity, address) in due {
            if let Some(identity) = identity {
                self.dissolve(&network, &identity, true, now);
            }
            if let Some(address) = address {
                self.retire(&network, address);
            }
        }
    }

    fn requested(
        &self,
        network: &NetworkName,
        identity: Option<&Identity>,
        address: IpAddr,
    ) -> Result<(), Reason> {
        if !self.is_here(network, address) {
            return Err(Reason::AddressOutside);
        }
        if self.holder(network, address).is_some() {
            return Err(Reason::AddressTaken);
        }
        let place = (network.clone(), address);
        match self.spots.get(&place) {
            Some(Spot::Aside) => return Err(Reason::AddressTaken),
            Some(Spot::Rests { former, .. }) if Some(former) != identity => {
                return Err(Reason::AddressTaken);
            }
            _ => {}
        }
        if identity.is_some() && self.conflicts.contains_key(&place) {
            return Err(Reason::AddressConflict);
        }
        Ok(())
    }

    fn choose(
        &self,
        network: &NetworkName,
        identity: Option<&Identity>,
        six: bool,
        wish: Option<IpAddr>,
    ) -> Result<IpAddr, Reason> {
        if let Some(address) = wish {
            return self.requested(network, identity, address).map(|()| address);
        }
        let undisputed =
            |address: IpAddr| !self.conflicts.contains_key(&(network.clone(), address));
        let mut rested: Vec<_> = self
            .spots
            .iter()
            .filter_map(|((joined, address), spot)| match spot {
                Spot::Rests { since, former, .. }
                    if joined == network && Some(former) == identity =>
                {
                    Some((Reverse(*since), *address))
                }
                _ => None,
            })
            .filter(|&(_, address)| is_six(address) == six)
            .filter(|&(_, address)| self.is_here(network, address) && undisputed(address))
            .collect();
        rested.sort();
        if let Some((_, address)) = rested.first() {
            return Ok(*address);
        }
        let bound: BTreeSet<_> = self
            .bonds
            .iter()
            .filter(|((joined, _), _)| joined == network)
            .flat_map(|(_, bond)| bond.addresses.iter().copied())
            .collect();
        for (pool, _) in self.here(network) {
            let free = self.allowed[pool]
                .iter()
                .copied()
                .filter(|&address| is_six(address) == six && undisputed(address))
                .filter(|address| !bound.contains(address));
            let best = free
                .filter_map(
                    |address| match self.spots.get(&(network.clone(), address)) {
                        None => Some((None, address)),
                        Some(Spot::Retired { order }) => Some((Some(*order), address)),
                        Some(_) => None,
                    },
                )
                .min();
            if let Some((_, address)) = best {
                return Ok(address);
            }
        }
        Err(Reason::Exhausted)
    }

    fn mac(
        &self,
        network: &NetworkName,
        identity: &Identity,
        addresses: &[IpAddr],
        wish: Option<MacAddr>,
    ) -> Result<MacAddr, Reason> {
        let taken = |mac: MacAddr| {
            self.bonds.iter().any(|((joined, other), bond)| {
                joined == network && other != identity && bond.mac == mac
            })
        };
        let rested = addresses.iter().find_map(|address| {
            match self.spots.get(&(network.clone(), *address)) {
                Some(Spot::Rests { former, mac, .. }) if former == identity => Some(*mac),
                _ => None,
            }
        });
        let derived = addresses.iter().map(|&address| MacAddr::derived(address));
        let candidates: Vec<_> = match wish {
            Some(mac) => vec![mac],
            None => rested.into_iter().chain(derived).collect(),
        };
        let free = candidates.into_iter().find(|&mac| !taken(mac));
        free.ok_or(Reason::MacTaken)
    }

    pub(super) fn allocate(
        &mut self,
        request: &AllocateRequest,
        now: Timestamp,
    ) -> Result<Granted, Reason> {
        let identity = request.effective_identity();
        let on_this = |bond: &Bond| {
            let attached = bond.on.as_ref();
            attached.is_some_and(|(attachment, _)| *attachment == request.attachment)
        };
        let foreign = self
            .bonds
            .iter()
            .any(|((_, other), bond)| on_this(bond) && *other != identity && !bond.adopted);
        if foreign {
            return Err(Reason::AlreadyAttached);
        }
        let mut next = self.clone();
        let mut granted = Vec::new();
        for interface in &request.interfaces {
            let unnamed: Vec<_> = self
                .bonds
                .iter()
                .filter(|((network, other), bond)| {
                    on_this(bond) && *network == interface.network && *other != identity
                })
                .map(|((_, other), bond)| (other, bond))
                .collect();
            let bond = self.join(&mut next, request, interface, &unnamed, now)?;
            let mut addresses = bond.addresses.clone();
            addresses.sort();
            granted.push((interface.network.clone(), addresses, bond.mac));
            next.bonds
                .insert((interface.network.clone(), identity.clone()), bond);
        }
        *self = next;
        Ok(granted)
    }

    /// The bond that one interface ends with. `self` is what was before, `next` what will be.
    fn join(
        &self,
        next: &mut Self,
        request: &AllocateRequest,
        interface: &InterfaceRequest,
        unnamed: &[(&Identity, &Bond)],
        now: Timestamp,
    ) -> Result<Bond, Reason> {
        let network = &interface.network;
        let identity = request.effective_identity();
        if self.here(network).next().is_none() {
            return Err(Reason::NoPool);
        }
        let on = Some((request.attachment.clone(), interface.ifname.clone()));
        let Some(bond) = self.bonds.get(&(network.clone(), identity.clone())) else {
            return self.name(next, request, interface, unnamed, now);
        };
        for (other, _) in unnamed {
            next.dissolve(network, other, true, now);
        }
        if bond.on == on {
            differs(bond, interface)?;
            let known = |a: &IpAddr| self.pools(network).any(|(pool, _)| self.has(pool, *a));
            return if bond.addresses.iter().all(known) {
                Ok(bond.clone())
            } else {
                Err(Reason::AddressOutside)
            };
        }
        if let Some((attachment, _)) = &bond.on {
            if attachment.sandbox == request.attachment.sandbox {
                return Err(Reason::AlreadyAttached);
            }
            if bond.pod.is_some() && request.pod.is_some() && bond.pod != request.pod {
                return Err(Reason::AddressTaken);
            }
        }
        self.take_over(next, request, interface, bond, now)
    }

    fn name(
        &self,
        next: &mut Self,
        request: &AllocateRequest,
        interface: &InterfaceRequest,
        unnamed: &[(&Identity, &Bond)],
        now: Timestamp,
    ) -> Result<Bond, Reason> {
        let network = &interface.network;
        let on = Some((request.attachment.clone(), interface.ifname.clone()));
        let this = unnamed.iter().position(|(_, bond)| {
            bond.on == on && bond.addresses.iter().all(|&a| self.is_here(network, a))
        });
        for (index, (other, _)) in unnamed.iter().enumerate() {
            if Some(index) != this {
                next.dissolve(network, other, true, now);
            }
        }
        let Some(&(other, bond)) = this.map(|index| &unnamed[index]) else {
            return self.bind(next, request, interface);
        };
        differs(bond, interface)?;
        next.bonds.remove(&(network.clone(), other.clone()));
        Ok(Bond {
            addresses: bond.addresses.clone(),
            mac: bond.mac,
            ..self.blank(request, on)
        })
    }

    fn take_over(
        &self,
        next: &mut Self,
        request: &AllocateRequest,
        interface: &InterfaceRequest,
        bond: &Bond,
        now: Timestamp,
    ) -> Result<Bond, Reason> {
        let network = &interface.network;
        let identity = request.effective_identity();
        let on = Some((request.attachment.clone(), interface.ifname.clone()));
        let elsewhere = bond.addresses.iter().find(|&&a| !self.is_here(network, a));
        if let Some(&address) = elsewhere {
            let other_rack = self.pools(network).any(|(pool, _)| self.has(pool, address))
                || bond.rack != *self.rack();
            if !other_rack {
                return Err(Reason::AddressOutside);
            }
            next.dissolve(network, &identity, true, now);
            return self.bind(next, request, interface);
        }
        differs(bond, interface)?;
        let disputed = |a: &IpAddr| self.conflicts.contains_key(&(network.clone(), *a));
        if bond.addresses.iter().any(disputed) {
            return Err(Reason::AddressConflict);
        }
        let missing = |six: &bool| bond.addresses.iter().all(|&a| is_six(a) != *six);
        let mut addresses = bond.addresses.clone();
        for six in self.families(network).into_iter().filter(missing) {
            let address = self.choose(network, Some(&identity), six, wish(interface, six))?;
            next.spots.remove(&(network.clone(), address));
            addresses.push(address);
        }
        self.no_such_family(interface)?;
        Ok(Bond {
            addresses,
            mac: bond.mac,
            reserved: bond.reserved,
            ..self.blank(request, on)
        })
    }

    fn no_such_family(&self, interface: &InterfaceRequest) -> Result<(), Reason> {
        let families = self.families(&interface.network);
        let strange = |a: &&IpAddr| !families.contains(&is_six(**a));
        match interface.addresses.iter().find(strange) {
            Some(_) => Err(Reason::AddressOutside),
            None => Ok(()),
        }
    }

    fn bind(
        &self,
        next: &mut Self,
        request: &AllocateRequest,
        interface: &InterfaceRequest,
    ) -> Result<Bond, Reason> {
        let network = &interface.network;
        let identity = request.effective_identity();
        self.no_such_family(interface)?;
        let mut addresses = Vec::new();
        for six in self.families(network) {
            addresses.push(self.choose(network, Some(&identity), six, wish(interface, six))?);
        }
        let mac = self.mac(network, &identity, &addresses, interface.mac)?;
        for &address in &addresses {
            next.spots.remove(&(network.clone(), address));
        }
        let on = Some((request.attachment.clone(), interface.ifname.clone()));
        Ok(Bond {
            addresses,
            mac,
            ..self.blank(request, on)
        })
    }

    fn blank(&self, request: &AllocateRequest, on: Option<(Attachment, IfName)>) -> Bond {
        let hold = match &request.pod {
            Some(pod) if pod.namespace() == "lab" => Hold::For(Duration::from_secs(30)),
            Some(_) if request.identity.is_some() => Hold::Forever,
            Some(pod) if pod.name().starts_with("db-") => Hold::Forever,
            _ => Hold::None,
        };
        Bond {
            addresses: Vec::new(),
            mac: MacAddr::from_octets([0; 6]),
            rack: self.rack().clone(),
            pod: request.pod.clone(),
            hold,
            adopted: false,
            reserved: false,
            on,
            until: None,
        }
    }

    pub(super) fn reserve(&mut self, request: &ReserveRequest, _: Timestamp) -> Result<(), Reason> {
        let network = &request.network;
        let families = self.families(network);
        if families.is_empty() {
            return Err(Reason::NoPool);
        }
        let Some(identity) = &request.identity else {
            let six = request.address.map_or(families[0], is_six);
            let address = self.choose(network, None, six, request.address)?;
            self.spots.insert((network.clone(), address), Spot::Aside);
            return Ok(());
        };
        let key = (network.clone(), identity.clone());
        if let Some(bond) = self.bonds.get_mut(&key) {
            let differs = |address: IpAddr| !bond.addresses.contains(&address);
            if request.address.is_some_and(differs) {
                return Err(Reason::AddressTaken);
            }
            bond.reserved = true;
            bond.until = None;
            return Ok(());
        }
        let wanted = match request.address {
            Some(address) => vec![(is_six(address), Some(address))],
            None => families.into_iter().map(|six| (six, None)).collect(),
        };
        let mut addresses = Vec::new();
        for (six, wish) in wanted {
            addresses.push(self.choose(network, Some(identity), six, wish)?);
        }
        let mac = self.mac(network, identity, &addresses, None)?;
        for &address in &addresses {
            self.spots.remove(&(network.clone(), address));
        }
        let bond = Bond {
            addresses,
            mac,
            rack: self.rack().clone(),
            pod: None,
            hold: Hold::Forever,
            adopted: false,
            reserved: true,
            on: None,
            until: None,
        };
        self.bonds.insert(key, bond);
        Ok(())
    }

    /// Whether the address could be given back.
    pub(super) fn free(&mut self, request: &FreeRequest, now: Timestamp) -> bool {
        let network = request.network.clone().expect("named");
        let place = (network.clone(), request.address);
        if let Some((identity, bond)) = self.holder(&network, request.address) {
            let identity = identity.clone();
            if bond.on.is_some() {
                return false;
            }
            self.dissolve(&network, &identity, request.quarantine, now);
            return true;
        }
        match self.spots.get(&place) {
            Some(Spot::Rests { .. }) if request.quarantine => true,
            Some(Spot::Rests { .. } | Spot::Aside) => {
                self.retire(&network, request.address);
                true
            }
            Some(Spot::Retired { .. }) | None => self.conflicts.remove(&place).is_some(),
        }
    }

    /// Whether the claim is foreign.
    pub(super) fn conflict(&mut self, sighting: &Sighting) -> bool {
        let Sighting {
            network,
            address,
            mac,
        } = sighting;
        let place = (network.clone(), *address);
        let bound = self.holder(network, *address).map(|(_, bond)| bond.mac);
        let spot = self.spots.get(&place);
        let ours = bound.is_some()
            || spot.is_some()
            || self
                .pools(network)
                .any(|(pool, _)| self.has(pool, *address));
        let own = match spot {
            Some(Spot::Rests { mac, .. }) => Some(*mac),
            _ => bound,
        };
        let foreign = ours && own != Some(*mac);
        if foreign {
            self.conflicts.insert(place, *mac);
        }
        foreign
    }

    pub(super) fn clear(&mut self, network: &NetworkName, address: IpAddr) {
        self.conflicts.remove(&(network.clone(), address));
    }

    pub(super) fn displaces(&self, settings: &ValidSettings) -> bool {
        let after = Self::new(settings.clone());
        let known = |model: &Self, network: &NetworkName, address: IpAddr| {
            model
                .pools(network)
                .any(|(pool, _)| model.has(pool, address))
        };
        self.bonds.iter().any(|((network, _), bond)| {
            let mut addresses = bond.addresses.iter();
            addresses.any(|&a| known(self, network, a) && !known(&after, network, a))
        })
    }

    pub(super) fn reconfigure(&mut self, settings: ValidSettings) {
        self.allowed = Self::all_allowed(&settings);
        self.settings = settings;
    }

    /// Believes the book: after an adoption, which the model does not predict.
    pub(super) fn relearn(&mut self, book: &Book) {
        let mut learned = Self::new(self.settings.clone());
        for record in book.records() {
            match record {
                Record::Binding(record) => {
                    let (on, until) = match record.state {
                        BindingState::Attached {
                            attachment, ifname, ..
                        } => (Some((attachment, ifname)), None),
                        BindingState::Held { until } => (None, until),
                    };
                    let bond = Bond {
                        hold: self.settings().hold(&record.identity, &record.origin),
                        pod: record.origin.pod(&record.identity),
                        adopted: record.origin == crate::Origin::Adopted,
                        addresses: record.addresses,
                        mac: record.mac,
                        rack: record.rack,
                        reserved: record.reservation.is_some(),
                        on,
                        until,
                    };
                    let key = (record.network, record.identity);
                    learned.bonds.insert(key, bond);
                }
                Record::Address(record) => {
                    let spot = match record.state {
                        AddressUse::Quarantined {
                            since,
                            until,
                            former,
                        } => Spot::Rests {
                            since,
                            until,
                            former: former.identity,
                            mac: former.mac,
                        },
                        AddressUse::Retired { sequence } => {
                            learned.retired = learned.retired.max(sequence + 1);
                            Spot::Retired { order: sequence }
                        }
                        AddressUse::SetAside { .. } => Spot::Aside,
                    };
                    let place = (record.network, record.address);
                    learned.spots.insert(place, spot);
                }
                Record::Claim(_) => unreachable!("there are none outside of a cluster"),
                Record::Conflict(record) => {
                    let place = (record.network, record.address);
                    learned.conflicts.insert(place, record.foreign_mac);
                }
            }
        }
        *self = learned;
    }

    /// What an operator sees of the book must be what the model has.
    pub(super) fn compare(&self, book: &Book) {
        let mut expected = BTreeMap::new();
        for place in self.conflicts.keys() {
            expected.insert(place.clone(), (ViewState::Conflicting, None, None, None));
        }
        for (place, spot) in &self.spots {
            let seen = match spot {
                Spot::Retired { .. } => continue,
                Spot::Aside => (ViewState::Reserved, None, None, None),
                Spot::Rests {
                    until, former, mac, ..
                } => (
                    ViewState::Quarantined,
                    Some(former.clone()),
                    Some(*mac),
                    Some(*until),
                ),
            };
            expected.insert(place.clone(), seen);
        }
        for ((network, identity), bond) in &self.bonds {
            let state = match (&bond.on, bond.reserved) {
                (Some(_), _) => ViewState::Attached,
                (None, true) => ViewState::Reserved,
                (None, false) => ViewState::Held,
            };
            for &address in &bond.addresses {
                let seen = (state, Some(identity.clone()), Some(bond.mac), bond.until);
                expected.insert((network.clone(), address), seen);
            }
        }
        let found: BTreeMap<_, _> = book
            .list(&ListFilter::default())
            .into_iter()
            .map(|view| {
                let seen = (view.state, view.identity, view.mac, view.until);
                ((view.network, view.address), seen)
            })
            .collect();
        assert_eq!(found, expected);
    }
}

fn wish(interface: &InterfaceRequest, six: bool) -> Option<IpAddr> {
    let mut wishes = interface.addresses.iter().copied();
    wishes.find(|&address| is_six(address) == six)
}

fn differs(bond: &Bond, interface: &InterfaceRequest) -> Result<(), Reason> {
    for &address in &interface.addresses {
        let known = bond
            .addresses
            .iter()
            .find(|&&known| is_six(known) == is_six(address));
        if known.is_some_and(|&known| known != address) {
            return Err(Reason::AddressTaken);
        }
    }
    match interface.mac {
        Some(mac) if mac != bond.mac => Err(Reason::MacTaken),
        _ => Ok(()),
    }
}
