//! Signal `certificates`: none of the node's certificates expires soon. kubelet's own, and those of a control plane that is on the node.
//!
//! Reads files, and of a file that holds a key too keeps nothing but the dates.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto_crd::node_health::Decision;
use x509_parser::parse_x509_certificate;
use x509_parser::pem::Pem;

use super::Look;
use crate::health::aside::{Aside, Outcome};
use crate::health::assess::Rule;
use crate::health::rooted;
use crate::health::signal::{Signal, Trouble, Verdict};

/// Its name.
pub(in crate::health) const SIGNAL: Signal = Signal::new("certificates");

/// Days count here; and a certificate that was renewed shall not look old for long.
const PERIOD: Duration = Duration::from_secs(30);

/// How it is judged: dates do not flap.
pub(in crate::health) const RULE: Rule = Rule {
    signal: SIGNAL,
    period: PERIOD,
    ttl: Duration::from_secs(150),
    set: 1,
    clear: 1,
    // An expired one urges more.
    decision: Decision::Observe,
    escalation: None,
    threshold: "no certificate expires within 7 days; cordon when one has expired",
};

/// Where kubeadm, and kubelet itself, put them.
pub(in crate::health) const USUAL: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem,/var/lib/kubelet/pki/kubelet-server-current.pem,\
    /var/lib/kubelet/pki/kubelet.crt,/etc/kubernetes/pki/*.crt,/etc/kubernetes/pki/etcd/*.crt";

/// kubelet renews its own at 70 to 90 % of their year: a week before the end it has tried for a month.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);
const VERY_SOON: Duration = Duration::from_secs(24 * 3600);

/// A chain of some certificates and a key are some kilobytes.
const SIZE_LIMIT: u64 = 256 * 1024;
const FILES_LIMIT: usize = 128;
const DEADLINE: Duration = Duration::from_secs(4);

/// kubelet signs its own where nobody else signs; it leaves it lying when somebody does.
const OWN: &str = "kubelet.crt";
const SIGNED: &str = "kubelet-server-current.pem";

/// The node's certificates.
#[derive(Debug)]
pub(in crate::health) struct Source {
    root: PathBuf,
    paths: Vec<PathBuf>,
    files: Aside<Expiries>,
}

/// When each file's certificates expire, the first of them, in seconds of the wall clock; or why that is not known.
type Expiries = BTreeMap<PathBuf, Result<i64, String>>;

impl Source {
    /// Reads these files of the node whose file tree is at `root`; `*.EXT` at the end of a path stands for all of that extension.
    pub(in crate::health) fn new(root: PathBuf, paths: Vec<PathBuf>) -> Self {
        Self {
            root,
            paths,
            files: Aside::new("certificates"),
        }
    }
}

impl Look for Source {
    const NAME: &'static str = "certificates";
    const PERIOD: Duration = PERIOD;

    async fn look(&mut self) -> Vec<Verdict> {
        let (root, paths) = (self.root.clone(), self.paths.clone());
        let read = self.files.run(DEADLINE, move || read(&root, &paths)).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |it| it.as_secs().try_into().unwrap_or(i64::MAX));
        vec![match read {
            Outcome::Done(expiries) => assess(&expiries, now),
            Outcome::Hangs(since) => {
                let why = format!("reading them has hung for {} s", since.as_secs());
                Verdict::unclear(SIGNAL, why)
            }
            Outcome::NotDone(error) => Verdict::unclear(SIGNAL, error.to_string()),
        }]
    }
}

fn read(root: &Path, paths: &[PathBuf]) -> Expiries {
    let mut expiries = Expiries::new();
    for path in paths {
        for path in expand(root, path) {
            if expiries.len() >= FILES_LIMIT {
                return expiries;
            }
            match expiry(root, &path) {
                Ok(Some(expiry)) => drop(expiries.insert(path, Ok(expiry))),
                // A key, or nothing at all.
                Ok(None) => {}
                Err(why) => drop(expiries.insert(path, Err(why))),
            }
        }
    }
    let has_signed = expiries.keys().any(|it| it.ends_with(SIGNED));
    expiries.retain(|path, _| !(has_signed && path.ends_with(OWN)));
    expiries
}

/// The path itself, or where it ends in `*.EXT` what there is in that folder, as the node names it.
fn expand(root: &Path, path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let (Some(extension), Some(folder)) = (name.strip_prefix("*."), path.parent()) else {
        return vec![path.to_owned()];
    };
    let entries = rooted::resolve(root, folder).and_then(fs::read_dir);
    let mut names: Vec<_> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| folder.join(entry.file_name()))
        .filter(|path| path.extension() == Some(OsStr::new(extension)))
        .take(FILES_LIMIT)
        .collect();
    names.sort();
    names
}

/// When the first of a file's certificates expires; `None` where there is none.
fn expiry(root: &Path, path: &Path) -> Result<Option<i64>, String> {
    let read = || {
        let file = rooted::resolve(root, path)?;
        let length = fs::metadata(&file)?.len();
        if length > SIZE_LIMIT {
            return Err(io::Error::other(format!(
                "{length} bytes are no certificate"
            )));
        }
        fs::read(file)
    };
    match read() {
        Ok(bytes) => first_expiry(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn first_expiry(pem: &[u8]) -> Result<Option<i64>, String> {
    let mut first = None;
    for block in Pem::iter_from_buffer(pem) {
        let block = block.map_err(|error| error.to_string())?;
        if block.label != "CERTIFICATE" {
            continue;
        }
        let (_, certificate) =
            parse_x509_certificate(&block.contents).map_err(|error| error.to_string())?;
        let expiry = certificate.validity().not_after.timestamp();
        first = Some(first.map_or(expiry, |first: i64| first.min(expiry)));
    }
    Ok(first)
}

fn assess(expiries: &Expiries, now: i64) -> Verdict {
    if expiries.is_empty() {
        return Verdict::absent(SIGNAL, "no certificates lie where they usually do");
    }
    let mut left: Vec<_> = expiries
        .iter()
        .filter_map(|(path, expiry)| Some((expiry.as_ref().ok()? - now, path)))
        .collect();
    left.sort();
    let soon: Vec<_> = left
        .iter()
        .filter(|(left, _)| *left < seconds(SOON))
        .collect();
    let Some((first, path)) = left.first() else {
        return unreadable(expiries);
    };
    let value = format!("{}: {}", path.display(), describe(*first));
    if soon.is_empty() {
        // One that cannot be read may have expired.
        let all_read = expiries.values().all(Result::is_ok);
        return if all_read {
            Verdict::good(SIGNAL, value)
        } else {
            unreadable(expiries)
        };
    }
    let kind = if *first <= 0 {
        "expired"
    } else if *first < seconds(VERY_SOON) {
        "expires-within-a-day"
    } else {
        "expires-within-a-week"
    };
    let list: Vec<_> = soon
        .iter()
        .map(|(left, path)| format!("{} {}", path.display(), describe(*left)))
        .collect();
    let trouble = Trouble {
        kind,
        message: list.join(", "),
        impact: "with kubelet's client certificate expired the node cannot speak to the API server and becomes NotReady, with its serving \
                 certificate logs and exec fail; Pods run on"
            .to_owned(),
        advice: "kubelet renews its own where rotateCertificates is on and somebody approves: kubectl get csr shows what waits; journalctl -u \
                 kubelet says why not. Those of a control plane: kubeadm certs renew all"
            .to_owned(),
    };
    let verdict = Verdict::bad(SIGNAL, value, trouble);
    if *first <= 0 {
        return verdict.urging(Decision::Cordon);
    }
    verdict
}

fn unreadable(expiries: &Expiries) -> Verdict {
    let whys: Vec<_> = expiries
        .iter()
        .filter_map(|(path, expiry)| {
            let why = expiry.as_ref().err()?;
            Some(format!("{}: {why}", path.display()))
        })
        .collect();
    Verdict::unclear(SIGNAL, whys.join(", "))
}

fn seconds(duration: Duration) -> i64 {
    duration.as_secs().try_into().unwrap_or(i64::MAX)
}

fn describe(left: i64) -> String {
    let amount = match left.unsigned_abs() {
        hours if hours < 2 * 24 * 3600 => format!("{} h", hours / 3600),
        days => format!("{} days", days / (24 * 3600)),
    };
    if left <= 0 {
        format!("expired {amount} ago")
    } else {
        format!("expires in {amount}")
    }
}

#[cfg(test)]
mod tests;
