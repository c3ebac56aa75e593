//! Where decisions are written: the one way to an order, past mode, freeze, breaker, maintenance and rate.

use proto_ids::NodeName;

use super::Step;
use super::chain::{Chain, Draft};
use super::gates::Gates;
use super::memory::{Asked, Memory};
use super::pace::Pace;
use super::view::{View, place};
use crate::action::{Action, Order};
use crate::config::Config;
use crate::decision::{Budget, Change, Decision, Hash, Hold, Outcome, Subject};
use crate::evidence::Evidence;
use crate::mode::Mode;
use crate::moment::Moment;
use crate::observation::{AppName, NodeObservation, Observations};

/// Where decisions are written.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) config: Config,
    pub(super) started: Moment,
    pub(super) chain: Chain,
    pub(super) gates: Gates,
    pub(super) pods: Pace,
    pub(super) marks: Pace,
    /// How much of the budgets is in use, as of this step's last count.
    pub(super) budget: Budget,
}

/// Something that somebody wants done.
pub(super) struct Wish<'a> {
    pub(super) action: Action,
    pub(super) asked: Asked,
    pub(super) app: Option<&'a AppName>,
}

/// What became of a wish.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Granted {
    /// It was ordered, or said that it would have been.
    Yes,
    /// Not now.
    No,
}

/// One node, while something is decided about it.
pub(super) struct Subjected<'a> {
    pub(super) name: &'a NodeName,
    pub(super) node: &'a NodeObservation,
    pub(super) memory: &'a mut Memory,
}

impl Desk {
    pub(super) fn new(config: Config, term: u64, now: Moment, previous: Hash) -> Self {
        let chain = Chain::new(term, Hash::of(&config), previous);
        let budgets = &config.budgets;
        Self {
            started: now,
            chain,
            gates: Gates::default(),
            pods: Pace::per_second(budgets.pods_per_second),
            marks: Pace::per_second(budgets.marks_per_second),
            budget: Budget::default(),
            config,
        }
    }

    pub(super) fn configure(&mut self, config: Config) {
        self.chain.set_policy(Hash::of(&config));
        self.pods.set_rate(config.budgets.pods_per_second);
        self.marks.set_rate(config.budgets.marks_per_second);
        self.config = config;
    }

    /// Writes a record.
    pub(super) fn record(
        &mut self,
        now: Moment,
        subject: Subject,
        change: Change,
        evidence: Vec<Evidence>,
        outcome: Outcome,
    ) -> Decision {
        let draft = Draft {
            subject,
            change,
            evidence,
            budget: Budget {
                pods: self.pods.left(now),
                ..self.budget
            },
            breakers: self.gates.open(),
            outcome,
        };
        self.chain.append(now, draft)
    }

    /// What stops this action, whatever its rule's mode.
    pub(super) fn hold(
        &self,
        now: Moment,
        seen: &Observations,
        name: &NodeName,
        (node, memory): (&NodeObservation, &Memory),
        (action, app): (&Action, Option<&AppName>),
    ) -> Option<Hold> {
        if seen.controller.term != Some(self.chain.term) {
            return Some(Hold::NotLeading);
        }
        if let Some(by) = seen.freezes.hold(name, node, app) {
            return Some(Hold::Frozen(by.to_owned()));
        }
        if !action.disturbs() {
            return None;
        }
        if node.maintenance {
            return Some(Hold::Maintenance);
        }
        self.gates.stops(place(node, memory, now, &self.config))
    }

    /// Says once that something due is held, until the reason is another.
    pub(super) fn note_hold(
        &mut self,
        view: &View<'_>,
        about: &mut Subjected<'_>,
        hold: Hold,
        step: &mut Step,
    ) {
        if !about.memory.held.insert(hold.clone()) {
            return;
        }
        let case = view.case(about.name, about.node, about.memory, &self.config);
        let evidence = case.evidence();
        let subject = Subject::Node(about.name.clone());
        let change = Change::Held(hold);
        step.decisions
            .push(self.record(view.now, subject, change, evidence, Outcome::Recorded));
    }

    /// Does what is wished, or says that it would have, unless something stops it.
    pub(super) fn grant(
        &mut self,
        view: &View<'_>,
        about: &mut Subjected<'_>,
        wish: Wish<'_>,
        step: &mut Step,
    ) -> Granted {
        let now = view.now;
        let mode = self.config.modes.of(wish.action.rule(), &about.node.rack);
        let retry = match mode {
            Mode::Observe => return Granted::No,
            Mode::DryRun => None,
            Mode::Enforce => Some(self.config.timers.retry),
        };
        if !about.memory.may_ask(&wish.asked, retry, now) {
            return Granted::No;
        }
        let of = (about.node, &*about.memory);
        if let Some(hold) = self.hold(now, view.seen, about.name, of, (&wish.action, wish.app)) {
            self.note_hold(view, about, hold, step);
            return Granted::No;
        }
        let is_about_pod = wish.action.target().is_some();
        let pace = if is_about_pod {
            &mut self.pods
        } else {
            &mut self.marks
        };
        if pace.left(now) == 0 {
            return Granted::No;
        }
        pace.take(now);
        about.memory.ask(wish.asked, now);
        let evidence = view
            .case(about.name, about.node, about.memory, &self.config)
            .evidence();
        let outcome = if mode == Mode::Enforce {
            Outcome::Ordered
        } else {
            Outcome::WouldDo
        };
        let subject = Subject::Node(about.name.clone());
        let change = Change::Action(wish.action.clone());
        let decision = self.record(now, subject, change, evidence, outcome);
        if mode == Mode::Enforce {
            step.orders.push(Order {
                decision: decision.id,
                at: now,
                action: wish.action,
            });
        }
        step.decisions.push(decision);
        Granted::Yes
    }
}
