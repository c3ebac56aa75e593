//! Who can reach whom: NICs, racks' switches, zones' links, each node's way to the API server, one-way faults between racks.
//!
//! Only truth is here, no opinion: what a probe or a lease makes of it is elsewhere. The control plane stands in zone 0.

use std::collections::BTreeSet;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its rack.
    pub rack: usize,
    /// Its zone (a data centre).
    pub zone: usize,
}

/// What of the network works.
#[derive(Clone, Debug)]
pub struct Network {
    places: Vec<Place>,
    /// By node: its NIC.
    nic: Vec<bool>,
    /// By node: its way to the API server's load balancer, where everything below works.
    api: Vec<bool>,
    /// By rack: its switch.
    switch: Vec<bool>,
    /// By zone: its link to the other zones.
    link: Vec<bool>,
    /// From the first rack nothing comes to the second.
    deaf: BTreeSet<(usize, usize)>,
}

impl Network {
    /// Everything works.
    pub fn new(places: Vec<Place>) -> Self {
        let racks = places.iter().map(|place| place.rack + 1).max().unwrap_or(0);
        let zones = places.iter().map(|place| place.zone + 1).max().unwrap_or(0);
        Self {
            nic: vec![true; places.len()],
            api: vec![true; places.len()],
            switch: vec![true; racks],
            link: vec![true; zones],
            deaf: BTreeSet::new(),
            places,
        }
    }

    /// Where a node stands.
    pub fn place(&self, node: usize) -> Place {
        self.places[node]
    }

    /// Sets a node's NIC.
    pub fn set_nic(&mut self, node: usize, works: bool) {
        self.nic[node] = works;
    }

    /// Sets a node's way to the API server.
    pub fn set_api(&mut self, node: usize, works: bool) {
        self.api[node] = works;
    }

    /// Sets a rack's switch.
    pub fn set_switch(&mut self, rack: usize, works: bool) {
        self.switch[rack] = works;
    }

    /// Sets a zone's link to the others.
    pub fn set_link(&mut self, zone: usize, works: bool) {
        self.link[zone] = works;
    }

    /// Sets whether what the first rack sends comes to the second.
    pub fn set_one_way(&mut self, from: usize, to: usize, works: bool) {
        if works {
            self.deaf.remove(&(from, to));
        } else {
            self.deaf.insert((from, to));
        }
    }

    /// Whether the node's gateway answers it: its rack's switch, by its NIC.
    pub fn has_gateway(&self, node: usize) -> bool {
        self.nic[node] && self.switch[self.places[node].rack]
    }

    /// Whether the node can call the API server.
    pub fn has_api(&self, node: usize) -> bool {
        let zone = self.places[node].zone;
        self.api[node] && self.has_gateway(node) && (zone == 0 || self.link[0] && self.link[zone])
    }

    /// Whether a question from the first node comes to the second and the answer back.
    pub fn answers(&self, from: usize, to: usize) -> bool {
        let (here, there) = (self.places[from], self.places[to]);
        let racks = here.rack == there.rack
            || !self.deaf.contains(&(here.rack, there.rack))
                && !self.deaf.contains(&(there.rack, here.rack));
        let zones = here.zone == there.zone || self.link[here.zone] && self.link[there.zone];
        self.has_gateway(from) && self.has_gateway(to) && racks && zones
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two zones with two racks of two nodes each.
    fn network() -> Network {
        let place = |node: usize| Place {
            rack: node / 2,
            zone: node / 4,
        };
        Network::new((0..8).map(place).collect())
    }

    #[test]
    fn a_dark_switch_silences_its_rack_within_too() {
        let mut network = network();
        network.set_switch(1, false);
        assert!(!network.answers(2, 3));
        assert!(!network.has_api(2));
        assert!(network.answers(0, 1));
    }

    #[test]
    fn a_cut_zone_talks_to_itself_only() {
        let mut network = network();
        network.set_link(1, false);
        assert!(network.answers(4, 7));
        assert!(!network.answers(0, 4));
        assert!(!network.has_api(4));
        assert!(network.has_api(0));
    }

    #[test]
    fn a_one_way_fault_takes_the_answers_of_both_directions() {
        let mut network = network();
        network.set_one_way(0, 1, false);
        assert!(!network.answers(0, 2));
        assert!(!network.answers(2, 0));
        assert!(network.answers(0, 4));
        assert!(network.has_api(0));
    }
}
