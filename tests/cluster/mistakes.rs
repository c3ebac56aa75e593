//! What an operator gets wrong: another plugin's configuration before ours, a plugin folder that takes no writes, addresses that cannot be.
//! Each is said where it is looked for, and nothing that works is broken by it.

use serde_json::json;
use tests_testbed::{Cluster, Pending, wait_patiently};

use crate::site::{berth_pod, builder, look, own, stateful_set, wait_ready, wait_said};

/// Replaces the address daemon's Pod: its containers start from the first again.
fn replace_pod(cluster: &Cluster) {
    let pod = berth_pod(cluster, "berth-ipamd", "n1");
    let name = pod["metadata"]["name"].as_str().unwrap();
    let words = ["--namespace=berth-system", "delete", "pod", name];
    cluster.kubectl(&words).unwrap();
}

#[test]
fn configuration_of_another_plugin_that_sorts_before_ours_is_named_and_left_alone() {
    let mut cluster = own("cluster-other");
    let other = json!({
        "cniVersion": "1.0.0", "name": "other",
        "plugins": [{"type": "bridge", "bridge": "other0", "ipam": {"type": "host-local", "subnet": "10.99.0.0/24"}}],
    });
    let node = cluster.world().node("n1");
    node.write_conflist("05-other.conflist", &other).unwrap();
    // The container that stays and watches says it, and so does one that starts.
    let words = "05-other.conflist (type bridge) would come before 10-berth.conflist";
    wait_said(&cluster, "n1", "conflist", words);
    replace_pod(&cluster);
    wait_said(&cluster, "n1", "conflist", words);
    node.run(&["ls", "/etc/cni/net.d/05-other.conflist"])
        .unwrap();
    node.run(&["rm", "/etc/cni/net.d/05-other.conflist"])
        .unwrap();
    cluster.wait_nodes().unwrap();
    cluster
        .apply(&stateful_set("db", 1, "n1").to_string())
        .unwrap();
    wait_ready(&cluster, "db-0", "");
}

#[test]
fn plugin_folder_that_takes_no_writes_is_named_and_running_pods_do_not_notice() {
    let mut cluster = own("cluster-readonly");
    cluster
        .apply(&stateful_set("db", 1, "n1").to_string())
        .unwrap();
    wait_ready(&cluster, "db-0", "");
    let before = look(&cluster, "db-0");
    let node = cluster.world().node("n1");
    // Something is to be written: the program that is there is another one.
    node.script("echo >> /opt/cni/bin/berth-ipam\nmount -n -o remount,bind,ro /opt/cni/bin")
        .unwrap();
    replace_pod(&cluster);
    wait_said(&cluster, "n1", "plugin", "/opt/cni/bin");
    wait_said(&cluster, "n1", "plugin", "ead-only");
    assert_eq!(look(&cluster, "db-0"), before);
    node.run(&["mount", "-n", "-o", "remount,bind,rw", "/opt/cni/bin"])
        .unwrap();
    cluster.wait_nodes().unwrap();
}

#[test]
fn pools_that_cannot_be_are_refused_and_the_old_ones_stay() {
    let builder = builder("cluster-pools").static_pools().racks(1);
    let cluster = builder.node("n1", "a").build().unwrap();
    let good = cluster.pools().unwrap();
    let wrong = good.replace("subnet = \"10.20.1.0/24\"", "subnet = \"10.20.1.0/33\"");
    assert_ne!(wrong, good);
    cluster.set_pools(&wrong).unwrap();
    wait_said(&cluster, "n1", "ipamd", "10.20.1.0/33");
    // Who looks at the node is told too.
    wait_patiently("the Event", std::time::Duration::from_secs(60), || {
        let words = [
            "get",
            "events",
            "--field-selector=reason=ConfigurationRefused",
            "--output=name",
        ];
        match cluster.kubectl(&words) {
            Ok(said) if said.contains("event/") => Ok(()),
            other => Err(Pending::because(format!("{other:?}"))),
        }
    })
    .unwrap();
    let status = cluster.ipamd_command("n1", &["status"]).unwrap();
    assert!(status.success(), "{status:?}");
    cluster
        .apply(&stateful_set("db", 1, "n1").to_string())
        .unwrap();
    wait_ready(&cluster, "db-0", "");
    let seen = look(&cluster, "db-0").addresses;
    assert!(
        seen.iter().any(|it| it.starts_with("10.20.1.60/")),
        "{seen:?}"
    );

    // Neither are addresses that somebody has taken away.
    let others = good.replace("10.20.1.60-", "10.20.1.70-");
    cluster.set_pools(&others).unwrap();
    let words = "1 bound addresses would be in no pool, the first is 10.20.1.60 of default/db-0";
    wait_said(&cluster, "n1", "ipamd", words);

    // What is right is taken over without a word from anybody.
    let narrower = good.replace("-10.20.1.95", "-10.20.1.90");
    assert_ne!(narrower, good);
    cluster.set_pools(&narrower).unwrap();
    wait_said(&cluster, "n1", "ipamd", "configuration reloaded");
    let status = cluster.ipamd_command("n1", &["status"]).unwrap();
    assert!(status.success(), "{status:?}");
}
