//! Signal `ipamd`: the address daemon answers on its socket and can do its work. The same look feeds `addresses`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use ipamd_daemon::chain;
use proto_crd::node_health::Decision;
use proto_ipam::v1::ipam_client::IpamClient;
use proto_ipam::v1::{Phase, StatusRequest, StatusResponse};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tonic::transport::Endpoint;

use super::{Look, addresses, book, gateway, is_own, lost_addresses};
use crate::health::assess::{CORDON, LOOK_DEADLINE, PERIOD, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::lost::Lost;

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("ipamd");

/// How it is judged.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: TTL,
    // A restart or upgrade of the daemon takes a few seconds, and the Pods that start meanwhile wait for it.
    set: 3,
    clear: 2,
    decision: Decision::Observe,
    escalation: CORDON,
    threshold: "answers and serves; wrong when not so at 3 looks, 10 s apart",
};

/// The daemon.
#[derive(Debug)]
pub(in crate::health) struct Source {
    /// Its socket.
    pub(in crate::health) socket: PathBuf,
    /// The node that both are of.
    pub(in crate::health) node: String,
    /// Who ends what has an address of another node.
    pub(in crate::health) lost: watch::Sender<Vec<Lost>>,
    /// Who asks the gateways.
    pub(in crate::health) gateways: watch::Sender<Option<Vec<gateway::Gateway>>>,
}

/// What one look saw.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sight {
    /// It answered.
    Told(Box<StatusResponse>),
    /// Nobody listens.
    Away {
        /// The kernel's words.
        why: String,
    },
    /// Somebody listens and does not answer.
    Silent,
    /// It answered with an error.
    Faulty {
        /// Its words.
        why: String,
    },
    /// We could not look.
    Blind {
        /// Why.
        why: String,
    },
}

impl Look for Source {
    const NAME: &'static str = "ipamd";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        let sight = self.observe().await;
        let ipamd = assess(&sight, &self.node, &self.socket.display().to_string());
        if let Some(named) = lost_addresses::lost(&sight) {
            self.lost.send_if_modified(|lost| {
                let is_other = *lost != named;
                *lost = named;
                is_other
            });
        }
        if let Some(told) = gateway::told(&sight) {
            self.gateways.send_replace(Some(told));
        }
        vec![
            ipamd,
            addresses::assess(&sight),
            book::assess(&sight),
            lost_addresses::assess(&sight),
        ]
    }
}

impl Source {
    async fn observe(&self) -> Sight {
        tokio::time::timeout(LOOK_DEADLINE, self.ask())
            .await
            .unwrap_or(Sight::Silent)
    }

    async fn ask(&self) -> Sight {
        // A connection for each look: one that is kept would tell of a process that has lost its socket.
        let stream = match UnixStream::connect(&self.socket).await {
            Ok(stream) => stream,
            Err(error) => return unreachable(&error),
        };
        let mut stream = Some(TokioIo::new(stream));
        let connector = tower::service_fn(move |_| {
            let stream = stream.take();
            let stream = stream.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset));
            std::future::ready(stream)
        });
        // The host part is never used: the connector has the stream already.
        let endpoint = Endpoint::from_static("http://ipamd.invalid");
        let channel = match endpoint.connect_with_connector(connector).await {
            Ok(channel) => channel,
            Err(error) => return Sight::Faulty { why: chain(&error) },
        };
        let mut client = IpamClient::new(channel);
        match client.status(StatusRequest::default()).await {
            Ok(answer) => Sight::Told(Box::new(answer.into_inner())),
            Err(status) => Sight::Faulty {
                why: format!("{} ({:?})", status.message(), status.code()),
            },
        }
    }
}

fn unreachable(error: &io::Error) -> Sight {
    let why = error.to_string();
    if is_own(error) {
        Sight::Blind { why }
    } else {
        Sight::Away { why }
    }
}

const NO_NEW_PODS: &str = "Pods that start on this node get no addresses and wait in ContainerCreating; running Pods keep their network";
const LOOK_AT_IT: &str = "kubectl -n berth-system get pods -l app.kubernetes.io/name=berth-ipamd -o wide shows the \
    daemon of this node; kubectl -n berth-system logs POD -c ipamd, with --previous too, says why";

/// What a look says of the daemon.
fn assess(sight: &Sight, node: &str, socket: &str) -> Verdict {
    let (kind, value, message) = match sight {
        Sight::Told(status) => return assess_answer(status, node),
        Sight::Blind { why } => {
            let why = format!("the agent cannot connect to {socket}: {why}");
            return Verdict::unclear(SIGNAL, why);
        }
        Sight::Away { why } => (
            "away",
            "away".to_owned(),
            format!("berth-ipamd does not listen on {socket}: {why}"),
        ),
        Sight::Silent => (
            "silent",
            "silent".to_owned(),
            format!(
                "berth-ipamd listens on {socket} and does not answer within {} s: it hangs, or is stopped",
                LOOK_DEADLINE.as_secs()
            ),
        ),
        Sight::Faulty { why } => (
            "faulty",
            "error".to_owned(),
            format!("berth-ipamd answers with an error: {why}"),
        ),
    };
    let trouble = Trouble {
        kind,
        message,
        impact: NO_NEW_PODS.to_owned(),
        advice: LOOK_AT_IT.to_owned(),
    };
    Verdict::bad(SIGNAL, value, trouble)
}

fn assess_answer(status: &StatusResponse, node: &str) -> Verdict {
    let signal = SIGNAL;
    let case = match status.phase() {
        Phase::Serving if status.node == node => return Verdict::good(signal, describe(status)),
        Phase::Serving => return Verdict::bad(signal, "of another node", of_another(status, node)),
        Phase::Recovering => RECOVERING,
        Phase::ReadOnly => READ_ONLY,
        Phase::Damaged => DAMAGED,
        Phase::NoRack => NO_RACK,
        Phase::Unspecified => {
            let why = "berth-ipamd is in a state that this version of the agent does not know; upgrade the agent";
            return Verdict::unclear(signal, why);
        }
    };
    let trouble = Trouble {
        kind: case.kind,
        message: format!("berth-ipamd {}: {}", case.what, status.message),
        impact: NO_NEW_PODS.to_owned(),
        advice: case.advice.to_owned(),
    };
    Verdict::bad(signal, case.kind, trouble)
}

/// A phase in which the daemon hands nothing out.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: &'static str,
    what: &'static str,
    advice: &'static str,
}

const RECOVERING: Case = Case {
    kind: "recovering",
    what: "hands nothing out yet",
    advice: LOOK_AT_IT,
};
const READ_ONLY: Case = Case {
    kind: "read-only",
    what: "cannot write its store",
    advice: "make room on the disk of /var/lib/berth, or repair it; the daemon goes on by itself",
};
const DAMAGED: Case = Case {
    kind: "damaged",
    what: "does not trust its store",
    advice: "berth-ipamd fsck on the node says what is damaged; ipamd/README.md says how to go on",
};
const NO_RACK: Case = Case {
    kind: "no-rack",
    what: "does not know this node's rack, or has no pool for it",
    advice: "label the Node with its rack: kubectl label node NODE topology.berth.dev/rack=RACK (or the label that \
             rack_label of the configuration names), and give the rack a pool",
};

fn of_another(status: &StatusResponse, node: &str) -> Trouble {
    let told = &status.node;
    Trouble {
        kind: "other-node",
        message: format!("berth-ipamd takes this node for {told:?}, not {node:?}"),
        impact: "addresses are handed out from the pools of another node: two Pods may get the same one".to_owned(),
        advice: "set node in the daemon's configuration, or --node, to this node's name (kubectl get nodes)"
            .to_owned(),
    }
}

fn describe(status: &StatusResponse) -> String {
    let capabilities = if status.capabilities.is_empty() {
        "no capabilities".to_owned()
    } else {
        status.capabilities.join(" ")
    };
    format!(
        "serving, version {}, rack {}, {capabilities}",
        status.version, status.rack
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    fn told(phase: Phase, node: &str) -> Sight {
        Sight::Told(Box::new(StatusResponse {
            phase: phase.into(),
            message: "because".into(),
            node: node.into(),
            rack: "a".into(),
            version: "0.1.0".into(),
            capabilities: vec!["CAP_NET_RAW".into()],
            ..StatusResponse::default()
        }))
    }

    fn why() -> String {
        "the kernel said so".into()
    }

    #[test]
    fn looks_are_judged_by_the_table() {
        let bad = |kind| Some(kind);
        let table = [
            ("serving", told(Phase::Serving, "n1"), Some(None)),
            (
                "another node",
                told(Phase::Serving, "n2"),
                Some(bad("other-node")),
            ),
            (
                "recovering",
                told(Phase::Recovering, "n1"),
                Some(bad("recovering")),
            ),
            (
                "read-only",
                told(Phase::ReadOnly, "n1"),
                Some(bad("read-only")),
            ),
            ("damaged", told(Phase::Damaged, "n1"), Some(bad("damaged"))),
            ("no rack", told(Phase::NoRack, "n1"), Some(bad("no-rack"))),
            ("of a later version", told(Phase::Unspecified, "n1"), None),
            ("away", Sight::Away { why: why() }, Some(bad("away"))),
            ("silent", Sight::Silent, Some(bad("silent"))),
            ("faulty", Sight::Faulty { why: why() }, Some(bad("faulty"))),
            ("blind", Sight::Blind { why: why() }, None),
        ];
        for (case, sight, expected) in table {
            let verdict = assess(&sight, "n1", "/run/x.sock");
            let found = match verdict.finding {
                Finding::Good => Some(None),
                Finding::Bad(trouble) => Some(Some(trouble.kind)),
                Finding::Unclear { .. } | Finding::Absent => None,
            };
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn trouble_tells_what_the_daemon_or_the_kernel_said() {
        for (sight, words) in [
            (told(Phase::ReadOnly, "n1"), "because"),
            (
                Sight::Away { why: why() },
                "/run/x.sock: the kernel said so",
            ),
            (Sight::Faulty { why: why() }, "the kernel said so"),
        ] {
            let Finding::Bad(trouble) = assess(&sight, "n1", "/run/x.sock").finding else {
                panic!("{sight:?} is not bad");
            };
            assert!(trouble.message.contains(words), "{trouble:?}");
            assert!(!trouble.impact.is_empty() && !trouble.advice.is_empty());
        }
    }

    #[test]
    fn errors_of_our_own_say_nothing_of_the_daemon() {
        for (error, blind) in [
            (io::Error::from_raw_os_error(24), true),
            (io::ErrorKind::PermissionDenied.into(), true),
            (io::ErrorKind::NotFound.into(), false),
            (io::ErrorKind::ConnectionRefused.into(), false),
        ] {
            let is_blind = matches!(unreachable(&error), Sight::Blind { .. });
            assert_eq!(is_blind, blind, "{error}");
        }
    }

    #[test]
    fn what_serves_is_described() {
        let verdict = assess(&told(Phase::Serving, "n1"), "n1", "");
        assert_eq!(verdict.value, "serving, version 0.1.0, rack a, CAP_NET_RAW");
    }
}
