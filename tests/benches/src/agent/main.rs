//! `bench-agent`: what the agent of a node takes while nothing happens, beside what node-problem-detector's published manifest asks for. One node as it is
//! installed, many Pods that do nothing; medians over windows, one table. The aims are printed, never asserted; nothing is but that the figures are of what
//! they say.

#[path = "../figures.rs"]
mod figures;
#[path = "../table.rs"]
mod table;
mod usage;

use std::io::{Write as _, stderr, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests_testbed::{Cluster, Daemon, PAUSE_IMAGE, Pending, wait_patiently};

use self::{figures::median, table::Table, usage::Usage};

/// The node.
const NODE: &str = "n1";

/// Where the Pods are.
const NAMESPACE: &str = "default";

/// Pods on the node besides Berth's.
const DEFAULT_PODS: usize = 100;

/// Windows that are measured; odd, so that a median is a measured value.
const DEFAULT_WINDOWS: usize = 5;

/// One window: every look of the agent's is in it, and of its reports, which are up to five minutes apart, one in a few windows.
const WINDOW: Duration = Duration::from_secs(60);

/// After the last Pod was Ready: kubelet writes statuses, the agent looks at what is new.
const SETTLES: Duration = Duration::from_secs(60);

/// Many Pods at once on a small machine.
const PODS_DEADLINE: Duration = Duration::from_secs(900);

/// What node-problem-detector's published manifest (`deployment/node-problem-detector.yaml` of its repository, for release 0.8.18) requests and is limited to:
/// `cpu: 10m`, `memory: 80Mi`.
const PEER_MILLICORES: f64 = 10.0;
const PEER_MB: f64 = 80.0 * 1.048_576;

/// What the agent may take.
const AIM_MB: f64 = 20.0;
const AIM_MILLICORES: f64 = 3.0;

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
        Row::new(Daemon::Controllers, "the same program, controllers"),
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
    let head = [
        "",
        "RSS MB",
        "anonymous",
        "PSS MB",
        "locked",
        "millicores",
        "most",
        "threads",
    ];
    let mut table = Table::new(&head);
    for row in rows {
        let mb = |of: fn(&Usage) -> f64| format!("{:.1}", row.median(|it| of(&it.at_end)));
        let most = row.windows.iter().map(|it| it.millicores);
        table.row(vec![
            row.name.to_owned(),
            mb(|it| it.resident_mb),
            mb(|it| it.anonymous_mb),
            mb(|it| it.proportional_mb),
            mb(|it| it.locked_mb),
            format!("{:.2}", row.median(|it| it.millicores)),
            format!("{:.2}", most.fold(0.0, f64::max)),
            format!("{:.0}", row.median(|it| it.at_end.threads)),
        ]);
    }
    table.row(published(
        "node-problem-detector's request",
        PEER_MB,
        PEER_MILLICORES,
        1,
    ));
    if let Some(agent) = rows.first() {
        let (mb, millicores) = (
            agent.median(|it| it.at_end.resident_mb),
            agent.median(|it| it.millicores),
        );
        let peer = (mb / PEER_MB, millicores / PEER_MILLICORES);
        let aim = (mb / AIM_MB, millicores / AIM_MILLICORES);
        table.row(published("agent, of that request", peer.0, peer.1, 2));
        table.row(published("agent, of its aim", aim.0, aim.1, 2));
    }
    format!(
        "{} Pods on one node, nothing happens; medians of {} windows of {} s\n\n{}",
        plan.pods,
        plan.windows,
        WINDOW.as_secs(),
        table.render()
    )
}

/// A row of memory and processor time alone.
fn published(name: &str, memory: f64, millicores: f64, digits: usize) -> Vec<String> {
    let none = || "-".to_owned();
    vec![
        name.to_owned(),
        format!("{memory:.digits$}"),
        none(),
        none(),
        none(),
        format!("{millicores:.2}"),
        none(),
        none(),
    ]
}

/// Lets time pass: it is what is measured over.
fn pause(time: Duration) {
    let begun = Instant::now();
    // A thread that somebody has unparked before is not parked at all.
    while let Some(left) = time.checked_sub(begun.elapsed()) {
        std::thread::park_timeout(left);
    }
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
