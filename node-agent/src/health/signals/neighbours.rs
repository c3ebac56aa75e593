//! Signal `neighbours`: the kernel's tables of neighbours (ARP, ND) have not overflowed of late. A full one resolves no new address. The
//! look is that of `conntrack`.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use proto_crd::node_health::Decision;

use super::conntrack::number;
use crate::health::assess::{PERIOD, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};
use crate::health::window::Window;

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("neighbours");

/// How it is judged: any overflow counts, for as long as the window says.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: TTL,
    set: 1,
    clear: 1,
    decision: Decision::Observe,
    escalation: None,
    threshold: "no overflow of the tables of neighbours in 5 minutes",
};

/// How long an overflow is told.
const SPAN: Duration = Duration::from_secs(300);

/// Table, its statistics below /proc, its limit. The tables are the whole machine's; its first network namespace alone shows the limit.
const TABLES: [(&str, &str, &str); 2] = [
    (
        "ARP",
        "net/stat/arp_cache",
        "sys/net/ipv4/neigh/default/gc_thresh3",
    ),
    (
        "ND",
        "net/stat/ndisc_cache",
        "sys/net/ipv6/neigh/default/gc_thresh3",
    ),
];

/// What is remembered.
#[derive(Debug)]
pub(super) struct Overflows {
    seen: [Option<u64>; TABLES.len()],
    window: Window,
}

impl Default for Overflows {
    fn default() -> Self {
        Self {
            seen: [None; TABLES.len()],
            window: Window::new(SPAN, 1),
        }
    }
}

/// One table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Table {
    entries: u64,
    /// How often it was full since boot.
    overflows: u64,
    limit: Option<u64>,
}

pub(super) fn look(proc: &Path, memory: &mut Overflows) -> Verdict {
    let mut tables = Vec::new();
    for (name, statistics, limit) in TABLES {
        let text = match fs::read_to_string(proc.join(statistics)) {
            Ok(text) => text,
            // A node without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Verdict::unclear(SIGNAL, format!("{statistics}: {error}")),
        };
        let table = parse(&text).map(|(entries, overflows)| Table {
            entries,
            overflows,
            limit: number(&proc.join(limit)).ok(),
        });
        tables.push((name, table));
    }
    assess(&tables, memory, Instant::now())
}

/// Entries and overflows: a line of hexadecimal figures for each processor; the entries are the same in each.
fn parse(text: &str) -> Option<(u64, u64)> {
    let mut lines = text.lines();
    let mut names = lines.next()?.split_whitespace();
    let at = names.position(|name| name == "table_fulls");
    let (mut entries, mut overflows) = (0, 0_u64);
    for line in lines {
        let figures: Vec<_> = line
            .split_whitespace()
            .map(|figure| u64::from_str_radix(figure, 16).unwrap_or(0))
            .collect();
        entries = *figures.first()?;
        // Kernels before 4.3 do not count them.
        let count = at.and_then(|at| figures.get(at)).copied();
        overflows = overflows.saturating_add(count.unwrap_or(0));
    }
    Some((entries, overflows))
}

fn assess(tables: &[(&str, Option<Table>)], memory: &mut Overflows, now: Instant) -> Verdict {
    let mut values = Vec::new();
    for ((name, table), seen) in tables.iter().zip(&mut memory.seen) {
        let Some(table) = table else { continue };
        let is_new = seen.is_some_and(|seen| table.overflows > seen);
        *seen = Some(table.overflows);
        if is_new {
            memory.window.note(now);
        }
        values.push(table.limit.map_or_else(
            || format!("{name} {} neighbours", table.entries),
            |limit| format!("{name} {} of {limit} neighbours", table.entries),
        ));
    }
    if values.is_empty() {
        return Verdict::absent(SIGNAL, "the kernel tells nothing of its neighbours");
    }
    let value = values.join(", ");
    if memory.window.count(now) == 0 {
        return Verdict::good(SIGNAL, value);
    }
    let trouble = Trouble {
        kind: "overflow",
        message: format!("a table of neighbours was full within 5 minutes: {value}"),
        impact: "the node, and Pods in their own namespaces too, cannot reach addresses they have not spoken to just before"
            .to_owned(),
        advice: "raise net.ipv4.neigh.default.gc_thresh3 (and gc_thresh2, and those of ipv6) above the number of hosts on the node's subnets \
                 and its Pods; a scan of the subnet from this node fills it too: ip neigh shows whom for"
            .to_owned(),
    };
    Verdict::bad(SIGNAL, value, trouble)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    const TEXT: &str = "entries  allocs   destroys hash_grows lookups  hits     res_failed rcv_probes_mcast rcv_probes_ucast periodic_gc_runs forced_gc_runs unresolved_discards table_fulls
0000001f 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000002
0000001f 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000010
";

    #[test]
    fn overflows_of_all_processors_are_counted() {
        assert_eq!(parse(TEXT), Some((31, 18)));
        assert_eq!(parse("entries allocs\n00000003 00000001\n"), Some((3, 0)));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn overflow_is_told_for_five_minutes_and_old_ones_never() {
        let start = Instant::now();
        let mut memory = Overflows::default();
        let mut look = |second, overflows| {
            let table = Table {
                entries: 3,
                overflows,
                limit: Some(1024),
            };
            let now = start + Duration::from_secs(second);
            let verdict = assess(&[("ARP", Some(table)), ("ND", None)], &mut memory, now);
            matches!(verdict.finding, Finding::Bad(_))
        };
        let looks = [(0, 7), (10, 7), (20, 8), (30, 8), (319, 8), (320, 8)];
        let found = looks.map(|(second, overflows)| look(second, overflows));
        assert_eq!(found, [false, false, true, true, true, false]);
        let none = assess(&[("ARP", None)], &mut Overflows::default(), start);
        assert_eq!(none.finding, Finding::Absent);
    }
}
