//! Programs become an image: buildah follows the Containerfile in a storage of its own below the target folder.
//!
//! The result depends on the programs' bytes, the Containerfile, the labels and the release of buildah only: times are those of 1970, owners are numbers.
//! The archive gets its name when it is complete; the machine's own images and containers are never touched.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{packages, scratch::Scratch, step};

/// Two seconds on an idle machine.
const BUDGET: Duration = Duration::from_secs(5 * 60);

/// buildah keeps a cache of what it has seen in `containers` below, whatever storage it is told to use.
const MACHINES_STORAGE: &str = "/var/lib";

/// What an image is made of.
#[derive(Debug)]
pub(crate) struct Recipe<'a> {
    pub(crate) containerfile: &'a Path,
    pub(crate) programs: &'a [PathBuf],
    pub(crate) tag: &'a str,
    pub(crate) version: &'a str,
    /// The commit, where it says all about the sources.
    pub(crate) revision: Option<&'a str>,
    /// The docker-archive to write.
    pub(crate) output: &'a Path,
}

/// An image in an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    /// The digest of its configuration, which names every byte in it: what runtimes call the image's id.
    pub(crate) id: String,
    pub(crate) size_bytes: u64,
}

impl Recipe<'_> {
    /// Makes the image.
    pub(crate) fn pack(&self) -> Result<Packed> {
        let scratch = Scratch::beside(self.output)?;
        let context = scratch.folder().join("context");
        fs::create_dir(&context).with_context(|| format!("create {}", context.display()))?;
        for program in self.programs {
            put(program, &context)?;
        }
        let id_file = scratch.folder().join("id");
        let archive = scratch.folder().join("archive.tar");
        self.build(&scratch, &context, &id_file)?;
        let id = fs::read_to_string(&id_file).context("read the image's id")?;
        let mut push = buildah(scratch.folder())?;
        push.args(["push", "--quiet", &format!("sha256:{}", bare(&id))])
            .arg(format!("docker-archive:{}:{}", archive.display(), self.tag));
        step::run_quietly("writing the archive", &mut push, BUDGET)?;
        let size_bytes = fs::metadata(&archive)
            .context("read the archive's size")?
            .len();
        fs::rename(&archive, self.output)
            .with_context(|| format!("name {}", self.output.display()))?;
        Ok(Packed {
            id: bare(&id).to_owned(),
            size_bytes,
        })
    }

    fn build(&self, scratch: &Scratch, context: &Path, id_file: &Path) -> Result<()> {
        let mut build = buildah(scratch.folder())?;
        build
            .args(["bud", "--quiet", "--isolation", "chroot"])
            .args(["--network", "host", "--timestamp", "0"])
            .arg(format!("--build-arg=VERSION={}", self.version))
            .arg("--file")
            .arg(self.containerfile)
            .arg("--iidfile")
            .arg(id_file);
        if let Some(revision) = self.revision {
            build.arg(format!(
                "--label=org.opencontainers.image.revision={revision}"
            ));
        }
        build.arg("--tag").arg(self.tag).arg(context);
        step::run_quietly(&format!("packing {}", self.tag), &mut build, BUDGET)
    }
}

/// Puts a program without its symbols into the context.
fn put(program: &Path, context: &Path) -> Result<()> {
    ensure!(
        packages::is_static(program),
        "{} needs libraries, and the image has none: build it with the workspace's .cargo/config.toml (RUSTFLAGS in the environment switches that off)",
        program.display()
    );
    let name = program.file_name().context("a program has a name")?;
    let mut strip = Command::new("strip");
    strip
        .arg("--strip-all")
        .arg("-o")
        .arg(context.join(name))
        .arg(program);
    step::run_quietly("taking out symbols", &mut strip, BUDGET)
}

/// buildah with all of its files below a folder.
fn buildah(scratch: &Path) -> Result<Command> {
    let storage = scratch.join("storage");
    fs::create_dir_all(&storage).with_context(|| format!("create {}", storage.display()))?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    // Another folder is there for buildah. Not where all of ours is below it: then that cache, some kilobytes, stays.
    let script = if scratch.starts_with(MACHINES_STORAGE) {
        "exec buildah \"$@\"".to_owned()
    } else {
        format!("mount --bind \"$0\" {MACHINES_STORAGE} && exec buildah \"$@\"")
    };
    command
        .args(["sh", "-c", &script])
        .arg(&storage)
        .args(["--storage-driver", "vfs", "--root"])
        .arg(scratch.join("root"))
        .arg("--runroot")
        .arg(scratch.join("run"))
        .stdin(Stdio::null());
    Ok(command)
}

/// An id without the name of its algorithm.
fn bare(id: &str) -> &str {
    let id = id.trim();
    id.strip_prefix("sha256:").unwrap_or(id)
}
