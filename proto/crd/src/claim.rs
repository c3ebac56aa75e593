//! `Claim`: one node's exclusive right to hand out one address of a [pool](crate::pool). One object an address, named
//! after both: creating it is the lock.
//!
//! The holder writes all of it but two marks. Another node writes `handover`, to ask for it, and takes over what is
//! `fenced`. `fenced` and `release` are set and removed by whoever has the rights of those names. Every claim has the
//! finalizer [`crate::names::CLAIM_FINALIZER`]: one that is deleted goes when its holder lets it go. Who may write what
//! is decided by the API server (`install/manifests/policy/claim.yaml`).

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod rules;

/// The longest reason and author of a [`Mark`], in characters. Who writes them cuts what is longer.
pub const MARK_LIMIT: usize = 256;

/// The longest note of a reservation, in characters. Who writes it cuts what is longer.
pub const RESERVATION_LIMIT: usize = 1024;

/// How [`Time`] is written. Another form would be another text after the next write of the object, even by a node that only asks
/// for the claim and may change nothing else of it.
const WHOLE_SECOND: &str = "^[0-9-]{10}T[0-9:]{8}Z$";

/// Who has the address, and for whom.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "berth.dev",
    version = "v1alpha1",
    kind = "Claim",
    plural = "claims",
    shortname = "bclaim",
    category = "berth",
    namespaced,
    derive = "PartialEq",
    doc = "A node's exclusive right to hand out one address of a pool, and the binding that the address belongs to. Written by the address daemons.",
    label("app.kubernetes.io/part-of", "berth"),
    validation = ("self.metadata.name == self.spec.pool + '.' + (self.spec.address.contains(':') ? 'v6-' + self.spec.address.replace(':', '-') + '-0' : self.spec.address)", "the name of a claim is its pool's and its address's: POOL.ADDRESS, or POOL.v6-ADDRESS-0 with '-' for every ':'"),
    selectable = ".spec.node",
    selectable = ".spec.pool",
    selectable = ".spec.rack",
    selectable = ".spec.binding.identity",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.address"),
    printcolumn(
        name = "Identity",
        type_ = "string",
        json_path = ".spec.binding.identity",
        description = "Whose it is; empty: the node may give it to any Pod"
    ),
    printcolumn(
        name = "Attached",
        type_ = "boolean",
        json_path = ".spec.binding.attached",
        description = "Whether a Pod has it on an interface"
    ),
    printcolumn(
        name = "Node",
        type_ = "string",
        json_path = ".spec.node",
        description = "Who may hand it out"
    ),
    printcolumn(
        name = "Asked-By",
        type_ = "string",
        json_path = ".spec.handover.to",
        description = "The node that wants it"
    ),
    printcolumn(
        name = "Fenced",
        type_ = "string",
        json_path = ".spec.fenced.reason",
        description = "Why its node was declared dead"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Network",
        type_ = "string",
        json_path = ".spec.network",
        priority = "1"
    ),
    printcolumn(
        name = "Rack",
        type_ = "string",
        json_path = ".spec.rack",
        priority = "1"
    ),
    printcolumn(
        name = "Until",
        type_ = "string",
        json_path = ".spec.binding.until",
        description = "Until when it is kept for its identity",
        priority = "1"
    ),
    printcolumn(
        name = "Release",
        type_ = "string",
        json_path = ".spec.release.reason",
        description = "Why it is to be let go",
        priority = "1"
    ),
    printcolumn(
        name = "MAC",
        type_ = "string",
        json_path = ".spec.binding.mac",
        priority = "1"
    ),
    printcolumn(
        name = "Epoch",
        type_ = "integer",
        json_path = ".spec.epoch",
        description = "Counts its holders",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::spec()))]
pub struct ClaimSpec {
    /// The pool. It cannot be changed.
    #[schemars(
        length(min = 1, max = 63),
        extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "the pool of a claim cannot be changed"}])
    )]
    pub pool: String,
    /// The network. It cannot be changed.
    #[schemars(
        length(min = 1, max = 32),
        pattern(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"),
        extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "the network of a claim cannot be changed"}])
    )]
    pub network: String,
    /// The rack. It cannot be changed.
    #[schemars(
        length(min = 1, max = 63),
        pattern(r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$"),
        extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "the rack of a claim cannot be changed"}])
    )]
    pub rack: String,
    /// The address, in the form of RFC 5952. It cannot be changed.
    #[schemars(
        length(max = 39),
        extend("x-kubernetes-validations" = rules::address())
    )]
    pub address: String,
    /// The holder.
    #[schemars(
        length(min = 1, max = 253),
        pattern(r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$")
    )]
    pub node: String,
    /// Counts the changes of holder.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub epoch: i64,
    /// The binding that the address belongs to, as the holder last wrote it; nothing: it belongs to nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<ClaimBinding>,
    /// Another node asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<Handover>,
    /// The holder was declared dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced: Option<Mark>,
    /// The held binding is to be let go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Mark>,
}

/// A binding as it travels with its claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::binding()))]
pub struct ClaimBinding {
    /// What the addresses stick to: `namespace/name` of the Pod, or as the Pod named it.
    #[schemars(length(min = 1, max = 320), pattern(r"^[!-~]+$"))]
    pub identity: String,
    /// Its MAC.
    #[schemars(
        length(min = 17, max = 17),
        pattern(r"^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$")
    )]
    pub mac: String,
    /// All its addresses, IPv4 first: each has a claim of its own.
    #[schemars(length(min = 1, max = 2), inner(length(max = 39)))]
    pub addresses: Vec<String>,
    /// Where the identity comes from.
    pub origin: ClaimOrigin,
    /// An operator's reservation, with his note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reservation: Option<String>,
    /// How long it is to be held, where its Pod says so: `forever`, `none` or a duration such as `30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::hold()))]
    pub hold: Option<String>,
    /// Who owns its Pod and decides how long it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Whether a sandbox has it.
    pub attached: bool,
    /// Until when it is held; nothing: for ever, or attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = WHOLE_SECOND))]
    pub until: Option<Time>,
}

/// Where an identity comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimOrigin {
    /// Which way.
    pub kind: OriginKind,
    /// The Pod that named it, `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 3, max = 317),
        pattern(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub pod: Option<String>,
}

/// The ways an identity comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OriginKind {
    /// It is the Pod.
    Pod,
    /// The Pod named one of its own.
    Named,
    /// There is no Pod: it is the sandbox.
    Sandbox,
    /// Found on an interface that exists.
    Adopted,
    /// An operator reserved an address for it.
    Reserved,
}

/// The controller that owns a Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// As in the Pod's owner reference.
    #[schemars(length(min = 1, max = 253))]
    pub api_version: String,
    /// As in the Pod's owner reference.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// As in the Pod's owner reference. It lies in the Pod's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// As in the Pod's owner reference.
    #[schemars(length(min = 1, max = 63))]
    pub uid: String,
    /// Which of the owner's Pods, where those are numbered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub ordinal: Option<i64>,
}

/// Another node asks for a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Handover {
    /// The node that wants it.
    #[schemars(
        length(min = 1, max = 253),
        pattern(r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$")
    )]
    pub to: String,
}

/// What somebody with the right to do so has said of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// Why.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
    /// Who: a user's name, or a controller's.
    #[schemars(length(min = 1, max = 256))]
    pub by: String,
    /// When.
    #[schemars(extend("pattern" = WHOLE_SECOND))]
    pub at: Time,
}

/// The name of the claim of an address: the only one that the API server takes.
pub fn claim_name(pool: &str, address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("{pool}.{v4}"),
        // A label of a name ends with a letter or a digit, an address may end with a colon.
        IpAddr::V6(v6) => format!("{pool}.v6-{}-0", v6.to_string().replace(':', "-")),
    }
}

#[cfg(test)]
mod tests;
