//! A node with containerd and `berth-ipamd`, and what its Pods say of their own interfaces.

use std::time::Duration;

use serde_json::{Value, json};
use tests_cri::{Container, Cri, Pod};
use tests_testbed::{APP_IMAGES, Containerd, Ipamd, IpamdConfig, Node, Pending, wait_until};

/// A sandbox is made in well under a second, but two of these machines share two cores with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The daemons of one powered-on node.
pub(crate) struct Machine {
    pub(crate) cri: Cri,
    pub(crate) containerd: Containerd,
    pub(crate) ipamd: Ipamd,
}

/// A Pod with its one container running.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) pod: Pod,
    pub(crate) sandbox: String,
    pub(crate) container: String,
}

/// What a Pod sees of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nic {
    pub(crate) mac: String,
    pub(crate) addresses: Vec<String>,
}

/// The daemon first, the runtime next, as at boot.
pub(crate) fn start(node: &Node) -> Machine {
    write_bank(node);
    start_as(node, &IpamdConfig::of(node))
}

/// The same with another plugin.
pub(crate) fn start_with(node: &Node, plugin: &Value) -> Machine {
    write_network(node, plugin);
    start_as(node, &IpamdConfig::of(node))
}

/// The network configuration with both networks.
pub(crate) fn write_bank(node: &Node) {
    let plugin = json!({
        "type": "berth",
        "ipamd": "/run/berth/ipamd.sock",
        "networks": [
            {"name": "external", "uplink": "eth0", "default": true},
            {"name": "internal", "uplink": "eth1"},
        ],
    });
    write_network(node, &plugin);
}

fn write_network(node: &Node, plugin: &Value) {
    node.write_conflist(
        "10-bank.conflist",
        &json!({"cniVersion": "1.0.0", "name": "bank", "plugins": [plugin]}),
    )
    .unwrap();
}

/// The daemon by this configuration, with the network configuration that is there.
pub(crate) fn start_as(node: &Node, config: &IpamdConfig) -> Machine {
    let ipamd = node.start_ipamd(config).unwrap();
    let (containerd, cri) = start_runtime(node);
    Machine {
        cri,
        containerd,
        ipamd,
    }
}

/// Starts containerd and waits until it would run Pods.
pub(crate) fn start_runtime(node: &Node) -> (Containerd, Cri) {
    let containerd = node.start_containerd().unwrap();
    let cri = Cri::new(containerd.socket()).unwrap();
    wait_until("the runtime ready", PATIENCE, || match cri.unready() {
        Ok(unready) if unready.is_empty() => Ok(()),
        Ok(unready) => Err(Pending::because(unready.join(", "))),
        Err(error) => Err(Pending::because(error)),
    })
    .unwrap();
    (containerd, cri)
}

impl Machine {
    /// Runs a Pod with one container.
    pub(crate) fn run(&self, name: &str) -> Running {
        let mut pod = Pod::new("prod", name);
        self.containerd
            .cgroup_parent()
            .clone_into(&mut pod.cgroup_parent);
        self.run_again(pod)
    }

    /// Runs a Pod as kubelet does: another sandbox until one is ready.
    pub(crate) fn run_at_last(&self, name: &str) -> Running {
        let mut pod = Pod::new("prod", name);
        self.containerd
            .cgroup_parent()
            .clone_into(&mut pod.cgroup_parent);
        wait_until(&format!("Pod {name}"), PATIENCE, || {
            pod.attempt += 1;
            let sandbox = self.cri.run_pod(&pod).map_err(Pending::because)?;
            Ok(self.run_app(sandbox, pod.clone()))
        })
        .unwrap()
    }

    /// Runs this sandbox of a Pod.
    pub(crate) fn run_again(&self, pod: Pod) -> Running {
        let sandbox = self
            .cri
            .run_pod(&pod)
            .unwrap_or_else(|error| panic!("{error}\nipamd said:\n{}", self.ipamd.log_tail()));
        self.run_app(sandbox, pod)
    }

    fn run_app(&self, sandbox: String, pod: Pod) -> Running {
        let mut container = Container::new("app", APP_IMAGES[0]);
        // The runtime refuses a name it still has a dead container of.
        container.attempt = pod.attempt;
        let container = self.cri.run_container(&sandbox, &pod, &container).unwrap();
        Running {
            pod,
            sandbox,
            container,
        }
    }

    /// The standard output of a command in the Pod's container, which must succeed.
    pub(crate) fn exec(&self, running: &Running, words: &[&str]) -> String {
        let seen = self.cri.exec(&running.container, words).unwrap();
        assert_eq!(seen.exit_code, 0, "{words:?}: {seen:?}");
        seen.stdout
    }

    /// An interface as the container sees it.
    pub(crate) fn nic(&self, running: &Running, ifname: &str) -> Nic {
        let mac = self.exec(
            running,
            &["cat", &format!("/sys/class/net/{ifname}/address")],
        );
        let text = self.exec(running, &["ip", "addr", "show", "dev", ifname]);
        let addresses = text
            .lines()
            .filter(|line| line.contains("scope global"))
            .filter_map(|line| line.split_whitespace().nth(1))
            .map(str::to_owned)
            .collect();
        Nic {
            mac: mac.trim().to_owned(),
            addresses,
        }
    }

    /// Both interfaces.
    pub(crate) fn nics(&self, running: &Running) -> [Nic; 2] {
        ["eth0", "net1"].map(|ifname| self.nic(running, ifname))
    }

    /// Pings from inside the container until an answer comes.
    pub(crate) fn pings(&self, running: &Running, address: &str) {
        wait_until(&format!("an answer of {address}"), PATIENCE, || {
            let ping = ["ping", "-c", "1", "-W", "2", address];
            match self.cri.exec(&running.container, &ping) {
                Ok(seen) if seen.exit_code == 0 => Ok(()),
                Ok(seen) => Err(Pending::because(seen.stdout)),
                Err(error) => Err(Pending::because(error)),
            }
        })
        .unwrap();
    }
}
