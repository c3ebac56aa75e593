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

use std::io::{Write as _, stderr, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tests_fake_node::{FakeNodes, Pace};
use tests_testbed::{ApiProxy, ApiServer, Pending, wait_patiently};

use self::counts::Counts;
use self::leader::Leaders;
use self::sets::Size;
use self::table::Table;

const USAGE: &str = "usage: bench-release [--sets N] [--pods N (of each set)] [--nodes N] [--no-kills | --only-kills]";

/// How often the leader is killed in the second row.
const KILL_EVERY: Duration = Duration::from_secs(20);

/// From one look at the sets to the next.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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
    let plan = parse(std::env::args().skip(1))?;
    let Size { sets, pods, nodes } = plan.size;
    let mut api = ApiServer::start("bench-release")?;
    sets::install(&api)?;
    api.start_only_controllers(&CONTROLLERS)?;
    let names: Vec<String> = (1..=nodes).map(|number| format!("n{number}")).collect();
    let fakes = FakeNodes::start(&api, &names, Pace::real())?;
    let proxy = api.proxy()?;
    let mut leaders = Leaders::start(&api)?;
    progress(&format!("making {sets} sets of {pods} Pods"));
    sets::make(&api, &proxy, plan.size)?;
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
    let mut world = World {
        api: &api,
        proxy: &proxy,
        leaders: &mut leaders,
        size: plan.size,
    };
    if plan.calm {
        table.row(release(&mut world, "v2", None)?);
    }
    if plan.kills {
        table.row(release(&mut world, "v3", Some(KILL_EVERY))?);
    }
    let trouble = fakes.trouble();
    ensure!(trouble.is_empty(), "the nodes say: {trouble:#?}");
    let mut out = stdout();
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

/// What is released how often.
#[derive(Clone, Copy, Debug)]
struct Plan {
    size: Size,
    /// Once with nothing in the way.
    calm: bool,
    /// Once with leaders that are killed.
    kills: bool,
}

/// What a release is of.
struct World<'a> {
    api: &'a ApiServer,
    proxy: &'a ApiProxy,
    leaders: &'a mut Leaders,
    size: Size,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Plan> {
    let mut plan = Plan {
        size: Size {
            sets: 200,
            pods: 25,
            nodes: 100,
        },
        calm: true,
        kills: true,
    };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next();
            text.and_then(|text| text.parse().ok()).context(USAGE)
        };
        match word.as_str() {
            "--sets" => plan.size.sets = number()?,
            "--pods" => plan.size.pods = number()?,
            "--nodes" => plan.size.nodes = number()?,
            "--no-kills" => plan.kills = false,
            "--only-kills" => plan.calm = false,
            other => bail!("unknown argument {other}; {USAGE}"),
        }
    }
    ensure!(plan.calm || plan.kills, "nothing is left to do; {USAGE}");
    Ok(plan)
}

/// How a release went.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    kills: u32,
    peak_mb: f64,
}

/// One row of the table.
fn release(
    world: &mut World<'_>,
    version: &str,
    kill_every: Option<Duration>,
) -> Result<Vec<String>> {
    let (api, proxy, size) = (world.api, world.proxy, world.size);
    let pods = size.sets * size.pods;
    let earlier = sets::restarts(proxy)?;
    let (before, used) = (Counts::read(api)?, world.leaders.usage()?);
    progress(&format!("releasing {version}"));
    let start = Instant::now();
    sets::release(proxy, size, version)?;
    let course = follow(world, version, kill_every, start)?;
    let wall = start.elapsed().as_secs_f64();
    let made = Counts::read(api)?.since(&before);
    let cpu = (world.leaders.usage()?.cpu.saturating_sub(used.cpu)).as_secs_f64();
    sets::check(&earlier, &sets::restarts(proxy)?, pods)?;
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
        world.leaders.writes(api)?
    )?;
    let row = vec![
        name,
        format!("{wall:.1}"),
        format!("{:.1}", of / wall),
        format!("{:.2}", made.of_pods() / of),
        format!("{:.2}", made.all() / of),
        format!("{:.1}", course.peak_mb),
        format!("{cpu:.1}"),
        format!("{:.1}", cpu * 1000.0 / of),
        course.kills.to_string(),
    ];
    progress(&row.join(", "));
    Ok(row)
}

/// Waits until every set is released, and kills who leads now and then.
fn follow(
    world: &mut World<'_>,
    version: &str,
    kill_every: Option<Duration>,
    start: Instant,
) -> Result<Course> {
    let World {
        api,
        proxy,
        leaders,
        size,
    } = world;
    let mut course = Course::default();
    let (mut killed, mut looked) = (start, start);
    let mut last = Pending::because("not looked at yet");
    wait_patiently("every set being released", DEADLINE, || {
        // Looking is not to be what the machine does.
        if looked.elapsed() < LOOK_EVERY {
            return Err(last.clone());
        }
        looked = Instant::now();
        let look = (|| {
            if let Some(every) = kill_every
                && killed.elapsed() >= every
            {
                course.kills += u32::from(leaders.kill_leader(api, proxy)?);
                killed = Instant::now();
            }
            course.peak_mb = course.peak_mb.max(leaders.usage()?.resident_mb);
            sets::released(proxy, version)
        })();
        last = match look {
            Ok(count) if count == size.sets => return Ok(()),
            Ok(count) => Pending(format!("{count} of {} sets", size.sets)),
            Err(error) => Pending(format!("{error:#}")),
        };
        let seconds = start.elapsed().as_secs_f64();
        progress(&format!(
            "{seconds:.0} s, {} kills: {}",
            course.kills, last.0
        ));
        Err(last.clone())
    })?;
    Ok(course)
}

/// The report goes to standard output, progress to standard error.
fn progress(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}
