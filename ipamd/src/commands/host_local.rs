//! The files of the `host-local` IPAM plugin, read as bindings: `<folder>/<address>` holds the container id and, since
//! its version 0.7, the interface name on a second line.
//!
//! host-local knows no Pods. Where libcni still has the result of the ADD (its cache), Pod, UID and MAC are taken from
//! there; otherwise the address is bound to its sandbox, and to a MAC derived from it. Reads only.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipamd_core::{BindingRecord, BindingState, Family, Origin, Timestamp};
use proto_ids::{
    Attachment, CniNetworkName, Identity, IfName, MacAddr, NetworkName, ParseNameError, PodKey,
    PodUid, RackName, SandboxId,
};
use serde::Deserialize;

/// host-local's own files beside the addresses.
const OTHER_FILES: [&str; 2] = ["lock", "last_reserved_ip."];
/// Interface of files written before host-local noted it: CNI runtimes' own default.
const DEFAULT_IFNAME: &str = "eth0";

/// Why host-local's files were not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadHostLocalError {
    /// The folder cannot be read.
    #[error("reading {path}; give the folder of one network, such as /var/lib/cni/networks/NAME")]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("reading {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file has another name than an address.
    #[error("{path} is not named after an address; is this host-local's folder of one network?")]
    Name { path: PathBuf },
    /// A file holds something else.
    #[error("{path} does not hold a container id and an interface name")]
    Content {
        path: PathBuf,
        #[source]
        source: ParseNameError,
    },
    /// The folder's name does not serve as a network configuration's.
    #[error("the folder's name is no name of a network configuration; give --cni-network")]
    CniNetwork {
        #[source]
        source: ParseNameError,
    },
    /// One interface has two addresses of one family.
    #[error(
        "interface {ifname} of container {sandbox} has {first} and {second}; one address per family can be taken over"
    )]
    TwoAddresses {
        sandbox: SandboxId,
        ifname: IfName,
        first: IpAddr,
        second: IpAddr,
    },
}

/// Where to read, and what the addresses become.
#[derive(Clone, Debug)]
pub(crate) struct Take<'a> {
    /// host-local's folder of one network.
    pub(crate) folder: &'a Path,
    /// libcni's cache of results.
    pub(crate) results: &'a Path,
    /// Name of the network configuration; default: the folder's name.
    pub(crate) cni_network: Option<&'a CniNetworkName>,
    /// Berth's network.
    pub(crate) network: &'a NetworkName,
    /// The node's rack.
    pub(crate) rack: &'a RackName,
}

/// Bindings as host-local's files tell them, by sandbox and interface.
pub(crate) fn read(take: &Take<'_>) -> Result<Vec<BindingRecord>, ReadHostLocalError> {
    let cni_network = cni_network(take)?;
    let mut held: BTreeMap<(SandboxId, IfName), Held> = BTreeMap::new();
    for lease in leases(take.folder)? {
        let Lease {
            address,
            sandbox,
            ifname,
            since,
        } = lease;
        let interface = held.entry((sandbox.clone(), ifname.clone()));
        let interface = interface.or_insert_with(|| Held {
            addresses: Vec::new(),
            since,
        });
        let twin = interface.addresses.iter();
        let mut twin = twin.filter(|known| Family::of(**known) == Family::of(address));
        if let Some(first) = twin.next() {
            return Err(ReadHostLocalError::TwoAddresses {
                sandbox,
                ifname,
                first: *first,
                second: address,
            });
        }
        interface.addresses.push(address);
        interface.addresses.sort_unstable();
        interface.since = interface.since.min(since);
    }
    Ok(held
        .into_iter()
        .map(|((sandbox, ifname), held)| {
            let attachment = Attachment {
                cni_network: cni_network.clone(),
                sandbox,
                ifname,
            };
            binding(take, attachment, held)
        })
        .collect())
}

fn cni_network(take: &Take<'_>) -> Result<CniNetworkName, ReadHostLocalError> {
    if let Some(name) = take.cni_network {
        return Ok(name.clone());
    }
    let name = take
        .folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    name.parse()
        .map_err(|source| ReadHostLocalError::CniNetwork { source })
}

/// One of host-local's files.
struct Lease {
    address: IpAddr,
    sandbox: SandboxId,
    ifname: IfName,
    /// When the file was written: the same at every reading, so that taking it over twice is no contradiction.
    since: Timestamp,
}

/// What one interface has.
struct Held {
    addresses: Vec<IpAddr>,
    since: Timestamp,
}

fn leases(folder: &Path) -> Result<Vec<Lease>, ReadHostLocalError> {
    let in_folder = |source| ReadHostLocalError::Folder {
        path: folder.into(),
        source,
    };
    let mut leases = Vec::new();
    for entry in fs::read_dir(folder).map_err(in_folder)? {
        let path = entry.map_err(in_folder)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if OTHER_FILES.iter().any(|other| name.starts_with(other)) {
            continue;
        }
        // host-local writes ':' as '_' where file systems mind.
        let Ok(address) = name.replace('_', ":").parse() else {
            return Err(ReadHostLocalError::Name { path });
        };
        let read = fs::read_to_string(&path);
        let (text, written) =
            match read.and_then(|text| Ok((text, fs::metadata(&path)?.modified()?))) {
                Ok(read) => read,
                Err(source) => return Err(ReadHostLocalError::File { path, source }),
            };
        let mut lines = text.lines().map(str::trim);
        let sandbox = lines.next().unwrap_or_default().parse();
        let ifname = lines.next().unwrap_or(DEFAULT_IFNAME).parse();
        match (sandbox, ifname) {
            (Ok(sandbox), Ok(ifname)) => leases.push(Lease {
                address,
                sandbox,
                ifname,
                since: written.into(),
            }),
            (Err(source), _) | (_, Err(source)) => {
                return Err(ReadHostLocalError::Content { path, source });
            }
        }
    }
    Ok(leases)
}

fn binding(take: &Take<'_>, attachment: Attachment, held: Held) -> BindingRecord {
    let Held { addresses, since } = held;
    let cached = cached(take.results, &attachment);
    let pod = cached.as_ref().and_then(Cached::pod);
    let identity = pod
        .as_ref()
        .map_or_else(|| Identity::from(&attachment.sandbox), Identity::from);
    let derived = || addresses.first().copied().map(MacAddr::derived);
    let mac = cached
        .as_ref()
        .and_then(|cached| cached.mac(&attachment.ifname))
        .or_else(derived);
    BindingRecord {
        identity,
        network: take.network.clone(),
        rack: take.rack.clone(),
        // Every binding here has an address, so one is always derived.
        mac: mac.unwrap_or(MacAddr::from_octets([0xb6, 0xe7, 0, 0, 0, 1])),
        addresses,
        policy: None,
        origin: if pod.is_some() {
            Origin::Pod
        } else {
            Origin::Sandbox
        },
        reservation: None,
        since,
        state: BindingState::Attached {
            ifname: attachment.ifname.clone(),
            attachment,
            pod_uid: cached.and_then(|cached| cached.uid()),
        },
    }
}

/// What libcni keeps of an ADD (`libcni/api.go`, `cachedInfo`), as far as it serves here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Cached {
    cni_args: Option<Vec<(String, String)>>,
    result: Option<CachedResult>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CachedResult {
    interfaces: Vec<CachedInterface>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CachedInterface {
    name: String,
    mac: String,
    sandbox: String,
}

/// A cached result that is missing or not understood only costs the Pod's name.
fn cached(results: &Path, attachment: &Attachment) -> Option<Cached> {
    let Attachment {
        cni_network,
        sandbox,
        ifname,
    } = attachment;
    let path = results.join(format!("{cni_network}-{sandbox}-{ifname}"));
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

impl Cached {
    fn argument(&self, key: &str) -> Option<&str> {
        let arguments = self.cni_args.as_ref()?;
        let found = arguments.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    fn pod(&self) -> Option<PodKey> {
        let namespace = self.argument("K8S_POD_NAMESPACE")?;
        PodKey::new(namespace, self.argument("K8S_POD_NAME")?).ok()
    }

    fn uid(&self) -> Option<PodUid> {
        self.argument("K8S_POD_UID")?.parse().ok()
    }

    /// The MAC inside the Pod: of the interface that has a sandbox.
    fn mac(&self, ifname: &IfName) -> Option<MacAddr> {
        let interfaces = &self.result.as_ref()?.interfaces;
        let inside = interfaces
            .iter()
            .find(|interface| interface.name == ifname.as_str() && !interface.sandbox.is_empty())?;
        inside.mac.parse().ok()
    }
}

#[cfg(test)]
mod tests;
