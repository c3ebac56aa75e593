//! The sets that are released, and what has become of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests_testbed::{ApiProxy, ApiServer, ControlPlane, Pending, wait_patiently};

use crate::counts;

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) sets: usize,
    /// Of each set.
    pub(crate) pods: usize,
    pub(crate) nodes: usize,
}

const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../install/manifests");

/// Where the sets are.
const SETS: &str = "/apis/berth.dev/v1alpha1/namespaces/shop/inplacesets";

/// However slow the machine is.
const DEADLINE: Duration = Duration::from_secs(3600);

/// The whole install, a namespace for the sets, and what counts.
pub(crate) fn install(api: &ControlPlane) -> Result<()> {
    api.kubectl(&["apply", "-k", MANIFESTS])?.ok()?;
    api.kubectl(&["create", "namespace", "shop"])?.ok()?;
    counts::install(api)?;
    wait("the kind being served", || {
        let words = ["get", "inplacesets", "-n", "shop"];
        api.kubectl(&words)?.ok().map(|_| true)
    })
}

/// Makes all sets, each with a Service, and waits until every Pod serves.
pub(crate) fn make(api: &ApiServer, proxy: &ApiProxy, size: Size) -> Result<()> {
    wait("the namespace's account", || {
        let words = ["get", "serviceaccount", "default", "-n", "shop"];
        api.kubectl(&words)?.ok().map(|_| true)
    })?;
    let items: Vec<Value> = (0..size.sets)
        .flat_map(|number| set(number, size.pods))
        .collect();
    api.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    wait("every Pod serving", || {
        let all = all(proxy)?;
        let serves = |set: &&Value| set["status"]["updatedReadyReplicas"] == size.pods;
        Ok(all.iter().filter(serves).count() == size.sets)
    })
}

fn set(number: usize, pods: usize) -> [Value; 2] {
    let name = format!("shop-{number}");
    let labels = json!({"app": name});
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": labels, "ports": [{"port": 80}]},
        }),
        json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "replicas": pods, "selector": {"matchLabels": labels}, "maxUnavailable": "20%",
                "lossless": {"protections": ["protection.berth.dev/endpoints"]},
                "template": template(&labels, "v1"),
            },
        }),
    ]
}

fn template(labels: &Value, version: &str) -> Value {
    let image = format!("localhost/app:{version}");
    json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

/// Another image for every set.
pub(crate) fn release(proxy: &ApiProxy, size: Size, version: &str) -> Result<()> {
    for number in 0..size.sets {
        let name = format!("shop-{number}");
        let template = template(&json!({"app": name}), version);
        let path = format!("{SETS}/{name}");
        let body = json!({"spec": {"template": template}});
        let answer = proxy.call("PATCH", &path, Some(&body))?;
        ensure!(answer.status == 200, "release {name}: {answer:?}");
    }
    Ok(())
}

/// How many sets are released at this version.
pub(crate) fn released(proxy: &ApiProxy, version: &str) -> Result<usize> {
    let image = format!("localhost/app:{version}");
    let done = |set: &&Value| {
        let status = &set["status"];
        status["observedGeneration"] == set["metadata"]["generation"]
            && set["spec"]["template"]["spec"]["containers"][0]["image"] == image.as_str()
            && status["updatedReadyReplicas"] == set["spec"]["replicas"]
            && status["release"]["phase"] == "Succeeded"
    };
    Ok(all(proxy)?.iter().filter(done).count())
}

/// Of each Pod its UID, and how often its container was restarted.
pub(crate) fn restarts(proxy: &ApiProxy) -> Result<BTreeMap<String, (String, u64)>> {
    let pods = proxy.json("/api/v1/namespaces/shop/pods")?;
    let items = pods["items"].as_array().into_iter().flatten();
    let rows = items.map(|pod| {
        let count = &pod["status"]["containerStatuses"][0]["restartCount"];
        let (name, uid) = (&pod["metadata"]["name"], &pod["metadata"]["uid"]);
        (
            name.to_string(),
            (uid.to_string(), count.as_u64().unwrap_or(u64::MAX)),
        )
    });
    Ok(rows.collect())
}

/// The figures are of a release in place: the same Pods, each container restarted once.
pub(crate) fn check(
    before: &BTreeMap<String, (String, u64)>,
    after: &BTreeMap<String, (String, u64)>,
    pods: usize,
) -> Result<()> {
    ensure!(
        after.len() == pods,
        "{} Pods instead of {pods}",
        after.len()
    );
    for (name, (uid, count)) in after {
        let was = before.get(name);
        let once = was.is_some_and(|(old, restarts)| old == uid && restarts + 1 == *count);
        ensure!(once, "{name} is ({uid}, {count} restarts) after {was:?}");
    }
    Ok(())
}

fn all(proxy: &ApiProxy) -> Result<Vec<Value>> {
    let list = proxy.json(SETS)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn wait(what: &str, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_patiently(what, DEADLINE, || match look() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Pending("not yet".to_owned())),
        Err(error) => Err(Pending(format!("{error:#}"))),
    })
}
