//! Names of bridges and VLAN devices, derived where the configuration names none.

use proto_ids::IfName;

use crate::wiring::{Segment, VlanMode};

/// Bytes of an interface name (`IFNAMSIZ` less its end).
const LIMIT_BYTES: usize = 15;

/// The VLAN sub-interface of a segment that has one: `UPLINK.ID`.
pub(crate) fn sub_interface(segment: &Segment) -> Option<IfName> {
    let vlan = segment.vlan?;
    (vlan.mode == VlanMode::SubInterface)
        .then(|| fitting(&format!("{}.{}", segment.uplink, vlan.id), &segment.uplink))
}

/// The bridge where the configuration names none: `br-` and the link that becomes its port.
pub(crate) fn bridge(segment: &Segment) -> IfName {
    let port = sub_interface(segment).unwrap_or_else(|| segment.uplink.clone());
    fitting(&format!("br-{port}"), &port)
}

/// The VLAN device on a filtering bridge by which the node itself is in the VLAN: `BRIDGE.ID`.
pub(crate) fn vlan_device(bridge: &IfName, id: u16) -> IfName {
    fitting(&format!("{bridge}.{id}"), bridge)
}

/// The text if it fits a name; else its first bytes and a hash of all of it, so that it stays the same and is unlike others.
fn fitting(text: &str, otherwise: &IfName) -> IfName {
    let name = if text.len() <= LIMIT_BYTES {
        text.to_owned()
    } else {
        format!("{}-{:04x}", &text[..LIMIT_BYTES - 5], hash(text))
    };
    // Made of parts of valid names, `br-`, digits and dots: always a name.
    name.parse().unwrap_or_else(|_| otherwise.clone())
}

/// FNV-1a, folded to 16 bits. Only has to spread; the names it tells apart are a node's uplinks and VLANs.
fn hash(text: &str) -> u32 {
    let full = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (full >> 16) ^ (full & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wiring::Vlan;

    fn segment(uplink: &str, vlan: Option<(u16, VlanMode)>) -> Segment {
        Segment {
            uplink: uplink.parse().unwrap(),
            bridge: None,
            mode: None,
            vlan: vlan.map(|(id, mode)| Vlan { id, mode }),
            mtu: None,
        }
    }

    #[test]
    fn short_names_tell_the_uplink_and_the_vlan() {
        assert_eq!(bridge(&segment("eth0", None)).as_str(), "br-eth0");
        let sub = segment("eth1", Some((120, VlanMode::SubInterface)));
        assert_eq!(sub_interface(&sub).unwrap().as_str(), "eth1.120");
        assert_eq!(bridge(&sub).as_str(), "br-eth1.120");
        let filtering = segment("eth1", Some((120, VlanMode::Filtering)));
        assert_eq!(sub_interface(&filtering), None);
        assert_eq!(bridge(&filtering).as_str(), "br-eth1");
    }

    #[test]
    fn long_names_are_cut_to_fifteen_bytes_and_stay_apart() {
        let name = |id| {
            bridge(&segment(
                "enp175s0f0np0",
                Some((id, VlanMode::SubInterface)),
            ))
        };
        assert_eq!(name(120).as_str().len(), 15);
        assert_ne!(name(120), name(121));
        assert_eq!(name(120), name(120));
        assert_eq!(bridge(&segment("enp175s0f0np01", None)).as_str().len(), 15);
    }
}
