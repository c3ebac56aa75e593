//! The runtime's configuration folder as a runtime reads it: which files, in which order, and whose they are.
//!
//! go-cni (containerd) and ocicni (CRI-O) take files that end in `.conf`, `.conflist` or `.json`, hidden ones too, in
//! lexical order of their names, and use the first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::conflist;

/// End of a configuration list.
pub(crate) const LIST: &str = ".conflist";
const READ: [&str; 3] = [".conf", LIST, ".json"];

/// A file that a runtime reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) owner: Owner,
}

/// Whose a configuration is, by what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// It names a plugin of ours.
    Berth,
    /// It names these plugins.
    Other(Vec<String>),
    /// It cannot be read, so a runtime fails with it; why.
    Unreadable(String),
}

/// Why the folder could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListConfigurationsError {
    /// It could not be read.
    #[error("read folder {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file that cannot be named in a report or a state.
    #[error("the name of {path:?} is not UTF-8: move it away by hand")]
    Name { path: PathBuf },
}

impl Entry {
    /// Name and plugins, for people.
    pub(crate) fn describe(&self) -> String {
        match &self.owner {
            Owner::Berth => format!("{} (type berth)", self.name),
            Owner::Other(types) if types.is_empty() => format!("{} (no plugin type)", self.name),
            Owner::Other(types) => format!("{} (type {})", self.name, types.join(", ")),
            Owner::Unreadable(why) => format!("{} (unreadable: {why})", self.name),
        }
    }
}

/// Whether a runtime reads a file of this name.
pub(crate) fn is_read(name: &str) -> bool {
    READ.iter().any(|end| name.ends_with(end))
}

/// What a runtime would read, in its order; nothing where there is no folder.
pub(crate) fn configurations(folder: &Path) -> Result<Vec<Entry>, ListConfigurationsError> {
    let failed = |source| ListConfigurationsError::Read {
        path: folder.to_owned(),
        source,
    };
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(failed)?,
    };
    let mut entries = Vec::new();
    for entry in listed {
        let entry = entry.map_err(failed)?;
        if !is_read(&entry.file_name().to_string_lossy())
            || entry.file_type().map_err(failed)?.is_dir()
        {
            continue;
        }
        let name = entry
            .file_name()
            .into_string()
            .map_err(|_| ListConfigurationsError::Name { path: entry.path() })?;
        // Removed since it was listed: it is not there.
        if let Some(owner) = owner(&entry.path()) {
            entries.push(Entry { name, owner });
        }
    }
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn owner(path: &Path) -> Option<Owner> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A symbolic link to nowhere is there, and a runtime fails with it.
            let dangling = fs::symlink_metadata(path).is_ok();
            return dangling.then(|| Owner::Unreadable("a link to nowhere".to_owned()));
        }
        Err(error) => return Some(Owner::Unreadable(error.to_string())),
    };
    Some(match serde_json::from_slice::<Value>(&bytes) {
        Err(error) => Owner::Unreadable(format!("not valid JSON: {error}")),
        Ok(file) if conflist::is_ours(&file) => Owner::Berth,
        Ok(file) => Owner::Other(conflist::types(&file)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_are_seen_as_a_runtime_sees_them() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path();
        for (name, text) in [
            ("10-berth.conflist", r#"{"plugins": [{"type": "berth"}]}"#),
            ("05-x.conf", r#"{"type": "bridge"}"#),
            ("87-y.json", "{"),
            (".hidden.conf", r#"{"type": "ptp"}"#),
            (".10-berth.conflist.berth-install", "half"),
            ("README", ""),
            ("10-berth.conflist.bak", ""),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        fs::create_dir(folder.join("folder.conf")).unwrap();
        symlink("nowhere", folder.join("50-z.conf")).unwrap();
        let found = configurations(folder).unwrap();
        let names: Vec<&str> = found.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(
            names,
            [
                ".hidden.conf",
                "05-x.conf",
                "10-berth.conflist",
                "50-z.conf",
                "87-y.json"
            ]
        );
        assert_eq!(found[2].owner, Owner::Berth);
        assert_eq!(found[1].describe(), "05-x.conf (type bridge)");
        assert!(matches!(found[3].owner, Owner::Unreadable(_)));
        assert!(matches!(found[4].owner, Owner::Unreadable(_)));
        assert_eq!(configurations(&folder.join("absent")).unwrap(), []);
    }
}
