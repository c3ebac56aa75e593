use std::time::Duration;

use proto_crd::node_health::SignalState::{Healthy, Unhealthy, Unknown};

use super::*;
use crate::health::signal::{Signal, Trouble};
use crate::health::signals::{addresses, ipamd, kubelet};

const FEW: &[Rule] = &[ipamd::RULE, addresses::RULE, kubelet::RULE];

fn origin() -> Origin {
    Origin {
        boot_id: "boot-1".into(),
        agent_version: "0.1.0".into(),
    }
}

fn trouble(message: &str) -> Trouble {
    Trouble {
        kind: "away",
        message: message.into(),
        impact: "bad".into(),
        advice: "look".into(),
    }
}

fn later(now: &mut Moment, seconds: u64) -> Moment {
    *now = now.after(Duration::from_secs(seconds));
    *now
}

fn all_good(board: &mut Board, now: Moment) {
    for rule in FEW {
        board.look(Verdict::good(rule.signal, "ok"), now);
    }
}

fn make_wrong(board: &mut Board, signal: Signal, message: &str, now: &mut Moment) {
    for _ in 0..3 {
        let verdict = Verdict::bad(signal, "no", trouble(message));
        board.look(verdict, later(now, 10));
    }
}

fn states(status: &NodeHealthStatus) -> Vec<SignalState> {
    status.signals.iter().map(|signal| signal.state).collect()
}

#[test]
fn report_is_complete_when_everything_was_seen_and_the_past_is_known() {
    let now = Moment::now();
    let mut board = Board::new(FEW, now);
    all_good(&mut board, now);
    assert!(!board.report(now).is_complete);
    board.adopt(None, &origin(), now);
    assert!(board.report(now).is_complete);
    let mut unseen = Board::new(FEW, now);
    unseen.adopt(None, &origin(), now);
    assert!(!unseen.report(now).is_complete);
    // A source that hangs for ever does not keep the others from being told.
    assert!(
        unseen
            .report(now.after(Duration::from_secs(61)))
            .is_complete
    );
}

#[test]
fn one_wrong_signal_makes_the_node_unhealthy_and_one_unknown_makes_it_unknown() {
    let mut now = Moment::now();
    let mut board = Board::new(FEW, now);
    board.adopt(None, &origin(), now);
    all_good(&mut board, now);
    let fine = board.report(now);
    assert_eq!(fine.healthy, ConditionStatus::True);

    make_wrong(&mut board, kubelet::SIGNAL, "it is away", &mut now);
    let wrong = board.report(now);
    let status = wrong.to_status(&origin(), now);
    assert_eq!(states(&status), [Healthy, Healthy, Unhealthy]);
    assert_eq!((status.problems, status.unknowns), (1, 0));
    assert_eq!(status.conditions[0].status, ConditionStatus::False);
    assert_eq!(status.conditions[0].message, "wrong: kubelet");
    assert_eq!(status.signals[2].message.as_deref(), Some("it is away"));
    assert_eq!(status.conditions[0].last_transition_time.0, now.wall);
    assert_ne!(fine.gist(), wrong.gist());

    let lapsed = board.report(later(&mut now, 100)).to_status(&origin(), now);
    assert_eq!(states(&lapsed), [Unknown, Unknown, Unknown]);
    assert_eq!(lapsed.conditions[0].status, ConditionStatus::Unknown);
    assert_eq!(lapsed.conditions[0].reason, condition::SIGNALS_UNKNOWN);
}

#[test]
fn figures_and_texts_alone_are_no_news() {
    let mut now = Moment::now();
    let mut board = Board::new(FEW, now);
    make_wrong(&mut board, addresses::SIGNAL, "3 of 100 are free", &mut now);
    let one = board.report(now);
    make_wrong(&mut board, addresses::SIGNAL, "2 of 100 are free", &mut now);
    let other = board.report(now);
    assert_eq!(one.gist(), other.gist());
    assert_ne!(one, other);
}

#[test]
fn report_of_this_boot_goes_on_and_of_another_does_not() {
    let mut now = Moment::now();
    let mut first = Board::new(FEW, now);
    first.adopt(None, &origin(), now);
    all_good(&mut first, now);
    let begun = now.after(Duration::from_secs(10));
    make_wrong(&mut first, ipamd::SIGNAL, "away", &mut now);
    let told = first.report(now).to_status(&origin(), now);

    later(&mut now, 20);
    let mut second = Board::new(FEW, now);
    second.adopt(Some(&told), &origin(), now);
    second.look(Verdict::bad(ipamd::SIGNAL, "no", trouble("away")), now);
    let view = second.report(now).views[0].clone();
    assert_eq!((view.state, view.since), (Unhealthy, begun.wall));

    let rebooted = Origin {
        boot_id: "boot-2".into(),
        ..origin()
    };
    let mut third = Board::new(FEW, now);
    third.adopt(Some(&told), &rebooted, now);
    third.look(Verdict::bad(ipamd::SIGNAL, "no", trouble("away")), now);
    assert_eq!(third.report(now).views[0].state, Unknown);
}

#[test]
fn healthy_state_of_an_expired_report_begins_anew() {
    let mut now = Moment::now();
    let begun = now;
    let mut first = Board::new(FEW, now);
    first.adopt(None, &origin(), now);
    all_good(&mut first, now);
    let told = first.report(now).to_status(&origin(), now);
    for (pause, since_begin) in [(REPORT_TTL.as_secs() - 1, true), (2, false)] {
        later(&mut now, pause);
        let mut second = Board::new(FEW, now);
        second.adopt(Some(&told), &origin(), now);
        all_good(&mut second, now);
        let since = second.report(now).views[0].since;
        assert_eq!(since == begun.wall, since_begin);
    }
}

#[test]
fn those_who_tell_are_woken_by_more_than_figures() {
    let mut now = Moment::now();
    let mut board = Board::new(FEW, now);
    all_good(&mut board, now);
    let mut last = board.report(now);
    let mut step = |what: &str, is_news: bool, board: &mut Board, now: &mut Moment| {
        let report = board.report(later(now, 1));
        assert_eq!(report.is_news_after(&last), is_news, "{what}");
        last = report;
    };
    board.adopt(None, &origin(), now);
    step("all is known", true, &mut board, &mut now);
    for rule in FEW {
        board.look(Verdict::good(rule.signal, "still ok"), now);
    }
    step("another value", false, &mut board, &mut now);
    make_wrong(&mut board, kubelet::SIGNAL, "it is away", &mut now);
    step("something is wrong", true, &mut board, &mut now);
    let bad = |words: &str| Verdict::bad(kubelet::SIGNAL, "no", trouble(words));
    board.look(bad("it is away"), now);
    step("it still is", false, &mut board, &mut now);
    board.look(bad("it is silent"), now);
    step("in another way", true, &mut board, &mut now);
    all_good(&mut board, now);
    step("a good look", false, &mut board, &mut now);
    later(&mut now, 40);
    step("it is reason enough for more", true, &mut board, &mut now);
    all_good(&mut board, now);
    step("it is well again", true, &mut board, &mut now);
    later(&mut now, 100);
    step("nobody looks any more", true, &mut board, &mut now);
}

#[test]
fn texts_are_cut_to_what_the_api_server_takes() {
    assert_eq!(cut("ab", 2), "ab");
    assert_eq!(cut("äöü", 2), "ä…");
    let mut now = Moment::now();
    let mut board = Board::new(FEW, now);
    let long = "ä".repeat(TEXT_LIMIT + 1);
    make_wrong(&mut board, ipamd::SIGNAL, &long, &mut now);
    let status = board.report(now).to_status(&origin(), now);
    let message = status.signals[0].message.clone().unwrap();
    assert_eq!(message.chars().count(), TEXT_LIMIT);
}

#[test]
fn what_is_seen_of_peers_is_told_and_figures_alone_are_no_news() {
    use proto_crd::peer::{PeerSight, PeerState, Vote, VoteReason, VoteState};

    let now = Moment::now();
    let mut board = Board::new(FEW, now);
    board.adopt(None, &origin(), now);
    all_good(&mut board, now);
    let mut report = |state, lost_percent, reason| {
        let peer = PeerSight {
            node: "n2".into(),
            rack: "a".into(),
            state,
            since: Time(now.wall),
            lost_percent,
            rtt_microseconds: None,
            clock_ahead_milliseconds: None,
        };
        let vote = Vote {
            state: VoteState::Given,
            reason,
            message: String::new(),
            since: Time(now.wall),
        };
        let peers = vec![peer];
        let mut report = board.report(now);
        report.peers = Some(Arc::new(Sights { peers, vote }));
        report
    };
    let before = report(PeerState::Alive, 0, VoteReason::Seeing);
    let status = before.to_status(&origin(), now);
    assert_eq!(status.peers[0].node, "n2");
    assert_eq!(status.vote.unwrap().reason, VoteReason::Seeing);
    for (state, lost, reason, is_news) in [
        (PeerState::Alive, 50, VoteReason::Seeing, false),
        (PeerState::Dead, 50, VoteReason::Seeing, true),
        (PeerState::Alive, 0, VoteReason::GatewayNotWatched, true),
    ] {
        let after = report(state, lost, reason);
        assert_eq!(
            after.gist() != before.gist(),
            is_news,
            "{state:?} {reason:?}"
        );
        assert_eq!(
            after.is_news_after(&before),
            is_news,
            "{state:?} {reason:?}"
        );
    }
    assert!(before.is_news_after(&board.report(now)));
    assert!(board.report(now).to_status(&origin(), now).vote.is_none());
}
