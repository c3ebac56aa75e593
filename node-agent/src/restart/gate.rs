//! The readiness gate of a Pod, held and given back: read live each time, written on that version only.

use node_agent_restart::gate::{HoldError, Holders};
use proto_crd::names;
use proto_crd::time::Timestamp;

use super::api::{Api, AskApiError};
use super::facts::condition;
use crate::pods::LeanPod;

/// kubelet writes a Pod's status several times in a row when it changes: each may come first.
const TRIES: u32 = 5;

/// Which Pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct PodRef<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
}

/// Why a Pod's gate is not as it is wanted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeGateError {
    /// It could not be read or written.
    #[error("the readiness gate of Pod {pod}")]
    Ask {
        pod: String,
        #[source]
        source: AskApiError,
    },
    /// Nobody can enter, or it is not known who holds it.
    #[error("the readiness gate of Pod {pod}")]
    Hold {
        pod: String,
        #[source]
        source: HoldError,
    },
}

/// Changes who holds a Pod. A Pod that is gone or another one, and one without the gate, is held by nobody: nothing is done.
///
/// # Errors
/// When it is not so.
pub(super) async fn change(
    api: &Api,
    pod: PodRef<'_>,
    now: Timestamp,
    change: impl Fn(Holders) -> Result<Holders, HoldError>,
) -> Result<(), ChangeGateError> {
    let name = || format!("{}/{}", pod.namespace, pod.name);
    let ask = |source| ChangeGateError::Ask {
        pod: name(),
        source,
    };
    let hold = |source| ChangeGateError::Hold {
        pod: name(),
        source,
    };
    let mut outcome = Ok(());
    for _ in 0..TRIES {
        let live = api.pod(pod.namespace, pod.name).await.map_err(ask)?;
        let Some(live) = live.filter(|live| has_gate(live, pod.uid)) else {
            return Ok(());
        };
        let before = condition(&live);
        let holders = Holders::of(before).and_then(&change).map_err(hold)?;
        let is_so = before.is_some_and(|before| {
            before.status == holders.status() && before.message == holders.message()
        });
        if is_so {
            return Ok(());
        }
        outcome = match api.hold(&live, &holders, now).await {
            Ok(()) | Err(AskApiError::Gone) => return Ok(()),
            Err(error @ AskApiError::Outdated) => Err(ask(error)),
            Err(error) => return Err(ask(error)),
        };
    }
    outcome
}

fn has_gate(pod: &LeanPod, uid: &str) -> bool {
    pod.uid() == uid && pod.has_gate(names::SERVICE_READY_GATE)
}
