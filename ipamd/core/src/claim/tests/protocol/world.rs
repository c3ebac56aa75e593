//! Nodes with their books, disks and views; Pods that come and go; messages on their way.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use proptest::sample::Index;
use proto_ids::{Identity, NetworkName};

use super::super::{Claim, ClaimPlan, ClaimWait, ClaimWrite, Sight, Wishes, settings};
use super::server::{Outcome, Server};
use crate::claim::ANSWER_LIMIT;
use crate::fixture::{at, attachment, network, request};
use crate::{Book, Change, Ended, Record, RecordKey, Timestamp};

/// Pods of a `StatefulSet`: their addresses are held for ever.
pub(super) const IDENTITIES: usize = 4;

/// Rounds in which a world that is well again comes to rest. Each is one step for each address on each node; a hand-over of two
/// addresses takes some ten, fences and questions have to settle besides.
const ROUNDS: u64 = 120;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Step {
        node: usize,
        pick: Index,
    },
    Deliver {
        pick: Index,
        twice: bool,
    },
    LoseWrite {
        pick: Index,
    },
    Answer {
        pick: Index,
    },
    LoseAnswer {
        pick: Index,
    },
    Watch {
        node: usize,
        pick: Index,
        back: Index,
    },
    Ahead {
        node: usize,
    },
    Bind {
        who: usize,
        node: usize,
    },
    Add {
        who: usize,
    },
    Delete {
        who: usize,
    },
    ForceDelete {
        who: usize,
    },
    Kubelet {
        node: usize,
    },
    Crash {
        node: usize,
    },
    PowerOff {
        node: usize,
    },
    PowerOn {
        node: usize,
    },
    Fence {
        node: usize,
    },
    Unfence {
        node: usize,
    },
    Release {
        pick: Index,
    },
    Cut {
        node: usize,
        cut: bool,
    },
    Wait {
        seconds: u64,
    },
}

/// What a node believes of a claim.
#[derive(Clone, Debug, Default)]
struct View {
    claim: Option<Claim>,
    consistent: bool,
    since: u64,
}

/// A request of a node that was not answered yet.
#[derive(Clone, Debug)]
struct Request {
    /// Which of all requests.
    number: u64,
    node: usize,
    life: u64,
    address: IpAddr,
    /// `None`: a consistent read.
    write: Option<ClaimWrite>,
    sent: u64,
}

struct Node {
    name: String,
    on: bool,
    cut: bool,
    /// Counts the lives of the daemon: an answer to an earlier one reaches nobody.
    life: u64,
    book: Book,
    disk: BTreeMap<Vec<u8>, Record>,
    views: BTreeMap<IpAddr, View>,
    /// Requests it waits for, by their number, with the time they were sent.
    busy: BTreeMap<IpAddr, (u64, u64)>,
    wishes: Wishes,
    /// Sandboxes that run: identity, addresses.
    live: BTreeMap<String, (usize, Vec<IpAddr>)>,
}

pub(super) struct World {
    dual: bool,
    server: Server,
    nodes: Vec<Node>,
    requests: Vec<Request>,
    answers: Vec<(Request, Outcome)>,
    /// Where the Pod of each identity is bound.
    bound: [Option<usize>; IDENTITIES],
    /// What each identity had last; none when nobody can know any more.
    had: [Option<Vec<IpAddr>>; IDENTITIES],
    /// Identities that got new addresses before the old ones were written down anywhere but on their node.
    split: [bool; IDENTITIES],
    external: NetworkName,
    addresses: Vec<IpAddr>,
    clock: u64,
    sandboxes: u64,
    sent: u64,
}

fn identity(who: usize) -> Identity {
    format!("t/app-{who}").parse().unwrap()
}

impl World {
    pub(super) fn new(nodes: usize, dual: bool) -> Self {
        let mut addresses: Vec<IpAddr> = (10..=19)
            .map(|it| format!("10.0.0.{it}").parse().unwrap())
            .collect();
        if dual {
            addresses.extend((10..=19).map(|it| format!("fd00::{it}").parse::<IpAddr>().unwrap()));
        }
        let node = |number: usize| {
            let name = format!("n{number}");
            Node {
                book: Book::new(settings(&name, dual)),
                name,
                on: true,
                cut: false,
                life: 0,
                disk: BTreeMap::new(),
                views: BTreeMap::new(),
                busy: BTreeMap::new(),
                wishes: Wishes::default(),
                live: BTreeMap::new(),
            }
        };
        Self {
            dual,
            server: Server::default(),
            nodes: (0..nodes).map(node).collect(),
            requests: Vec::new(),
            answers: Vec::new(),
            bound: [None; IDENTITIES],
            had: [const { None }; IDENTITIES],
            split: [false; IDENTITIES],
            external: network("external"),
            addresses,
            clock: 0,
            sandboxes: 0,
            sent: 0,
        }
    }

    fn now(&self) -> Timestamp {
        at(self.clock)
    }

    pub(super) fn run(&mut self, op: &Op) {
        match op {
            Op::Step { node, pick } => {
                let address = *pick.get(&self.addresses);
                self.step(*node, address);
            }
            Op::Deliver { pick, twice } => {
                if let Some(request) = take(&mut self.requests, *pick) {
                    if *twice {
                        self.requests.push(request.clone());
                    }
                    self.deliver(request);
                }
            }
            Op::LoseWrite { pick } => {
                take(&mut self.requests, *pick);
            }
            Op::Answer { pick } => {
                if let Some((request, outcome)) = take(&mut self.answers, *pick) {
                    self.answer(&request, &outcome);
                }
            }
            Op::LoseAnswer { pick } => {
                take(&mut self.answers, *pick);
            }
            Op::Watch { node, pick, back } => {
                let address = *pick.get(&self.addresses);
                let past = self.server.past(address);
                let seen = back.get(&past).clone();
                if self.reaches(*node) {
                    self.see(*node, address, seen, false);
                }
            }
            Op::Ahead { node } => self.ahead(*node),
            Op::Bind { who, node } => self.bind(*who, *node),
            Op::Add { who } => {
                self.add(*who);
            }
            Op::Delete { who } => self.delete(*who),
            Op::ForceDelete { who } => self.unbind(*who),
            Op::Kubelet { node } => self.kubelet(*node),
            Op::Crash { node } => self.crash(*node),
            Op::PowerOff { node } => {
                self.nodes[*node].on = false;
                self.nodes[*node].live.clear();
                self.crash(*node);
            }
            Op::PowerOn { node } => self.power_on(*node),
            Op::Fence { node } => self.fence(*node),
            Op::Unfence { node } => {
                let name = self.nodes[*node].name.clone();
                self.server.fence(&name, false);
            }
            Op::Release { pick } => self.server.release(*pick.get(&self.addresses)),
            Op::Cut { node, cut } => self.nodes[*node].cut = *cut,
            Op::Wait { seconds } => self.wait(*seconds),
        }
        self.clock += 1;
    }

    /// What must hold at any moment.
    pub(super) fn check(&self) {
        let mut live: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
        let mut owners: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.on) {
            for (sandbox, (_, addresses)) in &node.live {
                for address in addresses {
                    live.entry(*address).or_default().push(sandbox);
                }
            }
            for address in &self.addresses {
                if node.owns(&self.external, *address) {
                    owners.entry(*address).or_default().push(&node.name);
                }
            }
        }
        for (address, sandboxes) in live {
            assert!(
                sandboxes.len() < 2,
                "{address} is attached to {sandboxes:?}"
            );
        }
        for (address, nodes) in owners {
            assert!(nodes.len() < 2, "{address} is owned by {nodes:?}");
        }
    }

    fn reaches(&self, node: usize) -> bool {
        self.nodes[node].on && !self.nodes[node].cut
    }

    fn see(&mut self, node: usize, address: IpAddr, claim: Option<Claim>, consistent: bool) {
        let clock = self.clock;
        let node = &mut self.nodes[node];
        let known = node.views.get(&address);
        let version = |claim: &Option<Claim>| claim.as_ref().map(|claim| claim.version.clone());
        let since = match known {
            Some(view) if version(&view.claim) == version(&claim) => view.since,
            _ => clock,
        };
        let view = View {
            claim,
            consistent,
            since,
        };
        node.views.insert(address, view);
    }

    /// One decision about one claim, and the beginning of what it leads to.
    fn step(&mut self, at_node: usize, address: IpAddr) -> Option<ClaimWait> {
        let (clock, now) = (self.clock, self.now());
        let external = self.external.clone();
        let reaches = self.reaches(at_node);
        let node = &mut self.nodes[at_node];
        if !node.on || node.busy.contains_key(&address) {
            return None;
        }
        let view = node.views.get(&address).cloned().unwrap_or_default();
        let sight = Sight {
            network: &external,
            address,
            claim: view.claim.as_ref(),
            consistent: view.consistent,
            unchanged: Duration::from_secs(clock - view.since),
        };
        let write = match node.book.plan_claim(&sight, &node.wishes, now) {
            ClaimPlan::Idle => return None,
            ClaimPlan::Wait(wait) => return Some(wait),
            ClaimPlan::Commit(changes) => {
                node.commit(&changes);
                // What was read before says nothing about what is after.
                node.doubt(address);
                self.let_go(&changes);
                return None;
            }
            ClaimPlan::Look => None,
            ClaimPlan::Write(write) => Some(write),
        };
        if !reaches {
            return None;
        }
        self.sent += 1;
        node.busy.insert(address, (self.sent, clock));
        self.requests.push(Request {
            number: self.sent,
            node: at_node,
            life: node.life,
            address,
            write,
            sent: clock,
        });
        None
    }

    /// Whose address was released by the controllers gets another one, knowingly.
    fn let_go(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Audit(entry) = change
                && entry.ended == Ended::Unwanted
                && let Some(who) = (0..IDENTITIES).find(|&who| identity(who) == entry.identity)
            {
                assert_eq!(entry.sandbox, None, "a living sandbox lost its address");
                self.had[who] = None;
            }
        }
    }

    fn deliver(&mut self, request: Request) {
        let outcome = match &request.write {
            None => Outcome::Done(Box::new(self.server.get(request.address).cloned())),
            Some(write) => self.server.write(request.address, write),
        };
        self.answers.push((request, outcome));
    }

    fn answer(&mut self, request: &Request, outcome: &Outcome) {
        let now = self.now();
        let late = Duration::from_secs(self.clock - request.sent) > ANSWER_LIMIT;
        if !self.reaches(request.node) || self.nodes[request.node].life != request.life {
            return;
        }
        let address = request.address;
        let waits_for = self.nodes[request.node].busy.get(&address);
        // An answer after its request was given up, or the second one.
        if waits_for.is_none_or(|(number, _)| *number != request.number) {
            return;
        }
        self.nodes[request.node].busy.remove(&address);
        if late {
            return self.nodes[request.node].doubt(address);
        }
        match (&request.write, outcome) {
            (None, Outcome::Done(claim)) => {
                self.see(request.node, address, (**claim).clone(), true);
            }
            (Some(write), Outcome::Done(claim)) => {
                let place = (&self.external, address);
                let node = &mut self.nodes[request.node];
                let changes = node
                    .book
                    .claim_written(place, write, (**claim).as_ref(), now);
                node.commit(&changes);
                self.see(request.node, address, (**claim).clone(), true);
            }
            // It is not as this node saw it: a watch, or this read, tells what it is.
            (Some(_), Outcome::Conflict) => {
                let claim = self.server.get(address).cloned();
                self.see(request.node, address, claim, false);
            }
            (None, Outcome::Conflict) => unreachable!("a read conflicts with nothing"),
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.clock += seconds;
        // What was not answered in time is given up. It may still be done, or even be answered.
        let clock = self.clock;
        for node in &mut self.nodes {
            let late = |sent: u64| clock - sent > ANSWER_LIMIT.as_secs();
            let given_up: Vec<_> = node
                .busy
                .iter()
                .filter(|(_, (_, sent))| late(*sent))
                .map(|(&address, _)| address)
                .collect();
            for address in given_up {
                node.busy.remove(&address);
                node.doubt(address);
            }
        }
        let now = self.now();
        for node in &mut self.nodes {
            if node.on {
                let plan = node.book.expire(now, usize::MAX);
                node.commit(&plan.changes);
            }
        }
    }

    fn ahead(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        let heard_of = node.views.iter().filter_map(|(&address, view)| {
            let claim = view.claim.as_ref()?;
            let others = claim.content.node.as_str() != node.name;
            others.then(|| {
                (
                    (self.external.clone(), address),
                    claim.content.binding.is_some(),
                )
            })
        });
        let others = heard_of.collect();
        let come = |(network, identity): &&(NetworkName, Identity)| {
            node.book.binding(network, identity).is_none()
        };
        let expected = node.wishes.identities.iter().filter(come).count();
        let ahead = node.book.claim_ahead(1, |_| expected, &others);
        node.wishes.addresses = ahead.claim;
        node.wishes.surplus = ahead.surplus;
    }

    /// The scheduler binds a Pod; a `StatefulSet` has one of each name.
    fn bind(&mut self, who: usize, node: usize) {
        if self.bound[who].is_none() && self.reaches(node) {
            self.bound[who] = Some(node);
            let key = (self.external.clone(), identity(who));
            self.nodes[node].wishes.identities.insert(key);
        }
    }

    fn unbind(&mut self, who: usize) {
        if let Some(node) = self.bound[who].take() {
            self.forget_wish(node, who);
        }
    }

    fn forget_wish(&mut self, node: usize, who: usize) {
        let key = (self.external.clone(), identity(who));
        self.nodes[node].wishes.identities.remove(&key);
    }

    /// CNI ADD of a Pod where it is bound.
    fn add(&mut self, who: usize) -> bool {
        let Some(at_node) = self.bound[who] else {
            return true;
        };
        let running = |(it, _): &(usize, Vec<IpAddr>)| *it == who;
        if !self.nodes[at_node].on || self.nodes[at_node].live.values().any(running) {
            return self.nodes[at_node].on;
        }
        if !self.is_resolved(at_node, who) {
            return false;
        }
        self.sandboxes += 1;
        let sandbox = format!("s{}", self.sandboxes);
        let now = self.now();
        let node = &mut self.nodes[at_node];
        let pod = identity(who);
        let Ok(plan) = node.book.allocate(&request(pod.as_str(), &sandbox), now) else {
            return false;
        };
        node.commit(&plan.changes);
        let granted = plan.grant.interfaces[0].addresses.iter();
        let granted: Vec<_> = granted.map(|it| it.address.addr()).collect();
        node.live.insert(sandbox, (who, granted.clone()));
        if let Some(had) = &self.had[who] {
            assert_eq!(&granted, had, "{pod} has other addresses than before");
        }
        self.had[who] = Some(granted);
        true
    }

    /// The binding is here, or a consistent list of the claims has none of this identity.
    fn is_resolved(&mut self, at_node: usize, who: usize) -> bool {
        let identity = identity(who);
        if self.nodes[at_node]
            .book
            .binding(&self.external, &identity)
            .is_some()
        {
            return true;
        }
        if !self.reaches(at_node) {
            return false;
        }
        let of_identity = self.server.claims().filter(|(_, claim)| {
            let binding = claim.content.binding.as_ref();
            binding.is_some_and(|binding| binding.identity == identity)
        });
        let found: Vec<_> = of_identity
            .map(|(address, claim)| (address, claim.clone()))
            .collect();
        if found.is_empty() {
            // Whoever had it did not come to write it down, and the Pod has left that node: a new address, knowingly.
            self.split[who] |= self.had[who].take().is_some();
            return true;
        }
        for (address, claim) in found {
            self.see(at_node, address, Some(claim), false);
        }
        false
    }

    /// kubelet ends a Pod that was deleted.
    fn delete(&mut self, who: usize) {
        if let Some(node) = self.bound[who]
            && self.reaches(node)
        {
            self.end(node, who);
            self.unbind(who);
        }
    }

    fn end(&mut self, node: usize, who: usize) {
        let now = self.now();
        let node = &mut self.nodes[node];
        let running: Vec<_> = node
            .live
            .iter()
            .filter(|(_, (it, _))| *it == who)
            .map(|(sandbox, _)| sandbox.clone())
            .collect();
        for sandbox in running {
            let plan = node.book.release(&attachment(&sandbox), now);
            node.commit(&plan.changes);
            node.live.remove(&sandbox);
        }
    }

    /// kubelet ends what is not bound here any more.
    fn kubelet(&mut self, node: usize) {
        if !self.reaches(node) {
            return;
        }
        for who in 0..IDENTITIES {
            if self.bound[who] != Some(node) {
                self.end(node, who);
            }
        }
    }

    /// The daemon dies and starts again: what is on its disk is what it knows.
    fn crash(&mut self, at_node: usize) {
        let dual = self.dual;
        let node = &mut self.nodes[at_node];
        node.life += 1;
        node.views.clear();
        node.busy.clear();
        node.wishes.addresses.clear();
        node.wishes.surplus.clear();
        let records = node.disk.values().cloned();
        node.book = Book::restore(settings(&node.name, dual), records).unwrap();
    }

    fn power_on(&mut self, at_node: usize) {
        let now = self.now();
        if self.nodes[at_node].on {
            return;
        }
        let node = &mut self.nodes[at_node];
        node.on = true;
        let plan = node.book.reboot(now);
        node.commit(&plan.changes);
    }

    /// Somebody made sure that a node is off, and says so; its Pods go elsewhere.
    fn fence(&mut self, at_node: usize) {
        if self.nodes[at_node].on {
            return;
        }
        let name = self.nodes[at_node].name.clone();
        self.server.fence(&name, true);
        for who in 0..IDENTITIES {
            if self.bound[who] == Some(at_node) {
                self.unbind(who);
            }
        }
    }

    /// Everything is well again. It comes to rest, every Pod starts, and what the claims say is what the books say.
    pub(super) fn heal(&mut self) {
        self.requests.clear();
        self.answers.clear();
        for node in 0..self.nodes.len() {
            self.nodes[node].cut = false;
            self.power_on(node);
            let name = self.nodes[node].name.clone();
            self.server.fence(&name, false);
        }
        self.wait(60);
        for _ in 0..ROUNDS {
            self.round();
            self.check();
        }
        for who in 0..IDENTITIES {
            assert!(
                self.add(who),
                "{} does not start: {}",
                identity(who),
                self.told(who)
            );
        }
        for _ in 0..20 {
            self.round();
        }
        self.check_rest();
    }

    fn round(&mut self) {
        for node in 0..self.nodes.len() {
            self.kubelet(node);
            self.ahead(node);
            for address in self.addresses.clone() {
                self.see(node, address, self.server.get(address).cloned(), false);
                for _ in 0..4 {
                    self.step(node, address);
                    while let Some(request) = self.requests.pop() {
                        self.deliver(request);
                    }
                    while let Some((request, outcome)) = self.answers.pop() {
                        self.answer(&request, &outcome);
                    }
                }
            }
        }
        for who in 0..IDENTITIES {
            self.add(who);
        }
        self.wait(5);
    }

    fn told(&self, who: usize) -> String {
        let claims: Vec<_> = self.server.claims().collect();
        let at_node = self.bound[who].map(|node| &self.nodes[node]);
        let holdings: Vec<_> = at_node
            .into_iter()
            .flat_map(|node| node.book.records())
            .collect();
        format!(
            "had {:?}\nclaims {claims:#?}\nits node's book {holdings:#?}",
            self.had[who]
        )
    }

    fn check_rest(&self) {
        for (address, claim) in self.server.claims() {
            let node = self
                .nodes
                .iter()
                .find(|node| node.name == claim.content.node.as_str())
                .unwrap();
            assert!(
                node.owns(&self.external, address),
                "{address}: {} does not know of its claim {claim:?}",
                node.name
            );
            let holder = node
                .book
                .network(&self.external)
                .unwrap()
                .tables
                .holder(address);
            let identity = holder.map(|(identity, _)| &**identity);
            let written = claim
                .content
                .binding
                .as_ref()
                .map(|binding| &binding.identity);
            assert_eq!(
                identity, written,
                "{address}: book and claim of {}",
                node.name
            );
            assert_eq!(
                claim.content.asked_by, None,
                "{address}: somebody asks in vain"
            );
        }
        for who in 0..IDENTITIES {
            let holders: Vec<_> = self
                .nodes
                .iter()
                .filter(|node| node.book.binding(&self.external, &identity(who)).is_some())
                .map(|node| &node.name)
                .collect();
            assert!(
                holders.len() < 2 || self.split[who],
                "{} is bound on {holders:?}",
                identity(who)
            );
        }
    }
}

impl Node {
    fn commit(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(record) => {
                    self.disk.insert(record.key().to_bytes(), record.clone());
                }
                Change::Remove(key) => {
                    let key: &RecordKey = key;
                    self.disk.remove(&key.to_bytes());
                }
                Change::Audit(_) => {}
            }
        }
        self.book.apply(changes);
    }

    fn doubt(&mut self, address: IpAddr) {
        if let Some(view) = self.views.get_mut(&address) {
            view.consistent = false;
        }
    }

    fn owns(&self, external: &NetworkName, address: IpAddr) -> bool {
        let network = self.book.network(external);
        network.is_some_and(|network| network.tables.may_hand_out(address))
    }
}

fn take<T>(all: &mut Vec<T>, pick: Index) -> Option<T> {
    (!all.is_empty()).then(|| all.remove(pick.index(all.len())))
}
