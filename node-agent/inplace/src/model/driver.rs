//! A driver as the README wants it, with every way to fail; and the promises, asserted where a write lands.

use std::collections::{BTreeMap, BTreeSet};

use node_agent_restart::gate::Holders;

use super::world::{Truth, World, setting_of};
use proto_crd::time::Timestamp;

use crate::operation::{Kind, Operation, State};
use crate::plan::{Basis, Deed, Plan, Revision, confirm, plan};
use crate::pod::{Endpoint, PodView, Underway};

const HOLDER: &str = "InPlaceSet/shop";

/// Who leads, and what he knows besides the cache.
#[derive(Default)]
pub(super) struct Leader {
    pub(super) term: u64,
    /// The answers to his writes.
    answered: BTreeMap<String, PodView>,
    /// Where the Pod of an ordinal was seen last.
    nodes: BTreeMap<u32, String>,
    /// Pods to which no traffic is led, since when.
    detached: BTreeMap<String, Timestamp>,
    /// Pods of which he does not know whether his write landed.
    unsure: BTreeSet<String>,
    /// No view is older than this.
    warm_since: usize,
    /// A write that is on its way for long.
    pub(super) late: Option<Deed>,
}

/// How one look at the world goes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sight {
    /// How many changes the cache is behind.
    pub(super) age: usize,
    /// Ends before this deed.
    pub(super) crash: Option<usize>,
    /// Whether the deed before which he ends arrives later.
    pub(super) late: bool,
    /// The answer to this deed is lost.
    pub(super) lost: Option<usize>,
}

impl Leader {
    pub(super) fn take_over(&mut self, world: &World) {
        let late = self.late.take();
        *self = Self {
            term: self.term + 1,
            warm_since: world.told,
            late,
            ..Self::default()
        };
    }

    /// Looks, plans, and carries it out.
    pub(super) fn look(&mut self, world: &mut World, sight: Sight) -> Plan {
        world.tell();
        let age = sight.age.min(world.told.saturating_sub(self.warm_since));
        let newest = world.said.len() - 1;
        let (set, mut pods, mut around) = world.said[newest.saturating_sub(age)].clone();
        for pod in &mut pods {
            let number = |pod: &PodView| pod.version.parse::<u64>().unwrap();
            if let Some(answer) = self.answered.get(&pod.uid)
                && number(answer) > number(pod)
            {
                *pod = answer.clone();
            }
        }
        for name in std::mem::take(&mut self.unsure) {
            pods.retain(|pod| pod.name != name);
            pods.extend(world.pods.get(&name).map(|live| live.view.clone()));
        }
        let seen = pods.iter();
        let seen = seen.filter_map(|pod| Some((pod.ordinal?, pod.node.clone()?)));
        self.nodes.extend(seen);
        around.last_nodes.clone_from(&self.nodes);
        around.term = self.term;
        let since = self.detached.iter();
        let passed = since.map(|(uid, since)| (uid.clone(), world.now.since(*since)));
        around.detached = passed.collect();
        let plan = plan(&set, &pods, &around, world.now);
        let since = |uid: &String| self.detached.get(uid).copied().unwrap_or(world.now);
        let detached = plan.detached.iter();
        self.detached = detached.map(|uid| (uid.clone(), since(uid))).collect();
        let is_fresh = sight.age == 0;
        for (index, deed) in plan.deeds.iter().enumerate() {
            if sight.crash == Some(index) {
                self.late = sight.late.then(|| deed.clone());
                self.take_over(world);
                return plan;
            }
            let live = of(deed).and_then(|basis| world.pods.get(&basis.name));
            let live = live.map(|live| live.view.clone());
            if confirm(deed, live.as_ref(), &world.set, set.generation).is_err() {
                self.unsure.extend(of(deed).map(|basis| basis.name.clone()));
                continue;
            }
            let landed = world.land(deed, &plan, &set.version, is_fresh);
            let Some(basis) = of(deed) else { continue };
            if landed && sight.lost != Some(index) {
                if let Some(live) = world.pods.get(&basis.name) {
                    self.answered.insert(basis.uid.clone(), live.view.clone());
                }
            } else {
                self.unsure.insert(basis.name.clone());
            }
        }
        plan
    }
}

/// Which Pod a deed is for.
fn of(deed: &Deed) -> Option<&Basis> {
    match deed {
        Deed::DeletePod { pod, .. }
        | Deed::Stamp { pod, .. }
        | Deed::HoldGate { pod, .. }
        | Deed::ReleaseGate { pod, .. }
        | Deed::PatchPod { pod, .. }
        | Deed::Finish { pod }
        | Deed::Adopt { pod }
        | Deed::AskRestart { pod, .. }
        | Deed::Orphan { pod } => Some(pod),
        _ => None,
    }
}

impl World {
    /// A write arrives at the API server. Answers whether it took it.
    pub(super) fn land(&mut self, deed: &Deed, plan: &Plan, set: &str, is_fresh: bool) -> bool {
        let landed = match of(deed) {
            Some(basis) => self.land_on(deed, basis, is_fresh),
            None => self.land_elsewhere(deed, plan, set, is_fresh),
        };
        if landed {
            let words = format!("{deed:?}");
            let kind = [
                "CreatePod",
                "DeletePod",
                "PatchPod",
                "HoldGate",
                "ReleaseGate",
                "AskRestart",
            ];
            let kind = kind.into_iter().find(|kind| words.starts_with(kind));
            *self.deeds.entry(kind.unwrap_or("else")).or_default() += 1;
            if let Deed::HoldGate { operation, .. } = deed
                && operation.op == Kind::Recreate
            {
                *self.deeds.entry("Recreate").or_default() += 1;
            }
            if let Deed::CreatePod {
                replaces: Some(_), ..
            } = deed
            {
                *self.deeds.entry("Replacement").or_default() += 1;
            }
            self.tell();
        }
        landed
    }

    /// A write that was sent before another took over: what it was decided for must still be so.
    pub(super) fn arrives_late(&mut self, deed: &Deed) {
        let Some(basis) = of(deed) else { return };
        // Its budget is that of the leader who is gone, who had at least five seconds for it.
        self.lately_most += 1;
        self.land_on(deed, basis, false);
        self.tell();
    }

    #[expect(clippy::too_many_lines, reason = "one arm a kind of write")]
    fn land_elsewhere(&mut self, deed: &Deed, plan: &Plan, set: &str, is_fresh: bool) -> bool {
        match deed {
            Deed::CreatePod {
                name,
                ordinal,
                revision,
                near,
                replaces,
                ..
            } => {
                if self.pods.contains_key(name) {
                    return false;
                }
                let counted = self.pods.values().map(|pod| &pod.view);
                let counted = counted.filter(|view| is_counted(view)).count();
                assert!(
                    !is_fresh || counted < self.set.spec.replicas as usize,
                    "{name} is one too many: {}",
                    self.brief()
                );
                let known = self
                    .set
                    .revisions
                    .iter()
                    .find(|known| known.hash == *revision);
                let template = known
                    .expect("Pods are of revisions that there are")
                    .template
                    .clone();
                let place = (near.as_deref(), replaces.as_deref());
                self.make((name, *ordinal), revision, &template, place);
            }
            Deed::AskPull {
                node,
                images,
                requested_by,
            } => self.ask_pull(node, images, requested_by),
            Deed::EndPull { node, .. } => {
                self.around.pulls.remove(node);
            }
            Deed::CreateRevision {
                name,
                hash,
                number,
                template,
            } => {
                if self.set.revisions.iter().any(|known| known.name == *name) {
                    return false;
                }
                let version = self.next();
                self.set.revisions.push(Revision {
                    name: name.clone(),
                    uid: version.clone(),
                    version,
                    hash: hash.clone(),
                    number: *number,
                    template: template.clone(),
                });
            }
            Deed::NumberRevision { uid, number, .. } => {
                let known = self
                    .set
                    .revisions
                    .iter_mut()
                    .find(|known| known.uid == *uid);
                known
                    .map(|known| known.number = *number)
                    .unwrap_or_default();
            }
            Deed::DeleteRevision { uid, .. } => self.set.revisions.retain(|it| it.uid != *uid),
            Deed::WriteStatus => {
                if self.set.version != *set {
                    return false;
                }
                self.set.status = plan.status.clone();
                self.set.version = self.next();
            }
            _ => {}
        }
        true
    }

    fn land_on(&mut self, deed: &Deed, basis: &Basis, is_fresh: bool) -> bool {
        let version = self.next();
        let Some(pod) = self.pods.get(&basis.name) else {
            return false;
        };
        let mut pod = pod.clone();
        let is_same = pod.view.uid == basis.uid && pod.view.version == basis.version;
        if let Deed::AskRestart {
            name, containers, ..
        } = deed
        {
            self.ask_restart(name, &basis.uid, containers);
            return true;
        }
        if !is_same {
            return false;
        }
        assert!(
            pod.view.soft_evicted.is_none(),
            "a soft-evicted Pod is touched: {deed:?}"
        );
        pod.view.version = version;
        match deed {
            Deed::DeletePod { drained, .. } => self.deleted(&mut pod, *drained, is_fresh),
            Deed::Stamp {
                operation,
                protections,
                ..
            } => stamp(&mut pod, operation, protections.as_ref()),
            Deed::HoldGate {
                operation,
                protections,
                ..
            } => {
                self.held(&mut pod, operation, is_fresh);
                stamp(&mut pod, operation, protections.as_ref());
            }
            Deed::ReleaseGate { operation, .. } => {
                let holders = pod.view.gate.holders().unwrap().leave(HOLDER);
                write_gate(&mut pod, &holders, self.now);
                match operation {
                    Some(operation) => stamp(&mut pod, operation, None),
                    None => pod.view.operation = Underway::Nothing,
                }
            }
            Deed::PatchPod { instead_of, .. } => {
                if let Some(request) = instead_of {
                    self.end_restart(request);
                }
                self.patched(&mut pod, deed);
            }
            Deed::Finish { .. } => {
                pod.view.operation = Underway::Nothing;
                pod.taken = false;
            }
            _ => {}
        }
        self.pods.insert(basis.name.clone(), pod);
        true
    }

    fn deleted(&self, pod: &mut Truth, drained: bool, is_fresh: bool) {
        let is_lossless = self.set.spec.lossless.is_some();
        let serves = pod.view.gate.is_true() && pod.view.ready.is_true;
        assert!(
            !(is_lossless && serves),
            "deleted in service: {:?}",
            pod.view
        );
        assert!(
            !drained || !pod.view.gate.is_true(),
            "deleted with its gate True"
        );
        // Without a drain this is what costs the service.
        let others = self.others(pod);
        let left = others.filter(|it| self.is_available(&it.view)).count();
        let spec = &self.set.spec;
        let least = spec.replicas.saturating_sub(spec.max_unavailable()) as usize;
        assert!(
            left >= least || !is_fresh || !self.is_available(&pod.view),
            "{left} are left, {least} must be"
        );
        pod.view.deleting = true;
    }

    /// The budget.
    fn held(&self, pod: &mut Truth, operation: &Operation, is_fresh: bool) {
        let was_available = self.is_available(&pod.view);
        if pod.view.ready.is_true && !pod.taken {
            pod.taken = true;
            let others = self.others(pod);
            let left = others.clone().filter(|it| self.is_available(&it.view));
            let (left, spec) = (left.count(), &self.set.spec);
            let least = spec.replicas.saturating_sub(spec.max_unavailable()) as usize;
            let is_within = left >= least || !was_available;
            assert!(is_within || !is_fresh, "{left} are left, {least} must be");
            // What others did since he looked is not his doing; what he did is.
            let ours = others.filter(|it| it.taken && !self.is_available(&it.view));
            let (ours, most) = (ours.count(), spec.max_unavailable() as usize);
            assert!(
                is_within || operation.op == Kind::Remove || ours < most.max(self.lately_most),
                "{ours} of ours are out already, {most} may be"
            );
        }
        let holders = pod.view.gate.holders().unwrap();
        let holders = holders.enter(HOLDER, self.now).unwrap();
        write_gate(pod, &holders, self.now);
    }

    /// The others that the set counts.
    fn others<'a>(&'a self, pod: &'a Truth) -> impl Iterator<Item = &'a Truth> + Clone {
        let others = self.pods.values();
        others.filter(|it| it.view.uid != pod.view.uid && it.view.soft_evicted.is_none())
    }

    pub(super) fn is_available(&self, view: &PodView) -> bool {
        let endpoint = self.around.endpoints.get(&view.uid);
        let spec = &self.set.spec;
        view.is_available(
            endpoint.copied().unwrap_or(Endpoint::None),
            spec.lossless.as_ref(),
            spec.min_ready(),
            self.now,
        )
    }

    fn patched(&self, pod: &mut Truth, deed: &Deed) {
        let Deed::PatchPod {
            patch, operation, ..
        } = deed
        else {
            return;
        };
        let view = &mut pod.view;
        let is_lossless = self.set.spec.lossless.is_some();
        let touches = !patch.images.is_empty() || operation.is_some();
        let nowhere = view.node.is_none();
        assert!(
            !(is_lossless && touches && view.gate.is_true() && !nowhere),
            "patched while its gate is True: {view:?}"
        );
        self.quiet_is_over(pod);
        let view = &mut pod.view;
        for (name, image) in &patch.images {
            let container = view.containers.iter_mut().find(|one| one.name == *name);
            image.clone_into(&mut container.unwrap().image);
        }
        view.generation += i64::from(!patch.images.is_empty());
        view.revision = Some(patch.revision.clone());
        let known = self
            .set
            .revisions
            .iter()
            .find(|it| it.hash == patch.revision);
        pod.setting = setting_of(&known.unwrap().template);
        match operation {
            Some(operation) => stamp(pod, operation, None),
            None => pod.view.operation = Underway::Nothing,
        }
    }

    /// Whatever the leader remembers or forgot: nobody sent traffic for the quiet time before what was drained is patched.
    fn quiet_is_over(&self, pod: &Truth) {
        let (Some(lossless), Some(operation)) = (&self.set.spec.lossless, pod.view.operation())
        else {
            return;
        };
        if operation.state != State::Draining || operation.forced {
            return;
        }
        let passed = pod.quiet_since.map(|since| self.now.since(since));
        assert!(
            passed.is_some_and(|passed| passed >= lossless.quiet()),
            "patched {passed:?} after the last traffic: {:?}",
            pod.view
        );
    }

    /// What must hold at every moment.
    pub(super) fn check(&self) {
        for pod in self.pods.values() {
            for ((container, release), stops) in &pod.stops {
                assert!(
                    *stops <= 1,
                    "container {container} of {} was stopped {stops} times in release {release}",
                    pod.view.name
                );
            }
            let revision = pod.view.revision.as_deref().unwrap_or_default();
            let mode = self.mode(revision);
            assert!(
                mode.as_ref().is_none_or(|mode| *mode == pod.mode),
                "{} says that it is of {revision}, with mode {mode:?}, and was made with {}",
                pod.view.name,
                pod.mode
            );
            let state = pod.view.operation().map(|operation| operation.state);
            let out = state.is_some_and(|state| state >= State::Draining);
            assert!(
                out || !pod.view.gate.is_held_by(HOLDER),
                "held unready for nothing: {:?}",
                pod.view
            );
        }
    }
}

/// One of those that the set is to have so many of.
fn is_counted(view: &PodView) -> bool {
    !view.deleting && view.soft_evicted.is_none()
}

fn stamp(pod: &mut Truth, operation: &Operation, protections: Option<&Vec<String>>) {
    // As it is written and read again.
    let text = operation.text();
    pod.view.operation = Underway::This(Box::new(Operation::parse(&text).unwrap()));
    pod.view.release = Some(operation.release_id.clone());
    if let Some(protections) = protections {
        pod.view.protections = Some(protections.clone());
    }
}

fn write_gate(pod: &mut Truth, holders: &Holders, now: Timestamp) {
    if pod.view.gate.status.as_deref() != Some(holders.status()) {
        pod.view.gate.since = now.to_string().parse().ok();
    }
    pod.view.gate.status = Some(holders.status().to_owned());
    pod.view.gate.message = holders.message();
}
