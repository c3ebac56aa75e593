use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMetaExt;
use tokio::time::Instant;

use super::*;

fn handle() -> (watch::Sender<PodsView>, PodsHandle) {
    let (publish, view) = watch::channel(PodsView::default());
    let metrics = PodsMetrics::default();
    (publish, PodsHandle { view, metrics })
}

fn bound(uid: &str) -> Event<PartialObjectMeta<Pod>> {
    let meta = ObjectMeta {
        namespace: Some("prod".to_owned()),
        name: Some("db-0".to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectMeta::default()
    };
    Event::Apply(meta.into_response_partial())
}

fn hear(publish: &watch::Sender<PodsView>, event: Event<PartialObjectMeta<Pod>>) {
    publish.send_if_modified(|view| view.take(event));
}

fn listed(publish: &watch::Sender<PodsView>) {
    hear(publish, Event::Init);
    hear(publish, Event::InitDone);
}

/// Asks for `prod/db-0` of this UID: what is known, and after how long.
async fn ask(pods: &PodsHandle, uid: &str) -> (bool, Duration) {
    let begun = Instant::now();
    let uid = uid.parse().unwrap();
    let facts = pods.known(&pod(), Some(&uid)).await;
    (facts.is_some_and(|facts| facts.uid == uid), begun.elapsed())
}

fn pod() -> PodKey {
    PodKey::new("prod", "db-0").unwrap()
}

#[tokio::test(start_paused = true)]
async fn pod_that_is_there_is_not_waited_for() {
    let (publish, pods) = handle();
    listed(&publish);
    hear(&publish, bound("u1"));
    assert_eq!(ask(&pods, "u1").await, (true, Duration::ZERO));
    assert!(pods.known(&pod(), None).await.is_some());
    assert_eq!(pods.metrics.awaited.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn pod_that_comes_in_time_is_waited_for_and_another_one_of_the_name_is_not_it() {
    let (publish, pods) = handle();
    let other = pods.clone();
    let asking = async move { ask(&other, "u2").await };
    let coming = async {
        listed(&publish);
        for uid in ["u1", "u2"] {
            sleep(PATIENCE / 4).await;
            hear(&publish, bound(uid));
        }
    };
    let (asked, ()) = tokio::join!(asking, coming);
    assert_eq!(asked, (true, PATIENCE / 2));
    assert_eq!(pods.metrics.awaited.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn wait_for_a_pod_that_does_not_come_is_short() {
    let (publish, pods) = handle();
    assert_eq!(ask(&pods, "u1").await, (false, PATIENCE));
    listed(&publish);
    assert_eq!(ask(&pods, "u1").await, (false, PATIENCE));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_while_the_api_server_is_away() {
    let (publish, pods) = handle();
    listed(&publish);
    hear(&publish, bound("u1"));
    let other = pods.clone();
    let asking = async move { ask(&other, "u2").await };
    let going = async {
        sleep(PATIENCE / 2).await;
        publish.send_if_modified(PodsView::lose);
    };
    let (asked, ()) = tokio::join!(asking, going);
    assert_eq!(asked, (false, PATIENCE / 2));
    assert_eq!(ask(&pods, "u2").await, (false, Duration::ZERO));
    // What was heard of stays.
    assert_eq!(ask(&pods, "u1").await, (true, Duration::ZERO));
    let nobody = PodsHandle::of_nobody();
    assert_eq!(ask(&nobody, "u1").await, (false, Duration::ZERO));
}

#[test]
fn only_pods_of_the_node_that_need_addresses_are_asked_for() {
    assert_eq!(
        selector(&"n1".parse().unwrap()),
        "spec.nodeName=n1,spec.hostNetwork=false,status.phase!=Succeeded,status.phase!=Failed"
    );
}
