//! One attempt: asks the runtime whether the image is there, fetches the credentials that the registry is shown, lets the runtime
//! pull, and looks at what came. Ends within the attempt's time, but for a few seconds of asking.

use std::time::{Duration, Instant};

use node_agent_cri::{Auth, CallRuntimeError, Image, Pull, Runtime};
use node_agent_pull::arrival::resolve;
use node_agent_pull::book::{Attempt, Outcome};
use node_agent_pull::credentials::Credential;
use node_agent_pull::failure::{Failure, Said, explain};
use node_agent_pull::reference::Reference;
use proto_crd::image_pull::{PullPolicy, PullReason};
use tokio::sync::mpsc;

use super::keeper::Notice;
use super::progress::tell;
use super::secrets::Secrets;

/// The runtime looks into its memory for it.
const LOOK_DEADLINE: Duration = Duration::from_secs(10);

/// What attempts are made with.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) runtime: Runtime,
    pub(super) secrets: Secrets,
    pub(super) notices: mpsc::Sender<Notice>,
}

/// Makes an attempt.
///
/// # Cancellation
/// The runtime gives the pull up; what has arrived is kept for the next.
pub(super) async fn make(site: &Site, attempt: &Attempt) -> Outcome {
    match pulled(site, attempt).await {
        Ok(outcome) => outcome,
        Err(failure) => Outcome::Failed(failure),
    }
}

async fn pulled(site: &Site, attempt: &Attempt) -> Result<Outcome, Failure> {
    let reference = Reference::parse(&attempt.key.image);
    let reference =
        reference.map_err(|error| Failure::last(PullReason::Other, error.to_string()))?;
    let there = match site.look(&reference).await {
        Ok(there) => there,
        Err(error @ (CallRuntimeError::Away { .. } | CallRuntimeError::Silent { .. })) => {
            return Ok(Outcome::Away(error.to_string()));
        }
        Err(error) => return Err(of_runtime(&error)),
    };
    if attempt.policy == PullPolicy::IfNotPresent
        && let Some(image) = there
        && let Ok(digest) = resolve(&reference, &image.digests)
    {
        return Ok(Outcome::Present { digest });
    }
    let begun = Instant::now();
    site.pull(&reference, attempt, begun).await?;
    let took = begun.elapsed();
    let image = site.look(&reference).await;
    let image = image.map_err(|error| of_runtime(&error))?.ok_or_else(|| {
        let message = "the runtime has pulled it and does not have it; another attempt may help";
        Failure::passing(PullReason::Runtime, message)
    })?;
    let digest = resolve(&reference, &image.digests)?;
    Ok(Outcome::Pulled { digest, took })
}

impl Site {
    async fn look(&self, reference: &Reference) -> Result<Option<Image>, CallRuntimeError> {
        let name = reference.to_string();
        self.runtime.image_status(&name, LOOK_DEADLINE).await
    }

    /// Pulls with one credential after the other, as kubelet does; without any only where none is for this registry.
    async fn pull(
        &self,
        reference: &Reference,
        attempt: &Attempt,
        begun: Instant,
    ) -> Result<(), Failure> {
        let credentials = self.secrets.fetch(&attempt.secrets).await?;
        let matching = credentials.matching(reference);
        let is_bare = matching.is_empty() && !attempt.secrets.is_empty();
        let mut auths: Vec<Option<Auth>> = matching.into_iter().map(auth).map(Some).collect();
        if auths.is_empty() {
            auths.push(None);
        }
        let mut refused = None;
        for auth in auths {
            let left = attempt.timeout.saturating_sub(begun.elapsed());
            let pull = Pull {
                image: reference.to_string(),
                auth,
                ..Pull::default()
            };
            let ended = tokio::select! {
                ended = self.runtime.pull_image(pull, left) => ended,
                never = tell(self, reference, &attempt.key) => match never {},
            };
            let Err(error) = ended else {
                return Ok(());
            };
            let mut failure = explain(reference, said(error, attempt.timeout));
            if !failure.is_of_credentials() {
                return Err(failure);
            }
            if is_bare {
                let host = reference.host();
                failure.message = format!("no pull secret is for {host}; {}", failure.message);
            }
            refused = Some(failure);
        }
        refused.map_or(Ok(()), Err)
    }
}

fn auth(credential: Credential) -> Auth {
    Auth {
        username: credential.username,
        password: credential.password,
        basic: credential.basic,
        identity_token: credential.identity_token,
        registry_token: credential.registry_token,
        ..Auth::default()
    }
}

/// What an error of the call says of the pull.
fn said(error: CallRuntimeError, timeout: Duration) -> Said {
    match error {
        CallRuntimeError::Away { message, .. } => Said::Away(message),
        CallRuntimeError::Silent { .. } => Said::Late(timeout),
        // The code says what the words may not.
        CallRuntimeError::NotFound { message, .. } if !message.contains("not found") => {
            Said::Refused(format!("{message}: not found"))
        }
        CallRuntimeError::NotFound { message, .. } | CallRuntimeError::Refused { message, .. } => {
            Said::Refused(message)
        }
        other => Said::Refused(other.to_string()),
    }
}

fn of_runtime(error: &CallRuntimeError) -> Failure {
    Failure::passing(PullReason::Runtime, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(error: CallRuntimeError) -> (PullReason, bool) {
        let reference = Reference::parse("registry.example/app:v2").unwrap();
        let failure = explain(&reference, said(error, Duration::from_secs(7)));
        (failure.reason, failure.is_repeated)
    }

    #[test]
    fn end_of_a_call_has_a_reason() {
        let (call, socket) = ("PullImage", "/run/x.sock".into());
        let message = String::from("rpc ended");
        assert_eq!(
            reason(CallRuntimeError::NotFound {
                call,
                message: message.clone()
            }),
            (PullReason::NotFound, false)
        );
        assert_eq!(
            reason(CallRuntimeError::Silent {
                socket,
                call,
                deadline: Duration::from_secs(7)
            }),
            (PullReason::Timeout, true)
        );
        let socket = "/run/x.sock".into();
        assert_eq!(
            reason(CallRuntimeError::Away {
                socket,
                call,
                message
            }),
            (PullReason::Runtime, true)
        );
    }
}
