//! What is looked at, and what one look says.

use proto_crd::node_health::Decision;

/// Something that is looked at: its name, as it is reported, logged and labelled. Each is declared once, by the module that looks;
/// the table of rules ([`super::assess`]) has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Signal(&'static str);

impl Signal {
    /// Small letters, digits and dashes, 40 characters at most: what `NodeHealth` accepts.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// As it is reported, logged and labelled.
    pub(crate) const fn as_str(self) -> &'static str {
        self.0
    }
}

/// What one look at a signal said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Which.
    pub(crate) signal: Signal,
    /// What was seen, in few words.
    pub(crate) value: String,
    /// Whether it is as it should be.
    pub(crate) finding: Finding,
    /// What this one look is reason enough for, where that is more than the signal's rule says.
    pub(crate) urges: Option<Decision>,
}

/// Whether what was seen is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It is.
    Good,
    /// It is not.
    Bad(Trouble),
    /// This node has no such thing (a kernel without it, a network without a gateway): nothing can be wrong with it.
    Absent,
    /// The look said nothing: counts as no look at all.
    Unclear {
        /// Why.
        why: String,
    },
}

/// What is wrong, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// One word for it: while it is the same, the trouble is the same one, whatever the figures in the texts.
    pub(crate) kind: &'static str,
    /// What is the case.
    pub(crate) message: String,
    /// What it means for the Pods of the node.
    pub(crate) impact: String,
    /// What to do.
    pub(crate) advice: String,
}

impl Verdict {
    /// As it should be.
    pub(crate) fn good(signal: Signal, value: impl Into<String>) -> Self {
        Self {
            signal,
            value: value.into(),
            finding: Finding::Good,
            urges: None,
        }
    }

    /// Not as it should be.
    pub(crate) fn bad(signal: Signal, value: impl Into<String>, trouble: Trouble) -> Self {
        Self {
            signal,
            value: value.into(),
            finding: Finding::Bad(trouble),
            urges: None,
        }
    }

    /// What was seen is so bad that it is reason enough for more than the signal's rule says: where every look of as many as the rule
    /// needs to set says so.
    pub(crate) fn urging(mut self, decision: Decision) -> Self {
        self.urges = Some(decision);
        self
    }

    /// This node has no such thing, and why.
    pub(crate) fn absent(signal: Signal, why: impl Into<String>) -> Self {
        Self {
            signal,
            value: why.into(),
            finding: Finding::Absent,
            urges: None,
        }
    }

    /// The look said nothing.
    pub(crate) fn unclear(signal: Signal, why: impl Into<String>) -> Self {
        Self {
            signal,
            value: String::new(),
            finding: Finding::Unclear { why: why.into() },
            urges: None,
        }
    }
}
