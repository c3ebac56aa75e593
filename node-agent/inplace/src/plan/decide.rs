//! Everything that is to be done for a set now, put together.

use std::collections::BTreeSet;

use proto_crd::in_place_set::{InPlaceSetStatus, ReleasePhase};
use proto_crd::time::Timestamp;

use super::goals::{Target, Way, Ways, chosen, is_updated, rank};
use super::grant::{Budget, Member, of_kept, of_surplus};
use super::roster::{Roster, roster};
use super::status::{Obstacle, Outcome, tell};
use super::{Deed, Plan, Revision, SetView, Surroundings, pulls, status};
use crate::operation::{Kind, Reason};
use crate::pod::{Endpoint, Goal, Look, Phase, PodView, Step, step};
use crate::revision::{self, Recorded};

/// What the set is called as a holder of its Pods' gates.
pub(super) fn holder(set: &str) -> String {
    format!("InPlaceSet/{set}")
}

/// Everything that is to be done now.
pub fn plan(set: &SetView, pods: &[PodView], surroundings: &Surroundings, now: Timestamp) -> Plan {
    let later = |pod: &PodView| {
        pod.operation()
            .is_some_and(|operation| operation.term > surroundings.term)
    };
    if pods.iter().any(later) {
        // Another leads already.
        return idle(set, Vec::new());
    }
    if set.deleting {
        return idle(set, left_alone(set, pods));
    }
    if !set.orphans.is_empty() {
        return idle(set, adopted(&set.orphans));
    }
    let recorded = revision::record(&set.spec.template, &set.revisions, collisions(set));
    if let Some(status) = collided(set, &recorded) {
        // Told before it is made: whoever looks next finds the same name.
        let mut plan = idle(set, vec![Deed::WriteStatus]);
        plan.status = status;
        return plan;
    }
    if let Some(deed) = recording(set, &recorded) {
        // What comes after it is decided when it is seen.
        return idle(set, vec![deed]);
    }
    let update = revision::update(set.spec.revision.as_deref(), &recorded, &set.revisions);
    let deciding = Deciding {
        set,
        surroundings,
        holder: holder(&set.name),
        now,
    };
    let (target, unknown) = match update {
        Ok(hash) => (hash.to_owned(), None),
        // Nothing begins: what there is stays as it is.
        Err(error) => {
            let told = &set.status.update_revision;
            let known = set.revisions.iter().any(|known| known.hash == *told);
            let stays = if known { told } else { recorded.hash() };
            (stays.to_owned(), Some(error.to_string()))
        }
    };
    deciding.decide(pods, &target, unknown)
}

fn idle(set: &SetView, deeds: Vec<Deed>) -> Plan {
    Plan {
        deeds,
        detached: BTreeSet::new(),
        status: set.status.clone(),
        look_again: None,
    }
}

const fn collisions(set: &SetView) -> u32 {
    set.status.collision_count
}

/// What is told where the template's hash is another template's.
fn collided(set: &SetView, recorded: &Recorded<'_>) -> Option<InPlaceSetStatus> {
    let Recorded::New {
        collision_count, ..
    } = recorded
    else {
        return None;
    };
    (*collision_count > collisions(set)).then(|| InPlaceSetStatus {
        collision_count: *collision_count,
        ..set.status.clone()
    })
}

/// By them it is known how Pods that the former set left behind become those of a new template.
fn adopted(orphans: &[Revision]) -> Vec<Deed> {
    let adopted = orphans.iter().map(|orphan| Deed::AdoptRevision {
        name: orphan.name.clone(),
        uid: orphan.uid.clone(),
        version: orphan.version.clone(),
    });
    adopted.collect()
}

/// Pods of a set that goes: those that outlive it must not stay unready for it.
fn left_alone(set: &SetView, pods: &[PodView]) -> Vec<Deed> {
    let holder = holder(&set.name);
    let ours = pods
        .iter()
        .filter(|pod| set.orphaning && pod.owner == crate::pod::Owner::Ours && !pod.deleting);
    ours.filter(|pod| pod.operation().is_some() || pod.gate.is_held_by(&holder))
        .map(|pod| Deed::ReleaseGate {
            pod: pod.basis(),
            operation: None,
        })
        .collect()
}

fn recording(set: &SetView, recorded: &Recorded<'_>) -> Option<Deed> {
    match recorded {
        Recorded::Latest(_) => None,
        Recorded::Renumber(revision, number) => Some(Deed::NumberRevision {
            name: revision.name.clone(),
            uid: revision.uid.clone(),
            version: revision.version.clone(),
            number: *number,
        }),
        Recorded::New {
            hash,
            number,
            template,
            ..
        } => Some(Deed::CreateRevision {
            name: revision::name_of(&set.name, hash),
            hash: hash.clone(),
            number: *number,
            template: template.clone(),
        }),
    }
}

/// What one decision is made of.
struct Deciding<'a> {
    set: &'a SetView,
    surroundings: &'a Surroundings,
    holder: String,
    now: Timestamp,
}

impl<'a> Deciding<'a> {
    fn decide(&self, pods: &'a [PodView], revision: &str, unknown: Option<String>) -> Plan {
        let (set, spec) = (self.set, &self.set.spec);
        let roster = roster(set, pods);
        let target = status::target(set, revision);
        let current = revision::current(&set.status.current_revision, revision, &set.revisions);
        let ways = Ways::new(
            set,
            revision,
            &roster.kept,
            &self.surroundings.sidecars_stay,
        );
        let (made_updated, lacking) = self.lacking(&roster, revision, current);
        let chosen = chosen(&roster.kept, revision, lacking);
        let release = self.under_way(&target, current);
        let mut kept = self.members(&roster.kept, release, |pod| {
            if chosen.contains(pod.uid.as_str()) {
                ways.of(pod, spec.lossless.is_some()).goal(&target)
            } else {
                Goal::Stay
            }
        });
        kept.sort_by_cached_key(|member| rank(member.pod, revision));
        let obstacle = self.obstacle(&roster, &ways, &chosen);
        let refused = obstacle.iter().filter(|obstacle| obstacle.is_refused);
        let refused = refused.map(|obstacle| obstacle.why.clone()).next();
        let mut surplus = self.surplus(&roster);
        let mut outcome = Outcome {
            target: &target,
            current,
            unknown: unknown.or(refused),
            obstacle,
            chosen: chosen.len(),
            made_updated,
            roster: &roster,
            unavailable: self.unavailable(&kept),
            failed: failed(&kept),
        };
        let may_begin = !spec.paused
            && outcome.unknown.is_none()
            && outcome.failed.is_none()
            && !kept.iter().any(|member| member.step.troubled);
        let look_again = self.look_again(&kept, &surplus);
        let (mut deeds, asking) = self.of_pods(&roster, &mut kept, &mut surplus, may_begin);
        deeds.extend(self.created(&roster, made_updated, &target, current));
        deeds.extend(self.belonging(&roster));
        deeds.extend(self.asked(&asking, &kept, &ways, &target, outcome.chosen == 0));
        deeds.extend(self.pruned(pods, revision, current));
        outcome.failed = failed(&kept);
        let status = status::status(set, &outcome, &kept, &surplus, self.surroundings, self.now);
        deeds.extend(tell(set, &status));
        if status != set.status {
            deeds.push(Deed::WriteStatus);
        }
        let detached = kept.iter().chain(&surplus);
        let detached = detached.filter(|member| member.step.detached);
        Plan {
            deeds,
            detached: detached.map(|member| member.pod.uid.clone()).collect(),
            status,
            look_again,
        }
    }

    /// Those that are too many.
    fn surplus(&self, roster: &Roster<'a>) -> Vec<Member<'a>> {
        let removal = format!("remove-{}", self.set.generation);
        let kind = Kind::Remove;
        self.members(&roster.surplus, None, |_| Goal::Leave {
            kind,
            release: &removal,
        })
    }

    /// The release, until it is done: Pods that went through it have all their traffic back then.
    fn under_way<'t>(&self, target: &'t Target, current: &str) -> Option<&'t str> {
        let told = self.set.status.release.as_ref();
        let goes_on = told
            .is_some_and(|told| told.id == target.release && told.phase != ReleasePhase::Succeeded);
        (goes_on || current != target.revision).then_some(target.release.as_str())
    }

    /// How many Pods are made anew with the update revision, and how many of those that there are get it besides.
    fn lacking(&self, roster: &Roster<'_>, revision: &str, current: &str) -> (usize, usize) {
        let (set, spec) = (self.set, &self.set.spec);
        let is_held = set.status.release.as_ref().is_some_and(|release| {
            release.to_revision == revision && release.phase == ReleasePhase::Held
        });
        let updated = roster.kept.iter().filter(|pod| is_updated(pod, revision));
        let lacking = to_usize(spec.updated_replicas()).saturating_sub(updated.count());
        // What is made anew gets the update revision, which costs nothing, unless that is in doubt.
        let made_updated = if (spec.paused || is_held) && current != revision {
            0
        } else {
            lacking.min(roster.missing.len())
        };
        (made_updated, lacking - made_updated)
    }

    /// Why a Pod does not get to the update revision in place. One that has no way there comes before those that are made anew.
    fn obstacle(
        &self,
        roster: &Roster<'_>,
        ways: &Ways,
        chosen: &BTreeSet<&str>,
    ) -> Option<Obstacle> {
        let lossless = self.set.spec.lossless.is_some();
        let pods = roster
            .kept
            .iter()
            .filter(|pod| chosen.contains(pod.uid.as_str()));
        let obstacles = pods.filter_map(|pod| {
            let (is_refused, why) = match ways.of(pod, lossless) {
                Way::Refused(why) => (true, why),
                Way::ReCreate(why) => (false, why),
                Way::InPlace { .. } => return None,
            };
            let why = why.clone();
            Some(Obstacle { is_refused, why })
        });
        // Of those that are alike the first: not another one at each look.
        obstacles.min_by_key(|obstacle| !obstacle.is_refused)
    }

    /// What the first Pod lacks that is not available though nothing is done with it.
    fn unavailable(&self, kept: &[Member<'_>]) -> Option<String> {
        let spec = &self.set.spec;
        let mut lacking = kept
            .iter()
            .filter(|member| !member.is_available && member.pod.operation().is_none());
        let pod = lacking.next()?.pod;
        let endpoint = self.surroundings.endpoints.get(&pod.uid).copied();
        let awaited = pod.awaited_to_attach(spec.lossless.as_ref(), endpoint.unwrap_or_default());
        let why = pod.containers.iter().find_map(|one| one.waiting.as_ref());
        let why = why.map(|(reason, _)| format!(" ({reason})"));
        let awaited = if awaited.is_empty() {
            "its containers to stay ready for minReadySeconds".to_owned()
        } else {
            awaited.join("; ")
        };
        Some(format!(
            "{}: {awaited}{}",
            pod.name,
            why.unwrap_or_default()
        ))
    }

    fn members<'g>(
        &self,
        pods: &[&'a PodView],
        release: Option<&str>,
        goal: impl Fn(&PodView) -> Goal<'g>,
    ) -> Vec<Member<'a>> {
        let spec = &self.set.spec;
        let members = pods.iter().map(|pod| {
            let endpoint = self.surroundings.endpoints.get(&pod.uid);
            let endpoint = endpoint.copied().unwrap_or(Endpoint::None);
            let node = pod.node.as_deref().unwrap_or_default();
            let look = Look {
                pod,
                endpoint,
                holder: &self.holder,
                lossless: spec.lossless.as_ref(),
                min_ready: spec.min_ready(),
                progress_deadline: spec.progress_deadline(),
                pre_pull_timeout: spec.pre_pull_timeout(),
                node_is_well: self.surroundings.nodes_well.contains(node),
                pulls: self.surroundings.pulls.get(node),
                restarts: &self.surroundings.restarts,
                detached_for: self.surroundings.detached.get(&pod.uid).copied(),
                release,
                paused: spec.paused,
                term: self.surroundings.term,
                now: self.now,
            };
            let lossless = spec.lossless.as_ref();
            Member {
                is_available: pod.is_available(endpoint, lossless, spec.min_ready(), self.now),
                step: standing(&look, &goal(pod)),
                pod,
            }
        });
        members.collect()
    }

    /// The writes on Pods that there are.
    fn of_pods(
        &self,
        roster: &Roster<'_>,
        kept: &mut [Member<'a>],
        surplus: &mut [Member<'_>],
        may_begin: bool,
    ) -> (Vec<Deed>, BTreeSet<&'a str>) {
        let mut budget = self.budget(kept, surplus);
        let mut deeds = ended(roster);
        let granted = of_kept(kept, &mut budget, may_begin);
        deeds.extend(granted.deeds);
        deeds.extend(of_surplus(surplus, &mut budget));
        (deeds, granted.asking)
    }

    /// What nodes are asked for.
    fn asked(
        &self,
        asking: &BTreeSet<&str>,
        kept: &[Member<'a>],
        ways: &Ways,
        target: &Target,
        none_chosen: bool,
    ) -> Vec<Deed> {
        let spec = &self.set.spec;
        let needed = kept.iter().filter(|member| {
            asking.contains(member.pod.uid.as_str())
                || pulls::are_needed(member, target, spec.paused)
        });
        let ways = needed.map(|member| (member.pod, ways.of(member.pod, spec.lossless.is_some())));
        let mut members = kept.iter();
        let is_over = none_chosen && members.all(|member| member.pod.operation().is_none());
        pulls::deeds(target, ways, self.surroundings, is_over)
    }

    fn budget(&self, kept: &[Member<'_>], surplus: &[Member<'_>]) -> Budget {
        let spec = &self.set.spec;
        let available = |members: &[Member<'_>]| {
            let count = members.iter().filter(|member| member.is_available).count();
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        let unavailable = i64::from(spec.replicas) - available(kept);
        Budget {
            unavailable,
            lacking: unavailable - available(surplus),
            most: i64::from(spec.max_unavailable()),
        }
    }

    fn look_again(
        &self,
        kept: &[Member<'_>],
        surplus: &[Member<'_>],
    ) -> Option<std::time::Duration> {
        let min_ready = self.set.spec.min_ready();
        let all = kept.iter().chain(surplus);
        let times = all.flat_map(|member| {
            let ready = member.pod.available_at(min_ready, self.now);
            member.step.look_again.into_iter().chain(ready)
        });
        times.min().map(|time| time.since(self.now))
    }

    fn created(
        &self,
        roster: &Roster<'_>,
        updated: usize,
        target: &Target,
        current: &str,
    ) -> Vec<Deed> {
        let blocked: BTreeSet<u32> = roster
            .deleting
            .iter()
            .chain(&roster.strays)
            .chain(&roster.adoptable)
            .filter_map(|pod| pod.ordinal)
            .collect();
        let missing = roster.missing.iter().enumerate();
        missing
            .filter(|(_, ordinal)| !blocked.contains(ordinal))
            .map(|(place, ordinal)| {
                // As many as lack get the update revision; the highest ordinals, as with those that are there.
                let is_updated = place + updated >= roster.missing.len();
                let revision = if is_updated {
                    &target.revision
                } else {
                    current
                };
                Deed::CreatePod {
                    name: format!("{}-{ordinal}", self.set.name),
                    ordinal: *ordinal,
                    revision: revision.to_owned(),
                    release: (is_updated && current != target.revision)
                        .then(|| target.release.clone()),
                    near: self.surroundings.last_nodes.get(ordinal).cloned(),
                    replaces: roster.replaced_by(place).map(|pod| pod.uid.clone()),
                }
            })
            .collect()
    }

    /// Adopts and lets go.
    fn belonging(&self, roster: &Roster<'_>) -> Vec<Deed> {
        let adopted = roster
            .adoptable
            .iter()
            .map(|pod| Deed::Adopt { pod: pod.basis() });
        let strays = roster.strays.iter().map(|pod| {
            if pod.operation().is_some() || pod.gate.is_held_by(&self.holder) {
                // It must not stay unready for a set that it is no Pod of.
                Deed::ReleaseGate {
                    pod: pod.basis(),
                    operation: None,
                }
            } else {
                Deed::Orphan { pod: pod.basis() }
            }
        });
        adopted.chain(strays).collect()
    }

    fn pruned(&self, pods: &[PodView], target: &str, current: &str) -> Vec<Deed> {
        let mut used = BTreeSet::from([target, current]);
        used.extend(self.set.spec.revision.as_deref());
        for pod in pods {
            used.extend(pod.revision.as_deref());
            used.extend(
                pod.operation()
                    .map(|operation| operation.to_revision.as_str()),
            );
        }
        let limit = self.set.spec.revision_history_limit;
        revision::prune(&self.set.revisions, &used, limit)
            .into_iter()
            .map(|revision| Deed::DeleteRevision {
                name: revision.name.clone(),
                uid: revision.uid.clone(),
                version: revision.version.clone(),
            })
            .collect()
    }
}

fn standing(look: &Look<'_>, goal: &Goal<'_>) -> Step {
    if look.pod.phase == Phase::Ended {
        return Step::idle();
    }
    step(look, goal)
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Pods that have ended (evicted ones) make room for others of their name.
fn ended(roster: &Roster<'_>) -> Vec<Deed> {
    let all = roster.kept.iter().chain(&roster.surplus);
    all.filter(|pod| pod.phase == Phase::Ended)
        .map(|pod| Deed::DeletePod {
            pod: pod.basis(),
            drained: false,
        })
        .collect()
}

/// The first Pod whose upgrade does not go on by itself, and why.
fn failed(kept: &[Member<'_>]) -> Option<(String, Reason, String)> {
    let mut failed = kept.iter().filter_map(|member| {
        let failure = member.step.failure.as_ref()?;
        Some((
            member.pod.name.clone(),
            failure.reason,
            failure.message.clone(),
        ))
    });
    failed.next()
}
