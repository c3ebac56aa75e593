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

/// Images with a shell that differ in their tag only, for upgrades.
pub const APP_IMAGES: [&str; 2] = ["localhost/app:v1", "localhost/app:v2"];

/// Debian's static busybox.
const BUSYBOX: &str = "/usr/bin/busybox";

/// Programs the image offers.
const APPLETS: [&str; 19] = [
    "sh", "sleep", "ip", "ping", "cat", "ls", "echo", "hostname", "nc", "wget", "kill", "true",
    "false", "rm", "touch", "dd", "httpd", "nslookup", "ping6",
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
    let mut names = vec![PAUSE_IMAGE];
    names.extend(APP_IMAGES);
    let image = Image {
        names: &names,
        programs: &[Program {
            file: Path::new(BUSYBOX),
            path: "bin/busybox",
            links: &APPLETS,
        }],
        // A PID 1 that ends at SIGTERM: the default action of signals does not apply to it.
        config: json!({"Cmd": ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"], "Env": ["PATH=/bin"]}),
    };
    image.write(folder)
}

/// An image of one layer.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    /// All its names.
    pub(crate) names: &'a [&'a str],
    /// What is in it; none needs a library.
    pub(crate) programs: &'a [Program<'a>],
    /// What is run where a Pod says nothing.
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

impl Image<'_> {
    /// Writes an archive that `ctr image import` takes; its path. `folder` is emptied first.
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
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&archive.join("layer.tar"))?)]},
        });
        let manifest =
            json!([{"Config": "config.json", "RepoTags": self.names, "Layers": ["layer.tar"]}]);
        fs::write(archive.join("config.json"), config.to_string())
            .context("write the image's config")?;
        fs::write(archive.join("manifest.json"), manifest.to_string())
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
