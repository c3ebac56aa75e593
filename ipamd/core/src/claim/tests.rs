//! The decisions on claims: a table of the plain cases, and the protocol between nodes under everything that can go wrong.

mod protocol;
mod table;

use std::net::IpAddr;

use super::*;
use crate::fixture::{at, ip, network, pool, request, valid};
use crate::{Book, Settings, ValidSettings};

/// A node of rack `a` with ten addresses of `external` that it shares with the others; dual stack where asked for.
fn settings(node: &str, dual: bool) -> ValidSettings {
    let mut pools = vec![pool(
        "ext4",
        "external",
        "10.0.0.0/24",
        &["10.0.0.10-10.0.0.19"],
    )];
    if dual {
        pools.push(pool(
            "ext6",
            "external",
            "fd00::/64",
            &["fd00::10-fd00::19"],
        ));
    }
    valid(Settings {
        node: node.parse().unwrap(),
        pools,
        rules: Vec::new(),
        claiming: true,
        ..crate::fixture::settings()
    })
}

fn claim(node: &str, epoch: u64) -> Claim {
    Claim {
        uid: "u1".to_owned(),
        version: "7".to_owned(),
        content: ClaimContent {
            node: node.parse().unwrap(),
            epoch,
            binding: None,
            asked_by: None,
        },
        fenced: false,
        released: false,
        deleting: false,
    }
}
