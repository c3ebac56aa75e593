//! The only writes to claims: marks, each over the version that was read or not at all.

use anyhow::{Context as _, Result};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use proto_crd::claim::{MARK_LIMIT, Mark};
use serde_json::json;

use super::{Cluster, explain_step};
use crate::claims::ClaimSeen;

/// Whose the fields are that are written here.
const FIELD_MANAGER: &str = "kubectl-berth";

/// Which mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The holder is dead.
    Fenced,
    /// The binding is to be let go.
    Release,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is so.
    Done,
    /// Somebody else wrote meanwhile.
    Outrun,
    /// The claim is gone.
    Gone,
}

impl Which {
    const fn field(self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Release => "release",
        }
    }
}

impl Cluster {
    /// Who asks, as the API server sees it.
    pub(crate) async fn whoami(&self) -> Result<String> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let asked = api
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await;
        let said = asked.map_err(|error| explain_step("asking", "who you are", error))?;
        let user = said.status.and_then(|it| it.user_info);
        user.and_then(|it| it.username)
            .context("the API server does not say who you are")
    }

    /// A mark by whoever asks, now.
    pub(crate) async fn mark(&self, reason: &str) -> Result<Mark> {
        Ok(Mark {
            reason: cut(reason),
            by: cut(&self.whoami().await?),
            at: Time(whole_second(Timestamp::now())),
        })
    }

    /// Sets or removes a mark.
    pub(crate) async fn write_mark(
        &self,
        claim: &ClaimSeen,
        which: Which,
        mark: Option<&Mark>,
    ) -> Result<Written> {
        let patch = json!({
            "metadata": {"resourceVersion": claim.version},
            "spec": {which.field(): mark},
        });
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let asked = self
            .claim_api()
            .patch(&claim.name, &params, &Patch::Merge(patch))
            .await;
        match asked {
            Ok(_) => Ok(Written::Done),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Written::Outrun),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Written::Gone),
            Err(error) => {
                let what = format!("the Claim {}", claim.name);
                Err(explain_step("marking", &what, error))
            }
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MARK_LIMIT).collect()
}

/// As Kubernetes writes times.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
