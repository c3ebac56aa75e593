//! `bench-release`: one full release of many `InPlaceSet`s on fake nodes: wall time, writes, what the controllers take; then the same
//! with the leader killed again and again. Real API server, real controllers with the shipped rights, Kubernetes' own
//! `EndpointSlice` controller; the Pods are `tests-fake-node`'s. The aims are printed, never asserted; asserted is that the same Pods
//! are there afterwards with each container restarted once, or the figures would be of something else.

mod counts;
mod leader;
mod sets;
#[path = "../table.rs"]
mod table;
#[path = "../agent/usage.rs"]
mod usage;

use std::io::{Write as _, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tests_fake_node::{FakeNodes, Pace};
use tests_testbed::{ApiServer, Pending, wait_patiently};

use self::counts::Counts;
use self::leader::Leaders;
use self::sets::Size;
use self::table::Table;

const USAGE: &str =
    "usage: bench-release [--sets N] [--pods N (of each set)] [--nodes N] [--no-kills]";

/// How often the leader is killed in the second row.
const KILL_EVERY: Duration = Duration::from_secs(20);

/// However slow the machine is.
const DEADLINE: Duration = Duration::from_secs(3600);

/// What the issue asks for.
const AIM_WRITES: f64 = 6.0;

/// Kubernetes' own: endpoints, what an owner leaves behind, and the account each Pod has.
const CONTROLLERS: [&str; 3] = [
    "endpointslice-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
];

fn main() -> Result<()> {
    let (size, kills) = parse(std::env::args().skip(1))?;
    let mut api = ApiServer::start("bench-release")?;
    sets::install(&api)?;
    api.start_only_controllers(&CONTROLLERS)?;
    let names: Vec<String> = (1..=size.nodes)
        .map(|number| format!("n{number}"))
        .collect();
    let nodes = FakeNodes::start(&api, &names, Pace::real())?;
    let mut leaders = Leaders::start(&api)?;
    sets::make(&api, size)?;
    let mut table = Table::new(&[
        "one release",
        "wall s",
        "Pods/s",
        "Pod writes/Pod",
        "all writes/Pod",
        "RSS MB",
        "CPU s",
        "CPU ms/Pod",
        "kills",
    ]);
    table.row(release(&api, &mut leaders, size, "v2", None)?);
    if kills {
        table.row(release(&api, &mut leaders, size, "v3", Some(KILL_EVERY))?);
    }
    let trouble = nodes.trouble();
    ensure!(trouble.is_empty(), "the nodes say: {trouble:#?}");
    let mut out = stdout();
    let Size { sets, pods, nodes } = size;
    writeln!(
        out,
        "{} Pods in {sets} InPlaceSets on {nodes} fake nodes\n",
        sets * pods
    )?;
    writeln!(out, "{}", table.render())?;
    writeln!(
        out,
        "aim: at most {AIM_WRITES} writes a Pod, all of the controllers' writes counted by the API server"
    )?;
    Ok(())
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<(Size, bool)> {
    let mut size = Size {
        sets: 5,
        pods: 20,
        nodes: 10,
    };
    let mut kills = true;
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next();
            text.and_then(|text| text.parse().ok()).context(USAGE)
        };
        match word.as_str() {
            "--sets" => size.sets = number()?,
            "--pods" => size.pods = number()?,
            "--nodes" => size.nodes = number()?,
            "--no-kills" => kills = false,
            other => bail!("unknown argument {other}; {USAGE}"),
        }
    }
    Ok((size, kills))
}

/// One row of the table.
fn release(
    api: &ApiServer,
    leaders: &mut Leaders,
    size: Size,
    version: &str,
    kill_every: Option<Duration>,
) -> Result<Vec<String>> {
    let pods = size.sets * size.pods;
    let earlier = sets::restarts(api)?;
    let (before, used) = (Counts::read(api)?, leaders.usage()?);
    let start = Instant::now();
    sets::release(api, size, version)?;
    let mut killed = start;
    let (mut kills, mut peak_mb) = (0, 0.0_f64);
    wait_patiently("every set being released", DEADLINE, || {
        let look = (|| {
            if let Some(every) = kill_every
                && killed.elapsed() >= every
            {
                leaders.kill_leader(api)?;
                killed = Instant::now();
                kills += 1;
            }
            peak_mb = peak_mb.max(leaders.usage()?.resident_mb);
            sets::released(api, version)
        })();
        match look {
            Ok(count) if count == size.sets => Ok(()),
            Ok(count) => Err(Pending(format!("{count} of {} sets", size.sets))),
            Err(error) => Err(Pending(format!("{error:#}"))),
        }
    })?;
    let wall = start.elapsed().as_secs_f64();
    let made = Counts::read(api)?.since(&before);
    let cpu = (leaders.usage()?.cpu.saturating_sub(used.cpu)).as_secs_f64();
    sets::check(&earlier, &sets::restarts(api)?, pods)?;
    let of = f64::from(u32::try_from(pods)?);
    let name = kill_every.map_or_else(
        || "one leader".to_owned(),
        |every| format!("leader killed every {} s", every.as_secs()),
    );
    let mut out = stdout();
    writeln!(
        out,
        "{name}: writes by what they were of, a Pod: {}",
        made.each(of)
    )?;
    writeln!(
        out,
        "{name}: the controllers' own count:\n{}",
        leaders.writes(api)?
    )?;
    Ok(vec![
        name,
        format!("{wall:.1}"),
        format!("{:.1}", of / wall),
        format!("{:.2}", made.of_pods() / of),
        format!("{:.2}", made.all() / of),
        format!("{peak_mb:.1}"),
        format!("{cpu:.1}"),
        format!("{:.1}", cpu * 1000.0 / of),
        kills.to_string(),
    ])
}
