//! Claims as every command sees them: what state an address is in, and in which words. Pure.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use proto_crd::claim::{Claim, ClaimBinding, ClaimSpec, Mark, OriginKind};

/// Which claims are read. The API server selects; nothing else crosses the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Held by this node.
    pub(crate) node: Option<String>,
    /// Of this rack.
    pub(crate) rack: Option<String>,
    /// With a binding of this identity.
    pub(crate) identity: Option<String>,
}

impl Selection {
    /// Claims that a node holds.
    pub(crate) fn of_node(node: &str) -> Self {
        Self {
            node: Some(node.to_owned()),
            ..Self::default()
        }
    }

    /// Claims with a binding of an identity.
    pub(crate) fn of_identity(identity: &str) -> Self {
        Self {
            identity: Some(identity.to_owned()),
            ..Self::default()
        }
    }

    /// As the API server understands it.
    pub(crate) fn field_selector(&self) -> Option<String> {
        let fields = [
            ("spec.node", &self.node),
            ("spec.rack", &self.rack),
            ("spec.binding.identity", &self.identity),
        ];
        let terms: Vec<_> = fields
            .iter()
            .filter_map(|(field, value)| {
                let value = value.as_deref()?;
                Some(format!("{field}={}", escaped(value)))
            })
            .collect();
        (!terms.is_empty()).then(|| terms.join(","))
    }
}

/// An identity may have any printable character; three mean something in a selector.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        if matches!(letter, '\\' | ',' | '=') {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimSeen {
    /// The object's name.
    pub(crate) name: String,
    /// Its version: what is written is written over this one or not at all.
    pub(crate) version: String,
    /// What it says.
    pub(crate) spec: ClaimSpec,
    /// The address.
    pub(crate) address: IpAddr,
    /// Since when it is being deleted.
    pub(crate) deleting_since: Option<Timestamp>,
    /// When its holder last wrote of the binding: what it says has been so since then at the latest.
    pub(crate) told: Option<Timestamp>,
}

/// How an address stands, marks aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// A Pod has it.
    Attached,
    /// Kept for an identity.
    Held,
    /// Kept for an identity by an operator.
    Reserved,
    /// Of a node, for whichever Pod comes next.
    Warm,
}

impl ClaimSeen {
    /// What of it matters here. The API server takes none without an address.
    pub(crate) fn of(claim: Claim) -> Option<Self> {
        let address = claim.spec.address.parse().ok()?;
        let entries = claim.metadata.managed_fields.iter().flatten();
        let told = entries.filter(|entry| owns_attached(entry));
        let told = told.filter_map(|entry| entry.time.as_ref()).map(|it| it.0);
        Some(Self {
            name: claim.name_any(),
            version: claim.resource_version().unwrap_or_default(),
            address,
            deleting_since: claim.metadata.deletion_timestamp.as_ref().map(|it| it.0),
            told: told.max(),
            spec: claim.spec,
        })
    }

    /// How it stands.
    pub(crate) fn state(&self) -> State {
        match &self.spec.binding {
            None => State::Warm,
            Some(binding) if binding.attached => State::Attached,
            Some(binding) if binding.reservation.is_some() => State::Reserved,
            Some(_) => State::Held,
        }
    }

    /// The binding's identity.
    pub(crate) fn identity(&self) -> Option<&str> {
        self.spec.binding.as_ref().map(|it| it.identity.as_str())
    }

    /// The namespace of the Pod that it belongs to, where it is one's.
    pub(crate) fn namespace(&self) -> Option<&str> {
        let binding = self.spec.binding.as_ref()?;
        let pod = pod_of(binding).unwrap_or(&binding.identity);
        pod.split_once('/').map(|(namespace, _)| namespace)
    }

    /// Since when at the latest nobody uses a binding that is kept.
    pub(crate) fn unused_since(&self) -> Option<Timestamp> {
        let binding = self.spec.binding.as_ref()?;
        if binding.attached {
            return None;
        }
        let limited = binding.until.as_ref().zip(binding.hold.as_deref());
        let exact = limited.and_then(|(until, hold)| {
            let hold = SignedDuration::from_secs(simple_duration(hold)?);
            until.0.checked_sub(hold).ok()
        });
        exact.or(self.told)
    }

    /// The state in words, with the marks: `held until …, asked by n2, fenced`.
    pub(crate) fn words(&self) -> String {
        let until = self.spec.binding.as_ref().and_then(|it| it.until.as_ref());
        let mut words = match (self.state(), until) {
            (State::Attached, _) => "attached".to_owned(),
            (State::Held, Some(until)) => format!("held until {}", until.0),
            (State::Held, None) => "held".to_owned(),
            (State::Reserved, _) => "reserved".to_owned(),
            (State::Warm, _) => "warm".to_owned(),
        };
        if let Some(handover) = &self.spec.handover {
            words.push_str(", asked by ");
            words.push_str(&handover.to);
        }
        for (mark, word) in [
            (&self.spec.release, "released"),
            (&self.spec.fenced, "fenced"),
        ] {
            if mark.is_some() {
                words.push_str(", ");
                words.push_str(word);
            }
        }
        if self.deleting_since.is_some() {
            words += ", deleted";
        }
        words
    }
}

/// The Pod that a binding belongs to, `namespace/name`.
pub(crate) fn pod_of(binding: &ClaimBinding) -> Option<&str> {
    match binding.origin.kind {
        OriginKind::Pod => binding.origin.pod.as_deref().or(Some(&binding.identity)),
        _ => binding.origin.pod.as_deref(),
    }
}

/// A mark in words: who, when, why.
pub(crate) fn mark_words(mark: &Mark) -> String {
    format!("by {} at {}: {}", mark.by, mark.at.0, mark.reason)
}

/// Who changed the binding's `attached` last is known; when, is its entry's time.
fn owns_attached(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref();
    fields.is_some_and(|fields| fields.0.pointer("/f:spec/f:binding/f:attached").is_some())
}

/// Seconds of a duration of one unit, as operators write them; others are not worth a parser here.
fn simple_duration(text: &str) -> Option<i64> {
    let split = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
