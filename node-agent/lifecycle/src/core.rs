//! One leader's term of deciding: what it has seen so far, and the step.

use proto_ids::NodeName;

use crate::action::Order;
use crate::config::Config;
use crate::decision::{Decision, DecisionId, Hash, Hold, Outcome};
use crate::moment::Moment;
use crate::observation::Observations;
use crate::phase::Phase;
use crate::verdict::Verdict;

/// What comes of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To be written down, before anything is done.
    pub decisions: Vec<Decision>,
    /// To be done, one after the other, each after [`Core::confirm`].
    pub orders: Vec<Order>,
    /// Orders about these nodes that are not carried out yet are to be dropped: the node is back.
    pub cancelled: Vec<NodeName>,
    /// The Leases of these nodes are to be read from the API server itself, and `kubelet_lease_read` set. Until then they are not stale.
    pub reread: Vec<NodeName>,
}

/// Why an order is not to be carried out any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something holds it.
    #[error("held: {0:?}")]
    Held(Hold),
    /// It is not what the rule's mode allows.
    #[error("the rule is not enforced here")]
    NotEnforced,
    /// It is too old.
    #[error("the order is too old; the next step gives it again if it is still due")]
    Old,
    /// The node is not what it was.
    #[error("the node is {0} by now")]
    Verdict(Verdict),
    /// The node is not there any more.
    #[error("the node is gone")]
    NoNode,
    /// The Pod is not what it was.
    #[error("the Pod is not what it was")]
    Pod,
}

/// One leader's term of deciding.
#[derive(Clone, Debug)]
pub struct Core {
    config: Config,
    term: u64,
    previous: Hash,
}

impl Core {
    /// At the start of a term: nothing is known, every age starts now. `previous` is the hash of the last record there is.
    pub fn new(config: Config, term: u64, now: Moment, previous: Hash) -> Self {
        let _ = now;
        Self {
            config,
            term,
            previous,
        }
    }

    /// Looks at everything, and decides.
    pub fn step(&mut self, now: Moment, seen: &Observations) -> Step {
        let _ = (now, seen, &self.config, self.term, self.previous);
        Step::default()
    }

    /// Whether an order is still to be carried out, by what is seen now. To be asked right before each.
    ///
    /// # Errors
    /// Why it is not.
    pub fn confirm(&self, now: Moment, seen: &Observations, order: &Order) -> Result<(), Refusal> {
        let _ = (now, seen, order);
        Err(Refusal::Old)
    }

    /// Writes down what became of an order.
    pub fn outcome(&mut self, now: Moment, of: DecisionId, outcome: Outcome) -> Option<Decision> {
        let _ = (now, of, outcome);
        None
    }

    /// What a node is, and where it is in its life.
    pub fn node(&self, name: &NodeName) -> Option<(Verdict, Phase)> {
        let _ = name;
        None
    }
}
