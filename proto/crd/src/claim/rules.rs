//! What the API server refuses of a claim, whoever writes it. Who may write what is the admission policy's.

use serde_json::{Value, json};

use crate::rule::{DURATION, rule};

/// Of the address.
pub(super) fn address() -> Value {
    json!([
        rule(
            "self == oldSelf",
            "the address of a claim cannot be changed"
        ),
        rule(
            "isIP(self) && ip.isCanonical(self)",
            "is not an address in its shortest form"
        ),
    ])
}

/// Of the whole, and of its changes.
pub(super) fn spec() -> Value {
    json!([
        rule(
            "self.epoch == oldSelf.epoch || self.epoch == oldSelf.epoch + 1",
            "the epoch of a claim stays or goes up by one"
        ),
        rule(
            "self.node == oldSelf.node || self.epoch == oldSelf.epoch + 1",
            "another node is another epoch: one more"
        ),
        rule(
            "self.node == oldSelf.node || !has(self.handover)",
            "nobody asks for a claim that has just changed hands: handover goes with the former holder"
        ),
        rule(
            "self.node == oldSelf.node || !has(self.fenced)",
            "the former holder was declared dead, not the new one: fenced goes with it"
        ),
        rule(
            "!has(self.handover) || self.handover.to != self.node",
            "a holder does not ask itself (handover.to)"
        ),
        rule(
            "!has(self.binding) || self.address in self.binding.addresses",
            "the binding of a claim has the claim's address among its addresses"
        ),
    ])
}

/// Of a binding.
pub(super) fn binding() -> Value {
    json!([
        rule(
            "self.addresses.all(a, isIP(a) && ip.isCanonical(a))",
            "addresses: one is not an address in its shortest form"
        ),
        rule(
            "size(self.addresses) < 2 || !self.addresses[0].contains(':') && self.addresses[1].contains(':')",
            "addresses: one of each family at most, IPv4 first"
        ),
        rule(
            "self.mac != '00:00:00:00:00:00'",
            "mac: no interface may have the zero address"
        ),
        rule(
            "!self.attached || !has(self.until)",
            "what is attached is held by nobody (until)"
        ),
    ])
}

/// Of how long a Pod's addresses are held.
pub(super) fn hold() -> Value {
    json!([rule(
        format!("self.matches('{DURATION}')"),
        "is not \"forever\", \"none\" or a duration such as \"30m\""
    )])
}
