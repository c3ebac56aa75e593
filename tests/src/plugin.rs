//! Runs a CNI binary exactly as libcni does: parameters in the environment, configuration on stdin, the answer parsed
//! from stdout, errors too.
//!
//! Knows the protocol only (CNI specification 1.1.0, sections 2 to 4), no plugin. Answers stay JSON values, so that no
//! type of the product stands between the plugin and the test.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::{Map, Value, json};

/// One execution of a plugin. Parameters that are `None` are not in the environment at all.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// `CNI_COMMAND`.
    pub command: Option<String>,
    /// `CNI_CONTAINERID`.
    pub container: Option<String>,
    /// `CNI_NETNS`.
    pub netns: Option<String>,
    /// `CNI_IFNAME`.
    pub ifname: Option<String>,
    /// `CNI_ARGS`.
    pub args: Option<String>,
    /// `CNI_PATH`.
    pub path: Option<String>,
    /// Standard input, as it is.
    pub stdin: Vec<u8>,
}

impl Call {
    /// A call of `verb` for an attachment, with every parameter that libcni sets.
    pub fn new(verb: &str, container: &str, netns: &Path, ifname: &str) -> Self {
        Self {
            command: Some(verb.to_owned()),
            container: Some(container.to_owned()),
            netns: Some(netns.display().to_string()),
            ifname: Some(ifname.to_owned()),
            path: Some(PLUGIN_DIR.to_owned()),
            ..Self::default()
        }
    }

    /// A call of a verb that concerns no attachment (GC, STATUS, VERSION).
    pub fn bare(verb: &str) -> Self {
        Self {
            command: Some(verb.to_owned()),
            path: Some(PLUGIN_DIR.to_owned()),
            ..Self::default()
        }
    }

    /// The same call with this configuration on stdin.
    #[must_use]
    pub fn config(mut self, config: &Value) -> Self {
        self.stdin = config.to_string().into_bytes();
        self
    }

    /// The same call with these bytes on stdin.
    #[must_use]
    pub fn raw_stdin(mut self, stdin: impl Into<Vec<u8>>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// The same call with these `CNI_ARGS`.
    #[must_use]
    pub fn args(mut self, args: &str) -> Self {
        self.args = Some(args.to_owned());
        self
    }

    /// Runs it: `command` is the plugin's binary as it is started in the node's namespaces.
    #[track_caller]
    pub fn run(&self, command: Command) -> Answer {
        self.start(command).finish()
    }

    /// Starts it, for tests that kill it or look at the world while it runs.
    #[track_caller]
    pub fn start(&self, mut command: Command) -> Running {
        for (name, value) in [
            ("CNI_COMMAND", &self.command),
            ("CNI_CONTAINERID", &self.container),
            ("CNI_NETNS", &self.netns),
            ("CNI_IFNAME", &self.ifname),
            ("CNI_ARGS", &self.args),
            ("CNI_PATH", &self.path),
        ] {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let begin = Instant::now();
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let mut stdin = child.stdin.take().unwrap();
        // A plugin may answer without having read its stdin (VERSION, a missing parameter): a broken pipe is no failure.
        let _ = stdin.write_all(&self.stdin);
        drop(stdin);
        Running {
            child,
            begin,
            label: format!(
                "{} {} {}",
                self.command.as_deref().unwrap_or("(no CNI_COMMAND)"),
                self.container.as_deref().unwrap_or("-"),
                self.ifname.as_deref().unwrap_or("-"),
            ),
        }
    }
}

/// A plugin that runs.
#[derive(Debug)]
pub struct Running {
    child: std::process::Child,
    begin: Instant,
    label: String,
}

impl Running {
    /// SIGKILL, and what was said until then. A plugin that ended before is no failure.
    #[track_caller]
    pub fn kill(mut self) -> Answer {
        // `nsenter` forks to enter the PID namespace: the plugin is its child.
        while matches!(self.child.try_wait(), Ok(None)) {
            if let Some(plugin) = child_of(self.child.id()) {
                let _ = signal::kill(Pid::from_raw(plugin), Signal::SIGKILL);
                break;
            }
            std::thread::yield_now();
        }
        self.finish()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(self) -> Answer {
        let output = self
            .child
            .wait_with_output()
            .unwrap_or_else(|error| panic!("wait for {}: {error}", self.label));
        Answer {
            label: self.label,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: self.begin.elapsed(),
        }
    }
}

fn child_of(pid: u32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// What a plugin answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The call, for messages.
    pub label: String,
    /// Exit code; `None`: ended by a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

/// A CNI error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The code.
    pub code: u64,
    /// `msg`.
    pub msg: String,
    /// `details`; empty where absent.
    pub details: String,
}

impl Fault {
    /// Message and details in one text, to search in.
    pub fn text(&self) -> String {
        format!("{} {}", self.msg, self.details)
    }
}

impl Answer {
    /// Whether the call ended with exit code 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// The result of a call that must have succeeded with one JSON object and nothing else on stdout.
    #[track_caller]
    pub fn result(&self) -> Value {
        assert!(self.succeeded(), "{self:#?}");
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON value: {error}: {self:#?}"));
        assert!(value.is_object(), "{self:#?}");
        value
    }

    /// Fails unless the call succeeded with nothing on stdout (DEL, CHECK, GC, STATUS).
    #[track_caller]
    pub fn silence(&self) {
        assert!(
            self.succeeded() && self.stdout.trim().is_empty(),
            "{self:#?}"
        );
    }

    /// The error of a call that must have failed as the specification says: exit code 1, one JSON object on stdout.
    #[track_caller]
    pub fn fault(&self) -> Fault {
        assert_eq!(self.code, Some(1), "{self:#?}");
        let value: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("stdout of a failed call is not one JSON value: {error}: {self:#?}")
        });
        let fault = Fault {
            code: value["code"]
                .as_u64()
                .unwrap_or_else(|| panic!("error without code: {self:#?}")),
            msg: text(&value, "msg"),
            details: text(&value, "details"),
        };
        assert!(!fault.msg.is_empty(), "error without msg: {self:#?}");
        fault
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// Where a node has the plugins: the product's and Debian's.
pub const PLUGIN_DIR: &str = "/opt/cni/bin";

/// A flag of the test run. Tests have no command line of their own, so the environment is where it is.
pub fn flag(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// A configuration list and the cache that libcni keeps of it: what a runtime does with plugins in a row.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The configuration list: `cniVersion`, `name`, `plugins`.
    pub list: Value,
    /// `runtimeConfig` that the runtime offers; each plugin sees what its `capabilities` ask for.
    pub runtime_config: Map<String, Value>,
}

impl Chain {
    /// A runtime with this configuration list.
    pub fn new(list: Value) -> Self {
        Self {
            list,
            runtime_config: Map::new(),
        }
    }

    /// The configuration that plugin number `index` gets on stdin.
    pub fn config(&self, index: usize, prev_result: Option<&Value>) -> Value {
        let mut config = self.list["plugins"][index].clone();
        let wanted: Map<String, Value> = self
            .runtime_config
            .iter()
            .filter(|(capability, _)| config["capabilities"][capability.as_str()] == true)
            .map(|(capability, value)| (capability.clone(), value.clone()))
            .collect();
        config["name"] = self.list["name"].clone();
        config["cniVersion"] = self.list["cniVersion"].clone();
        if !wanted.is_empty() {
            config["runtimeConfig"] = Value::Object(wanted);
        }
        if let Some(prev_result) = prev_result {
            config["prevResult"] = prev_result.clone();
        }
        config
    }

    /// The plugins' names in order.
    pub fn types(&self) -> Vec<String> {
        self.list["plugins"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|plugin| text(plugin, "type"))
            .collect()
    }

    /// `AddNetworkList`: each plugin gets the result of the one before; the last result counts.
    pub fn add(&self, call: &Call, run: impl Fn(&str, &Call) -> Answer) -> Answer {
        let mut last: Option<Answer> = None;
        for (index, plugin) in self.types().iter().enumerate() {
            let prev = last.as_ref().map(Answer::result);
            let answer = run(
                plugin,
                &call.clone().config(&self.config(index, prev.as_ref())),
            );
            if !answer.succeeded() {
                return answer;
            }
            last = Some(answer);
        }
        last.unwrap()
    }

    /// `DelNetworkList`: in reverse order, each with the cached last result.
    pub fn del(
        &self,
        call: &Call,
        cached: Option<&Value>,
        run: impl Fn(&str, &Call) -> Answer,
    ) -> Answer {
        let mut last: Option<Answer> = None;
        for (index, plugin) in self.types().iter().enumerate().rev() {
            let answer = run(plugin, &call.clone().config(&self.config(index, cached)));
            if !answer.succeeded() {
                return answer;
            }
            last = Some(answer);
        }
        last.unwrap()
    }

    /// `CheckNetworkList`: in order, each with the cached last result.
    pub fn check(
        &self,
        call: &Call,
        cached: &Value,
        run: impl Fn(&str, &Call) -> Answer,
    ) -> Answer {
        let mut last: Option<Answer> = None;
        for (index, plugin) in self.types().iter().enumerate() {
            let config = self.config(index, Some(cached));
            let answer = run(plugin, &call.clone().config(&config));
            if !answer.succeeded() {
                return answer;
            }
            last = Some(answer);
        }
        last.unwrap()
    }
}

/// The keys that GC carries, both spellings as libcni writes them.
pub fn gc_keys(config: &Value, valid: &[(&str, &str)]) -> Value {
    let list: Vec<Value> = valid
        .iter()
        .map(|(container, ifname)| json!({"containerID": container, "ifname": ifname}))
        .collect();
    let mut config = config.clone();
    config["cni.dev/valid-attachments"] = Value::Array(list.clone());
    config["cni.dev/attachments"] = Value::Array(list);
    config
}
