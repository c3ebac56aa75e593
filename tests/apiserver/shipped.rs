//! What an operator applies, and who it makes: the shipped manifests on an API server, and callers with the tokens of its Pods.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests_testbed::{ApiServer, ControlPlane, Output};

/// Where Berth lives in the API.
pub(crate) const NAMESPACE: &str = "berth-system";

/// What `kubectl apply -k` is given as the whole install.
pub(crate) const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../install/manifests");

/// The folder of an overlay.
pub(crate) fn overlay(name: &str) -> String {
    format!("{}/../install/overlays/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// An overlay as an operator writes one: the whole install with one of our components, named by relative paths.
pub(crate) fn with_component(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let depth = folder.path().canonicalize().unwrap().components().count() - 1;
    let relative = |path: &str| {
        let path = Path::new(path).canonicalize().unwrap();
        format!("{}{}", "../".repeat(depth), &path.to_str().unwrap()[1..])
    };
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [relative(BASE)], "components": [relative(&overlay(name))],
    });
    let file = folder.path().join("kustomization.yaml");
    fs::write(file, kustomization.to_string()).unwrap();
    folder
}

/// An API server on which the whole install was applied.
pub(crate) fn installed(name: &str) -> ApiServer {
    let api = ApiServer::start(name).unwrap();
    kubectl(&api, &["apply", "-k", BASE]);
    api
}

/// An API server that knows our kinds and none of our rights. Objects go to the namespace `default`: what is tested is the
/// schema alone.
pub(crate) fn defined(name: &str) -> ApiServer {
    let api = ApiServer::start(name).unwrap();
    kubectl(&api, &["apply", "-f", &format!("{BASE}/crds")]);
    for kind in [
        "claims",
        "containerrestarts",
        "imagepulls",
        "inplacesets",
        "lifecyclefreezes",
        "lifecyclepolicies",
        "nodedecisions",
        "nodehealths",
        "pools",
    ] {
        let kind = format!("{kind}.berth.dev");
        kubectl(&api, &["wait", "--for=condition=Established", "crd", &kind]);
    }
    api
}

/// A merge patch of an object: words for kubectl.
pub(crate) fn patch<'a>(kind: &'a str, name: &'a str, patch: &'a str) -> [&'a str; 6] {
    ["patch", kind, name, "--type=merge", "--patch", patch]
}

/// Runs kubectl as administrator; it must succeed without a warning.
pub(crate) fn kubectl(api: &ControlPlane, words: &[&str]) -> String {
    let mut all = vec!["--warnings-as-errors"];
    all.extend(words);
    api.kubectl(&all).unwrap().ok().unwrap()
}

/// Puts a Node there, as a kubelet would.
pub(crate) fn add_node(api: &ControlPlane, name: &str) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    api.apply(&node.to_string()).unwrap();
}

/// The Pod that a `DaemonSet` of ours would make on a node.
pub(crate) fn pod_of(api: &ControlPlane, daemon_set: &str, node: &str) -> Value {
    let object = api.kubectl_json(&["get", "daemonset", daemon_set, "-n", NAMESPACE]);
    let mut template = object.unwrap()["spec"]["template"].clone();
    template["spec"]["nodeName"] = node.into();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{daemon_set}-{node}"), "namespace": NAMESPACE,
            "labels": template["metadata"]["labels"],
        },
        "spec": template["spec"],
    })
}

/// Somebody who asks the API with a token of a `ServiceAccount` and nothing else.
pub(crate) struct Caller<'a> {
    api: &'a ControlPlane,
    token: String,
}

impl<'a> Caller<'a> {
    /// A process in the Pod that a `DaemonSet` has on a node: its token is as kubelet's, bound to Pod and node.
    pub(crate) fn in_pod(api: &'a ControlPlane, daemon_set: &str, node: &str) -> Self {
        let pod = pod_of(api, daemon_set, node);
        api.apply(&pod.to_string()).unwrap();
        let name = pod["metadata"]["name"].as_str().unwrap();
        let bound = ["--bound-object-kind=Pod", "--bound-object-name", name];
        Self::with_token(api, daemon_set, &bound)
    }

    /// Who has a token of the account that was made otherwise.
    pub(crate) fn with_token(api: &'a ControlPlane, account: &str, flags: &[&str]) -> Self {
        let mut words = vec!["create", "token", account, "-n", NAMESPACE];
        words.extend(flags);
        let token = kubectl(api, &words).trim().to_owned();
        Self { api, token }
    }

    /// Its token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// What kubectl says to it.
    pub(crate) fn ask(&self, words: &[&str], input: &str) -> Output {
        let (server, token) = (
            format!("--server={}", ControlPlane::server()),
            format!("--token={}", self.token),
        );
        // The administrator's certificate would go before the token.
        let mut all = vec!["--kubeconfig=/dev/null", "--insecure-skip-tls-verify"];
        all.extend([server.as_str(), &token, "-n", NAMESPACE]);
        all.extend(words);
        self.api.kubectl_with(&all, input).unwrap()
    }

    /// It must be let through.
    pub(crate) fn may(&self, words: &[&str], input: &str) -> String {
        self.ask(words, input).ok().unwrap()
    }

    /// It must be refused with these words.
    pub(crate) fn may_not(&self, words: &[&str], input: &str, because: &str) {
        let said = self.ask(words, input);
        assert!(!said.success(), "{words:?} was allowed: {}", said.stdout);
        assert!(said.stderr.contains(because), "{words:?}: {}", said.stderr);
    }

    /// Everything that its roles allow on objects, in a namespace: resource and verbs.
    pub(crate) fn rights(&self, namespace: &str) -> Vec<String> {
        let text = self.may(&["auth", "can-i", "--list", "-n", namespace], "");
        let mut rights: Vec<_> = text.lines().skip(1).filter_map(right).collect();
        rights.sort();
        rights
    }
}

/// A line of `can-i --list`: `RESOURCE [] [NAMES] [VERBS]`. Lines of paths begin with blanks.
fn right(line: &str) -> Option<String> {
    let resource = line.split(' ').next().filter(|word| !word.is_empty())?;
    let brackets: Vec<&str> = line.split('[').skip(1).collect();
    let [_, names, verbs] = brackets[..] else {
        panic!("unknown form: {line}");
    };
    let text = |bracket: &str| bracket.split(']').next().unwrap_or_default().to_owned();
    let names = text(names);
    let of = if names.is_empty() {
        String::new()
    } else {
        format!(" {names}")
    };
    Some(format!("{resource}{of}: {}", text(verbs)))
}
