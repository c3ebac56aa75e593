//! A container image made here, since no registry can be reached: one layer with a static busybox.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{node::create, process::run};

/// The image of sandboxes.
pub const PAUSE_IMAGE: &str = "localhost/pause:1";

/// Images with a shell that differ in their tag only, for upgrades.
pub const APP_IMAGES: [&str; 2] = ["localhost/app:v1", "localhost/app:v2"];

/// Debian's static busybox.
const BUSYBOX: &str = "/usr/bin/busybox";

/// Programs the image offers.
const APPLETS: [&str; 12] = [
    "sh", "sleep", "ip", "ping", "cat", "ls", "echo", "hostname", "nc", "wget", "kill", "true",
];

/// Writes an archive that `ctr image import` takes, with all names above; its path. `folder` is emptied first.
///
/// # Errors
/// No static busybox (package busybox-static), or the folder cannot be written.
pub fn write_image(folder: &Path) -> Result<PathBuf> {
    ensure!(
        Path::new(BUSYBOX).is_file(),
        "{BUSYBOX} does not exist: install the package busybox-static"
    );
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    let root = folder.join("root");
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        create(&root.join(name))?;
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).context("copy busybox")?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).context("link an applet")?;
    }
    let archive = folder.join("archive");
    create(&archive)?;
    tar(&root, &archive.join("layer.tar"))?;
    let mut names = vec![PAUSE_IMAGE];
    names.extend(APP_IMAGES);
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        // A PID 1 that ends at SIGTERM: the default action of signals does not apply to it.
        "config": {"Cmd": ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&archive.join("layer.tar"))?)]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": names, "Layers": ["layer.tar"]}]);
    fs::write(archive.join("config.json"), config.to_string())
        .context("write the image's config")?;
    fs::write(archive.join("manifest.json"), manifest.to_string()).context("write the manifest")?;
    let image = folder.join("image.tar");
    tar(&archive, &image)?;
    Ok(image)
}

fn tar(folder: &Path, archive: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command
        .args([
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "-cf",
        ])
        .arg(archive)
        .arg("-C")
        .arg(folder)
        .arg(".");
    run(command, b"")?.ok().map(|_| ())
}

fn sha256(path: &Path) -> Result<String> {
    let mut command = Command::new("sha256sum");
    command.arg(path);
    let said = run(command, b"")?.ok()?;
    let sum = said.split_whitespace().next();
    sum.map(str::to_owned).context("sha256sum said nothing")
}
