//! What a Pod and a container shall be, and the messages that say so.

use std::collections::HashMap;

use k8s_cri::v1::{
    ContainerConfig, ContainerMetadata, DnsConfig, ImageSpec, LinuxContainerConfig,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption,
    PodSandboxConfig, PodSandboxMetadata,
};

/// A Pod to be run, as kubelet would name it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The how manieth sandbox of this Pod; a runtime refuses the same one twice.
    pub attempt: u32,
    /// Annotations, which the runtime hands to some plugins.
    pub annotations: HashMap<String, String>,
    /// The cgroup that its containers' cgroups are made in.
    pub cgroup_parent: String,
    /// A folder for the containers' logs, as the runtime sees it.
    pub log_directory: String,
}

/// A container to be run in a Pod.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The how manieth container of that name in this sandbox.
    pub attempt: u32,
    /// Its image, which must be there already.
    pub image: String,
    /// What it runs; the image's command where empty.
    pub command: Vec<String>,
}

impl Pod {
    /// A Pod whose UID is made of its name.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{namespace}-{name}"),
            attempt: 0,
            annotations: HashMap::new(),
            cgroup_parent: String::new(),
            log_directory: "/var/log/pods".to_owned(),
        }
    }

    /// The same Pod's next sandbox.
    #[must_use]
    pub fn next_attempt(mut self) -> Self {
        self.attempt += 1;
        self
    }

    pub(crate) fn config(&self) -> PodSandboxConfig {
        let namespaces = NamespaceOption {
            network: NamespaceMode::Pod.into(),
            pid: NamespaceMode::Container.into(),
            ipc: NamespaceMode::Pod.into(),
            ..NamespaceOption::default()
        };
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: self.name.clone(),
                uid: self.uid.clone(),
                namespace: self.namespace.clone(),
                attempt: self.attempt,
            }),
            hostname: self.name.clone(),
            log_directory: self.log_directory.clone(),
            dns_config: Some(DnsConfig::default()),
            annotations: self.annotations.clone(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: self.cgroup_parent.clone(),
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces),
                    ..LinuxSandboxSecurityContext::default()
                }),
                ..LinuxPodSandboxConfig::default()
            }),
            ..PodSandboxConfig::default()
        }
    }
}

impl Container {
    /// A container that runs the image's own command.
    pub fn new(name: &str, image: &str) -> Self {
        Self {
            name: name.to_owned(),
            attempt: 0,
            image: image.to_owned(),
            command: Vec::new(),
        }
    }

    pub(crate) fn config(&self) -> ContainerConfig {
        ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: self.name.clone(),
                attempt: self.attempt,
            }),
            image: Some(ImageSpec {
                image: self.image.clone(),
                ..ImageSpec::default()
            }),
            command: self.command.clone(),
            log_path: format!("{}_{}.log", self.name, self.attempt),
            linux: Some(LinuxContainerConfig::default()),
            ..ContainerConfig::default()
        }
    }
}
