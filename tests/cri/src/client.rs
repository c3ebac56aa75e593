//! The calls. Each connects anew, so that a runtime that was restarted is found.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use k8s_cri::v1::{
    ContainerState, CreateContainerRequest, ExecSyncRequest, ListContainersRequest,
    ListPodSandboxRequest, PodSandboxStatusRequest, RemoveContainerRequest,
    RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest, StatusRequest,
    StopContainerRequest, StopPodSandboxRequest, runtime_service_client::RuntimeServiceClient,
};
use tokio::net::UnixStream;
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

use crate::pod::{Container, Pod};

/// Longer than any call takes on a busy machine; a runtime that hangs is told from one that works.
const CALL: Duration = Duration::from_secs(60);

/// How long a container may take to end after SIGTERM.
const GRACE_SECONDS: i64 = 2;

/// A refused or failed call: what was asked and what the runtime said.
#[derive(Debug)]
pub struct CallError {
    call: &'static str,
    /// The runtime's answer; for a failed sandbox it has the plugin's words in it.
    pub status: Status,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} ({:?})",
            self.call,
            self.status.message(),
            self.status.code()
        )
    }
}

impl std::error::Error for CallError {}

/// What a command inside a container said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code.
    pub exit_code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A client of the runtime at one socket.
#[derive(Debug)]
pub struct Cri {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Cri {
    /// A client; the runtime need not be there yet.
    ///
    /// # Errors
    /// The operating system gave no event loop.
    pub fn new(socket: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("make an event loop")?;
        Ok(Self {
            socket: socket.to_owned(),
            runtime,
        })
    }

    /// The conditions that are not met, such as `NetworkReady`, with their messages.
    ///
    /// # Errors
    /// What the runtime answers, or that it cannot be reached.
    pub fn unready(&self) -> Result<Vec<String>, CallError> {
        let answer = self.call("Status", async |mut client| {
            client.status(StatusRequest { verbose: false }).await
        })?;
        let conditions = answer.status.unwrap_or_default().conditions;
        let unmet = conditions.into_iter().filter(|condition| !condition.status);
        Ok(unmet
            .map(|condition| format!("{}: {}", condition.r#type, condition.message))
            .collect())
    }

    /// Runs a Pod's sandbox, network included; its id.
    ///
    /// # Errors
    /// What the runtime answers; with the plugin's words when that refused.
    pub fn run_pod(&self, pod: &Pod) -> Result<String, CallError> {
        let config = Some(pod.config());
        let answer = self.call("RunPodSandbox", async |mut client| {
            let request = RunPodSandboxRequest {
                config,
                runtime_handler: String::new(),
            };
            client.run_pod_sandbox(request).await
        })?;
        Ok(answer.pod_sandbox_id)
    }

    /// The addresses that the runtime tells kubelet, the first one first.
    ///
    /// # Errors
    /// What the runtime answers, or that it cannot be reached.
    pub fn pod_addresses(&self, sandbox: &str) -> Result<Vec<String>, CallError> {
        let answer = self.call("PodSandboxStatus", async |mut client| {
            let request = PodSandboxStatusRequest {
                pod_sandbox_id: sandbox.to_owned(),
                verbose: false,
            };
            client.pod_sandbox_status(request).await
        })?;
        let network = answer
            .status
            .and_then(|status| status.network)
            .unwrap_or_default();
        let others = network.additional_ips.into_iter().map(|other| other.ip);
        Ok(std::iter::once(network.ip).chain(others).collect())
    }

    /// Creates and starts a container; its id.
    ///
    /// # Errors
    /// What the runtime answers, or that it cannot be reached.
    pub fn run_container(
        &self,
        sandbox: &str,
        pod: &Pod,
        container: &Container,
    ) -> Result<String, CallError> {
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(container.config()),
            sandbox_config: Some(pod.config()),
        };
        let id = self
            .call("CreateContainer", async |mut client| {
                client.create_container(request).await
            })?
            .container_id;
        self.call("StartContainer", async |mut client| {
            let request = StartContainerRequest {
                container_id: id.clone(),
            };
            client.start_container(request).await
        })?;
        Ok(id)
    }

    /// Runs a command inside a container to its end.
    ///
    /// # Errors
    /// What the runtime answers, or that it cannot be reached. How the command ended is in the answer.
    pub fn exec(&self, container: &str, words: &[&str]) -> Result<Executed, CallError> {
        let request = ExecSyncRequest {
            container_id: container.to_owned(),
            cmd: words.iter().map(ToString::to_string).collect(),
            timeout: 30,
        };
        let answer = self.call("ExecSync", async |mut client| {
            client.exec_sync(request).await
        })?;
        Ok(Executed {
            exit_code: answer.exit_code,
            stdout: String::from_utf8_lossy(&answer.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&answer.stderr).into_owned(),
        })
    }

    /// Stops a container, which the runtime still lists.
    ///
    /// # Errors
    /// What the runtime answers, or that it cannot be reached.
    pub fn stop_container(&self, container: &str) -> Result<(), CallError> {
        self.call("StopContainer", async |mut client| {
            let request = StopContainerRequest {
                container_id: container.to_owned(),
                timeout: GRACE_SECONDS,
            };
            client.stop_container(request).await
        })?;
        Ok(())
    }

    /// Stops and removes a container; the sandbox stays.
    ///
    /// # Errors
    /// What the runtime answers, or that it cannot be reached.
    pub fn remove_container(&self, container: &str) -> Result<(), CallError> {
        self.stop_container(container)?;
        self.call("RemoveContainer", async |mut client| {
            let request = RemoveContainerRequest {
                container_id: container.to_owned(),
            };
            client.remove_container(request).await
        })?;
        Ok(())
    }

    /// Stops a sandbox with all its containers; the network is given back, and the runtime still lists it.
    ///
    /// # Errors
    /// What the runtime answers, or that it cannot be reached.
    pub fn stop_pod(&self, sandbox: &str) -> Result<(), CallError> {
        self.call("StopPodSandbox", async |mut client| {
            let request = StopPodSandboxRequest {
                pod_sandbox_id: sandbox.to_owned(),
            };
            client.stop_pod_sandbox(request).await
        })?;
        Ok(())
    }

    /// Stops a sandbox as [`Self::stop_pod`] and removes it.
    ///
    /// # Errors
    /// What the runtime answers, or that it cannot be reached.
    pub fn remove_pod(&self, sandbox: &str) -> Result<(), CallError> {
        self.stop_pod(sandbox)?;
        self.call("RemovePodSandbox", async |mut client| {
            let request = RemovePodSandboxRequest {
                pod_sandbox_id: sandbox.to_owned(),
            };
            client.remove_pod_sandbox(request).await
        })?;
        Ok(())
    }

    /// The ids of all sandboxes, ready or not.
    ///
    /// # Errors
    /// What the runtime answers, or that it cannot be reached.
    pub fn sandboxes(&self) -> Result<Vec<String>, CallError> {
        let answer = self.call("ListPodSandbox", async |mut client| {
            client
                .list_pod_sandbox(ListPodSandboxRequest { filter: None })
                .await
        })?;
        Ok(answer.items.into_iter().map(|sandbox| sandbox.id).collect())
    }

    /// The ids of the running containers.
    ///
    /// # Errors
    /// What the runtime answers, or that it cannot be reached.
    pub fn running_containers(&self) -> Result<Vec<String>, CallError> {
        let answer = self.call("ListContainers", async |mut client| {
            client
                .list_containers(ListContainersRequest { filter: None })
                .await
        })?;
        let running = i32::from(ContainerState::ContainerRunning);
        let containers = answer
            .containers
            .into_iter()
            .filter(|container| container.state == running);
        Ok(containers.map(|container| container.id).collect())
    }

    fn call<T>(
        &self,
        call: &'static str,
        work: impl AsyncFnOnce(RuntimeServiceClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, CallError> {
        let answered = self.runtime.block_on(async {
            let socket = self.socket.clone();
            let connector = tower::service_fn(move |_| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            });
            // The address is never looked up: the connector knows the socket.
            let channel = Endpoint::from_static("http://cri")
                .timeout(CALL)
                .connect_with_connector(connector)
                .await
                .map_err(|error| Status::unavailable(format!("{error:?}")))?;
            work(RuntimeServiceClient::new(channel)).await
        });
        answered
            .map(Response::into_inner)
            .map_err(|status| CallError { call, status })
    }
}
