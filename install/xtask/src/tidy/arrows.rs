//! Which crate may depend on which: the table as data, and its check.
//!
//! A new arrow is a change of this table, in a commit of its own with the reason in its message.

use cargo_metadata::Package;

/// Each crate with the crates of ours that it may use, for tests too.
const ARROWS: &[(&str, &[&str])] = &[
    ("proto-ids", &[]),
    ("proto-ipam", &["proto-ids"]),
    ("proto-crd", &["proto-ids"]),
    ("cni-spec", &["proto-ids"]),
    ("cni-neigh", &["proto-ids"]),
    ("cni-datapath", &["proto-ids", "cni-neigh"]),
    (
        "cni",
        &["cni-spec", "cni-datapath", "proto-ipam", "proto-ids"],
    ),
    ("ipamd-core", &["proto-ids"]),
    ("ipamd-api", &[]),
    ("ipamd-daemon", &[]),
    (
        "ipamd",
        &[
            "ipamd-api",
            "ipamd-core",
            "ipamd-daemon",
            "cni-neigh",
            "proto-crd",
            "proto-ipam",
            "proto-ids",
        ],
    ),
    (
        "node-agent-controllers",
        &[
            "node-agent-inplace",
            "node-agent-lifecycle",
            "node-agent-peers",
            "node-agent-restart",
            "ipamd-core",
            "ipamd-daemon",
            "proto-crd",
            "proto-ids",
        ],
    ),
    (
        "node-agent",
        &[
            "node-agent-controllers",
            "node-agent-cri",
            "node-agent-guard",
            "node-agent-kernel",
            "node-agent-peers",
            "node-agent-pull",
            "node-agent-restart",
            "ipamd-api",
            "ipamd-daemon",
            "cni-neigh",
            "proto-crd",
            "proto-ipam",
            "proto-ids",
        ],
    ),
    ("node-agent-cri", &["ipamd-daemon"]),
    ("node-agent-guard", &["ipamd-daemon"]),
    ("node-agent-kernel", &[]),
    ("node-agent-lifecycle", &["proto-ids"]),
    ("node-agent-peers", &[]),
    ("node-agent-pull", &["proto-crd"]),
    ("node-agent-restart", &["proto-crd"]),
    ("node-agent-inplace", &["node-agent-restart", "proto-crd"]),
    (
        "node-agent-ctl",
        &[
            "node-agent-inplace",
            "node-agent-lifecycle",
            "node-agent-restart",
            "proto-crd",
            "proto-ipam",
            "proto-ids",
        ],
    ),
    ("install-init", &["cni-spec", "proto-ids"]),
    ("xtask", &["tests-testbed", "proto-crd"]),
    ("tests-testbed", &[]),
    ("tests-cri", &["tests-testbed"]),
    ("tests-fake-node", &["tests-testbed", "proto-crd"]),
    ("tests-lifecycle", &["node-agent-lifecycle", "proto-ids"]),
    (
        "tests",
        &[
            "proto-ids",
            "proto-ipam",
            "proto-crd",
            "cni-spec",
            "tests-testbed",
            "tests-cri",
            "tests-fake-node",
        ],
    ),
    (
        "tests-benches",
        &[
            "tests",
            "tests-cri",
            "tests-fake-node",
            "tests-lifecycle",
            "tests-testbed",
            "ipamd-core",
        ],
    ),
];

/// Crates that must never be named in the manifest of a crate of ours.
const BANNED: &[(&str, &[&str])] = &[
    ("proto-ids", &["tokio", "futures"]),
    ("proto-ipam", &["kube"]),
    ("proto-crd", &["tokio", "kube-runtime"]),
    ("cni-spec", &["tokio", "nix"]),
    ("cni-neigh", &["kube", "tonic"]),
    ("cni-datapath", &["kube", "tonic"]),
    ("cni", &["kube", "k8s-openapi", "rustls", "native-tls"]),
    ("ipamd-core", &["tokio", "kube", "tonic", "sled"]),
    ("node-agent-controllers", &["k8s-cri", "nix"]),
    ("node-agent-guard", &["kube", "k8s-cri", "nix"]),
    ("node-agent-lifecycle", &["tokio", "kube", "k8s-cri"]),
    ("node-agent-peers", &["tokio", "kube", "k8s-cri"]),
    ("node-agent-pull", &["tokio", "kube", "k8s-cri"]),
    ("node-agent-restart", &["tokio", "kube", "k8s-cri"]),
    ("node-agent-inplace", &["tokio", "kube", "k8s-cri"]),
    ("install-init", &["tokio", "kube"]),
    ("tests", &["kube-runtime", "rtnetlink", "netlink-sys"]),
    ("tests-testbed", &["rtnetlink", "netlink-sys"]),
];

/// Every arrow that is not in the table.
pub(crate) fn check(packages: &[&Package]) -> Vec<String> {
    let ours: Vec<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let uses: Vec<&str> = package
            .dependencies
            .iter()
            .map(|dependency| dependency.name.as_str())
            .collect();
        findings.extend(judge(name, &uses, &ours));
    }
    findings
}

fn judge(name: &str, uses: &[&str], ours: &[&str]) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        return vec![format!(
            "{name}: not in the table of arrows (tidy/arrows.rs)"
        )];
    };
    let banned = BANNED
        .iter()
        .find(|(from, _)| *from == name)
        .map_or(&[][..], |(_, banned)| banned);
    let mut findings = Vec::new();
    for used in uses {
        if ours.contains(used) && !allowed.contains(used) {
            findings.push(format!(
                "{name} -> {used}: no such arrow is allowed (tidy/arrows.rs)"
            ));
        }
        if banned.contains(used) {
            findings.push(format!("{name} -> {used}: banned there (tidy/arrows.rs)"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [&str; 3] = ["cni", "ipamd", "proto-ids"];

    #[test]
    fn arrow_of_the_table_is_allowed() {
        assert!(judge("cni", &["proto-ids", "serde"], &OURS).is_empty());
    }

    #[test]
    fn arrow_outside_of_the_table_is_found() {
        assert_eq!(judge("cni", &["ipamd"], &OURS).len(), 1);
    }

    #[test]
    fn banned_crate_is_found() {
        assert_eq!(judge("ipamd-core", &["tokio"], &OURS).len(), 1);
    }

    #[test]
    fn crate_without_a_row_is_found() {
        assert_eq!(judge("new", &[], &OURS).len(), 1);
    }
}
