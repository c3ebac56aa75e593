//! The flags of the control plane's processes.

use super::{ADDRESS, Component, ControlPlane, SERVICE_CIDR};

/// Somebody else decides about nodes: what an operator writes who replaces Kubernetes' rule.
const WITHOUT_LIFECYCLE: &str =
    "--controllers=*,-node-lifecycle-controller,-taint-eviction-controller";

impl ControlPlane {
    pub(super) fn flags(&self, component: Component) -> Vec<String> {
        match component {
            Component::Etcd => self.etcd(),
            Component::ApiServer => self.api_server(),
            Component::Controllers => self.controllers(),
            Component::Scheduler => self.scheduler(),
        }
    }

    fn etcd(&self) -> Vec<String> {
        vec![
            format!("--data-dir={}", self.folder.join("etcd").display()),
            // It lives as long as the world: nothing is lost that a power cut would take.
            "--unsafe-no-fsync".to_owned(),
            // As kubeadm does: without it, watches of what nobody changes hear no bookmarks.
            "--watch-progress-notify-interval=5s".to_owned(),
            "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        ]
    }

    fn api_server(&self) -> Vec<String> {
        let pki = &self.authority;
        vec![
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            format!("--bind-address={ADDRESS}"),
            format!("--advertise-address={ADDRESS}"),
            "--secure-port=6443".to_owned(),
            format!("--tls-cert-file={}", pki.certificate("apiserver")),
            format!("--tls-private-key-file={}", pki.key("apiserver")),
            format!("--client-ca-file={}", pki.ca().display()),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            // It takes no public key out of this kind of private one.
            format!(
                "--service-account-key-file={}",
                pki.public_key("service-accounts")
            ),
            format!(
                "--service-account-signing-key-file={}",
                pki.key("service-accounts")
            ),
            format!(
                "--kubelet-client-certificate={}",
                pki.certificate("kubelet-client")
            ),
            format!("--kubelet-client-key={}", pki.key("kubelet-client")),
            format!("--service-cluster-ip-range={SERVICE_CIDR}"),
            "--allow-privileged".to_owned(),
            // Names of nodes are not in any DNS: without it logs and exec fail on the look-up.
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
        ]
    }

    fn controllers(&self) -> Vec<String> {
        let pki = &self.authority;
        let mut flags = self.kubeconfigs("controllers");
        flags.extend([
            format!(
                "--service-account-private-key-file={}",
                pki.key("service-accounts")
            ),
            format!("--root-ca-file={}", pki.ca().display()),
            "--use-service-account-credentials".to_owned(),
            // Its default is a folder of the machine, and it makes it.
            format!(
                "--flex-volume-plugin-dir={}",
                self.folder.join("volume-plugins").display()
            ),
            "--leader-elect=false".to_owned(),
        ]);
        if self.only_controllers.is_empty() {
            flags.extend(self.without_lifecycle.then(|| WITHOUT_LIFECYCLE.to_owned()));
        } else {
            flags.extend([
                format!("--controllers={}", self.only_controllers.join(",")),
                // With thousands of fake Pods its own limit (20 a second) would be what is measured.
                "--kube-api-qps=500".to_owned(),
                "--kube-api-burst=1000".to_owned(),
            ]);
        }
        flags
    }

    fn scheduler(&self) -> Vec<String> {
        let mut flags = self.kubeconfigs("scheduler");
        flags.push("--leader-elect=false".to_owned());
        flags
    }

    fn kubeconfigs(&self, file: &str) -> Vec<String> {
        let path = self.folder.join(format!("pki/{file}.kubeconfig"));
        [
            "kubeconfig",
            "authentication-kubeconfig",
            "authorization-kubeconfig",
        ]
        .map(|flag| format!("--{flag}={}", path.display()))
        .into()
    }
}
