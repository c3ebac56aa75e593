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

/// A trace on its way under a rule.
pub struct Replay<'a> {
    trace: &'a Trace,
    rule: &'a mut dyn Rule,
    led_again: Option<Seconds>,
    /// As it is now.
    pub world: World,
}

impl<'a> Replay<'a> {
    /// At the beginning.
    ///
    /// # Errors
    /// The rule broke what it promises.
    pub fn new(
        trace: &'a Trace,
        size: Size,
        seed: u64,
        rule: &'a mut dyn Rule,
    ) -> Result<Self, RunError> {
        let size = Size {
            zones: trace.zones,
            ..size
        };
        let mut world = World::new(size, seed, rule.has_agents());
        world.probes.loss = trace.loss;
        rule.lead(&world)?;
        Ok(Self {
            trace,
            rule,
            led_again: None,
            world,
        })
    }

    /// One second; false at the end.
    ///
    /// # Errors
    /// The rule broke what it promises.
    pub fn step(&mut self) -> Result<bool, RunError> {
        let world = &mut self.world;
        if world.now >= self.trace.seconds {
            return Ok(false);
        }
        let now = world.now;
        for (_, change) in self.trace.faults.iter().filter(|(at, _)| *at == now) {
            if let Change::FailOver(gap) = change {
                self.led_again = Some(now + gap);
            }
            change.apply(world);
        }
        world.step();
        match self.led_again {
            Some(at) if world.now < at => {}
            Some(_) => {
                self.led_again = None;
                self.rule.lead(world)?;
            }
            None => self.rule.step(world)?,
        }
        Ok(true)
    }
}

/// Runs a trace; what came of it.
///
/// # Errors
/// The rule broke what it promises.
pub fn run(trace: &Trace, size: Size, seed: u64, rule: &mut dyn Rule) -> Result<Row, RunError> {
    let mut replay = Replay::new(trace, size, seed, rule)?;
    while replay.step()? {}
    Ok(replay.world.measure.row())
}
