//! What has become of a request, line by line as it happens, and its verdict. Pure.

use std::collections::BTreeMap;

use proto_crd::container_restart::{
    ContainerPhase, ContainerRestartSpec, ContainerRestartStatus, ContainerStatus, Phase,
};

use crate::output::{Tone, chain};

/// What was said already.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    whole: String,
    containers: BTreeMap<String, String>,
    lost: bool,
}

impl Told {
    /// What is new.
    pub(super) fn lines(&mut self, status: &ContainerRestartStatus) -> Vec<String> {
        let mut lines = Vec::new();
        if std::mem::take(&mut self.lost) {
            lines.push("the API server answers again".to_owned());
        }
        let whole = whole(status);
        if whole != self.whole && !whole.is_empty() {
            lines.push(whole.clone());
            self.whole = whole;
        }
        for container in &status.containers {
            let words = words(container);
            let said = self.containers.entry(container.name.clone()).or_default();
            if words != *said && !words.is_empty() {
                lines.push(format!("{}: {words}", container.name));
                said.clone_from(&words);
            }
        }
        lines
    }

    /// The request could not be read; said once.
    pub(super) fn lose(&mut self, error: &anyhow::Error) {
        if !std::mem::replace(&mut self.lost, true) {
            let text = chain(error.as_ref());
            crate::output::print_remark(&format!("{text}; the request goes on without it"));
        }
    }
}

fn whole(status: &ContainerRestartStatus) -> String {
    match status.phase {
        Phase::Pending if status.message.is_empty() => String::new(),
        Phase::Pending => format!("waits {}", status.message),
        Phase::Draining => "the Pod is made unready".to_owned(),
        // Each container tells of itself, and the end has lines of its own.
        Phase::Recreating | Phase::Succeeded | Phase::Failed => String::new(),
    }
}

fn words(container: &ContainerStatus) -> String {
    match container.phase {
        ContainerPhase::Pending => container
            .foreseen_back_off_seconds
            .filter(|seconds| *seconds > 0)
            .map(|seconds| format!("kubelet will keep it down for {seconds} s at most (back-off)"))
            .unwrap_or_default(),
        ContainerPhase::Recreating if container.started_at.is_some() => {
            "runs again, not yet ready for long enough".to_owned()
        }
        ContainerPhase::Recreating => match &container.backoff_until {
            Some(until) => {
                format!("stopped; kubelet keeps it down until {until} at most (back-off)")
            }
            None => "stopped; kubelet starts it again".to_owned(),
        },
        ContainerPhase::Succeeded => "runs again, and is ready".to_owned(),
        ContainerPhase::Failed => format!("failed: {}", container.message),
    }
}

/// The end.
pub(super) fn verdict(status: &ContainerRestartStatus) -> (Tone, String) {
    if status.phase == Phase::Succeeded {
        let unchanged = status.sandbox.as_ref().map_or_else(String::new, |it| {
            format!(", sandbox and address unchanged ({})", it.ips.join(", "))
        });
        return (
            Tone::Fine,
            format!("Succeeded: {}{unchanged}", status.message),
        );
    }
    let reason = status
        .reason
        .map_or_else(String::new, |it| format!(" ({it:?})"));
    (Tone::Wrong, format!("Failed{reason}: {}", status.message))
}

/// The containers that are asked for.
pub(super) fn names(spec: &ContainerRestartSpec) -> String {
    let names: Vec<_> = spec.containers.iter().map(|it| it.name.as_str()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use proto_crd::container_restart::{Reason, SandboxBefore};
    use proto_crd::time::Timestamp;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_milliseconds(seconds * 1000)
    }

    fn status(phase: Phase, container: &ContainerStatus) -> ContainerRestartStatus {
        ContainerRestartStatus {
            phase,
            containers: vec![ContainerStatus {
                name: "main".to_owned(),
                ..container.clone()
            }],
            ..ContainerRestartStatus::default()
        }
    }

    #[test]
    fn each_step_is_told_once() {
        let mut told = Told::default();
        let none = ContainerStatus::default();
        let back_off = ContainerStatus {
            foreseen_back_off_seconds: Some(16),
            ..none.clone()
        };
        let stopped = ContainerStatus {
            phase: ContainerPhase::Recreating,
            killed_at: Some(at(1)),
            ..none.clone()
        };
        let kept_down = ContainerStatus {
            backoff_until: Some(at(10)),
            ..stopped.clone()
        };
        let runs = ContainerStatus {
            started_at: Some(at(3)),
            ..stopped.clone()
        };
        let ready = ContainerStatus {
            phase: ContainerPhase::Succeeded,
            ..runs.clone()
        };
        for (phase, container, words) in [
            (Phase::Pending, &none, ""),
            (
                Phase::Pending,
                &back_off,
                "main: kubelet will keep it down for 16 s at most",
            ),
            (Phase::Draining, &none, "the Pod is made unready"),
            (Phase::Draining, &none, ""),
            (
                Phase::Recreating,
                &stopped,
                "main: stopped; kubelet starts it again",
            ),
            (
                Phase::Recreating,
                &kept_down,
                "main: stopped; kubelet keeps it down until 1970-01-01T00:00:10Z",
            ),
            (Phase::Recreating, &runs, "main: runs again, not yet"),
            (Phase::Recreating, &runs, ""),
            (Phase::Succeeded, &ready, "main: runs again, and is ready"),
            (Phase::Succeeded, &ready, ""),
        ] {
            let lines = told.lines(&status(phase, container)).join("\n");
            assert!(lines.starts_with(words), "{lines:?}, wanted {words:?}");
            assert_eq!(lines.is_empty(), words.is_empty(), "{lines:?}");
        }
    }

    #[test]
    fn who_waits_is_told_for_what() {
        let mut told = Told::default();
        let mut status = ContainerRestartStatus {
            message: "for 1 earlier request(s) for this Pod, shop-1 first".to_owned(),
            ..ContainerRestartStatus::default()
        };
        assert_eq!(told.lines(&status).len(), 1);
        assert_eq!(told.lines(&status).len(), 0);
        status.message = "for the container runtime to answer".to_owned();
        assert_eq!(
            told.lines(&status),
            ["waits for the container runtime to answer"]
        );
    }

    #[test]
    fn verdict_names_the_reason_or_what_did_not_change() {
        let mut status = ContainerRestartStatus {
            phase: Phase::Succeeded,
            message: "every container runs anew and is ready".to_owned(),
            sandbox: Some(SandboxBefore {
                id: "s".to_owned(),
                ips: vec!["10.20.1.100".to_owned()],
                mac: None,
            }),
            ..ContainerRestartStatus::default()
        };
        let (tone, text) = verdict(&status);
        assert_eq!(tone, Tone::Fine);
        assert!(text.ends_with("unchanged (10.20.1.100)"), "{text}");
        status.phase = Phase::Failed;
        status.reason = Some(Reason::DeadlineExceeded);
        status.message = "not done".to_owned();
        assert_eq!(
            verdict(&status),
            (
                Tone::Wrong,
                "Failed (DeadlineExceeded): not done".to_owned()
            )
        );
    }
}
