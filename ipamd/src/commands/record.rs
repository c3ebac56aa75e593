//! Answers as documents with stable field names (those of the protocol), and how people see them.

use proto_ipam::v1;
use serde::Serialize;

use super::output::table;

/// One address with its holder.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Binding {
    pub(crate) address: String,
    pub(crate) pool: String,
    pub(crate) network: String,
    pub(crate) rack: String,
    pub(crate) state: String,
    pub(crate) identity: String,
    pub(crate) mac: String,
    pub(crate) attachment: Option<Attachment>,
    pub(crate) ifname: String,
    pub(crate) pod_uid: String,
    pub(crate) since: String,
    pub(crate) until: String,
    pub(crate) note: String,
}

/// CNI's key of one ADD.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Attachment {
    pub(crate) cni_network: String,
    pub(crate) sandbox: String,
    pub(crate) ifname: String,
}

/// One line of the audit log.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Audit {
    pub(crate) address: String,
    pub(crate) network: String,
    pub(crate) identity: String,
    pub(crate) pod_uid: String,
    pub(crate) sandbox: String,
    pub(crate) mac: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) ended: String,
}

impl From<v1::Attachment> for Attachment {
    fn from(wire: v1::Attachment) -> Self {
        Self {
            cni_network: wire.cni_network,
            sandbox: wire.sandbox,
            ifname: wire.ifname,
        }
    }
}

impl From<v1::BindingRecord> for Binding {
    fn from(wire: v1::BindingRecord) -> Self {
        Self {
            address: wire.address,
            pool: wire.pool,
            network: wire.network,
            rack: wire.rack,
            state: wire.state,
            identity: wire.identity,
            mac: wire.mac,
            attachment: wire.attachment.map(Into::into),
            ifname: wire.ifname,
            pod_uid: wire.pod_uid,
            since: wire.since,
            until: wire.until,
            note: wire.note,
        }
    }
}

impl From<v1::AuditRecord> for Audit {
    fn from(wire: v1::AuditRecord) -> Self {
        Self {
            address: wire.address,
            network: wire.network,
            identity: wire.identity,
            pod_uid: wire.pod_uid,
            sandbox: wire.sandbox,
            mac: wire.mac,
            from: wire.from,
            to: wire.to,
            ended: wire.ended,
        }
    }
}

/// Container ids have 64 digits; people and `crictl` tell them apart by fewer.
const SHORT_ID: usize = 13;

fn short(id: &str) -> String {
    id.chars().take(SHORT_ID).collect()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() {
        "-".into()
    } else {
        text.into()
    }
}

/// Whole seconds: what people compare. Programs get the milliseconds.
fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, rest)) if rest.ends_with('Z') => format!("{seconds}Z"),
        _ => time.into(),
    }
}

fn or_for_ever(state: &str, until: &str) -> String {
    match (state, until) {
        ("held" | "reserved", "") => "for ever".into(),
        (_, until) => or_dash(&seconds(until)),
    }
}

/// Bindings as people read them.
pub(crate) fn binding_table(bindings: &[Binding]) -> String {
    let rows = bindings.iter().map(|binding| {
        let sandbox = binding.attachment.as_ref().map(|held| short(&held.sandbox));
        [
            binding.address.clone(),
            binding.network.clone(),
            binding.pool.clone(),
            binding.state.clone(),
            or_dash(&binding.identity),
            or_dash(&binding.mac),
            or_dash(&sandbox.unwrap_or_default()),
            or_dash(&seconds(&binding.since)),
            or_for_ever(&binding.state, &binding.until),
            binding.note.clone(),
        ]
    });
    let headings = [
        "ADDRESS", "NETWORK", "POOL", "STATE", "IDENTITY", "MAC", "SANDBOX", "SINCE", "UNTIL",
        "NOTE",
    ];
    table(headings, rows)
}

/// The audit log as people read it.
pub(crate) fn audit_table(log: &[Audit]) -> String {
    let rows = log.iter().map(|line| {
        let to = if line.to.is_empty() {
            "still".into()
        } else {
            seconds(&line.to)
        };
        [
            line.address.clone(),
            line.network.clone(),
            or_dash(&line.identity),
            or_dash(&short(&line.sandbox)),
            or_dash(&line.mac),
            or_dash(&seconds(&line.from)),
            to,
            line.ended.clone(),
        ]
    });
    let headings = [
        "ADDRESS", "NETWORK", "IDENTITY", "SANDBOX", "MAC", "FROM", "TO", "ENDED",
    ];
    table(headings, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shortened_for_people_only() {
        assert_eq!(seconds("2026-01-01T00:00:00.123Z"), "2026-01-01T00:00:00Z");
        assert_eq!(seconds("2026-01-01T00:00:00Z"), "2026-01-01T00:00:00Z");
        assert_eq!(or_for_ever("held", ""), "for ever");
        assert_eq!(or_for_ever("attached", ""), "-");
    }

    #[test]
    fn json_keeps_the_protocols_field_names() {
        let binding = Binding::from(v1::BindingRecord {
            address: "10.20.1.100".into(),
            state: "held".into(),
            ..v1::BindingRecord::default()
        });
        let json = serde_json::to_value(&binding).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        let mut expected = [
            "address",
            "pool",
            "network",
            "rack",
            "state",
            "identity",
            "mac",
            "attachment",
            "ifname",
            "pod_uid",
            "since",
            "until",
            "note",
        ];
        expected.sort_unstable();
        let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, expected);
    }
}
