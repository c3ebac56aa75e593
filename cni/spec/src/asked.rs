//! What is asked for one container: `runtimeConfig` over `args.cni` over `CNI_ARGS`.
//!
//! A Pod's annotations arrive in either of the first two: containerd passes them as the capability
//! `io.kubernetes.cri.pod-annotations`, an operator or a test in `args.cni`.

use std::net::IpAddr;

use proto_ids::{Identity, MacAddr, NetworkName};
use serde_json::Value;

use crate::cni_args::{address, shown};
use crate::object::Object;
use crate::{CniArgs, Document, ParseConfError};

/// Annotations that Berth reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationKey {
    /// `berth.dev/networks`: the networks to join, in order, separated by commas.
    Networks,
    /// `berth.dev/identity`: what the addresses stick to.
    Identity,
}

impl AnnotationKey {
    /// The annotation as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Networks => "berth.dev/networks",
            Self::Identity => "berth.dev/identity",
        }
    }
}

/// What is asked for one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Addresses: the n-th of a family is for the n-th interface.
    pub addresses: Vec<IpAddr>,
    /// MAC of the first interface.
    pub mac: Option<MacAddr>,
    /// A subset and order of the networks; `None`: all, as configured.
    pub networks: Option<Vec<NetworkName>>,
    /// What the addresses stick to.
    pub identity: Option<Identity>,
    /// Whether a rate is to be limited.
    pub bandwidth: bool,
}

/// Capability by which containerd passes a Pod's annotations.
const POD_ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";
const RATES: [&str; 4] = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"];

impl Asked {
    /// Reads what is asked for a container.
    ///
    /// # Errors
    /// When a value is malformed, or the Pod names an identity of another namespace.
    pub fn parse(document: &Document, args: &CniArgs) -> Result<Self, ParseConfError> {
        let runtime = document.object("runtimeConfig")?;
        let runtime = runtime.as_ref();
        let cni = match document.object("args")? {
            Some(args) => args.object("cni")?,
            None => None,
        };
        let cni = cni.as_ref();
        let annotations = match runtime {
            Some(runtime) => runtime.object(POD_ANNOTATIONS)?,
            None => None,
        };
        let annotations = annotations.as_ref();

        let addresses = first(runtime, cni, addresses)?;
        let mac = first(runtime, cni, |object| object.parsed("mac"))?;
        let networks = first(annotations, cni, networks)?;
        let identity = first(annotations, cni, |object| identity(object, args))?;
        Ok(Self {
            addresses: addresses.unwrap_or_else(|| args.addresses.clone()),
            mac: mac.or(args.mac),
            networks,
            identity,
            bandwidth: runtime
                .map(asks_for_bandwidth)
                .transpose()?
                .unwrap_or_default(),
        })
    }
}

fn first<T>(
    one: Option<&Object<'_>>,
    other: Option<&Object<'_>>,
    read: impl Fn(&Object<'_>) -> Result<Option<T>, ParseConfError>,
) -> Result<Option<T>, ParseConfError> {
    for object in [one, other].into_iter().flatten() {
        if let Some(found) = read(object)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn addresses(object: &Object<'_>) -> Result<Option<Vec<IpAddr>>, ParseConfError> {
    let list = object.list("ips")?;
    let parsed = list.iter().map(|value| {
        value.as_str().and_then(address).ok_or_else(|| {
            object.value_error(
                "ips",
                format!("{} is not an address", shown(&value.to_string())),
            )
        })
    });
    let parsed: Vec<_> = parsed.collect::<Result<_, _>>()?;
    Ok((!parsed.is_empty()).then_some(parsed))
}

/// `"a,b"` as an annotation has it; `["a", "b"]` in `args.cni` too.
fn networks(object: &Object<'_>) -> Result<Option<Vec<NetworkName>>, ParseConfError> {
    let key = AnnotationKey::Networks.as_str();
    let names: Vec<&str> = match object.get(key) {
        None => return Ok(None),
        Some(Value::String(text)) => text.split(',').map(str::trim).collect(),
        Some(Value::Array(list)) => list
            .iter()
            .map(|value| value.as_str().unwrap_or_default())
            .collect(),
        Some(_) => return Err(object.value_error(key, "is neither a string nor a list")),
    };
    if names == [""] || names.is_empty() {
        return Ok(None);
    }
    let mut networks: Vec<NetworkName> = Vec::with_capacity(names.len());
    for name in names {
        let name = name
            .parse()
            .map_err(|error| object.value_error(key, error))?;
        if networks.contains(&name) {
            return Err(object.value_error(key, format!("{name} is there twice")));
        }
        networks.push(name);
    }
    Ok(Some(networks))
}

/// A Pod may name an identity of its own namespace only: `NAME` or `NAMESPACE/NAME`. Otherwise whoever may create a Pod
/// in one namespace could take the address of a Pod in another.
fn identity(object: &Object<'_>, args: &CniArgs) -> Result<Option<Identity>, ParseConfError> {
    let key = AnnotationKey::Identity.as_str();
    let Some(text) = object
        .parsed::<String>(key)?
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let whole = match (&args.pod, text.split_once('/')) {
        (None, _) => text,
        (Some(pod), None) => format!("{}/{text}", pod.namespace()),
        (Some(pod), Some((namespace, _))) if namespace == pod.namespace() => text,
        (Some(pod), Some(_)) => {
            return Err(object.value_error(
                key,
                format!(
                    "{:?} is not in the Pod's namespace {}",
                    shown(&text),
                    pod.namespace()
                ),
            ));
        }
    };
    whole
        .parse()
        .map(Some)
        .map_err(|error| object.value_error(key, error))
}

fn asks_for_bandwidth(runtime: &Object<'_>) -> Result<bool, ParseConfError> {
    let Some(bandwidth) = runtime.object("bandwidth")? else {
        return Ok(false);
    };
    Ok(RATES.iter().any(|key| {
        bandwidth
            .get(key)
            .is_some_and(|value| value.as_f64() != Some(0.0))
    }))
}

#[cfg(test)]
mod tests;
