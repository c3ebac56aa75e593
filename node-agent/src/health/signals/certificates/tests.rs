use std::os::unix::fs::symlink;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::health::signal::Finding;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const NOW: i64 = 1_800_000_000;

/// A certificate until the first of January of a year, and its key.
fn pem(year: i32) -> String {
    let mut params = CertificateParams::new(vec!["n1".to_owned()]).unwrap();
    params.not_after = date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    key.serialize_pem() + &certificate.pem()
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
fn dates_are_judged_by_the_table() {
    let cordon = Some(Decision::Cordon);
    let table = [
        (vec![], "absent", None),
        (vec![Some(30 * DAY)], "good", None),
        (vec![Some(7 * DAY)], "good", None),
        (
            vec![Some(7 * DAY - 1), Some(30 * DAY)],
            "expires-within-a-week",
            None,
        ),
        (
            vec![Some(30 * DAY), Some(DAY - 1)],
            "expires-within-a-day",
            None,
        ),
        (vec![Some(0), Some(3 * DAY)], "expired", cordon),
        (vec![Some(-DAY)], "expired", cordon),
        (vec![Some(30 * DAY), None], "unclear", None),
        (vec![Some(DAY), None], "expires-within-a-week", None),
    ];
    for (left, expected, urges) in table {
        let files = (0..).map(|number| PathBuf::from(format!("/pki/{number}")));
        let expiry =
            |left: &Option<i64>| left.map_or_else(|| Err("torn".to_owned()), |left| Ok(NOW + left));
        let expiries = files.zip(left.iter().map(expiry)).collect();
        let verdict = assess(&expiries, NOW);
        assert_eq!(
            (kind(&verdict), verdict.urges),
            (expected, urges),
            "{left:?}"
        );
    }
}

#[test]
fn time_that_is_left_is_said_in_hours_and_days() {
    for (left, text) in [
        (90 * DAY, "expires in 90 days"),
        (47 * HOUR, "expires in 47 h"),
        (-30 * HOUR, "expired 30 h ago"),
    ] {
        assert_eq!(describe(left), text);
    }
}

#[test]
fn first_certificate_of_a_file_that_expires_counts_and_keys_do_not() {
    // 2030-01-01, 2040-01-01.
    let (early, late) = (1_893_456_000, 2_208_988_800);
    assert_eq!(first_expiry(pem(2040).as_bytes()), Ok(Some(late)));
    let chain = pem(2040) + &pem(2030);
    assert_eq!(first_expiry(chain.as_bytes()), Ok(Some(early)));
    let key = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(first_expiry(key.as_bytes()), Ok(None));
    assert_eq!(first_expiry(b""), Ok(None));
    let torn = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    assert!(first_expiry(torn.as_bytes()).is_err());
}

#[test]
fn files_are_found_where_kubelet_and_kubeadm_put_them() {
    let root = tempfile::tempdir().unwrap();
    let usual: Vec<_> = USUAL.split(',').map(PathBuf::from).collect();
    assert_eq!(read(root.path(), &usual), Expiries::new());
    let folder = |path: &str| {
        let folder = root.path().join(path);
        fs::create_dir_all(&folder).unwrap();
        folder
    };
    let kubelet = folder("var/lib/kubelet/pki");
    fs::write(kubelet.join("kubelet.crt"), pem(2020)).unwrap();
    fs::write(kubelet.join("kubelet-client-2026-01-01.pem"), pem(2031)).unwrap();
    let current = kubelet.join("kubelet-client-current.pem");
    symlink(
        "/var/lib/kubelet/pki/kubelet-client-2026-01-01.pem",
        current,
    )
    .unwrap();
    let control = folder("etc/kubernetes/pki");
    fs::write(control.join("ca.crt"), pem(2040)).unwrap();
    fs::write(control.join("ca.key"), "no").unwrap();
    let names = |expiries: &Expiries| {
        let names = expiries.keys().map(|it| it.file_name().unwrap());
        names
            .map(|it| it.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let found = read(root.path(), &usual);
    assert_eq!(
        names(&found),
        ["ca.crt", "kubelet-client-current.pem", "kubelet.crt"]
    );
    assert!(found.values().all(Result::is_ok), "{found:?}");
    // Somebody signs for it now.
    fs::write(kubelet.join("kubelet-server-current.pem"), pem(2031)).unwrap();
    let found = read(root.path(), &usual);
    let signed = [
        "ca.crt",
        "kubelet-client-current.pem",
        "kubelet-server-current.pem",
    ];
    assert_eq!(names(&found), signed);
}
