//! What an operator sees of the book, as the protocol writes it.

use ipamd_core::{AuditEntry, BindingView, PoolStatus};
use proto_ipam::v1;

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// One address with its holder.
pub(crate) fn binding_record(view: &BindingView) -> v1::BindingRecord {
    v1::BindingRecord {
        address: view.address.to_string(),
        pool: text(view.pool.as_ref()),
        network: view.network.to_string(),
        rack: text(view.rack.as_ref()),
        state: view.state.to_string(),
        identity: text(view.identity.as_ref()),
        mac: text(view.mac.as_ref()),
        attachment: view.attachment.as_ref().map(Into::into),
        ifname: text(view.ifname.as_ref()),
        pod_uid: text(view.pod_uid.as_ref()),
        since: view.since.to_string(),
        until: text(view.until.as_ref()),
        note: view.note.clone(),
    }
}

/// One closed line of the audit log.
pub(crate) fn audit_record(entry: &AuditEntry) -> v1::AuditRecord {
    v1::AuditRecord {
        address: entry.address.to_string(),
        network: entry.network.to_string(),
        identity: entry.identity.to_string(),
        pod_uid: text(entry.pod_uid.as_ref()),
        sandbox: text(entry.sandbox.as_ref()),
        mac: entry.mac.to_string(),
        from: entry.from.to_string(),
        to: entry.to.to_string(),
        ended: entry.ended.to_string(),
    }
}

/// How full a pool is.
pub(super) fn pool_status(status: &PoolStatus) -> v1::PoolStatus {
    v1::PoolStatus {
        pool: status.pool.to_string(),
        network: status.network.to_string(),
        rack: status.rack.to_string(),
        subnet: status.subnet.to_string(),
        gateway: text(status.gateway.as_ref()),
        capacity: status.capacity,
        attached: status.attached,
        held: status.held,
        quarantined: status.quarantined,
        conflicting: status.conflicting,
        free: status.free,
    }
}
