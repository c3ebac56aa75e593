//! `bench-storm`: what a service on a node feels when its rack comes back from the dark, and what was replaced meanwhile is ended there: once by Kubernetes'
//! own rule, once by Berth's. Two racks of two nodes; the Pods that are replaced burn processor time when they are told to end, as a flush or a
//! deregistration does. Nothing is asserted but that the figures are of what they say.

mod client;
#[path = "../samples.rs"]
mod samples;
mod stage;
#[path = "../table.rs"]
mod table;

use std::io::{Write as _, stderr, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use self::client::{Answers, Client};
use self::samples::Samples;
use self::stage::{Ended, Rule, Stage};
use self::table::Table;

/// Pods that are replaced.
const DEFAULT_PODS: usize = 40;

const USAGE: &str = "usage: bench-storm [--pods N] [--only kubernetes|berth]";

/// What one rule made of the return.
#[derive(Debug)]
struct Return {
    rule: Rule,
    /// From the cut to the last replacement that was Ready.
    replaced: Duration,
    /// From the return to the end of the last Pod that was replaced.
    ended: Duration,
    end: Ended,
    answers: Answers,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, address] = &args[..]
        && word == "client"
    {
        return client::ask(address);
    }
    let (pods, rules) = plan(&args)?;
    let mut returns = Vec::new();
    for rule in rules {
        returns.push(run(rule, pods)?);
    }
    writeln!(stdout(), "{}", report(&returns, pods)).context("print")
}

fn run(rule: Rule, pods: usize) -> Result<Return> {
    progress(&format!("{}: making a cluster of four nodes", rule.name()));
    let stage = Stage::new(rule, pods)?;
    let quiet = Client::start(stage.client_place(), &stage.address()?)?;
    let cut = Instant::now();
    progress("the second rack is dark");
    stage.set_dark(true)?;
    stage.wait_replaced(cut)?;
    let replaced = cut.elapsed();
    // It has answered its own rack all the time: who asks from there sees only what is going on at the node.
    let before = quiet.end()?;
    progress(&format!(
        "replaced after {replaced:.0?}; before the return {}",
        before.words()
    ));
    let client = Client::start(stage.client_place(), &stage.address()?)?;
    let back = Instant::now();
    stage.set_dark(false)?;
    let end = stage.wait_ended(back)?;
    let ended = back.elapsed();
    let answers = client.end()?;
    progress(&format!(
        "ended after {ended:.0?}; meanwhile {}",
        answers.words()
    ));
    Ok(Return {
        rule,
        replaced,
        ended,
        end,
        answers,
    })
}

fn plan(args: &[String]) -> Result<(usize, Vec<Rule>)> {
    let (mut pods, mut rules) = (DEFAULT_PODS, Rule::ALL.to_vec());
    for pair in args.chunks(2) {
        let [flag, value] = pair else {
            bail!("{USAGE}");
        };
        match flag.as_str() {
            "--pods" => pods = value.parse().context(USAGE)?,
            "--only" => rules.retain(|rule| rule.word() == value),
            other => bail!("unknown argument {other}; {USAGE}"),
        }
    }
    ensure!(pods > 0 && !rules.is_empty(), "{USAGE}");
    Ok((pods, rules))
}

fn report(returns: &[Return], pods: usize) -> String {
    let mut table = Table::new(&[
        "return of a dark rack",
        "p50 ms",
        "p99 ms",
        "longest ms",
        "failed",
        "requests",
        "ended",
        "most at once",
        "all ended s",
        "replaced s",
    ]);
    for one in returns {
        let samples = Samples::new(one.answers.took.clone());
        let ms = |percent| format!("{:.1}", samples.percentile_ms(percent));
        table.row(vec![
            one.rule.name().to_owned(),
            ms(50),
            ms(99),
            ms(100),
            one.answers.failed.to_string(),
            (one.answers.failed + one.answers.took.len()).to_string(),
            one.end.gone.to_string(),
            one.end.most_at_once.to_string(),
            format!("{:.0}", one.ended.as_secs_f64()),
            format!("{:.0}", one.replaced.as_secs_f64()),
        ]);
    }
    format!(
        "{pods} Pods of a Deployment on a node; each burns {} MB of md5 when it is told to end; a request every {:?} from the rack's own switch to another Pod there\n\n{}",
        stage::BURN_MB,
        client::EVERY,
        table.render()
    )
}

/// The report goes to standard output, progress to standard error.
fn progress(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_are_read_and_nonsense_is_refused() {
        assert_eq!(plan(&[]).unwrap(), (40, Rule::ALL.to_vec()));
        let only = plan(&words("--pods 4 --only berth")).unwrap();
        assert_eq!(only, (4, vec![Rule::Berth]));
        for text in [
            "--pods",
            "--pods x",
            "--pods 0",
            "--only nobody",
            "--nodes 1",
        ] {
            assert!(plan(&words(text)).is_err(), "{text}");
        }
    }
}
