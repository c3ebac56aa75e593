//! The book's clock: how much time has passed, whatever is done to the wall clock.
//!
//! Within one boot it advances with `CLOCK_BOOTTIME`; across boots by as much as the wall clock advanced, at least by
//! the time since the boot. It never goes back, and a wall clock that jumps while the daemon runs ends no quarantine.
//! It starts as the wall clock of the first start; where the two have parted since, [`BookClock::to_book`] and
//! [`BookClock::to_wall`] lead from one to the other.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use ipamd_core::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Where Linux names the boot.
pub(crate) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The machine's clocks at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// The boot.
    pub(crate) boot_id: String,
    /// Since the boot, sleep included.
    pub(crate) boottime: Duration,
    /// As the wall clock believes.
    pub(crate) wall: Timestamp,
}

/// The book's time at one reading: kept with every commit, and where the next start goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockBase {
    /// The book's time at the reading.
    pub(crate) book: Timestamp,
    /// The reading.
    pub(crate) reading: Reading,
}

/// Why the machine's clocks could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadClockError {
    /// The boot id.
    #[error("boot id {path} cannot be read")]
    BootId {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `CLOCK_BOOTTIME`.
    #[error("CLOCK_BOOTTIME cannot be read")]
    Boottime {
        /// Why.
        #[source]
        source: nix::Error,
    },
}

impl ClockBase {
    /// The book's time at `now`, going on from the last one stored.
    pub(crate) fn resume(stored: Option<&Self>, now: Reading) -> Self {
        let book = stored.map_or(now.wall, |base| base.at(&now));
        Self { book, reading: now }
    }

    /// Whether `now` is of another boot than this.
    pub(crate) fn is_of_another_boot(&self, now: &Reading) -> bool {
        self.reading.boot_id != now.boot_id
    }

    fn at(&self, now: &Reading) -> Timestamp {
        let passed = if self.is_of_another_boot(now) {
            // What passed while the machine was off is known only by the wall clock. One that was put back, or forgot,
            // says nothing passed; then at least the time since this boot did.
            now.wall.since(self.reading.wall).max(now.boottime)
        } else {
            now.boottime.saturating_sub(self.reading.boottime)
        };
        self.book.after(passed)
    }
}

/// The running clock.
#[derive(Clone, Debug)]
pub(crate) struct BookClock {
    base: ClockBase,
}

impl BookClock {
    /// The clock that goes on from the base.
    pub(crate) const fn new(base: ClockBase) -> Self {
        Self { base }
    }

    /// The base to store with what happens now.
    ///
    /// # Errors
    /// When the kernel does not tell the time.
    pub(crate) fn read(&self) -> Result<ClockBase, ReadClockError> {
        let now = Reading {
            boot_id: self.base.reading.boot_id.clone(),
            boottime: boottime()?,
            wall: SystemTime::now().into(),
        };
        Ok(ClockBase::resume(Some(&self.base), now))
    }
}

impl ClockBase {
    /// The book's time that was `wall` by the wall clock of this base: what an operator's time means to the book.
    pub(crate) fn to_book(&self, wall: Timestamp) -> Timestamp {
        shift(wall, (self.reading.wall, self.book))
    }

    /// The wall clock's time of a time of the book, by the two clocks of this base: what is shown to an operator.
    pub(crate) fn to_wall(&self, book: Timestamp) -> Timestamp {
        shift(book, (self.book, self.reading.wall))
    }
}

/// `time` by a clock that shows `to` when the one it is of shows `from`.
///
/// Clocks that differ by less than a second are the same: they are read one after the other, and what is shown of one time
/// must not change from one look to the next.
fn shift(time: Timestamp, (from, to): (Timestamp, Timestamp)) -> Timestamp {
    let whole = |difference: Duration| Duration::from_secs(difference.as_secs());
    if to >= from {
        time.after(whole(to.since(from)))
    } else {
        time.before(whole(from.since(to)))
    }
}

/// Reads the machine's clocks and the name of the boot.
///
/// # Errors
/// When the boot id cannot be read or is empty, or the kernel does not tell the time.
pub(crate) fn observe(boot_id: &Path) -> Result<Reading, ReadClockError> {
    let failed = |source| ReadClockError::BootId {
        path: boot_id.to_owned(),
        source,
    };
    let text = fs::read_to_string(boot_id).map_err(failed)?;
    let id = text.trim();
    if id.is_empty() {
        return Err(failed(io::Error::from(io::ErrorKind::UnexpectedEof)));
    }
    Ok(Reading {
        boot_id: id.to_owned(),
        boottime: boottime()?,
        wall: SystemTime::now().into(),
    })
}

fn boottime() -> Result<Duration, ReadClockError> {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .map_err(|source| ReadClockError::Boottime { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(boot_id: &str, boottime: u64, wall: u64) -> Reading {
        Reading {
            boot_id: boot_id.to_owned(),
            boottime: Duration::from_secs(boottime),
            wall: at(wall),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_milliseconds(seconds * 1000)
    }

    #[test]
    fn book_time_follows_the_table() {
        let stored = ClockBase {
            book: at(5_000),
            reading: reading("one", 100, 7_000),
        };
        let table = [
            ("same boot, 50 s later", reading("one", 150, 7_050), 5_050),
            (
                "same boot, wall jumped ahead",
                reading("one", 150, 99_999_999),
                5_050,
            ),
            ("same boot, wall put back", reading("one", 150, 3), 5_050),
            (
                "same boot, boot clock behind (impossible)",
                reading("one", 99, 7_000),
                5_000,
            ),
            ("reboot, 1000 s later", reading("two", 20, 8_000), 6_000),
            ("reboot, wall clock forgot", reading("two", 20, 0), 5_020),
            (
                "reboot, wall put back a little",
                reading("two", 20, 6_990),
                5_020,
            ),
        ];
        for (case, now, expected) in table {
            let resumed = ClockBase::resume(Some(&stored), now.clone());
            assert_eq!(resumed.book, at(expected), "{case}");
            assert!(resumed.book >= stored.book, "{case}: went back");
            assert_eq!(resumed.reading, now, "{case}");
        }
        let first = ClockBase::resume(None, reading("one", 100, 7_000));
        assert_eq!(first.book, at(7_000), "first start");
    }

    #[test]
    fn steps_add_up_to_what_one_step_says() {
        let start = ClockBase::resume(None, reading("one", 100, 7_000));
        let half = ClockBase::resume(Some(&start), reading("one", 130, 1));
        let whole = ClockBase::resume(Some(&half), reading("one", 160, 900_000));
        assert_eq!(
            whole.book,
            ClockBase::resume(Some(&start), reading("one", 160, 5)).book
        );
    }

    #[test]
    fn times_are_shown_by_the_wall_clock_of_now() {
        let base = ClockBase {
            book: at(5_000),
            reading: reading("one", 100, 7_000),
        };
        for (book, wall) in [(5_000, 7_000), (4_000, 6_000), (6_000, 8_000)] {
            assert_eq!(base.to_wall(at(book)), at(wall));
            assert_eq!(base.to_book(at(wall)), at(book));
        }
        let close = ClockBase {
            book: at(7_000).after(Duration::from_millis(999)),
            ..base
        };
        assert_eq!(close.to_wall(at(5_000)), at(5_000));
    }

    #[test]
    fn the_machine_tells_its_time() {
        let first = observe(Path::new(BOOT_ID)).unwrap();
        let clock = BookClock::new(ClockBase::resume(None, first.clone()));
        let base = clock.read().unwrap();
        assert!(base.book >= first.wall && base.reading.boottime >= first.boottime);
        assert!(observe(Path::new("/nonexistent")).is_err());
    }
}
