//! One trace under one rule, from the beginning to the end.

use crate::Seconds;
use crate::berth::StepError;
use crate::measure::Row;
use crate::trace::{Change, Trace};
use crate::world::{Size, World};

/// A run did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Berth's rule broke what it promises, or its adapter did.
    #[error(transparent)]
    Berth(#[from] StepError),
}

/// What decides about nodes.
pub trait Rule {
    /// How it is called.
    fn name(&self) -> &'static str;

    /// Whether it asks the agents of nodes.
    fn has_agents(&self) -> bool;

    /// A leader begins: what was in memory is gone.
    ///
    /// # Errors
    /// It broke what it promises.
    fn lead(&mut self, world: &World) -> Result<(), RunError>;

    /// One second, after the world's.
    ///
    /// # Errors
    /// It broke what it promises.
    fn step(&mut self, world: &mut World) -> Result<(), RunError>;
}

/// Runs a trace; what came of it.
///
/// # Errors
/// The rule broke what it promises.
pub fn run(trace: &Trace, size: Size, seed: u64, rule: &mut dyn Rule) -> Result<Row, RunError> {
    let size = Size {
        zones: trace.zones,
        ..size
    };
    let mut world = World::new(size, seed, rule.has_agents());
    world.probes.loss = trace.loss;
    rule.lead(&world)?;
    let mut led_again: Option<Seconds> = None;
    for _ in 0..trace.seconds {
        let now = world.now;
        let due = trace.faults.iter().filter(|(at, _)| *at == now);
        for (_, change) in due {
            if let Change::FailOver(gap) = change {
                led_again = Some(now + gap);
            }
            change.apply(&mut world);
        }
        world.step();
        match led_again {
            Some(at) if world.now < at => {}
            Some(_) => {
                led_again = None;
                rule.lead(&world)?;
            }
            None => rule.step(&mut world)?,
        }
    }
    Ok(world.measure.row())
}
