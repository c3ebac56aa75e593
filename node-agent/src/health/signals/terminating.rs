//! Signal `terminating`: Pods of this node that were to be gone long ago, as the watch of its Pods tells.
//!
//! One such Pod has a finalizer that somebody forgot; three are a runtime that stops nothing, a volume that lets nothing go, or a
//! kubelet that has given up.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proto_crd::node_health::Decision;

use super::Look;
use crate::health::assess::Rule;
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::pods::{LeanPod, Pods};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("terminating");

/// How it is judged.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: Source::PERIOD,
    ttl: Duration::from_secs(120),
    set: 2,
    clear: 1,
    decision: Decision::Observe,
    escalation: None,
    threshold: "fewer than 3 Pods 5 min past their grace period; wrong at 2 looks, 30 s apart",
};

/// Past the grace period, which is in the time of the deletion already.
const LATE: Duration = Duration::from_secs(5 * 60);

/// So many are wrong.
const LIMIT: usize = 3;

/// Names that are listed.
const LISTED: usize = 5;

/// The node's Pods.
pub(in crate::health) struct Source {
    /// As the watch tells them.
    pub(in crate::health) pods: Pods,
}

impl Look for Source {
    const NAME: &'static str = "terminating";
    const PERIOD: Duration = Duration::from_secs(30);

    async fn look(&mut self) -> Vec<Verdict> {
        let pods = self.pods.is_complete().then(|| self.pods.all());
        vec![assess(pods.as_deref(), Timestamp::now())]
    }
}

fn assess(pods: Option<&[Arc<LeanPod>]>, now: Timestamp) -> Verdict {
    let Some(pods) = pods else {
        return Verdict::unclear(SIGNAL, "the API server has not told this node's Pods yet");
    };
    let is_late = |pod: &&Arc<LeanPod>| {
        let deletion = pod.metadata.deletion_timestamp.as_ref();
        deletion.is_some_and(|time| {
            let past = now.duration_since(time.0);
            past.is_positive() && past.unsigned_abs() >= LATE
        })
    };
    let late: Vec<_> = pods.iter().filter(is_late).collect();
    let value = format!("{} of {} Pods late", late.len(), pods.len());
    if late.len() < LIMIT {
        return Verdict::good(SIGNAL, value);
    }
    let listed = late.iter().take(LISTED);
    let names: Vec<_> = listed
        .map(|pod| format!("{}/{}", pod.namespace(), pod.name()))
        .collect();
    let more = match late.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let trouble = Trouble {
        kind: "stuck",
        message: format!(
            "{} Pods were to be gone more than five minutes ago and are not: {}{more}",
            late.len(),
            names.join(", ")
        ),
        impact: "their names, addresses and volumes are free for nobody; a StatefulSet does not go on".to_owned(),
        advice: "kubectl get pod NAME -o yaml: a finalizer waits for its owner; else, on the node, journalctl -u kubelet says what \
                 does not end: a container (crictl ps), a mount, a volume"
            .to_owned(),
    };
    Verdict::bad(SIGNAL, value, trouble)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::health::signal::Finding;

    const NOW: i64 = 1_000_000;

    fn pod(name: &str, deleted: Option<i64>) -> Arc<LeanPod> {
        let mut pod = LeanPod::default();
        pod.metadata.namespace = Some("prod".to_owned());
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.deletion_timestamp =
            deleted.map(|ago| Time(Timestamp::from_second(NOW - ago).unwrap()));
        Arc::new(pod)
    }

    #[test]
    fn three_pods_that_are_late_are_wrong_and_two_are_not() {
        let now = Timestamp::from_second(NOW).unwrap();
        // Seconds since each Pod was to be gone.
        let table: [(&[Option<i64>], bool); 5] = [
            (&[], false),
            (&[None; 5], false),
            (&[Some(300), Some(4000), Some(299), None], false),
            (&[Some(-600), Some(-600), Some(-600)], false),
            (&[Some(300), Some(4000), Some(301), None], true),
        ];
        for (deleted, wrong) in table {
            let pods: Vec<_> = deleted.iter().map(|ago| pod("p", *ago)).collect();
            let found = matches!(assess(Some(&pods), now).finding, Finding::Bad(_));
            assert_eq!(found, wrong, "{deleted:?}");
        }
        assert!(matches!(assess(None, now).finding, Finding::Unclear { .. }));
    }

    #[test]
    fn some_of_many_are_named() {
        let now = Timestamp::from_second(NOW).unwrap();
        let pods: Vec<_> = (0..40).map(|n| pod(&format!("p{n}"), Some(900))).collect();
        let Finding::Bad(trouble) = assess(Some(&pods), now).finding else {
            panic!("40 late Pods are wrong");
        };
        assert!(trouble.message.contains("prod/p0, prod/p1"), "{trouble:?}");
        assert!(trouble.message.ends_with("and 35 more"), "{trouble:?}");
    }
}
