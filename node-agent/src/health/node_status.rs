//! Conditions of the Node itself, where `kubectl describe node`, schedulers and repair tools look: one for each part of the node,
//! written when one of them changes and at no other time, without reading anything.
//!
//! A Node is twenty to thirty kilobytes and every watcher of Nodes gets all of it with every write: so there is no heartbeat, and the
//! `NodeHealth` says whether the agent still lives. The first write of a process tells all six, since nobody knows what stands there.

use std::time::{Duration, Instant};

use ipamd_daemon::Tasks;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use proto_crd::condition::ConditionStatus;
use proto_crd::names;
use proto_crd::node_health::Area;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::area::AreaView;
use super::board::Report;
use super::course::Course;
use super::pace::{Pace, wait};
use super::report::Chance;
use super::writer::CallApiError;
use crate::metrics::{HealthMetrics, Told};

/// Between two writes of the Node.
const GAP: Duration = Duration::from_secs(30);

/// What the Node says of us, as far as it was us who said it.
#[derive(Clone, Debug, Default)]
struct Mirror {
    told: Option<Vec<Point>>,
    pace: Pace,
}

/// What a change of is a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Point {
    area: Area,
    status: ConditionStatus,
    reason: String,
}

impl Point {
    fn of(view: &AreaView) -> Self {
        Self {
            area: view.area,
            status: view.status,
            reason: view.reason.clone(),
        }
    }
}

impl Mirror {
    /// What the Node does not say yet.
    fn changed<'a>(&self, areas: &'a [AreaView]) -> Vec<&'a AreaView> {
        let told = self.told.as_deref().unwrap_or_default();
        let is_news = |view: &&AreaView| !told.contains(&Point::of(view));
        areas.iter().filter(is_news).collect()
    }

    /// When there is something to be written.
    fn due(&self, areas: &[AreaView], now: Instant) -> Option<Instant> {
        let is_news = !self.changed(areas).is_empty();
        is_news.then(|| self.pace.earliest(now))
    }

    fn written(&mut self, areas: &[AreaView], now: Instant) {
        self.told = Some(areas.iter().map(Point::of).collect());
        self.pace.written(now, GAP);
    }

    fn failed(&mut self, now: Instant, chance: Chance) {
        self.pace.failed(now, chance);
    }
}

/// A strategic merge: a condition is found by its type, those of others stay as they are.
fn patch(changed: &[&AreaView]) -> Value {
    let conditions = changed.iter().map(|view| {
        let since = view.since.to_string();
        json!({
            "type": view.area.node_condition(),
            "status": view.status,
            "reason": view.reason,
            "message": view.message,
            "lastTransitionTime": since,
            // Nobody beats here; left out it would be shown as the year 1.
            "lastHeartbeatTime": since,
        })
    });
    json!({"status": {"conditions": conditions.collect::<Vec<_>>()}})
}

/// Why the Node's conditions were not written.
#[derive(Debug, thiserror::Error)]
#[error("writing the conditions of Node {node}{}", .source.advice())]
struct WriteConditionsError {
    node: String,
    #[source]
    source: CallApiError,
}

/// What the task works with.
pub(super) struct Conditions {
    /// The API server.
    pub(super) client: Client,
    /// The Node.
    pub(super) node: String,
    /// What is known.
    pub(super) reports: watch::Receiver<Report>,
    /// What is counted.
    pub(super) metrics: HealthMetrics,
}

/// Starts to write.
pub(super) fn spawn_conditions(tasks: &Tasks, conditions: Conditions) {
    let token = tasks.token();
    tasks.spawn("conditions", async move {
        // Nothing is lost by ending in the middle: the next process writes again.
        tokio::select! {
            () = token.cancelled() => {}
            () = conditions.run() => token.cancelled().await,
        }
    });
}

impl Conditions {
    async fn run(mut self) {
        let mut mirror = Mirror::default();
        let mut course = Course::new("conditions of the Node");
        loop {
            let now = Instant::now();
            let (due, areas) = {
                let report = self.reports.borrow_and_update();
                let due = mirror
                    .due(&report.areas, now)
                    .filter(|_| report.is_complete);
                let is_due = due.is_some_and(|due| due <= now);
                (due, is_due.then(|| report.areas.clone()))
            };
            let Some(areas) = areas else {
                if wait(due, &mut self.reports).await.is_err() {
                    return;
                }
                continue;
            };
            let written = self.write(&mirror.changed(&areas)).await;
            let now = Instant::now();
            self.metrics.told(Told::condition, written.is_ok());
            match written {
                Ok(()) => {
                    mirror.written(&areas, now);
                    course.succeeded();
                }
                Err(error) => {
                    mirror.failed(now, Chance::draw());
                    course.failed(&error, now);
                }
            }
        }
    }

    async fn write(&self, changed: &[&AreaView]) -> Result<(), WriteConditionsError> {
        let api: Api<Node> = Api::all(self.client.clone());
        let params = PatchParams {
            field_manager: Some(names::AGENT_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = api
            .patch_status(&self.node, &params, &Patch::Strategic(patch(changed)))
            .await;
        patched.map(drop).map_err(|error| WriteConditionsError {
            node: self.node.clone(),
            source: error.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    fn view(area: Area, status: ConditionStatus, reason: &str) -> AreaView {
        AreaView {
            area,
            status,
            reason: reason.to_owned(),
            message: format!("{reason}, told"),
            since: Timestamp::UNIX_EPOCH,
        }
    }

    fn fine() -> Vec<AreaView> {
        let fine = |area| view(area, ConditionStatus::False, "NoProblem");
        Area::ALL.map(fine).to_vec()
    }

    #[test]
    fn first_write_tells_all_and_later_ones_what_has_changed() {
        let now = Instant::now();
        let mut mirror = Mirror::default();
        let mut areas = fine();
        assert_eq!(mirror.due(&areas, now), Some(now));
        assert_eq!(mirror.changed(&areas).len(), Area::ALL.len());
        mirror.written(&areas, now);
        assert_eq!(mirror.due(&areas, now), None);
        // Words alone are no transition.
        areas[0].message.push('!');
        assert_eq!(mirror.due(&areas, now), None);
        areas[0] = view(Area::Runtime, ConditionStatus::True, "KubeletAway");
        assert_eq!(mirror.due(&areas, now), Some(now + GAP));
        assert_eq!(mirror.changed(&areas), [&areas[0]]);
        // Over before it was written: nothing is.
        areas[0] = view(Area::Runtime, ConditionStatus::False, "NoProblem");
        assert_eq!(mirror.due(&areas, now), None);
    }

    #[test]
    fn node_is_written_twice_a_minute_at_most_whatever_changes() {
        let begun = Instant::now();
        let mut mirror = Mirror::default();
        let mut writes = 0;
        for second in 0..600 {
            let now = begun + Duration::from_secs(second);
            let reason = format!("Reason{second}");
            let areas = [view(Area::Runtime, ConditionStatus::True, &reason)];
            if mirror.due(&areas, now).is_some_and(|due| due <= now) {
                mirror.written(&areas, now);
                writes += 1;
            }
        }
        assert_eq!(writes, 20);
    }

    #[test]
    fn patch_names_our_conditions_and_nothing_else() {
        let view = view(Area::Runtime, ConditionStatus::True, "KubeletAway");
        let expected = json!({"status": {"conditions": [{
            "type": "berth.dev/RuntimeProblem", "status": "True", "reason": "KubeletAway", "message": "KubeletAway, told",
            "lastTransitionTime": "1970-01-01T00:00:00Z", "lastHeartbeatTime": "1970-01-01T00:00:00Z",
        }]}});
        assert_eq!(patch(&[&view]), expected);
    }
}
