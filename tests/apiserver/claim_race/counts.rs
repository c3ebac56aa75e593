//! What the API server has counted of requests about claims, all nodes together: who writes, how often in vain, who lists.

use std::fmt;

use tests_testbed::{ApiProxy, sum_of_series};

/// Counts up to a moment, or between two.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) creates: f64,
    pub(super) updates: f64,
    pub(super) deletes: f64,
    /// Of these, how many were too late: the claim was there, or another than was seen.
    pub(super) conflicts: f64,
    pub(super) gets: f64,
    /// Lists that were answered.
    pub(super) lists: f64,
    /// Lists that the API server put off (429: it fills its cache, or has too much to do) and that were sent again after the time it named.
    pub(super) put_off: f64,
}

impl Counts {
    pub(super) fn now(proxy: &ApiProxy) -> Self {
        let text = proxy.text("/metrics").unwrap();
        let sum = |labels: &[&str]| {
            let of_claims = ["group=\"berth.dev\"", "resource=\"claims\""];
            let labels: Vec<&str> = of_claims.iter().chain(labels).copied().collect();
            sum_of_series(&text, "apiserver_request_total", &labels)
        };
        let verb = |verb: &str| sum(&[&format!("verb=\"{verb}\"")]);
        let put_off = sum(&["verb=\"LIST\"", "code=\"429\""]);
        Self {
            creates: verb("POST"),
            updates: verb("PUT") + verb("PATCH") + verb("APPLY"),
            deletes: verb("DELETE"),
            conflicts: sum(&["code=\"409\""]),
            gets: verb("GET"),
            lists: verb("LIST") - put_off,
            put_off,
        }
    }

    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            creates: self.creates - earlier.creates,
            updates: self.updates - earlier.updates,
            deletes: self.deletes - earlier.deletes,
            conflicts: self.conflicts - earlier.conflicts,
            gets: self.gets - earlier.gets,
            lists: self.lists - earlier.lists,
            put_off: self.put_off - earlier.put_off,
        }
    }

    pub(super) fn writes(self) -> f64 {
        self.creates + self.updates + self.deletes
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            creates,
            updates,
            deletes,
            conflicts,
            gets,
            lists,
            put_off,
        } = self;
        let writes = self.writes();
        write!(
            f,
            "{writes} writes ({creates} create, {updates} update, {deletes} delete; {conflicts} in vain), {gets} reads of one, {lists} lists ({put_off} more put off)"
        )
    }
}
