//! etcd and kube-apiserver alone, in a machine without any network but its own: for tests of objects and permissions.
//!
//! Ready in a few seconds. Nothing else runs: no controllers, no scheduler, no nodes; what they would do, a test does itself.

use std::ops::{Deref, DerefMut};

use anyhow::Result;

use crate::{control_plane::ControlPlane, programs::Kubernetes, world::World};

/// A running API server. Use it like its [`ControlPlane`].
#[derive(Debug)]
pub struct ApiServer {
    // Its processes end before the world they live in.
    control_plane: ControlPlane,
    world: World,
}

impl ApiServer {
    /// Starts it in a world of this name, with the Kubernetes of `BERTH_KUBERNETES_BIN`, and waits until it is ready.
    ///
    /// # Errors
    /// A program is missing, the name is in use, or it does not get ready in time.
    pub fn start(name: &str) -> Result<Self> {
        let kubernetes = Kubernetes::from_environment()?;
        let mut world = World::builder(name).racks(0).build()?;
        let mut control_plane = ControlPlane::start(&mut world, &kubernetes)?;
        control_plane.wait_ready()?;
        Ok(Self {
            control_plane,
            world,
        })
    }

    /// Its world.
    pub fn world(&self) -> &World {
        &self.world
    }
}

impl Deref for ApiServer {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.control_plane
    }
}

impl DerefMut for ApiServer {
    fn deref_mut(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }
}
