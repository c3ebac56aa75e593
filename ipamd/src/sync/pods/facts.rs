//! What a Pod says of its addresses: its annotations, and the workload that owns it. Pure.
//!
//! A value that cannot be read is never passed over: it is a [`Problem`], for which the Pod's ADD is refused. An annotation
//! without a value counts as absent.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipamd_core::{Hold, Owner, PodPolicy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use proto_crd::names;
use proto_ids::{Identity, NetworkName, ParseNameError, PodKey, PodUid};
use serde::{Deserialize, Serialize};

/// The kinds that replace their Pods under the same name, with their groups.
const STABLE: [(&str, &str); 2] = [("apps", "StatefulSet"), (names::GROUP, "InPlaceSet")];
/// A static Pod has another UID in the API than at its kubelet, which tells it to the runtime and puts it here
/// (kubelet's `CreateMirrorPod`).
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// More than any Pod has; annotations may have 256 KiB.
const LIST_LIMIT: usize = 32;
/// As much of a value as a refusal shows, in characters.
const SHOWN_LIMIT: usize = 64;

/// What is known of one Pod of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodFacts {
    /// The Pod.
    pub(crate) pod: PodKey,
    /// Its UID, as the runtime is told it.
    pub(crate) uid: PodUid,
    /// What its addresses stick to.
    pub(crate) identity: Identity,
    /// Whether the Pod named the identity, which else is its own name.
    pub(crate) named: bool,
    /// How long its addresses are held, and who replaces it.
    pub(crate) policy: PodPolicy,
    /// Addresses it must get.
    pub(crate) addresses: Vec<IpAddr>,
    /// The networks it joins; `None`: all of the node.
    pub(crate) networks: Option<Vec<NetworkName>>,
    /// What happens where its addresses are another rack's.
    pub(crate) rack_change: RackChange,
    /// It is being deleted.
    pub(crate) deleting: bool,
    /// Annotations that cannot be followed.
    pub(crate) problems: Vec<Problem>,
}

/// What happens where the addresses of an identity are another rack's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RackChange {
    /// It gets new ones.
    #[default]
    NewAddress,
    /// It does not start there.
    Wait,
}

/// An annotation that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// The annotation's key.
    pub(crate) annotation: String,
    /// Its value, cut short.
    pub(crate) value: String,
    /// What is wrong with it.
    pub(crate) cause: String,
    /// What it may be.
    pub(crate) allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            annotation,
            value,
            cause,
            allowed,
        } = self;
        write!(
            f,
            "annotation {annotation} says {value:?}: {cause} (allowed: {allowed})"
        )
    }
}

impl PodFacts {
    /// What a Pod's metadata say; `None`: they are no Pod's.
    pub(crate) fn parse(meta: &ObjectMeta) -> Option<Self> {
        let pod = PodKey::new(meta.namespace.as_deref()?, meta.name.as_deref()?).ok()?;
        let mut reading = Reading {
            meta,
            problems: Vec::new(),
        };
        let uid = reading.text(MIRROR_ANNOTATION).or(meta.uid.as_deref())?;
        let uid = uid.parse().ok()?;
        let named = reading.read(names::IDENTITY_ANNOTATION, IDENTITIES, |text| {
            identity(text, &pod)
        });
        let hold = reading.read(names::HOLD_ANNOTATION, HOLDS, |text| {
            Hold::from_str(text).map_err(|_| "it is neither a word of these nor a duration".into())
        });
        let addresses = reading.read(names::ADDRESSES_ANNOTATION, ADDRESSES, |text| {
            list(text, |one| {
                one.parse::<IpAddr>()
                    .map_err(|_| format!("{} is not an address", quoted(one)))
            })
        });
        let networks = reading.read(names::NETWORKS_ANNOTATION, NETWORKS, |text| {
            list(text, |one| {
                one.parse()
                    .map_err(|error: ParseNameError| error.to_string())
            })
        });
        let rack_change = reading.read(names::RACK_CHANGE_ANNOTATION, RACK_CHANGES, |text| {
            RackChange::parse(text).ok_or_else(|| "it is neither of these".to_owned())
        });
        let problems = reading.problems;
        // Who names an identity wants it to outlive the workload that has it now; who says how long does not want the workload to
        // decide.
        let owner = (named.is_none() && hold.is_none())
            .then(|| stable_owner(meta, &pod))
            .flatten();
        Some(Self {
            identity: named.clone().unwrap_or_else(|| Identity::from(&pod)),
            named: named.is_some(),
            policy: PodPolicy {
                hold: hold.or_else(|| owner.as_ref().map(|_| Hold::Forever)),
                owner,
            },
            pod,
            uid,
            addresses: addresses.unwrap_or_default(),
            networks,
            rack_change: rack_change.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            problems,
        })
    }

    /// Whether it says more than its name: only then it is remembered.
    pub(super) fn is_telling(&self) -> bool {
        self.named
            || !self.policy.is_empty()
            || !self.addresses.is_empty()
            || self.networks.is_some()
            || self.rack_change != RackChange::default()
            || !self.problems.is_empty()
    }
}

impl RackChange {
    fn parse(text: &str) -> Option<Self> {
        match text {
            names::RACK_CHANGE_NEW_ADDRESS => Some(Self::NewAddress),
            names::RACK_CHANGE_WAIT => Some(Self::Wait),
            _ => None,
        }
    }
}

const IDENTITIES: &str =
    "a name in the Pod's own namespace, as NAME or NAMESPACE/NAME without white space";
const HOLDS: &str = "\"forever\", \"none\", or a duration such as \"30m\"";
const ADDRESSES: &str = "addresses separated by commas, each once, at most 32";
const NETWORKS: &str = "names of networks separated by commas, each once, at most 32";
const RACK_CHANGES: &str = "\"new-address\" or \"wait\"";

/// One Pod's annotations, with what is wrong with them.
struct Reading<'a> {
    meta: &'a ObjectMeta,
    problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        let text = self.meta.annotations.as_ref()?.get(key)?.trim();
        (!text.is_empty()).then_some(text)
    }

    fn read<T>(
        &mut self,
        key: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(cause) => {
                self.problems.push(Problem {
                    annotation: key.to_owned(),
                    value: shown(text),
                    cause,
                    allowed: allowed.to_owned(),
                });
                None
            }
        }
    }
}

/// As the plugin reads it: otherwise whoever may create a Pod in one namespace could take the address of a Pod in another.
fn identity(text: &str, pod: &PodKey) -> Result<Identity, String> {
    let whole = match text.split_once('/') {
        None => format!("{}/{text}", pod.namespace()),
        Some((namespace, _)) if namespace == pod.namespace() => text.to_owned(),
        Some(_) => {
            return Err(format!(
                "it is not in the Pod's namespace {}",
                pod.namespace()
            ));
        }
    };
    whole
        .parse()
        .map_err(|error: ParseNameError| error.to_string())
}

fn list<T: PartialEq>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut all = Vec::new();
    for one in text.split(',').map(str::trim) {
        if all.len() == LIST_LIMIT {
            return Err(format!("there are more than {LIST_LIMIT}"));
        }
        let value = parse(one)?;
        if all.contains(&value) {
            return Err(format!("{} is there twice", quoted(one)));
        }
        all.push(value);
    }
    Ok(all)
}

/// The workload that replaces the Pod under the same name, where there is one.
fn stable_owner(meta: &ObjectMeta, pod: &PodKey) -> Option<Owner> {
    let mut owners = meta.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    let (group, _) = owner.api_version.split_once('/')?;
    STABLE
        .contains(&(group, owner.kind.as_str()))
        .then(|| Owner {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            ordinal: ordinal(owner, pod),
        })
}

/// `db-3` is the Pod 3 of `db`.
fn ordinal(owner: &OwnerReference, pod: &PodKey) -> Option<u32> {
    let number = pod.name().strip_prefix(&owner.name)?.strip_prefix('-')?;
    let ordinal: u32 = number.parse().ok()?;
    // Neither "007" nor "+7".
    (ordinal.to_string() == number).then_some(ordinal)
}

fn quoted(text: &str) -> String {
    format!("{:?}", shown(text))
}

fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let mut shown: String = chars.by_ref().take(SHOWN_LIMIT).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
