//! What berth-ipamd's own commands answer (`--output json`): the field names of the protocol. Unknown fields are left out.

use serde::{Deserialize, Serialize};

/// The answer of `who`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Holders {
    /// Who has the address on that node now.
    pub(crate) current: Option<Binding>,
    /// Who has it in further networks.
    pub(crate) others: Vec<Binding>,
    /// Who had it when.
    pub(crate) log: Vec<Audit>,
}

/// The answer of `why`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Story {
    /// In sentences.
    pub(crate) story: Vec<String>,
}

/// The answer of `reserve`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Reserved {
    /// What is reserved.
    pub(crate) bindings: Vec<Binding>,
}

/// The answer of `fsck`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Fsck {
    /// What an operator should know, also of attachments without a port.
    pub(crate) findings: Vec<String>,
}

/// One address with its holder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Binding {
    /// The address.
    pub(crate) address: String,
    /// Its network.
    pub(crate) network: String,
    /// attached, held, reserved, quarantined, conflicting.
    pub(crate) state: String,
    /// Whose it is.
    pub(crate) identity: String,
    /// Its MAC.
    pub(crate) mac: String,
    /// The sandbox that has it.
    pub(crate) attachment: Option<Attachment>,
    /// The Pod that has it.
    pub(crate) pod_uid: String,
    /// Since when it is so.
    pub(crate) since: String,
    /// Until when; empty: for ever.
    pub(crate) until: String,
    /// An operator's.
    pub(crate) note: String,
}

/// Who has an address on an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attachment {
    /// The sandbox.
    pub(crate) sandbox: String,
}

/// A line of the audit log: something that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Audit {
    /// The address.
    pub(crate) address: String,
    /// Its network.
    pub(crate) network: String,
    /// Who had it.
    pub(crate) identity: String,
    /// Of which Pod.
    pub(crate) pod_uid: String,
    /// In which sandbox.
    pub(crate) sandbox: String,
    /// With which MAC.
    pub(crate) mac: String,
    /// From when.
    pub(crate) from: String,
    /// To when. What lasts is in no log.
    pub(crate) to: String,
    /// Why it ended.
    pub(crate) ended: String,
}
