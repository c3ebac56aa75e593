//! `bench-lifecycle`: what upstream's rule about nodes and Berth's do to a cluster in each of some twenty faults, in virtual time.
//! One table, one picture; the aims are printed, never asserted here.

#[path = "../table.rs"]
mod table;

use std::collections::BTreeMap;
use std::io::{Write as _, stderr, stdout};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use tests_lifecycle::berth::Berth;
use tests_lifecycle::replay::run;
use tests_lifecycle::report::{HEAD, Pair, cells, misses, picture};
use tests_lifecycle::trace::{Trace, all, named};
use tests_lifecycle::upstream::Upstream;
use tests_lifecycle::world::Size;

use self::table::Table;

const USAGE: &str = "usage: bench-lifecycle [--seed N] [--trace NAME] [--picture PATH] [--threads N] [--racks N] [--nodes N] [--pods N] [--no-large] [--story]";

/// What is to be run.
struct Plan {
    seed: u64,
    size: Size,
    only: Option<String>,
    is_large_too: bool,
    /// Berth's decisions are told, too.
    is_told: bool,
    threads: usize,
    picture: PathBuf,
}

fn main() -> Result<()> {
    let plan = parse(std::env::args().skip(1))?;
    let runs = runs(&plan)?;
    let pairs = replay(&plan, &runs)?;
    let mut table = Table::new(&HEAD);
    for line in pairs.iter().flat_map(cells) {
        table.row(line);
    }
    let Size {
        racks, nodes, pods, ..
    } = plan.size;
    let title = format!(
        "{racks} racks x {nodes} nodes x {pods} Pods, seed {}",
        plan.seed
    );
    std::fs::write(&plan.picture, picture(&pairs, &title))
        .with_context(|| format!("write {}", plan.picture.display()))?;
    let mut out = stdout();
    writeln!(out, "{title}\n\n{}", table.render())?;
    let missed: Vec<String> = pairs.iter().flat_map(misses).collect();
    if missed.is_empty() {
        writeln!(out, "\nAll aims are met.")?;
    }
    for miss in missed {
        writeln!(out, "\nMissed: {miss}")?;
    }
    writeln!(out, "\nPicture: {}", plan.picture.display())?;
    Ok(())
}

/// One trace at one size.
struct Run {
    trace: Trace,
    size: Size,
    name: String,
}

fn runs(plan: &Plan) -> Result<Vec<Run>> {
    let traces = all(plan.size, plan.seed);
    // Where nothing ran, no aim was missed.
    if let Some(only) = &plan.only
        && !traces.iter().any(|trace| only == trace.name)
    {
        let names: Vec<_> = traces.iter().map(|trace| trace.name).collect();
        bail!(
            "there is no trace {only:?}; name one of {}",
            names.join(", ")
        );
    }
    let mut runs: Vec<Run> = traces
        .into_iter()
        .filter(|trace| plan.only.as_ref().is_none_or(|only| only == trace.name))
        .map(|trace| Run {
            size: plan.size,
            name: trace.name.to_owned(),
            trace,
        })
        .collect();
    if plan.is_large_too && plan.only.is_none() {
        let size = Size {
            racks: 250,
            ..plan.size
        };
        for name in ["node-crash", "rack-power", "rack-dark-8m"] {
            runs.push(Run {
                trace: named(name, size, plan.seed).context("a trace of the list")?,
                size,
                name: format!("{name}, {} nodes", size.all_nodes()),
            });
        }
    }
    Ok(runs)
}

/// Runs know nothing of each other: so many threads take one after the other.
fn replay(plan: &Plan, runs: &[Run]) -> Result<Vec<Pair>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(run) = runs.get(number) else {
                        break;
                    };
                    let pair = pair(plan, run);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.insert(number, pair);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_values().collect()
}

fn pair(plan: &Plan, of: &Run) -> Result<Pair> {
    let Run { trace, size, name } = of;
    let mut berth = Berth::default();
    let pair = Pair {
        name: name.clone(),
        upstream: run(trace, *size, plan.seed, &mut Upstream::default())?,
        berth: run(trace, *size, plan.seed, &mut berth)?,
    };
    let mut err = stderr().lock();
    writeln!(err, "{name}: {}", trace.text)?;
    if plan.is_told {
        for line in berth.story() {
            writeln!(err, "{line}")?;
        }
    }
    Ok(pair)
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Plan> {
    let own = std::env::current_exe().context("find this program")?;
    let mut plan = Plan {
        seed: 1,
        size: Size {
            racks: 50,
            nodes: 40,
            pods: 60,
            zones: 1,
        },
        only: None,
        is_large_too: true,
        is_told: false,
        threads: 2,
        picture: own.with_file_name("bench-lifecycle.svg"),
    };
    while let Some(flag) = args.next() {
        match flag.as_str() {
            "--no-large" => {
                plan.is_large_too = false;
                continue;
            }
            "--story" => {
                plan.is_told = true;
                continue;
            }
            _ => {}
        }
        let value = args.next().with_context(|| USAGE.to_owned())?;
        match flag.as_str() {
            "--seed" => plan.seed = value.parse().context(USAGE)?,
            "--racks" => plan.size.racks = value.parse().context(USAGE)?,
            "--nodes" => plan.size.nodes = value.parse().context(USAGE)?,
            "--threads" => plan.threads = value.parse().context(USAGE)?,
            "--pods" => plan.size.pods = value.parse().context(USAGE)?,
            "--trace" => plan.only = Some(value),
            "--picture" => plan.picture = value.into(),
            _ => bail!(USAGE),
        }
    }
    let Size {
        racks, nodes, pods, ..
    } = plan.size;
    ensure!(
        plan.threads > 0 && racks > 0 && nodes > 0 && pods > 0,
        "--threads, --racks, --nodes and --pods are at least 1"
    );
    Ok(plan)
}
