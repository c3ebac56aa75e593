//! What is asked of the node's agent, or why that makes no sense. Pure.
//!
//! Refused here is what is plain to see: the agent judges again, and finally.

use anyhow::{Result, bail};
use proto_crd::container_restart::{
    BackOffPolicy, ContainerRestartSpec, FailurePolicy, Strategy, Target,
};

use super::RestartArgs;
use crate::running::RunningPod;

/// The request.
pub(super) fn request(args: &RestartArgs, pod: &RunningPod) -> Result<ContainerRestartSpec> {
    let key = pod.key();
    if let Some(unfit) = pod.unfit {
        bail!("Pod {key} cannot be restarted in place: {unfit}");
    }
    let mut containers: Vec<Target> = Vec::new();
    for name in &args.containers {
        if pod.container(name).is_none() {
            bail!(
                "Pod {key} has no container {name}; it has {}",
                pod.container_names()
            );
        }
        if containers.iter().any(|it| it.name == *name) {
            bail!("container {name} is named twice");
        }
        containers.push(Target { name: name.clone() });
    }
    if containers.is_empty() {
        containers.extend(pod.containers.iter().map(|it| Target {
            name: it.name.clone(),
        }));
    }
    if args.unready.is_some() && pod.gate.is_none() {
        bail!(
            "Pod {key} lacks the readiness gate berth.dev/ServiceReady, by which it is made unready: leave out --unready, or create it \
             with the gate (spec.readinessGates)"
        );
    }
    Ok(ContainerRestartSpec {
        node_name: pod.node.clone().unwrap_or_default(),
        pod_name: pod.name.clone(),
        pod_uid: pod.uid.clone(),
        containers,
        strategy: Strategy {
            ordered: args.ordered,
            failure_policy: if args.ignore_failures {
                FailurePolicy::Ignore
            } else {
                FailurePolicy::Fail
            },
            termination_grace_period_seconds: args.grace,
            unready_grace_period_seconds: args.unready,
            min_started_seconds: args.min_ready,
            force: args.force,
            max_back_off_seconds: args.max_back_off,
            back_off_policy: if args.refuse_back_off {
                BackOffPolicy::Refuse
            } else {
                BackOffPolicy::Wait
            },
        },
        active_deadline_seconds: args.deadline,
        ttl_seconds_after_finished: Some(args.keep),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::running::{GateSeen, RunningContainer};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RestartArgs,
    }

    fn asked(words: &str, change: fn(&mut RunningPod)) -> Result<ContainerRestartSpec> {
        let words = ["restart", "shop-0"]
            .into_iter()
            .chain(words.split_whitespace());
        let mut pod = RunningPod {
            namespace: "prod".to_owned(),
            name: "shop-0".to_owned(),
            uid: "u".to_owned(),
            node: Some("n1".to_owned()),
            gate: Some(GateSeen::default()),
            containers: ["main", "side"]
                .map(|name| RunningContainer {
                    name: name.to_owned(),
                    ..RunningContainer::default()
                })
                .into(),
            ..RunningPod::default()
        };
        change(&mut pod);
        request(&Line::parse_from(words).args, &pod)
    }

    #[test]
    fn without_a_word_all_containers_are_restarted_with_the_agents_own_defaults() {
        let spec = asked("", |_| {}).unwrap();
        let names: Vec<_> = spec.containers.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["main", "side"]);
        assert_eq!(
            (
                spec.node_name.as_str(),
                spec.pod_name.as_str(),
                spec.pod_uid.as_str()
            ),
            ("n1", "shop-0", "u")
        );
        assert_eq!(spec.strategy, Strategy::default());
        assert_eq!(spec.active_deadline_seconds, None);
        assert_eq!(spec.ttl_seconds_after_finished, Some(3600));
    }

    #[test]
    fn every_word_is_in_the_request() {
        let words = "-c side -c main --ordered --ignore-failures --force --grace 7 --unready 3 --min-ready 2 --deadline 60 \
                     --max-back-off 40 --refuse-back-off --keep 5";
        let spec = asked(words, |_| {}).unwrap();
        let text = serde_json::to_value(&spec).unwrap();
        let wanted = serde_json::json!({
            "nodeName": "n1", "podName": "shop-0", "podUID": "u", "containers": [{"name": "side"}, {"name": "main"}],
            "strategy": {
                "ordered": true, "failurePolicy": "Ignore", "terminationGracePeriodSeconds": 7,
                "unreadyGracePeriodSeconds": 3, "minStartedSeconds": 2, "force": true, "maxBackOffSeconds": 40,
                "backOffPolicy": "Refuse",
            },
            "activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 5,
        });
        assert_eq!(text, wanted);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_cause() {
        type Row = (&'static str, fn(&mut RunningPod), &'static str);
        let rows: [Row; 4] = [
            (
                "-c other",
                |_| {},
                "has no container other; it has main, side",
            ),
            ("-c main -c main", |_| {}, "named twice"),
            (
                "--unready 3",
                |pod| pod.gate = None,
                "lacks the readiness gate",
            ),
            ("", |pod| pod.unfit = Some("it has ended"), "it has ended"),
        ];
        for (words, change, cause) in rows {
            let said = asked(words, change).unwrap_err().to_string();
            assert!(said.contains(cause), "{words}: {said}");
        }
    }
}
