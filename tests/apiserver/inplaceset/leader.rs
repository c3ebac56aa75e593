//! What happens when the leader dies at any step, or believes what is old.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use serde_json::{Value, json};
use tests_testbed::ControlPlane;

use super::judge::{
    assert_never_patched_in_service, gate, image, is_ready, protections, restarts, state,
};
use super::rig::{Rig, set};
use super::stale::Way;
use super::{ENDPOINTS, NEW, lossless};
use crate::shipped::{NAMESPACE, kubectl};

/// How far a Pod is on its way to an image, as somebody who looks at it sees: the steps of the protocol, the one after the patch in
/// two.
fn step(pod: &Value, image_now: &str) -> Option<&'static str> {
    let is_quiet = !is_ready(pod) && protections(pod).is_empty();
    let is_back = is_ready(pod) && protections(pod) == [ENDPOINTS];
    let step = match state(pod).as_deref() {
        None if image(pod, 0) != image_now => "Waiting",
        Some("Draining") if is_quiet => "Quiet",
        Some("Draining") => "Draining",
        Some("Upgrading") => {
            let running = &pod["status"]["containerStatuses"][0]["image"];
            if running == image(pod, 0) {
                "Verifying"
            } else {
                "Upgrading"
            }
        }
        None if !is_back => "Attaching",
        _ => return None,
    };
    Some(step)
}

const STEPS: [&str; 6] = [
    "Waiting",
    "Draining",
    "Quiet",
    "Upgrading",
    "Verifying",
    "Attaching",
];

/// Kills who leads, and starts it again. The Lease of a process that is dead is given up at once, so that nobody waits for its end.
pub(crate) fn kill_leader(rig: &mut Rig) {
    let words = ["get", "lease", "berth-controllers", "-n", NAMESPACE];
    let lease = rig.api.kubectl_json(&words).unwrap();
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    let api = &rig.api;
    for (node, (place, process)) in ["c1", "c2"].iter().zip(&mut rig.controllers) {
        if holder.starts_with(&format!("{node}_")) {
            process.kill().unwrap();
            give_up(api);
            *process = place.start(api);
        }
    }
}

/// Takes the Lease from a process that is dead.
fn give_up(api: &ControlPlane) {
    let free = json!({"spec": {"holderIdentity": ""}}).to_string();
    let of = ["patch", "lease", "berth-controllers", "-n", NAMESPACE];
    kubectl(api, &[&of[..], &["--type=merge", "-p", &free]].concat());
}

#[test]
fn a_release_survives_its_leaders_and_old_news() {
    let mut rig = Rig::start("api_inplaceset_leader", 19_640);
    let spec = json!({"maxUnavailable": 2, "lossless": lossless(1)});
    rig.apply(&set("killed", 6, &spec));
    rig.wait_pods("protected", ("killed", 6), |pod| {
        is_ready(pod) && protections(pod) == [ENDPOINTS]
    });
    // 23: at every step, whichever Pod is there.
    let mut left = BTreeSet::from(STEPS);
    let mut releases = 0;
    while !left.is_empty() {
        releases += 1;
        assert!(releases <= 4, "never seen at {left:?}");
        let image_now = format!("localhost/app:r{releases}");
        rig.release("killed", &image_now);
        loop {
            let seen = rig.wait("a step where no leader was killed yet, or the end", || {
                let pods = rig.record.pods("killed");
                let steps: BTreeSet<_> = pods
                    .iter()
                    .filter_map(|pod| step(pod, &image_now))
                    .collect();
                let is_over = pods.len() == 6 && steps.is_empty();
                if is_over || !steps.is_disjoint(&left) {
                    return Ok(steps);
                }
                Err(format!("{steps:?}"))
            });
            if seen.is_disjoint(&left) {
                break;
            }
            left.retain(|step| !seen.contains(step));
            kill_leader(&mut rig);
        }
        for pod in rig.wait_released(("killed", 6), &image_now) {
            assert_eq!(restarts(&pod), [releases], "one restart a release: {pod}");
        }
    }
    believes_what_is_old(&mut rig);
    assert!(assert_never_patched_in_service(&rig.record, &["killed", "stale"]) >= 7);
    assert_eq!(rig.nodes.trouble(), Vec::<String>::new());
}

/// 21: the leader's watches tell nothing, and what it knows last is a Pod out of service that is in service again.
fn believes_what_is_old(rig: &mut Rig) {
    const QUIET: u32 = 20;
    let way = Way::start(rig.api.machine(), 7443);
    let api = &rig.api;
    for (place, process) in &mut rig.controllers {
        process.kill().unwrap();
        give_up(api);
        let path = place.kubeconfig("berth-controllers");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let cluster = &mut config["clusters"][0]["cluster"];
        cluster["server"] = "https://127.0.0.1:7443".into();
        cluster["tls-server-name"] = "10.50.0.2".into();
        fs::write(&path, config.to_string()).unwrap();
        *process = place.start(api);
    }
    rig.apply(&set("stale", 1, &json!({"lossless": lossless(QUIET)})));
    rig.wait_pods("protected", ("stale", 1), |pod| {
        is_ready(pod) && protections(pod) == [ENDPOINTS]
    });
    rig.release("stale", NEW);
    // It has seen that no traffic is led there any more, and waits.
    rig.wait_status("quiet", "stale", |status| {
        status["release"]["pods"][0]["state"] == "Quiet"
    });
    // What it has is what the Pod was.
    way.freeze();
    let since = Instant::now();
    let free = json!({"status": {"conditions": [{
        "type": "berth.dev/ServiceReady", "status": "True", "reason": "ByHand", "message": "",
    }]}});
    let words = [
        "patch",
        "pod",
        "stale-0",
        "-n",
        "shop",
        "--subresource=status",
        "--type=strategic",
        "-p",
    ];
    kubectl(&rig.api, &[&words[..], &[&free.to_string()]].concat());
    rig.wait("half of the quiet time being over", || {
        let passed = since.elapsed().as_secs();
        if passed > u64::from(QUIET) / 2 {
            Ok(())
        } else {
            Err(format!("{passed} s"))
        }
    });
    // It has not heard: else it would hold the Pod unready again at once.
    let pod = rig.record.live("stale-0").unwrap();
    assert_eq!(gate(&pod), Some("True"), "the leader has heard: {pod}");
    rig.wait("the quiet time being over", || {
        let passed = since.elapsed().as_secs();
        if passed > u64::from(QUIET) + 3 {
            Ok(())
        } else {
            Err(format!("{passed} s"))
        }
    });
    assert_never_patched_in_service(&rig.record, &["stale"]);
    way.thaw();
    let pod = rig.wait_released(("stale", 1), NEW).remove(0);
    assert_eq!(restarts(&pod), [1]);
}
