use super::*;
use crate::health::signal::Finding;

fn figures(avg10: f32, avg60: f32) -> Vec<u8> {
    format!(
        "some avg10=99.00 avg60=99.00 avg300=1.00 total=1\nfull avg10={avg10:.2} avg60={avg60:.2} avg300=1.00 total=1\n"
    )
    .into_bytes()
}

fn error(code: i32) -> io::Result<Vec<u8>> {
    Err(io::Error::from_raw_os_error(code))
}

fn kind(verdict: &Verdict) -> (&'static str, Option<Decision>) {
    let kind = match &verdict.finding {
        Finding::Good => "good",
        Finding::Bad(trouble) => trouble.kind,
        Finding::Unclear { .. } => "unclear",
        Finding::Absent => "absent",
    };
    (kind, verdict.urges)
}

#[test]
fn figures_are_judged_by_the_table() {
    const ENOENT: i32 = 2;
    const EOPNOTSUPP: i32 = 95;
    const EIO: i32 = 5;
    let cordon = Some(Decision::Cordon);
    let table = [
        // `some` is nobody's business, whatever it is.
        (Ok(figures(0.0, 0.0)), ("good", None), ("good", None)),
        (Ok(figures(20.0, 20.0)), ("good", None), ("good", None)),
        (Ok(figures(20.1, 0.0)), ("raised", None), ("good", None)),
        (Ok(figures(0.0, 20.1)), ("good", None), ("raised", None)),
        (Ok(figures(50.1, 0.0)), ("high", cordon), ("good", None)),
        // It is the Pod that is to be acted upon, not the node.
        (Ok(figures(0.0, 100.0)), ("good", None), ("high", None)),
        (error(ENOENT), ("absent", None), ("absent", None)),
        (error(EOPNOTSUPP), ("absent", None), ("absent", None)),
        (error(EIO), ("unclear", None), ("unclear", None)),
        (Ok(b"full\n".to_vec()), ("unclear", None), ("unclear", None)),
    ];
    for (read, memory, io) in table {
        for (resource, expected) in [(Resource::Memory, memory), (Resource::Io, io)] {
            let read = match &read {
                Ok(text) => Ok(text.clone()),
                Err(error) => Err(io::Error::from(error.kind())),
            };
            let shown = format!("{resource:?} {read:?}");
            let verdict = assess(resource, &see(resource, read), None);
            assert_eq!(kind(&verdict), expected, "{shown}");
        }
    }
}

const UID: &str = "0b7d3c1e-6f0a-4a53-9f0e-0123456789ab";

/// A tree of cgroups: folders with the `full avg10` of both resources.
fn cgroups(is_v2: bool, pods: &[(&str, f32)]) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("fs/cgroup");
    fs::create_dir_all(&root).unwrap();
    if is_v2 {
        fs::write(root.join("cgroup.controllers"), "io memory\n").unwrap();
    }
    for (cgroup, percent) in pods {
        let folder = root.join(cgroup);
        fs::create_dir_all(&folder).unwrap();
        for file in ["memory.pressure", "io.pressure"] {
            fs::write(folder.join(file), figures(*percent, 0.0)).unwrap();
        }
        fs::write(
            folder.join("io.stat"),
            "8:0 rbytes=1048576 wbytes=2097152 rios=1\n254:0 \n",
        )
        .unwrap();
    }
    temp
}

#[test]
fn pod_that_waits_most_is_named_whatever_driver_made_its_cgroup() {
    let other = UID.replace('0', "1");
    let cgroupfs = format!("node/kubepods/burstable/pod{UID}");
    let systemd = format!(
        "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{}.slice",
        other.replace('-', "_")
    );
    for (low, high) in [(&cgroupfs, &systemd), (&systemd, &cgroupfs)] {
        let container = format!("{high}/container");
        let tree = cgroups(
            true,
            &[
                ("system.slice/ssh", 99.0),
                (&format!("system.slice/pod{UID}"), 99.0),
                (low, 10.0),
                (high, 30.0),
                (&container, 80.0),
            ],
        );
        let root = tree.path().join("fs/cgroup");
        let offender = worst(&root, "io");
        let expected = Offender::Pod {
            cgroup: high.clone(),
            percent: 30.0,
            io_bytes: Some(3 << 20),
        };
        assert_eq!(offender, expected);
        let offender = worst(&root, "memory");
        assert!(matches!(offender, Offender::Pod { io_bytes: None, .. }));
    }
}

#[test]
fn what_cannot_be_known_of_the_offender_is_said() {
    let pod = format!("kubepods/pod{UID}");
    let table = [
        (cgroups(false, &[(&pod, 50.0)]), "cgroup v1"),
        (cgroups(true, &[]), "no pressure file"),
        (cgroups(true, &[(&pod, 0.0)]), "it is the node's"),
    ];
    for (tree, words) in table {
        let shown = worst(&tree.path().join("fs/cgroup"), "memory").to_string();
        assert!(shown.contains(words), "{shown}");
    }
}

#[tokio::test]
async fn offender_is_in_the_message() {
    let pod = format!("kubepods/pod{UID}");
    let sys = cgroups(true, &[(&pod, 61.0)]);
    let proc = tempfile::tempdir().unwrap();
    fs::create_dir(proc.path().join("pressure")).unwrap();
    fs::write(proc.path().join("pressure/memory"), figures(70.0, 0.0)).unwrap();
    let verdicts = Source::new(proc.path(), sys.path()).look().await;
    let Finding::Bad(trouble) = &verdicts[0].finding else {
        panic!("{verdicts:?}");
    };
    let words =
        format!("nothing on this node goes on, for want of memory; most of all in {pod} (61 %)");
    assert!(trouble.message.contains(&words), "{}", trouble.message);
    assert_eq!(verdicts[1].finding, Finding::Absent);
}
