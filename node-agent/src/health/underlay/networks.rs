//! The networks that the plugin is configured with: read from the node's `/etc/cni/net.d`, as the runtime reads it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Where the runtime looks, below the node's file tree.
const FOLDER: &str = "etc/cni/net.d";

/// A configuration is some kilobytes.
const SIZE_LIMIT: u64 = 256 * 1024;

/// The plugin's name in a configuration.
const PLUGIN: &str = "berth";

/// One network, as much as is needed to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::health) struct Network {
    pub(in crate::health) name: String,
    pub(in crate::health) uplink: String,
    pub(in crate::health) bridge: Option<String>,
    pub(in crate::health) vlan: Option<u16>,
    /// The VLAN is one of several on a filtering bridge, not a device of its own below it.
    pub(in crate::health) is_filtering: bool,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::health) struct Networks(pub(in crate::health) Vec<Network>);

/// Why it is not known which networks there are.
#[derive(Debug, thiserror::Error)]
pub(in crate::health) enum ReadNetworksError {
    /// The folder cannot be listed.
    #[error("list {}", .folder.display())]
    List {
        /// The folder.
        folder: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("read {}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Reads the networks; none where Berth is not configured.
///
/// # Errors
/// When there is something that cannot be read.
pub(in crate::health) fn read(root: &Path) -> Result<Networks, ReadNetworksError> {
    let folder = root.join(FOLDER);
    let list = |source| ReadNetworksError::List {
        folder: folder.clone(),
        source,
    };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Networks::default()),
        Err(error) => return Err(list(error)),
    };
    let mut files = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(list)?;
    // libcni takes the first by name.
    files.sort();
    let is_list = |file: &PathBuf| {
        let extension = file.extension().and_then(OsStr::to_str);
        matches!(extension, Some("conflist" | "conf" | "json"))
    };
    for file in files.into_iter().filter(is_list) {
        let read = |source| ReadNetworksError::Read {
            file: file.clone(),
            source,
        };
        if fs::metadata(&file).map_err(read)?.len() > SIZE_LIMIT {
            continue;
        }
        let text = fs::read(&file).map_err(read)?;
        let networks = parse(&text);
        if !networks.0.is_empty() {
            return Ok(networks);
        }
    }
    Ok(Networks::default())
}

/// The networks of a configuration of ours; none of anything else. What is malformed the plugin itself refuses, with words.
fn parse(text: &[u8]) -> Networks {
    let document: Value = serde_json::from_slice(text).unwrap_or_default();
    let plugins = document["plugins"].as_array();
    let ours = plugins
        .into_iter()
        .flatten()
        .chain([&document])
        .find(|plugin| plugin["type"] == PLUGIN);
    let list = ours.and_then(|plugin| plugin["networks"].as_array());
    Networks(list.into_iter().flatten().filter_map(network).collect())
}

fn network(value: &Value) -> Option<Network> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    Some(Network {
        name: text("name")?,
        uplink: text("uplink")?,
        bridge: text("bridge"),
        vlan: value["vlan"].as_u64().and_then(|id| id.try_into().ok()),
        is_filtering: value["vlanMode"] == "filtering",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFLIST: &str = r#"{"name": "bank", "plugins": [
        {"type": "berth", "networks": [
            {"name": "external", "uplink": "eth0", "default": true},
            {"name": "internal", "uplink": "eth1", "vlan": 120},
            {"name": "dmz", "uplink": "eth1", "vlan": 130, "vlanMode": "filtering", "bridge": "br0"}
        ]},
        {"type": "bandwidth"}
    ]}"#;

    fn names(networks: &Networks) -> Vec<&str> {
        networks.0.iter().map(|it| it.name.as_str()).collect()
    }

    #[test]
    fn networks_are_read_from_the_plugins_own_configuration() {
        let networks = parse(CONFLIST.as_bytes());
        assert_eq!(names(&networks), ["external", "internal", "dmz"]);
        assert_eq!(networks.0[1].vlan, Some(120));
        assert!(networks.0[2].is_filtering && !networks.0[1].is_filtering);
        assert_eq!(networks.0[2].bridge.as_deref(), Some("br0"));
        for other in [
            "",
            "{}",
            r#"{"plugins": [{"type": "bridge", "networks": [{"name": "a", "uplink": "b"}]}]}"#,
            r#"{"type": "berth", "networks": [{"name": 1}]}"#,
        ] {
            assert_eq!(parse(other.as_bytes()), Networks::default(), "{other}");
        }
    }

    #[test]
    fn first_configuration_of_ours_by_name_counts_and_none_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(root.path()).unwrap(), Networks::default());
        let folder = root.path().join(FOLDER);
        fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        file("00-other.conf", r#"{"type": "loopback"}"#);
        file("05-berth.conflist.old", CONFLIST);
        assert_eq!(read(root.path()).unwrap(), Networks::default());
        file("10-berth.conflist", CONFLIST);
        assert_eq!(read(root.path()).unwrap().0.len(), 3);
    }
}
