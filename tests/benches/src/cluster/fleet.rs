//! The cluster that is measured: three nodes in a rack with a pool of its own, which subject is in force on them, and what their daemons have counted.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests_testbed::{ApiProxy, CONTAINERD_METRICS, Cluster, Pending, wait_patiently};

use super::Shape;
use super::counters::{Timed, Writes};
use super::progress;
use super::samples::Samples;
use super::subject::{OURS, OURS_GATEWAY, OURS_SECOND, PEER_FILE, Subject, peer_conflist};
use super::volley::{Flight, NAMESPACE, Volley};

/// The nodes; the first is the one that is measured alone.
pub(crate) const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// A rack of the bench's own, so that addresses come from its pool and no other.
const RACK: &str = "bench";

/// A label travels within a second, a file by kubelet within half a minute.
const SETTLE_DEADLINE: Duration = Duration::from_secs(180);

/// What is written behind an answer has been written when nothing was for so long.
const QUIET: Duration = Duration::from_secs(3);

/// Where `berth-ipamd` tells its metrics, inside a node.
const IPAMD_METRICS: &str = "127.0.0.1:9421";

/// A cluster with the means to ask it.
#[derive(Debug)]
pub(crate) struct Fleet {
    // Ends before the world it is in.
    api: ApiProxy,
    cluster: Cluster,
    /// This program, run inside nodes.
    own: PathBuf,
    claiming: bool,
    volleys: usize,
}

/// What daemons have counted.
#[derive(Clone, Copy, Debug)]
struct Counted {
    adds: Timed,
    dels: Timed,
    asked: Timed,
    writes: Writes,
}

impl Fleet {
    /// Makes the cluster and gives its nodes their rack.
    pub(crate) fn build(is_static: bool) -> Result<Self> {
        progress("making a cluster of three nodes");
        let builder = Cluster::builder("bench-cluster").racks(1);
        let builder = NODES
            .iter()
            .fold(builder, |builder, node| builder.node(node, "a"));
        let builder = if is_static {
            builder.static_pools()
        } else {
            builder.claiming()
        };
        let mut cluster = builder.build()?;
        let tor = cluster.world().rack("a").tor();
        let gateway = format!("{OURS_GATEWAY}/16");
        tor.run(&["ip", "addr", "add", &gateway, "dev", "external"])?;
        let api = cluster.control_plane().proxy()?;
        let fleet = Self {
            api,
            cluster,
            own: std::env::current_exe().context("find this program")?,
            claiming: !is_static,
            volleys: 0,
        };
        fleet.make_pools()?;
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        fleet.cluster.apply(&namespace.to_string())?;
        fleet.wait_rack()?;
        Ok(fleet)
    }

    /// How its nodes come by their addresses, in words.
    pub(crate) const fn mode(&self) -> &'static str {
        if self.claiming {
            "addresses are claimed from one pool"
        } else {
            "each node has a pool of its own"
        }
    }

    /// Pools of both networks that Berth's configuration has: the plugin is ready only where each has one. Pods ask for the first alone.
    fn make_pools(&self) -> Result<()> {
        let mut toml = "[kubernetes]\nrack_label = \"topology.berth.dev/rack\"\n".to_owned();
        let networks = [
            ("external", OURS, Some(OURS_GATEWAY)),
            ("internal", OURS_SECOND, None),
        ];
        for (network, subnet, gateway) in networks {
            let prefix = subnet.trim_end_matches("0.0/16");
            if self.claiming {
                let pool = json!({
                    "apiVersion": "berth.dev/v1alpha1", "kind": "Pool",
                    "metadata": {"name": format!("{network}-bench"), "namespace": "berth-system"},
                    "spec": {
                        "network": network, "rack": RACK, "subnet": subnet, "gateway": gateway,
                        "ranges": [format!("{prefix}16.0-{prefix}63.255")],
                    },
                });
                self.cluster.apply(&pool.to_string())?;
                continue;
            }
            for (number, node) in NODES.iter().enumerate() {
                let (first, last) = (16 + number * 16, 31 + number * 16);
                let _ = write!(
                    toml,
                    "\n[[pool]]\nname = \"{network}-{node}\"\nnetwork = \"{network}\"\nnode = \"{node}\"\nrack = \"{RACK}\"\nsubnet = \"{subnet}\"\nranges = [\"{prefix}{first}.0-{prefix}{last}.255\"]\n"
                );
                if let Some(gateway) = gateway {
                    let _ = writeln!(toml, "gateway = \"{gateway}\"");
                }
            }
        }
        if self.claiming {
            return Ok(());
        }
        self.cluster.set_pools(&toml)
    }

    /// Gives the nodes their rack and waits until their daemons serve in it.
    fn wait_rack(&self) -> Result<()> {
        let label = format!("topology.berth.dev/rack={RACK}");
        for node in NODES {
            self.cluster
                .kubectl(&["label", "node", node, "--overwrite", &label])?;
        }
        let words = format!("rack {RACK},");
        for node in NODES {
            let what = format!("{node} serving in rack {RACK}");
            wait_patiently(&what, SETTLE_DEADLINE, || {
                let said = self.cluster.ipamd_command(node, &["status"]);
                let said = said.map_err(|error| Pending::because(format!("{error:#}")))?;
                if said.success() && said.stdout.contains(&words) {
                    return Ok(());
                }
                Err(Pending::because(said.stdout + &said.stderr))
            })?;
        }
        Ok(())
    }

    /// Puts a subject in force on all nodes: Pods get its addresses when this returns, and its bridge is there.
    pub(crate) fn use_subject(&mut self, subject: Subject) -> Result<()> {
        for (number, name) in NODES.iter().enumerate() {
            let node = self.cluster.world().node(name);
            if subject == Subject::Peer {
                node.write_conflist(PEER_FILE, &peer_conflist(number))?;
                continue;
            }
            let file = node.disk("/etc/cni/net.d").join(PEER_FILE);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", file.display()));
                }
                _ => {}
            }
        }
        let what = format!("Pods by {}", subject.name());
        wait_patiently(&what, SETTLE_DEADLINE, || match self.try_one_each() {
            Ok(addresses) if addresses.iter().all(|it| subject.gave(it)) => Ok(Ok(())),
            Ok(addresses) => Err(Pending::because(format!("{addresses:?}"))),
            Err(error) => Ok(Err(error)),
        })?
    }

    /// A Pod on each node, there and gone; their addresses.
    fn try_one_each(&mut self) -> Result<Vec<String>> {
        let label = self.label();
        let flight = Flight::start(&self.api, &label, &NODES, 1)?;
        let addresses = flight.addresses().map(str::to_owned).collect();
        flight.end(&self.api)?;
        Ok(addresses)
    }

    /// Starts and ends the Pods of a shape under the subject in force.
    pub(crate) fn volley(&mut self, subject: Subject, shape: Shape) -> Result<Volley> {
        let nodes = &NODES[..shape.nodes];
        let label = self.label();
        let before = self.counted()?;
        let flight = Flight::start(&self.api, &label, nodes, shape.pods_each)?;
        let started = self.counted()?;
        if let Some(stray) = flight.addresses().find(|address| !subject.gave(address)) {
            anyhow::bail!(
                "a Pod has {stray:?}, which {} does not give",
                subject.name()
            );
        }
        let mut addresses: Vec<&str> = flight.addresses().collect();
        addresses.sort_unstable();
        addresses.dedup();
        let pods = shape.nodes * shape.pods_each;
        ensure!(addresses.len() == pods, "an address was given twice");
        let durations = flight.durations();
        ensure!(durations.len() == pods, "a Pod was never seen bound");
        let all_ready = flight.all_ready().context("no Pod was seen")?;
        flight.end(&self.api)?;
        let ended = self.counted()?;
        let total: Duration = durations.iter().sum();
        #[allow(clippy::cast_precision_loss, reason = "some hundred Pods")]
        let pods = pods as f64;
        let (adds, dels) = (
            started.adds.since(before.adds),
            ended.dels.since(started.dels),
        );
        ensure!(
            adds.count >= pods && dels.count >= pods,
            "containerd counted {} ADDs and {} DELs of {pods} Pods",
            adds.count,
            dels.count
        );
        Ok(Volley {
            ready_mean_ms: total.as_secs_f64() * 1000.0 / pods,
            ready: Samples::new(durations),
            all_ready,
            adds,
            dels,
            asked: started.asked.since(before.asked),
            start_writes: started.writes.since(before.writes),
            del_writes: ended.writes.since(started.writes),
            pods,
            // What is written while the peer is in force is not the peer's.
            is_written: subject == Subject::Berth,
        })
    }

    fn label(&mut self) -> String {
        self.volleys += 1;
        // No ordinal at the end of a Pod's name: such Pods would be held.
        format!("v{}", self.volleys)
    }

    /// What has been counted up to now, on all nodes together, when nothing is written any more.
    fn counted(&self) -> Result<Counted> {
        let mut counted = Counted {
            adds: Timed::default(),
            dels: Timed::default(),
            asked: Timed::default(),
            writes: self.settled_writes()?,
        };
        for node in NODES {
            let runtime = self.fetch(node, CONTAINERD_METRICS, "/v1/metrics")?;
            // The unit is there twice: the library that counts puts it behind the name, which has it.
            let name = "containerd_cri_network_plugin_operations_duration_seconds_seconds";
            let of = |operation| Timed::read(&runtime, name, &[operation]);
            counted.adds = counted.adds.plus(of("\"set_up_pod\""));
            counted.dels = counted.dels.plus(of("\"tear_down_pod\""));
            let ipamd = self.fetch(node, IPAMD_METRICS, "/metrics")?;
            let asked = Timed::read(
                &ipamd,
                "berth_ipamd_call_duration_seconds",
                &["verb=\"allocate\""],
            );
            counted.asked = counted.asked.plus(asked);
        }
        Ok(counted)
    }

    /// Requests that wrote claims, as soon as there was none for a while.
    fn settled_writes(&self) -> Result<Writes> {
        let mut last = (Writes::default(), Instant::now());
        if !self.claiming {
            return Ok(last.0);
        }
        wait_patiently("no more writes", SETTLE_DEADLINE, || {
            let text = self.api.text("/metrics");
            let text = text.map_err(|error| Pending::because(format!("{error:#}")))?;
            let writes = Writes::read(&text);
            if writes != last.0 {
                last = (writes, Instant::now());
            }
            if last.1.elapsed() >= QUIET {
                return Ok(writes);
            }
            Err(Pending::because(format!("{writes:?}")))
        })
    }

    fn fetch(&self, node: &str, address: &str, path: &str) -> Result<String> {
        let mut command = self.cluster.world().node(node).command(&self.own);
        command.args(["fetch", address, path]);
        let output = command.output().context("run this program in a node")?;
        ensure!(
            output.status.success(),
            "metrics of {node} at {address}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).context("metrics are no text")
    }
}
