//! `bench-restart`: how long an address serves nobody while its container is made to run anew, in place and by delete-and-recreate on the same node, with an
//! image that the node has and with one that it has not. Rounds alternate; percentiles are over the containers of all rounds. Nothing is asserted but that the
//! figures are of what they say.

mod field;
mod outage;
mod release;
mod report;
mod runtime;
#[path = "../samples.rs"]
mod samples;
mod service;
mod shelf;
mod subject;
#[path = "../table.rs"]
mod table;

use std::io::{Write as _, stderr, stdout};

use anyhow::{Context as _, Result, bail, ensure};

use self::{
    field::Field,
    report::{Row, report},
    subject::Subject,
};

/// Pods of a round, and rounds of each subject: together as many as a percentile of 99 needs.
const DEFAULT_PODS: usize = 20;
const DEFAULT_ROUNDS: usize = 5;

/// The layer of an image that is absent, and the pace at which it comes: an image of a service, over a network of 1 Gbit/s that others use too.
const DEFAULT_MEGABYTES: usize = 100;
const DEFAULT_RATE: usize = 50;

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
    let rows = rows.map(|(subject, outages)| Row::new(subject, &outages));
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

/// The report goes to standard output, progress to standard error.
fn progress(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

#[cfg(test)]
mod tests {
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
}
