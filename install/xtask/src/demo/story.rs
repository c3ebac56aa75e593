//! What happens in the demo, and the table that shows it.

use std::{collections::BTreeMap, io::Write as _};

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use tests_testbed::{Ipamd, IpamdConfig, Net, World};

use super::pod::{Pod, Seen};
use crate::step::say;

/// A node per rack.
const NODES: [(&str, &str); 2] = [("n1", "a"), ("n2", "b")];

/// Pods by node; the ordinal in a name makes its address be held.
const PODS: [(&str, &str); 3] = [("n1", "web-0"), ("n1", "db-0"), ("n2", "web-1")];

struct Story {
    // Daemons end before the world that they live in.
    daemons: BTreeMap<String, Ipamd>,
    pods: Vec<Pod>,
    world: World,
    first: Vec<Seen>,
    table: Table,
    changes: usize,
}

/// Plays it; fails when an address or MAC changed or a ping was not answered.
pub(crate) fn play() -> Result<()> {
    let mut builder = World::builder("demo");
    for (node, rack) in NODES {
        builder = builder.node(node, rack);
    }
    let mut story = Story {
        daemons: BTreeMap::new(),
        pods: PODS.map(|(node, name)| Pod::new(node, name)).into(),
        world: builder.build()?,
        first: Vec::new(),
        table: table(),
        changes: 0,
    };
    if let Err(error) = story.tell() {
        let folder = story.world.save_evidence()?;
        return Err(error.context(format!("evidence is in {}", folder.display())));
    }
    writeln!(std::io::stdout(), "{}", story.table).context("print the table")?;
    if story.changes > 0 {
        bail!(
            "{} time(s) something changed or did not answer",
            story.changes
        );
    }
    say(
        "every Pod kept its addresses (IPv4 and IPv6) and MACs through upgrade, re-creation and reboot",
    );
    Ok(())
}

impl Story {
    fn tell(&mut self) -> Result<()> {
        say("starting a daemon per node");
        for (node, _) in NODES {
            self.start_daemon(node)?;
        }
        say("starting Pods with two NICs");
        self.each_pod(|pod, world| pod.start(world.node(&pod.node)))?;
        self.look("started")?;

        say("upgrading: another container in the same sandbox");
        self.each_pod(|pod, world| pod.upgrade(world.node(&pod.node)))?;
        self.look("upgraded")?;

        // In the other order, so that the same address again is no accident of the order.
        say("re-creating: all sandboxes end, new ones start under the same names in reverse order");
        self.each_pod(|pod, world| pod.stop(world.node(&pod.node)))?;
        self.each_pod_in_reverse(|pod, world| pod.start(world.node(&pod.node)))?;
        self.look("re-created")?;

        for (node, _) in NODES {
            say(&format!(
                "rebooting {node}: processes, namespaces and links gone, new boot id, disk kept"
            ));
            self.daemons.remove(node);
            self.pods
                .iter_mut()
                .filter(|pod| pod.node == node)
                .for_each(Pod::lost);
            self.world.node_mut(node).reboot()?;
            self.start_daemon(node)?;
        }
        self.each_pod_in_reverse(|pod, world| pod.start(world.node(&pod.node)))?;
        self.look("rebooted")
    }

    fn start_daemon(&mut self, node: &str) -> Result<()> {
        let machine = self.world.node(node);
        let daemon = machine.start_ipamd(&IpamdConfig::of(machine))?;
        self.daemons.insert(node.to_owned(), daemon);
        Ok(())
    }

    fn each_pod(&mut self, mut work: impl FnMut(&mut Pod, &World) -> Result<()>) -> Result<()> {
        self.pods
            .iter_mut()
            .try_for_each(|pod| work(pod, &self.world))
    }

    fn each_pod_in_reverse(
        &mut self,
        mut work: impl FnMut(&mut Pod, &World) -> Result<()>,
    ) -> Result<()> {
        self.pods
            .iter_mut()
            .rev()
            .try_for_each(|pod| work(pod, &self.world))
    }

    /// Adds a row per Pod: what it has now, whether that is what it had first, and who answers it.
    fn look(&mut self, step: &str) -> Result<()> {
        let seen: Vec<Seen> = self
            .pods
            .iter()
            .map(|pod| pod.observe(self.world.node(&pod.node)))
            .collect::<Result<_>>()?;
        if self.first.is_empty() {
            self.first.clone_from(&seen);
        }
        for (index, pod) in self.pods.iter().enumerate() {
            let node = self.world.node(&pod.node);
            let gateways: Vec<String> = Net::ALL
                .iter()
                .flat_map(|net| node.rack().addresses().gateways(*net))
                .map(|ip| ip.to_string())
                .collect();
            let others: Vec<String> = seen
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .flat_map(|(_, seen)| {
                    seen.interfaces
                        .iter()
                        .flat_map(|interface| interface.addresses.clone())
                })
                .collect();
            let (to_gateways, to_others) =
                (pod.ping_all(node, &gateways)?, pod.ping_all(node, &others)?);
            let same = seen[index] == self.first[index];
            let answered = to_gateways == gateways.len() && to_others == others.len();
            self.changes += usize::from(!same) + usize::from(!answered);
            let mut row = vec![
                step.to_owned(),
                format!("{} on {}\n{}", pod.name, pod.node, pod.sandbox()),
            ];
            // One family is enough to look at; both are compared.
            row.extend(
                seen[index]
                    .interfaces
                    .iter()
                    .map(|interface| format!("{}\n{}", interface.addresses[0], interface.mac)),
            );
            row.push(if same { "same" } else { "CHANGED" }.to_owned());
            row.push(format!(
                "{to_gateways}/{} gateways\n{to_others}/{} other Pods",
                gateways.len(),
                others.len()
            ));
            self.table.add_row(row);
        }
        Ok(())
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "step",
        "Pod and sandbox",
        "eth0 (external)",
        "net1 (internal)",
        "as at first",
        "pings answered",
    ]);
    table
}
