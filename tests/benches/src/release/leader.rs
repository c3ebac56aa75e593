//! Two processes of the controllers, of which one leads, with the shipped rights and no others.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tests_testbed::{ApiProxy, ApiServer, Process, binary};

use crate::usage::Usage;

/// Who leads.
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/berth-system/leases/berth-controllers";

/// The processes.
pub(crate) struct Leaders {
    all: Vec<One>,
    folder: tempfile::TempDir,
    /// What those took that were killed.
    gone: Duration,
}

struct One {
    node: &'static str,
    port: u16,
    process: Process,
}

/// What the processes take together: the memory of the larger one, and all processor time, also of those that were killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) resident_mb: f64,
    pub(crate) cpu: Duration,
}

impl Leaders {
    pub(crate) fn start(api: &ApiServer) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let words = [
            "create",
            "token",
            "berth-controllers",
            "-n",
            "berth-system",
            "--duration=24h",
        ];
        let token = api.kubectl(&words)?.ok()?;
        let view = api.kubectl_json(&["config", "view", "--raw"])?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": view["clusters"][0]["cluster"]}],
            "users": [{"name": "it", "user": {"token": token.trim()}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        let path = folder.path().join("kubeconfig");
        fs::write(&path, config.to_string()).context("write a kubeconfig")?;
        let all = [("c1", 19_900), ("c2", 19_910)];
        let all = all.into_iter().map(|(node, port)| {
            let process = start(api, &path, node, port)?;
            anyhow::Ok(One {
                node,
                port,
                process,
            })
        });
        Ok(Self {
            all: all.collect::<Result<_>>()?,
            folder,
            gone: Duration::ZERO,
        })
    }

    pub(crate) fn usage(&mut self) -> Result<Taken> {
        let mut taken = Taken {
            resident_mb: 0.0,
            cpu: self.gone,
        };
        for one in &mut self.all {
            let usage = one.usage()?;
            taken.resident_mb = taken.resident_mb.max(usage.resident_mb);
            taken.cpu += usage.cpu;
        }
        Ok(taken)
    }

    /// Kills who leads, without warning, and starts it again at once: it takes over when what the dead one had sent is over. Answers whether
    /// there was one.
    #[allow(
        dead_code,
        reason = "not every bench that starts controllers kills them"
    )]
    pub(crate) fn kill_leader(&mut self, api: &ApiServer, proxy: &ApiProxy) -> Result<bool> {
        let lease = proxy.json(LEASE)?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let kubeconfig = self.kubeconfig();
        let mut is_killed = false;
        for one in &mut self.all {
            if holder.starts_with(&format!("{}_", one.node)) {
                self.gone += one.usage()?.cpu;
                one.process.kill()?;
                one.process = start(api, &kubeconfig, one.node, one.port)?;
                is_killed = true;
            }
        }
        Ok(is_killed)
    }

    /// The lines of their metrics about writes; of those that were killed nothing is left.
    pub(crate) fn writes(&self, api: &ApiServer) -> Result<String> {
        let mut lines = Vec::new();
        for one in &self.all {
            let url = format!("http://127.0.0.1:{}/metrics", one.port);
            let said = api.machine().run(&["curl", "-s", &url])?;
            let of_writes = said
                .lines()
                .filter(|line| line.starts_with("berth_agent_controllers_writes_total{"));
            lines.extend(
                of_writes
                    .filter(|line| !line.ends_with(" 0"))
                    .map(|line| format!("  {} {line}", one.node)),
            );
        }
        Ok(lines.join("\n"))
    }

    /// All counters of whoever leads, or of the last of them where nobody does, by their names with labels.
    #[allow(
        dead_code,
        reason = "not every bench that starts controllers reads them"
    )]
    pub(crate) fn counters(&self, api: &ApiServer) -> Result<BTreeMap<String, f64>> {
        let mut counters = BTreeMap::new();
        for one in &self.all {
            let url = format!("http://127.0.0.1:{}/metrics", one.port);
            let said = api.machine().run(&["curl", "-s", &url])?;
            let lines = said.lines().filter(|line| !line.starts_with('#'));
            let parsed = lines.filter_map(|line| line.rsplit_once(' '));
            let parsed =
                parsed.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
            counters = parsed.collect();
            if counters.get("berth_agent_controllers_leader") == Some(&1.0) {
                break;
            }
        }
        Ok(counters)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

impl One {
    fn usage(&mut self) -> Result<Usage> {
        let pid = self.process.pid()?;
        Usage::read(Path::new(&format!("/proc/{pid}")))
    }
}

fn start(api: &ApiServer, kubeconfig: &Path, node: &str, port: u16) -> Result<Process> {
    let mut command = api.machine().command(binary("berth-agent")?);
    let metrics = format!("127.0.0.1:{port}");
    command.args(["--role=controllers", "--node", node, "--metrics", &metrics]);
    command.arg("--kubeconfig").arg(kubeconfig);
    let roll = kubeconfig.with_file_name(format!("{node}.roll"));
    command.arg("--election-roll").arg(roll);
    api.machine()
        .spawn_command(&format!("controllers-{node}"), command)
}
