//! Between the wire and `proto-ids`: `TryFrom` where the wire is read, `From` where it is written.

use std::fmt::Display;
use std::str::FromStr;

use proto_ids::{
    AllocateRequest, AssignedAddress, Attachment, Grant, InterfaceGrant, InterfaceRequest, PodKey,
    Route,
};

use crate::v1;

/// A field of a message that is not what the contract says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ConvertError {
    /// Path of the field inside the message.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

fn parse<T: FromStr<Err: Display>>(field: &'static str, text: &str) -> Result<T, ConvertError> {
    text.parse().map_err(|error: T::Err| ConvertError {
        field,
        problem: error.to_string(),
    })
}

fn parse_optional<T: FromStr<Err: Display>>(
    field: &'static str,
    text: &str,
) -> Result<Option<T>, ConvertError> {
    if text.is_empty() {
        return Ok(None);
    }
    parse(field, text).map(Some)
}

fn parse_all<T: FromStr<Err: Display>>(
    field: &'static str,
    texts: &[String],
) -> Result<Vec<T>, ConvertError> {
    texts.iter().map(|text| parse(field, text)).collect()
}

fn text<T: Display>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn non_zero(value: u32) -> Option<u32> {
    (value != 0).then_some(value)
}

/// Reads a message field that must be present.
///
/// # Errors
/// When the field is absent or its content is refused.
pub fn required<T, U>(field: &'static str, value: Option<T>) -> Result<U, ConvertError>
where
    U: TryFrom<T, Error = ConvertError>,
{
    let value = value.ok_or_else(|| ConvertError {
        field,
        problem: "is missing".to_owned(),
    })?;
    U::try_from(value)
}

impl TryFrom<v1::Attachment> for Attachment {
    type Error = ConvertError;

    fn try_from(wire: v1::Attachment) -> Result<Self, ConvertError> {
        Ok(Self {
            cni_network: parse("attachment.cni_network", &wire.cni_network)?,
            sandbox: parse("attachment.sandbox", &wire.sandbox)?,
            ifname: parse("attachment.ifname", &wire.ifname)?,
        })
    }
}

impl From<&Attachment> for v1::Attachment {
    fn from(attachment: &Attachment) -> Self {
        Self {
            cni_network: attachment.cni_network.to_string(),
            sandbox: attachment.sandbox.to_string(),
            ifname: attachment.ifname.to_string(),
        }
    }
}

impl TryFrom<v1::AllocateRequest> for AllocateRequest {
    type Error = ConvertError;

    fn try_from(wire: v1::AllocateRequest) -> Result<Self, ConvertError> {
        let pod = if wire.pod_namespace.is_empty() && wire.pod_name.is_empty() {
            None
        } else {
            let pod =
                PodKey::new(&wire.pod_namespace, &wire.pod_name).map_err(|error| ConvertError {
                    field: "pod_name",
                    problem: error.to_string(),
                })?;
            Some(pod)
        };
        let interfaces = wire
            .interfaces
            .into_iter()
            .map(InterfaceRequest::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        if interfaces.is_empty() {
            return Err(ConvertError {
                field: "interfaces",
                problem: "is empty".to_owned(),
            });
        }
        Ok(Self {
            attachment: required("attachment", wire.attachment)?,
            pod,
            pod_uid: parse_optional("pod_uid", &wire.pod_uid)?,
            identity: parse_optional("identity", &wire.identity)?,
            interfaces,
        })
    }
}

impl From<&AllocateRequest> for v1::AllocateRequest {
    fn from(request: &AllocateRequest) -> Self {
        let (pod_namespace, pod_name) = request
            .pod
            .as_ref()
            .map(|pod| (pod.namespace().to_owned(), pod.name().to_owned()))
            .unwrap_or_default();
        Self {
            attachment: Some((&request.attachment).into()),
            pod_namespace,
            pod_name,
            pod_uid: text(request.pod_uid.as_ref()),
            identity: text(request.identity.as_ref()),
            interfaces: request.interfaces.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::InterfaceRequest> for InterfaceRequest {
    type Error = ConvertError;

    fn try_from(wire: v1::InterfaceRequest) -> Result<Self, ConvertError> {
        Ok(Self {
            ifname: parse("interfaces.ifname", &wire.ifname)?,
            network: parse("interfaces.network", &wire.network)?,
            segment: parse_optional("interfaces.segment", &wire.segment)?,
            addresses: parse_all("interfaces.addresses", &wire.addresses)?,
            mac: parse_optional("interfaces.mac", &wire.mac)?,
        })
    }
}

impl From<&InterfaceRequest> for v1::InterfaceRequest {
    fn from(request: &InterfaceRequest) -> Self {
        Self {
            ifname: request.ifname.to_string(),
            network: request.network.to_string(),
            segment: text(request.segment.as_ref()),
            addresses: request.addresses.iter().map(ToString::to_string).collect(),
            mac: text(request.mac.as_ref()),
        }
    }
}

impl TryFrom<v1::AllocateResponse> for Grant {
    type Error = ConvertError;

    fn try_from(wire: v1::AllocateResponse) -> Result<Self, ConvertError> {
        Ok(Self {
            identity: parse("identity", &wire.identity)?,
            interfaces: wire
                .interfaces
                .into_iter()
                .map(InterfaceGrant::try_from)
                .collect::<Result<_, _>>()?,
            moved_from: wire.moved_from.map(Attachment::try_from).transpose()?,
        })
    }
}

impl From<&Grant> for v1::AllocateResponse {
    fn from(grant: &Grant) -> Self {
        Self {
            identity: grant.identity.to_string(),
            interfaces: grant.interfaces.iter().map(Into::into).collect(),
            moved_from: grant.moved_from.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::InterfaceGrant> for InterfaceGrant {
    type Error = ConvertError;

    fn try_from(wire: v1::InterfaceGrant) -> Result<Self, ConvertError> {
        let addresses = wire.addresses.iter().map(|address| {
            Ok(AssignedAddress {
                address: parse("interfaces.addresses.address", &address.address)?,
                gateway: parse_optional("interfaces.addresses.gateway", &address.gateway)?,
                pool: parse("interfaces.addresses.pool", &address.pool)?,
            })
        });
        let routes = wire.routes.iter().map(|route| {
            Ok(Route {
                dst: parse("interfaces.routes.dst", &route.dst)?,
                via: parse_optional("interfaces.routes.via", &route.via)?,
                metric: non_zero(route.metric),
                mtu: non_zero(route.mtu),
            })
        });
        Ok(Self {
            ifname: parse("interfaces.ifname", &wire.ifname)?,
            network: parse("interfaces.network", &wire.network)?,
            rack: parse("interfaces.rack", &wire.rack)?,
            mac: parse("interfaces.mac", &wire.mac)?,
            addresses: addresses.collect::<Result<_, ConvertError>>()?,
            routes: routes.collect::<Result<_, ConvertError>>()?,
        })
    }
}

impl From<&InterfaceGrant> for v1::InterfaceGrant {
    fn from(grant: &InterfaceGrant) -> Self {
        let addresses = grant.addresses.iter().map(|address| v1::AssignedAddress {
            address: address.address.to_string(),
            gateway: text(address.gateway.as_ref()),
            pool: address.pool.to_string(),
        });
        let routes = grant.routes.iter().map(|route| v1::Route {
            dst: route.dst.to_string(),
            via: text(route.via.as_ref()),
            metric: route.metric.unwrap_or_default(),
            mtu: route.mtu.unwrap_or_default(),
        });
        Self {
            ifname: grant.ifname.to_string(),
            network: grant.network.to_string(),
            rack: grant.rack.to_string(),
            mac: grant.mac.to_string(),
            addresses: addresses.collect(),
            routes: routes.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant {
            identity: "prod/db-0".parse().unwrap(),
            interfaces: vec![InterfaceGrant {
                ifname: "eth0".parse().unwrap(),
                network: "external".parse().unwrap(),
                rack: "a".parse().unwrap(),
                mac: "b6:e7:0a:14:01:64".parse().unwrap(),
                addresses: vec![AssignedAddress {
                    address: "10.20.1.100/24".parse().unwrap(),
                    gateway: Some("10.20.1.1".parse().unwrap()),
                    pool: "external-a".parse().unwrap(),
                }],
                routes: vec![Route {
                    dst: "10.0.0.0/8".parse().unwrap(),
                    via: None,
                    metric: Some(50),
                    mtu: None,
                }],
            }],
            moved_from: Some(Attachment {
                cni_network: "bank".parse().unwrap(),
                sandbox: "old".parse().unwrap(),
                ifname: "eth0".parse().unwrap(),
            }),
        }
    }

    #[test]
    fn grant_survives_the_wire() {
        assert_eq!(
            Grant::try_from(v1::AllocateResponse::from(&grant())),
            Ok(grant())
        );
    }

    #[test]
    fn bad_field_is_named() {
        let mut wire = v1::AllocateResponse::from(&grant());
        wire.interfaces[0].addresses[0].address = "10.20.1.100/33".to_owned();
        let error = Grant::try_from(wire).unwrap_err();
        assert_eq!(error.field, "interfaces.addresses.address");
    }

    #[test]
    fn request_without_interfaces_is_refused() {
        let error = AllocateRequest::try_from(v1::AllocateRequest::default()).unwrap_err();
        assert_eq!(error.field, "interfaces");
    }
}
