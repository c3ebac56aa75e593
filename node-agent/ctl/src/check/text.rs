//! How findings are told to people. Pure.

use std::fmt::Write as _;

use super::Report;
use crate::output::{Paint, Tone};

/// A paragraph for each finding, then what was looked at.
pub(super) fn text(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let head = format!("{}: {}", finding.kind.words(), finding.subject);
        let _ = writeln!(
            text,
            "{}\n  what    {}\n  to do   {}\n",
            paint.paint(Tone::Wrong, &head),
            finding.what,
            finding.advice
        );
    }
    let looked = report.looked_at;
    let _ = write!(
        text,
        "Looked at {} pools, {} claims, {} Pods with addresses, {} nodes, and the books of {} nodes: ",
        looked.pools, looked.claims, looked.pods, looked.nodes, looked.nodes_asked
    );
    text += &match report.findings.len() {
        0 => paint.paint(Tone::Fine, "nothing found"),
        1 => paint.paint(Tone::Wrong, "1 finding"),
        many => paint.paint(Tone::Wrong, &format!("{many} findings")),
    };
    text.push('\n');
    if let Some(why) = &report.nodes_not_asked {
        let line =
            format!("The nodes were not asked, so kernel and books were not compared: {why}");
        text += &paint.paint(Tone::Doubtful, &line);
        text.push('\n');
    }
    if looked.pools == 0 && looked.claims == 0 {
        text += "There are no Pools: addresses are those of ipamd.toml, and only the nodes themselves know of them\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::plan::{Finding, Kind};

    #[test]
    fn people_see_what_to_do_and_what_was_not_looked_at() {
        let mut report = Report {
            nodes_not_asked: Some("--no-exec".to_owned()),
            ..Report::default()
        };
        report.looked_at.pools = 1;
        let text_of = |report: &Report| text(report, Paint::NONE);
        assert_eq!(
            text_of(&report),
            "Looked at 1 pools, 0 claims, 0 Pods with addresses, 0 nodes, and the books of 0 nodes: nothing found\n\
             The nodes were not asked, so kernel and books were not compared: --no-exec\n"
        );
        report.findings.push(Finding {
            kind: Kind::PodsShareAddress,
            subject: "10.20.1.100".into(),
            what: "two".into(),
            advice: "look".into(),
        });
        let text = text_of(&report);
        assert!(
            text.starts_with(
                "two Pods have one address: 10.20.1.100\n  what    two\n  to do   look\n\n"
            ),
            "{text}"
        );
        assert!(text.contains(": 1 finding\n"), "{text}");
    }
}
