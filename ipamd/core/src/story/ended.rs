//! A closed line of the log in a sentence: who had the address, and why that ended.

use crate::change::{AuditEntry, Ended};

impl AuditEntry {
    /// The line in a sentence.
    pub fn told(&self) -> String {
        let Self {
            address,
            network,
            identity,
            from,
            to,
            ..
        } = self;
        let what = match &self.sandbox {
            Some(sandbox) => format!("attached to sandbox {sandbox}"),
            None => format!("held for {identity}"),
        };
        format!(
            "{address} of network {network} was {what} from {from} until {to}: {}.",
            self.ended.cause()
        )
    }
}

impl Ended {
    /// What happened.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Released => "its runtime said that the sandbox ended (DEL)",
            Self::Collected => "its runtime did not list the sandbox any more (GC)",
            Self::Moved => "a newer sandbox of the same identity took it over",
            Self::Reboot => "the node booted",
            Self::Vanished => "it was found to be gone when the book was recovered",
            Self::SandboxGone => {
                "no DEL came, but its runtime no longer knew the sandbox, and no port of it was left on the node"
            }
            Self::Attached => "its next sandbox attached it",
            Self::Expired => "the time of the hold was over",
            Self::Freed => "an operator freed it",
            Self::RackChanged => "the node is in another rack now",
            Self::Named => "its ADD gave it a name",
            Self::Given => "another node asked for it and was given it",
            Self::Unwanted => "nobody needs it any more: its claim says so, or was deleted",
            Self::Lost => "the node was declared dead, and another one took it over",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{at, ip, mac, network};

    #[test]
    fn a_line_says_what_was_the_case_and_why_it_ended() {
        let mut line = AuditEntry {
            address: ip("10.20.1.10"),
            network: network("external"),
            identity: "prod/db-0".parse().unwrap(),
            pod_uid: None,
            sandbox: Some("s1".parse().unwrap()),
            mac: mac("02:00:00:00:00:01"),
            from: at(0),
            to: at(60),
            ended: Ended::SandboxGone,
        };
        assert_eq!(
            line.told(),
            "10.20.1.10 of network external was attached to sandbox s1 from 2026-01-01T12:00:00.000Z until \
             2026-01-01T12:01:00.000Z: no DEL came, but its runtime no longer knew the sandbox, and no port of it was left \
             on the node."
        );
        line.sandbox = None;
        line.ended = Ended::Expired;
        assert!(line.told().contains("was held for prod/db-0 from"));
    }
}
