use std::fs;
use std::path::Path;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use node_agent_guard::{Limits, Tree};
use tempfile::TempDir;

use super::*;
use crate::contact::Gap;
use crate::pods::LeanPod;

fn uid(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

fn pod(n: usize, is_ending: bool) -> LeanPod {
    let mut pod = LeanPod::default();
    pod.metadata.uid = Some(uid(n));
    pod.metadata.deletion_timestamp = is_ending.then_some(Time(Timestamp::UNIX_EPOCH));
    pod
}

/// A node on which these Pods end, and others stay; the last that ends has no cgroup any more, the first is the agent's own.
fn guard(folder: &TempDir, ending: usize, gap: Option<Gap>) -> Guard {
    let pods = (0..8).map(|n| pod(n, n < ending)).collect();
    Guard {
        socket: folder.path().join("guard.sock"),
        pods: Pods::of(pods),
        contact: Contact::after(gap),
        own: Some(uid(0)),
        metrics: GuardMetrics::default(),
    }
}

fn quotas(folder: &Path) -> Vec<String> {
    let read = |n| fs::read_to_string(place(folder, n)).unwrap();
    (0..4).map(|n| read(n).trim().to_owned()).collect()
}

fn place(folder: &Path, n: usize) -> PathBuf {
    folder.join(format!("kubepods/pod{}/cpu.max", uid(n)))
}

#[tokio::test]
async fn storm_is_limited_by_the_helper_taken_over_by_the_next_agent_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cgroup.controllers"), "cpu").unwrap();
    for n in 0..4 {
        let file = place(folder.path(), n);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "max 100000\n").unwrap();
    }
    let free = vec!["max 100000"; 4];
    let tree = Tree::open(folder.path(), "/").unwrap();
    let limits = Limits::open(tree, folder.path().join("kept")).unwrap();
    let incoming = ipamd_daemon::uds::bind(&folder.path().join("guard.sock")).unwrap();
    let helper = node_agent_guard::serve(limits, incoming.into_incoming());
    let gap = Gap {
        ended: Instant::now(),
        length: Duration::from_secs(600),
    };
    let (sender, storms) = watch::channel(None);
    let work = async {
        // Four end and no gap was heard of; then one was: four and the agent's own, of which one has no cgroup.
        let mut state = State::new(2);
        assert!(guard(&folder, 5, None).pass(&mut state, &sender).await);
        assert_eq!(
            (quotas(folder.path()), *storms.borrow()),
            (texts(&free), None)
        );
        let banked = guard(&folder, 5, Some(gap));
        assert!(!banked.pass(&mut state, &sender).await);
        let limited = ["max 100000", "10000 100000", "10000 100000", "10000 100000"];
        assert_eq!(quotas(folder.path()), texts(&limited));
        let words = storms.borrow().map(Storm::words).unwrap();
        assert!(words.contains("4 of 8 Pods end after 600 s"), "{words}");
        assert_eq!(state.refused.len(), 1);

        // Another agent begins, which saw no gap; then all but one have gone, and then that one too.
        let mut state = State::new(2);
        assert!(!guard(&folder, 5, None).pass(&mut state, &sender).await);
        assert!(storms.borrow().is_some());
        assert!(!guard(&folder, 2, None).pass(&mut state, &sender).await);
        let one = ["max 100000", "40000 100000", "max 100000", "max 100000"];
        assert_eq!(quotas(folder.path()), texts(&one));
        let calm = guard(&folder, 0, None);
        assert!(!calm.pass(&mut state, &sender).await);
        assert_eq!(
            (quotas(folder.path()), *storms.borrow()),
            (texts(&free), None)
        );
        assert!(calm.pass(&mut state, &sender).await);
    };
    tokio::select! {
        end = helper => panic!("{end:?}"),
        () = work => {}
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|it| (*it).to_owned()).collect()
}

#[tokio::test]
async fn storm_is_told_where_no_helper_listens_and_its_end_too() {
    let folder = tempfile::tempdir().unwrap();
    let gap = Gap {
        ended: Instant::now(),
        length: Duration::from_secs(61),
    };
    let (sender, storms) = watch::channel(None);
    let mut state = State::new(2);
    // What an earlier agent left is not known: nothing is decided before.
    assert!(!guard(&folder, 4, Some(gap)).pass(&mut state, &sender).await);
    assert!(storms.borrow().is_none() && state.is_failing);
    state.course = Course::Calm;
    assert!(!guard(&folder, 4, Some(gap)).pass(&mut state, &sender).await);
    assert!(storms.borrow().is_some());
    assert!(!guard(&folder, 0, Some(gap)).pass(&mut state, &sender).await);
    assert!(storms.borrow().is_none() && state.is_failing);
}
