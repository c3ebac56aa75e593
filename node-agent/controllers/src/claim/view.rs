//! A claim, as far as the decisions of the controllers need it.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use proto_crd::claim::{Claim, ClaimBinding, Mark, OriginKind, Owner};
use proto_crd::names;
use proto_ids::PodKey;

use crate::world::Key;

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimView {
    /// Its UID.
    pub(crate) uid: String,
    /// Its version.
    pub(crate) version: String,
    /// The holder.
    pub(crate) node: String,
    /// The UID of the holder's Node, where the holder wrote it.
    pub(crate) node_uid: Option<String>,
    /// The pool.
    pub(crate) pool: String,
    /// The holder was declared dead.
    pub(crate) fenced: Option<Mark>,
    /// The binding is to be let go.
    pub(crate) release: Option<Mark>,
    /// Whose the address is.
    pub(crate) binding: Option<Box<BindingView>>,
    /// Somebody deleted it.
    pub(crate) is_deleting: bool,
    /// Who must let it go before it goes.
    pub(crate) finalizers: Vec<String>,
}

/// A binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BindingView {
    /// What the address sticks to.
    pub(crate) identity: String,
    /// Where that comes from.
    pub(crate) origin: OriginKind,
    /// The Pod that has it, or named it.
    pub(crate) pod: Option<Key>,
    /// An operator wants it kept.
    pub(crate) is_reserved: bool,
    /// The Pod's own policy.
    pub(crate) hold: Option<String>,
    /// Who decides how long it is wanted.
    pub(crate) owner: Option<Box<Owner>>,
    /// Whether a sandbox has it, as far as its node has said.
    pub(crate) is_attached: bool,
    /// Until when it is held.
    pub(crate) until: Option<Timestamp>,
}

/// How long a binding is kept after its Pod is gone, as far as anybody but its node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stickiness {
    /// Until somebody lets it go.
    Forever,
    /// So long.
    For(Duration),
    /// Not at all.
    None,
}

impl From<&Claim> for ClaimView {
    fn from(claim: &Claim) -> Self {
        let spec = &claim.spec;
        Self {
            uid: claim.uid().unwrap_or_default(),
            version: claim.resource_version().unwrap_or_default(),
            node: spec.node.clone(),
            node_uid: claim.annotations().get(names::NODE_UID_ANNOTATION).cloned(),
            pool: spec.pool.clone(),
            fenced: spec.fenced.clone(),
            release: spec.release.clone(),
            binding: spec
                .binding
                .as_ref()
                .map(|binding| Box::new(binding.into())),
            is_deleting: claim.metadata.deletion_timestamp.is_some(),
            finalizers: claim.finalizers().to_vec(),
        }
    }
}

impl From<&ClaimBinding> for BindingView {
    fn from(binding: &ClaimBinding) -> Self {
        let named = binding.origin.pod.as_deref();
        let pod = match (named, binding.origin.kind) {
            (Some(pod), _) => split(pod),
            (None, OriginKind::Pod) => split(&binding.identity),
            (None, _) => None,
        };
        Self {
            identity: binding.identity.clone(),
            origin: binding.origin.kind,
            pod,
            is_reserved: binding.reservation.is_some(),
            hold: binding.hold.clone(),
            owner: binding.owner.clone().map(Box::new),
            is_attached: binding.attached,
            until: binding.until.as_ref().map(|until| until.0),
        }
    }
}

/// `namespace/name`.
fn split(pod: &str) -> Option<Key> {
    let key: PodKey = pod.parse().ok()?;
    Some((key.namespace().to_owned(), key.name().to_owned()))
}

impl BindingView {
    /// Namespace and name of the owner, which lies where its Pods do.
    pub(crate) fn owner_key(&self) -> Option<(Key, &Owner)> {
        let owner = self.owner.as_deref()?;
        let (namespace, _) = self.pod.as_ref()?;
        Some(((namespace.clone(), owner.name.clone()), owner))
    }

    /// How long it is kept after its Pod: what the Pod said, else what every node does that has no rule of its own for it.
    pub(crate) fn stickiness(&self) -> Stickiness {
        match self.hold.as_deref() {
            Some("none") => Stickiness::None,
            // What cannot be read is kept.
            Some(hold) => {
                humantime::parse_duration(hold).map_or(Stickiness::Forever, Stickiness::For)
            }
            None => match self.origin {
                OriginKind::Sandbox | OriginKind::Adopted => Stickiness::None,
                OriginKind::Named | OriginKind::Reserved => Stickiness::Forever,
                OriginKind::Pod => match &self.pod {
                    Some((_, name)) if !has_ordinal(name) => Stickiness::None,
                    _ => Stickiness::Forever,
                },
            },
        }
    }
}

/// As the address daemons tell a numbered Pod.
fn has_ordinal(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(stem, ordinal)| {
        !stem.is_empty() && !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn binding(fields: &Value) -> BindingView {
        let mut all = json!({
            "identity": "shop/db-0", "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.1"], "attached": false,
            "origin": {"kind": "Pod"},
        });
        for (key, value) in fields.as_object().unwrap() {
            all[key] = value.clone();
        }
        (&serde_json::from_value::<ClaimBinding>(all).unwrap()).into()
    }

    #[test]
    fn stickiness_is_what_the_pod_said_else_what_nodes_do() {
        use Stickiness::{For, Forever, None};
        let pod = |name: &str| json!({"identity": format!("shop/{name}")});
        for (fields, stickiness) in [
            (json!({"hold": "forever"}), Forever),
            (json!({"hold": "none"}), None),
            (json!({"hold": "30m"}), For(Duration::from_secs(1800))),
            (json!({"hold": "a while"}), Forever),
            (pod("db-0"), Forever),
            (pod("web-7d9f-x2k4p"), None),
            (
                json!({"identity": "the-db", "origin": {"kind": "Named", "pod": "shop/x"}}),
                Forever,
            ),
            (json!({"origin": {"kind": "Adopted"}}), None),
            (json!({"origin": {"kind": "Reserved"}}), Forever),
        ] {
            assert_eq!(binding(&fields).stickiness(), stickiness, "{fields}");
        }
    }

    #[test]
    fn owner_lies_where_the_pod_does() {
        let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "ordinal": 0});
        let of = |fields: Value| {
            let view = binding(&fields);
            view.owner_key().map(|(key, _)| key)
        };
        let key = Some(("shop".to_owned(), "db".to_owned()));
        assert_eq!(of(json!({"owner": owner.clone()})), key);
        let named = json!({"identity": "the-db", "origin": {"kind": "Named", "pod": "shop/db-0"}, "owner": owner});
        assert_eq!(of(named), key);
        assert_eq!(of(json!({})), None);
    }
}
