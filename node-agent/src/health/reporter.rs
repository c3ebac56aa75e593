//! The task that writes: reads the report of an earlier process back, then writes when [`Schedule`] says so. With the API
//! server away it tries on, at a bounded rate, and writes what is true by then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ipamd_daemon::readiness::{Readiness, Ready};
use ipamd_daemon::{Tasks, chain};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::board::{Origin, Report};
use super::keeper::Notice;
use super::moment::Moment;
use super::report::{Chance, REPORT_TTL, Schedule};
use super::writer::Writer;
use crate::metrics::HealthMetrics;

/// While failing the log says so only this often.
const REMINDER: Duration = Duration::from_secs(10 * 60);

/// What the reporter works with.
pub(super) struct Reporter {
    /// The object in the API.
    pub(super) writer: Arc<Writer>,
    /// Where reports come from.
    pub(super) origin: Origin,
    /// What is known.
    pub(super) reports: watch::Receiver<Report>,
    /// Who is told what an earlier process knew.
    pub(super) notices: mpsc::Sender<Notice>,
    /// What is counted.
    pub(super) metrics: HealthMetrics,
    /// Follows the writes.
    pub(super) readiness: Arc<Readiness>,
}

/// Starts the task.
pub(super) fn spawn_reporter(tasks: &Tasks, reporter: Reporter) {
    let token = tasks.token();
    tasks.spawn("report", async move {
        // Nothing is lost by ending in the middle: the next process writes again.
        tokio::select! {
            () = token.cancelled() => {}
            () = run(reporter, token.clone()) => token.cancelled().await,
        }
    });
}

/// How writing goes: what the log and readiness say of it.
struct Course {
    last_success: Option<Instant>,
    last_warning: Option<(Instant, String)>,
}

async fn run(mut reporter: Reporter, token: CancellationToken) {
    let mut course = Course {
        last_success: None,
        last_warning: None,
    };
    reporter.go_on(&mut course).await;
    let mut schedule = Schedule::default();
    while !token.is_cancelled() {
        let gist = {
            let report = reporter.reports.borrow_and_update();
            report.is_complete.then(|| report.gist())
        };
        let Some(gist) = gist else {
            if reporter.reports.changed().await.is_err() {
                return;
            }
            continue;
        };
        let due = schedule.due(&gist, Instant::now());
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            changed = reporter.reports.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        // With the figures of this moment: nobody was woken by them.
        let report = reporter.reports.borrow().clone();
        reporter.write(&report, &mut schedule, &mut course).await;
    }
}

impl Reporter {
    /// Reads the earlier report back, however long that takes.
    async fn go_on(&self, course: &mut Course) {
        let mut tries = Schedule::default();
        loop {
            match self.writer.load().await {
                Ok(prior) => {
                    debug!(found = prior.is_some(), "earlier report read");
                    let notice = Notice::Prior(prior.map(Box::new), self.origin.clone());
                    // Nobody listens any more only when the process is on its way out.
                    let _ = self.notices.send(notice).await;
                    return;
                }
                Err(error) => {
                    let now = Instant::now();
                    tries.failed(now, Chance::draw());
                    course.failed(&chain(&error), now, &self.readiness);
                    self.metrics.wrote(false);
                    tokio::time::sleep_until(tries.earliest(now).into()).await;
                }
            }
        }
    }

    async fn write(&self, report: &Report, schedule: &mut Schedule, course: &mut Course) {
        let moment = Moment::now();
        let status = report.to_status(&self.origin, moment);
        let written = self.writer.write(status).await;
        self.metrics.wrote(written.is_ok());
        let now = Instant::now();
        match written {
            Ok(()) => {
                schedule.written(report.gist(), now, Chance::draw());
                course.succeeded(now, &self.readiness);
            }
            Err(error) => {
                schedule.failed(now, Chance::draw());
                course.failed(&chain(&error), now, &self.readiness);
            }
        }
    }
}

impl Course {
    fn succeeded(&mut self, now: Instant, readiness: &Readiness) {
        if self.last_success.is_none() || self.last_warning.is_some() {
            info!("report written");
        }
        self.last_success = Some(now);
        self.last_warning = None;
        readiness.set(Ready::Yes);
    }

    /// A report in force is still there, so the agent is ready: ten thousand agents that turn unready together would
    /// make the API server's return harder.
    fn failed(&mut self, reason: &str, now: Instant, readiness: &Readiness) {
        let told = self.last_warning.as_ref();
        let is_news = told.is_none_or(|(at, old)| old != reason || now - *at >= REMINDER);
        if is_news {
            warn!(error = reason, "report not written; trying on");
            self.last_warning = Some((now, reason.to_owned()));
        }
        let in_force = self.last_success.is_some_and(|at| now - at < REPORT_TTL);
        if !in_force {
            readiness.set(Ready::No(format!("no report is in force: {reason}")));
        }
    }
}
