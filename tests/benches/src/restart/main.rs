//! `bench-restart`: how long an address serves nobody while its container is made to run anew, in place and by delete-and-recreate on the same node, with an
//! image that the node has and with one that it has not. Rounds alternate; percentiles are over the containers of all rounds. Nothing is asserted but that the
//! figures are of what they say.

mod field;
mod outage;
mod runtime;
#[path = "../samples.rs"]
mod samples;
mod shelf;
mod subject;
#[path = "../table.rs"]
mod table;

use std::io::{Write as _, stderr, stdout};

use anyhow::{Context as _, Result, bail, ensure};

use self::{field::Field, samples::Samples, subject::Subject, table::Table};

/// Pods of a round, and rounds of each subject: together as many as a percentile of 99 needs.
const DEFAULT_PODS: usize = 20;
const DEFAULT_ROUNDS: usize = 5;

/// The layer of an image that is absent, and the pace at which it comes: an image of a service, over a network of 1 Gbit/s that others use too.
const DEFAULT_MEGABYTES: usize = 100;
const DEFAULT_RATE: usize = 50;

/// From here on the 99th percentile is not simply the longest.
const ENOUGH: usize = 100;

const MEGABYTE: usize = 1_000_000;

const USAGE: &str =
    "usage: bench-restart [--pods N] [--rounds N] [--layer MEGABYTES] [--rate MEGABYTES/S]";

/// What is measured how often.
#[derive(Clone, Copy, Debug)]
struct Plan {
    pods: usize,
    rounds: usize,
    megabytes: usize,
    rate: usize,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, address] = &args[..]
        && word == "client"
    {
        return outage::look(address);
    }
    let plan = plan(&args)?;
    progress("making a cluster of one node");
    let bytes = u64::try_from(plan.megabytes * MEGABYTE)?;
    let rate = u32::try_from(plan.rate * MEGABYTE)?;
    let mut field = Field::new(plan.pods, bytes, rate)?;
    let mut rows = Subject::ALL.map(|subject| (subject, Vec::new()));
    for round in 1..=plan.rounds {
        for (subject, outages) in &mut rows {
            let name = subject.name();
            progress(&format!("round {round} of {}: {name}", plan.rounds));
            let more = field.round(*subject)?;
            progress(&format!("{more:.2?}"));
            outages.extend(more);
        }
    }
    let rows = rows.map(|(subject, outages)| (subject, Samples::new(outages)));
    writeln!(stdout(), "{}", report(&rows, plan)).context("print")
}

fn plan(args: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        pods: DEFAULT_PODS,
        rounds: DEFAULT_ROUNDS,
        megabytes: DEFAULT_MEGABYTES,
        rate: DEFAULT_RATE,
    };
    for pair in args.chunks(2) {
        let [flag, value] = pair else {
            bail!("{USAGE}");
        };
        let value: usize = value.parse().context(USAGE)?;
        ensure!(value > 0, "{USAGE}");
        match flag.as_str() {
            "--pods" => plan.pods = value,
            "--rounds" => plan.rounds = value,
            "--layer" => plan.megabytes = value,
            "--rate" => plan.rate = value,
            other => bail!("unknown argument {other}; {USAGE}"),
        }
    }
    Ok(plan)
}

fn report(rows: &[(Subject, Samples)], plan: Plan) -> String {
    let figure = |subject: Subject, percent: usize| {
        let row = rows.iter().find(|(it, _)| *it == subject);
        row.map_or(f64::NAN, |(_, samples)| samples.percentile_ms(percent))
    };
    let count = plan.pods * plan.rounds;
    let (last, percent) = if count < ENOUGH {
        ("longest", 100)
    } else {
        ("p99", 99)
    };
    let mut table = Table::new(&["outage, ms", "p50", last]);
    for (subject, _) in rows {
        let cell = |percent| format!("{:.0}", figure(*subject, percent));
        table.row(vec![subject.name().to_owned(), cell(50), cell(percent)]);
    }
    for (subject, peer) in Subject::ALL.iter().filter_map(|it| Some((*it, it.peer()?))) {
        let cell = |percent| format!("{:.2}", figure(subject, percent) / figure(peer, percent));
        let name = format!("ratio, {}", subject.name());
        table.row(vec![name, cell(50), cell(percent)]);
    }
    format!(
        "{count} outages each, in {} alternating rounds; {} Pods on the node; an absent image has a layer of {} MB, sent at {} MB/s\n\n{}",
        plan.rounds,
        plan.pods,
        plan.megabytes,
        plan.rate,
        table.render()
    )
}

/// The report goes to standard output, progress to standard error.
fn progress(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn flags_are_read_and_nonsense_is_refused() {
        let plan = plan(&words("--pods 20 --rounds 1 --layer 10 --rate 5")).unwrap();
        assert_eq!((plan.pods, plan.rounds), (20, 1));
        assert_eq!((plan.megabytes, plan.rate), (10, 5));
        for text in ["--pods", "--pods x", "--pods 0", "--nodes 1"] {
            assert!(super::plan(&words(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn few_outages_have_a_longest_one_and_no_percentile_of_99() {
        let rows = Subject::ALL.map(|subject| {
            let outages = (1..=20).map(Duration::from_millis).collect();
            (subject, Samples::new(outages))
        });
        let told = |text: &str| report(&rows, plan(&words(text)).unwrap());
        let few = told("--pods 20 --rounds 1");
        assert!(few.contains("longest") && !few.contains("p99"), "{few}");
        assert!(told("--pods 20 --rounds 5").contains("p99"));
    }
}
