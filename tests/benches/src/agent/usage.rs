//! What a process takes: memory and processor time, from its folder of `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// `sysconf(_SC_CLK_TCK)` is 100 on every Linux that Berth runs on.
const TICK: Duration = Duration::from_millis(10);

/// What a process has at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// Resident memory, in MB (10^6 bytes).
    pub(crate) resident_mb: f64,
    /// Of it what is not the program's own file.
    pub(crate) anonymous_mb: f64,
    /// Like resident memory, but a page that so many processes have counts as a part of one.
    pub(crate) proportional_mb: f64,
    /// Of that what the kernel may not take away.
    pub(crate) locked_mb: f64,
    /// Threads.
    pub(crate) threads: f64,
    /// Processor time since it started, in user and kernel mode.
    pub(crate) cpu: Duration,
}

impl Usage {
    /// What the process of this folder has now.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        Self::parse(&read("status")?, &read("smaps_rollup")?, &read("stat")?)
    }

    fn parse(status: &str, rollup: &str, stat: &str) -> Result<Self> {
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            let number = number.and_then(|text| text.parse::<f64>().ok());
            number.with_context(|| format!("no {name} in {text:?}"))
        };
        let megabytes = |text: &str, name: &str| anyhow::Ok(field(text, name)? * 1024.0 / 1e6);
        // The second field is in parentheses and may contain anything; of the rest the 12th and 13th are the ticks of all threads, also
        // of those that have ended.
        let (_, rest) = stat.rsplit_once(')').context("no name in stat")?;
        let ticks = |number: usize| {
            let field = rest.split_whitespace().nth(number);
            let field = field.and_then(|text| text.parse::<u64>().ok());
            field.with_context(|| format!("no field {number} in {rest:?}"))
        };
        Ok(Self {
            resident_mb: megabytes(status, "VmRSS:")?,
            anonymous_mb: megabytes(status, "RssAnon:")?,
            proportional_mb: megabytes(rollup, "Pss:")?,
            locked_mb: megabytes(rollup, "Locked:")?,
            threads: field(status, "Threads:")?,
            cpu: TICK * u32::try_from(ticks(11)? + ticks(12)?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tx\nVmRSS:\t   10000 kB\nRssAnon:\t    2000 kB\nThreads:\t2\n";
        let rollup = "00400000-7ffc00000000 ---p 00000000 00:00 0 [rollup]\nRss:  10000 kB\nPss:   9000 kB\nLocked:   8000 kB\n";
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 900 0 5 0 140 10 0 0 20 0 2 0 100 1 1";
        let usage = Usage::parse(status, rollup, stat).unwrap();
        assert!((usage.resident_mb - 10.24).abs() < 1e-9, "{usage:?}");
        assert!((usage.anonymous_mb - 2.048).abs() < 1e-9, "{usage:?}");
        assert!((usage.locked_mb - 8.192).abs() < 1e-9, "{usage:?}");
        assert!((usage.proportional_mb - 9.216).abs() < 1e-9, "{usage:?}");
        assert_eq!(usage.cpu, Duration::from_millis(1500));
        assert!(Usage::parse("Name:\tx\n", rollup, stat).is_err());
    }
}
