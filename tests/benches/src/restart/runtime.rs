//! The floor: what stopping a container and starting another one takes when the runtime alone is asked, by CRI, in the sandbox of a Pod that lives.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tests_cri::{Container, Cri, Pod};
use tests_testbed::Cluster;

use crate::outage::Client;
use crate::subject::{CONTAINER, PRESENT, SERVER};

/// Where kubelet has the cgroups of Pods such as these.
const CGROUP: &str = "/kubepods/besteffort";

/// A container that is stopped and started by the runtime alone.
#[derive(Debug)]
pub(crate) struct Bare {
    cri: Cri,
    sandbox: String,
    pod: Pod,
    container: Container,
    id: String,
}

impl Bare {
    /// Puts another container in the place of the one that a Pod has. Nobody else must look after the Pod any more.
    pub(crate) fn take(cluster: &Cluster, node: &str, ip: &str, id: &str) -> Result<Self> {
        let cri = Cri::new(
            &cluster
                .world()
                .node(node)
                .path("/run/containerd/containerd.sock"),
        )?;
        let sandboxes = cri.sandboxes()?.into_iter();
        // One of an ended Pod has no addresses, or cannot tell.
        let mut with_address = sandboxes.filter(|sandbox| {
            let addresses = cri.pod_addresses(sandbox);
            addresses.is_ok_and(|all| all.iter().any(|it| it == ip))
        });
        let sandbox = with_address.next();
        let sandbox = sandbox.with_context(|| format!("no sandbox has {ip}"))?;
        let mut pod = Pod::new("default", "bare");
        CGROUP.clone_into(&mut pod.cgroup_parent);
        let mut container = Container::new(CONTAINER, PRESENT);
        container.command = SERVER.map(str::to_owned).into();
        // Beyond what kubelet counts to.
        container.attempt = 1000;
        cri.remove_container(id)?;
        let id = cri.run_container(&sandbox, &pod, &container)?;
        Ok(Self {
            cri,
            sandbox,
            pod,
            container,
            id,
        })
    }

    /// Stops the container and starts its successor; how long that kept the client waiting.
    pub(crate) fn renew(&mut self, mut client: Client) -> Result<Duration> {
        self.cri.stop_container(&self.id)?;
        self.container.attempt += 1;
        let next = self
            .cri
            .run_container(&self.sandbox, &self.pod, &self.container)?;
        client.wait_outage()?;
        let stopped = std::mem::replace(&mut self.id, next);
        self.cri.remove_container(&stopped)?;
        client.longest()
    }
}
