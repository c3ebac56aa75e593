//! `bench-lifecycle-load`: the node lifecycle beside a real API server with thousands of nodes as objects, whose Leases and reports are
//! written at the real rates: how long a step takes, what the leader takes, and what it writes. First calm, then with a rack that is
//! off, in dry-run as a cluster begins. The aims are printed, never asserted; asserted is that the nodes' writes came through at
//! their rate, or the figures would be of something else.

#[path = "../release/leader.rs"]
mod leader;
mod nodes;
#[path = "../table.rs"]
mod table;
#[path = "../agent/usage.rs"]
mod usage;

use std::collections::BTreeMap;
use std::io::{Write as _, stderr, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tests_testbed::{ApiServer, Pending, wait_patiently};

use self::leader::Leaders;
use self::nodes::Nodes;
use self::table::Table;

const USAGE: &str = "usage: bench-lifecycle-load [--nodes N] [--seconds N (of each row)]";

const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../install/manifests");

/// However slow the machine is.
const DEADLINE: Duration = Duration::from_secs(1800);

/// What the issue asks for.
const AIM_STEP: f64 = 50.0;

/// Less than this of the nodes' writes, and the row is of another load.
const LEAST_PERCENT: f64 = 90.0;

struct Plan {
    nodes: usize,
    seconds: u64,
}

fn main() -> Result<()> {
    let plan = parse(std::env::args().skip(1))?;
    let api = ApiServer::start("bench-lifecycle-load")?;
    api.kubectl(&["apply", "-k", MANIFESTS])?.ok()?;
    progress(&format!("making {} nodes", plan.nodes));
    let nodes = Nodes::start(&api, plan.nodes)?;
    let mut leaders = Leaders::start(&api)?;
    progress(
        "waiting until the leader calls all of them healthy, and has told each agent whom to look at",
    );
    wait_calm(&api, &leaders, plan.nodes)?;
    let mut table = Table::new(&[
        "nodes' objects",
        "writes/s of nodes",
        "step mean ms",
        "step p99 below ms",
        "leader RSS MB",
        "leader CPU %",
        "leader writes/s",
    ]);
    let length = Duration::from_secs(plan.seconds);
    let calm = measure(&api, &nodes, &mut leaders, length)?;
    table.row(row(&format!("{} healthy", plan.nodes), &calm));
    nodes.power_off_first_rack();
    let dark = measure(&api, &nodes, &mut leaders, length)?;
    table.row(row("a rack of them off", &dark));
    let mut out = stdout();
    writeln!(out, "{}", table.render())?;
    writeln!(out, "\nThe leader's writes:\n{}", leaders.writes(&api)?)?;
    for (name, figures) in [("calm", &calm), ("dark", &dark)] {
        if figures.step_p99_ms > AIM_STEP {
            writeln!(out, "missed, {name}: a step below {AIM_STEP} ms")?;
        }
    }
    ensure!(
        calm.percent >= LEAST_PERCENT,
        "only {:.0} % of the nodes' writes came through: the machine is too busy for {} nodes",
        calm.percent,
        plan.nodes
    );
    Ok(())
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Plan> {
    let mut plan = Plan {
        nodes: 2000,
        seconds: 150,
    };
    while let Some(word) = words.next() {
        let number = words.next().and_then(|text| text.parse().ok());
        let number: u64 = number.with_context(|| format!("{word}: {USAGE}"))?;
        match word.as_str() {
            "--nodes" => plan.nodes = usize::try_from(number)?,
            "--seconds" => plan.seconds = number,
            _ => bail!("unknown argument {word}; {USAGE}"),
        }
    }
    ensure!(plan.nodes >= 80, "fewer than two racks of forty; {USAGE}");
    Ok(plan)
}

/// What was seen over a while.
struct Figures {
    writes_per_second: f64,
    percent: f64,
    step_mean_ms: f64,
    step_p99_ms: f64,
    resident_mb: f64,
    cpu_percent: f64,
    own_writes_per_second: f64,
}

fn row(name: &str, figures: &Figures) -> Vec<String> {
    vec![
        name.to_owned(),
        format!("{:.0}", figures.writes_per_second),
        format!("{:.1}", figures.step_mean_ms),
        format!("{:.1}", figures.step_p99_ms),
        format!("{:.0}", figures.resident_mb),
        format!("{:.0}", figures.cpu_percent),
        format!("{:.1}", figures.own_writes_per_second),
    ]
}

/// Counters of the leader, by their names with labels.
type Counters = BTreeMap<String, f64>;

fn measure(
    api: &ApiServer,
    nodes: &Nodes,
    leaders: &mut Leaders,
    length: Duration,
) -> Result<Figures> {
    progress(&format!("measuring for {} s", length.as_secs()));
    let (began, written) = (Instant::now(), nodes.written());
    let (before, taken) = (leaders.counters(api)?, leaders.usage()?);
    wait_patiently("the time being over", length + DEADLINE, || {
        let passed = began.elapsed();
        if passed >= length {
            return Ok(());
        }
        Err(Pending::because(format!("{passed:?}")))
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let (after, taken_after) = (leaders.counters(api)?, leaders.usage()?);
    let written = f64::from(nodes.written() - written) / seconds;
    let grown = |name: &str| {
        let of = |all: &Counters| all.get(name).copied().unwrap_or(0.0);
        of(&after) - of(&before)
    };
    let steps = grown("berth_agent_lifecycle_step_seconds_count");
    ensure!(steps > 0.0, "the leader made no step");
    let own = after
        .keys()
        .filter(|name| name.starts_with("berth_agent_controllers_writes_total{"));
    let own: f64 = own.map(|name| grown(name)).sum();
    let cpu = taken_after.cpu.saturating_sub(taken.cpu).as_secs_f64();
    Ok(Figures {
        writes_per_second: written,
        percent: 100.0 * written / nodes.rate(),
        step_mean_ms: 1000.0 * grown("berth_agent_lifecycle_step_seconds_sum") / steps,
        step_p99_ms: 1000.0 * p99(&before, &after, steps),
        resident_mb: taken_after.resident_mb,
        cpu_percent: 100.0 * cpu / seconds,
        own_writes_per_second: own / seconds,
    })
}

/// The bound of the bucket below which 99 of a hundred steps were.
fn p99(before: &Counters, after: &Counters, steps: f64) -> f64 {
    const BUCKET: &str = "berth_agent_lifecycle_step_seconds_bucket{le=\"";
    let mut bounds: Vec<(f64, f64)> = after
        .iter()
        .filter_map(|(name, count)| {
            let bound = name.strip_prefix(BUCKET)?.strip_suffix("\"}")?;
            let bound = bound.parse().unwrap_or(f64::INFINITY);
            Some((bound, count - before.get(name).copied().unwrap_or(0.0)))
        })
        .collect();
    bounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    let enough = bounds.iter().find(|(_, count)| *count >= 0.99 * steps);
    enough.map_or(f64::INFINITY, |(bound, _)| *bound)
}

fn wait_calm(api: &ApiServer, leaders: &Leaders, nodes: usize) -> Result<()> {
    let wanted = f64::from(u32::try_from(nodes)?);
    wait_patiently("all nodes healthy and told", DEADLINE, || {
        let counters = leaders.counters(api).map_err(Pending::because)?;
        let of = |name: &str| counters.get(name).copied().unwrap_or(0.0);
        let healthy = of("berth_agent_lifecycle_nodes{verdict=\"healthy\"}");
        let told = of("berth_agent_controllers_writes_total{kind=\"roster\",result=\"done\"}");
        if healthy >= wanted && told >= wanted {
            return Ok(());
        }
        Err(Pending::because(format!("{healthy} healthy, {told} told")))
    })
}

fn progress(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}
