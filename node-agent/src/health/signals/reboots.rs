//! Signal `reboots`: the node does not keep rebooting without having been told to.
//!
//! Which boots there were is kept in the agent's own folder, read when the agent starts and written when it starts and ends. An
//! orderly shutdown ends the agent by a signal, and it notes that; a boot after one that was not noted as ended was not
//! expected. An agent that is updated notes the same, and takes it back when it starts again in the same boot.

mod ledger;

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use procfs::{FromRead as _, Uptime};
use proto_crd::node_health::Decision;
use tracing::warn;

use self::ledger::{Ledger, load, store};
use super::Look;
use crate::health::aside::{Aside, Outcome};
use crate::health::assess::{LOOK_DEADLINE, Rule};
use crate::health::signal::{Signal, Trouble, Verdict};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("reboots");

/// How it is judged: one unexpected reboot is told in its value, a second one on the same day keeps new Pods away.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: Source::PERIOD,
    ttl: Duration::from_secs(180),
    set: 1,
    clear: 1,
    decision: Decision::Cordon,
    escalation: None,
    threshold: "at most one unexpected reboot in 24 h",
};

/// Within [`SPAN`].
const MOST: usize = 1;

/// A day.
const SPAN: Duration = Duration::from_secs(24 * 3600);

/// How long the end of the process waits for its note to be on the disk.
const NOTE_DEADLINE: Duration = Duration::from_secs(1);

/// The node's boots.
#[derive(Debug)]
pub(in crate::health) struct Source {
    folder: PathBuf,
    uptime: PathBuf,
    boot_id: String,
    ledger: Option<Ledger>,
    reads: Aside<Result<Ledger, String>>,
}

impl Source {
    /// Keeps its file in this folder.
    pub(in crate::health) fn new(folder: PathBuf, proc: &std::path::Path, boot_id: String) -> Self {
        Self {
            folder,
            uptime: proc.join("uptime"),
            boot_id,
            ledger: None,
            reads: Aside::new("reboots"),
        }
    }

    /// Takes this boot into the file, once.
    async fn open(&mut self) -> Result<(), String> {
        if self.ledger.is_some() {
            return Ok(());
        }
        let (folder, boot_id) = (self.folder.clone(), self.boot_id.clone());
        let begun = begun(&self.uptime);
        let outcome = self.reads.run(LOOK_DEADLINE / 2, move || {
            let ledger = load(&folder).map_err(|error| ipamd_daemon::chain(&error))?;
            let ledger = ledger.with_boot(&boot_id, begun);
            store(&folder, &ledger).map_err(|error| ipamd_daemon::chain(&error))?;
            Ok(ledger)
        });
        match outcome.await {
            Outcome::Done(Ok(ledger)) => {
                self.ledger = Some(ledger);
                Ok(())
            }
            Outcome::Done(Err(why)) => Err(why),
            Outcome::Hangs(_) => Err("the disk does not answer".to_owned()),
            Outcome::NotDone(error) => Err(error.to_string()),
        }
    }
}

impl Look for Source {
    const NAME: &'static str = "reboots";
    const PERIOD: Duration = Duration::from_secs(60);

    async fn look(&mut self) -> Vec<Verdict> {
        if let Err(why) = self.open().await {
            let why = format!("which boots there were is not known: {why}");
            return vec![Verdict::unclear(SIGNAL, why)];
        }
        let recent = self.ledger.as_ref().map_or_else(Vec::new, |ledger| {
            ledger.unexpected_since(seconds_now().saturating_sub(SPAN.as_secs()))
        });
        vec![assess(&recent)]
    }
}

impl Drop for Source {
    /// The process was told to end: so may be the node. A disk that hangs does not hold it up for long.
    fn drop(&mut self) {
        let Some(ledger) = self.ledger.take() else {
            return;
        };
        let folder = self.folder.clone();
        let (done, wait) = mpsc::channel();
        let note = move || {
            let _ = done.send(store(&folder, &ledger.ended()));
        };
        let begun = std::thread::Builder::new()
            .name("reboots".to_owned())
            .spawn(note);
        let noted = begun
            .ok()
            .and_then(|_| wait.recv_timeout(NOTE_DEADLINE).ok());
        if !matches!(noted, Some(Ok(()))) {
            warn!(
                "the orderly end was not noted: the next boot will be taken for an unexpected one"
            );
        }
    }
}

fn seconds_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// When this boot began, by today's clock.
fn begun(uptime: &PathBuf) -> u64 {
    let told = fs::File::open(uptime).ok();
    let told = told.and_then(|file| Uptime::from_read(file).ok());
    let up = told.map_or(0, |told| told.uptime_duration().as_secs());
    seconds_now().saturating_sub(up)
}

/// What the times of unexpected reboots within the span say.
fn assess(recent: &[u64]) -> Verdict {
    let number = recent.len();
    let value = format!("{number} unexpected in 24 h");
    if number <= MOST {
        return Verdict::good(SIGNAL, value);
    }
    let trouble = Trouble {
        kind: "unexpected",
        message: format!(
            "the node has rebooted {number} times within 24 h without an orderly shutdown (the agent was not told to end before)"
        ),
        impact: "all Pods of the node went down each time, and it may happen again at any moment".to_owned(),
        advice: "look for the cause: last -x, journalctl -b -1 -e, /sys/fs/pstore, ipmitool sel list; keep Pods away until it is known"
            .to_owned(),
    };
    Verdict::bad(SIGNAL, value, trouble)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    /// Of a node that was started a minute ago, however long the machine of the test has been up.
    fn source(folder: &std::path::Path, boot: &str) -> Source {
        fs::write(folder.join("uptime"), "60.00 100.00\n").unwrap();
        Source::new(folder.join("agent"), folder, boot.to_owned())
    }

    async fn value(source: &mut Source) -> (String, bool) {
        let verdict = source.look().await.remove(0);
        (verdict.value, verdict.finding == Finding::Good)
    }

    #[tokio::test]
    async fn second_boot_without_an_orderly_end_is_one_too_many() {
        let temp = tempfile::tempdir().unwrap();
        let mut agents = Vec::new();
        for (boot, expected) in [
            ("a", (0, true)),
            ("b", (1, true)),
            ("c", (2, false)),
            ("d", (3, false)),
        ] {
            let mut agent = source(temp.path(), boot);
            let (number, good) = expected;
            assert_eq!(
                value(&mut agent).await,
                (format!("{number} unexpected in 24 h"), good)
            );
            // The power goes: nobody notes an end.
            agents.push(agent);
        }
        agents.into_iter().for_each(std::mem::forget);
    }

    #[tokio::test]
    async fn orderly_end_and_restart_of_the_agent_alone_are_no_unexpected_reboot() {
        let temp = tempfile::tempdir().unwrap();
        for boot in ["a", "a", "b", "c", "c", "d"] {
            let mut agent = source(temp.path(), boot);
            assert_eq!(
                value(&mut agent).await,
                ("0 unexpected in 24 h".to_owned(), true),
                "{boot}"
            );
        }
        // Updated in this boot, and then the power went.
        let mut agent = source(temp.path(), "d");
        assert_eq!(value(&mut agent).await.0, "0 unexpected in 24 h");
        std::mem::forget(agent);
        assert_eq!(
            value(&mut source(temp.path(), "e")).await.0,
            "1 unexpected in 24 h"
        );
    }

    #[tokio::test]
    async fn folder_that_cannot_be_kept_is_unclear() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("agent"), "").unwrap();
        let verdict = source(temp.path(), "a").look().await.remove(0);
        assert!(
            matches!(verdict.finding, Finding::Unclear { .. }),
            "{verdict:?}"
        );
    }
}
