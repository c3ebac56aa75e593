//! One request to the API server about a claim, and what became of it.
//!
//! An answer that took longer than [`ANSWER_LIMIT`] is none: the request may be done all the same, so the claim is looked at again.

use std::error::Error as StdError;

use ipamd_core::{ANSWER_LIMIT, ClaimWrite};
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, Error};
use proto_crd::claim::Claim as Object;
use proto_crd::names;
use proto_ids::{Identity, PoolName, RackName};
use tokio::time::timeout;

use super::pace::IN_FLIGHT;
use super::{claims, object};
use crate::ledger::claims::Place;
use crate::sync::api::{Connection, root};

/// Claims of one identity are one for each network and family, and those that are on their way out.
const FIND_LIMIT: u32 = 100;
/// Claims in one page of a list.
const PAGE: u32 = 500;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// Read a claim.
    Look(Place),
    /// Write one.
    Write(Place, Box<ClaimWrite>),
    /// Who has bindings of an identity.
    Find(Identity),
    /// Which addresses of a pool are whose.
    Survey(PoolName),
    /// All claims of a rack.
    Sweep(RackName),
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) ask: Ask,
    /// The claim's name, where it is about one.
    pub(super) name: String,
    /// What is written; of a deletion, what is deleted.
    pub(super) object: Option<Box<Object>>,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// The claim is like this; `None`: there is none.
    Claim(Option<Box<Object>>),
    /// These are the claims.
    Found(Vec<Object>),
    /// There is one already, or it is not as it was seen.
    Conflict,
    /// The API server refuses it, and will again.
    Refused(String),
    /// It did not answer, or has too much to do.
    Failed(String),
}

/// Asks, and waits for the answer as long as it is believed.
pub(super) async fn send(connection: &Connection, call: &Call) -> Answer {
    match timeout(ANSWER_LIMIT, past_dead_sockets(connection, call)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => failed(&error),
        Err(_) => Answer::Failed(format!("no answer within {ANSWER_LIMIT:?}")),
    }
}

/// Asks again at once where a socket that was kept turned out to be dead. All may be: when an uplink is taken over, the kernel
/// forgets connections to a Service. Each is found out by a request of its own. A write that was done nevertheless is a conflict
/// the second time.
async fn past_dead_sockets(connection: &Connection, call: &Call) -> Result<Answer, Error> {
    let api = claims(connection);
    for _ in 0..IN_FLIGHT {
        match answer(&api, call).await {
            Err(error) if is_dead_socket(&error) => connection.doubt(),
            answered => return answered,
        }
    }
    answer(&api, call).await
}

fn is_dead_socket(error: &Error) -> bool {
    let mut link: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = link {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return !error.is_connect();
        }
        link = error.source();
    }
    false
}

async fn answer(api: &Api<Object>, call: &Call) -> Result<Answer, Error> {
    let params = PostParams {
        field_manager: Some(names::IPAMD_FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match &call.ask {
        Ask::Look(_) => Ok(Answer::Claim(api.get_opt(&call.name).await?.map(Box::new))),
        Ask::Write(_, write) => {
            let Some(object) = &call.object else {
                return Ok(Answer::Conflict);
            };
            match **write {
                ClaimWrite::Create(_) => {
                    let created = api.create(&params, object).await?;
                    Ok(Answer::Claim(Some(Box::new(created))))
                }
                ClaimWrite::Update { .. } => {
                    let written = api.replace(&call.name, &params, object).await?;
                    Ok(Answer::Claim(Some(Box::new(written))))
                }
                ClaimWrite::Delete { .. } => delete(api, &params, &call.name, object).await,
            }
        }
        Ask::Find(identity) => {
            let selector = format!("spec.binding.identity={identity}");
            let found = api
                .list(&ListParams::default().fields(&selector).limit(FIND_LIMIT))
                .await?;
            Ok(Answer::Found(found.items))
        }
        Ask::Survey(pool) => list(api, &format!("spec.pool={pool}")).await,
        Ask::Sweep(rack) => list(api, &format!("spec.rack={rack}")).await,
    }
}

/// Lets a claim go. Its finalizer goes first, under the version that was seen: a claim that somebody asks for meanwhile stays.
async fn delete(
    api: &Api<Object>,
    params: &PostParams,
    name: &str,
    seen: &Object,
) -> Result<Answer, Error> {
    let released = api.replace(name, params, &object::let_go(seen)).await?;
    if released.metadata.deletion_timestamp.is_none() {
        let only_this = DeleteParams {
            preconditions: Some(Preconditions {
                uid: released.metadata.uid,
                resource_version: released.metadata.resource_version,
            }),
            ..DeleteParams::default()
        };
        api.delete(name, &only_this).await?;
    }
    Ok(Answer::Claim(None))
}

/// All claims that fit a field selector.
async fn list(api: &Api<Object>, fields: &str) -> Result<Answer, Error> {
    let mut params = ListParams::default().fields(fields).limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = api.list(&params).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(Answer::Found(all)),
        }
    }
}

fn failed(error: &Error) -> Answer {
    match error {
        // Gone meanwhile, or there already.
        Error::Api(status) if matches!(status.code, 404 | 409) => Answer::Conflict,
        Error::Api(status) if matches!(status.code, 400 | 401 | 403 | 405 | 422) => {
            Answer::Refused(status.message.clone())
        }
        Error::Api(status) => Answer::Failed(status.message.clone()),
        error => Answer::Failed(root(error)),
    }
}
