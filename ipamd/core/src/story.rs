//! An identity's bindings in sentences, and what would happen next.

mod ended;

use std::time::Duration;

use proto_ids::{Identity, NetworkName};

use crate::binding::{Binding, State};
use crate::book::{Book, Network, PoolBook};
use crate::rule::Hold;
use crate::time::Timestamp;

impl Book {
    /// What the book knows of an identity, one sentence each, and what would happen next.
    pub fn story(&self, identity: &Identity, now: Timestamp) -> Vec<String> {
        let mut story: Vec<_> = self
            .networks()
            .flat_map(|(name, network)| {
                let tables = &network.tables;
                let mut told = Vec::new();
                if let Some(binding) = tables.bindings.get(identity) {
                    told.extend(self.living(name, network, (identity, binding), now));
                }
                let rested = tables.quarantined_after(identity).into_iter();
                told.extend(rested.map(|(address, quarantine)| {
                    format!(
                        "{address} of network {name} rests until {} ({} more); until then only {identity} can have it again.",
                        quarantine.until,
                        rounded(quarantine.until.since(now)),
                    )
                }));
                told
            })
            .collect();
        if story.is_empty() {
            story.push(format!(
                "{identity} has no address and no address rests after it; its next Pod gets the addresses that are next in line."
            ));
        }
        story
    }

    fn living(
        &self,
        name: &NetworkName,
        network: &Network,
        (identity, binding): (&Identity, &Binding),
        now: Timestamp,
    ) -> Vec<String> {
        let addresses: Vec<_> = binding.addresses.iter().map(|a| a.to_string()).collect();
        let addresses = addresses.join(" and ");
        let (since, mac) = (binding.since, binding.mac);
        let mut told = match (&binding.state, binding.reservation.as_deref()) {
            (State::Attached(attached), _) => vec![
                format!(
                    "{addresses} of network {name} ({mac}) is attached to sandbox {} as {} since {since}.",
                    attached.attachment.sandbox, attached.ifname
                ),
                self.after_release(identity, binding),
            ],
            (_, Some(note)) => vec![format!(
                "{addresses} of network {name} ({mac}) is reserved for {identity} since {since}{}; its next Pod gets it.",
                if note.is_empty() {
                    String::new()
                } else {
                    format!(" ({note})")
                }
            )],
            (State::HeldUntil(until), None) => vec![format!(
                "{addresses} of network {name} ({mac}) is held for {identity} since {since}, until {until} ({} more), and its next Pod gets it; then it rests.",
                rounded(until.since(now))
            )],
            (State::Held, None) => vec![format!(
                "{addresses} of network {name} ({mac}) is held for {identity} since {since}, for ever; its next Pod gets it."
            )],
        };
        for address in binding.addresses.iter() {
            if let Some(conflict) = network.tables.conflicts.get(&address) {
                told.push(format!(
                    "{address} is used by a foreign host with MAC {} since {}: no new Pod gets it until that ends.",
                    conflict.foreign_mac, conflict.since
                ));
            }
            match network.pool_of(address).map(PoolBook::pool) {
                None => told.push(format!(
                    "{address} is in no configured pool: no new Pod gets it."
                )),
                Some(pool) => match self.rack() {
                    Ok(rack) if pool.rack != **rack => told.push(format!(
                        "{address} belongs to rack {}, this node to rack {rack}: the next Pod gets another address.",
                        pool.rack
                    )),
                    _ => {}
                },
            }
        }
        told
    }

    fn after_release(&self, identity: &Identity, binding: &Binding) -> String {
        if binding.reservation.is_some() {
            return "It is reserved: after its Pod it is kept for ever.".to_owned();
        }
        let settings = self.settings().settings();
        match settings.hold_by(binding.policy.as_deref(), identity, &binding.origin) {
            Hold::Forever => "After its Pod it is held for ever.".to_owned(),
            Hold::For(duration) => format!(
                "After its Pod it is held for {}.",
                humantime::format_duration(duration)
            ),
            Hold::None => {
                "After its Pod it is not held: it rests in quarantine, then it is free.".to_owned()
            }
        }
    }
}

/// Whole seconds: nobody wants to read milliseconds.
fn rounded(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

#[cfg(test)]
mod tests;
