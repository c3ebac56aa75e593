//! Signal `lost-addresses`: no sandbox here has an address that another node owns. Told by the address daemon; the look is that of
//! `ipamd`. What is lost is ended by [`crate::lost`].

use proto_crd::node_health::Decision;

use super::ipamd::Sight;
use crate::health::assess::{PERIOD, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::lost::Lost;

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("lost-addresses");

/// How it is judged.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: TTL,
    // There is nothing to wait for: the address is on the wire twice.
    set: 1,
    clear: 1,
    decision: Decision::Observe,
    escalation: None,
    threshold: "no sandbox has an address of another node",
};

/// Addresses that are named in the message; further ones are counted.
const NAMED: usize = 3;

/// What a look saw of it.
pub(super) fn lost(sight: &Sight) -> Option<Vec<Lost>> {
    match sight {
        Sight::Told(status) => Some(status.lost.iter().filter_map(Lost::told).collect()),
        _ => None,
    }
}

/// What a look says of it.
pub(super) fn assess(sight: &Sight) -> Verdict {
    let Some(lost) = lost(sight) else {
        return Verdict::unclear(SIGNAL, "only berth-ipamd knows, and it did not answer");
    };
    if lost.is_empty() {
        return Verdict::good(SIGNAL, "none");
    }
    let named = lost.iter().take(NAMED).map(|it| {
        let Lost {
            address,
            node,
            identity,
            ..
        } = it;
        format!("{address} of {identity} is node {node}'s")
    });
    let more = match lost.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let trouble = Trouble {
        kind: "lost",
        message: format!(
            "this node was declared dead while it lived: {}{more}",
            named.collect::<Vec<_>>().join(", ")
        ),
        impact: "two Pods answer for one address until the one here has ended; its sandbox is being stopped".to_owned(),
        advice: "delete the Pod that is on this node; find out why the node was fenced (kubectl berth why ADDRESS)".to_owned(),
    };
    Verdict::bad(SIGNAL, lost.len().to_string(), trouble)
}

#[cfg(test)]
mod tests {
    use proto_ipam::v1::{Attachment, LostAddress, StatusResponse};

    use super::*;
    use crate::health::signal::Finding;

    fn told(count: u8) -> Sight {
        let lost = (0..count).map(|number| LostAddress {
            network: "external".into(),
            address: format!("10.0.0.{number}"),
            node: "n2".into(),
            identity: format!("default/db-{number}"),
            attachment: Some(Attachment {
                sandbox: format!("s{number}"),
                ..Attachment::default()
            }),
        });
        Sight::Told(Box::new(StatusResponse {
            lost: lost.collect(),
            ..StatusResponse::default()
        }))
    }

    #[test]
    fn each_lost_address_is_named_with_its_owner() {
        assert_eq!(assess(&told(0)).finding, Finding::Good);
        let Finding::Bad(trouble) = assess(&told(5)).finding else {
            panic!("five are lost");
        };
        for part in ["10.0.0.0 of default/db-0 is node n2's", "and 2 more"] {
            assert!(trouble.message.contains(part), "{}", trouble.message);
        }
        assert!(matches!(
            assess(&Sight::Silent).finding,
            Finding::Unclear { .. }
        ));
    }
}
