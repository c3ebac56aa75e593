//! When kubelet started: what it remembered of restarts before is forgotten.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto_crd::time::Timestamp;
use tokio::time::Instant;

/// How long an answer is good for: a look goes through all processes of the node.
const KEPT_FOR: Duration = Duration::from_secs(5);

const COMMAND: &str = "kubelet";

/// Looks for kubelet among the node's processes.
#[derive(Debug)]
pub(super) struct Kubelet {
    proc: PathBuf,
    seen: Option<(Instant, Option<Timestamp>)>,
}

impl Kubelet {
    pub(super) const fn new(proc: PathBuf) -> Self {
        Self { proc, seen: None }
    }

    /// When it started; none when that is not known: it does not run, or there are several.
    pub(super) fn started_at(&mut self) -> Option<Timestamp> {
        let now = Instant::now();
        if let Some((at, found)) = self.seen
            && now.duration_since(at) < KEPT_FOR
        {
            return found;
        }
        let found = find(&self.proc);
        self.seen = Some((now, found));
        found
    }
}

fn find(proc: &Path) -> Option<Timestamp> {
    let processes = fs::read_dir(proc).ok()?.filter_map(Result::ok);
    let mut kubelets = processes.map(|process| process.path()).filter(|path| {
        fs::read_to_string(path.join("comm")).is_ok_and(|is| is.trim_end() == COMMAND)
    });
    let (kubelet, None) = (kubelets.next()?, kubelets.next()) else {
        return None;
    };
    let stat = fs::read_to_string(kubelet.join("stat")).ok()?;
    let of_boot = fs::read_to_string(proc.join("stat")).ok()?;
    started_at(&stat, &of_boot, procfs::ticks_per_second())
}

/// By the process' own figures and those of the boot.
fn started_at(stat: &str, of_boot: &str, ticks_per_second: u64) -> Option<Timestamp> {
    // The name may have anything in it: what follows its last bracket begins with the third field.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(22 - 3)?.parse().ok()?;
    let mut lines = of_boot.lines();
    let booted: u64 = lines
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    let since = ticks.saturating_mul(1000).checked_div(ticks_per_second)?;
    Some(Timestamp::from_unix_milliseconds(
        booted.saturating_mul(1000).saturating_add(since),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "cpu  1 2 3\nbtime 1767225600\nprocesses 5\n";

    fn process(proc: &Path, pid: u32, command: &str) {
        let folder = proc.join(pid.to_string());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("comm"), format!("{command}\n")).unwrap();
        let mut fields = vec!["0"; 50];
        fields[22 - 3] = "250";
        let stat = format!("{pid} ({command}) S {}\n", fields[1..].join(" "));
        fs::write(folder.join("stat"), stat).unwrap();
    }

    #[test]
    fn start_is_reckoned_from_the_boot() {
        let proc = tempfile::tempdir().unwrap();
        fs::write(proc.path().join("stat"), BOOT).unwrap();
        process(proc.path(), 1, "init");
        assert_eq!(find(proc.path()), None);
        process(proc.path(), 7, "kubelet");
        let ticks = procfs::ticks_per_second();
        let wanted = Timestamp::from_unix_milliseconds(1_767_225_600_000 + 250_000 / ticks);
        assert_eq!(find(proc.path()), Some(wanted));
        // Which of two is meant is not known.
        process(proc.path(), 8, "kubelet");
        assert_eq!(find(proc.path()), None);
    }

    #[test]
    fn a_name_with_brackets_and_blanks_hides_nothing() {
        let mut fields = vec!["0"; 50];
        fields[22 - 3] = "100";
        let stat = format!("7 (a) b) {}", fields.join(" "));
        let at = started_at(&stat, BOOT, 100).unwrap();
        assert_eq!(at, Timestamp::from_unix_milliseconds(1_767_225_601_000));
        assert_eq!(started_at("7 (x)", BOOT, 100), None);
    }
}
