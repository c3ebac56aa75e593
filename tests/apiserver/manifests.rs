//! The shipped manifests: a real API server takes them as they are, and they ask for nothing that their documentation does not name.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use cni_spec::{Document, NetConf};
use serde_json::{Value, json};
use tests_testbed::{ApiServer, binary};

use crate::shipped::{
    BASE, NAMESPACE, add_node, installed, kubectl, overlay, pod_of, with_component,
};

/// Overlays of the whole install.
const WHOLE: [&str; 4] = ["one-rack", "two-racks", "two-networks", "standalone"];

/// What is no install but takes one away from a node.
const UNINSTALL: &str = "uninstall";

/// What is laid over an install of one's own.
const COMPONENTS: [&str; 2] = ["guard", "replace"];

/// What changes an install of one's own, and is nothing without one.
const CHANGES: [&str; 1] = ["recovery-guard"];

/// The objects of an answer of `kubectl apply` and what became of each.
fn changed(said: &str) -> Vec<&str> {
    let lines = said.lines().filter(|line| !line.is_empty());
    lines.filter(|line| !line.contains(" unchanged")).collect()
}

/// Applies a folder, and the pools beside it, on trial, for good, and again: without a warning, and the third time without a change.
fn apply(api: &ApiServer, folder: &str) {
    let pools = format!("{folder}/pools.yaml");
    let mut steps = vec![["-k", folder]];
    if Path::new(&pools).exists() {
        steps.push(["-f", &pools]);
    }
    let mut first = String::new();
    for [how, what] in &steps {
        kubectl(api, &["apply", "--dry-run=server", how, what]);
        first += &kubectl(api, &["apply", how, what]);
    }
    assert!(!changed(&first).is_empty(), "{folder}: {first}");
    for [how, what] in &steps {
        let again = kubectl(api, &["apply", how, what]);
        assert_eq!(changed(&again), Vec::<&str>::new(), "{what}");
    }
}

#[test]
fn install_and_every_overlay_apply_without_a_warning_and_again_without_a_change() {
    let mut folders: Vec<_> = fs::read_dir(overlay(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut known = WHOLE.to_vec();
    known.push(UNINSTALL);
    known.extend(COMPONENTS);
    known.extend(CHANGES);
    known.sort_unstable();
    assert_eq!(folders, known, "an overlay that is not tried");

    let api = ApiServer::start("api_manifests").unwrap();
    // On trial too, objects need the namespace that they are to be in.
    kubectl(&api, &["apply", "-f", &format!("{BASE}/namespace.yaml")]);
    apply(&api, BASE);
    for name in WHOLE {
        apply(&api, &overlay(name));
    }
    let made = kubectl(&api, &["get", "pools", "-A", "-o", "name"]);
    assert_eq!(made.lines().count(), 5, "{made}");
    for name in COMPONENTS {
        apply(&api, &overlay(name));
    }
    for name in CHANGES {
        apply(&api, with_component(name).path().to_str().unwrap());
    }
    apply(&api, &overlay(UNINSTALL));
}

#[test]
fn standalone_overlay_alone_leaves_no_account_that_may_do_anything() {
    let api = ApiServer::start("api_standalone").unwrap();
    kubectl(&api, &["apply", "-k", &overlay("standalone")]);
    let bindings = "clusterrolebindings,rolebindings,serviceaccounts";
    let said = kubectl(&api, &["get", bindings, "-A", "-o", "name"]);
    let ours: Vec<_> = said.lines().filter(|it| it.contains("berth")).collect();
    assert_eq!(ours, Vec::<&str>::new());
    let pod = pod_of(&api, "berth-ipamd", "n1");
    assert!(!pod["spec"].to_string().contains("serviceAccountToken"));
    assert_eq!(pod["spec"]["nodeSelector"]["kubernetes.io/hostname"], "n1");
}

#[test]
fn pod_security_admits_our_pods_in_our_namespace_and_in_no_stricter_one() {
    let api = installed("api_admitted");
    add_node(&api, "n1");
    let strict = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "strict", "labels": {"pod-security.kubernetes.io/enforce": "baseline"}},
    });
    api.apply(&strict.to_string()).unwrap();
    for (daemon_set, account) in [
        ("berth-ipamd", "berth-ipamd"),
        ("berth-agent", "berth-agent"),
        ("berth-controllers", "berth-controllers"),
    ] {
        let mut pod = pod_of(&api, daemon_set, "n1");
        let words = ["--warnings-as-errors", "create", "-f", "-"];
        let said = api.kubectl_with(&words, &pod.to_string()).unwrap();
        said.ok().unwrap();

        pod["metadata"]["namespace"] = "strict".into();
        let words = ["create", "serviceaccount", account, "-n", "strict"];
        kubectl(&api, &words);
        let said = api.kubectl_with(&["create", "-f", "-"], &pod.to_string());
        let said = said.unwrap();
        assert!(said.stderr.contains("PodSecurity"), "{}", said.stderr);
    }
}

#[test]
fn token_is_mounted_into_the_one_container_that_asks_the_api() {
    let api = installed("api_token");
    for (daemon_set, container) in [
        ("berth-ipamd", "ipamd"),
        ("berth-agent", "agent"),
        ("berth-controllers", "controllers"),
    ] {
        let pod = pod_of(&api, daemon_set, "n1");
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        let tokens: Vec<_> = volumes
            .iter()
            .filter(|volume| volume.to_string().contains("serviceAccountToken"))
            .map(|volume| &volume["name"])
            .collect();
        assert_eq!(tokens, ["token"], "{daemon_set}");
        let having: Vec<_> = containers(&pod["spec"])
            .filter(|it| mounts(it).any(|mount| mount["name"] == "token"))
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(having, [container]);
    }
}

/// One row of the tables in install/README.md: container, then what it has.
type Row = (String, String);

#[test]
fn capabilities_and_host_paths_are_those_of_the_readme() {
    let api = installed("api_readme");
    kubectl(&api, &["apply", "-k", &overlay(UNINSTALL)]);
    for name in CHANGES {
        let folder = with_component(name);
        kubectl(&api, &["apply", "-k", folder.path().to_str().unwrap()]);
        // It adds a container; the token stays the agent's.
        let agent = pod_of(&api, "berth-agent", "n1");
        let having = containers(&agent["spec"])
            .filter(|it| mounts(it).any(|mount| mount["name"] == "token"));
        assert_eq!(having.count(), 1, "{name}");
    }
    let mut capabilities = BTreeSet::new();
    let mut paths = BTreeSet::new();
    let objects = api.kubectl_json(&["get", "daemonsets,jobs", "-n", NAMESPACE]);
    for object in objects.unwrap()["items"].as_array().unwrap() {
        let pod = &object["spec"]["template"]["spec"];
        assert_eq!(pod["hostNetwork"], true);
        assert!(pod["hostIPC"].is_null(), "{object}");
        // The agent reads limits that are those of its own PID namespace.
        let agent = object["metadata"]["name"] == "berth-agent";
        assert_eq!(pod["hostPID"] == true, agent, "{object}");
        for container in containers(pod) {
            let name = container["name"].as_str().unwrap();
            capabilities.extend(rights(container).map(|it| (name.to_owned(), it)));
            paths.extend(host_paths(pod, container).map(|it| (name.to_owned(), it)));
        }
    }
    let readme = Path::new(BASE).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    assert_eq!(capabilities, table(&readme, "| container | has |"));
    assert_eq!(paths, table(&readme, "| container | path on the node |"));
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers"];
    lists
        .into_iter()
        .filter_map(|list| pod[list].as_array())
        .flatten()
}

fn mounts(container: &Value) -> impl Iterator<Item = &Value> {
    container["volumeMounts"].as_array().into_iter().flatten()
}

/// What its security context lets it do beyond a restricted container's.
fn rights(container: &Value) -> impl Iterator<Item = String> {
    let context = &container["securityContext"];
    assert_eq!(context["readOnlyRootFilesystem"], true, "{container}");
    let privileged = context["privileged"] == true;
    if !privileged {
        assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
        assert_eq!(
            context["capabilities"]["drop"],
            json!(["ALL"]),
            "{container}"
        );
    }
    let added = context["capabilities"]["add"].as_array();
    let added = added.into_iter().flatten().filter_map(Value::as_str);
    let all: Vec<_> = added
        .chain(privileged.then_some("privileged"))
        .map(str::to_owned)
        .collect();
    all.into_iter()
}

/// The paths of the node that it sees, and whether it may write there.
fn host_paths<'a>(pod: &'a Value, container: &'a Value) -> impl Iterator<Item = String> + 'a {
    let volumes = pod["volumes"].as_array().unwrap();
    mounts(container).filter_map(move |mount| {
        let volume = volumes.iter().find(|it| it["name"] == mount["name"])?;
        let path = volume["hostPath"]["path"].as_str()?;
        let how = if mount["readOnly"] == true {
            "reads"
        } else {
            "writes"
        };
        Some(format!("{path} {how}"))
    })
}

/// The rows below a head that begins so: first cell, then the second with the third where the third is one word.
fn table(text: &str, head: &str) -> BTreeSet<Row> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(head));
    let head = lines.next().expect("a table with this head");
    let how = head.contains("| how |");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let row = row.replace('`', "");
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let what = if how {
            format!("{} {}", cells[2], cells[3])
        } else {
            cells[2].to_owned()
        };
        (cells[1].to_owned(), what)
    })
    .collect()
}

#[test]
fn every_configuration_that_is_shipped_is_taken_by_the_programs_that_read_it() {
    let whole = WHOLE.map(overlay);
    // The others leave the base's as it is.
    let files = [
        format!("{}/ipamd.toml", overlay("standalone")),
        format!("{BASE}/config/ipamd.toml"),
    ];
    for file in &files {
        let said = Command::new(binary("berth-ipamd").unwrap())
            .args(["check-config", file])
            .env("BERTH_IPAMD_NODE", "n1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success(), "{file}: {said:?}");
        // As shipped nothing is handed out.
        assert_eq!(
            text.contains(" 0 pools"),
            file.contains("/config/"),
            "{text}"
        );
    }
    let folders = whole.iter().map(String::as_str).chain([BASE]);
    for folder in folders {
        let config = if folder == BASE { "/config" } else { "" };
        let text = fs::read(format!("{folder}{config}/10-berth.conflist")).unwrap();
        let list: Value = serde_json::from_slice(&text).unwrap();
        // An older libcni reads the one, a newer chooses the newest of the others.
        assert_eq!(list["cniVersion"], "1.0.0", "{folder}");
        assert_eq!(list["cniVersions"], json!(["1.0.0", "1.1.0"]), "{folder}");
        let mut own = list["plugins"][0].clone();
        own["name"] = list["name"].clone();
        own["cniVersion"] = "1.1.0".into();
        let document = Document::decode(own.to_string().as_bytes()).unwrap();
        NetConf::parse(&document).unwrap();
    }
}
