//! A small cluster second by second: an API server with versions, kubelet and agent of three nodes, the endpoint controller and two
//! protection controllers. Everybody acts on what the one before him did a second ago.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proto_crd::container_restart::Phase as RestartPhase;
use proto_crd::in_place_set::{InPlaceSetSpec, InPlaceSetStatus};
use proto_crd::names;
use proto_crd::pod_containers::{ContainerFacts, specification_hash};
use proto_crd::time::Timestamp;
use serde_json::{Value, json};

use crate::plan::{NodePulls, Pull, Restart, SetView, Surroundings};
use crate::pod::{Condition, Container, Endpoint, Gate, Owner, Phase, PodView, Underway};

pub(super) const SLB: &str = "protection.berth.dev/slb";
pub(super) const NODES: [&str; 3] = ["n0", "n1", "n2"];
/// How many changes a view may be behind.
const OLDEST: usize = 8;
/// No node ever gets it.
pub(super) const BAD: u8 = 9;

/// A Pod, and what nobody but kubelet sees.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    pub(super) view: PodView,
    /// What the template made of it: container b reads it when it starts.
    pub(super) setting: String,
    /// What of it can never be changed.
    pub(super) mode: String,
    /// Where it is to be if there is room.
    near: Option<String>,
    /// By container: the image and the setting that what runs was started with.
    pub(super) running: BTreeMap<String, (String, String)>,
    pub(super) stop_until: Option<Timestamp>,
    /// It was in service when the set took it out, and has not been since.
    pub(super) taken: bool,
    /// Since when nobody sends it traffic; nothing: somebody does.
    pub(super) quiet_since: Option<Timestamp>,
    /// By container and release: how often it was stopped on purpose.
    pub(super) stops: BTreeMap<(String, String), u32>,
    /// Ends that nobody wanted.
    pub(super) crashes: u32,
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) count: u64,
    pub(super) set: SetView,
    pub(super) pods: BTreeMap<String, Truth>,
    pub(super) around: Surroundings,
    /// What the API server said, newest last.
    pub(super) said: VecDeque<(SetView, Vec<PodView>, Surroundings)>,
    /// How often it said something.
    pub(super) told: usize,
    /// Whether the load balancer's controller lives.
    pub(super) slb_lives: bool,
    /// Whether a Service selects the Pods.
    pub(super) has_service: bool,
    pub(super) nodes_down: BTreeSet<String>,
    /// By Pod: since when an image is pulled.
    pulls_since: BTreeMap<(String, String), Timestamp>,
    restarts_since: BTreeMap<String, (String, Vec<String>, Timestamp)>,
    pub(super) deeds: BTreeMap<&'static str, usize>,
    /// The largest number that ever might be unavailable: an old view may have it.
    pub(super) lately_most: usize,
}

pub(super) fn image(number: u8) -> String {
    format!("app:{number}")
}

/// Images and the setting change in place; the mode does not.
pub(super) fn template(a: u8, b: u8, setting: u8, mode: u8) -> Value {
    json!({
        "metadata": {"labels": {"app": "shop"}, "annotations": {"setting": setting.to_string()}},
        "spec": {"containers": [
            {"name": "a", "image": image(a), "env": [{"name": "MODE", "value": mode.to_string()}]},
            {"name": "b", "image": image(b), "env": [{"name": "S", "valueFrom":
                {"fieldRef": {"fieldPath": "metadata.annotations['setting']"}}}]},
        ]},
    })
}

pub(super) fn setting_of(template: &Value) -> String {
    let text = template["metadata"]["annotations"]["setting"].as_str();
    text.unwrap_or_default().to_owned()
}

fn mode_of(template: &Value) -> String {
    let text = template["spec"]["containers"][0]["env"][0]["value"].as_str();
    text.unwrap_or_default().to_owned()
}

impl World {
    pub(super) fn new(replicas: u32, lossless: bool, most: u32) -> Self {
        let mut spec = json!({
            "replicas": replicas, "maxUnavailable": most, "minReadySeconds": 2,
            "progressDeadlineSeconds": 60, "prePullTimeoutSeconds": 30,
            "selector": {"matchLabels": {"app": "shop"}}, "template": template(1, 1, 1, 1),
        });
        if lossless {
            spec["lossless"] = json!({"quietSeconds": 3, "drainTimeoutSeconds": 20, "attachTimeoutSeconds": 20,
                "protections": [names::ENDPOINTS_PROTECTION, SLB]});
        }
        let spec: InPlaceSetSpec = serde_json::from_value(spec).unwrap();
        let around = Surroundings {
            nodes_well: NODES.iter().map(|node| (*node).to_owned()).collect(),
            ..Surroundings::default()
        };
        Self {
            // Not on a whole second: what is stored loses the fraction.
            now: Timestamp::from_unix_milliseconds(1_000_000_300),
            count: 1,
            set: SetView {
                name: "shop".to_owned(),
                uid: "set".to_owned(),
                version: "1".to_owned(),
                generation: 1,
                deleting: false,
                orphaning: false,
                spec,
                status: InPlaceSetStatus::default(),
                revisions: Vec::new(),
                orphans: Vec::new(),
            },
            pods: BTreeMap::new(),
            around,
            said: VecDeque::new(),
            told: 0,
            slb_lives: true,
            has_service: true,
            nodes_down: BTreeSet::new(),
            pulls_since: BTreeMap::new(),
            restarts_since: BTreeMap::new(),
            deeds: BTreeMap::new(),
            lately_most: most as usize,
        }
    }

    pub(super) fn next(&mut self) -> String {
        self.count += 1;
        self.count.to_string()
    }

    pub(super) fn edit(&mut self, change: impl FnOnce(&mut InPlaceSetSpec)) {
        let before = self.set.spec.clone();
        change(&mut self.set.spec);
        if self.set.spec != before {
            self.set.generation += 1;
            self.set.version = self.next();
        }
    }

    pub(super) fn tell(&mut self) {
        let pods: Vec<PodView> = self.pods.values().map(|pod| pod.view.clone()).collect();
        let now = (self.set.clone(), pods, self.around.clone());
        if self.said.back() != Some(&now) {
            self.said.push_back(now);
            self.told += 1;
        }
        if self.said.len() > OLDEST {
            self.said.pop_front();
        }
    }

    /// One second.
    pub(super) fn pass(&mut self) {
        self.now = self.now.after(Duration::from_secs(1));
        let names: Vec<String> = self.pods.keys().cloned().collect();
        for name in &names {
            let mut pod = self.pods[name].clone();
            let before = pod.view.clone();
            self.protections(&mut pod);
            self.endpoint(&pod);
            let node = pod.view.node.clone();
            if pod.view.node.is_none() {
                pod.view.node = self.schedule(pod.near.as_deref());
            } else if node.is_some_and(|node| !self.nodes_down.contains(&node)) {
                self.kubelet(&mut pod);
                agent(&mut pod.view);
            }
            if pod.view != before {
                pod.view.version = self.next();
            }
            let is_quiet = self.is_quiet(&pod.view);
            pod.quiet_since = is_quiet.then(|| pod.quiet_since.unwrap_or(self.now));
            pod.taken &= pod.view.operation().is_some() || !self.is_available(&pod.view);
            let ended = pod.stop_until.is_some_and(|until| self.now >= until);
            if pod.view.deleting && ended && pod.view.finalizers.is_empty() {
                self.around.endpoints.remove(&pod.view.uid);
                self.pods.remove(name);
            } else {
                self.pods.insert(name.clone(), pod);
            }
        }
        self.pulls();
        self.restarts();
        self.tell();
    }

    /// Whether nobody sends it traffic.
    fn is_quiet(&self, view: &PodView) -> bool {
        let endpoint = self.around.endpoints.get(&view.uid);
        let of_nobody = |name: &String| name == names::ENDPOINTS_PROTECTION && !self.has_service;
        let mut finalizers = view.finalizers.iter().filter(|name| !of_nobody(name));
        !view.ready.is_true && endpoint != Some(&Endpoint::Ready) && finalizers.next().is_none()
    }

    /// Where it is preferred if it can be there, else anywhere.
    fn schedule(&self, near: Option<&str>) -> Option<String> {
        let up = |node: &&&str| !self.nodes_down.contains(**node);
        let up: Vec<&str> = NODES.iter().filter(up).copied().collect();
        let wished = up.iter().find(|node| Some(**node) == near);
        let place = usize::try_from(self.count).unwrap_or_default() % up.len().max(1);
        wished
            .or_else(|| up.get(place))
            .map(|node| (*node).to_owned())
    }

    fn protections(&self, pod: &mut Truth) {
        let view = &mut pod.view;
        let endpoint = self.around.endpoints.get(&view.uid);
        let sends = endpoint == Some(&Endpoint::Ready);
        let asked = view.protections.clone().unwrap_or_default();
        for (name, lives) in [(names::ENDPOINTS_PROTECTION, true), (SLB, self.slb_lives)] {
            let has = view.finalizers.iter().any(|one| one == name);
            let wants = asked.iter().any(|one| one == name);
            if lives && has && !sends {
                view.finalizers.retain(|one| one != name);
            } else if lives && !has && sends && wants && !view.deleting {
                view.finalizers.push(name.to_owned());
            }
        }
    }

    fn endpoint(&mut self, pod: &Truth) {
        let view = &pod.view;
        let says = match view.ready.is_true && !view.deleting {
            _ if !self.has_service || view.ips.is_empty() => Endpoint::None,
            true => Endpoint::Ready,
            false => Endpoint::NotReady,
        };
        // A load balancer works without a Service in this world: its finalizer follows the endpoint all the same.
        self.around.endpoints.insert(view.uid.clone(), says);
    }

    fn kubelet(&mut self, pod: &mut Truth) {
        let (now, view) = (self.now, &mut pod.view);
        if view.deleting {
            pod.stop_until
                .get_or_insert_with(|| now.after(Duration::from_secs(2)));
            set_condition(&mut view.ready, false, now);
            return;
        }
        if view.phase == Phase::Ended {
            return;
        }
        view.observed_generation = Some(view.generation);
        if view.ips.is_empty() {
            view.ips = vec![format!("10.0.0.{}", view.ordinal.unwrap_or_default())];
        }
        for container in &mut view.containers {
            let runs = pod.running.get(&container.name);
            let is_it = runs.is_some_and(|(image, _)| *image == container.image);
            if container.started_at.is_some() && !is_it {
                let release = operation_id(&view.operation);
                let stops = pod.stops.entry((container.name.clone(), release));
                *stops.or_default() += 1;
                container.started_at = None;
            } else if container.started_at.is_none() {
                if container.image == image(BAD) {
                    let why = ("ImagePullBackOff".to_owned(), "no such image".to_owned());
                    container.waiting = Some(why);
                } else {
                    self.count += 1;
                    if container.id.is_some() {
                        container.restart_count += 1;
                    }
                    container.id = Some(format!("c{}", self.count));
                    container.started_at = Some(now);
                    container.waiting = None;
                    let what = (container.image.clone(), pod.setting.clone());
                    pod.running.insert(container.name.clone(), what);
                }
            }
            let up = container.started_at;
            container.ready = up.is_some_and(|up| now.since(up) >= Duration::from_secs(2));
        }
        let ready = view.containers.iter().all(|container| container.ready);
        if ready {
            view.phase = Phase::Running;
        }
        set_condition(&mut view.containers_ready, ready, now);
        let open = view.gate.is_true();
        set_condition(&mut view.ready, ready && open, now);
    }

    fn pulls(&mut self) {
        let now = self.now;
        for (node, pulls) in &mut self.around.pulls {
            if self.nodes_down.contains(node) {
                continue;
            }
            for (name, pull) in &mut pulls.images {
                let key = (node.clone(), name.clone());
                let since = *self.pulls_since.entry(key).or_insert(now);
                if matches!(pull, Pull::Pending(_)) && now.since(since) >= Duration::from_secs(2) {
                    *pull = if *name == image(BAD) {
                        Pull::Failed("no such image".to_owned())
                    } else {
                        Pull::Present
                    };
                }
            }
        }
    }

    pub(super) fn ask_pull(&mut self, node: &str, images: &[String], requested_by: &str) {
        let pending = |image: &String| (image.clone(), Pull::Pending("0 %".to_owned()));
        for image in images {
            self.pulls_since.remove(&(node.to_owned(), image.clone()));
        }
        let pulls = NodePulls {
            requested_by: requested_by.to_owned(),
            since: Some(self.now),
            images: images.iter().map(pending).collect(),
        };
        self.around.pulls.insert(node.to_owned(), pulls);
    }

    pub(super) fn ask_restart(&mut self, name: &str, uid: &str, containers: &[String]) {
        if self.around.restarts.contains_key(name) {
            return;
        }
        let restart = Restart {
            phase: RestartPhase::Pending,
            message: "its turn".to_owned(),
            backoff_until: None,
        };
        self.around.restarts.insert(name.to_owned(), restart);
        let request = (uid.to_owned(), containers.to_vec(), self.now);
        self.restarts_since.insert(name.to_owned(), request);
    }

    pub(super) fn end_restart(&mut self, name: &str) {
        self.around.restarts.remove(name);
        self.restarts_since.remove(name);
    }

    fn restarts(&mut self) {
        for (name, (uid, containers, since)) in &self.restarts_since {
            let Some(restart) = self.around.restarts.get_mut(name) else {
                continue;
            };
            if restart.phase.is_final() || self.now.since(*since) < Duration::from_secs(2) {
                continue;
            }
            let pod = self.pods.values_mut().find(|pod| pod.view.uid == *uid);
            let Some(pod) = pod.filter(|pod| !pod.view.deleting) else {
                restart.phase = RestartPhase::Failed;
                "the Pod is gone".clone_into(&mut restart.message);
                continue;
            };
            let node = pod.view.node.clone().unwrap_or_default();
            if self.nodes_down.contains(&node) {
                continue;
            }
            for container in &mut pod.view.containers {
                if containers.contains(&container.name) && container.started_at.is_some() {
                    container.started_at = None;
                    container.ready = false;
                    let release = operation_id(&pod.view.operation);
                    let stops = pod.stops.entry((container.name.clone(), release));
                    *stops.or_default() += 1;
                }
            }
            self.count += 1;
            pod.view.version = self.count.to_string();
            restart.phase = RestartPhase::Succeeded;
        }
    }

    /// The mode that Pods of a revision have; nothing: it is no more.
    pub(super) fn mode(&self, revision: &str) -> Option<String> {
        let known = self.set.revisions.iter().find(|it| it.hash == revision);
        known.map(|known| mode_of(&known.template))
    }

    /// Each Pod in a line.
    pub(super) fn brief(&self) -> String {
        let pods = self.pods.values().map(|pod| {
            let view = &pod.view;
            format!(
                "\n{} {} rev {:?} deleting {} {:?} gate {:?} ready {:?}/{:?} op {:?} finalizers {:?} on {:?} stops {:?} endpoint {:?}",
                view.name, view.uid, view.revision, view.deleting, view.phase, view.gate, view.ready.is_true,
                view.containers_ready, view.operation().map(crate::operation::Operation::text),
                view.finalizers, view.node, pod.stops, self.around.endpoints.get(&view.uid)
            )
        });
        let release = self.set.status.release.as_ref();
        format!("{} {release:?} {}", self.now, pods.collect::<String>())
    }

    pub(super) fn node(&mut self, node: &str, up: bool) {
        if up {
            self.nodes_down.remove(node);
            self.around.nodes_well.insert(node.to_owned());
        } else {
            self.nodes_down.insert(node.to_owned());
            self.around.nodes_well.remove(node);
        }
    }

    pub(super) fn crash(&mut self, place: usize) {
        let version = self.next();
        if let Some(pod) = self.pods.values_mut().nth(place)
            && let Some(container) = pod.view.containers.first_mut()
            && container.started_at.is_some()
        {
            container.started_at = None;
            container.ready = false;
            pod.crashes += 1;
            pod.view.version = version;
        }
    }

    pub(super) fn delete(&mut self, place: usize) {
        let version = self.next();
        if let Some(pod) = self.pods.values_mut().nth(place)
            && pod.view.owner == Owner::Ours
        {
            pod.view.deleting = true;
            pod.view.version = version;
        }
    }

    pub(super) fn evict(&mut self, place: usize) {
        let version = self.next();
        let now = self.now;
        if let Some(pod) = self.pods.values_mut().nth(place)
            && pod.view.owner == Owner::Ours
        {
            pod.view.phase = Phase::Ended;
            set_condition(&mut pod.view.ready, false, now);
            pod.view.version = version;
        }
    }

    pub(super) fn make(
        &mut self,
        (name, ordinal): (&str, u32),
        revision: &str,
        template: &Value,
        (near, replaces): (Option<&str>, Option<&str>),
    ) {
        let uid = format!("u{}", self.next());
        let listed = template["spec"]["containers"].as_array().unwrap();
        let containers = listed.iter().map(|container| Container {
            name: container["name"].as_str().unwrap().to_owned(),
            image: container["image"].as_str().unwrap().to_owned(),
            ..Container::default()
        });
        let view = PodView {
            name: name.to_owned(),
            uid,
            version: self.next(),
            generation: 1,
            observed_generation: None,
            ordinal: Some(ordinal),
            created_at: self.now,
            node: None,
            phase: Phase::Pending,
            deleting: false,
            owner: Owner::Ours,
            selected: true,
            revision: Some(revision.to_owned()),
            release: None,
            operation: Underway::Nothing,
            protections: self
                .set
                .spec
                .lossless
                .as_ref()
                .map(|it| it.protections.clone()),
            force_drain: None,
            gate: Gate {
                declared: true,
                ..Gate::default()
            },
            ready: Condition::default(),
            containers_ready: Condition::default(),
            containers: containers.collect(),
            reported: BTreeMap::new(),
            finalizers: Vec::new(),
            ips: Vec::new(),
            soft_evicted: None,
            replaces: replaces.map(ToOwned::to_owned),
        };
        let pod = Truth {
            view,
            setting: setting_of(template),
            mode: mode_of(template),
            near: near.map(ToOwned::to_owned),
            running: BTreeMap::new(),
            stop_until: None,
            taken: false,
            quiet_since: None,
            stops: BTreeMap::new(),
            crashes: 0,
        };
        self.pods.insert(name.to_owned(), pod);
    }
}

fn operation_id(operation: &Underway) -> String {
    match operation {
        Underway::This(operation) => operation.release_id.clone(),
        _ => "nobody's".to_owned(),
    }
}

fn set_condition(condition: &mut Condition, is_true: bool, now: Timestamp) {
    if condition.is_true != is_true || condition.since.is_none() {
        *condition = Condition {
            is_true,
            // In whole seconds, as kubelet writes it.
            since: now.to_string().parse().ok(),
        };
    }
}

/// The first True of the gate, and the report.
fn agent(view: &mut PodView) {
    if view.deleting || view.phase == Phase::Ended {
        return;
    }
    if view.gate.status.is_none() {
        view.gate.status = Some("True".to_owned());
        view.gate.since = view.containers_ready.since;
    }
    for container in &view.containers {
        let desired = specification_hash(&container.name, &container.image);
        let runs = container.started_at.is_some();
        let facts = ContainerFacts {
            reported: runs.then(|| desired.clone()),
            desired,
            id: container.id.clone().filter(|_| runs),
            sandbox: Some("box".to_owned()),
        };
        view.reported.insert(container.name.clone(), facts);
    }
}
