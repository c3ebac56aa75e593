use std::io;
use std::time::Duration;

use super::*;

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn service_that_ends_by_itself_is_reported_by_name() {
    let (tasks, mut supervisor) = Tasks::new();
    tasks.spawn("listener", async {});
    let end = supervisor.unexpected_end().await;
    assert_eq!(end.to_string(), "task \"listener\" ended unexpectedly");
}

#[tokio::test]
async fn failing_task_is_reported_with_its_error() {
    let (tasks, mut supervisor) = Tasks::new();
    tasks.spawn_job("import", async {
        Err::<(), _>(io::Error::other("disk gone"))
    });
    let end = supervisor.unexpected_end().await;
    assert_eq!(chain(&end), "task \"import\" failed: disk gone");
}

fn fail() {
    panic!("on purpose");
}

#[tokio::test]
async fn panic_in_a_task_or_a_thread_of_a_child_group_is_reported() {
    let (tasks, mut supervisor) = Tasks::new();
    tasks.child().spawn_job("prober", async { fail() });
    let end = supervisor.unexpected_end().await;
    assert!(matches!(end, TaskEnd::Panicked { name } if name == "prober"));

    tasks.spawn_thread("ledger", fail).unwrap();
    let end = supervisor.unexpected_end().await;
    assert!(matches!(end, TaskEnd::Panicked { name } if name == "ledger"));
}

#[tokio::test]
async fn job_may_end_and_service_may_end_when_told() {
    let (tasks, mut supervisor) = Tasks::new();
    tasks.spawn_job("once", async {});
    let token = tasks.token();
    tasks.spawn("service", async move { token.cancelled().await });
    tasks.stop(LONG).await.unwrap();
    // Both have ended: a report would be there now.
    assert!(supervisor.ends.try_recv().is_err());
}

#[tokio::test]
async fn parent_outlives_its_child_group() {
    let (tasks, _supervisor) = Tasks::new();
    let child = tasks.child();
    let token = child.token();
    child.spawn("intake", async move { token.cancelled().await });
    child.stop(LONG).await.unwrap();
    assert!(!tasks.token().is_cancelled());
    tasks.stop(LONG).await.unwrap();
    assert!(tasks.child().token().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn task_that_ignores_the_deadline_is_named() {
    let (tasks, _supervisor) = Tasks::new();
    tasks.spawn("stubborn", std::future::pending::<()>());
    let error = tasks.stop(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.names, ["stubborn"]);
    assert_eq!(error.to_string(), "still running after 5s: stubborn");
}

#[tokio::test]
async fn stop_waits_for_threads() {
    let (tasks, _supervisor) = Tasks::new();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let token = tasks.token();
    tasks
        .spawn_thread("store", move || {
            while !token.is_cancelled() {
                let _ = held.recv_timeout(Duration::from_millis(1));
            }
        })
        .unwrap();
    tasks.stop(LONG).await.unwrap();
    drop(release);
}
