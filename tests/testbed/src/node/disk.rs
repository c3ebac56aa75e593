//! A node's disk: the folders that survive a reboot, kept in a folder of the world or in a file system of their own.
//!
//! A file system of its own (an image on a loop device) can be filled and can fail without the machine's noticing. It is
//! never mounted twice: a boot waits until the kernel has let go of it after the power was cut.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Node, create};
use crate::{
    process::run,
    wait::{Pending, wait_until},
};

/// Folders that survive a reboot, by their path inside.
pub(super) const FOLDERS: [&str; 9] = [
    "/etc/berth",
    "/etc/cni/net.d",
    "/opt/cni/bin",
    "/var/lib/berth",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/pods",
    "/var/log/containers",
];

/// Enough for images and logs; it is sparse.
const SIZE: &str = "2G";

/// What fills it, inside.
const FILLER: &str = "/var/lib/cni/berth-testbed-filler";

/// The kernel lets go of a dead namespace's mounts in its own time.
const DETACH_DEADLINE: Duration = Duration::from_secs(30);

impl Node {
    /// A file that survives a reboot, as the caller reaches it. While the node is off and its disk a file system of its own,
    /// this is where it was before the first boot.
    pub fn disk(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        if let (Some(namespace), true) = (&self.namespace, self.image().exists()) {
            return namespace.path(inside);
        }
        self.dir
            .join("disk")
            .join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// Fills the disk to the last byte, or frees it again.
    ///
    /// # Errors
    /// The node is off, or its disk is no file system of its own.
    pub fn set_disk_full(&self, full: bool) -> Result<()> {
        self.ensure_own_disk()?;
        // Reserved space costs nothing to write; the rest is written.
        let lines = if full {
            format!(
                "free=$(df --block-size=1 --output=avail /var/lib/cni | tail -n 1)
fallocate -l $((free - 4194304)) {FILLER} || true
dd if=/dev/zero of={FILLER} bs=64k oflag=append conv=notrunc,fsync 2>/dev/null || true
dd if=/dev/zero of={FILLER} bs=1k oflag=append conv=notrunc,fsync 2>/dev/null || true"
            )
        } else {
            format!("rm -f {FILLER}")
        };
        self.script(&lines).map(|_| ())
    }

    /// Makes the disk fail as a broken one does: the kernel takes it read-only under everything that has files open. A reboot ends it.
    ///
    /// # Errors
    /// The node is off, or its disk is no file system of its own.
    pub fn break_disk(&self) -> Result<()> {
        self.ensure_own_disk()?;
        // What nobody asked to be synced is lost, down to the images: only what is written from now on shall be.
        self.script("sync -f /var/lib/cni; mount -n -o remount,abort /var/lib/cni || true\n! touch /var/lib/cni/berth-testbed-probe 2>/dev/null")
            .map(|_| ())
            .context("the disk still takes writes")
    }

    pub(super) fn image(&self) -> PathBuf {
        self.dir.join("disk.img")
    }

    /// Puts what is in the disk's folder into a file system of its own.
    pub(super) fn make_own_disk(&self) -> Result<()> {
        let mut command = Command::new("mkfs.ext4");
        command
            .args(["-q", "-m", "0", "-N", "65536", "-J", "size=8"])
            .args(["-E", "lazy_itable_init=0,nodiscard", "-d"])
            .arg(self.dir.join("disk"))
            .arg(self.image())
            .arg(SIZE);
        run(command, b"")?
            .ok()
            .context("make the disk's file system (package e2fsprogs)")
            .map(|_| ())
    }

    pub(super) fn make_folders(&self) -> Result<()> {
        for folder in FOLDERS {
            create(&self.disk(folder))?;
        }
        Ok(())
    }

    /// Waits until no loop device has the image any more.
    pub(super) fn wait_detached(&self) -> Result<()> {
        let image = self.image();
        if !image.exists() {
            return Ok(());
        }
        let what = format!("the kernel letting go of {}", image.display());
        wait_until(&what, DETACH_DEADLINE, || {
            let devices = fs::read_dir("/sys/block").map_err(Pending::because)?;
            for device in devices.flatten() {
                let backing = fs::read_to_string(device.path().join("loop/backing_file"));
                if backing.is_ok_and(|path| Path::new(path.trim_end()) == image) {
                    return Err(Pending::because(device.path().display()));
                }
            }
            Ok(())
        })
    }

    fn ensure_own_disk(&self) -> Result<()> {
        ensure!(
            self.image().exists(),
            "the disk of {} is a folder of the machine's: no loop devices were there (/dev/loop-control)",
            self.spec_name()
        );
        ensure!(self.is_on(), "node {} is off", self.spec_name());
        Ok(())
    }
}
