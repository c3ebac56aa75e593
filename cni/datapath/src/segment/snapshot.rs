//! What an uplink carried before it was taken over: on disk, synced, before anything is changed.
//!
//! Addresses and routes are kept as the kernel's own messages, so that nothing the kernel knows of them is lost, with a
//! text beside each for people. A snapshot holds for one boot and one interface: after a reboot the operating system
//! has given the NIC its addresses again, and an old snapshot would be wrong.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use netlink_packet_core::{Emitable, Parseable};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::RouteMessage;
use proto_ids::{IfName, MacAddr};
use serde::{Deserialize, Serialize};

use crate::netlink::{address, route};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What an uplink carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snapshot {
    version: u32,
    boot_id: String,
    pub(crate) uplink: IfName,
    uplink_index: u32,
    uplink_mac: MacAddr,
    addresses: Vec<Entry>,
    routes: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    text: String,
    netlink: String,
}

/// Why a snapshot could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It could not be written, so nothing was changed.
    #[error("write the snapshot {path:?}: nothing was changed")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It could not be read.
    #[error("read the snapshot {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It is damaged.
    #[error(
        "the snapshot {path:?} is damaged ({why}): give the uplink its addresses by hand, then remove the file"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// The link that a snapshot is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject<'a> {
    pub(crate) uplink: &'a IfName,
    pub(crate) index: u32,
    pub(crate) mac: MacAddr,
}

impl Snapshot {
    /// Takes down what the uplink carries now.
    pub(crate) fn take(
        subject: Subject<'_>,
        addresses: &[AddressMessage],
        routes: &[RouteMessage],
    ) -> io::Result<Self> {
        Ok(Self {
            version: 1,
            boot_id: boot_id()?,
            uplink: subject.uplink.clone(),
            uplink_index: subject.index,
            uplink_mac: subject.mac,
            addresses: addresses
                .iter()
                .map(|message| Entry {
                    text: address::net(message).map_or_else(String::new, |net| net.to_string()),
                    netlink: hex(message),
                })
                .collect(),
            routes: routes
                .iter()
                .map(|message| Entry {
                    text: route::describe(message),
                    netlink: hex(message),
                })
                .collect(),
        })
    }

    /// The snapshot of an uplink, if there is one of this boot and this very interface.
    pub(crate) fn load(folder: &Path, subject: Subject<'_>) -> Result<Option<Self>, SnapshotError> {
        let path = path(folder, subject.uplink);
        let read = |source| SnapshotError::Read {
            path: path.clone(),
            source,
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(read(source)),
        };
        let snapshot: Self =
            serde_json::from_slice(&bytes).map_err(|error| SnapshotError::Damaged {
                path: path.clone(),
                why: error.to_string(),
            })?;
        let this = snapshot.boot_id == boot_id().map_err(read)?
            && snapshot.uplink_index == subject.index
            && snapshot.uplink_mac == subject.mac;
        Ok(this.then_some(snapshot))
    }

    /// Writes it, so that it is there after a crash at any later moment.
    pub(crate) fn store(&self, folder: &Path) -> Result<(), SnapshotError> {
        let path = path(folder, &self.uplink);
        let write = || -> io::Result<()> {
            fs::create_dir_all(folder)?;
            let begun = path.with_extension("json.new");
            let mut file = File::create(&begun)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&begun, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|source| SnapshotError::Write {
            path: path.clone(),
            source,
        })
    }

    /// Removes the snapshot of an uplink, if there is one.
    pub(crate) fn remove(folder: &Path, uplink: &IfName) -> Result<(), SnapshotError> {
        let path = path(folder, uplink);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SnapshotError::Write {
                path,
                source: error,
            }),
            _ => Ok(()),
        }
    }

    /// Whether there is a file, of whatever boot.
    pub(crate) fn is_kept(folder: &Path, uplink: &IfName) -> bool {
        path(folder, uplink).exists()
    }

    /// The addresses.
    pub(crate) fn addresses(&self, folder: &Path) -> Result<Vec<AddressMessage>, SnapshotError> {
        self.messages(folder, &self.addresses)
    }

    /// The routes, in the order in which the kernel accepts them.
    pub(crate) fn routes(&self, folder: &Path) -> Result<Vec<RouteMessage>, SnapshotError> {
        self.messages(folder, &self.routes)
    }

    /// The addresses with their prefix lengths.
    pub(crate) fn nets(&self, folder: &Path) -> Result<Vec<IpNet>, SnapshotError> {
        Ok(self
            .addresses(folder)?
            .iter()
            .filter_map(address::net)
            .collect())
    }

    /// The gateways of the default routes, each with an address of ours to ask from.
    pub(crate) fn gateways(
        &self,
        folder: &Path,
    ) -> Result<Vec<(IpAddr, Option<IpAddr>)>, SnapshotError> {
        let nets = self.nets(folder)?;
        let mut gateways: Vec<_> = self
            .routes(folder)?
            .iter()
            .flat_map(route::default_gateways)
            .map(|gateway| {
                let same_family = |net: &&IpNet| net.addr().is_ipv4() == gateway.is_ipv4();
                let near = nets.iter().find(|net| net.contains(&gateway));
                let own = near.or_else(|| nets.iter().find(same_family));
                (gateway, own.map(IpNet::addr))
            })
            .collect();
        gateways.sort_unstable();
        gateways.dedup();
        Ok(gateways)
    }

    fn messages<T: Parseable<[u8]>>(
        &self,
        folder: &Path,
        entries: &[Entry],
    ) -> Result<Vec<T>, SnapshotError> {
        entries
            .iter()
            .map(|entry| {
                let damaged = |why| SnapshotError::Damaged {
                    path: path(folder, &self.uplink),
                    why,
                };
                let bytes = bytes(&entry.netlink)
                    .ok_or_else(|| damaged(format!("{:?} is not hexadecimal", entry.text)))?;
                T::parse(&bytes).map_err(|error| damaged(error.to_string()))
            })
            .collect()
    }
}

fn path(folder: &Path, uplink: &IfName) -> PathBuf {
    // An interface name holds no '/', and is neither "." nor "..".
    folder.join(format!("{uplink}.json"))
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

fn hex(message: &impl Emitable) -> String {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 0xf)]);
        hex.extend([digit(byte >> 4), digit(*byte)]);
        hex
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    digits
        .chunks(2)
        .map(|pair| {
            let text = std::str::from_utf8(pair).ok().filter(|t| t.len() == 2)?;
            u8::from_str_radix(text, 16).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests;
