//! One call of a CNI plugin, raw: the environment and the input are exactly what the call says.
//!
//! Nothing is checked or completed, so that wrong calls can be made too.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{sys::signal, sys::signal::Signal, unistd::Pid};
use serde_json::Value;

use crate::{node::Node, process};

/// Where a node's plugins are, inside the node.
const PLUGIN_DIR: &str = "/opt/cni/bin";

/// A call to be made.
#[derive(Clone, Debug)]
pub struct CniCall {
    /// The plugin's path inside the node.
    pub plugin: PathBuf,
    /// The whole environment, but for PATH.
    pub env: BTreeMap<String, String>,
    /// The whole input.
    pub stdin: Vec<u8>,
}

impl CniCall {
    /// A call of the plugin that the configuration's `type` names.
    pub fn new(verb: &str, conf: &Value) -> Self {
        let plugin = conf.get("type").and_then(Value::as_str).unwrap_or("berth");
        let env = [("CNI_COMMAND", verb), ("CNI_PATH", PLUGIN_DIR)];
        Self {
            plugin: PathBuf::from(PLUGIN_DIR).join(plugin),
            env: env
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            stdin: conf.to_string().into_bytes(),
        }
    }

    /// Names the attachment: container id, interface and network namespace.
    #[must_use]
    pub fn attachment(self, container_id: &str, ifname: &str, netns: &str) -> Self {
        self.with("CNI_CONTAINERID", container_id)
            .with("CNI_IFNAME", ifname)
            .with("CNI_NETNS", netns)
    }

    /// Names the Pod as containerd does, by `CNI_ARGS`.
    #[must_use]
    pub fn pod(self, namespace: &str, name: &str, uid: &str) -> Self {
        let sandbox = self.env.get("CNI_CONTAINERID").cloned().unwrap_or_default();
        self.with(
            "CNI_ARGS",
            &format!(
                "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={sandbox};K8S_POD_UID={uid}"
            ),
        )
    }

    /// Sets a variable.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Leaves a variable out.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.env.remove(key);
        self
    }

    /// Calls another plugin of the node's plugin folder, or one anywhere by its path.
    #[must_use]
    pub fn plugin(mut self, name_or_path: &str) -> Self {
        self.plugin = PathBuf::from(PLUGIN_DIR).join(name_or_path);
        self
    }
}

/// What a plugin answered.
#[derive(Debug)]
pub struct CniReply {
    /// Exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// Standard output, unparsed.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From before the start to after the end, `nsenter` included.
    pub elapsed: Duration,
}

impl CniReply {
    /// Whether it ended with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// The answer as JSON.
    ///
    /// # Errors
    /// Standard output is not one JSON value.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| {
            format!(
                "the plugin's output is no JSON (exit {:?}): {:?}; stderr: {}",
                self.code, self.stdout, self.stderr
            )
        })
    }

    /// The answer of a call that had to succeed; `null` where it said nothing.
    ///
    /// # Errors
    /// It failed; with everything it said.
    pub fn ok(&self) -> Result<Value> {
        anyhow::ensure!(
            self.success(),
            "the plugin ended with {:?}: {}{}",
            self.code,
            self.stdout,
            self.stderr
        );
        if self.stdout.trim().is_empty() {
            return Ok(Value::Null);
        }
        self.json()
    }

    /// The code of the CNI error on standard output, if there is one.
    pub fn error_code(&self) -> Option<u64> {
        self.json().ok()?.get("code")?.as_u64()
    }
}

/// A call that has been started: to be killed at any instant, or waited for.
#[derive(Debug)]
pub struct RunningCniCall {
    nsenter: Child,
    started: Instant,
}

impl RunningCniCall {
    /// Kills the plugin if it still runs.
    pub fn kill(&mut self) {
        while matches!(self.nsenter.try_wait(), Ok(None)) {
            // Until nsenter has forked there is no plugin yet.
            if let Some(pid) = process::child_of(self.nsenter.id()) {
                let _ = signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Its output could not be read.
    pub fn finish(self) -> Result<CniReply> {
        let output = self
            .nsenter
            .wait_with_output()
            .context("wait for the plugin")?;
        Ok(CniReply {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            elapsed: self.started.elapsed(),
        })
    }
}

impl Node {
    /// Calls a plugin and waits for its answer.
    ///
    /// # Errors
    /// It could not be started. A refusal is in the answer.
    pub fn cni(&self, call: &CniCall) -> Result<CniReply> {
        self.start_cni(call)?.finish()
    }

    /// Calls a plugin and does not wait.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start_cni(&self, call: &CniCall) -> Result<RunningCniCall> {
        let started = Instant::now();
        let mut nsenter = self
            .command(&call.plugin)
            .envs(&call.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", call.plugin.display()))?;
        process::feed(&mut nsenter, &call.stdin, "the plugin")?;
        Ok(RunningCniCall { nsenter, started })
    }
}
