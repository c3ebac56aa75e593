use std::time::Duration;

use proto_crd::container_restart::{BackOffPolicy, ContainerPhase};

use super::fixture::{at, exited, live, running, seen};
use super::*;
use crate::backoff::BackOff;
use crate::observed::{ContainerState, RestartPolicy, Waiting};
use crate::prestop::Hook;

/// A step in a few words.
fn words(step: &Step) -> String {
    match step {
        Step::RefuseForGood(failure) => format!("refuse {:?}", failure.reason),
        Step::Failed(failure) => format!("failed {:?}", failure.reason),
        Step::WaitUnready { hold: true, .. } => "hold".to_owned(),
        Step::WaitUnready { until, .. } => format!("unready {}", until.is_some()),
        Step::WaitBackoff { container, .. } => format!("back-off {container}"),
        Step::Stop(order) => format!("stop {}", order.id),
        Step::ResumeStop(order) => format!("resume {}", order.id),
        Step::Wait { message } => format!("wait {message}"),
        Step::ReleaseUnready => "release".to_owned(),
        Step::Succeeded => "succeeded".to_owned(),
        Step::Finished { .. } => "finished".to_owned(),
    }
}

fn assert_step(decision: &Decision, wanted: &str) {
    let words = words(&decision.step);
    assert!(words.starts_with(wanted), "{words}, wanted {wanted}");
}

type Change = fn(&mut Observed);

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn rows_of_what_is_refused_for_good() {
    let rows: &[(&str, &str, Change)] = &[
        ("PodGone", "no Pod shop", |seen| seen.pod = PodView::Gone),
        ("PodGone", "another one", |seen| {
            seen.pod().uid = "other".to_owned();
        }),
        ("PodGone", "do not come back", |seen| {
            seen.pod().deleting = true;
        }),
        ("PodGone", "do not come back", |seen| {
            seen.pod().ended = true;
        }),
        ("OtherNode", "\"n2\"", |seen| {
            seen.pod().node = "n2".to_owned();
        }),
        ("StaticPod", "from a file", |seen| {
            seen.pod().is_static = true;
        }),
        ("RestartPolicy", "Never", |seen| {
            seen.pod().restart_policy = RestartPolicy::Never;
        }),
        ("RestartPolicy", "OnFailure", |seen| {
            seen.pod().restart_policy = RestartPolicy::OnFailure;
        }),
        ("RestartPolicy", "Never", |seen| {
            seen.of_pod("a").restart_policy = Some(RestartPolicy::Never);
        }),
        ("RestartPolicy", "RestartAllContainers", |seen| {
            seen.of_pod("a").restarts_all = true;
        }),
        ("NoReadinessGate", "lacks the readiness gate", |seen| {
            seen.spec.strategy.unready_grace_period_seconds = Some(3);
            seen.pod().gate.present = false;
        }),
        ("Invalid", "no container is named", |seen| {
            seen.spec.containers.clear();
        }),
        ("Invalid", "twice", |seen| {
            seen.spec.containers.push(seen.spec.containers[0].clone());
        }),
        ("Invalid", "has no container \"init\"", |seen| {
            seen.spec.containers[0].name = "init".to_owned();
        }),
        ("StopSettings", "annotation", |seen| {
            seen.live("a0").stop = Err("the container has no annotation".to_owned());
        }),
        ("Superseded", "request late", |seen| {
            seen.turn = Turn::SupersededBy("late".to_owned());
        }),
    ];
    for (reason, text, change) in rows {
        let mut seen = seen(&["a"]);
        change(&mut seen);
        let decision = seen.look(2000);
        assert_step(&decision, &format!("refuse {reason}"));
        assert!(
            decision.status.message.contains(text),
            "{}",
            decision.status.message
        );
        assert_eq!(decision.status.phase, Phase::Failed);
        assert_eq!(decision.status.completed_at, Some(at(2000)));
        assert_eq!(words(&seen.look(2001).step), "finished");
    }
}

#[test]
fn rows_of_what_is_not_refused() {
    let rows: &[(&str, Change)] = &[
        ("container's own policy wins", |seen| {
            seen.pod().restart_policy = RestartPolicy::Never;
            seen.of_pod("a").restart_policy = Some(RestartPolicy::Always);
        }),
        ("another container's policy", |seen| {
            seen.of_pod("b").restart_policy = Some(RestartPolicy::Never);
        }),
        ("no gate and none asked for", |seen| {
            seen.pod().gate.present = false;
        }),
        ("host network has no MAC", |seen| {
            seen.pod().host_network = true;
            seen.sandbox().mac = None;
        }),
        ("old restarts", |seen| {
            seen.live("a0").stop.as_mut().unwrap().restart_count = 9;
        }),
    ];
    for (name, change) in rows {
        let mut seen = seen(&["a"]);
        change(&mut seen);
        assert_eq!(words(&seen.look(2000).step), "stop a0", "{name}");
    }
}

#[test]
fn rows_of_what_is_waited_for_before_anything_is_stopped() {
    let rows: &[(&str, Change)] = &[
        (
            "wait for 2 earlier request(s) for this Pod, first first",
            |seen| {
                seen.turn = Turn::After {
                    position: 2,
                    behind: "first".to_owned(),
                };
            },
        ),
        ("wait for the container runtime", |seen| seen.runtime = None),
        ("wait to see the Pod", |seen| seen.pod = PodView::Unknown),
        ("wait for the Pod's sandbox to be ready", |seen| {
            seen.runtime().sandbox = None;
        }),
        ("wait for the Pod's sandbox to be ready", |seen| {
            seen.sandbox().ready = false;
        }),
        ("wait for the addresses", |seen| seen.sandbox().ips.clear()),
        ("wait for the addresses", |seen| seen.sandbox().mac = None),
        ("wait for container a to have started", |seen| {
            seen.of_pod("a").started = false;
        }),
        ("wait for container a to have started", |seen| {
            seen.of_pod("a").id = "older".to_owned();
        }),
        ("wait for container a to run", |seen| {
            seen.live("a0").state = ContainerState::Created;
        }),
        ("wait for container a to run", |seen| {
            seen.live("a0").state = ContainerState::Unknown;
        }),
        ("wait for container a to run", |seen| {
            seen.runtime().containers.clear();
        }),
    ];
    for (wanted, change) in rows {
        let mut seen = seen(&["a"]);
        change(&mut seen);
        let decision = seen.look(2000);
        assert_step(&decision, wanted);
        assert_eq!(decision.status.phase, Phase::Pending);
        assert_eq!(decision.look_again, Some(at(2590)), "the deadline");
        let late = seen.look(2590);
        assert_step(&late, "failed DeadlineExceeded");
        let waited = &wanted["wait ".len()..];
        assert!(
            late.status.message.contains(waited),
            "{}",
            late.status.message
        );
    }
}

#[test]
fn a_container_is_stopped_comes_back_and_counts_once_it_was_ready_for_long_enough() {
    let mut seen = seen(&["a"]);
    let decision = seen.look(2000);
    let Step::Stop(order) = &decision.step else {
        panic!("{decision:?}")
    };
    assert_eq!((order.id.as_str(), order.not_after), ("a0", at(2590)));
    assert_eq!(order.spec.hook, Some(Hook::Sleep(Duration::from_secs(3))));
    assert_eq!(decision.status.phase, Phase::Recreating);
    assert_eq!(decision.status.containers[0].killed_at, Some(at(2000)));
    assert_step(&seen.look(2001), "wait container a: for it to end");
    seen.ends("a0", 2004, 0);
    let decision = seen.look(2004);
    assert_step(&decision, "wait container a: for kubelet to start it again");
    assert_eq!(decision.status.containers[0].backoff_until, Some(at(2005)));
    seen.comes_back("a", 1, 2005);
    seen.of_pod("a").ready = false;
    assert_step(&seen.look(2006), "wait container a: for it to be ready");
    seen.of_pod("a").ready = true;
    let decision = seen.look(2007);
    assert_step(&decision, "wait container a: for it to be ready until");
    assert_eq!(decision.look_again, Some(at(2012)));
    assert_step(&seen.look(2011), "wait");
    assert_eq!(words(&seen.look(2012).step), "succeeded");
    assert_eq!(seen.status.phase, Phase::Succeeded);
    assert_eq!(seen.status.containers[0].new_container_id, "a1");
    assert_eq!(seen.status.containers[0].started_at, Some(at(2005)));
    let finished = seen.look(2013);
    assert_eq!(finished.look_again, Some(at(2072)));
}

#[test]
fn readiness_counts_without_a_gap() {
    let gaps: &[(&str, Change)] = &[
        ("not ready in between", |seen| {
            seen.of_pod("a").ready = false;
        }),
        ("not ready while the runtime does not answer", |seen| {
            seen.of_pod("a").ready = false;
            seen.runtime = None;
        }),
        ("an old look at the Pod", |seen| {
            seen.of_pod("a").id = "a0".to_owned();
        }),
    ];
    for (name, gap) in gaps {
        let mut seen = restarted(&["a"]);
        assert_step(&seen.look(2006), "wait");
        let (pod, runtime) = (seen.pod.clone(), seen.runtime.clone());
        gap(&mut seen);
        assert_step(&seen.look(2010), "wait");
        (seen.pod, seen.runtime) = (pod, runtime);
        assert_step(&seen.look(2012), "wait");
        assert_step(&seen.look(2016), "wait");
        assert_eq!(words(&seen.look(2017).step), "succeeded", "{name}");
    }
    let mut seen = restarted(&["a"]);
    seen.look(2006);
    seen.watching_since = at(2050);
    assert_step(&seen.look(2051), "wait");
    assert_step(&seen.look(2054), "wait");
    seen.pod = PodView::Unknown;
    assert_step(
        &seen.look(2056),
        "wait container a: to know whether it is ready",
    );
}

/// Containers of which each was stopped at 2000 and runs anew since 2005.
fn restarted(containers: &[&str]) -> Observed {
    let mut seen = seen(containers);
    for name in containers {
        assert_eq!(words(&seen.look(2000).step), format!("stop {name}0"));
    }
    for name in containers {
        seen.ends(&format!("{name}0"), 2004, 0);
        seen.comes_back(name, 1, 2005);
    }
    seen
}

#[test]
fn the_grace_period_of_the_request_wins() {
    let mut seen = seen(&["a"]);
    seen.spec.strategy.termination_grace_period_seconds = Some(3);
    let Step::Stop(order) = seen.look(2000).step else {
        panic!("no stop")
    };
    assert_eq!(order.spec.grace, Duration::from_secs(3));
}

#[test]
fn containers_are_stopped_together_or_one_after_the_other() {
    let mut seen = seen(&["b", "a"]);
    assert_eq!(words(&seen.look(2000).step), "stop b0");
    assert_eq!(words(&seen.look(2000).step), "stop a0");
    let mut seen = self::seen(&["b", "a"]);
    seen.spec.strategy.ordered = true;
    assert_eq!(words(&seen.look(2000).step), "stop b0");
    assert_step(&seen.look(2000), "wait container b");
    seen.ends("b0", 2003, 0);
    assert_step(&seen.look(2003), "wait container b");
    seen.comes_back("b", 1, 2004);
    assert_step(&seen.look(2004), "wait container b");
    assert_eq!(words(&seen.look(2009).step), "stop a0");
    seen.ends("a0", 2012, 0);
    seen.comes_back("a", 1, 2012);
    seen.of_pod("b").ready = false;
    seen.look(2013);
    assert_step(&seen.look(2018), "wait container b");
    seen.of_pod("b").ready = true;
    seen.look(2020);
    assert_eq!(words(&seen.look(2025).step), "succeeded");
}

#[test]
fn one_container_that_cannot_be_stopped_yet_keeps_others_waiting_only_in_order() {
    for (ordered, wanted) in [
        (false, "stop b0"),
        (true, "wait for container a to have started"),
    ] {
        let mut seen = seen(&["a", "b"]);
        seen.spec.strategy.ordered = ordered;
        seen.of_pod("a").started = false;
        assert_step(&seen.look(2000), wanted);
    }
}

#[test]
fn force_stops_what_is_still_starting() {
    let mut seen = seen(&["a"]);
    seen.of_pod("a").started = false;
    seen.spec.strategy.force = true;
    assert_eq!(words(&seen.look(2000).step), "stop a0");
}

#[test]
fn a_failure_leaves_the_others_alone_or_is_kept_for_the_end() {
    for (policy, next) in [
        (FailurePolicy::Fail, "failed Crash"),
        (FailurePolicy::Ignore, "stop b0"),
    ] {
        let mut seen = seen(&["a", "b"]);
        seen.spec.strategy.ordered = true;
        seen.spec.strategy.failure_policy = policy;
        seen.look(2000);
        seen.ends("a0", 2003, 0);
        seen.comes_back("a", 1, 2004);
        seen.look(2004);
        seen.ends("a1", 2006, 1);
        let decision = seen.look(2006);
        assert_eq!(words(&decision.step), next);
        assert_eq!(decision.status.containers[0].phase, ContainerPhase::Failed);
        assert_eq!(decision.status.containers[0].reason, Some(Reason::Crash));
        if policy == FailurePolicy::Fail {
            assert_eq!(decision.status.containers[1].phase, ContainerPhase::Pending);
            continue;
        }
        seen.ends("b0", 2009, 0);
        seen.comes_back("b", 1, 2010);
        seen.look(2010);
        assert_eq!(words(&seen.look(2015).step), "failed ContainersFailed");
        assert_eq!(seen.status.containers[1].phase, ContainerPhase::Succeeded);
    }
}

#[test]
fn rows_of_what_makes_a_restart_fail() {
    let rows: &[(&str, &str, Change)] = &[
        ("Crash", "exit code 137", |seen| seen.ends("a1", 2007, 137)),
        ("Crash", "started once more", |seen| {
            seen.ends("a1", 2007, 1);
            seen.comes_back("a", 2, 2008);
        }),
        ("SandboxChanged", "box2", |seen| {
            seen.sandbox().id = "box2".to_owned();
        }),
        ("AddressChanged", "10.0.0.8", |seen| {
            seen.sandbox().ips = vec!["10.0.0.8".to_owned()];
        }),
        ("AddressChanged", "02:00:0a:00:00:08", |seen| {
            seen.sandbox().mac = Some("02:00:0a:00:00:08".to_owned());
        }),
        ("PodGone", "another one", |seen| {
            seen.pod().uid = "other".to_owned();
        }),
        ("PodGone", "no Pod", |seen| seen.pod = PodView::Gone),
        ("PodGone", "do not come back", |seen| {
            seen.pod().deleting = true;
        }),
    ];
    for (reason, text, change) in rows {
        for before in [2006, 2011] {
            let mut seen = restarted(&["a", "b"]);
            assert_step(&seen.look(2005), "wait");
            assert_step(&seen.look(before - 2), "wait");
            change(&mut seen);
            let decision = seen.look(before);
            assert_step(&decision, &format!("failed {reason}"));
            assert!(
                decision.status.message.contains(text),
                "{}",
                decision.status.message
            );
        }
    }
}

#[test]
fn a_crash_that_nobody_saw_is_known_by_the_count_of_restarts() {
    let mut seen = seen(&["a"]);
    seen.look(2000);
    seen.ends("a0", 2003, 0);
    seen.runtime().containers.clear();
    seen.comes_back("a", 2, 2030);
    assert_step(&seen.look(2031), "failed Crash");
}

#[test]
fn an_image_that_cannot_be_had_is_said_at_once() {
    for (reason, wanted) in [
        ("ImagePullBackOff", "failed Image"),
        ("ErrImagePull", "wait"),
        ("CrashLoopBackOff", "wait"),
    ] {
        let mut seen = seen(&["a"]);
        seen.look(2000);
        seen.ends("a0", 2003, 0);
        seen.of_pod("a").waiting = Some(Waiting {
            reason: reason.to_owned(),
            message: "not found".to_owned(),
        });
        assert_step(&seen.look(2004), wanted);
    }
}

/// `a` was restarted so often in the last minutes, the last time at 1900.
fn restarted_before(seen: &mut Observed, count: u32) {
    let started = 1900;
    let pause = if count == 1 { 1 } else { 10 << (count - 2) };
    seen.live("a0").state = running(started);
    seen.live("a0").created_at = at(started);
    seen.live("a0").stop.as_mut().unwrap().restart_count = count;
    let ran = exited(started - pause - 20, started - pause, 0);
    let dead = live("a", "dead", count - 1, ran);
    seen.runtime().containers.push(dead);
}

#[test]
fn rows_of_kubelets_back_off_before_anything_is_stopped() {
    // (restarts, longest of kubelet's, allowed, policy, deadline, step)
    let wait = BackOffPolicy::Wait;
    let refuse = BackOffPolicy::Refuse;
    let rows = [
        (1, 300, None, wait, 600, "stop a0"),
        (2, 300, None, wait, 600, "back-off a"),
        (2, 300, None, refuse, 600, "refuse BackOff"),
        (2, 300, Some(31), refuse, 600, "stop a0"),
        (2, 300, Some(30), refuse, 600, "refuse BackOff"),
        (2, 300, None, wait, 500, "refuse BackOff"),
        (1, 300, Some(0), refuse, 600, "refuse BackOff"),
        (4, 1, None, refuse, 600, "stop a0"),
    ];
    for (count, longest, allowed, policy, deadline, wanted) in rows {
        let mut seen = seen(&["b", "a"]);
        restarted_before(&mut seen, count);
        seen.back_off = BackOff::with_longest(Duration::from_secs(longest));
        seen.spec.strategy.max_back_off_seconds = allowed;
        seen.spec.strategy.back_off_policy = policy;
        seen.spec.active_deadline_seconds = Some(deadline);
        let decision = seen.look(2000);
        let wanted = wanted.replace("stop a0", "stop b0");
        assert_eq!(
            words(&decision.step),
            wanted,
            "{count} restarts, {longest} s, {allowed:?} {policy:?} {deadline}"
        );
        if wanted == "back-off a" {
            assert_eq!(decision.look_again, Some(at(2501)));
            assert_eq!(
                decision.status.containers[1].foreseen_back_off_seconds,
                Some(31)
            );
            assert_eq!(words(&seen.look(2500).step), "back-off a");
            assert_eq!(words(&seen.look(2501).step), "stop b0");
        }
        if wanted.starts_with("refuse") {
            assert!(
                decision
                    .status
                    .message
                    .contains("maxContainerRestartPeriod")
            );
        }
    }
}

#[test]
fn a_container_that_kubelet_keeps_down_past_the_deadline_fails_at_once_with_the_time() {
    let mut seen = seen(&["a"]);
    restarted_before(&mut seen, 5);
    seen.spec.strategy.max_back_off_seconds = Some(1000);
    seen.spec.active_deadline_seconds = Some(100);
    assert_eq!(words(&seen.look(2000).step), "stop a0");
    seen.ends("a0", 2004, 0);
    assert_step(
        &seen.look(2004),
        "wait container a: for kubelet to start it again",
    );
    seen.of_pod("a").waiting = Some(Waiting {
        reason: "CrashLoopBackOff".to_owned(),
        message: "back-off 2m40s restarting failed container=a pod=shop_x(uid)".to_owned(),
    });
    let decision = seen.look(2004);
    assert_eq!(words(&decision.step), "failed BackOff");
    assert_eq!(
        decision.status.containers[0].backoff_until,
        Some(at(2004 + 160 + 31))
    );
}

#[test]
fn what_has_ended_already_is_not_stopped_and_must_come_back() {
    let mut seen = seen(&["a"]);
    seen.ends("a0", 1995, 1);
    assert_step(
        &seen.look(2000),
        "wait container a: for kubelet to start it again",
    );
    seen.comes_back("a", 1, 2001);
    seen.look(2002);
    assert_eq!(words(&seen.look(2007).step), "succeeded");
    assert_eq!(seen.status.containers[0].killed_at, None);
}

#[test]
fn what_kubelet_replaced_meanwhile_counts_as_stopped() {
    let mut seen = seen(&["a"]);
    seen.of_pod("a").started = false;
    assert_step(&seen.look(2000), "wait");
    seen.ends("a0", 2001, 0);
    seen.comes_back("a", 1, 2002);
    assert_step(
        &seen.look(2002),
        "wait container a: for it to be ready until",
    );
    assert_eq!(words(&seen.look(2007).step), "succeeded");
    assert_eq!(seen.status.containers[0].killed_at, None);
}

#[test]
fn nothing_is_stopped_at_the_deadline() {
    let mut seen = seen(&["a", "b"]);
    seen.spec.active_deadline_seconds = Some(13);
    seen.spec.strategy.ordered = true;
    assert_eq!(words(&seen.look(2002).step), "stop a0");
    seen.ends("a0", 2002, 0);
    seen.comes_back("a", 1, 2002);
    seen.spec.strategy.min_started_seconds = Some(0);
    let decision = seen.look(2003);
    assert_eq!(words(&decision.step), "failed DeadlineExceeded");
    assert!(
        decision
            .status
            .message
            .contains("waited to stop container b"),
        "{}",
        decision.status.message
    );
    assert_eq!(decision.status.containers[1].phase, ContainerPhase::Pending);
    let mut seen = self::seen(&["a"]);
    seen.created_at = at(1400);
    assert_step(&seen.look(2000), "failed DeadlineExceeded");
}

#[test]
fn what_is_found_done_after_the_deadline_has_succeeded() {
    let mut seen = restarted(&["a"]);
    seen.look(2580);
    assert_eq!(words(&seen.look(2600).step), "succeeded");
}

#[test]
fn the_pod_is_unready_first_and_given_back_at_the_end() {
    let mut seen = seen(&["a"]);
    seen.spec.strategy.unready_grace_period_seconds = Some(3);
    assert_eq!(words(&seen.look(2000).step), "hold");
    assert_eq!(seen.status.phase, Phase::Draining);
    seen.pod().gate.held = true;
    assert_eq!(words(&seen.look(2000).step), "unready false");
    seen.pod().gate.pod_ready = false;
    let decision = seen.look(2001);
    assert_eq!(
        (words(&decision.step).as_str(), decision.look_again),
        ("unready true", Some(at(2004)))
    );
    seen.pod().gate.pod_ready = true;
    assert_eq!(words(&seen.look(2003).step), "unready false");
    seen.pod().gate.pod_ready = false;
    seen.look(2004);
    assert_eq!(words(&seen.look(2007).step), "stop a0");
    seen.ends("a0", 2010, 0);
    seen.comes_back("a", 1, 2010);
    seen.look(2010);
    assert_eq!(words(&seen.look(2015).step), "release");
    assert_eq!(seen.status.phase, Phase::Recreating);
    seen.pod().gate.held = false;
    assert_eq!(words(&seen.look(2016).step), "succeeded");
}

#[test]
fn the_gate_is_given_back_on_every_way_out() {
    let ways: &[(&str, Change)] = &[
        ("failed PodGone", |seen| seen.pod().deleting = true),
        ("failed SandboxChanged", |seen| {
            seen.sandbox().id = "box2".to_owned();
        }),
        ("failed DeadlineExceeded", |seen| seen.created_at = at(0)),
        ("release", |seen| seen.deleting = true),
    ];
    for (way, change) in ways {
        let mut seen = seen(&["a"]);
        seen.spec.strategy.unready_grace_period_seconds = Some(0);
        (seen.pod().gate.held, seen.pod().gate.pod_ready) = (true, false);
        assert_eq!(words(&seen.look(2000).step), "stop a0");
        change(&mut seen);
        assert_step(&seen.look(2001), way);
        assert_eq!(words(&seen.look(2002).step), "release");
        let pod = std::mem::replace(&mut seen.pod, PodView::Unknown);
        assert_step(
            &seen.look(2003),
            "wait to know whether the Pod is still held",
        );
        seen.pod = pod;
        seen.pod().gate.held = false;
        assert_eq!(words(&seen.look(2004).step), "finished");
    }
}

#[test]
fn a_request_that_is_deleted_stops_nothing_more() {
    let mut seen = seen(&["a"]);
    seen.deleting = true;
    assert_eq!(words(&seen.look(2000).step), "finished");
}

#[test]
fn a_stop_that_was_cut_short_is_finished_once_without_its_hook_being_asked_for_again() {
    let mut seen = seen(&["a"]);
    assert_eq!(words(&seen.look(2000).step), "stop a0");
    assert_eq!(
        seen.look(2001).look_again,
        Some(at(2042)),
        "grace period, two seconds, slack"
    );
    seen.stopping.insert("a0".to_owned());
    assert_step(&seen.look(2100), "wait container a: for it to end");
    seen.stopping.clear();
    assert_eq!(words(&seen.look(2100).step), "resume a0");
    assert_step(&seen.look(2101), "wait container a: for it to end");
    assert_eq!(words(&seen.look(2142).step), "failed NotStopped");
}

#[test]
fn once_accepted_a_restart_goes_on_without_the_api_server() {
    let mut seen = seen(&["a", "b"]);
    assert_eq!(words(&seen.look(2000).step), "stop a0");
    let pod = std::mem::replace(&mut seen.pod, PodView::Unknown);
    assert_eq!(words(&seen.look(2000).step), "stop b0");
    seen.pod = pod;
    for name in ["a", "b"] {
        seen.ends(&format!("{name}0"), 2003, 0);
        seen.comes_back(name, 1, 2004);
    }
    let pod = std::mem::replace(&mut seen.pod, PodView::Unknown);
    assert_step(
        &seen.look(2004),
        "wait container a: to know whether it is ready",
    );
    seen.pod = pod;
    seen.look(2005);
    assert_eq!(words(&seen.look(2010).step), "succeeded");
}

#[test]
fn stop_settings_that_become_unreadable_fail_the_container() {
    let mut seen = seen(&["a"]);
    seen.of_pod("a").started = false;
    seen.look(2000);
    seen.of_pod("a").started = true;
    seen.live("a0").stop = Err("unreadable".to_owned());
    assert_eq!(words(&seen.look(2001).step), "refuse StopSettings");
}

#[test]
fn the_same_look_gives_the_same_decision_and_a_stored_stop_no_second_one() {
    let mut seen = seen(&["a"]);
    assert_eq!(plan(&seen), plan(&seen));
    seen.look(2000);
    for now in 2000..2042 {
        assert_step(&seen.look(now), "wait");
    }
}

#[test]
fn words_of_others_are_cut_to_what_the_api_server_takes() {
    let mut seen = seen(&["a"]);
    seen.status.message = "ä".repeat(TEXT_LIMIT + 1);
    seen.status.phase = Phase::Failed;
    let decision = plan(&seen);
    assert_eq!(decision.status.message, "ä".repeat(TEXT_LIMIT));
}
