//! `kubectl get … --output json`, asked of the API server by the proxy: a process of kubectl costs a fifth of a second of processor time, and tests that wait look
//! again and again.
//!
//! Only what is told in full here is taken: plain words for one known kind. Everything else is kubectl's business.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::api_proxy::ApiProxy;

/// What kubectl calls a kind, where it is, and whether it has namespaces.
const KINDS: &[(&[&str], &str, bool)] = &[
    (&["pod", "pods", "po"], "api/v1/pods", true),
    (&["node", "nodes"], "api/v1/nodes", false),
    (&["event", "events"], "api/v1/events", true),
    (&["service", "services", "svc"], "api/v1/services", true),
    (&["secret", "secrets"], "api/v1/secrets", true),
    (
        &["configmap", "configmaps", "cm"],
        "api/v1/configmaps",
        true,
    ),
    (
        &["events.events.k8s.io"],
        "apis/events.k8s.io/v1/events",
        true,
    ),
    (
        &["daemonset", "daemonsets", "ds"],
        "apis/apps/v1/daemonsets",
        true,
    ),
    (
        &["statefulset", "statefulsets", "sts"],
        "apis/apps/v1/statefulsets",
        true,
    ),
    (
        &["deployment", "deployments"],
        "apis/apps/v1/deployments",
        true,
    ),
    (
        &["lease", "leases"],
        "apis/coordination.k8s.io/v1/leases",
        true,
    ),
    (&["pool", "pools"], "apis/berth.dev/v1alpha1/pools", true),
    (&["claim", "claims"], "apis/berth.dev/v1alpha1/claims", true),
    (
        &["nodehealth", "nodehealths", "nh"],
        "apis/berth.dev/v1alpha1/nodehealths",
        true,
    ),
    (
        &["containerrestart", "containerrestarts"],
        "apis/berth.dev/v1alpha1/containerrestarts",
        true,
    ),
    (
        &["imagepull", "imagepulls"],
        "apis/berth.dev/v1alpha1/imagepulls",
        true,
    ),
    (
        &["inplaceset", "inplacesets", "ips"],
        "apis/berth.dev/v1alpha1/inplacesets",
        true,
    ),
    (
        &["nodedecision", "nodedecisions"],
        "apis/berth.dev/v1alpha1/nodedecisions",
        true,
    ),
    (
        &["endpointslice", "endpointslices"],
        "apis/discovery.k8s.io/v1/endpointslices",
        true,
    ),
];

/// As long as an API server that is there may take, however busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// A question to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Get {
    path: String,
    deadline: Duration,
}

impl Get {
    /// The question that these words of kubectl's are; none where it is better asked itself.
    pub(super) fn parse(words: &[&str]) -> Option<Self> {
        let mut words = words.iter().copied();
        if words.next() != Some("get") {
            return None;
        }
        let (mut plain, mut queries) = (Vec::new(), Vec::new());
        let (mut namespace, mut everywhere, mut deadline) = ("default", false, DEADLINE);
        while let Some(word) = words.next() {
            let (flag, given) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
                _ => (word, None),
            };
            let mut value = || given.or_else(|| words.next());
            match flag {
                "-A" | "--all-namespaces" if given.is_none() => everywhere = true,
                "-n" | "--namespace" => namespace = value()?,
                "-l" | "--selector" => queries.push(("labelSelector", value()?)),
                "--field-selector" => queries.push(("fieldSelector", value()?)),
                "--request-timeout" => {
                    let seconds = value()?.strip_suffix('s')?.parse().ok()?;
                    deadline = Duration::from_secs(seconds);
                }
                _ if flag.starts_with('-') => return None,
                _ => plain.push(word),
            }
        }
        let (kind, name) = match plain[..] {
            [kind] if !kind.contains('/') => (kind, None),
            [kind, name] => (kind, Some(name)),
            [both] => both
                .split_once('/')
                .map(|(kind, name)| (kind, Some(name)))?,
            _ => return None,
        };
        let (_, path, namespaced) = KINDS.iter().find(|(names, ..)| names.contains(&kind))?;
        if name.is_some() && (everywhere || !queries.is_empty()) {
            return None;
        }
        let (group, plural) = path.rsplit_once('/')?;
        let mut path = if *namespaced && !everywhere {
            format!("/{group}/namespaces/{namespace}/{plural}")
        } else {
            format!("/{group}/{plural}")
        };
        if let Some(name) = name {
            path = format!("{path}/{name}");
        }
        for (number, (name, value)) in queries.into_iter().enumerate() {
            let mark = if number == 0 { '?' } else { '&' };
            path = format!("{path}{mark}{name}={}", escaped(value));
        }
        Some(Self { path, deadline })
    }

    /// What the API server answers.
    ///
    /// # Errors
    /// It refuses, in kubectl's words; or it does not answer.
    pub(super) fn ask(&self, proxy: &ApiProxy) -> Result<Value> {
        let answer = proxy.get_within(&self.path, self.deadline)?;
        let value: Result<Value, _> = serde_json::from_str(&answer.body);
        match (answer.status, value) {
            (200, Ok(value)) => Ok(value),
            (200, Err(error)) => Err(error).with_context(|| format!("GET {}", self.path)),
            (_, Ok(status)) if status["kind"] == "Status" => {
                let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
                bail!(
                    "Error from server ({}): {}",
                    text("reason"),
                    text("message")
                )
            }
            (status, _) => bail!("GET {}: {status}: {}", self.path, answer.body),
        }
    }
}

/// As it stands in a query.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_are_a_path_and_everything_else_is_kubectls() {
        for (words, path) in [
            ("get pod db-0", Some("/api/v1/namespaces/default/pods/db-0")),
            (
                "get pod/db-0 -n shop",
                Some("/api/v1/namespaces/shop/pods/db-0"),
            ),
            ("get nodes", Some("/api/v1/nodes")),
            ("get nodes --request-timeout=10s", Some("/api/v1/nodes")),
            (
                "get claims --namespace berth-system",
                Some("/apis/berth.dev/v1alpha1/namespaces/berth-system/claims"),
            ),
            (
                "get pods -A --field-selector spec.nodeName=n1",
                Some("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1"),
            ),
            (
                "get pods -l app=x --field-selector=a!=b",
                Some(
                    "/api/v1/namespaces/default/pods?labelSelector=app%3Dx&fieldSelector=a%21%3Db",
                ),
            ),
            ("get daemonsets,jobs", None),
            ("get pod a b", None),
            ("get pods --sort-by=x", None),
            ("get --raw /readyz", None),
            ("config view --raw", None),
            ("get pods -n", None),
        ] {
            let words: Vec<_> = words.split(' ').collect();
            let parsed = Get::parse(&words).map(|get| get.path);
            assert_eq!(parsed.as_deref(), path, "{words:?}");
        }
    }
}
