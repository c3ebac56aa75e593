//! Business windows: when nothing is disturbed that still works.

use serde::{Deserialize, Serialize};

const DAY: u16 = 24 * 60;

/// A minute of the week, from Monday 00:00 in the operator's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MinuteOfWeek(u16);

impl MinuteOfWeek {
    /// Of a day (0 is Monday) and a minute of it; what is too large starts again.
    pub const fn new(day: u16, minute: u16) -> Self {
        Self((day % 7) * DAY + minute % DAY)
    }
}

/// From a minute of the week up to another, without that one. It may go over Sunday's midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first minute.
    pub from: MinuteOfWeek,
    /// The first minute after it.
    pub until: MinuteOfWeek,
}

impl Window {
    /// Whether this minute is in it.
    pub fn holds(&self, minute: MinuteOfWeek) -> bool {
        if self.from <= self.until {
            self.from <= minute && minute < self.until
        } else {
            self.from <= minute || minute < self.until
        }
    }
}

/// Whether it is business time. A time that is not known is, where there are windows at all.
pub fn is_business(windows: &[Window], week: Option<MinuteOfWeek>) -> bool {
    match week {
        Some(minute) => windows.iter().any(|window| window.holds(minute)),
        None => !windows.is_empty(),
    }
}
