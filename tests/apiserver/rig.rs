//! A real `berth-ipamd` of node `n1` beside an API server on which the whole install was applied, with the token of its Pod.
//!
//! Nothing else is there: the daemon runs in the API server's machine, is asked by its socket, and no Pod is wired.

use std::fs;

use proto_ipam::refusal::Refusal;
use proto_ipam::v1::{self, Phase};
use serde_json::Value;
use tests::daemons::Client;
use tests::wait::{PATIENCE, holds, wait_until};
use tests_testbed::{ApiServer, Process};

use crate::shipped::{Caller, NAMESPACE, add_node, installed, kubectl};

/// The label of a Node that says its rack.
pub(crate) const LABEL: &str = "topology.berth.dev/rack";
/// Where the daemon finds token and authority.
pub(crate) const ACCOUNT: &str = "/run/secrets/kubernetes.io/serviceaccount";
const CONFIG: &str = "/run/berth/ipamd.toml";

/// A daemon of node `n1` beside an API server on which the whole install was applied.
pub(crate) struct Rig {
    // Ends before the machine it runs in.
    daemon: Option<Process>,
    pub(crate) api: ApiServer,
}

impl Rig {
    /// No daemon yet, but this configuration; the Node has no label.
    pub(crate) fn new(name: &str, config: &str) -> Self {
        let api = installed(name);
        add_node(&api, "n1");
        // What a Pod has of its account lies below /run, where this machine has only what the test puts there.
        let folders = format!("mount -t tmpfs tmpfs /run; mkdir -p /run/berth {ACCOUNT}");
        api.machine().script(&folders).unwrap();
        let admin = fs::read_to_string(api.kubeconfig()).unwrap();
        let admin: Value = serde_json::from_str(&admin).unwrap();
        let authority = admin["clusters"][0]["cluster"]["certificate-authority"].as_str();
        let rig = Self { daemon: None, api };
        rig.write(
            &format!("{ACCOUNT}/ca.crt"),
            &fs::read_to_string(authority.unwrap()).unwrap(),
        );
        rig.write(&format!("{ACCOUNT}/namespace"), NAMESPACE);
        let token = Caller::in_pod(&rig.api, "berth-ipamd", "n1");
        rig.write(&format!("{ACCOUNT}/token"), token.token());
        rig.configure(config);
        rig
    }

    /// What the daemon is told.
    pub(crate) fn configure(&self, config: &str) {
        self.write(CONFIG, config);
    }

    /// A file of the daemon's machine.
    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.api.machine().path(path), text).unwrap();
    }

    /// Starts it as the daemon of this node.
    pub(crate) fn start_as(&mut self, node: &str) {
        let machine = self.api.machine();
        let mut command = machine.command(tests_testbed::binary("berth-ipamd").unwrap());
        command
            .args(["--config", CONFIG])
            .env("BERTH_IPAMD_NODE", node)
            .env("KUBERNETES_SERVICE_HOST", "10.50.0.2")
            .env("KUBERNETES_SERVICE_PORT", "6443");
        self.daemon = Some(machine.spawn_command("ipamd", command).unwrap());
    }

    /// Starts it.
    pub(crate) fn start(&mut self) {
        self.start_as("n1");
    }

    /// Ends it and waits for that.
    pub(crate) fn stop(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        assert!(daemon.terminate(PATIENCE).unwrap().success());
    }

    /// What it has logged since its start.
    pub(crate) fn log(&self) -> String {
        self.daemon.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Asks it.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.api.machine().path("/run/berth/ipamd.sock"))
    }

    /// Waits until the daemon says this of itself.
    #[track_caller]
    pub(crate) fn wait(
        &self,
        what: &str,
        said: impl Fn(&v1::StatusResponse) -> bool,
    ) -> v1::StatusResponse {
        wait_until(what, || {
            let status = self.client().status();
            let status = status.map_err(|error| format!("{error:?}\n{}", self.log()))?;
            holds(said(&status), || format!("{status:?}\n{}", self.log())).map(|()| status)
        })
    }

    /// Waits until it serves in a rack.
    #[track_caller]
    pub(crate) fn wait_serving(&self, rack: &str) {
        self.wait(&format!("it serves in rack {rack}"), |status| {
            status.phase() == Phase::Serving && status.rack == rack
        });
    }

    /// Changes the label of the Node.
    pub(crate) fn label(&self, change: &str) {
        kubectl(&self.api, &["label", "node", "n1", change, "--overwrite"]);
    }

    /// An ADD of a Pod: its address.
    #[track_caller]
    pub(crate) fn add(&self, pod: &str) -> String {
        let granted = self.client().allocate(allocate(pod)).unwrap();
        granted.interfaces[0].addresses[0].address.clone()
    }

    /// An ADD that is refused.
    #[track_caller]
    pub(crate) fn refused(&self, pod: &str) -> Refusal {
        let status = self.client().allocate(allocate(pod)).unwrap_err();
        Refusal::from_status(&status).unwrap_or_else(|| panic!("{status:?}"))
    }

    /// The notes of the Events on `n1` of this reason.
    pub(crate) fn events(&self, reason: &str) -> Vec<String> {
        let all = self
            .api
            .kubectl_json(&["get", "events.events.k8s.io", "-n", "default"]);
        let all = all.unwrap();
        let items = all["items"].as_array().unwrap().iter();
        items
            .filter(|event| event["reason"] == reason && event["regarding"]["name"] == "n1")
            .map(|event| event["note"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Waits until such an Event says these words.
    #[track_caller]
    pub(crate) fn wait_event(&self, reason: &str, words: &str) {
        wait_until(&format!("an Event {reason}"), || {
            let notes = self.events(reason);
            let told = notes.iter().any(|note| note.contains(words));
            holds(told, || format!("{notes:?}\n{}", self.log()))
        });
    }
}

/// The attachment of a Pod of namespace `prod`.
pub(crate) fn attachment(pod: &str) -> v1::Attachment {
    v1::Attachment {
        cni_network: "bank".to_owned(),
        sandbox: pod.to_owned(),
        ifname: "eth0".to_owned(),
    }
}

/// What the plugin asks for it.
pub(crate) fn allocate(pod: &str) -> v1::AllocateRequest {
    v1::AllocateRequest {
        attachment: Some(attachment(pod)),
        pod_namespace: "prod".to_owned(),
        pod_name: pod.to_owned(),
        interfaces: vec![v1::InterfaceRequest {
            ifname: "eth0".to_owned(),
            network: "external".to_owned(),
            ..v1::InterfaceRequest::default()
        }],
        ..v1::AllocateRequest::default()
    }
}
