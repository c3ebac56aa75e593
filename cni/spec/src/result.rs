//! The result of an ADD: written in the configuration's version, read in any.
//!
//! What a version has no key for is left out, never moved elsewhere.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::CniVersion;

/// What an ADD made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniResult {
    /// Interfaces on the node and in the container. Empty: an IPAM plugin's result, which has no such key.
    pub interfaces: Vec<ResultInterface>,
    /// Addresses.
    pub ips: Vec<ResultIp>,
    /// Routes.
    pub routes: Vec<ResultRoute>,
}

/// An interface of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultInterface {
    /// Its name.
    pub name: String,
    /// Its MAC; may be empty in others' results.
    pub mac: String,
    /// Its MTU in bytes (1.1.0).
    pub mtu: Option<u32>,
    /// Namespace of the container; `None`: on the node.
    pub sandbox: Option<String>,
}

/// An address of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultIp {
    /// Index into the interfaces.
    pub interface: Option<usize>,
    /// The address with the prefix length of its subnet.
    pub address: IpNet,
    /// The gateway on that subnet.
    pub gateway: Option<IpAddr>,
}

/// A route of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRoute {
    /// Destination.
    pub dst: IpNet,
    /// Next hop; `None`: the gateway, or on link.
    pub gw: Option<IpAddr>,
    /// MTU in bytes (1.1.0).
    pub mtu: Option<u32>,
    /// Metric (1.1.0).
    pub priority: Option<u32>,
    /// Scope as the kernel numbers it (1.1.0): 253 is "link".
    pub scope: Option<u8>,
}

/// Why a result cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseResultError {
    /// Not an object.
    #[error("result is not a JSON object")]
    NotObject,
    /// A key holds what it must not.
    #[error("result does not have the form of the specification")]
    Form {
        /// Where.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Serialize)]
struct WireInterface<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox: Option<&'a str>,
}

#[derive(Serialize)]
struct WireIp {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<usize>,
    address: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

#[derive(Serialize)]
struct WireRoute {
    dst: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<u8>,
}

#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<WireInterface<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<WireIp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<WireRoute>,
    /// Not optional before 1.0.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Value>,
}

impl CniResult {
    /// The result in the form of this version.
    pub fn to_json(&self, version: CniVersion) -> String {
        let newest = version >= CniVersion::V1_1_0;
        let family = |address: IpNet| match address {
            IpNet::V4(_) => "4",
            IpNet::V6(_) => "6",
        };
        let wire = Wire {
            cni_version: version.as_str(),
            interfaces: self
                .interfaces
                .iter()
                .map(|interface| WireInterface {
                    name: &interface.name,
                    mac: &interface.mac,
                    mtu: interface.mtu.filter(|_| newest),
                    sandbox: interface.sandbox.as_deref(),
                })
                .collect(),
            ips: self
                .ips
                .iter()
                .map(|ip| WireIp {
                    version: (version < CniVersion::V1_0_0).then(|| family(ip.address)),
                    interface: ip.interface,
                    address: ip.address,
                    gateway: ip.gateway,
                })
                .collect(),
            routes: self
                .routes
                .iter()
                .map(|route| WireRoute {
                    dst: route.dst,
                    gw: route.gw,
                    mtu: route.mtu.filter(|_| newest),
                    priority: route.priority.filter(|_| newest),
                    scope: route.scope.filter(|_| newest),
                })
                .collect(),
            dns: (version < CniVersion::V1_0_0).then(|| json!({})),
        };
        // Texts, numbers and addresses only, under text keys: nothing serde_json could refuse.
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// Reads a result of any version, 0.2.0's form with `ip4` and `ip6` included. What a later plugin of the chain has
    /// added is passed over, and so is the stray key `CNIVersion` that the reference library writes beside `cniVersion`.
    ///
    /// # Errors
    /// When a key that is read holds what it must not.
    pub fn parse(value: &Value) -> Result<Self, ParseResultError> {
        // serde would read a list as the fields in order.
        if !value.is_object() {
            return Err(ParseResultError::NotObject);
        }
        let read =
            ReadResult::deserialize(value).map_err(|source| ParseResultError::Form { source })?;
        let mut result = Self {
            interfaces: read.interfaces.into_iter().map(Into::into).collect(),
            ips: read.ips.into_iter().map(Into::into).collect(),
            routes: read.routes.into_iter().map(Into::into).collect(),
        };
        for old in [read.ip4, read.ip6].into_iter().flatten() {
            result.ips.push(ResultIp {
                interface: None,
                address: old.ip,
                gateway: old.gateway,
            });
            result.routes.extend(old.routes.into_iter().map(Into::into));
        }
        Ok(result)
    }
}

#[derive(Deserialize)]
struct ReadResult {
    #[serde(default, deserialize_with = "nullable")]
    interfaces: Vec<ReadInterface>,
    #[serde(default, deserialize_with = "nullable")]
    ips: Vec<ReadIp>,
    #[serde(default, deserialize_with = "nullable")]
    routes: Vec<ReadRoute>,
    #[serde(default)]
    ip4: Option<ReadOldIp>,
    #[serde(default)]
    ip6: Option<ReadOldIp>,
}

#[derive(Deserialize)]
struct ReadInterface {
    #[serde(default)]
    name: String,
    #[serde(default)]
    mac: String,
    #[serde(default)]
    mtu: Option<u32>,
    #[serde(default)]
    sandbox: Option<String>,
}

#[derive(Deserialize)]
struct ReadIp {
    address: IpNet,
    #[serde(default, deserialize_with = "optional_address")]
    gateway: Option<IpAddr>,
    #[serde(default)]
    interface: Option<i64>,
}

#[derive(Deserialize)]
struct ReadRoute {
    dst: IpNet,
    #[serde(default, deserialize_with = "optional_address")]
    gw: Option<IpAddr>,
    #[serde(default)]
    mtu: Option<u32>,
    #[serde(default)]
    priority: Option<u32>,
    #[serde(default)]
    scope: Option<u8>,
}

#[derive(Deserialize)]
struct ReadOldIp {
    ip: IpNet,
    #[serde(default, deserialize_with = "optional_address")]
    gateway: Option<IpAddr>,
    #[serde(default, deserialize_with = "nullable")]
    routes: Vec<ReadRoute>,
}

/// A Go runtime writes a nil slice as `null`.
fn nullable<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A Go runtime writes an absent address as `""`.
fn optional_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<IpAddr>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}

impl From<ReadInterface> for ResultInterface {
    fn from(read: ReadInterface) -> Self {
        Self {
            name: read.name,
            mac: read.mac,
            mtu: read.mtu.filter(|mtu| *mtu != 0),
            sandbox: read.sandbox.filter(|sandbox| !sandbox.is_empty()),
        }
    }
}

impl From<ReadIp> for ResultIp {
    fn from(read: ReadIp) -> Self {
        Self {
            // The reference library writes -1 for "none".
            interface: read.interface.and_then(|index| usize::try_from(index).ok()),
            address: read.address,
            gateway: read.gateway,
        }
    }
}

impl From<ReadRoute> for ResultRoute {
    fn from(read: ReadRoute) -> Self {
        Self {
            dst: read.dst,
            gw: read.gw,
            mtu: read.mtu,
            priority: read.priority,
            scope: read.scope,
        }
    }
}

#[cfg(test)]
mod tests;
