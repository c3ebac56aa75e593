//! Signal `conntrack`: the kernel's table of connections has room. A full one drops the first packet of every new connection, silently.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto_crd::node_health::Decision;

use super::Look;
use super::neighbours::{self, Overflows};
use crate::health::assess::{PERIOD, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("conntrack");

/// How it is judged.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: TTL,
    set: 2,
    // Entries live from 30 s on: what is fine at one look may have been full between.
    clear: 3,
    // Nearly full it urges more.
    decision: Decision::Observe,
    escalation: None,
    threshold: "less than 80 % of nf_conntrack_max used at 2 looks, 10 s apart; cordon from 95 %",
};

/// node-problem-detector and CCE tell from 90 % on; earlier, since a table fills within seconds.
const FULL_PERCENT: u64 = 80;
const NEARLY_ALL_PERCENT: u64 = 95;

/// What the kernel keeps of connections and neighbours.
#[derive(Debug)]
pub(in crate::health) struct Source {
    proc: PathBuf,
    overflows: Overflows,
}

/// How full the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fill {
    count: u64,
    max: u64,
}

impl Source {
    /// Looks at the node whose /proc is there.
    pub(in crate::health) fn new(proc: PathBuf) -> Self {
        Self {
            proc,
            overflows: Overflows::default(),
        }
    }
}

impl Look for Source {
    const NAME: &'static str = "conntrack";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        // The kernel's own files, of its memory: they do not hang.
        vec![
            assess(read(&self.proc)),
            neighbours::look(&self.proc, &mut self.overflows),
        ]
    }
}

/// `None` where the kernel follows no connections.
fn read(proc: &Path) -> io::Result<Option<Fill>> {
    // Of the namespace of who reads, which is the node's.
    let folder = proc.join("sys/net/netfilter");
    let (count, max) = (
        number(&folder.join("nf_conntrack_count")),
        number(&folder.join("nf_conntrack_max")),
    );
    match (count, max) {
        (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        (count, max) => Ok(Some(Fill {
            count: count?,
            max: max?,
        })),
    }
}

/// A file that is one number.
pub(super) fn number(file: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    let number = text.trim().parse();
    number.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{text:?} is no number")))
}

fn assess(fill: io::Result<Option<Fill>>) -> Verdict {
    let Fill { count, max } = match fill {
        Ok(Some(fill)) => fill,
        Ok(None) => return Verdict::absent(SIGNAL, "the kernel follows no connections"),
        Err(error) => return Verdict::unclear(SIGNAL, format!("nf_conntrack_count: {error}")),
    };
    if max == 0 {
        return Verdict::good(SIGNAL, format!("{count} connections, no limit"));
    }
    let percent = count.saturating_mul(100) / max;
    let value = format!("{count} of {max} connections ({percent} %)");
    if percent < FULL_PERCENT {
        return Verdict::good(SIGNAL, value);
    }
    let trouble = Trouble {
        kind: "filling",
        message: format!("the table of connections fills up: {value}"),
        impact: "when it is full the node drops new connections: of Services, of what the node itself opens, and of Pods where br_netfilter \
                 or kube-proxy follows theirs; those that are open go on"
            .to_owned(),
        advice: "conntrack -L on the node shows whose they are (one client that opens and never closes, or a scan); sysctl \
                 net.netfilter.nf_conntrack_max raises the limit at once (320 bytes an entry), kube-proxy's conntrack.maxPerCore for good"
            .to_owned(),
    };
    let verdict = Verdict::bad(SIGNAL, value, trouble);
    if percent < NEARLY_ALL_PERCENT {
        return verdict;
    }
    verdict.urging(Decision::Cordon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    #[test]
    fn table_is_judged_by_how_full_it_is() {
        let table = [
            (0, 1000, "good", None),
            (799, 1000, "good", None),
            (800, 1000, "filling", None),
            (949, 1000, "filling", None),
            (950, 1000, "filling", Some(Decision::Cordon)),
            (2000, 1000, "filling", Some(Decision::Cordon)),
            (2000, 0, "good", None),
        ];
        for (count, max, expected, urges) in table {
            let verdict = assess(Ok(Some(Fill { count, max })));
            let found = match verdict.finding {
                Finding::Bad(trouble) => trouble.kind,
                _ => "good",
            };
            assert_eq!(
                (found, verdict.urges),
                (expected, urges),
                "{count} of {max}"
            );
        }
        assert_eq!(assess(Ok(None)).finding, Finding::Absent);
        let unreadable = assess(Err(io::ErrorKind::PermissionDenied.into()));
        assert!(matches!(unreadable.finding, Finding::Unclear { .. }));
    }

    #[test]
    fn table_is_read_below_the_root_and_may_be_missing() {
        let proc = tempfile::tempdir().unwrap();
        assert_eq!(read(proc.path()).unwrap(), None);
        let folder = proc.path().join("sys/net/netfilter");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("nf_conntrack_count"), "5\n").unwrap();
        fs::write(folder.join("nf_conntrack_max"), "10\n").unwrap();
        let fill = Fill { count: 5, max: 10 };
        assert_eq!(read(proc.path()).unwrap(), Some(fill));
        fs::write(folder.join("nf_conntrack_max"), "many\n").unwrap();
        assert!(read(proc.path()).is_err());
    }
}
