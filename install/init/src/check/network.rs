//! What each fact of networks and configurations means for Berth: interfaces, other plugins, uplinks, the chain, ipamd,
//! the API server. Pure; one function a fact.

use super::Finding;
use crate::args::Paths;
use crate::conflist::Conflist;
use crate::folder::Entry;
use crate::{arrange, outside};

/// The runtime's configuration folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configurations {
    /// What a runtime reads, or why that cannot be known.
    pub(super) entries: Result<Vec<Entry>, String>,
    /// The name under which ours was put there.
    pub(super) placed: Option<String>,
}

/// An uplink that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uplink {
    /// The network.
    pub(super) network: String,
    /// The interface.
    pub(super) name: String,
    /// Whether it is there.
    pub(super) present: bool,
    /// Whether the cable has a signal; `None` while the interface is down.
    pub(super) carrier: Option<bool>,
    /// Whether it has addresses of its own and shall have none.
    pub(super) addressed: bool,
}

/// An attempt to connect to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Api {
    /// Host and port.
    pub(super) address: String,
    /// Why nothing came of it.
    pub(super) failure: Option<String>,
}

/// Interfaces by which other networks are known: name, or its beginning with a `*`.
const TRACES: &[(&str, &str)] = &[
    ("cni0", "flannel or bridge"),
    ("cbr0", "kubenet"),
    ("flannel.1", "flannel"),
    ("flannel-v6.1", "flannel"),
    ("flannel-wg", "flannel"),
    ("cali*", "Calico"),
    ("vxlan.calico", "Calico"),
    ("tunl0", "Calico IPIP"),
    ("cilium_*", "Cilium"),
    ("lxc_health", "Cilium"),
    ("weave", "Weave Net"),
    ("antrea-gw0", "Antrea"),
    ("ovn-k8s-mp0", "OVN-Kubernetes"),
    ("kube-bridge", "kube-router"),
];

pub(super) fn links(names: &Result<Vec<String>, String>) -> Finding {
    const FACT: &str = "interfaces";
    let names = match names {
        Ok(names) => names,
        Err(error) => {
            return Finding::refused(
                FACT,
                error,
                "nothing about interfaces can be known like this",
            );
        }
    };
    let found: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let of = TRACES
                .iter()
                .find(|(pattern, _)| match pattern.strip_suffix('*') {
                    Some(begin) => name.starts_with(begin),
                    None => name == pattern,
                });
            of.map(|(_, owner)| format!("{name} ({owner})"))
        })
        .collect();
    if found.is_empty() {
        return Finding::good(FACT, "no interface of another plugin");
    }
    Finding::warning(
        FACT,
        found.join(", "),
        "another plugin made these; Pods it started keep them. When nothing uses them any more: ip link delete NAME, or a reboot",
    )
}

pub(super) fn configurations(paths: &Paths, found: &Configurations) -> Finding {
    const FACT: &str = "configurations";
    let entries = match &found.entries {
        Ok(entries) => entries,
        Err(error) => {
            let advice = "see whether --conf-dir names the runtime's folder";
            return Finding::refused(FACT, error, advice);
        }
    };
    let scene = arrange::Scene {
        name: &paths.name,
        placed: found.placed.as_deref(),
        entries,
        current: false,
        replace: paths.replace,
    };
    let others = |ends: fn(&str, &str) -> bool| -> String {
        let names: Vec<String> = entries
            .iter()
            .filter(|entry| ends(&entry.name, &paths.name))
            .map(Entry::describe)
            .collect();
        names.join(", ")
    };
    let ahead = arrange::ahead(&paths.name, found.placed.as_deref(), entries);
    let after = others(|name, ours| name > ours);
    match arrange::install(scene) {
        Err(error) => Finding::refused(FACT, others(|name, ours| name <= ours), error.to_string()),
        Ok(_) if !ahead.is_empty() => Finding::warning(
            FACT,
            others(|name, ours| name < ours),
            "moved aside with --replace, and given back by `berth-install uninstall`",
        ),
        Ok(_) if !after.is_empty() => Finding::good(
            FACT,
            format!("{after} sorts after ours: unused while ours is there"),
        ),
        Ok(_) => Finding::good(FACT, "none of other plugins"),
    }
}

pub(super) fn no_source(error: &str) -> Finding {
    let advice = "correct the file, or name another with --conflist";
    Finding::refused("configuration", error, advice)
}

pub(super) fn source(list: &Conflist) -> Finding {
    let networks: Vec<String> = list
        .ours
        .iter()
        .flat_map(|conf| &conf.networks)
        .map(|network| network.name.to_string())
        .collect();
    let versions: Vec<&str> = list.versions.iter().map(|v| v.as_str()).collect();
    Finding::good(
        "configuration",
        format!(
            "networks {}; CNI {}",
            if networks.is_empty() {
                "by other plugins".to_owned()
            } else {
                networks.join(", ")
            },
            versions.join(" or ")
        ),
    )
}

pub(super) fn uplink(uplink: &Uplink) -> Finding {
    const FACT: &str = "uplink";
    let Uplink { network, name, .. } = uplink;
    if !uplink.present {
        return Finding::refused(
            FACT,
            format!("{name} of network {network} does not exist"),
            "check driver, cable and the name in the configuration (`ip link`)",
        );
    }
    match uplink.carrier {
        Some(true) if uplink.addressed => Finding::refused(
            FACT,
            format!("{name} of network {network} carries the node's addresses"),
            "say \"mode\": \"take-over\" in the network: they move to the bridge; or make the bridge by hand",
        ),
        Some(true) => Finding::good(FACT, format!("{name} of network {network} is up")),
        Some(false) => Finding::refused(
            FACT,
            format!("{name} of network {network} has no carrier"),
            "check cable and switch port",
        ),
        None => Finding::warning(
            FACT,
            format!("{name} of network {network} is down"),
            "Berth sets it up with the first Pod; whether the cable has a signal is known only then",
        ),
    }
}

pub(super) fn chain(answer: &outside::Answer) -> Finding {
    const FACT: &str = "chain";
    if !answer.waits.is_empty() {
        return Finding::refused(
            FACT,
            answer.waits.join("; "),
            "no Pod could start with this configuration",
        );
    }
    if !answer.warnings.is_empty() {
        let advice = "containerd 2 chooses the newest of \"cniVersions\", older runtimes take \"cniVersion\"";
        return Finding::warning(FACT, answer.warnings.join("; "), advice);
    }
    Finding::good(
        FACT,
        "every further plugin is there and speaks the versions",
    )
}

/// What `berth-ipamd check-config` said.
pub(super) fn ipamd(answer: &Result<String, String>) -> Finding {
    match answer {
        Ok(said) => Finding::good("ipamd", said),
        Err(said) => Finding::refused("ipamd", said, "correct the file (ConfigMap berth-ipamd)"),
    }
}

pub(super) fn api(api: &Api) -> Finding {
    const FACT: &str = "API server";
    let Api { address, failure } = api;
    match failure {
        None => Finding::good(FACT, format!("{address} answers")),
        Some(failure) => Finding::refused(
            FACT,
            format!("{address} cannot be reached: {failure}"),
            "where there is no kube-proxy, set KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT in the ConfigMap berth-api to an \
             address that this node reaches; else see whether kube-proxy and the network to the API server work",
        ),
    }
}

#[cfg(test)]
mod tests;
