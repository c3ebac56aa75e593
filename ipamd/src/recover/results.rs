//! The results that libcni keeps of every ADD, read after the store was lost.
//!
//! `<cni cache>/results/<network>-<container>-<interface>`, JSON of kind `cniCacheV1` (libcni, `api.go`). libcni writes
//! them without care, so that one may be cut short: it is listed, and the others are read. What is not an address of a
//! configured pool is not ours.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipamd_core::{AdoptedInterface, Settings};
use ipnet::IpNet;
use proto_ids::{Attachment, Identity, IfName, MacAddr, NetworkName, PodKey};
use serde::Deserialize;

/// A result is a few kilobytes; what is larger is none.
const LIMIT_BYTES: u64 = 1024 * 1024;

/// One file of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cached {
    /// A result.
    Result(CachedResult),
    /// Not a result, or not a whole one.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The result of one ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CachedResult {
    /// The file.
    pub(crate) path: PathBuf,
    /// The ADD.
    pub(crate) attachment: Attachment,
    pod: Option<PodKey>,
    pod_uid: Option<String>,
    addresses: Vec<CachedAddress>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct CachedAddress {
    address: IpAddr,
    ifname: IfName,
    mac: Option<MacAddr>,
}

/// Reads the folder; one that is not there is empty.
///
/// # Errors
/// When the folder cannot be listed.
pub(crate) fn observe(folder: &Path) -> io::Result<Vec<Cached>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths.into_iter().filter_map(read).collect())
}

fn read(path: PathBuf) -> Option<Cached> {
    let text = File::open(&path).and_then(|file| {
        let mut text = Vec::new();
        file.take(LIMIT_BYTES).read_to_end(&mut text)?;
        Ok(text)
    });
    let parsed = match text {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Err(error.to_string()),
        Ok(text) => parse(&text),
    };
    Some(cached(path, parsed))
}

/// The file at `path`, given what it says.
pub(super) fn cached(path: PathBuf, parsed: Result<CachedResult, String>) -> Cached {
    match parsed {
        Ok(parsed) => Cached::Result(CachedResult { path, ..parsed }),
        Err(reason) => Cached::Unreadable { path, reason },
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CacheText {
    kind: String,
    container_id: String,
    if_name: String,
    network_name: String,
    #[serde(default)]
    cni_args: Option<Vec<(String, String)>>,
    result: ResultText,
}

/// Every version of the CNI specification at once: `ip4` and `ip6` up to 0.2.0, `ips` from 0.3.0.
#[derive(Deserialize)]
struct ResultText {
    #[serde(default)]
    interfaces: Vec<InterfaceText>,
    #[serde(default)]
    ips: Vec<AddressText>,
    #[serde(default)]
    ip4: Option<OldAddressText>,
    #[serde(default)]
    ip6: Option<OldAddressText>,
}

#[derive(Deserialize)]
struct InterfaceText {
    name: String,
    #[serde(default)]
    mac: String,
}

#[derive(Deserialize)]
struct AddressText {
    address: IpNet,
    #[serde(default)]
    interface: Option<usize>,
}

#[derive(Deserialize)]
struct OldAddressText {
    ip: IpNet,
}

pub(super) fn parse(text: &[u8]) -> Result<CachedResult, String> {
    let file: CacheText = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if file.kind != "cniCacheV1" {
        return Err(format!("its kind is {:?}, not \"cniCacheV1\"", file.kind));
    }
    let words = |error: proto_ids::ParseNameError| error.to_string();
    let attachment = Attachment {
        cni_network: file.network_name.parse().map_err(words)?,
        sandbox: file.container_id.parse().map_err(words)?,
        ifname: file.if_name.parse().map_err(words)?,
    };
    let args = file.cni_args.unwrap_or_default();
    let arg = |name: &str| {
        args.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    };
    let pod = arg("K8S_POD_NAMESPACE")
        .zip(arg("K8S_POD_NAME"))
        .and_then(|(namespace, name)| PodKey::new(namespace, name).ok());
    let result = file.result;
    let old = [result.ip4, result.ip6]
        .into_iter()
        .flatten()
        .map(|old| AddressText {
            address: old.ip,
            interface: None,
        });
    let mut addresses = Vec::new();
    for address in result.ips.into_iter().chain(old) {
        let interface = address
            .interface
            .and_then(|index| result.interfaces.get(index));
        addresses.push(CachedAddress {
            address: address.address.addr(),
            ifname: match interface {
                Some(interface) => interface.name.parse().map_err(words)?,
                None => attachment.ifname.clone(),
            },
            mac: interface.and_then(|interface| interface.mac.parse().ok()),
        });
    }
    Ok(CachedResult {
        path: PathBuf::new(),
        attachment,
        pod,
        pod_uid: arg("K8S_POD_UID").cloned(),
        addresses,
    })
}

impl CachedResult {
    /// The interfaces that have addresses of configured pools.
    pub(super) fn interfaces(&self, settings: &Settings) -> Vec<AdoptedInterface> {
        let mut interfaces: Vec<AdoptedInterface> = Vec::new();
        for address in &self.addresses {
            let Some(network) = network_of(address.address, settings) else {
                continue;
            };
            let known = interfaces.iter_mut().find(|interface| {
                interface.ifname == address.ifname && interface.network == *network
            });
            if let Some(interface) = known {
                interface.addresses.push(address.address);
                continue;
            }
            interfaces.push(AdoptedInterface {
                attachment: self.attachment.clone(),
                ifname: address.ifname.clone(),
                network: network.clone(),
                mac: address
                    .mac
                    .unwrap_or_else(|| MacAddr::derived(address.address)),
                addresses: vec![address.address],
                identity: self.pod.as_ref().map(Identity::from),
                pod: self.pod.clone(),
                pod_uid: self.pod_uid.as_ref().and_then(|uid| uid.parse().ok()),
            });
        }
        interfaces
    }
}

fn network_of(address: IpAddr, settings: &Settings) -> Option<&NetworkName> {
    settings
        .pools
        .iter()
        .find(|pool| pool.subnet.contains(&address))
        .map(|pool| &pool.network)
}
