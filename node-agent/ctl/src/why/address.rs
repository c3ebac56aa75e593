//! What is known of an address itself. Pure.

use std::net::IpAddr;

use super::{Known, Sentence};
use crate::output::Tone;
use crate::range::{Place, place};

/// In which pools it lies, and whether anybody has claimed it.
pub(super) fn tell(address: IpAddr, known: &Known) -> Vec<Sentence> {
    let mut told = Vec::new();
    for pool in &known.pools {
        let of = format!(
            "Pool {} (network {}, rack {})",
            pool.name, pool.spec.network, pool.spec.rack
        );
        match place(&pool.spec, address) {
            Place::Elsewhere => {}
            Place::Usable => told.push(Sentence::plain(format!("{address} is one of {of}."))),
            Place::NotHandedOut => told.push(Sentence::plain(format!(
                "{address} is in the subnet of {of}, which never hands it out: it is outside of its ranges, excluded, or a router's."
            ))),
        }
    }
    if told.is_empty() {
        told.push(Sentence::plain(format!(
            "{address} is in no Pool: Berth gives it to nobody. A Pod that has it has it from elsewhere, or from the pools of an \
             ipamd.toml."
        )));
    }
    let of_it = known.claims.iter().filter(|it| it.address == address);
    match of_it.count() {
        0 => told.push(Sentence::plain(format!("No node has claimed {address}: nobody has it."))),
        1 => {}
        many => told.push(Sentence::toned(
            Tone::Wrong,
            format!(
                "{many} claims are of {address}: where their networks are one, two Pods may have it. kubectl berth check says more."
            ),
        )),
    }
    told
}
