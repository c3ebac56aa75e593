//! Berth's rule: its decision core, unchanged, fed with what a controller would see and asked once a second.
//!
//! Here is what the controllers around it do, and no decision. The evidence is as late and as wrong as the world makes it: leases by
//! watches, votes by reports with their gaps, proofs by management controllers that may err. **Always holds:** every order is
//! confirmed right before it is carried out, and every decision's hash follows the one before, or the run fails.

mod carry;
mod pods;
mod view;

use std::collections::VecDeque;
use std::time::Duration;

use node_agent_lifecycle::config::Config;
use node_agent_lifecycle::decision::{self, Hash, VerifyError};
use node_agent_lifecycle::mode::{Mode, Modes};
use node_agent_lifecycle::{Core, Moment, Order};
use proto_ids::ParseNameError;

use crate::Seconds;
use crate::replay::{Rule, RunError};
use crate::world::World;

use view::View;

/// An adapter's step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A name that this crate made is none.
    #[error("naming what is in the world")]
    Name {
        /// Which rule of names.
        source: ParseNameError,
    },
    /// The core's records do not follow each other.
    #[error("the records of second {at} do not hold together")]
    Chain {
        /// The second.
        at: Seconds,
        /// Which.
        source: VerifyError,
    },
    /// The core ordered without writing it down.
    #[error("second {at}: an order of decision {decision} without that decision")]
    Unwritten {
        /// The second.
        at: Seconds,
        /// Its decision, as it says.
        decision: String,
    },
}

/// The rule.
#[derive(Debug, Default)]
pub struct Berth {
    leading: Option<Leading>,
    term: u64,
    previous: Hash,
    /// What of the reference's defaults a test wants otherwise; the defaults, enforced, where there is nothing.
    config: Option<Config>,
    /// What happened, for people.
    story: Vec<String>,
}

/// A leader's memory.
#[derive(Debug)]
struct Leading {
    core: Core,
    view: View,
    orders: VecDeque<Order>,
}

impl Berth {
    /// With these numbers.
    pub fn with(config: Config) -> Self {
        Self {
            config: Some(config),
            ..Self::default()
        }
    }

    /// Every decision of the run, in words.
    pub fn story(&self) -> &[String] {
        &self.story
    }

    fn config(&self) -> Config {
        self.config.clone().unwrap_or_else(|| Config {
            modes: Modes::all(Mode::Enforce),
            ..Config::default()
        })
    }
}

fn naming(source: ParseNameError) -> StepError {
    StepError::Name { source }
}

/// The second as the core has it.
fn moment(now: Seconds) -> Moment {
    Moment::after_start(Duration::from_secs(u64::from(now)))
}

impl Rule for Berth {
    fn name(&self) -> &'static str {
        "berth"
    }

    fn has_agents(&self) -> bool {
        true
    }

    fn lead(&mut self, world: &World) -> Result<(), RunError> {
        self.term += 1;
        let core = Core::new(self.config(), self.term, moment(world.now), self.previous);
        let view = View::new(world, self.term).map_err(naming)?;
        self.leading = Some(Leading {
            core,
            view,
            orders: VecDeque::new(),
        });
        Ok(())
    }

    fn step(&mut self, world: &mut World) -> Result<(), RunError> {
        let now = moment(world.now);
        let Some(leading) = &mut self.leading else {
            return Ok(());
        };
        leading.view.refresh(world).map_err(naming)?;
        let step = leading.core.step(now, &leading.view.seen);
        let mut decisions = step.decisions;
        for order in &step.orders {
            if !decisions
                .iter()
                .any(|decision| decision.id == order.decision)
            {
                return Err(RunError::Berth(StepError::Unwritten {
                    at: world.now,
                    decision: order.decision.to_string(),
                }));
            }
        }
        leading
            .orders
            .retain(|order| !step.cancelled.contains(order.action.node()));
        leading.orders.extend(step.orders);
        leading.view.reread(world, &step.reread);
        for order in std::mem::take(&mut leading.orders) {
            if leading
                .core
                .confirm(now, &leading.view.seen, &order)
                .is_err()
            {
                continue;
            }
            let outcome = carry::carry(world, &mut leading.view, &order.action);
            decisions.extend(leading.core.outcome(now, &order, outcome));
        }
        world.measure.counts().writes += decisions.len() as u64;
        decision::verify(self.previous, &decisions).map_err(|source| StepError::Chain {
            at: world.now,
            source,
        })?;
        if let Some(last) = decisions.last() {
            self.previous = last.hash;
        }
        let told = decisions.iter().map(|decision| {
            format!(
                "{} {:?} {:?} {:?}",
                world.now, decision.subject, decision.change, decision.outcome
            )
        });
        self.story.extend(told);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
