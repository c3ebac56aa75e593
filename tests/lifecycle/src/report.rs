//! What all runs did, as rows of texts and as a picture. Nothing is computed here but lengths of bars.

mod picture;

use crate::measure::Row;

pub use picture::picture;

/// One trace under both rules.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The trace.
    pub name: String,
    /// Upstream's.
    pub upstream: Row,
    /// Berth's.
    pub berth: Row,
}

/// The heads of the columns.
pub const HEAD: [&str; 11] = [
    "trace",
    "rule",
    "live deleted",
    "of them back",
    "lost",
    "replaced p50",
    "replaced max",
    "never",
    "live soft-evicted",
    "kills/10 s",
    "writes",
];

/// The cells of a pair: a line for each rule.
pub fn cells(pair: &Pair) -> [Vec<String>; 2] {
    let line = |name: &str, rule: &str, row: &Row| {
        let time =
            |seconds: Option<u32>| seconds.map_or_else(|| "-".to_owned(), |at| format!("{at} s"));
        vec![
            name.to_owned(),
            rule.to_owned(),
            row.live_deleted.to_string(),
            row.deleted_after_return.to_string(),
            row.lost.to_string(),
            time(row.replaced_median),
            time(row.replaced_max),
            row.unreplaced.to_string(),
            row.live_soft_evicted.to_string(),
            row.most_kills.to_string(),
            row.writes.to_string(),
        ]
    };
    [
        line(&pair.name, "upstream", &pair.upstream),
        line("", "berth", &pair.berth),
    ]
}

/// What Berth misses of the aims in this trace, in words.
pub fn misses(pair: &Pair) -> Vec<String> {
    let Pair {
        name,
        upstream,
        berth,
    } = pair;
    let mut misses = Vec::new();
    let mut demand = |is_met: bool, what: String| {
        if !is_met {
            misses.push(format!("{name}: {what}"));
        }
    };
    demand(
        berth.live_deleted == 0,
        format!("{} live Pods hard-deleted", berth.live_deleted),
    );
    demand(
        berth.placed_soft_evicted == 0,
        format!(
            "{} Pods with a place of their own soft-evicted",
            berth.placed_soft_evicted
        ),
    );
    demand(
        berth.most_kills <= 2,
        format!("{} Pods ended on one node in 10 s", berth.most_kills),
    );
    let is_crash = name.starts_with("node-crash");
    if is_crash {
        let is_met = berth.unreplaced == 0 && berth.replaced_max.is_some_and(|at| at <= 110);
        demand(
            is_met,
            format!(
                "replaced after {:?}, {} never",
                berth.replaced_max, berth.unreplaced
            ),
        );
    }
    // Where nothing else is wrong: new Pods that fail, or an observer that lies, have no aim but are in the table.
    if name.starts_with("rack-power") || name == "failover" {
        let is_met = berth.unreplaced <= upstream.unreplaced
            && (berth.replaced_max <= upstream.replaced_max || upstream.unreplaced > 0)
            && berth.replaced_median <= upstream.replaced_median;
        demand(
            is_met,
            format!(
                "replaced after {:?} at most, {:?} half, {} never; upstream {:?}, {:?}, {}",
                berth.replaced_max,
                berth.replaced_median,
                berth.unreplaced,
                upstream.replaced_max,
                upstream.replaced_median,
                upstream.unreplaced
            ),
        );
    }
    misses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, berth: Row, upstream: Row) -> Pair {
        Pair {
            name: name.to_owned(),
            upstream,
            berth,
        }
    }

    #[test]
    fn each_aim_can_be_missed() {
        let good = Row {
            lost: 60,
            replaced_median: Some(90),
            replaced_max: Some(110),
            most_kills: 2,
            ..Row::default()
        };
        let slow = Row {
            replaced_max: Some(111),
            ..good
        };
        for (name, berth, upstream, count) in [
            ("node-crash", good, good, 0),
            ("node-crash", slow, slow, 1),
            ("rack-power", slow, good, 1),
            ("rack-power", slow, slow, 0),
            (
                "rack-power",
                Row {
                    unreplaced: 1,
                    ..good
                },
                good,
                1,
            ),
            (
                "x",
                Row {
                    live_deleted: 1,
                    ..good
                },
                good,
                1,
            ),
            (
                "x",
                Row {
                    placed_soft_evicted: 1,
                    ..good
                },
                good,
                1,
            ),
            (
                "x",
                Row {
                    most_kills: 3,
                    ..good
                },
                good,
                1,
            ),
        ] {
            assert_eq!(
                misses(&pair(name, berth, upstream)).len(),
                count,
                "{name} {berth:?}"
            );
        }
    }

    #[test]
    fn a_line_has_a_cell_for_each_head() {
        let pair = pair("x", Row::default(), Row::default());
        assert!(cells(&pair).iter().all(|line| line.len() == HEAD.len()));
    }
}
