//! `bench-agent`: what the agent of a node takes while nothing happens, beside what node-problem-detector's published manifest asks for. One node as it is
//! installed, many Pods that do nothing; medians over windows, one table. Nothing is asserted but that the figures are of what they say.

#[path = "../figures.rs"]
mod figures;
mod usage;

use std::io::{Write as _, stderr, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests_testbed::{Cluster, Daemon, PAUSE_IMAGE, Pending, wait_patiently};

use self::{
    figures::{Table, median},
    usage::Usage,
};

/// The node.
const NODE: &str = "n1";

/// Where the Pods are.
const NAMESPACE: &str = "default";

/// Pods on the node besides Berth's.
const DEFAULT_PODS: usize = 100;

/// Windows that are measured; odd, so that a median is a measured value.
const DEFAULT_WINDOWS: usize = 5;

/// One window: six of the agent's reports' longest pauses would be half an hour, so its regular work is in it and a report now and then.
const WINDOW: Duration = Duration::from_secs(60);

/// After the last Pod was Ready: kubelet writes statuses, the agent looks at what is new.
const SETTLES: Duration = Duration::from_secs(60);

/// Many Pods at once on a small machine.
const PODS_DEADLINE: Duration = Duration::from_secs(900);

/// What node-problem-detector's published manifest (`deployment/node-problem-detector.yaml`) requests and is limited to.
const PEER_MILLICORES: f64 = 10.0;
const PEER_MB: f64 = 80.0 * 1.048_576;

const USAGE: &str = "usage: bench-agent [--pods N] [--windows N]";

/// What is measured how often.
#[derive(Clone, Copy, Debug)]
struct Plan {
    pods: usize,
    windows: usize,
}

/// One daemon, one entry a window.
#[derive(Debug)]
struct Row {
    daemon: Daemon,
    name: &'static str,
    windows: Vec<Window>,
}

/// What was taken in a window.
#[derive(Clone, Copy, Debug)]
struct Window {
    at_end: Usage,
    millicores: f64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let plan = plan(&args)?;
    progress("making a cluster of one node");
    let cluster = Cluster::builder("bench-agent")
        .racks(1)
        .node(NODE, "a")
        .build()?;
    progress(&format!("starting {} Pods", plan.pods));
    cluster.apply(&pods(plan.pods).to_string())?;
    wait_ready(&cluster, plan.pods)?;
    pause(SETTLES);
    let mut rows = [
        Row::new(Daemon::Agent, "berth-agent"),
        Row::new(Daemon::Ipamd, "berth-ipamd"),
    ];
    for number in 1..=plan.windows {
        progress(&format!("window {number} of {}", plan.windows));
        measure(&cluster, &mut rows)?;
    }
    writeln!(stdout(), "{}", report(&rows, plan)).context("print")
}

fn plan(args: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        pods: DEFAULT_PODS,
        windows: DEFAULT_WINDOWS,
    };
    for pair in args.chunks(2) {
        let [flag, value] = pair else {
            anyhow::bail!("{USAGE}");
        };
        let value: usize = value.parse().context(USAGE)?;
        ensure!(value > 0, "{USAGE}");
        match flag.as_str() {
            "--pods" => plan.pods = value,
            "--windows" => plan.windows = value,
            other => anyhow::bail!("unknown argument {other}; {USAGE}"),
        }
    }
    Ok(plan)
}

/// A `ReplicaSet` of Pods that do nothing.
fn pods(count: usize) -> Value {
    let labels = json!({"app": "idle"});
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "idle", "namespace": NAMESPACE},
        "spec": {
            "replicas": count,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"berth.dev/networks": "external"}},
                "spec": {
                    "nodeName": NODE, "automountServiceAccountToken": false, "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "app", "image": PAUSE_IMAGE, "imagePullPolicy": "Never"}],
                },
            },
        },
    })
}

fn wait_ready(cluster: &Cluster, count: usize) -> Result<()> {
    let path = [
        "get",
        "replicaset",
        "idle",
        "-o",
        "jsonpath={.status.readyReplicas}",
    ];
    wait_patiently("all Pods Ready", PODS_DEADLINE, || {
        let said = cluster.kubectl(&path);
        let said = said.map_err(|error| Pending::because(format!("{error:#}")))?;
        let ready: usize = said.trim().parse().unwrap_or_default();
        if ready == count {
            return Ok(());
        }
        Err(Pending::because(format!("{ready} of {count}")))
    })
}

fn measure(cluster: &Cluster, rows: &mut [Row]) -> Result<()> {
    let folders = rows
        .iter()
        .map(|row| cluster.proc_folder(NODE, row.daemon))
        .collect::<Result<Vec<_>>>()?;
    let read = || {
        folders
            .iter()
            .map(|it| Usage::read(it))
            .collect::<Result<Vec<_>>>()
    };
    let (begun, before) = (Instant::now(), read()?);
    pause(WINDOW);
    let (passed, after) = (begun.elapsed(), read()?);
    for ((row, before), after) in rows.iter_mut().zip(before).zip(after) {
        let used = after.cpu.checked_sub(before.cpu);
        let used = used.with_context(|| format!("{} was started anew meanwhile", row.name))?;
        row.windows.push(Window {
            at_end: after,
            millicores: used.as_secs_f64() / passed.as_secs_f64() * 1000.0,
        });
    }
    Ok(())
}

impl Row {
    const fn new(daemon: Daemon, name: &'static str) -> Self {
        Self {
            daemon,
            name,
            windows: Vec::new(),
        }
    }

    fn median(&self, of: impl Fn(&Window) -> f64) -> f64 {
        median(self.windows.iter().map(of))
    }
}

fn report(rows: &[Row], plan: Plan) -> String {
    let mut table = Table::new(&["", "RSS MB", "of it anonymous", "millicores", "threads"]);
    for row in rows {
        table.row(vec![
            row.name.to_owned(),
            format!("{:.1}", row.median(|it| it.at_end.resident_mb)),
            format!("{:.1}", row.median(|it| it.at_end.anonymous_mb)),
            format!("{:.2}", row.median(|it| it.millicores)),
            format!("{:.0}", row.median(|it| it.at_end.threads)),
        ]);
    }
    let mut row = vec!["node-problem-detector's request".to_owned()];
    row.extend([
        format!("{PEER_MB:.1}"),
        "-".into(),
        format!("{PEER_MILLICORES:.2}"),
        "-".into(),
    ]);
    table.row(row);
    if let Some(agent) = rows.first() {
        table.row(vec![
            "ratio".to_owned(),
            format!("{:.2}", agent.median(|it| it.at_end.resident_mb) / PEER_MB),
            "-".into(),
            format!("{:.2}", agent.median(|it| it.millicores) / PEER_MILLICORES),
            "-".into(),
        ]);
    }
    format!(
        "{} Pods on one node, nothing happens; medians of {} windows of {} s\n\n{}",
        plan.pods,
        plan.windows,
        WINDOW.as_secs(),
        table.render()
    )
}

/// Lets time pass: it is what is measured over.
fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

/// The report goes to standard output, progress to standard error.
fn progress(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_nonsense_is_refused() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let plan = plan(&words("--pods 20 --windows 1")).unwrap();
        assert_eq!((plan.pods, plan.windows), (20, 1));
        for text in ["--pods", "--pods x", "--pods 0", "--nodes 1"] {
            assert!(super::plan(&words(text)).is_err(), "{text}");
        }
    }
}
