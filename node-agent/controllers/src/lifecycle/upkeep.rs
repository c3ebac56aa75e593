//! Freezes and the policy: read every second, and what the leader says of them.
//!
//! **Always holds:** freezes that could not be read freeze everything; a policy that could not be read is the last one that could, and one
//! that cannot be understood is dry-run.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use ipamd_daemon::chain;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff;
use kube::ResourceExt as _;
use kube::api::ListParams;
use node_agent_lifecycle::freeze::Freezes;
use node_agent_lifecycle::observation::AppName;
use proto_crd::condition::{ACCEPTED, CONTRADICTORY, Condition, ConditionStatus, VALID};
use proto_crd::lifecycle_freeze::LifecycleFreeze;
use proto_crd::lifecycle_policy::{LifecyclePolicy, LifecyclePolicyStatus};
use proto_crd::names;
use proto_crd::time::Timestamp;
use serde_json::json;
use tracing::{info, warn};

use super::desk::Desk;
use super::freezes::{in_force, nodes_of};
use super::object::breakers;
use super::rules::{PolicyError, Rules, rules};
use crate::read::{ReadError, Reader};
use crate::reign::Reign;
use crate::write::{Basis, WriteError, WriteKind, Writer};

/// How often both are read.
const EVERY: Duration = Duration::from_secs(1);
/// What is told of the policy changes no faster.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// The most freezes that the policy's status names.
const FROZEN_LIMIT: usize = 64;

/// The wall clock: for expiries, business time, and people.
pub(super) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let milliseconds = since.unwrap_or_default().as_millis();
    Timestamp::from_unix_milliseconds(u64::try_from(milliseconds).unwrap_or(u64::MAX))
}

/// The policy as it is, and what follows from it.
///
/// # Errors
/// When it could not be asked.
pub(super) async fn read_policy(
    reader: &Reader,
    namespace: &str,
) -> Result<(Option<LifecyclePolicy>, Result<Rules, PolicyError>), ReadError> {
    let policy: Option<LifecyclePolicy> = reader
        .object("LifecyclePolicy", namespace, names::LIFECYCLE_POLICY)
        .await?;
    let understood = policy
        .as_ref()
        .map_or_else(|| Ok(Rules::default()), |policy| rules(&policy.spec));
    Ok((policy, understood))
}

/// The freezes in force, as the API server has them now.
pub(super) async fn read_freezes(
    reader: &Reader,
    namespace: &str,
    apps: &BTreeSet<AppName>,
) -> Freezes {
    match list(reader, namespace).await {
        Ok(freezes) => in_force(&freezes, wall_clock(), apps),
        Err(_) => Freezes::Unreadable,
    }
}

async fn list(reader: &Reader, namespace: &str) -> Result<Vec<LifecycleFreeze>, ReadError> {
    let params = ListParams::default();
    reader
        .list("LifecycleFreezes", Some(namespace), params)
        .await
}

/// Reads both, and tells what is gone by.
pub(super) struct Upkeep {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) namespace: String,
    /// Reading fails, and that was said.
    pub(super) is_blind: bool,
    pub(super) told_at: Option<Instant>,
}

impl Upkeep {
    /// Until the term is over.
    pub(super) async fn run(mut self, desk: &Desk, reign: &Reign) {
        while reign.goes_on() {
            let began = Instant::now();
            let freezes = self.freezes(desk, reign).await;
            let policy = self.policy(desk, reign, freezes).await;
            match policy {
                Ok(()) if self.is_blind => {
                    info!("freezes and policy can be read again");
                    self.is_blind = false;
                }
                Err(error) if !self.is_blind => {
                    warn!(error = %chain(&error), "freezes and policy cannot be read: nothing is done about nodes");
                    self.is_blind = true;
                }
                _ => {}
            }
            reign.until(began + EVERY).await;
        }
    }

    async fn freezes(&self, desk: &Desk, reign: &Reign) -> Result<Vec<String>, ReadError> {
        let listed = list(&self.reader, &self.namespace).await;
        let now = wall_clock();
        let freezes = match listed {
            Ok(freezes) => freezes,
            Err(error) => {
                desk.lock().freezes = Freezes::Unreadable;
                return Err(error);
            }
        };
        {
            let mut state = desk.lock();
            let apps = state.seen.apps.keys().cloned().collect();
            state.freezes = in_force(&freezes, now, &apps);
        }
        let mut names = Vec::new();
        for freeze in &freezes {
            if freeze.spec.has_expired(now) {
                self.end(reign, freeze).await;
            } else {
                names.push(freeze.name_any());
                self.observe(desk, reign, freeze, now).await;
            }
        }
        names.truncate(FROZEN_LIMIT);
        Ok(names)
    }

    /// It has expired: it goes, and with it what holds others back by it.
    async fn end(&self, reign: &Reign, freeze: &LifecycleFreeze) {
        let basis = Basis::of(&freeze.metadata);
        let kind = WriteKind::EndFreeze;
        let ended = self
            .writer
            .delete::<LifecycleFreeze>(reign.term(), kind, basis);
        match ended.await {
            Ok(()) => info!(freeze = basis.name, "freeze expired and was deleted"),
            Err(error) => told("an expired freeze was not deleted", basis.name, &error),
        }
    }

    /// Says that the leader holds by it, and of which nodes a rack is.
    async fn observe(&self, desk: &Desk, reign: &Reign, freeze: &LifecycleFreeze, now: Timestamp) {
        let nodes = nodes_of(freeze, &desk.lock().seen);
        let status = freeze.status.clone().unwrap_or_default();
        if status.observed_time.is_some() && status.nodes == nodes {
            return;
        }
        let basis = Basis::of(&freeze.metadata);
        let status = json!({
            "observedTime": status.observed_time.unwrap_or(now),
            "nodes": nodes,
        });
        let kind = WriteKind::FreezeStatus;
        let written =
            self.writer
                .patch_status::<LifecycleFreeze>(reign.term(), kind, basis, status);
        if let Err(error) = written.await {
            told("the status of a freeze was not written", basis.name, &error);
        }
    }

    async fn policy(
        &mut self,
        desk: &Desk,
        reign: &Reign,
        frozen_by: Result<Vec<String>, ReadError>,
    ) -> Result<(), ReadError> {
        let (policy, understood) = read_policy(&self.reader, &self.namespace).await?;
        let (hash, open) = {
            let mut state = desk.lock();
            let wanted = understood.clone().unwrap_or_default();
            if state.rules != wanted {
                state.core.configure(wanted.config.clone());
                state.rules = wanted;
                info!(policy = %state.core.policy(), "another policy");
            }
            (
                state.core.policy().to_string(),
                breakers(&state.core.breakers()),
            )
        };
        let frozen_by = frozen_by?;
        let Some(policy) = policy else { return Ok(()) };
        let is_early = self.told_at.is_some_and(|at| at.elapsed() < TELL_EVERY);
        let before = policy.status.clone().unwrap_or_default();
        let status = LifecyclePolicyStatus {
            observed_generation: policy.metadata.generation.unwrap_or_default(),
            policy_hash: Some(hash),
            breakers: open,
            frozen_by,
            conditions: vec![condition(&before.conditions, understood.as_ref().err())],
        };
        if is_early || status == before {
            return Ok(());
        }
        self.told_at = Some(Instant::now());
        let basis = Basis::of(&policy.metadata);
        let kind = WriteKind::PolicyStatus;
        // A list that is empty is left out of the object, and a merge patch would leave what was there.
        let fields = json!({
            "observedGeneration": status.observed_generation,
            "policyHash": status.policy_hash,
            "breakers": status.breakers,
            "frozenBy": status.frozen_by,
            "conditions": status.conditions,
        });
        let written =
            self.writer
                .patch_status::<LifecyclePolicy>(reign.term(), kind, basis, fields);
        if let Err(error) = written.await {
            told(
                "the status of the policy was not written",
                names::LIFECYCLE_POLICY,
                &error,
            );
        }
        Ok(())
    }
}

fn told(what: &str, name: &str, error: &WriteError) {
    if !error.is_overtaken() {
        warn!(name, error = %chain(error), "{what}");
    }
}

fn condition(before: &[Condition], wrong: Option<&PolicyError>) -> Condition {
    let status = if wrong.is_none() {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    let same = before
        .iter()
        .find(|it| it.r#type == ACCEPTED && it.status == status);
    let message = wrong.map_or_else(
        || "gone by".to_owned(),
        |error| {
            format!(
                "{}; everything is in dry-run until it is mended",
                chain(error)
            )
        },
    );
    Condition {
        r#type: ACCEPTED.to_owned(),
        status,
        reason: if wrong.is_none() {
            VALID
        } else {
            CONTRADICTORY
        }
        .to_owned(),
        message,
        last_transition_time: same.map_or_else(
            || Time(jiff::Timestamp::now()),
            |it| it.last_transition_time.clone(),
        ),
    }
}
