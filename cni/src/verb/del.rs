//! DEL: links and addresses go, as far as anything can be known of them; what cannot be known is not an error.
//!
//! Needs container id and interface name only. The namespace is never entered: removing the port on the node removes
//! the pair, and a path that belongs to somebody else by now cannot be harmed. Everything is tried before anything is
//! reported.

use cni_datapath::unwire::unwire;
use cni_spec::{Daemon, DelegateConf, Document, Ended, ParseConfError, Verb};
use proto_ids::Attachment;

use crate::error::{CallError, chain};
use crate::log;
use crate::release::release;
use crate::request::Role;

pub(super) fn run(
    role: Role,
    ended: &Ended,
    document: Result<Document, CallError>,
) -> Result<(), CallError> {
    let (document, broken) = match document {
        Ok(document) => {
            let broken = document.header(Verb::Del).err().map(CallError::Conf);
            (Some(document), broken)
        }
        Err(error) => (None, Some(error)),
    };
    let daemon = daemon(role, document.as_ref());
    let mut errors: Vec<_> = broken.into_iter().collect();
    let attachments = match document.as_ref().and_then(Document::name) {
        Some(cni_network) => vec![Attachment {
            cni_network,
            sandbox: ended.sandbox.clone(),
            ifname: ended.ifname.clone(),
        }],
        // Without a name the ports tell it, where there are any.
        None => named_by_ports(ended),
    };
    for attachment in &attachments {
        if role == Role::Plugin
            && let Err(failed) = unwire(attachment)
        {
            errors.push(CallError::Unwire(failed));
        }
        errors.extend(release(&daemon, attachment).err());
    }
    match errors.pop() {
        None => Ok(()),
        Some(only) if errors.is_empty() => Err(only),
        Some(last) => {
            errors.push(last);
            Err(CallError::Several(errors))
        }
    }
}

/// The daemon, or the default one where the configuration is broken: a note in the default spool is found, too.
fn daemon(role: Role, document: Option<&Document>) -> Daemon {
    let read: fn(&Document) -> Result<Daemon, ParseConfError> = match role {
        Role::Plugin => Document::daemon,
        Role::Ipam => DelegateConf::daemon,
    };
    match document.map(read) {
        None => Daemon::default(),
        Some(Ok(daemon)) => daemon,
        Some(Err(error)) => {
            log::warn(
                "the configuration of berth-ipamd is broken, the default is used",
                &[("error", &chain(&error))],
            );
            Daemon::default()
        }
    }
}

fn named_by_ports(ended: &Ended) -> Vec<Attachment> {
    let ports = match cni_datapath::ports::ports() {
        Ok(ports) => ports,
        Err(error) => {
            log::warn(
                "the host-side ports cannot be listed",
                &[("error", &chain(&error))],
            );
            return Vec::new();
        }
    };
    let mut named: Vec<_> = ports
        .into_iter()
        .map(|port| port.alias.attachment)
        .filter(|other| other.sandbox == ended.sandbox && other.ifname == ended.ifname)
        .collect();
    named.sort();
    named.dedup();
    named
}
