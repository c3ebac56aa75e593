//! The table of what was measured. Nothing here measures.

use crate::Plan;
use crate::outage::Outage;
use crate::samples::Samples;
use crate::subject::Subject;
use crate::table::Table;

/// From here on the 99th percentile is not simply the longest.
const ENOUGH: usize = 100;

/// What was measured of a subject.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    subject: Subject,
    /// How long addresses served nobody.
    nobody: Samples,
    /// How long Pods were out of service.
    out: Samples,
}

impl Row {
    pub(crate) fn new(subject: Subject, outages: &[Outage]) -> Self {
        Self {
            subject,
            nobody: Samples::new(outages.iter().map(|it| it.nobody).collect()),
            out: Samples::new(outages.iter().filter_map(|it| it.out).collect()),
        }
    }

    /// Serving nobody and being out of service, each at these percentiles.
    fn figures(&self, percents: [usize; 2]) -> [f64; 4] {
        let [half, last] = percents;
        [
            self.nobody.percentile_ms(half),
            self.nobody.percentile_ms(last),
            self.out.percentile_ms(half),
            self.out.percentile_ms(last),
        ]
    }
}

/// What is printed.
pub(crate) fn report(rows: &[Row], plan: Plan) -> String {
    let count = plan.pods * plan.rounds;
    let (last, percent) = if count < ENOUGH {
        ("longest", 100)
    } else {
        ("p99", 99)
    };
    let figures = |row: &Row| row.figures([50, percent]);
    let cell = |figure: f64, digits: usize| {
        if figure.is_nan() {
            return "-".to_owned();
        }
        format!("{figure:.digits$}")
    };
    let [nobody, out] = ["serves nobody", "out of service"]
        .map(|what| [what.to_owned() + ", p50", last.to_owned()]);
    let head = [&["outage, ms".to_owned()][..], &nobody, &out].concat();
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for row in rows {
        let cells = figures(row).map(|figure| cell(figure, 0));
        table.row([&[row.subject.name().to_owned()][..], &cells].concat());
    }
    for row in rows {
        let peer = rows
            .iter()
            .find(|it| Some(it.subject) == row.subject.peer());
        let Some(peer) = peer else { continue };
        let (of_row, of_peer) = (figures(row), figures(peer));
        let cells = [0, 1, 2, 3].map(|at| cell(of_row[at] / of_peer[at], 2));
        let name = format!("ratio, {}", row.subject.name());
        table.row([&[name][..], &cells].concat());
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn few_outages_have_a_longest_one_and_no_percentile_of_99() {
        let rows = Subject::ALL.map(|subject| {
            let outages = (1..=20).map(Duration::from_millis);
            let outages: Vec<Outage> = outages.map(|nobody| Outage { nobody, out: None }).collect();
            Row::new(subject, &outages)
        });
        let told = |rounds| {
            let plan = Plan {
                pods: 20,
                rounds,
                megabytes: 10,
                rate: 5,
            };
            report(&rows, plan)
        };
        let few = told(1);
        assert!(few.contains("longest") && !few.contains("p99"), "{few}");
        // Nobody is asked how long it was out of service: nothing is said, nor compared.
        assert!(few.contains(" -") && !few.contains("NaN"), "{few}");
        assert!(told(5).contains("p99"));
    }
}
