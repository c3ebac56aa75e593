//! The cluster, its Pods, and what is waited for.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests_testbed::{Cluster, Namespace, Net, Pending, wait_patiently};

use crate::progress;

/// What each Pod does when it is told to end: some seconds of one processor.
pub(crate) const BURN_MB: usize = 1000;

/// A shell that ends when it is told to; the first process of a container that says nothing of it is not ended by that signal.
const SERVE: &str =
    "echo $VERSION > /tmp/version; trap 'exit 0' TERM; httpd -f -p 8080 -h /tmp & wait";

/// Kubernetes' default is five minutes; what it does then is the same.
const TOLERATED_SECONDS: u64 = 30;

/// Many Pods at once on a small machine, and rules that wait on purpose.
const DEADLINE: Duration = Duration::from_secs(1500);

const APP: &str = "trade";
const DESK: &str = "desk";

/// Where the Pods are, in the rack that is cut.
const NODE: &str = "n3";
const RACK: &str = "b";

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// `node-lifecycle-controller` and `taint-eviction-controller`.
    Kubernetes,
    /// Berth in their place.
    Berth,
}

impl Rule {
    pub(crate) const ALL: [Self; 2] = [Self::Kubernetes, Self::Berth];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "Kubernetes' own rule",
            Self::Berth => "Berth in its place",
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Berth => "berth",
        }
    }
}

/// How what was replaced came to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// So many did; the others count again.
    pub(crate) gone: usize,
    /// So many were ending at once, as the API says it.
    pub(crate) most_at_once: usize,
}

#[derive(Debug)]
pub(crate) struct Stage {
    cluster: Cluster,
    pods: usize,
    /// UIDs of the Pods that are to be replaced.
    first: BTreeSet<String>,
}

impl Stage {
    pub(crate) fn new(rule: Rule, pods: usize) -> Result<Self> {
        let builder = Cluster::builder("bench-storm")
            .host("client", RACK, Net::External)
            .node("n1", "a")
            .node("n2", "a")
            .node(NODE, RACK)
            .node("n4", RACK);
        let builder = match rule {
            Rule::Kubernetes => builder,
            // How pressed its processors are the kernel says of the whole machine, which is four nodes and a control plane here: it would pause the ends for
            // what is no node's. What remains is their pace.
            Rule::Berth => builder.without_upstream_lifecycle().idle_processors(),
        };
        let cluster = builder.build()?;
        if rule == Rule::Berth {
            cluster.apply(&policy().to_string())?;
        }
        cluster.apply(&desk().to_string())?;
        // All of them on one node.
        for other in ["n1", "n2", "n4"] {
            cluster.kubectl(&["cordon", other])?;
        }
        cluster.apply(&deployment(pods).to_string())?;
        let mut stage = Self {
            cluster,
            pods,
            first: BTreeSet::new(),
        };
        progress(&format!("starting {pods} Pods"));
        stage.wait("all Pods being Ready", |it| it.ensure_ready(NODE))?;
        for other in ["n1", "n2", "n4"] {
            stage.cluster.kubectl(&["uncordon", other])?;
        }
        let first = stage.pods_of(APP)?;
        stage.first = first.iter().map(uid).collect();
        ensure!(stage.first.len() == pods, "{} Pods", stage.first.len());
        Ok(stage)
    }

    pub(crate) fn client_place(&self) -> &Namespace {
        self.cluster.world().host("client").namespace()
    }

    /// Of the service on the node.
    pub(crate) fn address(&self) -> Result<String> {
        let pods = self.pods_of(DESK)?;
        let pod = pods.first().context("no Pod")?;
        let ip = pod["status"]["podIP"].as_str().context("no address")?;
        Ok(format!("{ip}:8080"))
    }

    pub(crate) fn set_dark(&self, dark: bool) -> Result<()> {
        self.cluster.set_rack_link(RACK, !dark)
    }

    /// As many as there were are Ready in the other rack, all at once.
    pub(crate) fn wait_replaced(&self, since: Instant) -> Result<()> {
        self.wait("replacements", |it| {
            let ready = it.others_ready()?;
            ensure!(
                ready >= it.pods,
                "{ready} are Ready after {:.0?}",
                since.elapsed()
            );
            Ok(())
        })
    }

    /// All that were replaced are gone, or count again because their replacements were not ready when their node came back.
    pub(crate) fn wait_ended(&self, since: Instant) -> Result<Ended> {
        let (mut most, mut kept) = (0, 0);
        let mut look = |it: &Self| {
            let pods = it.pods_of_first()?;
            let ending = pods.iter().filter(|pod| is_ending(pod) && answers_for(pod));
            most = most.max(ending.count());
            let left = pods.iter().filter(|pod| is_ending(pod) || is_marked(pod));
            let left = left.count();
            ensure!(left == 0, "{left} are left after {:.0?}", since.elapsed());
            kept = pods.len();
            Ok(())
        };
        let waited = wait_patiently("the end of what was replaced", DEADLINE, || {
            look(self).map_err(|error| Pending::because(format!("{error:#}")))
        });
        waited?;
        Ok(Ended {
            gone: self.first.len() - kept,
            most_at_once: most,
        })
    }

    fn wait(&self, what: &str, look: impl Fn(&Self) -> Result<()>) -> Result<()> {
        wait_patiently(what, DEADLINE, || {
            look(self).map_err(|error| Pending::because(format!("{error:#}")))
        })
    }

    fn ensure_ready(&self, node: &str) -> Result<()> {
        let pods = self.pods_of(APP)?;
        let ready = pods
            .iter()
            .filter(|pod| pod["spec"]["nodeName"] == node && is_ready(pod));
        let desk = self.pods_of(DESK)?;
        let (ready, desk) = (
            ready.count(),
            desk.iter().filter(|pod| is_ready(pod)).count(),
        );
        ensure!(
            ready == self.pods && desk == 1,
            "{ready} and {desk} are Ready"
        );
        Ok(())
    }

    fn others_ready(&self) -> Result<usize> {
        let pods = self.pods_of(APP)?.into_iter();
        let ready = pods.filter(|pod| !self.first.contains(&uid(pod)) && is_ready(pod));
        Ok(ready.count())
    }

    fn pods_of_first(&self) -> Result<Vec<Value>> {
        let pods = self.pods_of(APP)?.into_iter();
        Ok(pods.filter(|pod| self.first.contains(&uid(pod))).collect())
    }

    fn pods_of(&self, app: &str) -> Result<Vec<Value>> {
        let label = format!("--selector=app={app}");
        let mut list = self.cluster.kubectl_json(&["get", "pods", &label])?;
        let items = list["items"].as_array_mut().context("a list of Pods")?;
        Ok(std::mem::take(items))
    }
}

fn uid(pod: &Value) -> String {
    pod["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn is_ending(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null()
}

/// Berth had it replaced, and it does not count.
fn is_marked(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["berth.dev/soft-evicted"].is_string()
}

/// kubelet is at it: its containers run still.
fn answers_for(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running"
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")
}

/// Two racks cannot bring three observers from two others.
fn policy() -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "LifecyclePolicy",
        "metadata": {"name": "default", "namespace": "berth-system"},
        "spec": {
            "mode": "Enforce", "replace": true,
            "quorum": {"darkObservers": 2},
            "timers": {"recoverySeconds": 30},
            "budgets": {"appSurgePercent": 100},
        },
    })
}

fn server() -> Value {
    json!({
        "name": "app", "image": "localhost/app:v1", "imagePullPolicy": "Never",
        "command": ["sh", "-c", SERVE],
        "resources": {"requests": {"cpu": "10m"}},
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 5, "timeoutSeconds": 10, "failureThreshold": 60},
    })
}

fn tolerations(seconds: Option<u64>) -> Value {
    let one = |key: &str| {
        let mut one = json!({"key": key, "operator": "Exists", "effect": "NoExecute"});
        if let Some(seconds) = seconds {
            one["tolerationSeconds"] = json!(seconds);
        }
        one
    };
    json!([
        one("node.kubernetes.io/not-ready"),
        one("node.kubernetes.io/unreachable")
    ])
}

/// What is replaced.
fn deployment(pods: usize) -> Value {
    let burn = format!("dd if=/dev/zero bs=1M count={BURN_MB} 2>/dev/null | md5sum >/dev/null");
    let mut server = server();
    server["lifecycle"] = json!({"preStop": {"exec": {"command": ["sh", "-c", burn]}}});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": APP},
        "spec": {
            "replicas": pods, "selector": {"matchLabels": {"app": APP}},
            "template": {
                "metadata": {"labels": {"app": APP}, "annotations": {"berth.dev/networks": "external"}},
                "spec": {
                    "terminationGracePeriodSeconds": 300, "enableServiceLinks": false,
                    "automountServiceAccountToken": false,
                    "tolerations": tolerations(Some(TOLERATED_SECONDS)), "containers": [server],
                },
            },
        },
    })
}

/// What stays on the node, and is asked.
fn desk() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": DESK, "labels": {"app": DESK}},
        "spec": {
            "nodeName": NODE, "tolerations": tolerations(None), "containers": [server()],
        },
    })
}
