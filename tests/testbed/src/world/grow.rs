//! What a running world gains and loses: nodes, and machines that are neither node nor outside host.
//!
//! A node's number decides its addresses; the smallest free one is given, so that a node that is added again has the same.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, ensure};

use super::World;
use crate::{
    namespace::Namespace,
    node::{Node, NodeSpec},
    state::{self, Claim},
};

impl World {
    /// The folder that a world of this name has, whether it is there or not.
    pub fn dir_of(name: &str) -> PathBuf {
        state::base().join(name)
    }

    /// Removes what a world of this name left when its maker died; nothing is there afterwards.
    ///
    /// # Errors
    /// Its maker lives, or something cannot be removed.
    pub fn remove_leftovers(name: &str) -> Result<()> {
        let mut claim = Claim::take(name)?;
        claim.clean()?;
        claim.forget();
        Ok(())
    }

    /// Adds a node to the running world.
    ///
    /// # Errors
    /// As [`super::WorldBuilder::build`].
    pub fn add_node(&mut self, spec: NodeSpec) -> Result<&Node> {
        let rack = self.find_rack(&spec.rack)?;
        ensure!(
            self.nodes.iter().all(|node| node.spec_name() != spec.name),
            "there is a node {} already",
            spec.name
        );
        let taken: Vec<u8> = self.nodes.iter().map(Node::number).collect();
        let number = (1..=u8::MAX).find(|number| !taken.contains(number));
        let number = number.context("too many nodes")?;
        let node = Node::new(spec, number, rack, Arc::clone(&self.claim), self.keep)?;
        self.nodes.push(node);
        self.nodes.last().context("the node just made")
    }

    /// Takes a node out of the world: powered off, and its disk is gone.
    ///
    /// # Errors
    /// There is none of that name, or its files cannot be removed.
    pub fn remove_node(&mut self, name: &str) -> Result<()> {
        let position = self.nodes.iter().position(|node| node.spec_name() == name);
        let position = position.with_context(|| format!("there is no node {name}"))?;
        let mut node = self.nodes.remove(position);
        node.power_off()?;
        state::remove_tree(&self.dir.join(name))
    }

    /// Starts a machine with an empty network namespace that belongs to the world.
    pub(crate) fn add_machine(&mut self, name: &str) -> Result<Arc<Namespace>> {
        let machine = Arc::new(self.start(name)?);
        self.machines.push(Arc::clone(&machine));
        Ok(machine)
    }

    /// The router, where there is one.
    pub(crate) fn router(&self) -> Option<&Namespace> {
        self.router.as_ref()
    }
}
