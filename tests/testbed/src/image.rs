//! Container images made here, since no registry can be reached: one layer with static programs, mostly a busybox.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{node::create, process::run};

/// The image of sandboxes.
pub const PAUSE_IMAGE: &str = "localhost/pause:1";

/// Images with a shell that differ in the variable `VERSION` only, for upgrades.
pub const APP_IMAGES: [&str; 2] = ["localhost/app:v1", "localhost/app:v2"];

/// Debian's static busybox.
const BUSYBOX: &str = "/usr/bin/busybox";

/// Programs the image offers.
const APPLETS: [&str; 17] = [
    "sh", "sleep", "ip", "ping", "cat", "ls", "echo", "hostname", "nc", "wget", "kill", "true",
    "rm", "touch", "dd", "httpd", "nslookup",
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
    let config = |variables: &[&str]| {
        // A PID 1 that ends at SIGTERM: the default action of signals does not apply to it.
        json!({"Cmd": ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"], "Env": variables})
    };
    let [v1, v2] = APP_IMAGES;
    let archive = Archive {
        programs: &[Program {
            file: Path::new(BUSYBOX),
            path: "bin/busybox",
            links: &APPLETS,
        }],
        images: &[
            Image {
                names: &[PAUSE_IMAGE, v1],
                config: config(&["PATH=/bin", "VERSION=v1"]),
            },
            Image {
                names: &[v2],
                config: config(&["PATH=/bin", "VERSION=v2"]),
            },
        ],
    };
    archive.write(folder)
}

/// Images that have one layer in common.
#[derive(Debug)]
pub(crate) struct Archive<'a> {
    /// What is in the layer; none needs a library.
    pub(crate) programs: &'a [Program<'a>],
    /// Its images.
    pub(crate) images: &'a [Image<'a>],
}

/// An image by what is its own.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    /// All its names.
    pub(crate) names: &'a [&'a str],
    /// What is run where a Pod says nothing, and with which variables. Images of the same configuration are one.
    pub(crate) config: Value,
}

/// A static program of an image.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// Where it is on this machine.
    pub(crate) file: &'a Path,
    /// Where it shall be, from the root.
    pub(crate) path: &'a str,
    /// Other names for it in the same folder.
    pub(crate) links: &'a [&'a str],
}

impl Archive<'_> {
    /// Writes it as a file that `ctr image import` takes; its path. `folder` is emptied first.
    pub(crate) fn write(&self, folder: &Path) -> Result<PathBuf> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("empty {}", folder.display()))?;
        }
        let root = folder.join("root");
        for name in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            create(&root.join(name))?;
        }
        for program in self.programs {
            let path = root.join(program.path);
            fs::copy(program.file, &path)
                .with_context(|| format!("copy {}", program.file.display()))?;
            for link in program.links {
                symlink(
                    path.file_name().unwrap_or_default(),
                    path.with_file_name(link),
                )
                .with_context(|| format!("link {link}"))?;
            }
        }
        let archive = folder.join("archive");
        create(&archive)?;
        tar(&root, &archive.join("layer.tar"))?;
        let layer = format!("sha256:{}", sha256(&archive.join("layer.tar"))?);
        let mut manifest = Vec::new();
        for (number, image) in self.images.iter().enumerate() {
            let config = json!({
                "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
                "os": "linux",
                "config": image.config,
                "rootfs": {"type": "layers", "diff_ids": [layer]},
            });
            let file = format!("config-{number}.json");
            fs::write(archive.join(&file), config.to_string())
                .context("write the image's config")?;
            manifest
                .push(json!({"Config": file, "RepoTags": image.names, "Layers": ["layer.tar"]}));
        }
        fs::write(archive.join("manifest.json"), json!(manifest).to_string())
            .context("write the manifest")?;
        let image = folder.join("image.tar");
        tar(&archive, &image)?;
        Ok(image)
    }
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
