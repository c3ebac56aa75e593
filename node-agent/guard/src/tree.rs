//! Where a Pod's cgroup is: by kubelet's two drivers, in version 1 and 2. Reads only.

use std::path::{Component, Path, PathBuf};

use crate::request::PodUid;

/// Qualities of service, as both drivers name their folders. Guaranteed Pods have none.
const QUALITIES: [&str; 3] = ["", "burstable", "besteffort"];

/// The controller of processors, in version 1: alone, or together with its accounts.
const CONTROLLERS: [&str; 2] = ["cpu", "cpu,cpuacct"];

/// The folder in which kubelet has its Pods.
#[derive(Clone, Debug)]
pub struct Tree {
    base: PathBuf,
    pub(crate) version: Version,
}

/// Of the cgroups that say who gets processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// One hierarchy for each controller.
    One,
    /// One for all.
    Two,
}

/// There is no such tree.
#[derive(Debug, thiserror::Error)]
pub enum OpenTreeError {
    /// Nothing there limits processors.
    #[error(
        "{} has neither cgroup.controllers (version 2) nor a folder cpu (version 1): the node's /sys/fs/cgroup must be mounted there, to write",
        .mounted.display()
    )]
    NoController {
        /// Where they were looked for.
        mounted: PathBuf,
    },
    /// It would lead elsewhere.
    #[error("{root:?} is no cgroup: name kubelet's cgroupRoot, such as \"/\"")]
    Root {
        /// What was named.
        root: String,
    },
}

impl Tree {
    /// By where cgroups are mounted, and kubelet's `cgroupRoot`.
    ///
    /// # Errors
    /// Nothing there limits processors, or the root is not a path below it.
    pub fn open(mounted: &Path, root: &str) -> Result<Self, OpenTreeError> {
        let root = PathBuf::from(root);
        let below = root.strip_prefix("/").unwrap_or(&root);
        let is_plain = |it: Component<'_>| matches!(it, Component::Normal(_));
        if !below.components().all(is_plain) {
            let root = root.to_string_lossy().into_owned();
            return Err(OpenTreeError::Root { root });
        }
        if mounted.join("cgroup.controllers").exists() {
            let base = mounted.join(below);
            let version = Version::Two;
            return Ok(Self { base, version });
        }
        let controllers = CONTROLLERS.map(|name| mounted.join(name));
        let there = controllers.iter().find(|it| it.is_dir());
        let there = there.ok_or_else(|| OpenTreeError::NoController {
            mounted: mounted.into(),
        })?;
        Ok(Self {
            base: there.join(below),
            version: Version::One,
        })
    }

    /// The folder of a Pod, where it has one.
    pub(crate) fn pod(&self, uid: &PodUid) -> Option<PathBuf> {
        let mut places = QUALITIES
            .iter()
            .flat_map(|quality| [by_cgroupfs(quality, uid), by_systemd(quality, uid)]);
        places.find_map(|place| {
            let path = self.base.join(place);
            path.is_dir().then_some(path)
        })
    }
}

fn by_cgroupfs(quality: &str, uid: &PodUid) -> PathBuf {
    // An empty one adds nothing.
    Path::new("kubepods")
        .join(quality)
        .join(format!("pod{uid}"))
}

fn by_systemd(quality: &str, uid: &PodUid) -> PathBuf {
    // A dash is systemd's sign of a step down.
    let pod = format!("pod{}", uid.as_str().replace('-', "_"));
    let whole = Path::new("kubepods.slice");
    if quality.is_empty() {
        return whole.join(format!("kubepods-{pod}.slice"));
    }
    whole
        .join(format!("kubepods-{quality}.slice"))
        .join(format!("kubepods-{quality}-{pod}.slice"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const UID: &str = "0f3a2b1c-4d5e-4f60-8a7b-9c0d1e2f3a4b";
    const UNDER: &str = "0f3a2b1c_4d5e_4f60_8a7b_9c0d1e2f3a4b";

    #[test]
    fn pods_of_both_drivers_and_both_versions_are_found() {
        let slice = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable";
        let places = [
            format!("kubepods/pod{UID}"),
            format!("kubepods/burstable/pod{UID}"),
            format!("kubepods/besteffort/pod{UID}"),
            format!("kubepods.slice/kubepods-pod{UNDER}.slice"),
            format!("{slice}-pod{UNDER}.slice"),
        ];
        let uid: PodUid = UID.parse().unwrap();
        for (controller, root) in [
            ("", "/"),
            ("cpu", "/"),
            ("cpu,cpuacct", "/n1"),
            ("", "n1/x"),
        ] {
            for place in &places {
                let folder = tempfile::tempdir().unwrap();
                let mounted = folder.path();
                if controller.is_empty() {
                    fs::write(mounted.join("cgroup.controllers"), "cpu io\n").unwrap();
                }
                let base = mounted.join(controller).join(root.trim_start_matches('/'));
                fs::create_dir_all(&base).unwrap();
                let tree = Tree::open(mounted, root).unwrap();
                assert_eq!(tree.pod(&uid), None);
                fs::create_dir_all(base.join(place)).unwrap();
                assert_eq!(tree.pod(&uid), Some(base.join(place)), "{place}");
            }
        }
    }

    #[test]
    fn what_is_no_tree_of_cgroups_is_refused_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Tree::open(folder.path(), "/").unwrap_err().to_string();
        assert!(
            refused.contains("/sys/fs/cgroup must be mounted"),
            "{refused}"
        );
        fs::create_dir(folder.path().join("cpu")).unwrap();
        for root in ["..", "/a/../..", "/./.."] {
            let refused = Tree::open(folder.path(), root);
            assert!(matches!(refused, Err(OpenTreeError::Root { .. })), "{root}");
        }
    }
}
