//! Signal `kubelet-lease`: kubelet renews its Lease, by which Kubernetes tells whether the node lives. Both clocks are this node's.
//!
//! A kubelet whose certificate has expired, or whose way to the API server is cut, says on the node that it is well. The Lease is
//! read from the API server's cache (resource version 0), twice a minute.

use std::time::Duration;

use ipamd_daemon::chain;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::GetParams;
use kube::{Api, Client};
use proto_crd::node_health::Decision;

use super::Look;
use crate::health::assess::Rule;
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::health::writer::CallApiError;

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("kubelet-lease");

/// How it is judged.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: Source::PERIOD,
    ttl: Duration::from_secs(120),
    set: 2,
    clear: 1,
    decision: Decision::Observe,
    escalation: None,
    threshold: "renewed less than 30 s ago; wrong when not so at 2 looks, 30 s apart",
};

/// Where kubelets' Leases are.
const NAMESPACE: &str = "kube-node-lease";

/// kubelet renews every ten seconds, and the node is taken for lost after fifty.
const OLD: Duration = Duration::from_secs(30);

/// The clock was put back, or somebody else writes it.
const FUTURE: Duration = Duration::from_secs(30);

const DEADLINE: Duration = Duration::from_secs(4);

/// The Lease of this node's kubelet.
pub(in crate::health) struct Source {
    /// The API server.
    pub(in crate::health) client: Client,
    /// The node.
    pub(in crate::health) node: String,
}

/// What one look saw.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    Renewed(Timestamp),
    /// There is none, or it was never renewed.
    None,
    /// The API server did not say.
    Blind(String),
}

impl Look for Source {
    const NAME: &'static str = "kubelet-lease";
    const PERIOD: Duration = Duration::from_secs(30);

    async fn look(&mut self) -> Vec<Verdict> {
        vec![assess(&self.see().await, &self.node, Timestamp::now())]
    }
}

impl Source {
    async fn see(&self) -> Sight {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let cached = GetParams::any();
        let answer = tokio::time::timeout(DEADLINE, api.get_with(&self.node, &cached)).await;
        match answer {
            Ok(Ok(lease)) => match lease.spec.and_then(|spec| spec.renew_time) {
                Some(time) => Sight::Renewed(time.0),
                None => Sight::None,
            },
            Ok(Err(error)) => {
                let error = CallApiError::from(error);
                if error.is_not_found() {
                    Sight::None
                } else {
                    Sight::Blind(format!("{}{}", chain(&error), error.advice()))
                }
            }
            Err(_) => Sight::Blind(format!(
                "the API server does not answer within {} s",
                DEADLINE.as_secs()
            )),
        }
    }
}

fn assess(sight: &Sight, node: &str, now: Timestamp) -> Verdict {
    let (kind, value, message) = match sight {
        Sight::Blind(why) => {
            return Verdict::unclear(SIGNAL, format!("kubelet's Lease cannot be read: {why}"));
        }
        Sight::None => (
            "none",
            "none".to_owned(),
            format!("there is no Lease of kubelet's for node {node}"),
        ),
        Sight::Renewed(time) => {
            let age = now.duration_since(*time);
            let seconds = age.as_secs();
            if age.unsigned_abs() > FUTURE && age.is_negative() {
                let why = format!(
                    "kubelet's Lease was renewed {} s in the future: was the clock put back?",
                    -seconds
                );
                return Verdict::unclear(SIGNAL, why);
            }
            let value = format!("renewed {} s ago", seconds.max(0));
            if age.unsigned_abs() < OLD || age.is_negative() {
                return Verdict::good(SIGNAL, value);
            }
            let message =
                format!("kubelet has not renewed its Lease for {seconds} s; it does so every 10 s");
            ("old", value, message)
        }
    };
    let trouble = Trouble {
        kind,
        message,
        impact: "Kubernetes takes the node for lost after 50 s: its Pods are unready then, and evicted after five minutes".to_owned(),
        advice: "the agent reaches the API server and kubelet does not: on the node, journalctl -u kubelet; an expired certificate \
                 (openssl x509 -enddate -noout -in /var/lib/kubelet/pki/kubelet-client-current.pem) or a kubelet that hangs"
            .to_owned(),
    };
    Verdict::bad(SIGNAL, value, trouble)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    #[test]
    fn ages_are_judged_by_the_table() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let renewed = |ago: i64| Sight::Renewed(Timestamp::from_second(1_000_000 - ago).unwrap());
        let table = [
            (renewed(0), Some("good")),
            (renewed(29), Some("good")),
            (renewed(30), Some("old")),
            (renewed(4000), Some("old")),
            (renewed(-5), Some("good")),
            (renewed(-31), None),
            (Sight::None, Some("none")),
            (Sight::Blind("away".into()), None),
        ];
        for (sight, expected) in table {
            let found = match assess(&sight, "n1", now).finding {
                Finding::Good => Some("good"),
                Finding::Bad(trouble) => Some(trouble.kind),
                Finding::Unclear { .. } | Finding::Absent => None,
            };
            assert_eq!(found, expected, "{sight:?}");
        }
    }
}
