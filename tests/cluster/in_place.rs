//! A container's image is changed in a Pod that lives: addresses, MACs and the other containers' connections stay.

use serde_json::json;

use crate::{
    held::Held,
    seen::{container, exec_in, find, pod, remove, restarts, wait_for},
    site::{look, shared, wait_ready},
};

#[test]
fn image_changed_in_place_keeps_addresses_macs_and_the_other_containers_connections() {
    let cluster = shared();
    let forever = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done";
    for node in ["n1", "n2"] {
        let mut spec = json!({"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 1});
        spec["containers"] = json!([
            container("app", forever),
            container("holder", "exec nc -ll -p 7000 -e cat")
        ]);
        spec["containers"][1]["readinessProbe"] =
            json!({"tcpSocket": {"port": 7000}, "periodSeconds": 1});
        cluster
            .apply(&pod(&format!("changed-{node}"), &spec).to_string())
            .unwrap();
    }
    for node in ["n1", "n2"] {
        let name = format!("changed-{node}");
        let uid = wait_ready(&cluster, &name, "");
        let before = (find(&cluster, &name), look(&cluster, &name));
        let vm = cluster.world().host("vm").namespace();
        let mut held = Held::open(vm, &name, &before.0.v4(), 7000);
        held.wait_more("before the change");

        cluster
            .kubectl(&[
                "set",
                "image",
                &format!("pod/{name}"),
                "app=localhost/app:v2",
            ])
            .unwrap();
        wait_for("the new image's container running", || {
            let pod = cluster
                .kubectl_json(&["get", "pod", &name])
                .map_err(|error| format!("{error:#}"))?;
            let statuses = pod["status"]["containerStatuses"].as_array().unwrap();
            let app = statuses.iter().find(|it| it["name"] == "app").unwrap();
            let runs = !app["state"]["running"].is_null() && app["restartCount"] == 1;
            if runs
                && app["image"]
                    .as_str()
                    .is_some_and(|it| it.ends_with("app:v2"))
            {
                return Ok(());
            }
            Err(app.to_string())
        });

        let version = exec_in(&cluster, &name, "app", &["sh", "-c", "echo $VERSION"]);
        assert_eq!(version.trim(), "v2");
        held.wait_more("after the change");
        assert_eq!(restarts(&cluster, &name)["holder"], 0);
        assert_eq!((find(&cluster, &name), look(&cluster, &name)), before);
        assert_eq!(wait_ready(&cluster, &name, ""), uid);
    }
    remove(&cluster, &["pod/changed-n1", "pod/changed-n2"]);
}
