//! A Debian kernel booted under qemu, with this machine's programs and files: for what the running kernel lacks
//! (802.1q, VLAN-filtering bridges).
//!
//! The kernel's package is unpacked below a cache folder, never installed: the machine's own boot and `/lib/modules`
//! stay as they were. virtme-ng boots it without KVM in some 15 s; the root file system is this machine's, read-only
//! with throw-away overlays, so what runs inside can break nothing. One folder is shared for writing: log and status.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::process::run;

/// The release of virtme-ng this was tried with.
const VIRTME_NG: &str = "virtme-ng==1.42";

/// A kernel ready to be booted.
#[derive(Debug)]
pub struct Kernel {
    folder: PathBuf,
    release: String,
}

/// What a command inside the booted kernel did.
#[derive(Debug)]
pub struct Booted {
    /// Exit status of the command; `None` when the machine ended before it did.
    pub status: Option<i32>,
    /// Both outputs of the command, in their order.
    pub log: String,
}

impl Kernel {
    /// Unpacks Debian's stock kernel and virtme-ng below `cache`; what is there already is kept.
    ///
    /// # Errors
    /// A package cannot be had, or `qemu-system-x86_64`, `depmod` or `python3` is missing: the message says which.
    pub fn prepare(cache: &Path) -> Result<Self> {
        for (program, package) in [
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("depmod", "kmod"),
            ("python3", "python3-venv"),
        ] {
            ensure!(
                which(program),
                "{program} is missing: install Debian's package {package}"
            );
        }
        let package = stock_kernel()?;
        let release = package
            .strip_prefix("linux-image-")
            .context("the kernel's package name has no release")?
            .to_owned();
        let folder = cache.join(&package);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let kernel = Self { folder, release };
        if !kernel.done().exists() {
            kernel.unpack(&package)?;
            kernel.install_virtme()?;
            fs::write(kernel.done(), VIRTME_NG).context("mark the kernel as prepared")?;
        }
        Ok(kernel)
    }

    /// The kernel's release, as `uname -r` says it.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Boots the kernel, runs a shell script in it as root and waits for its end.
    ///
    /// # Errors
    /// The machine could not be started, or did not end within `deadline`; with what it printed.
    pub fn run(&self, script: &str, deadline: Duration) -> Result<Booted> {
        let shared = tempfile::Builder::new()
            .prefix("berth-kernel-")
            .tempdir_in("/var/tmp")
            .context("make the folder shared with the machine")?;
        let path = shared.path().display();
        let inside = format!(
            "exec >{path}/log 2>&1\nmodprobe -a 8021q bridge veth macvlan\n(\n{script}\n)\necho $? >{path}/status\n"
        );
        let file = shared.path().join("script");
        fs::write(&file, inside).context("write the script")?;
        let modules = self.folder.join("root/lib/modules");
        let image = self
            .folder
            .join(format!("root/boot/vmlinuz-{}", self.release));
        // The machine looks for its modules in /lib/modules: bound there for its starter only.
        let starter = format!(
            "mount --bind {modules} /lib/modules && exec timeout {seconds} {vng} --disable-kvm --run {image} --memory 2G \
             --cpus 2 --rwdir={path} -- sh {path}/script",
            modules = modules.display(),
            seconds = deadline.as_secs(),
            vng = self.folder.join("venv/bin/vng").display(),
            image = image.display(),
        );
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", &starter])
            .env("PATH", self.search_path()?);
        fs::create_dir_all("/lib/modules").context("create /lib/modules")?;
        let machine = run(command, &[])?;
        let log = fs::read(shared.path().join("log")).unwrap_or_default();
        let status = fs::read_to_string(shared.path().join("status")).ok();
        let booted = Booted {
            status: status.and_then(|status| status.trim().parse().ok()),
            log: String::from_utf8_lossy(&log).into_owned(),
        };
        if booted.status.is_none() && booted.log.is_empty() {
            bail!(
                "the machine under qemu ended ({}) before the script began (124: not within {deadline:?})\n{}{}",
                machine.status,
                machine.stdout,
                machine.stderr
            );
        }
        Ok(booted)
    }

    fn done(&self) -> PathBuf {
        self.folder.join("prepared")
    }

    fn search_path(&self) -> Result<String> {
        let venv = self.folder.join("venv/bin");
        let old = std::env::var_os("PATH").context("PATH is not set")?;
        Ok(format!("{}:{}", venv.display(), old.to_string_lossy()))
    }

    fn unpack(&self, package: &str) -> Result<()> {
        let mut download = Command::new("apt-get");
        download
            .args(["-o", "APT::Sandbox::User=root", "download", package])
            .current_dir(&self.folder);
        run(download, &[])?.ok()?;
        let root = self.folder.join("root");
        for entry in fs::read_dir(&self.folder).context("list the cache")? {
            let path = entry.context("list the cache")?.path();
            if path.extension().is_some_and(|end| end == "deb") {
                let mut unpack = Command::new("dpkg-deb");
                unpack.arg("-x").arg(&path).arg(&root);
                run(unpack, &[])?.ok()?;
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
        let mut depmod = Command::new("depmod");
        depmod.arg("-b").arg(&root).arg(&self.release);
        run(depmod, &[])?.ok()?;
        Ok(())
    }

    fn install_virtme(&self) -> Result<()> {
        let venv = self.folder.join("venv");
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&venv);
        run(make, &[])?.ok()?;
        let mut install = Command::new(venv.join("bin/pip"));
        install.args(["install", "--quiet", VIRTME_NG]);
        run(install, &[])?.ok()?;
        Ok(())
    }
}

/// The package that Debian's `linux-image-amd64` stands for.
fn stock_kernel() -> Result<String> {
    let mut ask = Command::new("apt-cache");
    ask.args(["depends", "linux-image-amd64"]);
    let answer = run(ask, &[])?.ok()?;
    answer
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .map(str::to_owned)
        .context("apt knows no linux-image-amd64: run `apt-get update` first")
}

fn which(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}
