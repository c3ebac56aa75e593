//! Paths of the node, seen from a container: a link that says `/var/lib/x` means the node's, not the container's.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows (`MAXSYMLINKS`).
const LINKS_LIMIT: u32 = 40;

/// Where a path of the node is, seen from here, every link followed as the node would. What does not exist stands for itself.
///
/// # Errors
/// More links than the kernel would follow, or one that cannot be read.
pub(super) fn resolve(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut left: VecDeque<OsString> = names(path).collect();
    let mut found = PathBuf::new();
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            // Above its root a node has nothing.
            found.pop();
            continue;
        }
        let next = found.join(&name);
        let target = match fs::read_link(root.join(&next)) {
            Ok(target) => target,
            // No link, or nothing at all.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput
                        | io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                ) =>
            {
                found = next;
                continue;
            }
            Err(error) => return Err(error),
        };
        links += 1;
        if links > LINKS_LIMIT {
            return Err(io::Error::other("too many links"));
        }
        if target.is_absolute() {
            found.clear();
        }
        for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
            left.push_front(name);
        }
    }
    Ok(root.join(found))
}

/// The names in a path; `..` among them, the root and `.` not.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("var/lib/pki")).unwrap();
        fs::create_dir_all(root.join("run/resolve")).unwrap();
        fs::create_dir(root.join("etc")).unwrap();
        fs::write(root.join("var/lib/pki/2026.pem"), "").unwrap();
        symlink(
            "/var/lib/pki/2026.pem",
            root.join("var/lib/pki/current.pem"),
        )
        .unwrap();
        symlink("../run/resolve/resolv.conf", root.join("etc/resolv.conf")).unwrap();
        symlink("../../../../etc", root.join("up")).unwrap();
        symlink("/run", root.join("var/run")).unwrap();
        symlink("/loop", root.join("loop")).unwrap();
        for (path, expected) in [
            ("/var/lib/pki/current.pem", "var/lib/pki/2026.pem"),
            ("/etc/resolv.conf", "run/resolve/resolv.conf"),
            ("/up/resolv.conf", "run/resolve/resolv.conf"),
            ("/var/run/resolve/x", "run/resolve/x"),
            ("/missing/x", "missing/x"),
            ("/../../etc/hosts", "etc/hosts"),
        ] {
            let found = resolve(root, Path::new(path)).unwrap();
            assert_eq!(found, root.join(expected), "{path}");
        }
        assert!(resolve(root, Path::new("/loop")).is_err());
    }
}
