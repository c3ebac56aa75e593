//! `bench-cluster`: how long many Pods at once take from bound to Ready on real nodes, and what of it is the network plugin's, beside Debian's `bridge` with
//! `host-local` in the same cluster. Alternating rounds, medians over rounds, one table; nothing is asserted but that the figures are of what they say.

mod counters;
#[path = "../figures.rs"]
mod figures;
mod fleet;
#[path = "../samples.rs"]
mod samples;
mod subject;
#[path = "../table.rs"]
mod table;
mod volley;

use std::io::{Write as _, stderr, stdout};

use anyhow::{Context as _, Result, ensure};

use self::{figures::median, fleet::Fleet, subject::Subject, table::Table, volley::Volley};

/// Rounds of each subject and shape; odd, so that a median is a measured value.
const DEFAULT_ROUNDS: usize = 3;

/// Pods on one node at once.
const DEFAULT_PODS: usize = 200;

const USAGE: &str = "usage: bench-cluster [--pods N] [--rounds N] [--static]";

/// What is measured how often.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Pods on one node; on each of three it is three tenths of that.
    pods: usize,
    rounds: usize,
    /// Each node has a pool of its own, and claims nothing.
    is_static: bool,
}

/// On how many nodes, and how many Pods on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    nodes: usize,
    pods_each: usize,
}

/// Everything measured of one subject in one shape, one entry a round.
#[derive(Debug)]
struct Row {
    shape: Shape,
    subject: Subject,
    volleys: Vec<Volley>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["fetch", address, path] = words[..] {
        return say(&counters::fetch(address, path)?);
    }
    let plan = plan(&words)?;
    let mut fleet = Fleet::build(plan.is_static)?;
    let mut rows = rows(plan);
    for round in 1..=plan.rounds {
        for subject in Subject::ALL {
            progress(&format!(
                "round {round} of {}: {}",
                plan.rounds,
                subject.name()
            ));
            fleet.use_subject(subject)?;
            for row in rows.iter_mut().filter(|row| row.subject == subject) {
                let volley = fleet.volley(subject, row.shape)?;
                progress(&volley.told(row.shape));
                row.volleys.push(volley);
            }
        }
    }
    say(&report(&rows, plan, fleet.mode()))
}

fn plan(words: &[&str]) -> Result<Plan> {
    let mut plan = Plan {
        pods: DEFAULT_PODS,
        rounds: DEFAULT_ROUNDS,
        is_static: false,
    };
    let mut words = words.iter();
    while let Some(&flag) = words.next() {
        if flag == "--static" {
            plan.is_static = true;
            continue;
        }
        let value = words.next().context(USAGE)?;
        let value: usize = value.parse().context(USAGE)?;
        ensure!(value > 0, "{USAGE}");
        match flag {
            "--pods" => plan.pods = value,
            "--rounds" => plan.rounds = value,
            other => anyhow::bail!("unknown argument {other}; {USAGE}"),
        }
    }
    let most = subject::MOST_PODS;
    ensure!(
        plan.pods <= most,
        "a node takes {most} Pods here, not {}",
        plan.pods
    );
    Ok(plan)
}

fn rows(plan: Plan) -> Vec<Row> {
    let one = Shape {
        nodes: 1,
        pods_each: plan.pods,
    };
    let three = Shape {
        nodes: fleet::NODES.len(),
        pods_each: (plan.pods * 3).div_ceil(10),
    };
    let shapes = [one, three];
    let all = shapes.iter().flat_map(|shape| {
        Subject::ALL.map(|subject| Row {
            shape: *shape,
            subject,
            volleys: Vec::new(),
        })
    });
    all.collect()
}

impl Shape {
    fn name(self) -> String {
        match self.nodes {
            1 => format!("{} on 1 node", self.pods_each),
            nodes => format!("{nodes} x {}", self.pods_each),
        }
    }
}

/// A column: its head, how it is got from a round, and its decimals.
type Column = (&'static str, fn(&Volley) -> f64, usize);

const COLUMNS: [Column; 9] = [
    ("Ready p50 s", |it| it.ready.percentile_ms(50) / 1000.0, 2),
    ("p99 s", |it| it.ready.percentile_ms(99) / 1000.0, 2),
    ("all s", |it| it.all_ready.as_secs_f64(), 2),
    ("ADD ms", |it| it.adds.mean_ms(), 0),
    ("of Ready %", Volley::share_percent, 1),
    ("ipamd ms", |it| it.asked.mean_ms(), 1),
    ("DEL ms", |it| it.dels.mean_ms(), 0),
    ("writes/start", Volley::writes_per_start, 2),
    ("writes/DEL", Volley::writes_per_del, 2),
];

fn report(rows: &[Row], plan: Plan, mode: &str) -> String {
    let mut head = vec![""; 2];
    head[1] = "plugin";
    head.extend(COLUMNS.iter().map(|(name, _, _)| *name));
    let mut table = Table::new(&head);
    for pair in rows.chunks(Subject::ALL.len()) {
        for row in pair {
            let mut cells = vec![row.shape.name(), row.subject.name().to_owned()];
            cells.extend(
                COLUMNS
                    .iter()
                    .map(|column| figure(row.median(column), column.2)),
            );
            table.row(cells);
        }
        if let [ours, peer] = pair {
            let mut cells = vec![String::new(), "ratio".to_owned()];
            cells.extend(
                COLUMNS
                    .iter()
                    .map(|column| figure(ours.median(column) / peer.median(column), 2)),
            );
            table.row(cells);
        }
    }
    let rounds = plan.rounds;
    format!(
        "medians of {rounds} alternating rounds; {mode}; ADD and DEL are means of what containerd timed, \
         writes are those of claims\n\n{}",
        table.render()
    )
}

impl Row {
    fn median(&self, (_, of, _): &Column) -> f64 {
        median(self.volleys.iter().map(of))
    }
}

/// A number that may not be there.
fn figure(value: f64, decimals: usize) -> String {
    if value.is_finite() {
        format!("{value:.decimals$}")
    } else {
        "-".to_owned()
    }
}

/// The report goes to standard output, progress to standard error.
fn say(text: &str) -> Result<()> {
    writeln!(stdout(), "{text}").context("print")
}

fn progress(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_nonsense_is_refused() {
        let plan = plan(&["--pods", "20", "--rounds", "1"]).unwrap();
        assert_eq!((plan.pods, plan.rounds, plan.is_static), (20, 1, false));
        assert!(
            super::plan(&["--static", "--rounds", "5"])
                .unwrap()
                .is_static
        );
        for words in [
            &["--pods"][..],
            &["--pods", "x"],
            &["--pods", "0"],
            &["--nodes", "1"],
        ] {
            assert!(super::plan(words).is_err(), "{words:?}");
        }
        assert!(super::plan(&["--pods", "9999"]).is_err());
    }

    #[test]
    fn three_nodes_share_nine_tenths_of_the_pods_of_one() {
        let shapes: Vec<_> = rows(plan(&[]).unwrap())
            .iter()
            .map(|row| row.shape.name())
            .collect();
        assert_eq!(
            shapes,
            ["200 on 1 node", "200 on 1 node", "3 x 60", "3 x 60"]
        );
    }
}
