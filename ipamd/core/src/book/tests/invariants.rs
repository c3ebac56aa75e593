//! What must hold of a book whatever was done to it, and of a grant whatever was asked.

use std::collections::BTreeMap;

use proto_ids::{AllocateRequest, Grant, Identity};

use super::*;
use crate::range::bits;
use crate::refusal::Holder;
use crate::{AdoptedInterface, BindingState};

/// Indices and counts follow from the tables.
pub(super) fn check(book: &Book) {
    let mut attachments = BTreeMap::new();
    for (name, network) in book.networks() {
        let tables = &network.tables;
        let mut bound = 0;
        for (identity, binding) in &tables.bindings {
            for address in binding.addresses.iter() {
                bound += 1;
                let entry = tables.entries.get(&address);
                assert_eq!(entry, Some(&Entry::Bound(Arc::clone(identity))));
            }
            if let Some(attached) = binding.state.attached() {
                attachments
                    .entry(attached.attachment.clone())
                    .or_insert_with(BTreeSet::new)
                    .insert((name.clone(), (**identity).clone()));
            }
        }
        let entries = tables.entries.values();
        let bound_entries = entries.filter(|entry| matches!(entry, Entry::Bound(_)));
        assert_eq!(
            bound,
            bound_entries.count(),
            "no address is bound to nobody"
        );
        for pool in &network.pools {
            check_pool(book, tables, pool);
        }
    }
    assert_eq!(book.attachments, attachments);
}

fn check_pool(book: &Book, tables: &Tables, pool: &PoolBook) {
    let mut counted = Tally::default();
    let known = tables.entries.keys().chain(tables.conflicts.keys());
    let known: BTreeSet<_> = known.filter(|address| pool.hands_out(**address)).collect();
    let mut retired = Vec::new();
    for &&address in &known {
        match tables.class(address) {
            Class::Fresh => panic!("{address} is known and as good as new"),
            Class::Retired(sequence) => retired.push((sequence, address)),
            Class::Attached => counted.attached += 1,
            Class::Held => counted.held += 1,
            Class::Quarantined => counted.quarantined += 1,
            Class::Conflicting => counted.conflicting += 1,
            Class::Unclaimed => panic!("{address} is nobody's outside of a cluster"),
        }
    }
    assert_eq!(pool.tally, counted);
    retired.sort_unstable();
    let usable = book.settings.usable(pool.index);
    let fresh = usable
        .iter()
        .map(|bits| pool.family().address(bits))
        .filter(|address| !known.contains(address));
    let mut free = pool.free();
    for expected in fresh.take(20) {
        assert_eq!(free.next(), Some(expected));
        assert!(usable.contains(bits(expected)));
    }
    if pool.capacity() <= 20 {
        let order: Vec<_> = retired.into_iter().map(|(_, address)| address).collect();
        assert_eq!(free.collect::<Vec<_>>(), order);
        assert_eq!(pool.free_count(), pool.free().count() as u64);
    }
}

/// Promise 1 and 3: what is granted was nobody else's, and what was bound stays.
pub(super) fn grant_is_safe(
    before: &Book,
    request: &AllocateRequest,
    grant: &Grant,
    now: Timestamp,
) {
    for interface in &grant.interfaces {
        let network = &interface.network;
        for assigned in &interface.addresses {
            let address = assigned.address.addr();
            match before.holder(network, address) {
                None => {}
                Some(Holder::Held { identity, .. }) => assert_eq!(identity, grant.identity),
                Some(Holder::Quarantined { identity, until }) => {
                    assert_eq!(identity, grant.identity, "rests until {until}, it is {now}");
                }
                Some(Holder::SetAside { .. }) => panic!("{address} is set aside"),
                Some(Holder::Attached {
                    identity,
                    attachment,
                }) => {
                    let own = identity == grant.identity;
                    assert!(own || attachment == request.attachment);
                }
            }
        }
        let Some(bound) = before.binding(network, &grant.identity) else {
            continue;
        };
        let rack = before.settings().settings().rack.name().expect("known");
        let here = |address| {
            let pools = &before.network(network).expect("granted").pools;
            let mut here = pools.iter().filter(|pool| pool.pool().rack == *rack);
            here.any(|pool| pool.hands_out(address))
        };
        if bound.addresses.iter().all(here) {
            assert_eq!(interface.mac, bound.mac);
            for address in bound.addresses.iter() {
                let mut granted = interface.addresses.iter();
                assert!(granted.any(|assigned| assigned.address.addr() == address));
            }
        }
    }
}

/// An adopted interface has its addresses afterwards, and no other attachment lost any.
pub(super) fn adoption_is_safe(
    before: &Book,
    after: &Book,
    found: &AdoptedInterface,
    identity: &Identity,
) {
    for &address in &found.addresses {
        let Some(Holder::Attached {
            identity: holder,
            attachment,
        }) = after.holder(&found.network, address)
        else {
            panic!("{address} is not attached");
        };
        assert_eq!((&holder, &attachment), (identity, &found.attachment));
    }
    let attached = |book: &Book| -> Vec<_> {
        let attached = book.records().filter_map(|record| match record {
            Record::Binding(binding) => match &binding.state {
                BindingState::Attached { attachment, .. } if *attachment != found.attachment => {
                    Some(binding)
                }
                _ => None,
            },
            _ => None,
        });
        attached.collect()
    };
    assert_eq!(attached(before), attached(after));
}
