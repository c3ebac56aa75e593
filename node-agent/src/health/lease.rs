//! The agent's own Lease: that it lives, told every half minute at the price of a few hundred bytes, where the report is told every
//! few minutes only. Named as the node, in Berth's namespace; it goes with the Node, which owns it.
//!
//! Renewed only while the agent judges: one whose loop is stuck lives in nobody's eyes. Written without reading: the times merged
//! into what is there, and made where it is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ipamd_daemon::Tasks;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use proto_crd::names;
use serde_json::json;
use tokio::time::sleep_until;

use super::course::Course;
use super::pace::Pace;
use super::report::Chance;
use super::writer::{CallApiError, Place, ReportError, Writer};
use crate::contact::Contact;
use crate::metrics::{HealthMetrics, Told};
use crate::pulse::Pulse;

/// From one renewal to the next, shortened by up to a quarter at random: 333 to 444 writes a second of ten thousand agents.
const PERIOD: Duration = Duration::from_secs(30);

/// A reader may take the agent for alive so long after a renewal: three may be lost.
const DURATION_SECONDS: i32 = 120;

/// Why the Lease was not renewed.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    /// Learning the Node's UID, which owns it.
    #[error("learning which Node is ours")]
    Identify {
        #[source]
        source: ReportError,
    },
    /// Making it.
    #[error("creating Lease {name}{}", .source.advice())]
    Create {
        name: String,
        #[source]
        source: CallApiError,
    },
    /// Renewing it.
    #[error("renewing Lease {name}{}", .source.advice())]
    Renew {
        name: String,
        #[source]
        source: CallApiError,
    },
}

/// What the task works with.
pub(super) struct Beats {
    /// The API server.
    pub(super) client: Client,
    /// Who knows the Node's UID.
    pub(super) writer: Arc<Writer>,
    /// Which Lease.
    pub(super) place: Place,
    /// Whether the agent judges.
    pub(super) pulse: Pulse,
    /// Told when the API server is heard.
    pub(super) contact: Contact,
    /// What is counted.
    pub(super) metrics: HealthMetrics,
}

/// Starts to renew.
pub(super) fn spawn_lease(tasks: &Tasks, beats: Beats) {
    let token = tasks.token();
    tasks.spawn("lease", async move {
        // It is not given up at the end: nobody waits for it, and the next process of this node renews it.
        tokio::select! {
            () = token.cancelled() => {}
            () = beats.run() => {}
        }
    });
}

/// Whether anything was judged since the last renewal.
fn is_alive(before: Option<u64>, now: u64) -> bool {
    before.is_none_or(|before| before != now)
}

impl Beats {
    async fn run(self) {
        let mut pace = Pace::default();
        let mut course = Course::new("the agent's Lease");
        let mut renewed_at = None;
        loop {
            sleep_until(pace.earliest(Instant::now()).into()).await;
            let count = self.pulse.count();
            if !is_alive(renewed_at, count) {
                // Judged every few seconds: nothing since the last renewal means that nothing will be told either.
                pace.written(Instant::now(), PERIOD);
                continue;
            }
            let renewed = self.renew().await;
            let now = Instant::now();
            self.metrics.told(Told::lease, renewed.is_ok());
            match renewed {
                Ok(()) => {
                    renewed_at = Some(count);
                    pace.written(now, Chance::draw().shorten(PERIOD));
                    course.succeeded();
                }
                Err(error) => {
                    pace.failed(now, Chance::draw());
                    course.failed(&error, now);
                }
            }
        }
    }

    async fn renew(&self) -> Result<(), RenewError> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.place.namespace);
        let name = &self.place.node;
        let params = PatchParams {
            field_manager: Some(names::AGENT_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        // The whole: where somebody has changed it, it is ours again.
        let spec = spec(name, Timestamp::now());
        let patch = Patch::Merge(json!({"spec": spec}));
        let patched = api.patch(name, &params, &patch).await;
        let patched = patched.map_err(CallApiError::from);
        if !matches!(patched, Err(CallApiError::Unanswered { .. })) {
            self.contact.heard();
        }
        match patched {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => self.create(&api, spec).await,
            Err(source) => Err(RenewError::Renew {
                name: name.clone(),
                source,
            }),
        }
    }

    async fn create(&self, api: &Api<Lease>, spec: LeaseSpec) -> Result<(), RenewError> {
        let owner = self.writer.owner().await;
        let owner = owner.map_err(|source| RenewError::Identify { source })?;
        let name = &self.place.node;
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some([("app.kubernetes.io/part-of".to_owned(), "berth".to_owned())].into()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        };
        let made = api.create(&PostParams::default(), &lease).await;
        made.map(drop).map_err(|error| RenewError::Create {
            name: name.clone(),
            source: error.into(),
        })
    }
}

fn spec(node: &str, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(node.to_owned()),
        lease_duration_seconds: Some(DURATION_SECONDS),
        renew_time: Some(MicroTime(now)),
        ..LeaseSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_that_has_judged_nothing_since_does_not_renew() {
        for (before, now, alive) in [(None, 0, true), (Some(3), 4, true), (Some(4), 4, false)] {
            assert_eq!(is_alive(before, now), alive, "{before:?} {now}");
        }
    }

    #[test]
    fn three_renewals_may_be_lost_before_the_lease_ends() {
        let spec = spec("n1", Timestamp::UNIX_EPOCH);
        assert_eq!(spec.holder_identity.as_deref(), Some("n1"));
        let duration = u64::try_from(DURATION_SECONDS).unwrap();
        assert!(duration >= PERIOD.as_secs() * 4);
    }
}
