//! The runtime at one socket, and what it can be asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::call::{CallRuntimeError, Caller, Code, Limits};
use crate::container::{Container, ContainerFilter, ContainerStatus, ExecOutcome};
use crate::image::{Image, ImageFilesystems, Pull};
use crate::message;
use crate::message::{container, image};
use crate::sandbox::{Sandbox, SandboxFilter, SandboxStatus, mac};

/// As kubelet takes at most (`maxMsgSize` of its CRI client): some hundred containers have less than one.
const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;
/// What one object may have.
const MAX_STATUS_BYTES: usize = 1024 * 1024;
/// What a command in a container may write: containerd itself would send 16 MiB of each of its two streams.
const MAX_EXEC_BYTES: usize = 256 * 1024;
/// How much longer than a command's own deadline, or than a grace period, the runtime has to answer: containerd waits 10 s for a
/// process to be gone that it has killed.
const AFTER_KILL: Duration = Duration::from_secs(15);

/// The container runtime at one socket. Cheap to clone: all clones share one connection.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub(crate) caller: Arc<Caller>,
}

/// What serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Such as `containerd`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of CRI it speaks.
    pub api_version: String,
}

/// How the runtime says that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeStatus {
    /// `RuntimeReady`, `NetworkReady` and what else it has.
    pub conditions: Vec<RuntimeCondition>,
}

/// One condition of the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeCondition {
    /// Of what.
    pub name: String,
    /// Whether it holds.
    pub holds: bool,
    /// Why not, for programs.
    pub reason: String,
    /// Why not, for people.
    pub message: String,
}

impl RuntimeStatus {
    /// The condition of that name.
    pub fn condition(&self, name: &str) -> Option<&RuntimeCondition> {
        self.conditions
            .iter()
            .find(|condition| condition.name == name)
    }
}

impl Runtime {
    /// The runtime that serves this socket; it need not be there yet.
    pub fn new(socket: PathBuf) -> Self {
        Self {
            caller: Arc::new(Caller::new(socket)),
        }
    }

    /// Where it is.
    pub fn socket(&self) -> &Path {
        self.caller.socket()
    }

    /// What serves.
    ///
    /// # Errors
    /// As every call here: when it is away, silent, or refuses.
    pub async fn version(&self, deadline: Duration) -> Result<Version, CallRuntimeError> {
        let question = message::VersionRequest {
            version: "v1".to_owned(),
        };
        let answer: message::VersionResponse =
            self.ask(message::VERSION, question, deadline).await?;
        Ok(Version {
            name: answer.name,
            version: answer.version,
            api_version: answer.api_version,
        })
    }

    /// How it says that it is.
    ///
    /// # Errors
    /// As [`Self::version`].
    pub async fn status(&self, deadline: Duration) -> Result<RuntimeStatus, CallRuntimeError> {
        let question = message::StatusRequest {};
        let answer: message::StatusResponse = self.ask(message::STATUS, question, deadline).await?;
        let conditions = answer.status.unwrap_or_default().conditions;
        let condition = |condition: message::Condition| RuntimeCondition {
            name: condition.name,
            holds: condition.status,
            reason: condition.reason,
            message: condition.message,
        };
        Ok(RuntimeStatus {
            conditions: conditions.into_iter().map(condition).collect(),
        })
    }

    /// The sandboxes that fit.
    ///
    /// # Errors
    /// As [`Self::version`].
    pub async fn sandboxes(
        &self,
        filter: SandboxFilter,
        deadline: Duration,
    ) -> Result<Vec<Sandbox>, CallRuntimeError> {
        let question = message::ListSandboxesRequest {
            filter: Some(filter.into()),
        };
        let answer: message::ListSandboxesResponse = self
            .list(message::LIST_SANDBOXES, question, deadline)
            .await?;
        Ok(answer.items.into_iter().map(Into::into).collect())
    }

    /// One sandbox.
    ///
    /// # Errors
    /// As [`Self::version`]; [`CallRuntimeError::NotFound`]: there is none.
    pub async fn sandbox(
        &self,
        id: &str,
        deadline: Duration,
    ) -> Result<SandboxStatus, CallRuntimeError> {
        let answer = self.sandbox_status(id, false, deadline).await?;
        let status = answer
            .status
            .ok_or_else(|| unknown("PodSandboxStatus", id))?;
        Ok(status.into())
    }

    /// Stops a sandbox: its containers are killed without a grace period, and it is taken off its networks. One that has stopped
    /// already, or is not known, is no error.
    ///
    /// # Errors
    /// As [`Self::version`].
    pub async fn stop_sandbox(&self, id: &str, deadline: Duration) -> Result<(), CallRuntimeError> {
        let question = message::StopSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        let answer: Result<message::StopSandboxResponse, _> =
            self.ask(message::STOP_SANDBOX, question, deadline).await;
        match answer {
            Ok(_) | Err(CallRuntimeError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One sandbox, with what CRI does not tell: a larger answer, which only containerd understands.
    ///
    /// # Errors
    /// As [`Self::sandbox`].
    pub async fn sandbox_in_full(
        &self,
        id: &str,
        deadline: Duration,
    ) -> Result<SandboxStatus, CallRuntimeError> {
        let answer = self.sandbox_status(id, true, deadline).await?;
        let status = answer
            .status
            .ok_or_else(|| unknown("PodSandboxStatus", id))?;
        Ok(SandboxStatus {
            mac: mac(&answer.info),
            ..status.into()
        })
    }

    async fn sandbox_status(
        &self,
        id: &str,
        verbose: bool,
        deadline: Duration,
    ) -> Result<message::SandboxStatusResponse, CallRuntimeError> {
        let question = message::SandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose,
        };
        self.ask(message::SANDBOX_STATUS, question, deadline).await
    }

    /// The containers that fit.
    ///
    /// # Errors
    /// As [`Self::version`].
    pub async fn containers(
        &self,
        filter: ContainerFilter,
        deadline: Duration,
    ) -> Result<Vec<Container>, CallRuntimeError> {
        let question = container::ListRequest {
            filter: Some(filter.into()),
        };
        let answer: container::ListResponse =
            self.list(container::LIST, question, deadline).await?;
        Ok(answer.containers.into_iter().map(Into::into).collect())
    }

    /// One container.
    ///
    /// # Errors
    /// As [`Self::version`]; [`CallRuntimeError::NotFound`]: there is none.
    pub async fn container(
        &self,
        id: &str,
        deadline: Duration,
    ) -> Result<ContainerStatus, CallRuntimeError> {
        let question = container::StatusRequest {
            container_id: id.to_owned(),
        };
        let answer: container::StatusResponse =
            self.ask(container::STATUS, question, deadline).await?;
        let status = answer
            .status
            .ok_or_else(|| unknown("ContainerStatus", id))?;
        Ok(status.into())
    }

    /// Stops a container: TERM, and KILL when the grace period is over. One that has ended already is no error.
    ///
    /// # Errors
    /// As [`Self::version`].
    ///
    /// # Cancellation
    /// When dropped, TERM may have been sent, and KILL will not follow: containerd stops waiting with its caller.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), CallRuntimeError> {
        let question = container::StopRequest {
            container_id: id.to_owned(),
            timeout: whole_seconds(grace),
        };
        let deadline = grace + AFTER_KILL;
        let _: container::StopResponse = self.ask(container::STOP, question, deadline).await?;
        Ok(())
    }

    /// Runs a command in a container, and waits for its end.
    ///
    /// # Errors
    /// As [`Self::version`]; [`CallRuntimeError::Overrun`] when the command does not end within the deadline, rounded up to whole
    /// seconds; [`CallRuntimeError::TooLong`] when it ran and wrote more than 256 KiB.
    pub async fn exec_sync(
        &self,
        id: &str,
        argv: Vec<String>,
        deadline: Duration,
    ) -> Result<ExecOutcome, CallRuntimeError> {
        // 0 would be for ever.
        let timeout = whole_seconds(deadline).max(1);
        let question = container::ExecRequest {
            container_id: id.to_owned(),
            cmd: argv,
            timeout,
        };
        let limits = Limits {
            deadline: deadline + AFTER_KILL,
            bytes: MAX_EXEC_BYTES,
        };
        match self.caller.call(container::EXEC, question, limits).await {
            Ok(answer) => Ok(container::ExecResponse::into(answer)),
            Err(CallRuntimeError::Refused {
                code: Code::DeadlineExceeded,
                ..
            }) => Err(CallRuntimeError::Overrun { deadline }),
            Err(error) => Err(error),
        }
    }

    /// An image by name or id; none when it is not there.
    ///
    /// # Errors
    /// As [`Self::version`].
    pub async fn image_status(
        &self,
        image: &str,
        deadline: Duration,
    ) -> Result<Option<Image>, CallRuntimeError> {
        let question = image::StatusRequest {
            image: Some(image::Spec {
                image: image.to_owned(),
            }),
        };
        let answer: image::StatusResponse = self.ask(image::STATUS, question, deadline).await?;
        Ok(answer.image.map(Into::into))
    }

    /// Pulls an image, also one that is there. Answers its id.
    ///
    /// # Errors
    /// As [`Self::version`]; the registry's refusals are the runtime's.
    ///
    /// # Cancellation
    /// When dropped, or at the deadline, the runtime gives the pull up; what it has got of the image helps the next.
    pub async fn pull_image(
        &self,
        pull: Pull,
        deadline: Duration,
    ) -> Result<String, CallRuntimeError> {
        let question = image::PullRequest::from(pull);
        let answer: image::PullResponse = self.ask(image::PULL, question, deadline).await?;
        Ok(answer.image_ref)
    }

    /// All images.
    ///
    /// # Errors
    /// As [`Self::version`].
    pub async fn images(&self, deadline: Duration) -> Result<Vec<Image>, CallRuntimeError> {
        let answer: image::ListResponse = self
            .list(image::LIST, image::ListRequest {}, deadline)
            .await?;
        Ok(answer.images.into_iter().map(Into::into).collect())
    }

    /// Where images and what containers write are kept, and how much that is.
    ///
    /// # Errors
    /// As [`Self::version`].
    pub async fn image_filesystems(
        &self,
        deadline: Duration,
    ) -> Result<ImageFilesystems, CallRuntimeError> {
        let question = image::FilesystemsRequest {};
        let answer: image::FilesystemsResponse =
            self.ask(image::FILESYSTEMS, question, deadline).await?;
        Ok(answer.into())
    }

    async fn ask<Q, A>(
        &self,
        path: &'static str,
        question: Q,
        deadline: Duration,
    ) -> Result<A, CallRuntimeError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let bytes = MAX_STATUS_BYTES;
        self.caller
            .call(path, question, Limits { deadline, bytes })
            .await
    }

    async fn list<Q, A>(
        &self,
        path: &'static str,
        question: Q,
        deadline: Duration,
    ) -> Result<A, CallRuntimeError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let bytes = MAX_LIST_BYTES;
        self.caller
            .call(path, question, Limits { deadline, bytes })
            .await
    }
}

/// A point in time of CRI's, in nanoseconds since the epoch; 0 is none.
pub(crate) fn point(nanoseconds: i64) -> Option<SystemTime> {
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|&is| is != 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
}

/// Rounded up: a container is not killed before its time.
fn whole_seconds(duration: Duration) -> i64 {
    let up = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(up).unwrap_or(i64::MAX)
}

fn unknown(call: &'static str, id: &str) -> CallRuntimeError {
    CallRuntimeError::NotFound {
        call,
        message: format!("the answer has nothing about {id}"),
    }
}

#[cfg(test)]
mod tests;
