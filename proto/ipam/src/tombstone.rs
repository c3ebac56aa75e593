//! The note that `berth DEL` leaves when `berth-ipamd` is away: one file per attachment in the spool folder, written to
//! a temporary name, synced and renamed. `berth-ipamd` releases what it names, then removes it.
//!
//! The spool may be lost with a reboot: after one, no attachment of before exists, and the daemon knows it by the boot id.

use proto_ids::Attachment;
use serde::{Deserialize, Serialize};

/// Default spool folder. On tmpfs, so that a full disk cannot keep a Pod from ending.
pub const SPOOL: &str = "/run/berth/spool";

/// End of a finished tombstone's file name; anything else in the folder is being written.
pub const SUFFIX: &str = ".tombstone";

/// An attachment that ended while the daemon was away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Format; 1.
    pub version: u32,
    /// What ended.
    pub attachment: Attachment,
}

impl Tombstone {
    /// A tombstone of the current format.
    pub fn new(attachment: Attachment) -> Self {
        Self {
            version: 1,
            attachment,
        }
    }

    /// The file name: derived, so that no id reaches a path and a repeated DEL writes the same file.
    pub fn file_name(&self) -> String {
        format!("{}{SUFFIX}", self.attachment.file_stem())
    }
}
