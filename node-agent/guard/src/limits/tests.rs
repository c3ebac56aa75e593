use tempfile::TempDir;

use super::*;

const UID: &str = "0f3a2b1c-4d5e-4f60-8a7b-9c0d1e2f3a4b";

/// Folders that look like cgroups, and what is kept beside them.
struct Fake {
    folder: TempDir,
    place: PathBuf,
}

impl Fake {
    fn new(version: Version) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = match version {
            Version::One => "cpu/kubepods/burstable",
            Version::Two => "kubepods/burstable",
        };
        let place = folder.path().join(place).join(format!("pod{UID}"));
        fs::create_dir_all(&place).unwrap();
        if version == Version::Two {
            fs::write(folder.path().join("cgroup.controllers"), "cpu io").unwrap();
        }
        Self { folder, place }
    }

    /// A process over it: each opens what the one before kept.
    fn limits(&self) -> Limits {
        let tree = Tree::open(self.folder.path(), "/").unwrap();
        Limits::open(tree, self.folder.path().join("run/kept")).unwrap()
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (file, text) in files {
            let path = self.place.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
    }

    fn has(&self, files: &[(&str, &str)]) {
        for (file, text) in files {
            let there = fs::read_to_string(self.place.join(file)).unwrap();
            assert_eq!(there.trim_end(), *text, "{file}");
        }
    }
}

fn uid() -> PodUid {
    UID.parse().unwrap()
}

const ONE: [(&str, &str); 7] = [
    (SHARES, "512"),
    (QUOTA, "-1"),
    (PERIOD, "100000"),
    ("c1/cpu.cfs_quota_us", "-1"),
    ("c1/cpu.cfs_period_us", "100000"),
    ("c2/cpu.cfs_quota_us", "25000"),
    ("c2/cpu.cfs_period_us", "50000"),
];

#[test]
fn version_1_lowers_the_pod_and_containers_that_had_more_and_gives_all_back() {
    let fake = Fake::new(Version::One);
    fake.write(&ONE);
    fake.limits().limit(&uid(), 100).unwrap();
    fake.has(&[(SHARES, "2"), (QUOTA, "10000"), (PERIOD, "100000")]);
    fake.has(&[
        ("c1/cpu.cfs_quota_us", "-1"),
        ("c2/cpu.cfs_quota_us", "5000"),
    ]);
    // Changed twice and released by other processes, what was there first is what comes back.
    fake.limits().limit(&uid(), 20).unwrap();
    fake.has(&[(QUOTA, "2000"), ("c2/cpu.cfs_quota_us", "1000")]);
    fake.limits().limit(&uid(), 200).unwrap();
    fake.has(&[(QUOTA, "20000"), ("c2/cpu.cfs_quota_us", "10000")]);
    let held = fake.limits().list().unwrap();
    assert_eq!((held.len(), held[0].millicores), (1, 200));
    fake.limits().release(&uid()).unwrap();
    fake.has(&ONE);
    assert_eq!(fake.limits().list().unwrap(), []);
}

#[test]
fn version_2_lowers_the_pod_alone_and_its_io_where_that_is_weighed() {
    let there = [
        ("cpu.max", "max 100000"),
        ("io.weight", "default 100"),
        ("c1/cpu.max", "max 100000"),
    ];
    for count in [3, 1] {
        let fake = Fake::new(Version::Two);
        fake.write(&there[..count]);
        fake.limits().limit(&uid(), 30).unwrap();
        fake.has(&[("cpu.max", "3000 100000")]);
        if count == 3 {
            fake.has(&[("io.weight", "default 1"), ("c1/cpu.max", "max 100000")]);
        }
        fake.limits().release(&uid()).unwrap();
        fake.has(&there[..count]);
    }
}

#[test]
fn amounts_are_never_raised_and_never_below_what_the_kernel_takes() {
    let (one, two, inner) = (
        Path::new(QUOTA),
        Path::new(MAX),
        Path::new("c1").join(QUOTA),
    );
    let table = [
        (one, "-1", "100000", 100, "10000"),
        (one, "-1", "100000", 1, "1000"),
        (one, "5000", "100000", 100, "5000"),
        (one, "-1", "10000", 10, "1000"),
        (&inner, "-1", "100000", 100, "-1"),
        (&inner, "50000", "100000", 100, "10000"),
        (two, "max 100000", "max 100000", 1500, "150000 100000"),
        (two, "max 20000", "max 20000", 100, "2000 20000"),
        (two, "4000 100000", "4000 100000", 100, "4000 100000"),
        (Path::new(SHARES), "2", "2", 100, "2"),
        (
            Path::new(IO_WEIGHT),
            "default 1",
            "default 1",
            100,
            "default 1",
        ),
    ];
    for (file, former, period, millicores, ours) in table {
        let said = lowered(file, former, period, millicores);
        assert_eq!(said, ours, "{} {former} {millicores}", file.display());
    }
}

#[test]
fn what_somebody_else_wrote_since_is_left_and_a_pod_that_has_gone_is_forgotten() {
    let fake = Fake::new(Version::One);
    fake.write(&ONE);
    fake.limits().limit(&uid(), 100).unwrap();
    fake.write(&[(QUOTA, "30000")]);
    fake.limits().release(&uid()).unwrap();
    fake.has(&[
        (QUOTA, "30000"),
        (SHARES, "512"),
        ("c2/cpu.cfs_quota_us", "25000"),
    ]);

    fake.limits().limit(&uid(), 100).unwrap();
    fs::remove_dir_all(&fake.place).unwrap();
    fake.limits().release(&uid()).unwrap();
    fs::create_dir(&fake.place).unwrap();
    fake.write(&ONE);
    fake.limits().limit(&uid(), 100).unwrap();
    fs::remove_dir_all(&fake.place).unwrap();
    assert_eq!(fake.limits().list().unwrap(), []);
    let refused = fake.limits().release(&uid());
    assert!(matches!(refused, Err(ChangeError::NotLimited { .. })));
}

#[test]
fn a_pod_that_is_not_there_or_not_limited_is_refused_and_one_whose_past_is_unreadable_is_left_alone()
 {
    let fake = Fake::new(Version::One);
    fake.write(&ONE);
    let refused = fake.limits().release(&uid());
    assert!(matches!(refused, Err(ChangeError::NotLimited { .. })));
    let other: PodUid = UID.replace('0', "1").parse().unwrap();
    let refused = fake.limits().limit(&other, 100);
    assert!(matches!(refused, Err(ChangeError::NoPod { .. })));
    fs::write(fake.limits().path(&uid()), "{").unwrap();
    for refused in [
        fake.limits().limit(&uid(), 100),
        fake.limits().release(&uid()),
    ] {
        assert!(matches!(refused, Err(ChangeError::Keep { .. })));
    }
    fake.has(&ONE);
}
