//! Many real daemons beside one API server: each with a node, a token, a store and a boot of its own, as in a cluster of as many nodes.
//!
//! They share one machine, so nothing is wired and nothing is probed. What kubelet and the runtime would do (Pods that are bound, ADD, DEL) is done by the
//! test. The API server is asked through a proxy, so that looking costs little.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use proto_ipam::v1::{self, Phase};
use serde_json::{Value, json};
use tests::daemons::Client;
use tests::wait::{holds, wait_until};
use tests_testbed::{ApiProxy, ApiServer, ControlPlane, Process};

use super::counts::Counts;
use crate::shipped::{NAMESPACE, installed, pod_of};

/// Where the test's Pods are.
const PODS: &str = "prod";

/// What every daemon is told; `NODE` is its own.
const CONFIG: &str = r#"
socket = "/run/race/NODE/ipamd.sock"
store = "/run/race/NODE/store"
spool = "/run/race/NODE/spool"
cni_results = "/run/race/NODE/results"
metrics = ""
runtime = ""

[kubernetes]
warm = WARM
"#;

/// How many nodes, and what they share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    /// The world's name.
    pub(super) name: &'a str,
    pub(super) nodes: usize,
    /// Free addresses that each keeps claimed.
    pub(super) warm: usize,
    /// Addresses of the one pool.
    pub(super) range: &'a str,
    /// How long an address rests.
    pub(super) quarantine: &'a str,
}

/// The daemons of a rack.
#[derive(Debug)]
pub(super) struct Fleet {
    // Each ends before what it asks, and everything before the world it is in.
    sleds: Vec<Sled>,
    /// Lists of claims that are the test's own.
    looks: AtomicU32,
    pub(super) proxy: ApiProxy,
    pub(super) api: ApiServer,
}

/// One node with its daemon.
#[derive(Debug)]
pub(super) struct Sled {
    pub(super) name: String,
    pub(super) client: Client,
    daemon: Mutex<Option<Process>>,
}

/// A claim as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) address: String,
    pub(super) node: String,
    /// The identity that it is bound to, and whether a sandbox has it.
    pub(super) bound: Option<(String, bool)>,
    /// Who asks for it.
    pub(super) asked_by: Option<String>,
}

impl Fleet {
    /// Makes everything but the daemons, which are not started.
    pub(super) fn new(plan: Plan<'_>) -> Self {
        let api = installed(plan.name);
        let proxy = api.proxy().unwrap();
        // What is below /run there is the machine's; a socket's path must be short.
        let folders = "mount -t tmpfs tmpfs /run; mkdir /run/race";
        api.machine().script(folders).unwrap();
        let fleet = Self {
            sleds: (0..plan.nodes)
                .map(|number| Sled::new(&api, number))
                .collect(),
            looks: AtomicU32::new(0),
            proxy,
            api,
        };
        fleet.make_pods_home();
        fleet.make_pool(&plan);
        let template = pod_of(&fleet.api, "berth-ipamd", "NODE");
        for sled in &fleet.sleds {
            fleet.enlist(sled, &template, plan.warm);
        }
        fleet
    }

    pub(super) fn sleds(&self) -> &[Sled] {
        &self.sleds
    }

    /// Starts the daemon of each node at once.
    pub(super) fn start_all(&self) {
        for sled in &self.sleds {
            self.start(sled);
        }
    }

    pub(super) fn start(&self, sled: &Sled) {
        let machine = self.api.machine();
        let mut command = machine.command(tests_testbed::binary("berth-ipamd").unwrap());
        let folder = format!("/run/race/{}", sled.name);
        command.args(["--node", &sled.name]);
        command.args(["--config", &format!("{folder}/ipamd.toml")]);
        command.args(["--boot-id-file", &format!("{folder}/boot_id")]);
        command.args(["--kubeconfig", &format!("{folder}/kubeconfig")]);
        let process = machine.spawn_command(&format!("ipamd-{}", sled.name), command);
        *sled.daemon.lock().unwrap() = Some(process.unwrap());
    }

    /// Waits until every daemon serves in the rack.
    #[track_caller]
    pub(super) fn wait_serving(&self) {
        for sled in &self.sleds {
            sled.wait_serving();
        }
    }

    /// All claims.
    pub(super) fn claims(&self) -> Vec<Claim> {
        let path = format!("/apis/berth.dev/v1alpha1/namespaces/{NAMESPACE}/claims");
        self.looks.fetch_add(1, Ordering::Relaxed);
        let list = self.proxy.json(&path).unwrap();
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| Claim::of(&item["spec"])).collect()
    }

    /// What the API server has counted of requests about claims, but for the test's own.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::now(&self.proxy);
        counts.lists -= f64::from(self.looks.load(Ordering::Relaxed));
        counts
    }

    /// An API server that was started anew counts from zero.
    pub(super) fn count_anew(&self) {
        self.looks.store(0, Ordering::Relaxed);
    }

    /// Waits until each node has at least this many claims that nothing is bound to.
    #[track_caller]
    pub(super) fn wait_warm(&self, warm: usize) {
        wait_until("every node having its warm claims", || {
            let mut free: BTreeMap<&str, usize> = BTreeMap::new();
            let claims = self.claims();
            for claim in claims.iter().filter(|claim| claim.bound.is_none()) {
                *free.entry(&claim.node).or_default() += 1;
            }
            let short = self.sleds.iter().find(|sled| {
                let have = free.get(sled.name.as_str());
                have.is_none_or(|have| *have < warm)
            });
            holds(short.is_none(), || {
                let name = short.map_or("", |sled| &sled.name);
                format!("{name} has too few: {free:?}\n{}", self.log_of(name))
            })
        });
    }

    pub(super) fn log_of(&self, name: &str) -> String {
        let sled = self.sleds.iter().find(|sled| sled.name == name);
        sled.map(Sled::log_tail).unwrap_or_default()
    }

    /// Binds a Pod to a node, as the scheduler does; its UID. `annotations` are the Pod's.
    pub(super) fn bind(&self, pod: &str, sled: &Sled, annotations: &Value) -> String {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod, "namespace": PODS, "annotations": annotations},
            "spec": {
                "nodeName": sled.name, "automountServiceAccountToken": false,
                "containers": [{"name": "app", "image": "localhost/app:v1"}],
            },
        });
        let collection = format!("/api/v1/namespaces/{PODS}/pods");
        let made = self.proxy.create(&collection, &object).unwrap();
        made["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// Deletes a Pod, as when its kubelet has finished with it.
    pub(super) fn unbind(&self, pod: &str) {
        let path = format!("/api/v1/namespaces/{PODS}/pods/{pod}");
        self.proxy.delete_now(&path).unwrap();
    }

    /// A namespace for Pods with what a controller makes in it.
    fn make_pods_home(&self) {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PODS}});
        self.proxy.create("/api/v1/namespaces", &namespace).unwrap();
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let collection = format!("/api/v1/namespaces/{PODS}/serviceaccounts");
        self.proxy.create(&collection, &account).unwrap();
    }

    fn make_pool(&self, plan: &Plan<'_>) {
        let pool = json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "Pool", "metadata": {"name": "external-a"},
            "spec": {
                "network": "external", "rack": "a", "subnet": "10.20.0.0/16", "ranges": [plan.range],
                "quarantine": plan.quarantine, "probe": false,
            },
        });
        let collection = format!("/apis/berth.dev/v1alpha1/namespaces/{NAMESPACE}/pools");
        // A kind that was defined a moment ago is not served yet.
        wait_until("the pool being taken", || {
            let made = self.proxy.create(&collection, &pool);
            made.map(|_| ()).map_err(|error| format!("{error:#}"))
        });
    }

    /// The Node, the daemon's Pod on it, its token, and its files.
    fn enlist(&self, sled: &Sled, template: &Value, warm: usize) {
        let name = &sled.name;
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"topology.berth.dev/rack": "a"}},
        });
        self.proxy.create("/api/v1/nodes", &node).unwrap();
        let mut pod = template.clone();
        pod["metadata"]["name"] = format!("berth-ipamd-{name}").into();
        pod["spec"]["nodeName"] = name.as_str().into();
        let collection = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        let made = self.proxy.create(&collection, &pod).unwrap();
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod",
                "name": made["metadata"]["name"], "uid": made["metadata"]["uid"],
            }},
        });
        let accounts = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
        let token = self
            .proxy
            .create(&format!("{accounts}/berth-ipamd/token"), &request)
            .unwrap();
        let kubeconfig = kubeconfig(&self.authority(), &token["status"]["token"]);
        sled.write(&self.api, "kubeconfig", &kubeconfig.to_string());
        let config = CONFIG.replace("NODE", name);
        let config = config.replace("WARM", &warm.to_string());
        sled.write(&self.api, "ipamd.toml", &config);
        sled.write(&self.api, "boot_id", &format!("boot-of-{name}-1"));
    }

    fn authority(&self) -> Value {
        let admin = fs::read_to_string(self.api.kubeconfig()).unwrap();
        let admin: Value = serde_json::from_str(&admin).unwrap();
        admin["clusters"][0]["cluster"]["certificate-authority"].clone()
    }
}

fn kubeconfig(authority: &Value, token: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {
            "server": ControlPlane::server(), "certificate-authority": authority,
        }}],
        "users": [{"name": "it", "user": {"token": token}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    })
}

impl Sled {
    fn new(api: &ApiServer, number: usize) -> Self {
        let name = format!("n{}", number + 1);
        let machine = api.machine();
        fs::create_dir(machine.path(format!("/run/race/{name}"))).unwrap();
        Self {
            client: Client::new(&machine.path(format!("/run/race/{name}/ipamd.sock"))),
            name,
            daemon: Mutex::default(),
        }
    }

    fn write(&self, api: &ApiServer, file: &str, text: &str) {
        let path = format!("/run/race/{}/{file}", self.name);
        fs::write(api.machine().path(path), text).unwrap();
    }

    /// Kills the daemon without warning.
    pub(super) fn kill(&self) {
        if let Some(mut daemon) = self.daemon.lock().unwrap().take() {
            daemon.kill().unwrap();
        }
    }

    #[track_caller]
    pub(super) fn wait_serving(&self) {
        wait_until(&format!("{} serving", self.name), || {
            let status = self.client.status();
            let status = status.map_err(|error| format!("{error:?}\n{}", self.log_tail()))?;
            holds(
                status.phase() == Phase::Serving && status.rack == "a",
                || format!("{status:?}\n{}", self.log_tail()),
            )
        });
    }

    /// The address of an ADD.
    ///
    /// # Errors
    /// As the daemon refuses it, or that it does not answer.
    pub(super) fn add(&self, pod: &str, uid: &str, sandbox: &str) -> Result<String, tonic::Status> {
        let request = v1::AllocateRequest {
            attachment: Some(attachment(sandbox)),
            pod_namespace: PODS.to_owned(),
            pod_name: pod.to_owned(),
            pod_uid: uid.to_owned(),
            interfaces: vec![v1::InterfaceRequest {
                ifname: "eth0".to_owned(),
                network: "external".to_owned(),
                ..v1::InterfaceRequest::default()
            }],
            ..v1::AllocateRequest::default()
        };
        let granted = self.client.allocate(request)?;
        let address = &granted.interfaces[0].addresses[0].address;
        Ok(address.split('/').next().unwrap_or_default().to_owned())
    }

    /// The address of an ADD that is tried again as a runtime does, until it is granted.
    #[track_caller]
    pub(super) fn add_patiently(&self, pod: &str, uid: &str, sandbox: &str) -> String {
        wait_until(&format!("an address for {pod} on {}", self.name), || {
            self.add(pod, uid, sandbox)
                .map_err(|error| format!("{error:?}\n{}", self.log_tail()))
        })
    }

    /// A DEL, tried again until the daemon has answered: a runtime's stays in the spool meanwhile.
    #[track_caller]
    pub(super) fn del(&self, sandbox: &str) {
        wait_until(&format!("the end of {sandbox} on {}", self.name), || {
            let ended = self.client.release(attachment(sandbox));
            ended.map(|_| ()).map_err(|error| format!("{error:?}"))
        });
    }

    /// Identities with the address that a sandbox here has, as the book says.
    #[track_caller]
    pub(super) fn attached(&self) -> BTreeMap<String, String> {
        wait_until(&format!("the book of {}", self.name), || {
            let list = self.client.list().map_err(|error| format!("{error:?}"))?;
            let attached = list.into_iter().filter(|it| it.state == "attached");
            Ok(attached
                .map(|it| {
                    let address = it.address.split('/').next().unwrap_or_default();
                    (it.identity.clone(), address.to_owned())
                })
                .collect())
        })
    }

    fn log_tail(&self) -> String {
        let daemon = self.daemon.lock().unwrap();
        daemon.as_ref().map(Process::log_tail).unwrap_or_default()
    }
}

impl Claim {
    fn of(spec: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let binding = &spec["binding"];
        Self {
            address: text(&spec["address"]).unwrap_or_default(),
            node: text(&spec["node"]).unwrap_or_default(),
            bound: text(&binding["identity"]).map(|it| (it, binding["attached"] == true)),
            asked_by: text(&spec["handover"]["to"]),
        }
    }
}

fn attachment(sandbox: &str) -> v1::Attachment {
    v1::Attachment {
        cni_network: "bank".to_owned(),
        sandbox: sandbox.to_owned(),
        ifname: "eth0".to_owned(),
    }
}

/// The identity of a Pod of the test.
pub(super) fn identity(pod: &str) -> String {
    format!("{PODS}/{pod}")
}
