//! The logs of many nodes as one. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::Serialize;

use crate::claims::ClaimSeen;
use crate::cluster::exec::Answers;
use crate::ipamd::{Audit, Holders};
use crate::output::{Cell, Paint, Tone, chain, columns};

/// Container ids have 64 digits; people tell them apart by fewer.
const SHORT_ID: usize = 13;

/// Silent nodes that are told each with its reason; a rack has some tens.
const NAMED: usize = 20;

/// Who had an address when.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct History {
    address: IpAddr,
    /// Who has it now, by the claims.
    now: Vec<Holder>,
    /// Oldest first.
    lines: Vec<Line>,
    /// How many nodes have answered.
    answered: usize,
    /// Who has not.
    silent: Vec<Silent>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Holder {
    network: String,
    node: String,
    identity: Option<String>,
    words: String,
}

#[derive(Debug, Serialize)]
struct Line {
    node: String,
    /// What it is now; nothing: it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(flatten)]
    audit: Audit,
}

#[derive(Debug, Serialize)]
struct Silent {
    node: String,
    why: String,
}

impl History {
    /// By what the nodes have said. A node without an answer was not asked any more.
    pub(super) fn of(
        address: IpAddr,
        claims: &[ClaimSeen],
        nodes: &BTreeSet<String>,
        mut answers: Answers<Holders>,
    ) -> Self {
        let mut history = Self {
            address,
            now: claims.iter().map(holder).collect(),
            lines: Vec::new(),
            answered: 0,
            silent: Vec::new(),
        };
        for node in nodes {
            match answers.remove(node) {
                Some(Ok(told)) => {
                    history.answered += 1;
                    history.lines.extend(lines(node, told));
                }
                Some(Err(error)) => history.silence(node, chain(&error)),
                None => history.silence(node, "it was not asked any more".to_owned()),
            }
        }
        // RFC 3339 in one form and zone: as texts they are in the order of time.
        history.lines.sort_by(|one, other| {
            let key = |line: &Line| (line.audit.from.clone(), line.node.clone());
            key(one).cmp(&key(other))
        });
        history
    }

    fn silence(&mut self, node: &str, why: String) {
        self.silent.push(Silent {
            node: node.to_owned(),
            why,
        });
    }

    /// Nobody's part is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.silent.is_empty()
    }

    /// For people.
    pub(super) fn text(&self, paint: Paint, wide: bool) -> String {
        let mut text = String::new();
        for holder in &self.now {
            let whose = holder.identity.as_deref().unwrap_or("nobody");
            let _ = writeln!(
                text,
                "{} of network {} is node {}'s: {} for {whose}",
                self.address, holder.network, holder.node, holder.words
            );
        }
        if self.now.is_empty() {
            let _ = writeln!(text, "{} is claimed by no node now", self.address);
        }
        text.push('\n');
        if self.lines.is_empty() {
            let _ = writeln!(text, "No node that answered has had it in use.");
        } else if wide {
            text += &self.wide(paint);
        } else {
            text += &self.table(paint);
        }
        if !self.silent.is_empty() {
            let head = format!(
                "\nOf {} nodes {} did not answer; what they know is missing above:",
                self.answered + self.silent.len(),
                self.silent.len()
            );
            let _ = writeln!(text, "{}", paint.paint(Tone::Doubtful, &head));
            for silent in self.silent.iter().take(NAMED) {
                let _ = writeln!(text, "  {}: {}", silent.node, silent.why);
            }
            if self.silent.len() > NAMED {
                let more = self.silent[NAMED..].iter().map(|it| it.node.as_str());
                let _ = writeln!(text, "  {}", more.collect::<Vec<_>>().join(", "));
            }
        }
        text
    }

    fn table(&self, paint: Paint) -> String {
        let rows = self.lines.iter().map(|line| {
            [
                seconds(&line.audit.from).into(),
                to(line),
                line.node.as_str().into(),
                or_dash(&line.audit.identity).into(),
                or_dash(&line.audit.mac).into(),
                line.audit.ended.as_str().into(),
            ]
        });
        columns(
            ["FROM", "TO", "NODE", "IDENTITY", "MAC", "ENDED"],
            rows,
            paint,
        )
    }

    fn wide(&self, paint: Paint) -> String {
        let rows = self.lines.iter().map(|line| {
            let sandbox: String = line.audit.sandbox.chars().take(SHORT_ID).collect();
            [
                seconds(&line.audit.from).into(),
                to(line),
                line.node.as_str().into(),
                line.audit.network.as_str().into(),
                or_dash(&line.audit.identity).into(),
                or_dash(&line.audit.mac).into(),
                or_dash(&sandbox).into(),
                or_dash(&line.audit.pod_uid).into(),
                line.audit.ended.as_str().into(),
            ]
        });
        let headings = [
            "FROM", "TO", "NODE", "NETWORK", "IDENTITY", "MAC", "SANDBOX", "POD-UID", "ENDED",
        ];
        columns(headings, rows, paint)
    }
}

/// What a node's log has, and what lasts there, which is in no log.
fn lines(node: &str, told: Holders) -> Vec<Line> {
    let ended = told.log.into_iter().map(|audit| Line {
        node: node.to_owned(),
        state: None,
        audit,
    });
    let lasting = told.current.into_iter().chain(told.others);
    let lasting = lasting.filter(|it| !it.identity.is_empty()).map(|it| Line {
        node: node.to_owned(),
        state: Some(it.state),
        audit: Audit {
            address: it.address,
            network: it.network,
            identity: it.identity,
            pod_uid: it.pod_uid,
            sandbox: it.attachment.unwrap_or_default().sandbox,
            mac: it.mac,
            from: it.since,
            ..Audit::default()
        },
    });
    ended.chain(lasting).collect()
}

fn holder(claim: &ClaimSeen) -> Holder {
    Holder {
        network: claim.spec.network.clone(),
        node: claim.spec.node.clone(),
        identity: claim.identity().map(ToOwned::to_owned),
        words: claim.words(),
    }
}

fn to(line: &Line) -> Cell {
    match &line.state {
        Some(state) => Cell::new(Tone::Fine, format!("still {state}")),
        None => seconds(&line.audit.to).into(),
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// Whole seconds: what people compare. Programs get the milliseconds.
fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, rest)) if rest.ends_with('Z') => format!("{seconds}Z"),
        _ => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::fixture::{bound, claim};
    use crate::cluster::exec::AskNodeError;
    use crate::ipamd::Binding;

    fn line(identity: &str, from: &str, to: &str) -> Audit {
        Audit {
            identity: identity.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            ..Audit::default()
        }
    }

    fn history() -> History {
        let told = |log, current| {
            Ok(Holders {
                log,
                current,
                others: Vec::new(),
            })
        };
        let lasting = Binding {
            state: "attached".to_owned(),
            identity: "prod/db-0".to_owned(),
            since: "2026-01-04T00:00:00.000Z".to_owned(),
            ..Binding::default()
        };
        let answers = Answers::from([
            (
                "n1".to_owned(),
                told(
                    vec![line(
                        "prod/db-0",
                        "2026-01-01T00:00:00.500Z",
                        "2026-01-02T00:00:00.000Z",
                    )],
                    Some(lasting),
                ),
            ),
            (
                "n2".to_owned(),
                told(
                    vec![line(
                        "prod/x",
                        "2026-01-03T00:00:00.000Z",
                        "2026-01-03T01:00:00.000Z",
                    )],
                    // Set aside for nobody.
                    Some(Binding::default()),
                ),
            ),
            ("n3".to_owned(), Err(AskNodeError::NoPod)),
        ]);
        let nodes = ["n1", "n2", "n3", "n4"].map(ToOwned::to_owned).into();
        let claims = [claim(
            "10.20.1.100",
            &bound("prod/db-0", "10.20.1.100", true),
        )];
        History::of("10.20.1.100".parse().unwrap(), &claims, &nodes, answers)
    }

    #[test]
    fn logs_of_all_nodes_are_one_in_the_order_of_time() {
        let history = history();
        let lines: Vec<_> = history
            .lines
            .iter()
            .map(|it| (it.node.as_str(), it.audit.identity.as_str()))
            .collect();
        assert_eq!(
            lines,
            [("n1", "prod/db-0"), ("n2", "prod/x"), ("n1", "prod/db-0")]
        );
        let json = serde_json::to_value(&history).unwrap();
        assert_eq!(json["lines"][1]["node"], "n2");
        assert_eq!(json["lines"][1]["from"], "2026-01-03T00:00:00.000Z");
    }

    #[test]
    fn who_did_not_answer_is_named_with_the_reason() {
        let history = history();
        assert!(!history.is_whole());
        let text = history.text(Paint::NONE, false);
        for words in [
            "10.20.1.100 of network external is node n1's: attached for prod/db-0",
            "2026-01-01T00:00:00Z   2026-01-02T00:00:00Z   n1",
            "still attached",
            "Of 4 nodes 2 did not answer",
            "n3: there is no Pod of berth-ipamd on it",
            "n4: it was not asked any more",
        ] {
            assert!(text.contains(words), "no {words:?} in {text}");
        }
        assert!(history.text(Paint::NONE, true).contains("POD-UID"));
    }
}
