//! Whose turn it is, what is refused before anything is stopped, and kubelet's back-off foreseen.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tests_testbed::Cluster;

use super::{
    FOREVER, apply_pod, ask, assert_told, containers, hooked, object, seconds, text, wait_failed,
    wait_status, wait_succeeded,
};
use crate::seen::{container, pod, remove, wait_for};
use crate::site::{shared, wait_ready};

/// Where kubelet finds Pods of its own, and what one of them is called in the API.
const STATIC_PODS: &str = "/var/lib/kubelet/static-pods";
const STATIC: &str = "filed-n1";

fn quick() -> Value {
    super::quick(&json!({}))
}

#[test]
fn requests_for_one_pod_take_turns_and_one_that_another_covers_gives_way() {
    let cluster = shared();
    let waits = hooked(&json!({"exec": {"command": ["sleep", "6"]}}));
    let both = [waits, container("side", FOREVER)];
    apply_pod(&cluster, "turns", "n1", &both, &json!({}));
    wait_ready(&cluster, "turns", "");
    ask(&cluster, "turn-1", "turns", &["app"], &quick());
    wait_status(&cluster, "turn-1", "stopping", |status| {
        status["phase"] == "Recreating"
    });
    ask(&cluster, "turn-2", "turns", &["side"], &quick());
    let status = wait_status(&cluster, "turn-2", "its position", |status| {
        status["queuePosition"] == 1
    });
    assert!(text(&status["message"]).contains("turn-1"), "{status}");
    ask(&cluster, "turn-3", "turns", &["side"], &quick());
    let status = wait_failed(&cluster, "turn-2", "Superseded");
    assert!(text(&status["message"]).contains("turn-3"), "{status}");
    wait_succeeded(&cluster, "turn-1");
    wait_succeeded(&cluster, "turn-3");
    let after = containers(&cluster, "turns");
    assert_eq!((after["app"].restarts, after["side"].restarts), (1, 1));
    remove(
        &cluster,
        &["pod/turns", "crst/turn-1", "crst/turn-2", "crst/turn-3"],
    );
}

/// A Pod of a file of kubelet's; the file.
fn static_pod(cluster: &Cluster, container: &Value) -> PathBuf {
    let spec = json!({"hostNetwork": true, "containers": [container]});
    let file = cluster
        .world()
        .node("n1")
        .disk(STATIC_PODS)
        .join("filed.json");
    fs::write(&file, pod("filed", &spec).to_string()).unwrap();
    file
}

#[test]
fn what_would_not_come_back_is_refused_and_nothing_is_stopped() {
    let cluster = shared();
    let app = [container("app", FOREVER)];
    let of_file = static_pod(&cluster, &app[0]);
    apply_pod(
        &cluster,
        "once",
        "n1",
        &app,
        &json!({"restartPolicy": "Never"}),
    );
    apply_pod(&cluster, "elsewhere", "n1", &app, &json!({}));
    let names = ["once", "elsewhere", STATIC];
    for name in names {
        wait_ready(&cluster, name, "");
    }
    let before = names.map(|name| containers(&cluster, name));
    ask(&cluster, "once", "once", &["app"], &quick());
    ask(&cluster, "static", STATIC, &["app"], &quick());
    let mut of_n2 = quick();
    of_n2["nodeName"] = "n2".into();
    ask(&cluster, "elsewhere", "elsewhere", &["app"], &of_n2);
    ask(&cluster, "nobody", "elsewhere", &["nobody"], &quick());
    let mut ungated = quick();
    ungated["strategy"]["unreadyGracePeriodSeconds"] = 1.into();
    ask(&cluster, "ungated", "elsewhere", &["app"], &ungated);
    let mut other_uid = quick();
    other_uid["podUID"] = "00000000-0000-0000-0000-000000000000".into();
    ask(&cluster, "other-uid", "elsewhere", &["app"], &other_uid);
    for (request, reason) in [
        ("once", "RestartPolicy"),
        ("static", "StaticPod"),
        ("elsewhere", "OtherNode"),
        ("nobody", "Invalid"),
        ("ungated", "NoReadinessGate"),
        ("other-uid", "PodGone"),
    ] {
        let status = wait_failed(&cluster, request, reason);
        assert!(!text(&status["message"]).is_empty(), "{status}");
    }
    assert_told(&cluster, "once", "once", "RestartInPlaceRefused");
    assert_eq!(names.map(|name| containers(&cluster, name)), before);
    fs::remove_file(of_file).unwrap();
    remove(
        &cluster,
        &[
            "pod/once",
            "pod/elsewhere",
            "crst/once",
            "crst/static",
            "crst/elsewhere",
            "crst/nobody",
            "crst/ungated",
            "crst/other-uid",
        ],
    );
}

/// The cluster's kubelets wait ten seconds at most; the agents reckon with kubelet's own default.
#[test]
fn back_off_is_foreseen_shown_and_gone_with_another_image() {
    let cluster = shared();
    apply_pod(
        &cluster,
        "again",
        "n2",
        &[container("app", FOREVER)],
        &json!({}),
    );
    wait_ready(&cluster, "again", "");
    ask(&cluster, "again-1", "again", &["app"], &quick());
    let status = wait_succeeded(&cluster, "again-1");
    assert_eq!(
        status["containers"][0]["foreseenBackOffSeconds"],
        Value::Null,
        "{status}"
    );

    // Within a minute: what it would cost is said before anything is stopped.
    let mut impatient = quick();
    impatient["strategy"]["maxBackOffSeconds"] = 5.into();
    impatient["strategy"]["backOffPolicy"] = "Refuse".into();
    ask(&cluster, "again-2", "again", &["app"], &impatient);
    let status = wait_failed(&cluster, "again-2", "BackOff");
    let foreseen = status["containers"][0]["foreseenBackOffSeconds"]
        .as_u64()
        .unwrap();
    assert!((10..=20).contains(&foreseen), "{status}");
    assert!(
        text(&status["message"]).contains("maxContainerRestartPeriod"),
        "{status}"
    );
    assert_eq!(containers(&cluster, "again")["app"].restarts, 1);

    ask(&cluster, "again-3", "again", &["app"], &quick());
    let status = wait_status(&cluster, "again-3", "until when it stays down", |status| {
        !status["containers"][0]["backoffUntil"].is_null()
    });
    let (killed, until) = (
        &status["containers"][0]["killedAt"],
        &status["containers"][0]["backoffUntil"],
    );
    assert!(seconds(until) - seconds(killed) >= 10, "{status}");
    let status = wait_succeeded(&cluster, "again-3");
    let down = seconds(&status["containers"][0]["startedAt"]) - seconds(killed);
    assert!((9..=20).contains(&down), "{status}");

    // kubelet counts another image anew.
    cluster
        .kubectl(&["set", "image", "pod/again", "app=localhost/app:v2"])
        .unwrap();
    let pod = wait_for("the other image", || {
        let pod = object(&cluster, "pod", "again")?;
        let app = &pod["status"]["containerStatuses"][0];
        if app["restartCount"] == 3 && !app["state"]["running"].is_null() {
            return Ok(app.clone());
        }
        Err(app.to_string())
    });
    let down = seconds(&pod["state"]["running"]["startedAt"])
        - seconds(&pod["lastState"]["terminated"]["finishedAt"]);
    assert!(down < 8, "{pod}");
    remove(
        &cluster,
        &["pod/again", "crst/again-1", "crst/again-2", "crst/again-3"],
    );
}
