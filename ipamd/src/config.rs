//! The daemon's configuration: one TOML file, read whole or refused whole.
//!
//! Owns the defaults. Every refusal names file, line, column, key and reason, and all of them are reported at once.
//! Never half applies: who holds a [`Config`] holds one in which nothing contradicts anything else.

mod check;
mod file;
mod overrides;
mod problem;
mod value;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipamd_core::{NodeRack, RackUnknown, ValidSettings};
use ipamd_daemon::http::HttpAddress;

use crate::sandboxes::RuntimeSettings;
use crate::wire::WireSettings;

use check::Given;
pub(crate) use overrides::Overrides;
pub(crate) use problem::LoadConfigError;
use problem::Problems;
pub(crate) use value::Period;

/// Socket of the daemon where nobody says otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/berth/ipamd.sock";
/// Largest message either side takes: an export of 50,000 bindings has about 20 MB.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

const DEFAULT_STORE: &str = "/var/lib/berth/ipamd";
/// Where libcni keeps the results it was given: evidence when a lost store is rebuilt.
const DEFAULT_CNI_RESULTS: &str = "/var/lib/cni/results";
/// Socket on which the runtime's sandboxes are listed and nothing else can be done.
pub(crate) const RELAY_SOCKET: &str = "/run/berth-runtime/sandboxes.sock";
/// How often the runtime is asked.
const DEFAULT_RUNTIME_CHECK: Duration = Duration::from_secs(60);
const DEFAULT_METRICS: &str = "127.0.0.1:9421";
/// The label of a Node that says its rack.
const DEFAULT_RACK_LABEL: &str = proto_crd::names::RACK_LABEL;
/// What starts at once on a node of 30 to 256 Pods without a Pod being heard of before. They are the rack's: 40 nodes keep 320 to 640.
const DEFAULT_WARM: usize = 8;
const DEFAULT_AUDIT_KEEP: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Neighbours forget an ARP entry within minutes; switches commonly within five.
pub(crate) const DEFAULT_QUARANTINE: Duration = Duration::from_secs(10 * 60);

/// What the daemon was told.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where it was read.
    pub(crate) path: PathBuf,
    /// The daemon's socket.
    pub(crate) socket: PathBuf,
    /// Folder of the store.
    pub(crate) store: PathBuf,
    /// Folder of the tombstones that `berth` leaves.
    pub(crate) spool: PathBuf,
    /// Folder of the results that libcni keeps.
    pub(crate) cni_results: PathBuf,
    /// Where metrics are served.
    pub(crate) metrics: Option<HttpAddress>,
    /// The runtime whose sandboxes are compared with the book; `None`: they are not.
    pub(crate) runtime: Option<RuntimeSettings>,
    /// How the wire is asked and listened to.
    pub(crate) probe: WireSettings,
    /// What is read from the cluster; `None`: nothing, the daemon stands alone.
    pub(crate) kubernetes: Option<Kubernetes>,
    /// What the book works by; with [`Self::kubernetes`] without a rack, and where nothing else is written without pools, until
    /// the cluster was asked.
    pub(crate) settings: ValidSettings,
}

/// What is read from the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kubernetes {
    /// The label of the own Node that says the rack.
    pub(crate) rack_label: Box<str>,
    /// Free addresses that are kept claimed in each network and family.
    pub(crate) warm: usize,
}

impl Kubernetes {
    /// The rack before anybody was asked.
    pub(crate) fn not_asked_yet(&self) -> NodeRack {
        NodeRack::Unknown(Box::new(RackUnknown {
            cause: format!(
                "the API server is being asked for the label {} of this node",
                self.rack_label
            ),
            advice: "try again in a moment".to_owned(),
            passing: true,
        }))
    }
}

impl Config {
    /// Whether any address is probed, or may be later: which pools a node gets from the cluster is not known at its start.
    pub(crate) fn probes(&self) -> bool {
        let settings = self.settings.settings();
        let mut pools = settings.pools.iter();
        match self.kubernetes {
            None => pools.any(|pool| pool.probe && settings.uses(pool)),
            Some(_) => settings.claiming || pools.any(|pool| pool.probe),
        }
    }

    fn metrics_shown(&self) -> String {
        let address = self.metrics.as_ref();
        address.map_or_else(|| "none".to_owned(), ToString::to_string)
    }

    /// What of `new` cannot take effect while the daemon runs, one line each.
    pub(crate) fn needs_restart(&self, new: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut compare = |key: &str, old: String, new: String| {
            if old != new {
                lines.push(format!("{key} changes from {old} to {new}"));
            }
        };
        let (was, will) = (self.settings.settings(), new.settings.settings());
        compare("node", was.node.to_string(), will.node.to_string());
        let path = |path: &Path| path.display().to_string();
        compare("socket", path(&self.socket), path(&new.socket));
        compare("store", path(&self.store), path(&new.store));
        compare("spool", path(&self.spool), path(&new.spool));
        compare(
            "cni_results",
            path(&self.cni_results),
            path(&new.cni_results),
        );
        compare("metrics", self.metrics_shown(), new.metrics_shown());
        let label = |config: &Self| {
            let label = config.kubernetes.as_ref().map(|on| &*on.rack_label);
            label.unwrap_or("none").to_owned()
        };
        compare("kubernetes.rack_label", label(self), label(new));
        let warm = |config: &Self| {
            let warm = config.kubernetes.as_ref().map(|on| on.warm);
            warm.map_or_else(|| "none".to_owned(), |warm| warm.to_string())
        };
        compare("kubernetes.warm", warm(self), warm(new));
        let source = |claiming: bool| {
            let source = if claiming {
                "the cluster's Pool objects"
            } else {
                "[[pool]] sections"
            };
            source.to_owned()
        };
        // Whose addresses an open book hands out cannot change under it.
        compare(
            "where pools come from",
            source(was.claiming),
            source(will.claiming),
        );
        let runtime = |config: &Self| {
            let runtime = config.runtime.as_ref();
            runtime.map_or_else(
                || "none".to_owned(),
                |it| format!("{}, every {:?}", it.socket.display(), it.check),
            )
        };
        compare("runtime", runtime(self), runtime(new));
        if self.probe != new.probe {
            lines.push("[probe] changes".to_owned());
        }
        // The right to probe was given up at the start and cannot be had back.
        if new.probes() && !self.probes() {
            lines.push(
                "probing is switched on, which was off for every pool at the start".to_owned(),
            );
        }
        lines
    }
}

/// Reads and checks a configuration file.
///
/// # Errors
/// When it cannot be read, or says anything it should not.
pub(crate) fn load(path: &Path, overrides: &Overrides) -> Result<Config, LoadConfigError> {
    let input = fs::read_to_string(path).map_err(|source| LoadConfigError::Read {
        path: path.into(),
        source,
    })?;
    let host_name = nix::unistd::gethostname().ok();
    let host_name = host_name.and_then(|name| name.into_string().ok());
    let given = Given {
        overrides,
        host_name: host_name.as_deref(),
    };
    parse(path, &input, given)
}

/// Checks the text of a configuration file.
fn parse(path: &Path, input: &str, given: Given<'_>) -> Result<Config, LoadConfigError> {
    let mut problems = Problems::new(path, input);
    let file = file::parse(input, &mut problems);
    match check::check(path, &file, given, &mut problems) {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.into_error()),
    }
}

#[cfg(test)]
mod tests;
