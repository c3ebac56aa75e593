//! Another version of Berth comes, or a part of it goes wrong: what runs loses no packet, what starts is late at most, and
//! what cannot work together says so.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use proto_ipam::version::{OWN, Version};
use serde_json::{Value, json};
use tests::plugin::flag;
use tests_testbed::{
    Cluster, Daemon, FAR_IMAGE_VARIABLE, NEXT_IMAGE_VARIABLE, Net, Pending, wait_patiently,
};

use crate::{
    pings::Pings,
    site::{berth_pod, builder, pod_spec, stateful_set, wait_ready},
    turn::{self, Rank},
};

/// Some Pods one after the other on a busy machine, or an update of a node with what it waits for.
const DEADLINE: Duration = Duration::from_secs(240);

/// The versions of the images by their tags.
fn version_of(tag: &str) -> String {
    let minors = match tag {
        "next" => 1,
        "far" => 3,
        _ => return OWN.to_string(),
    };
    let version = Version {
        minor: OWN.minor + minors,
        patch: 0,
        ..OWN
    };
    version.to_string()
}

/// A cluster of one node, with an outside host on its network, and these images on the node.
fn upgradable(name: &str, images: &[&str]) -> Cluster {
    let cluster = builder(name)
        .racks(1)
        .node("n1", "a")
        .host("vm", "a", Net::External)
        .build()
        .unwrap();
    for variable in images {
        let archive = flag(variable).unwrap_or_else(|| panic!("{variable} is not set"));
        cluster.load_images(&PathBuf::from(archive)).unwrap();
    }
    cluster
}

/// Gives Berth the image of this tag as an operator does: by the overlay's `images`.
fn install(cluster: &Cluster, tag: &str) {
    let folder = cluster.overlay();
    let file = folder.join("kustomization.yaml");
    let mut overlay: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    overlay["images"][0]["newTag"] = tag.into();
    fs::write(&file, overlay.to_string()).unwrap();
    let folder = folder.to_string_lossy();
    cluster.kubectl(&["apply", "--kustomize", &folder]).unwrap();
}

/// Waits until the address daemon's Pod is of this image and all of it is ready.
fn wait_installed(cluster: &Cluster, tag: &str) {
    let what = format!("berth-ipamd of {tag} being ready");
    wait_patiently(&what, DEADLINE, || {
        let pod = berth_pod(cluster, "berth-ipamd", "n1");
        let image = pod["spec"]["containers"][0]["image"].as_str();
        let is_new = image.is_some_and(|image| image.ends_with(&format!(":{tag}")));
        let stays = pod["metadata"]["deletionTimestamp"].is_null();
        if is_new && stays && is_ready(&pod) {
            return Ok(());
        }
        Err(Pending::because(&pod["status"]))
    })
    .unwrap();
    assert_eq!(plugin_version(cluster), version_of(tag));
    assert_eq!(daemon_version(cluster), version_of(tag));
}

fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")
}

/// What the plugin on the node's disk says of itself.
fn plugin_version(cluster: &Cluster) -> String {
    let node = cluster.world().node("n1");
    let said = node.run(&["/opt/cni/bin/berth", "--version"]).unwrap();
    said.trim().replace("berth ", "")
}

fn daemon_version(cluster: &Cluster) -> String {
    let words = ["status", "--output", "json"];
    let said = cluster.ipamd_command("n1", &words).unwrap();
    let status: Value = serde_json::from_str(&said.stdout).unwrap();
    status["version"].as_str().unwrap().to_owned()
}

/// Since when the node is Ready. Changes with every time that it was not, however short.
fn ready_since(cluster: &Cluster) -> String {
    let node = cluster.kubectl_json(&["get", "node", "n1"]).unwrap();
    let conditions = node["status"]["conditions"].as_array().unwrap();
    let ready = conditions.iter().find(|it| it["type"] == "Ready").unwrap();
    assert_eq!(ready["status"], "True", "{ready}");
    ready["lastTransitionTime"].as_str().unwrap().to_owned()
}

/// Waits until all Pods of a set are Ready; the Pods.
fn wait_set(cluster: &Cluster, name: &str, replicas: usize) -> Vec<Value> {
    let what = format!("{replicas} Pods of {name} being Ready");
    let selector = format!("--selector=app={name}");
    wait_patiently(&what, DEADLINE, || {
        let pods = cluster.kubectl_json(&["get", "pods", &selector]);
        let pods = pods.map_err(|error| Pending::because(format!("{error:#}")))?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        if ready == replicas {
            return Ok(pods);
        }
        Err(Pending::because(format!("{ready} of {}", pods.len())))
    })
    .unwrap()
}

/// Runs a set of Pods on the node and pings all of them from the outside host.
fn pinged_set(cluster: &Cluster, name: &str, replicas: u32) -> Pings {
    let set = stateful_set(name, replicas, "n1").to_string();
    cluster.apply(&set).unwrap();
    let pods = wait_set(cluster, name, usize::try_from(replicas).unwrap());
    let addresses: Vec<String> = pods.iter().map(address).collect();
    Pings::start(cluster.world().host("vm").namespace(), &addresses)
}

fn address(pod: &Value) -> String {
    pod["status"]["podIP"].as_str().unwrap().to_owned()
}

/// A Pod that goes to the node without being asked whether it may: also to one that is not Ready.
fn apply_pod(cluster: &Cluster, name: &str) {
    let mut spec = pod_spec("n1");
    spec["nodeName"] = "n1".into();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
    cluster.apply(&pod.to_string()).unwrap();
}

fn run_pod(cluster: &Cluster, name: &str) {
    apply_pod(cluster, name);
    wait_ready(cluster, name, "");
}

/// Deletes a Pod and waits for its end.
fn delete_pod(cluster: &Cluster, name: &str) {
    cluster
        .kubectl(&["delete", "pod", name, "--timeout=120s"])
        .unwrap();
}

/// Waits until an event of a Pod says these words.
fn wait_event(cluster: &Cluster, pod: &str, words: &[&str]) {
    let field = format!("--field-selector=involvedObject.name={pod}");
    let what = format!("an event of {pod} saying {words:?}");
    wait_patiently(&what, DEADLINE, || {
        let events = cluster.kubectl_json(&["get", "events", &field]);
        let events = events.map_err(|error| Pending::because(format!("{error:#}")))?;
        let events = events["items"].as_array().cloned().unwrap_or_default();
        let messages: Vec<&str> = events
            .iter()
            .filter_map(|it| it["message"].as_str())
            .collect();
        let says = |message: &&str| words.iter().all(|word| message.contains(word));
        if messages.iter().any(says) {
            return Ok(());
        }
        Err(Pending::because(messages.join("\n")))
    })
    .unwrap();
}

/// Deletes the address daemon's Pod; its `DaemonSet` makes another, all of whose containers start from the first.
fn replace_daemon(cluster: &Cluster) {
    let pod = berth_pod(cluster, "berth-ipamd", "n1");
    let name = pod["metadata"]["name"].as_str().unwrap();
    let words = ["--namespace=berth-system", "delete", "pod", name];
    cluster.kubectl(&words).unwrap();
}

/// Addresses that the book says a Pod has.
fn attached(cluster: &Cluster, pod: &str) -> Vec<Value> {
    let words = ["list", "--state", "attached", "--output", "json"];
    let said = cluster.ipamd_command("n1", &words).unwrap().ok().unwrap();
    let list: Value = serde_json::from_str(&said).unwrap();
    let bindings = list["bindings"].as_array().unwrap();
    let identity = format!("default/{pod}");
    let of_pod = bindings.iter().filter(|it| it["identity"] == *identity);
    of_pod.cloned().collect()
}

/// Fills the daemon's container with memory that nobody gives back, as a leak would, until the kernel kills the largest there.
fn kill_for_memory(cluster: &Cluster) {
    let node = cluster.world().node("n1");
    let before = ipamd_status(cluster);
    // Pages of a tmpfs are counted where they are written, and there is no swap to which they could go.
    // The daemon, not the relay of the same program.
    let leak = "for pid in $(pidof berth-ipamd); do
  if [ \"$(cat /proc/$pid/comm)\" = berth-ipamd ]; then break; fi
done
group=/sys/fs/cgroup/memory$(sed -n 's/.*:memory://p' /proc/$pid/cgroup)
mkdir -p /run/leak
mount -t tmpfs leak /run/leak
echo $(($(cat $group/memory.usage_in_bytes) + 4194304)) > $group/memory.limit_in_bytes
sh -c \"echo 0 > $group/cgroup.procs; exec dd if=/dev/zero of=/run/leak/file bs=64k count=512\" || true
umount /run/leak
rmdir /run/leak";
    node.script(leak).unwrap();
    let killed = wait_patiently("the daemon being killed for its memory", DEADLINE, || {
        let now = ipamd_status(cluster);
        if now["restartCount"] == before["restartCount"] {
            return Err(Pending::because(now));
        }
        Ok(now["lastState"]["terminated"].clone())
    });
    let killed = killed.unwrap();
    assert_eq!(killed["reason"], "OOMKilled", "{killed}");
}

/// What kubelet says of the daemon's container.
fn ipamd_status(cluster: &Cluster) -> Value {
    let pod = berth_pod(cluster, "berth-ipamd", "n1");
    let statuses = pod["status"]["containerStatuses"].as_array();
    let mut statuses = statuses.into_iter().flatten();
    statuses
        .find(|it| it["name"] == "ipamd")
        .cloned()
        .unwrap_or_default()
}

#[test]
fn rolling_update_loses_no_packet_and_pods_started_meanwhile_get_their_addresses() {
    // The node stays Ready where the daemon is back within ten seconds: three clusters at once do not leave it that.
    turn::take(Rank::Alone);
    let cluster = upgradable("cluster-upgrade", &[NEXT_IMAGE_VARIABLE]);
    let pings = pinged_set(&cluster, "run", 20);
    let since = ready_since(&cluster);
    let old = berth_pod(&cluster, "berth-ipamd", "n1");
    assert_eq!(plugin_version(&cluster), version_of("dev"));

    install(&cluster, "next");
    wait_patiently("the old daemon being told to end", DEADLINE, || {
        let pod = berth_pod(&cluster, "berth-ipamd", "n1");
        let stays = pod["metadata"]["uid"] == old["metadata"]["uid"]
            && pod["metadata"]["deletionTimestamp"].is_null();
        if stays {
            return Err(Pending::because(&pod["status"]["phase"]));
        }
        Ok(())
    })
    .unwrap();
    let set = stateful_set("late", 8, "n1").to_string();
    cluster.apply(&set).unwrap();
    for daemon in ["berth-ipamd", "berth-agent"] {
        let daemon = format!("daemonset/{daemon}");
        let words = ["rollout", "status", &daemon, "--timeout=240s"];
        let namespace = ["--namespace=berth-system"];
        cluster.kubectl(&[&namespace, &words[..]].concat()).unwrap();
    }
    wait_installed(&cluster, "next");

    let late = wait_set(&cluster, "late", 8);
    let mut addresses: Vec<String> = late.iter().map(address).collect();
    let ipamd = ipamd_status(&cluster);
    let began = ipamd["state"]["running"]["startedAt"].as_str().unwrap();
    let created = |pod: &Value| {
        pod["metadata"]["creationTimestamp"]
            .as_str()
            .map(str::to_owned)
    };
    // Times of one form, in the order of their text.
    assert!(
        late.iter()
            .all(|pod| created(pod).unwrap().as_str() <= began),
        "the daemon was back at {began} before the Pods were there"
    );
    addresses.extend(wait_set(&cluster, "run", 20).iter().map(address));
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 28, "no address twice: {addresses:?}");

    assert_eq!(ready_since(&cluster), since, "the node was not Ready");
    let answered = pings.finish_without_loss();
    // Twenty Pods for longer than the ten seconds that a new daemon must have been ready.
    assert!(answered > 20 * 100, "{answered} pings were too few");
}

#[test]
fn plugin_and_daemon_work_together_within_one_minor_version_and_say_so_beyond() {
    turn::take(Rank::Long);
    let images = [NEXT_IMAGE_VARIABLE, FAR_IMAGE_VARIABLE];
    let cluster = upgradable("cluster-skew", &images);
    let plugin = cluster.world().node("n1").path("/opt/cni/bin/berth");
    let put = |program: &[u8]| {
        let fresh = plugin.with_extension("fresh");
        fs::write(&fresh, program).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&fresh, &plugin).unwrap();
    };
    let old = fs::read(&plugin).unwrap();
    install(&cluster, "next");
    wait_installed(&cluster, "next");
    let next = fs::read(&plugin).unwrap();

    // Neighbours, both ways.
    put(&old);
    run_pod(&cluster, "old-plugin");
    delete_pod(&cluster, "old-plugin");
    install(&cluster, "dev");
    wait_installed(&cluster, "dev");
    put(&next);
    run_pod(&cluster, "new-plugin");
    delete_pod(&cluster, "new-plugin");
    assert_eq!(attached(&cluster, "new-plugin"), Vec::<Value>::new());

    // A daemon too new. What ran before ends as ever.
    install(&cluster, "far");
    wait_installed(&cluster, "far");
    let far = fs::read(&plugin).unwrap();
    run_pod(&cluster, "before");
    assert_ne!(attached(&cluster, "before"), Vec::<Value>::new());
    put(&old);
    apply_pod(&cluster, "too-old");
    let (dev, later) = (version_of("dev"), version_of("far"));
    let versions = [
        format!("plugin berth is of version {dev} and berth-ipamd of version {later}"),
        format!("plugin berth is of version {later} and berth-ipamd of version {dev}"),
    ];
    wait_event(&cluster, "too-old", &[&versions[0], "upgrade the plugin"]);
    delete_pod(&cluster, "before");
    assert_eq!(attached(&cluster, "before"), Vec::<Value>::new());
    // What the words say to do.
    replace_daemon(&cluster);
    wait_ready(&cluster, "too-old", "");
    wait_installed(&cluster, "far");

    // A plugin too new.
    install(&cluster, "dev");
    wait_installed(&cluster, "dev");
    put(&far);
    apply_pod(&cluster, "too-new");
    wait_event(&cluster, "too-new", &[&versions[1], "upgrade berth-ipamd"]);
    put(&old);
    wait_ready(&cluster, "too-new", "");
}

#[test]
fn daemon_that_is_deleted_killed_for_its_memory_or_cannot_start_takes_no_running_pod_down() {
    // As above.
    turn::take(Rank::Alone);
    let mut cluster = upgradable("cluster-stuck", &[]);
    let pings = pinged_set(&cluster, "run", 6);
    let since = ready_since(&cluster);

    replace_daemon(&cluster);
    run_pod(&cluster, "after-delete");
    wait_installed(&cluster, "dev");
    assert_eq!(ready_since(&cluster), since, "the node was not Ready");

    kill_for_memory(&cluster);
    run_pod(&cluster, "after-oom");
    wait_installed(&cluster, "dev");

    // An image that is nowhere.
    install(&cluster, "absent");
    wait_patiently("a daemon that cannot start", DEADLINE, || {
        let pod = berth_pod(&cluster, "berth-ipamd", "n1");
        let waiting = &pod["status"]["initContainerStatuses"][0]["state"]["waiting"]["reason"];
        match waiting.as_str() {
            Some("ErrImagePull" | "ImagePullBackOff") => Ok(()),
            _ => Err(Pending::because(&pod["status"])),
        }
    })
    .unwrap();
    assert!(!cluster.runs("n1", Daemon::Ipamd).unwrap());
    crate::site::wait_not_ready(&cluster, "n1", "berth-ipamd does not listen");
    // A Pod ends meanwhile, and its addresses are given back when the daemon is there again.
    delete_pod(&cluster, "after-oom");
    install(&cluster, "dev");
    wait_installed(&cluster, "dev");
    cluster.wait_nodes().unwrap();
    assert_eq!(attached(&cluster, "after-oom"), Vec::<Value>::new());
    run_pod(&cluster, "after-stuck");
    pings.finish_without_loss();
}
