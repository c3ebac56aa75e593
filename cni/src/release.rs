//! The end of an attachment in the book: told to ipamd, or left as a note for it. Never lost, never waited for long.

use cni_spec::Daemon;
use proto_ids::Attachment;

use crate::error::{CallError, chain};
use crate::ipam::{Ipam, Patience};
use crate::{log, spool};

/// Releases the attachment's addresses, now or as soon as the daemon is back.
///
/// # Errors
/// When neither the daemon nor the spool took it: the runtime must call again.
pub(crate) fn release(daemon: &Daemon, attachment: &Attachment) -> Result<(), CallError> {
    let ipamd = Ipam {
        socket: &daemon.socket,
        deadline: daemon.release,
        patience: Patience::GiveUp,
    };
    let Err(error) = ipamd.release(attachment) else {
        return Ok(());
    };
    log::warn(
        "berth-ipamd did not take a release, a note is left for it",
        &[
            ("network", attachment.cni_network.as_str()),
            ("sandbox", attachment.sandbox.as_str()),
            ("ifname", attachment.ifname.as_str()),
            ("error", &chain(&error)),
        ],
    );
    spool::leave(&daemon.spool, attachment).map_err(|source| CallError::Tombstone { source })
}
