//! Nodes as objects: racks of forty, each with a kubelet's Lease, an agent's and a report, renewed at the real rates by some threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests_testbed::{ApiProxy, ControlPlane};

const MERGE: &str = "application/merge-patch+json";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces";
const HEALTHS: &str = "/apis/berth.dev/v1alpha1/namespaces/berth-system/nodehealths";

const RACK: usize = 40;
const THREADS: usize = 16;

/// kubelet's, and the agent's with its spread.
const KUBELET: Duration = Duration::from_secs(10);
const AGENT: Duration = Duration::from_secs(26);
const REPORT: Duration = Duration::from_secs(600);
/// A report is worth nothing after so long.
const REPORT_HOLDS: Duration = Duration::from_secs(900);

/// Running nodes; they end with this.
pub(crate) struct Nodes {
    count: usize,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    is_dark: AtomicBool,
    written: AtomicU32,
}

impl Nodes {
    pub(crate) fn start(api: &ControlPlane, count: usize) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let proxy = Arc::new(api.proxy()?);
        let made: Vec<_> = (0..THREADS)
            .map(|part| {
                let proxy = Arc::clone(&proxy);
                thread::spawn(move || {
                    (part..count)
                        .step_by(THREADS)
                        .try_for_each(|number| make(&proxy, number))
                })
            })
            .collect();
        for thread in made {
            let made = thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))?;
            made.context("make the nodes")?;
        }
        let threads = (0..THREADS)
            .map(|part| {
                let (proxy, shared) = (Arc::clone(&proxy), Arc::clone(&shared));
                thread::spawn(move || live(&proxy, &shared, (part, count)))
            })
            .collect();
        Ok(Self {
            count,
            shared,
            threads,
        })
    }

    /// Writes that came through.
    pub(crate) fn written(&self) -> u32 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// How many they are to make in a second, while all is well.
    pub(crate) fn rate(&self) -> f64 {
        let periods = [KUBELET, AGENT, REPORT];
        let of_one: f64 = periods
            .iter()
            .map(|period| 1.0 / period.as_secs_f64())
            .sum();
        of_one * f64::from(small(self.count))
    }

    /// From now on the first rack says nothing, and its peers see it no more.
    pub(crate) fn power_off_first_rack(&self) {
        self.shared.is_dark.store(true, Ordering::Relaxed);
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn name(number: usize) -> String {
    format!("r{:03}-n{:02}", number / RACK, number % RACK)
}

fn rack(number: usize) -> String {
    format!("r{:03}", number / RACK)
}

/// Three of the same rack, three of others.
fn peers(number: usize, count: usize) -> Vec<usize> {
    let first = number - number % RACK;
    let size = RACK.min(count - first);
    let near = (1..=3).map(|step| first + (number - first + step) % size);
    let far = (1..=3).map(|step| (number + step * RACK) % count);
    near.chain(far).filter(|peer| *peer != number).collect()
}

fn make(proxy: &ApiProxy, number: usize) -> Result<()> {
    let name = name(number);
    let address = format!(
        "10.{}.{}.{}",
        60 + number / 60_000,
        number / 250 % 250,
        number % 250 + 1
    );
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.berth.dev/rack": rack(number), "kubernetes.io/hostname": name}},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    });
    let health = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "NodeHealth",
        "metadata": {"name": name, "namespace": "berth-system"}, "spec": {"nodeName": name},
    });
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": name},
    });
    proxy.create("/api/v1/nodes", &node)?;
    proxy.create(HEALTHS, &health)?;
    for namespace in ["kube-node-lease", "berth-system"] {
        proxy.create(&format!("{LEASES}/{namespace}/leases"), &lease)?;
    }
    Ok(())
}

/// One node, as its thread has it.
struct Node {
    number: usize,
    kubelet: Instant,
    agent: Instant,
    report: Instant,
    /// It has told that the first rack is dark.
    has_told: bool,
}

/// Some of the nodes, until it is over. What the API server does not take is late, and seen in the rate.
fn live(proxy: &ApiProxy, shared: &Shared, (part, count): (usize, usize)) {
    let start = Instant::now();
    let spread = |number: usize, period: Duration| start + period * small(number) / small(count);
    let mut nodes: Vec<Node> = (part..count)
        .step_by(THREADS)
        .map(|number| Node {
            number,
            kubelet: spread(number, KUBELET),
            agent: spread(number, AGENT),
            // At once: without a report nobody votes.
            report: spread(number, KUBELET),
            has_told: false,
        })
        .collect();
    while !shared.is_over.load(Ordering::Relaxed) {
        let is_dark = shared.is_dark.load(Ordering::Relaxed);
        for node in &mut nodes {
            if is_dark && node.number < RACK {
                continue;
            }
            let now = Instant::now();
            if now >= node.kubelet {
                node.kubelet += KUBELET;
                count_it(shared, &renew(proxy, "kube-node-lease", node.number));
            }
            if now >= node.agent {
                node.agent += AGENT;
                count_it(shared, &renew(proxy, "berth-system", node.number));
            }
            let peers = peers(node.number, count);
            let is_news = is_dark && !node.has_told && peers.iter().any(|peer| *peer < RACK);
            if now >= node.report || is_news {
                node.report = now + REPORT;
                node.has_told = is_dark;
                count_it(shared, &report(proxy, node.number, &peers, is_dark));
            }
        }
        thread::park_timeout(Duration::from_millis(20));
    }
}

fn count_it(shared: &Shared, written: &Result<()>) {
    if written.is_ok() {
        shared.written.fetch_add(1, Ordering::Relaxed);
    }
}

fn renew(proxy: &ApiProxy, namespace: &str, number: usize) -> Result<()> {
    let path = format!("{LEASES}/{namespace}/leases/{}", name(number));
    let now = humantime::format_rfc3339_micros(SystemTime::now());
    patch(
        proxy,
        &path,
        &json!({"spec": {"renewTime": now.to_string()}}),
    )
}

fn report(proxy: &ApiProxy, number: usize, peers: &[usize], is_dark: bool) -> Result<()> {
    let now = SystemTime::now();
    let time = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
    let (now, expiry) = (time(now), time(now + REPORT_HOLDS));
    let sights: Vec<Value> = peers
        .iter()
        .map(|peer| {
            let state = if is_dark && *peer < RACK { "Dead" } else { "Alive" };
            json!({"node": name(*peer), "rack": rack(*peer), "state": state, "since": now, "lostPercent": 0})
        })
        .collect();
    // As many signals as an agent has, so that a report has its size.
    let signals: Vec<Value> = (0..45)
        .map(|index| {
            json!({
                "name": format!("signal-{index}"), "state": "Healthy", "since": now, "observedTime": now,
                "ttlSeconds": 120, "value": "as it should be", "threshold": "as an agent says it",
            })
        })
        .collect();
    let status = json!({"status": {
        "bootId": "1", "agentVersion": "bench", "reportTime": now, "expiryTime": expiry,
        "problems": 0, "unknowns": 0, "conditions": [], "signals": signals, "peers": sights,
        "vote": {"state": "Given", "reason": "Seeing", "message": "", "since": now},
    }});
    patch(
        proxy,
        &format!("{HEALTHS}/{}/status", name(number)),
        &status,
    )
}

fn patch(proxy: &ApiProxy, path: &str, body: &Value) -> Result<()> {
    let answer = proxy.call_in(MERGE, "PATCH", path, body)?;
    ensure!(answer.status == 200, "PATCH {path}: {answer:?}");
    Ok(())
}
