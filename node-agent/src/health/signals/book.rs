//! Signal `book`: the address daemon's book agrees with the runtime's sandboxes. The daemon compares them itself, every minute, and
//! says what does not fit; the look is that of [`super::ipamd`].

use proto_crd::node_health::Decision;
use proto_ipam::v1::{BookCheck, StatusResponse};

use super::ipamd::Sight;
use crate::health::assess::{PERIOD, Rule, TTL};
use crate::health::signal::{Signal, Trouble, Verdict};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("book");

/// How it is judged: what the daemon tells it has seen for minutes already.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: TTL,
    set: 3,
    clear: 2,
    decision: Decision::Observe,
    escalation: None,
    threshold: "every attachment has its sandbox, every sandbox its address; wrong when not so at 3 looks, 10 s apart",
};

/// What a look at the daemon says of its book.
pub(super) fn assess(sight: &Sight) -> Verdict {
    match sight {
        Sight::Told(status) => assess_answer(status),
        Sight::Away { .. } | Sight::Silent | Sight::Faulty { .. } | Sight::Blind { .. } => {
            Verdict::unclear(
                SIGNAL,
                "only berth-ipamd knows its book, and it does not answer",
            )
        }
    }
}

fn assess_answer(status: &StatusResponse) -> Verdict {
    let Some(book) = &status.book else {
        let why = "berth-ipamd does not say what it compares: it is of an older version";
        return Verdict::absent(SIGNAL, why);
    };
    let BookCheck {
        comparisons,
        findings,
        is_unknown,
        examples,
    } = book;
    let first = examples.first().map(String::as_str).unwrap_or_default();
    if *is_unknown {
        return Verdict::unclear(SIGNAL, first);
    }
    if *comparisons == 0 {
        return Verdict::absent(
            SIGNAL,
            "berth-ipamd has compared nothing yet, or is told to compare nothing",
        );
    }
    if *findings == 0 {
        return Verdict::good(SIGNAL, "agrees with the sandboxes");
    }
    let trouble = Trouble {
        kind: "differs",
        message: format!("{findings} things do not fit between the address daemon's book and the runtime's sandboxes: {}", examples.join("; ")),
        impact: "addresses may be used up by what is gone, or be used by what nobody knows of".to_owned(),
        advice: "kubectl berth check compares this node with the API; berth-ipamd fsck on the node names each finding \
                 (ipamd/README.md, what is left over)"
            .to_owned(),
    };
    Verdict::bad(SIGNAL, format!("{findings} differences"), trouble)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::signal::Finding;

    fn told(book: Option<BookCheck>) -> Sight {
        Sight::Told(Box::new(StatusResponse {
            book,
            ..StatusResponse::default()
        }))
    }

    fn check(comparisons: u64, examples: &[&str], is_unknown: bool) -> Sight {
        told(Some(BookCheck {
            comparisons,
            findings: examples.len() as u64,
            is_unknown,
            examples: examples.iter().map(ToString::to_string).collect(),
        }))
    }

    #[test]
    fn answers_are_judged_by_the_table() {
        let table = [
            (check(3, &[], false), "good"),
            (check(3, &["10.0.0.1 has no sandbox"], false), "bad"),
            (check(3, &["the runtime is away"], true), "unclear"),
            (check(0, &[], false), "absent"),
            (told(None), "absent"),
            (Sight::Silent, "unclear"),
        ];
        for (sight, expected) in table {
            let found = match assess(&sight).finding {
                Finding::Good => "good",
                Finding::Bad(trouble) => {
                    assert!(trouble.message.contains("10.0.0.1"), "{trouble:?}");
                    "bad"
                }
                Finding::Unclear { .. } => "unclear",
                Finding::Absent => "absent",
            };
            assert_eq!(found, expected, "{sight:?}");
        }
    }
}
