//! Signal `kill-storm`: Pods that were deleted while the node did not hear the API server end all at once, and are limited meanwhile, as
//! the recovery guard says ([`crate::guard`]). Where it is off there is no such signal.

use std::time::Duration;

use proto_crd::node_health::Decision;

use super::Look;
use crate::guard::Storms;
use crate::health::assess::{Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("kill-storm");

/// How it is judged.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: Source::PERIOD,
    ttl: TTL,
    // Something is done about it already; this tells.
    set: 1,
    clear: 1,
    decision: Decision::Observe,
    escalation: None,
    threshold: "no Pods that end are limited",
};

/// What the guard says.
pub(in crate::health) struct Source {
    /// The storm.
    pub(in crate::health) storms: Storms,
}

impl Look for Source {
    const NAME: &'static str = "kill-storm";
    const PERIOD: Duration = Duration::from_secs(5);

    async fn look(&mut self) -> Vec<Verdict> {
        vec![assess(&self.storms)]
    }
}

fn assess(storms: &Storms) -> Verdict {
    let Some(storms) = storms else {
        return Verdict::absent(SIGNAL, "the recovery guard is off");
    };
    let Some(storm) = *storms.borrow() else {
        return Verdict::good(SIGNAL, "none");
    };
    let value = format!("{} of {} Pods", storm.ending, storm.pods);
    let trouble = Trouble {
        kind: "storm",
        message: storm.words(),
        impact: "they take longer to end, and the other Pods keep four fifths of the processors".to_owned(),
        advice: "nothing: it is over with the last of them, and after ten minutes; kubectl get events -A says who deleted them".to_owned(),
    };
    Verdict::bad(SIGNAL, value, trouble)
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::guard::Storm;
    use crate::health::signal::Finding;

    #[test]
    fn a_storm_is_told_with_its_figures_and_without_a_guard_there_is_none() {
        let storm = Storm {
            ending: 40,
            pods: 60,
            millicores: 10,
            gap: Some(Duration::from_secs(1200)),
        };
        let says = |storm| Some(watch::channel(storm).1);
        assert_eq!(assess(&None).finding, Finding::Absent);
        assert_eq!(assess(&says(None)).finding, Finding::Good);
        let Finding::Bad(trouble) = assess(&says(Some(storm))).finding else {
            panic!("a storm is bad");
        };
        assert_eq!(
            trouble.message,
            "kill storm: 40 of 60 Pods end after 1200 s without the API server, 10 thousandths of a processor each"
        );
    }
}
