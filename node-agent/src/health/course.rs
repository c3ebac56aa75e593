//! How writing something goes, as the log tells it: when it begins to fail, when the reason changes, now and then while it lasts, and
//! when it is over.

use std::error::Error;
use std::time::{Duration, Instant};

use ipamd_daemon::chain;
use tracing::{info, warn};

/// While failing the log says so only this often.
const REMINDER: Duration = Duration::from_secs(10 * 60);

/// One thing that is written.
#[derive(Debug)]
pub(super) struct Course {
    what: &'static str,
    last_warning: Option<(Instant, String)>,
}

impl Course {
    /// Nothing was written yet.
    pub(super) const fn new(what: &'static str) -> Self {
        Self {
            what,
            last_warning: None,
        }
    }

    /// It was.
    pub(super) fn succeeded(&mut self) {
        if self.last_warning.take().is_some() {
            info!(what = self.what, "written again");
        }
    }

    /// It could not be.
    pub(super) fn failed(&mut self, error: &(dyn Error + 'static), now: Instant) {
        let reason = chain(error);
        let told = self.last_warning.as_ref();
        let is_news = told.is_none_or(|(at, old)| *old != reason || now - *at >= REMINDER);
        if is_news {
            warn!(what = self.what, error = %reason, "not written; trying on");
            self.last_warning = Some((now, reason));
        }
    }
}
