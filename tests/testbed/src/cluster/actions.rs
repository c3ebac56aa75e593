//! What can happen to a cluster: power cuts, dead processes, pulled cables, an API server that is away, nodes that come and go.
//!
//! Every action is level-triggered: done twice it is done once, and each has its opposite.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{
    Cluster,
    build::{base_spec, find, start_runtime},
    member::{Daemon, Member},
};
use crate::{
    address::Net,
    control_plane::Component,
    node::{Node, NodeSpec},
    programs::Runtime,
    rack::Rack,
};

impl Cluster {
    /// Powers a node off without warning.
    ///
    /// # Errors
    /// There is no such node, or the kernel did not finish in time.
    pub fn power_off(&mut self, name: &str) -> Result<()> {
        find(&self.world, name)?;
        self.world.node_mut(name).power_off()?;
        // They died with the machine; only now their handles go.
        if let Some(member) = self.members.get_mut(name) {
            member.forget();
        }
        self.write_doors()
    }

    /// Powers a node on: a new boot id, and its daemons start.
    ///
    /// # Errors
    /// There is no such node, or something does not start.
    pub fn power_on(&mut self, name: &str) -> Result<()> {
        if find(&self.world, name)?.is_on() {
            return Ok(());
        }
        self.world.node_mut(name).power_on()?;
        self.start_node(name, None)
    }

    /// Powers a node off and on.
    ///
    /// # Errors
    /// As [`Self::power_off`] and [`Self::power_on`].
    pub fn reboot(&mut self, name: &str) -> Result<()> {
        self.power_off(name)?;
        self.power_on(name)
    }

    /// Adds a node and starts its daemons.
    ///
    /// # Errors
    /// The name is taken, the rack does not exist or is full, or something does not start.
    pub fn add_node(&mut self, name: &str, rack: &str, runtime: Runtime) -> Result<()> {
        self.add(&base_spec(name, rack), runtime)
    }

    /// Like [`Self::add_node`], but nobody has told Kubernetes the node's rack.
    ///
    /// # Errors
    /// As there.
    pub fn add_unlabelled_node(&mut self, name: &str, rack: &str, runtime: Runtime) -> Result<()> {
        self.add(&base_spec(name, rack).without_label(), runtime)
    }

    fn add(&mut self, spec: &NodeSpec, runtime: Runtime) -> Result<()> {
        self.make_node(spec, runtime)?;
        let image = self.product.as_ref().map(|product| {
            // It has addresses before its daemon asks for them.
            self.share_out()?;
            anyhow::Ok(product.image().to_owned())
        });
        self.start_node(&spec.name, image.transpose()?.as_deref())
    }

    /// Powers a node off for good: its object and its disk go too.
    ///
    /// # Errors
    /// There is no such node, or the API server does not let it go.
    pub fn remove_node(&mut self, name: &str) -> Result<()> {
        self.power_off(name)?;
        self.kubectl(&["delete", "node", name, "--ignore-not-found", "--wait=false"])?;
        self.world.remove_node(name)?;
        self.members.remove(name);
        if self.product.is_some() {
            self.share_out()?;
        }
        Ok(())
    }

    /// Kills a daemon of a node without warning. It stays away until [`Self::start_daemon`]; one of Berth's does not, since it is
    /// kubelet that starts it again: see [`Self::set_berth`], or SIGSTOP.
    ///
    /// # Errors
    /// There is no such node.
    pub fn kill_daemon(&mut self, name: &str, daemon: Daemon) -> Result<()> {
        self.ensure_berth(daemon)?;
        let (node, member) = self.both(name)?;
        member.kill(daemon, node)
    }

    /// Sends a signal to a daemon of a node.
    ///
    /// # Errors
    /// There is no such node, or the daemon does not run.
    pub fn signal_daemon(&mut self, name: &str, daemon: Daemon, signal: Signal) -> Result<()> {
        self.ensure_berth(daemon)?;
        let (node, member) = self.both(name)?;
        member.signal(daemon, node, signal)
    }

    /// Starts a daemon that does not run; waits for kubelet to start one of Berth's.
    ///
    /// # Errors
    /// There is no such node, or it does not start.
    pub fn start_daemon(&mut self, name: &str, daemon: Daemon) -> Result<()> {
        self.ensure_berth(daemon)?;
        let node = find(&self.world, name)?;
        let member = self.members.get_mut(name);
        let member = member.with_context(|| format!("there is no node {name}"))?;
        member.start(daemon, node, &self.control_plane)
    }

    /// Ends a daemon in an orderly way and starts it again.
    ///
    /// # Errors
    /// There is no such node, it does not end, or it does not start.
    pub fn restart_daemon(&mut self, name: &str, daemon: Daemon) -> Result<()> {
        self.ensure_berth(daemon)?;
        let (node, member) = self.both(name)?;
        member.stop(daemon, node)?;
        self.start_daemon(name, daemon)
    }

    /// Whether a daemon of a node runs.
    ///
    /// # Errors
    /// There is no such node.
    pub fn runs(&mut self, name: &str, daemon: Daemon) -> Result<bool> {
        let (node, member) = self.both(name)?;
        Ok(member.is_running(daemon, node))
    }

    /// The folder of one of Berth's daemons in its node's `/proc`, to be read from here: its memory, its processor time.
    ///
    /// # Errors
    /// There is no such node, the daemon is none of Berth's, or it does not run.
    pub fn proc_folder(&self, name: &str, daemon: Daemon) -> Result<PathBuf> {
        Member::folder(daemon, find(&self.world, name)?)
    }

    /// Takes a NIC out of a node, or puts it in, also while the node is off: it may boot without, and get it late.
    ///
    /// # Errors
    /// There is no such node, or `ip` failed.
    pub fn set_nic(&mut self, name: &str, net: Net, present: bool) -> Result<()> {
        find(&self.world, name)?;
        self.world.node_mut(name).set_nic(net, present)
    }

    /// Gives a node's NIC another name, for ever: [`Net::uplink`] is the one it begins with.
    ///
    /// # Errors
    /// There is no such node, or `ip` failed.
    pub fn rename_nic(&mut self, name: &str, net: Net, to: &str) -> Result<()> {
        find(&self.world, name)?;
        self.world.node_mut(name).rename_nic(net, to)
    }

    /// Pulls or plugs a node's uplink.
    ///
    /// # Errors
    /// There is no such node.
    pub fn set_uplink(&self, name: &str, net: Net, up: bool) -> Result<()> {
        find(&self.world, name)?.set_uplink(net, up)
    }

    /// Pulls and plugs a node's uplink some times.
    ///
    /// # Errors
    /// There is no such node.
    pub fn flap_uplink(&self, name: &str, net: Net, times: usize) -> Result<()> {
        find(&self.world, name)?.flap_uplink(net, times)
    }

    /// Makes a rack's gateway of one network silent, or lets it answer again.
    ///
    /// # Errors
    /// There is no such rack.
    pub fn set_gateway(&self, rack: &str, net: Net, answers: bool) -> Result<()> {
        let rack = self.find_rack(rack)?;
        if answers {
            rack.restore_voice(net)
        } else {
            rack.silence(net)
        }
    }

    /// Cuts a rack from the router, and so from the other racks and the control plane; or joins it again.
    ///
    /// # Errors
    /// There is no such rack.
    pub fn set_rack_link(&self, rack: &str, up: bool) -> Result<()> {
        self.find_rack(rack)?.set_router_link(up)
    }

    /// Cuts one node from the API server, both ways and without a word, and from nothing else; or joins it again.
    ///
    /// # Errors
    /// There is no such node, or `nft` failed.
    pub fn set_api_path(&self, name: &str, open: bool) -> Result<()> {
        let address = find(&self.world, name)?.address4(Net::External);
        // Declared each time, which changes nothing where it is there already.
        let mut lines = "add table inet cut
add set inet cut nodes { type ipv4_addr; }
add chain inet cut in { type filter hook input priority 0; }
add chain inet cut out { type filter hook output priority 0; }
flush chain inet cut in
flush chain inet cut out
add rule inet cut in ip saddr @nodes drop
add rule inet cut out ip daddr @nodes drop\n"
            .to_owned();
        let _ = writeln!(lines, "add element inet cut nodes {{ {address} }}");
        if open {
            let _ = writeln!(lines, "delete element inet cut nodes {{ {address} }}");
        }
        let machine = self.control_plane.machine();
        machine
            .script(&format!("nft -f - <<'END'\n{lines}END"))
            .map(|_| ())
    }

    /// Stops the API server for everyone, without warning, or starts it again and waits until it is ready.
    ///
    /// # Errors
    /// It does not go, or does not get ready.
    pub fn set_api_server(&mut self, up: bool) -> Result<()> {
        if !up {
            return self.control_plane.kill(Component::ApiServer);
        }
        self.control_plane.start_component(Component::ApiServer)?;
        self.control_plane.wait_ready()?;
        // Without an API server they end themselves.
        self.control_plane.start_controllers()
    }

    /// Fills a node's disk to the last byte, or frees it again.
    ///
    /// # Errors
    /// There is no such node, it is off, or its disk is a folder of the machine's.
    pub fn set_disk_full(&self, name: &str, full: bool) -> Result<()> {
        find(&self.world, name)?.set_disk_full(full)
    }

    /// Makes a node's disk fail: read-only until its next boot.
    ///
    /// # Errors
    /// There is no such node, it is off, or its disk is a folder of the machine's.
    pub fn break_disk(&self, name: &str) -> Result<()> {
        find(&self.world, name)?.break_disk()
    }

    /// Writes a line where a daemon of the node reads the kernel's log (`/run/kmsg`), in the form of `/dev/kmsg`.
    ///
    /// # Errors
    /// There is no such node, it is off, or nobody reads and the pipe is full.
    pub fn write_kernel_log(&self, name: &str, line: &str) -> Result<()> {
        find(&self.world, name)?.write_kernel_log(line)
    }

    fn start_node(&mut self, name: &str, image: Option<&Path>) -> Result<()> {
        let node = find(&self.world, name)?;
        let member = self.members.get_mut(name);
        let member = member.with_context(|| format!("there is no node {name}"))?;
        start_runtime(member, node, image)?;
        member.start_kubernetes(node, &self.control_plane, self.kube_proxy)?;
        self.write_doors()
    }

    pub(super) fn member(&mut self, name: &str) -> Result<&mut Member> {
        let member = self.members.get_mut(name);
        member.with_context(|| format!("there is no node {name}"))
    }

    fn both(&mut self, name: &str) -> Result<(&Node, &mut Member)> {
        let node = find(&self.world, name)?;
        let member = self.members.get_mut(name);
        Ok((
            node,
            member.with_context(|| format!("there is no node {name}"))?,
        ))
    }

    fn find_rack(&self, name: &str) -> Result<&Rack> {
        let racks = self.world.racks();
        let rack = racks.iter().find(|rack| rack.name() == name);
        rack.map(AsRef::as_ref)
            .with_context(|| format!("there is no rack {name}"))
    }
}
