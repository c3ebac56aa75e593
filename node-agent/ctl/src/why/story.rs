//! What is known of a Pod's addresses, in sentences. Pure.

use k8s_openapi::jiff::Timestamp;
use proto_crd::claim::OriginKind;
use proto_crd::names;

use super::waiting;
use super::{Known, Sentence, address};
use crate::age::{short, since};
use crate::claims::{ClaimSeen, State, mark_words};
use crate::cluster::sets::OperationSeen;
use crate::output::Tone;
use crate::seen::PodSeen;

/// All of it.
pub(super) fn tell(known: &Known, now: Timestamp) -> Vec<Sentence> {
    let mut story = Vec::new();
    if let Some(asked) = known.address {
        story.extend(address::tell(asked, known));
    }
    story.extend(pod(known));
    for claim in &known.claims {
        story.extend(of_claim(claim, now));
    }
    if known.pod.is_none() {
        story.extend(owner(known));
    }
    story.extend(waiting::tell(known, now));
    story
}

fn pod(known: &Known) -> Vec<Sentence> {
    let Some(pod) = &known.pod else {
        let Some(identity) = &known.identity else {
            return Vec::new();
        };
        let reserved = known
            .claims
            .iter()
            .filter_map(|it| it.spec.binding.as_ref());
        let reserved = reserved
            .clone()
            .any(|it| it.origin.kind == OriginKind::Reserved);
        let why = if reserved {
            "; an operator has reserved for it"
        } else {
            ""
        };
        return vec![Sentence::plain(format!(
            "There is no Pod of {identity} now{why}."
        ))];
    };
    let mut told = vec![whereabouts(pod, known)];
    told.extend(release(pod));
    if pod.host_network {
        return told;
    }
    told.push(Sentence::plain(
        match pod.annotations.get(names::IDENTITY_ANNOTATION) {
            Some(identity) => format!(
                "Its addresses stick to {identity}, which it names by the annotation {}.",
                names::IDENTITY_ANNOTATION
            ),
            None => "Its addresses stick to its name.".to_owned(),
        },
    ));
    told.push(hold(pod));
    let said = [
        (names::NETWORKS_ANNOTATION, "It joins the networks"),
        (names::ADDRESSES_ANNOTATION, "It must get the addresses"),
    ];
    for (key, words) in said {
        if let Some(value) = pod.annotations.get(key) {
            told.push(Sentence::plain(format!(
                "{words} {value} (annotation {key})."
            )));
        }
    }
    told
}

fn whereabouts(pod: &PodSeen, known: &Known) -> Sentence {
    let owner = pod
        .owner
        .as_ref()
        .map_or_else(String::new, |(kind, name)| format!(" of {kind} {name}"));
    let going = if pod.deleting { ", being deleted" } else { "" };
    let key = pod.key();
    let Some(node) = &pod.node else {
        return Sentence::toned(
            Tone::Doubtful,
            format!(
                "Pod {key}{owner} is not bound to a node yet{going}: addresses are of a rack, so none is chosen before."
            ),
        );
    };
    if pod.host_network {
        return Sentence::plain(format!(
            "Pod {key}{owner} uses the network of its node {node}: it has no address of Berth's."
        ));
    }
    let rack = known.nodes.get(node).and_then(|it| it.rack.as_deref());
    let rack = rack.map_or_else(String::new, |rack| format!(" in rack {rack}"));
    let addresses: Vec<_> = pod.addresses.iter().map(ToString::to_string).collect();
    let has = match addresses[..] {
        [] => "has no address yet".to_owned(),
        _ => format!("has {}", addresses.join(" and ")),
    };
    Sentence::plain(format!(
        "Pod {key}{owner} is on node {node}{rack}, {}{going}, and {has}.",
        pod.phase
    ))
}

/// What a release does with it.
fn release(pod: &PodSeen) -> Option<Sentence> {
    let said = OperationSeen::of(pod.annotations.get(names::LOSSLESS_ANNOTATION)?);
    let since = said
        .since
        .map_or_else(String::new, |time| format!(" since {time}"));
    let set = pod.owner.as_ref().map_or("SET", |(_, name)| name.as_str());
    let more = format!(
        "kubectl berth rollout status {}/{set} --watch=false",
        pod.namespace
    );
    Some(match said.failure {
        Some(failure) => Sentence::toned(
            Tone::Wrong,
            format!(
                "Its upgrade was given up{since} ({}): {}; of the others {more}",
                failure.reason, failure.message
            ),
        ),
        None => Sentence::toned(
            Tone::Doubtful,
            format!(
                "A release is under way with it: {}{since}; what it waits for says {more}",
                said.state
            ),
        ),
    })
}

/// How long its addresses are kept after it, and who says so.
fn hold(pod: &PodSeen) -> Sentence {
    if let Some(hold) = pod.annotations.get(names::HOLD_ANNOTATION) {
        let key = names::HOLD_ANNOTATION;
        return Sentence::plain(match hold.as_str() {
            "forever" => format!("After it they are held for ever (annotation {key})."),
            "none" => format!("After it they are not held, but rest (annotation {key})."),
            hold => format!("After it they are held for {hold} (annotation {key})."),
        });
    }
    Sentence::plain(match &pod.owner {
        Some((kind, name)) if kind == "StatefulSet" || kind == "InPlaceSet" => {
            format!("After it they are held as long as {kind} {name} wants it.")
        }
        _ => "After it the rules of its node decide (ipamd.toml); without one that fits they are not held.".to_owned(),
    })
}

/// One claim, and everything that was said of it.
pub(super) fn of_claim(claim: &ClaimSeen, now: Timestamp) -> Vec<Sentence> {
    let spec = &claim.spec;
    let place = format!(
        "{} of network {} (rack {})",
        spec.address, spec.network, spec.rack
    );
    let holder = &spec.node;
    let Some(binding) = &spec.binding else {
        let mut told = vec![Sentence::plain(format!(
            "{place} is claimed by node {holder} for whichever Pod comes next; it belongs to nobody."
        ))];
        told.extend(marks(claim));
        return told;
    };
    let whose = format!("{place}, MAC {},", binding.mac);
    let identity = &binding.identity;
    let unused = claim.unused_since().map_or_else(String::new, |time| {
        format!(", unused for {}", short(since(time, now)))
    });
    let mut told = vec![match claim.state() {
        State::Attached => Sentence::toned(
            Tone::Fine,
            format!("{whose} is attached to {identity} on node {holder}."),
        ),
        State::Reserved => {
            let note = binding.reservation.as_deref().filter(|it| !it.is_empty());
            let note = note.map_or_else(String::new, |note| format!(" ({note})"));
            Sentence::plain(format!(
                "{whose} is reserved for {identity}{note}, by node {holder}{unused}."
            ))
        }
        _ => {
            let until = binding.until.as_ref().map_or_else(
                || " until somebody lets it go".to_owned(),
                |until| format!(" until {}", until.0),
            );
            Sentence::plain(format!(
                "{whose} is held for {identity} by node {holder}{until}{unused}."
            ))
        }
    }];
    told.extend(marks(claim));
    told
}

/// Who decides how long it is kept; of a Pod that is there its own sentences say so.
fn owner(known: &Known) -> Option<Sentence> {
    let mut bindings = known
        .claims
        .iter()
        .filter_map(|it| it.spec.binding.as_ref());
    let owner = bindings.find_map(|it| it.owner.as_ref())?;
    let ordinal = owner
        .ordinal
        .map_or_else(String::new, |it| format!(" (ordinal {it})"));
    Some(Sentence::plain(format!(
        "It is let go when {} {} does not want it any more{ordinal}.",
        owner.kind, owner.name
    )))
}

fn marks(claim: &ClaimSeen) -> Vec<Sentence> {
    let spec = &claim.spec;
    let mut told = Vec::new();
    if let Some(mark) = &spec.fenced {
        told.push(Sentence::toned(
            Tone::Doubtful,
            format!(
                "Node {} was declared dead {}: another node of the rack may take the address.",
                spec.node,
                mark_words(mark)
            ),
        ));
    }
    if let Some(mark) = &spec.release {
        told.push(Sentence::plain(format!(
            "It is to be let go, {}; node {} does that when no Pod has it.",
            mark_words(mark),
            spec.node
        )));
    }
    if let Some(time) = claim.deleting_since {
        told.push(Sentence::toned(
            Tone::Doubtful,
            format!(
                "Its Claim is being deleted since {time}; it goes when node {} lets it go.",
                spec.node
            ),
        ));
    }
    told
}

#[cfg(test)]
mod tests;
