//! The task that owns the board: hears of looks and of the earlier process's report, publishes what is known.

use std::time::Duration;

use ipamd_daemon::Tasks;
use proto_crd::node_health::NodeHealthStatus;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
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

/// What the board is told.
#[derive(Debug)]
pub(super) enum Notice {
    /// A look has ended.
    Look(Verdict),
    /// What an earlier process reported, if it did.
    Prior(Option<Box<NodeHealthStatus>>, Origin),
}

/// Starts the task. The receiver has what is known; a value that is not complete is not worth telling.
pub(super) fn spawn_keeper(
    tasks: &Tasks,
    mut board: Board,
    mut heard: mpsc::Receiver<Notice>,
    metrics: HealthMetrics,
    pulse: Pulse,
    peers: Ways,
) -> watch::Receiver<Report> {
    let (publisher, reports) = watch::channel(board.report(Moment::now()));
    let token = tasks.token();
    tasks.spawn("health", async move {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let notice = tokio::select! {
                () = token.cancelled() => return,
                _ = tick.tick() => None,
                notice = heard.recv() => notice,
            };
            let now = Moment::now();
            match notice {
                Some(Notice::Look(verdict)) => {
                    metrics.looked(&verdict);
                    if verdict.signal == gateway::SIGNAL {
                        peers.hear_gateway(&verdict.finding, now.at);
                    }
                    board.look(verdict, now);
                }
                Some(Notice::Prior(prior, origin)) => board.adopt(prior.as_deref(), &origin, now),
                None => {}
            }
            let mut report = board.report(now);
            report.peers = peers.sights();
            pulse.beat();
            for area in &report.areas {
                metrics.concluded(area.area, area.status);
            }
            for view in &report.views {
                metrics.judged(view.signal, view.state);
            }
            log_changes(&publisher.borrow(), &report);
            publisher.send_replace(report);
        }
    });
    reports
}

fn log_changes(old: &Report, new: &Report) {
    for (old, new) in old.views.iter().zip(&new.views) {
        if old.state != new.state {
            log_change(old, new);
        }
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
