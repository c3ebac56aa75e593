//! The reference protection: a finalizer that is there for as long as a Service sends traffic to a Pod. And `InPlaceSet`s as owners of
//! addresses. The endpoints are written by the test, in the stead of Kubernetes' own controller.

use super::*;

const OURS: &str = "protection.berth.dev/endpoints";
const OTHER: &str = "protection.berth.dev/dns";

/// A Pod that nobody starts, which names the reference's finalizer where it is to.
pub(super) fn pod(name: &str, is_named: bool) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}, "annotations": {"example.com/note": "theirs"}},
        "spec": {
            "nodeName": "n1", "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "localhost/app:1"}],
        },
    });
    if is_named {
        pod["metadata"]["annotations"]["berth.dev/protections"] =
            json!([OTHER, OURS]).to_string().into();
    }
    pod
}

/// Endpoints of a Service: Pods, and whether they are ready.
pub(super) fn slice(name: &str, pods: &[(&str, bool)]) -> Value {
    let endpoints = pods.iter().enumerate().map(|(n, (pod, ready))| {
        json!({
            "addresses": [format!("10.20.2.{}", n + 1)],
            "conditions": {"ready": ready, "serving": ready, "terminating": false},
            "targetRef": {"kind": "Pod", "name": pod, "namespace": "shop"},
        })
    });
    let endpoints: Vec<Value> = endpoints.collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints, "ports": [],
        "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
    })
}

/// A namespace in which Pods can be.
pub(super) fn shop(api: &ControlPlane) {
    add_node(api, "n1");
    kubectl(api, &["create", "namespace", "shop"]);
    kubectl(api, &["create", "serviceaccount", "default", "-n", "shop"]);
}

fn finalizers(api: &ControlPlane, pod: &str) -> Result<Vec<Value>, Pending> {
    let pod = object(api, &["pod", pod, "-n", "shop"])?;
    let all = pod["metadata"]["finalizers"].as_array();
    Ok(all.cloned().unwrap_or_default())
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, in its order")]
fn a_protection_follows_the_traffic_of_the_pods_that_name_it_and_an_inplaceset_keeps_what_it_wants()
{
    let api = installed("api_controllers_traffic");
    let place = Place::new(&api, "c1", 19_570);
    pool(&api);
    shop(&api);
    let mut guarded = pod("web-0", true);
    guarded["metadata"]["finalizers"] = json!([OTHER]);
    for pod in [guarded, pod("web-1", true), pod("web-2", false)] {
        api.apply(&pod.to_string()).unwrap();
    }
    let traffic = |ready: bool| {
        let pods = [("web-0", ready), ("web-1", ready), ("web-2", ready)];
        api.apply(&slice("web-a", &pods).to_string()).unwrap();
    };
    in_place_set(&api, 3, &json!([]));
    claim(&api, "10.20.1.100", "n1", Some(held_in_place(0)));
    claim(&api, "10.20.1.102", "n1", Some(held_in_place(2)));
    traffic(true);
    let controllers = place.start(&api);
    let wait_finalizers = |pod: &str, expected: &[&str]| {
        wait(
            &format!("{pod} having {expected:?}"),
            &[&controllers],
            || {
                let now = finalizers(&api, pod)?;
                if now == expected {
                    return Ok(());
                }
                Err(Pending(format!("{now:?}")))
            },
        );
    };
    wait_finalizers("web-0", &[OTHER, OURS]);
    wait_finalizers("web-1", &[OURS]);
    let object_of = |pod: &str| object(&api, &["pod", pod, "-n", "shop"]).unwrap();
    // In whose term it was written; what else there was is as it was.
    let pod = object_of("web-1");
    assert_eq!(pod["metadata"]["annotations"]["berth.dev/term"], "1");
    assert_eq!(pod["metadata"]["annotations"]["example.com/note"], "theirs");

    // Scaled in, and out again, while traffic comes and goes.
    in_place_set(&api, 2, &json!([]));
    let words = "InPlaceSet shop/db was scaled to 2";
    wait_mark(&api, &controllers, "10.20.1.102", "release", words);
    in_place_set(&api, 2, &json!(["db-1"]));
    wait_unmarked(&api, &controllers, "10.20.1.102", "release");

    traffic(false);
    wait_finalizers("web-1", &[]);
    wait_finalizers("web-0", &[OTHER]);
    traffic(true);
    wait_finalizers("web-1", &[OURS]);

    // Deleted: it stays until traffic is led away, and gets no finalizer.
    let delete = [
        "delete",
        "pod",
        "web-0",
        "web-1",
        "-n",
        "shop",
        "--wait=false",
    ];
    kubectl(&api, &delete);
    assert!(!object_of("web-1")["metadata"]["deletionTimestamp"].is_null());
    traffic(false);
    wait("web-1 being gone", &[&controllers], || {
        let words = [
            "get",
            "pod",
            "web-1",
            "-n",
            "shop",
            "--ignore-not-found",
            "-o",
            "name",
        ];
        let said = kubectl(&api, &words);
        if said.is_empty() {
            return Ok(());
        }
        Err(Pending(said))
    });
    wait_finalizers("web-0", &[OTHER]);
    traffic(true);

    // Deleted, the set wants nothing; the Pod that names nothing was never touched.
    kubectl(&api, &["delete", "inplaceset", "db", "-n", "shop"]);
    let words = "InPlaceSet shop/db was deleted";
    for address in ["10.20.1.100", "10.20.1.102"] {
        wait_mark(&api, &controllers, address, "release", words);
    }
    assert_eq!(finalizers(&api, "web-0").unwrap(), [OTHER]);
    let managers = object_of("web-2")["metadata"]["managedFields"].to_string();
    assert!(!managers.contains("berth-controllers"), "{managers}");
}

fn held_in_place(ordinal: u8) -> Value {
    let mut binding = held("db", ordinal);
    binding["owner"]["apiVersion"] = "berth.dev/v1alpha1".into();
    binding["owner"]["kind"] = "InPlaceSet".into();
    binding
}

/// A set whose Pods cannot be made: there is no such account. So it has none but in its wishes.
fn in_place_set(api: &ControlPlane, replicas: u8, to_delete: &Value) {
    let labels = json!({"app": "db"});
    let set = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet", "metadata": {"name": "db", "namespace": "shop"},
        "spec": {
            "replicas": replicas, "podsToDelete": to_delete, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"serviceAccountName": "nobody", "containers": [{"name": "app", "image": "localhost/app:1"}]},
            },
        },
    });
    wait("the set being taken", &[], || {
        let made = api.apply(&set.to_string());
        made.map_err(|error| Pending::because(format!("{error:#}")))
    });
}
