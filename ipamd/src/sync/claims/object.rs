//! Between a claim as the API server has it and a claim as the book decides about it.
//!
//! Nothing is lost on the way there and back: what a node did not write itself (marks, foreign labels) stays in the object. An
//! object that makes no sense is no claim, and says why.

use std::net::IpAddr;
use std::time::SystemTime;

use ipamd_core::{
    Claim, ClaimContent, ClaimedBinding, Hold, Origin, Owner, PodPolicy, Pool, Timestamp,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff;
use kube::api::ObjectMeta;
use proto_crd::claim::{
    Claim as Object, ClaimBinding, ClaimOrigin, ClaimSpec, Handover, OriginKind,
    Owner as ObjectOwner, claim_name,
};
use proto_crd::names;
use proto_ids::{NetworkName, NodeName};

use crate::ledger::claims::Place;

/// Annotation of a claim: the UID of its holder's Node, so that a Node made anew under the same name is known for another one.
const NODE_UID: &str = names::NODE_UID_ANNOTATION;

/// Why an object is no claim.
#[derive(Debug, thiserror::Error)]
#[error("claim {name}: {field}: {problem}")]
pub(super) struct ReadClaimError {
    name: String,
    field: &'static str,
    problem: String,
}

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    /// This node.
    pub(super) node: &'a NodeName,
    /// The UID of its Node object.
    pub(super) uid: Option<&'a str>,
}

/// What an object says.
pub(super) fn read(object: &Object) -> Result<(Place, Claim), ReadClaimError> {
    let meta = &object.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let wrong = |field, problem: &dyn ToString| ReadClaimError {
        name: name.clone(),
        field,
        problem: problem.to_string(),
    };
    let spec = &object.spec;
    let network: NetworkName = spec
        .network
        .parse()
        .map_err(|error| wrong("spec.network", &error))?;
    let address: IpAddr = spec
        .address
        .parse()
        .map_err(|error| wrong("spec.address", &error))?;
    let binding = spec.binding.as_ref().map(|binding| bound(binding, &wrong));
    let asked_by = spec.handover.as_ref().map(|handover| handover.to.parse());
    let content = ClaimContent {
        node: spec
            .node
            .parse()
            .map_err(|error| wrong("spec.node", &error))?,
        epoch: u64::try_from(spec.epoch).map_err(|error| wrong("spec.epoch", &error))?,
        binding: binding.transpose()?,
        asked_by: asked_by
            .transpose()
            .map_err(|error| wrong("spec.handover.to", &error))?,
    };
    let claim = Claim {
        uid: meta.uid.clone().unwrap_or_default(),
        version: meta.resource_version.clone().unwrap_or_default(),
        content,
        fenced: spec.fenced.is_some(),
        released: spec.release.is_some(),
        deleting: meta.deletion_timestamp.is_some(),
    };
    Ok(((network, address), claim))
}

fn bound(
    binding: &ClaimBinding,
    wrong: &impl Fn(&'static str, &dyn ToString) -> ReadClaimError,
) -> Result<ClaimedBinding, ReadClaimError> {
    let pod = binding.origin.pod.as_ref().map(|pod| pod.parse());
    let pod = pod
        .transpose()
        .map_err(|error| wrong("spec.binding.origin.pod", &error))?;
    let addresses = binding.addresses.iter().map(|address| address.parse());
    let hold = binding.hold.as_ref().map(|hold| hold.parse::<Hold>());
    let policy = PodPolicy {
        hold: hold
            .transpose()
            .map_err(|error| wrong("spec.binding.hold", &error))?,
        owner: binding.owner.as_ref().map(|owner| Owner {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            ordinal: owner
                .ordinal
                .and_then(|ordinal| u32::try_from(ordinal).ok()),
        }),
    };
    Ok(ClaimedBinding {
        identity: binding
            .identity
            .parse()
            .map_err(|error| wrong("spec.binding.identity", &error))?,
        mac: binding
            .mac
            .parse()
            .map_err(|error| wrong("spec.binding.mac", &error))?,
        addresses: addresses
            .collect::<Result<_, _>>()
            .map_err(|error| wrong("spec.binding.addresses", &error))?,
        origin: match binding.origin.kind {
            OriginKind::Pod => Origin::Pod,
            OriginKind::Named => Origin::Named {
                pod: pod.map(Box::new),
            },
            OriginKind::Sandbox => Origin::Sandbox,
            OriginKind::Adopted => Origin::Adopted,
            OriginKind::Reserved => Origin::Reserved,
        },
        policy: (!policy.is_empty()).then(|| Box::new(policy)),
        reservation: binding.reservation.clone(),
        attached: binding.attached,
        until: binding.until.as_ref().map(timestamp),
    })
}

/// A new claim of this node.
pub(super) fn create(
    pool: &Pool,
    address: IpAddr,
    content: &ClaimContent,
    writer: Writer<'_>,
) -> Object {
    let spec = ClaimSpec {
        pool: pool.name.to_string(),
        network: pool.network.to_string(),
        rack: pool.rack.to_string(),
        address: address.to_string(),
        node: String::new(),
        epoch: 1,
        binding: None,
        handover: None,
        fenced: None,
        release: None,
    };
    let name = claim_name(pool.name.as_str(), address);
    let mut object = Object {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(names::NAMESPACE.to_owned()),
            finalizers: Some(vec![names::CLAIM_FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec,
    };
    fill(&mut object, content, writer);
    object
}

/// A claim as it was seen, with other content. The holder's own write takes the release mark away; another node's question leaves
/// every mark as it is.
pub(super) fn update(
    seen: &Object,
    content: &ClaimContent,
    unfence: bool,
    writer: Writer<'_>,
) -> Object {
    let mut object = seen.clone();
    object.metadata.managed_fields = None;
    let is_holder = seen.spec.node == writer.node.as_str();
    if is_holder || unfence {
        object.spec.release = None;
    }
    if unfence {
        object.spec.fenced = None;
    }
    if object.metadata.deletion_timestamp.is_none() {
        let finalizers = object.metadata.finalizers.get_or_insert_default();
        if !finalizers.iter().any(|it| it == names::CLAIM_FINALIZER) {
            finalizers.push(names::CLAIM_FINALIZER.to_owned());
        }
    }
    fill(&mut object, content, writer);
    object
}

/// A claim as it was seen, which its holder lets go.
pub(super) fn let_go(seen: &Object) -> Object {
    let mut object = seen.clone();
    object.metadata.managed_fields = None;
    if let Some(finalizers) = &mut object.metadata.finalizers {
        finalizers.retain(|it| it != names::CLAIM_FINALIZER);
    }
    object
}

fn fill(object: &mut Object, content: &ClaimContent, writer: Writer<'_>) {
    let spec = &mut object.spec;
    let holder_changes = spec.node != content.node.as_str();
    spec.node = content.node.to_string();
    spec.epoch = i64::try_from(content.epoch).unwrap_or(i64::MAX);
    spec.binding = content.binding.as_ref().map(written);
    spec.handover = content.asked_by.as_ref().map(|node| Handover {
        to: node.to_string(),
    });
    if content.node == *writer.node {
        if let Some(uid) = writer.uid {
            let annotations = object.metadata.annotations.get_or_insert_default();
            annotations.insert(NODE_UID.to_owned(), uid.to_owned());
        }
    } else if holder_changes && let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove(NODE_UID);
    }
}

fn written(binding: &ClaimedBinding) -> ClaimBinding {
    let (kind, pod) = match &binding.origin {
        Origin::Pod => (OriginKind::Pod, None),
        Origin::Named { pod } => (OriginKind::Named, pod.as_ref().map(ToString::to_string)),
        Origin::Sandbox => (OriginKind::Sandbox, None),
        Origin::Adopted => (OriginKind::Adopted, None),
        Origin::Reserved => (OriginKind::Reserved, None),
    };
    let policy = binding.policy.as_deref();
    ClaimBinding {
        identity: binding.identity.to_string(),
        mac: binding.mac.to_string(),
        addresses: binding.addresses.iter().map(IpAddr::to_string).collect(),
        origin: ClaimOrigin { kind, pod },
        reservation: binding.reservation.clone(),
        hold: policy.and_then(|policy| policy.hold.map(String::from)),
        owner: policy
            .and_then(|policy| policy.owner.as_ref())
            .map(|owner| ObjectOwner {
                api_version: owner.api_version.clone(),
                kind: owner.kind.clone(),
                name: owner.name.clone(),
                uid: owner.uid.clone(),
                ordinal: owner.ordinal.map(i64::from),
            }),
        attached: binding.attached,
        until: binding.until.map(time),
    }
}

fn timestamp(time: &Time) -> Timestamp {
    SystemTime::from(time.0).into()
}

fn time(timestamp: Timestamp) -> Time {
    let milliseconds = i64::try_from(timestamp.unix_milliseconds()).unwrap_or(i64::MAX);
    // The latest time of the book is one that jiff can tell too.
    Time(jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX))
}

#[cfg(test)]
mod tests;
