use super::*;
use crate::health::signal::Finding;

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|it| (*it).to_owned()).collect()
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

fn kind(verdict: &Verdict) -> &'static str {
    match &verdict.finding {
        Finding::Good => "good",
        Finding::Bad(trouble) => trouble.kind,
        Finding::Absent => "absent",
        Finding::Unclear { .. } => "unclear",
    }
}

#[test]
fn only_what_stays_for_a_minute_counts() {
    let start = Instant::now();
    let mut ages = Ages::default();
    let mut old = |second, all: &[&str]| ages.old(names(all), start + Duration::from_secs(second));
    assert!(old(0, &["a"]).is_empty());
    assert!(old(30, &["a", "b"]).is_empty());
    assert_eq!(old(60, &["a", "b"]), ["a"]);
    assert_eq!(old(90, &["a", "b"]), ["a", "b"]);
    assert_eq!(old(91, &["b"]), ["b"]);
    assert_eq!(old(92, &["a", "b"]), ["b"], "one that comes again is new");
}

#[test]
fn namespaces_are_judged_by_how_many_more_they_are() {
    for (namespaces, own, expected) in [
        (0, 0, "good"),
        (9, 0, "good"),
        (10, 0, "namespaces"),
        (119, 110, "good"),
        (120, 110, "namespaces"),
        (3, 110, "good"),
    ] {
        let verdict = assess_namespaces(&many(namespaces), own);
        assert_eq!(kind(&verdict), expected, "{namespaces} of {own}");
    }
}

#[test]
fn one_stray_port_is_told_and_so_are_veths_without_number() {
    for (stray, veths, sandboxes, expected) in [
        (0, 220, 100, "good"),
        (1, 3, 2, "ports"),
        (0, 221, 100, "veths"),
        (0, 20, 0, "good"),
        (0, 21, 0, "veths"),
    ] {
        let verdict = assess_ports(&many(stray), veths, sandboxes);
        assert_eq!(kind(&verdict), expected, "{stray} {veths} {sandboxes}");
    }
    let Finding::Bad(trouble) = assess_ports(&many(5), 5, 0).finding else {
        panic!("not bad");
    };
    let message = "5 ports are of sandboxes that the runtime does not know: 0, 1, 2";
    assert_eq!(trouble.message, message);
}

#[test]
fn namespaces_of_runtimes_are_told_from_peoples() {
    let uuid = "0f0c9a3e-1b2c-4d5e-8f90-a1b2c3d4e5f6";
    assert!(is_runtimes(&format!("cni-{uuid}")));
    assert!(is_runtimes(uuid));
    for other in [
        "",
        "cni-",
        "vm1",
        "cni-0f0c9a3e",
        &uuid.replace('-', "_"),
        &uuid.replace('a', "x"),
    ] {
        assert!(!is_runtimes(other), "{other}");
    }
}

#[test]
fn port_is_stray_when_the_runtime_does_not_list_its_sandbox() {
    let port = |sandbox: &str, port: &str| (sandbox.to_owned(), port.to_owned());
    let underlay = Underlay {
        ports: vec![port("s1", "bth1"), port("s2", "bth2"), port("s3", "bth3")],
        ..Underlay::default()
    };
    let sandbox = |id: &str, ready| Sandbox {
        id: id.into(),
        pod: String::new(),
        namespace: String::new(),
        uid: String::new(),
        attempt: 0,
        ready,
        created_at: None,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    };
    let found = stray(&underlay, &[sandbox("s1", true), sandbox("s2", false)]);
    assert_eq!(found, names(&["bth3"]));
}

#[test]
fn folder_of_namespaces_may_be_missing() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(list(root.path()).unwrap(), BTreeSet::new());
    let folder = root.path().join("run/netns");
    fs::create_dir_all(&folder).unwrap();
    let name = "cni-0f0c9a3e-1b2c-4d5e-8f90-a1b2c3d4e5f6";
    fs::write(folder.join(name), "").unwrap();
    fs::write(folder.join("vm1"), "").unwrap();
    assert_eq!(list(root.path()).unwrap(), names(&[name]));
}
