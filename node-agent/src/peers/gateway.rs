//! What the signal `gateway` says, look by look, for the node's own vote: that must not wait until a signal counts as unhealthy.

use std::time::{Duration, Instant};

use node_agent_peers::vote::Gateway;

use crate::health::Finding;

/// A look that is older says nothing: the signal's own time to live.
const LIFE: Duration = Duration::from_secs(30);

/// The last look that said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GatewayLook {
    at: Instant,
    said: Said,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Answers,
    Silent { since: Instant },
    Absent,
}

impl GatewayLook {
    /// After one more look; an unclear one is none.
    pub(crate) fn after(last: Option<Self>, finding: &Finding, now: Instant) -> Option<Self> {
        let said = match finding {
            Finding::Good => Said::Answers,
            Finding::Absent => Said::Absent,
            Finding::Bad(_) => Said::Silent {
                since: match last {
                    Some(Self {
                        said: Said::Silent { since },
                        ..
                    }) => since,
                    _ => now,
                },
            },
            Finding::Unclear { .. } => return last,
        };
        Some(Self { at: now, said })
    }
}

/// What the vote goes by.
pub(super) fn known(last: Option<GatewayLook>, now: Instant) -> Gateway {
    match last.filter(|look| now.saturating_duration_since(look.at) <= LIFE) {
        None => Gateway::Unknown,
        Some(GatewayLook { at, said }) => match said {
            Said::Answers => Gateway::Answers { at },
            Said::Silent { since } => Gateway::Silent { since },
            Said::Absent => Gateway::NotWatched,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Trouble;

    fn bad() -> Finding {
        Finding::Bad(Trouble {
            kind: "silent",
            message: String::new(),
            impact: String::new(),
            advice: String::new(),
        })
    }

    fn unclear() -> Finding {
        Finding::Unclear { why: String::new() }
    }

    #[test]
    fn the_last_look_that_said_something_counts_while_it_is_fresh() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        // Looks, a second apart from 0 on; when it is asked; what is known then.
        for (looks, asked, expected) in [
            (vec![], 0, Gateway::Unknown),
            (vec![unclear()], 0, Gateway::Unknown),
            (vec![Finding::Good], 0, Gateway::Answers { at: at(0) }),
            (vec![Finding::Good], 30, Gateway::Answers { at: at(0) }),
            (vec![Finding::Good], 31, Gateway::Unknown),
            (
                vec![Finding::Good, bad(), bad()],
                2,
                Gateway::Silent { since: at(1) },
            ),
            (
                vec![bad(), unclear(), bad()],
                2,
                Gateway::Silent { since: at(0) },
            ),
            (
                vec![bad(), Finding::Good],
                1,
                Gateway::Answers { at: at(1) },
            ),
            (vec![Finding::Absent], 0, Gateway::NotWatched),
        ] {
            let mut last = None;
            for (finding, second) in looks.iter().zip(0..) {
                last = GatewayLook::after(last, finding, at(second));
            }
            assert_eq!(known(last, at(asked)), expected, "{looks:?}");
        }
    }
}
