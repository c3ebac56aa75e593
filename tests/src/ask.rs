//! One attachment as a runtime asks for it: the Pod, its sandbox, and what is asked for it.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::plugin::Call;
use crate::site::Pod;

/// An attachment of a Pod, to be added, checked and deleted.
#[derive(Clone, Debug)]
pub struct Ask {
    pub(crate) netns: PathBuf,
    pub(crate) container: String,
    pub(crate) networks: Option<Value>,
    pub(crate) runtime: Value,
    pub(crate) keys: Vec<(String, Value)>,
    pub(crate) version: String,
    namespace: String,
    pod: String,
    more_args: String,
}

impl Ask {
    /// The attachment `eth0` of the Pod `prod/NAME` in this namespace, with a container id of 64 bytes made of the name.
    pub fn new(name: &str, pod: &Pod<'_>) -> Self {
        Self {
            netns: pod.path().to_owned(),
            container: format!("{:x<64}", format!("cid-{name}-")),
            networks: None,
            runtime: json!({}),
            keys: Vec::new(),
            version: "1.1.0".to_owned(),
            namespace: "prod".to_owned(),
            pod: name.to_owned(),
            more_args: String::new(),
        }
    }

    /// The container id.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// Another container id: a new sandbox of the same Pod.
    #[must_use]
    pub fn container_id(mut self, container: &str) -> Self {
        container.clone_into(&mut self.container);
        self
    }

    /// Another Kubernetes namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Other networks than the site's.
    #[must_use]
    pub fn networks(mut self, networks: Value) -> Self {
        self.networks = Some(networks);
        self
    }

    /// Only the external network.
    #[must_use]
    pub fn external_only(self) -> Self {
        self.networks(json!([{"name": "external", "uplink": "eth0", "default": true}]))
    }

    /// `runtimeConfig`.
    #[must_use]
    pub fn runtime(mut self, runtime: Value) -> Self {
        self.runtime = runtime;
        self
    }

    /// A key of the configuration's top level.
    #[must_use]
    pub fn key(mut self, key: &str, value: Value) -> Self {
        self.keys.push((key.to_owned(), value));
        self
    }

    /// Further `CNI_ARGS`.
    #[must_use]
    pub fn cni_args(mut self, args: &str) -> Self {
        args.clone_into(&mut self.more_args);
        self
    }

    /// Another `cniVersion`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// The call of a verb, still without configuration.
    pub fn call(&self, verb: &str) -> Call {
        let mut args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID=uid-{}",
            self.namespace, self.pod, self.container, self.pod
        );
        if !self.more_args.is_empty() {
            args = format!("{args};{}", self.more_args);
        }
        Call::new(verb, &self.container, &self.netns, "eth0").args(&args)
    }
}
