//! Which Pods use Berth on this node: by the alias that each of their host-side ports carries, read from sysfs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proto_ids::alias::{ParseAliasError, PortAlias};

/// The kernel's links, of the network namespace of whoever mounted it.
pub(crate) const LINKS: &str = "/sys/class/net";

/// Why it cannot be known which Pods use Berth.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadLinksError {
    /// sysfs could not be read.
    #[error("read the aliases of the links in {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The kernel did not list its links.
    #[error("list this network namespace's links")]
    List(#[source] nix::Error),
    /// sysfs shows another network namespace than that of this process.
    #[error(
        "{path:?} does not show this process's network: {missing} is not in it; as a Pod run with hostNetwork: true, by hand in the \
         node's own namespaces"
    )]
    Elsewhere { path: PathBuf, missing: String },
}

/// Names of the links that this process's network namespace has.
pub(crate) fn links() -> Result<Vec<String>, ReadLinksError> {
    let links = nix::net::if_::if_nameindex().map_err(ReadLinksError::List)?;
    let mut names: Vec<String> = links
        .into_iter()
        .map(|link| link.name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Makes sure that sysfs shows these links: it shows the network namespace of whoever mounted it, which need not be
/// ours, and then no Pod would be found.
pub(crate) fn ensure_shown(folder: &Path, links: &[String]) -> Result<(), ReadLinksError> {
    match links.iter().find(|link| !folder.join(link).exists()) {
        None => Ok(()),
        Some(missing) => Err(ReadLinksError::Elsewhere {
            path: folder.to_owned(),
            missing: missing.clone(),
        }),
    }
}

/// Names of the Pods, each once: `namespace/name` where the port says it, else its container.
pub(crate) fn pods(links: &Path) -> Result<Vec<String>, ReadLinksError> {
    let failed = |source| ReadLinksError::Read {
        path: links.to_owned(),
        source,
    };
    let mut pods = BTreeSet::new();
    for entry in fs::read_dir(links).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A link may go while they are read; `bonding_masters` is no link.
        let Ok(alias) = fs::read_to_string(entry.path().join("ifalias")) else {
            continue;
        };
        pods.extend(pod(
            &entry.file_name().to_string_lossy(),
            alias.trim_end_matches('\n'),
        ));
    }
    Ok(pods.into_iter().collect())
}

fn pod(link: &str, alias: &str) -> Option<String> {
    match alias.parse::<PortAlias>() {
        Ok(alias) => Some(alias.identity.as_ref().map_or_else(
            || format!("container {}", alias.attachment.sandbox),
            |identity| identity.as_str().to_owned(),
        )),
        Err(ParseAliasError::Foreign) => None,
        Err(ParseAliasError::Field { .. }) => Some(format!("port {link} (its alias is damaged)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_another_namespace_are_noticed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("lo")).unwrap();
        let links =
            |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.to_owned()).collect() };
        ensure_shown(root.path(), &links(&["lo"])).unwrap();
        let error = ensure_shown(root.path(), &links(&["eth0", "lo"])).unwrap_err();
        assert!(error.to_string().contains("eth0 is not in it"), "{error}");
    }

    #[test]
    fn pods_are_named_once_and_other_links_are_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let mac = "02:00:00:00:00:01";
        for (link, alias) in [
            ("lo", "\n".to_owned()),
            ("eth0", "uplink to rack 7\n".to_owned()),
            (
                "b1",
                format!("berth1 bank c1 eth0 eth0 external {mac} 10.0.0.1/24 prod/db-0\n"),
            ),
            (
                "b2",
                format!("berth1 bank c1 eth0 net1 internal {mac} 10.1.0.1/24 prod/db-0\n"),
            ),
            (
                "b3",
                format!("berth1 bank c2 eth0 eth0 external {mac} 10.0.0.2/24 ~\n"),
            ),
            ("b4", "berth1 bank\n".to_owned()),
        ] {
            fs::create_dir(root.path().join(link)).unwrap();
            fs::write(root.path().join(link).join("ifalias"), alias).unwrap();
        }
        fs::write(root.path().join("bonding_masters"), "").unwrap();
        assert_eq!(
            pods(root.path()).unwrap(),
            [
                "container c2",
                "port b4 (its alias is damaged)",
                "prod/db-0"
            ]
        );
    }
}
