//! The link alias that every host-side port carries: `berth` writes it, `berth-ipamd`, `berth GC` and an operator with
//! `ip link` read it.
//!
//! Form, single spaces between: `berth1 CNI_NETWORK SANDBOX CNI_IFNAME IFNAME NETWORK MAC ADDR[,ADDR] IDENTITY`.
//! The kernel keeps 255 bytes (`IFALIASZ` less its end); what does not fit is the tail of the identity, and then the
//! text ends in `~`. With the longest names of the other fields the identity may be missing altogether ([`UNKNOWN_IDENTITY`]).

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;

use crate::{Attachment, Identity, IfName, MacAddr, NetworkName};

/// Stands where the identity did not fit at all.
pub const UNKNOWN_IDENTITY: &str = "~";

/// Bytes of an alias: `IFALIASZ` (256, `linux/if.h`) less the terminating zero.
const LIMIT_BYTES: usize = 255;
const MARK: &str = "berth1";

/// What a host-side port says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortAlias {
    /// The CNI ADD that made the port.
    pub attachment: Attachment,
    /// The interface inside the Pod.
    pub ifname: IfName,
    /// The network joined.
    pub network: NetworkName,
    /// MAC of the interface inside the Pod.
    pub mac: MacAddr,
    /// Addresses of the interface inside the Pod, with their subnets' prefix length.
    pub addresses: Vec<IpNet>,
    /// The identity; `None` when it did not fit whole.
    pub identity: Option<Identity>,
}

/// Why an alias was not written by Berth, or not by a version this one reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAliasError {
    /// Does not begin with Berth's mark: somebody else's port.
    #[error("alias does not begin with \"berth1 \"")]
    Foreign,
    /// Begins with the mark, but a field is missing or malformed.
    #[error("alias field {field} is missing or malformed in {text:?}")]
    Field {
        /// The field.
        field: &'static str,
        /// The alias.
        text: String,
    },
}

impl fmt::Display for PortAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attachment {
            cni_network,
            sandbox,
            ifname,
        } = &self.attachment;
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let mut text = format!(
            "{MARK} {cni_network} {sandbox} {ifname} {} {} {} {} ",
            self.ifname,
            self.network,
            self.mac,
            addresses.join(",")
        );
        let identity = self
            .identity
            .as_ref()
            .map_or(UNKNOWN_IDENTITY, Identity::as_str);
        let room = LIMIT_BYTES.saturating_sub(text.len());
        if identity.len() <= room {
            text.push_str(identity);
        } else {
            // Identities are ASCII, so any byte is a character boundary.
            text.push_str(&identity[..room.saturating_sub(1)]);
            text.push('~');
        }
        f.write_str(&text)
    }
}

impl FromStr for PortAlias {
    type Err = ParseAliasError;

    fn from_str(text: &str) -> Result<Self, ParseAliasError> {
        let mut fields = text.split(' ');
        if fields.next() != Some(MARK) {
            return Err(ParseAliasError::Foreign);
        }
        let field = |field| ParseAliasError::Field {
            field,
            text: text.to_owned(),
        };
        let mut next = |name| {
            fields
                .next()
                .ok_or_else(|| field(name))
                .map(|value| (name, value))
        };
        let attachment = Attachment {
            cni_network: parse(next("network configuration")?, field)?,
            sandbox: parse(next("container id")?, field)?,
            ifname: parse(next("CNI_IFNAME")?, field)?,
        };
        let ifname = parse(next("interface")?, field)?;
        let network = parse(next("network")?, field)?;
        let mac = parse(next("MAC")?, field)?;
        let (_, list) = next("addresses")?;
        let addresses = list
            .split(',')
            .filter(|address| !address.is_empty())
            .map(|address| parse(("addresses", address), field))
            .collect::<Result<_, _>>()?;
        let identity = match fields.next() {
            None | Some("") => None,
            Some(cut) if cut.ends_with('~') => None,
            Some(whole) => Some(whole.parse().map_err(|_| field("identity"))?),
        };
        Ok(Self {
            attachment,
            ifname,
            network,
            mac,
            addresses,
            identity,
        })
    }
}

fn parse<T: FromStr>(
    (name, value): (&'static str, &str),
    field: impl Fn(&'static str) -> ParseAliasError,
) -> Result<T, ParseAliasError> {
    value.parse().map_err(|_| field(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(identity: &str) -> PortAlias {
        PortAlias {
            attachment: Attachment {
                cni_network: "bank".parse().unwrap(),
                sandbox: "c".repeat(64).parse().unwrap(),
                ifname: "eth0".parse().unwrap(),
            },
            ifname: "net1".parse().unwrap(),
            network: "internal".parse().unwrap(),
            mac: "b6:e7:0a:14:01:64".parse().unwrap(),
            addresses: vec![
                "10.20.1.100/24".parse().unwrap(),
                "fd00::64/64".parse().unwrap(),
            ],
            identity: identity.parse().ok(),
        }
    }

    #[test]
    fn alias_round_trips() {
        let alias = sample("prod/db-0");
        assert_eq!(alias.to_string().parse(), Ok(alias));
    }

    #[test]
    fn long_identity_is_cut_visibly_and_never_read_as_another() {
        let alias = sample(&format!("prod/{}", "x".repeat(250)));
        let text = alias.to_string();
        assert_eq!(text.len(), 255);
        assert!(text.ends_with('~'));
        let read: PortAlias = text.parse().unwrap();
        assert_eq!(
            read,
            PortAlias {
                identity: None,
                ..alias
            }
        );
    }

    #[test]
    fn foreign_and_damaged_aliases_are_told_apart() {
        assert_eq!(
            "uplink to rack 7".parse::<PortAlias>(),
            Err(ParseAliasError::Foreign)
        );
        assert!(matches!(
            "berth1 bank".parse::<PortAlias>(),
            Err(ParseAliasError::Field {
                field: "container id",
                ..
            })
        ));
    }
}
