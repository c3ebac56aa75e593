//! Fake nodes beside a real API server: thousands of Pods in one process, kept as kubelet, a runtime and Berth's agent would.
//!
//! For what needs many Pods, or a Pod that misbehaves at the right moment. Everything goes through API objects: the scheduler's
//! binding, kubelet's status and last delete, the agent's gate, annotation, `ImagePull` and `ContainerRestart`. The rules are those
//! of the real ones, and the cluster tier must show each of them on a real kubelet, or this is a tale:
//!
//! * another image: the old container is stopped before anything else, the new one has another id, `restartCount` grows by one,
//!   whatever `restartPolicy`; the other containers, sandbox, address and UID stay;
//! * `Ready` is `ContainersReady` and every gate's condition; a condition that is not there counts as False; kubelet writes no gate;
//! * a container that is being stopped stays ready until it has ended;
//! * hook and TERM share the grace period, with two seconds for TERM at least;
//! * back-off of 0, 10, 20, 40 s between starts of one image, whoever stopped it; another image begins anew;
//! * an image that nobody has: `ErrImagePull`, then `ImagePullBackOff`, with the old container gone;
//! * an init container does not run again for another image, a sidecar does (1.32 on);
//! * a deleted Pod: containers end, then the last status, then the object, which stays while it has finalizers;
//! * the agent: gate True at the start, `berth.dev/containers` with the ids and hashes of what runs.
//!
//! Not as the real ones: only `restartPolicy: Always`; no probes but "ready so long after its start"; exec hooks take no time; the
//! agent holds no gate for a `ContainerRestart`; what Kubernetes' controllers say of a dead node they say at once.

mod agent;
mod drive;
mod kubelet;
mod rules;
mod schedule;
mod watch;
mod write;

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::Result;
use tests_testbed::ControlPlane;

use self::drive::{Driver, Input, Order, Shown};
pub use self::rules::{Fault, Of, Pace};
use self::watch::Kind;

/// The socket of the proxy through which the nodes speak.
const SOCKET: &str = "nodes.sock";

/// Running nodes; they end with this, and their objects stay.
#[derive(Debug)]
pub struct FakeNodes {
    orders: Sender<Input>,
    shown: Arc<Shown>,
    /// Dropped first: the watches end.
    over: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl FakeNodes {
    /// Makes Nodes of these names, and keeps every Pod that is bound to them. Pods of no node are bound to one of them. Needs the
    /// namespace `berth-system`.
    ///
    /// # Errors
    /// The API server cannot be asked, or refuses a Node.
    pub fn start(api: &ControlPlane, names: &[String], pace: Pace) -> Result<Self> {
        let proxy = Arc::new(api.proxy_at(SOCKET)?);
        drive::create_nodes(&proxy, names)?;
        let (orders, told) = channel();
        let (jobs, taken) = channel();
        let taken = Arc::new(Mutex::new(taken));
        let shown = Arc::new(Shown::default());
        let mut threads = Vec::new();
        let mut over = Vec::new();
        for kind in Kind::ALL {
            let (end, ends) = channel();
            over.push(end);
            let (proxy, orders) = (Arc::clone(&proxy), orders.clone());
            threads.push(thread::spawn(move || {
                watch::run(&proxy, kind, &orders, &ends);
            }));
        }
        for _ in 0..write::AT_ONCE {
            let (proxy, orders, taken) = (Arc::clone(&proxy), orders.clone(), Arc::clone(&taken));
            threads.push(thread::spawn(move || write::run(&proxy, &taken, &orders)));
        }
        let driver = Driver::new(names, pace, (jobs, Arc::clone(&shown)));
        threads.push(thread::spawn(move || driver.run(&told)));
        Ok(Self {
            orders,
            shown,
            over,
            threads,
        })
    }

    /// From now on this goes wrong.
    pub fn break_it(&self, of: Of, fault: Fault) {
        self.order(Order::Fault(of, Some(fault)));
    }

    /// From now on nothing goes wrong with this.
    pub fn mend(&self, of: Of) {
        self.order(Order::Fault(of, None));
    }

    /// An image gets another name: the same digest under both.
    pub fn alias(&self, image: &str, of: &str) {
        self.order(Order::Alias(image.to_owned(), of.to_owned()));
    }

    /// An image goes from every node, as kubelet's garbage collection would do it.
    pub fn forget_image(&self, image: &str) {
        self.order(Order::Forget(image.to_owned()));
    }

    /// A node loses its power: everything on it ends, and it says nothing more.
    pub fn power_off(&self, node: &str) {
        self.order(Order::Power(node.to_owned(), false));
    }

    /// It has its power again.
    pub fn power_on(&self, node: &str) {
        self.order(Order::Power(node.to_owned(), true));
    }

    /// A node is silent: it hears nothing and says nothing, and nobody says anything of it. Whether it is dead only [`Self::power_on`]
    /// or [`Self::hear`] will tell.
    pub fn silence(&self, node: &str) {
        self.order(Order::Silence(node.to_owned(), true));
    }

    /// It is heard again, and everything on it ran on.
    pub fn hear(&self, node: &str) {
        self.order(Order::Silence(node.to_owned(), false));
    }

    /// How many writes the nodes have made.
    pub fn writes(&self) -> u64 {
        self.shown.writes.load(Ordering::Relaxed)
    }

    /// What the API server answered that it should not have; nothing, if all is well.
    pub fn trouble(&self) -> Vec<String> {
        let all = self.shown.trouble.lock();
        all.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the last watch that ended did, if one has; that is no trouble.
    pub fn interrupted(&self) -> Option<String> {
        let last = self.shown.interrupted.lock();
        last.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn order(&self, order: Order) {
        // Without its driver nothing happens any more, and the test will see that.
        let _ = self.orders.send(Input::Order(order));
    }
}

impl Drop for FakeNodes {
    fn drop(&mut self) {
        self.over.clear();
        self.order(Order::Over);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
