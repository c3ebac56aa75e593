//! The task that owns the board: hears of looks and of the earlier process's report, publishes what is known.
//!
//! What is heard counts at once; all of it is judged together a moment later, since most looks end in the same few milliseconds. Who
//! tells of what is known is woken by news only, and reads the figures of the moment when he tells.

use std::time::Duration;

use ipamd_daemon::Tasks;
use proto_crd::node_health::NodeHealthStatus;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::board::{Board, Origin, Report};
use super::moment::Moment;
use super::signal::Verdict;
use super::signals::gateway;
use super::tracker::View;
use crate::metrics::HealthMetrics;
use crate::peers::Ways;
use crate::pulse::Pulse;

/// Looks expire by themselves: with nothing heard, the board is still judged so often.
const TICK: Duration = Duration::from_secs(5);

/// From what is heard first to the judgement: a tenth of the shortest period of looks.
const GATHER: Duration = Duration::from_millis(100);

/// What the board is told.
#[derive(Debug)]
pub(super) enum Notice {
    /// A look has ended.
    Looks(Vec<Verdict>),
    /// What an earlier process reported, if it did.
    Prior(Option<Box<NodeHealthStatus>>, Origin),
}

/// The board, and who is told of it.
struct Keeper {
    board: Board,
    metrics: HealthMetrics,
    pulse: Pulse,
    peers: Ways,
    processors: watch::Receiver<Option<bool>>,
    publisher: watch::Sender<Report>,
}

/// Starts the task; besides signals it reports what is seen of peers, and of processors. The receiver has what is known, and is woken when more than figures has changed; a value that is not complete is
/// not worth telling.
pub(super) fn spawn_keeper(
    tasks: &Tasks,
    mut board: Board,
    mut heard: mpsc::Receiver<Notice>,
    metrics: HealthMetrics,
    pulse: Pulse,
    (peers, processors): (Ways, watch::Receiver<Option<bool>>),
) -> watch::Receiver<Report> {
    let first = board.report(Moment::now());
    for view in &first.views {
        metrics.judged(view.signal, view.state);
    }
    for area in &first.areas {
        metrics.concluded(area.area, area.status);
    }
    let (publisher, reports) = watch::channel(first);
    let mut keeper = Keeper {
        board,
        metrics,
        pulse,
        peers,
        processors,
        publisher,
    };
    let token = tasks.token();
    tasks.spawn("health", async move {
        let mut due = Instant::now();
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                notice = heard.recv() => {
                    let Some(notice) = notice else {
                        // Nobody looks any more only when the process is on its way out.
                        token.cancelled().await;
                        return;
                    };
                    keeper.hear(notice, Moment::now());
                    due = due.min(Instant::now() + GATHER);
                }
                () = sleep_until(due) => {
                    keeper.judge(Moment::now());
                    due = Instant::now() + TICK;
                }
            }
        }
    });
    reports
}

impl Keeper {
    fn hear(&mut self, notice: Notice, now: Moment) {
        match notice {
            Notice::Looks(verdicts) => {
                for verdict in verdicts {
                    self.metrics.looked(&verdict);
                    if verdict.signal == gateway::SIGNAL {
                        self.peers.hear_gateway(&verdict.finding, now.at);
                    }
                    self.board.look(verdict, now);
                }
            }
            Notice::Prior(prior, origin) => self.board.adopt(prior.as_deref(), &origin, now),
        }
    }

    fn judge(&mut self, now: Moment) {
        let mut report = self.board.report(now);
        report.peers = self.peers.sights();
        report.processors_pressed = *self.processors.borrow();
        self.pulse.beat();
        let metrics = &self.metrics;
        self.publisher.send_if_modified(|known| {
            for (old, new) in known.areas.iter().zip(&report.areas) {
                if old.status != new.status {
                    metrics.concluded(new.area, new.status);
                }
            }
            for (old, new) in known.views.iter().zip(&report.views) {
                if old.state != new.state {
                    metrics.judged(new.signal, new.state);
                    log_change(old, new);
                }
            }
            let is_news = report.is_news_after(known);
            *known = report;
            is_news
        });
    }
}

fn log_change(old: &View, new: &View) {
    let signal = new.signal.as_str();
    let (from, to) = (old.state, new.state);
    match (&new.wrong, &new.unknown) {
        (Some(wrong), _) => {
            let trouble = &wrong.trouble;
            warn!(signal, ?from, ?to, reason = %trouble.message, impact = %trouble.impact, advice = %trouble.advice, "signal changed");
        }
        (None, Some(why)) => warn!(signal, ?from, ?to, reason = %why, "signal changed"),
        (None, None) => info!(signal, ?from, ?to, value = %new.value, "signal changed"),
    }
}
