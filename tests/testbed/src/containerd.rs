//! containerd on a node: Debian's 1.6, configured for a machine without `CAP_SYS_RESOURCE` and with images of our own.

use std::{
    fs,
    ops::{Deref, DerefMut},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    image::{PAUSE_IMAGE, write_image},
    node::{Node, create},
    process::Process,
    wait::{Pending, wait_until},
};

/// Where it listens, inside the node.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// containerd loads its plugins and opens its store: about a second, but the machine may be busy.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// Where the machine's cgroups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// `restrict_oom_score_adj`: without `CAP_SYS_RESOURCE` a negative value is refused, and runc then says only "EOF".
const CONFIG: &str = r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "SANDBOX_IMAGE"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
"#;

/// A running containerd. Use it like its [`Process`].
#[derive(Debug)]
pub struct Containerd {
    process: Process,
    socket: PathBuf,
    cgroup_parent: String,
}

impl Deref for Containerd {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Containerd {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Containerd {
    /// Its socket, as the caller reaches it.
    pub fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// The cgroup for a sandbox's `cgroup_parent`: the world removes what is below it.
    pub fn cgroup_parent(&self) -> &str {
        &self.cgroup_parent
    }
}

impl Node {
    /// Puts a network configuration list where the runtime looks for it, in one step.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_conflist(&self, file: &str, conflist: &Value) -> Result<()> {
        let folder = self.disk("/etc/cni/net.d");
        let fresh = folder.join(format!("{file}.new"));
        fs::write(&fresh, conflist.to_string())
            .and_then(|()| fs::rename(&fresh, folder.join(file)))
            .with_context(|| format!("write {file}"))
    }

    /// Starts containerd, waits until it answers, and imports the images.
    ///
    /// # Errors
    /// A package is missing (containerd, runc, busybox-static), it ended, or it did not answer in time.
    pub fn start_containerd(&self) -> Result<Containerd> {
        let config = self.disk("/var/lib/containerd/berth-testbed.toml");
        fs::write(&config, CONFIG.replace("SANDBOX_IMAGE", PAUSE_IMAGE))
            .with_context(|| format!("write {}", config.display()))?;
        let cgroup_parent = self.make_cgroups()?;
        let process = self.spawn(
            "containerd",
            &[
                "containerd",
                "--config",
                "/var/lib/containerd/berth-testbed.toml",
            ],
        )?;
        let mut containerd = Containerd {
            process,
            socket: self.path(SOCKET),
            cgroup_parent,
        };
        containerd.wait_ready()?;
        self.import_images()?;
        Ok(containerd)
    }

    fn import_images(&self) -> Result<()> {
        let image = self.disk("/var/lib/containerd/berth-testbed-image");
        let inside = Path::new("/var/lib/containerd/berth-testbed-image/image.tar");
        if !image.join("image.tar").exists() {
            write_image(&image)?;
        }
        let inside = inside.to_string_lossy();
        self.run(&[
            "ctr", "-a", SOCKET, "-n", "k8s.io", "image", "import", &inside,
        ])
        .map(|_| ())
    }

    /// A cgroup for the node's containers in each controller that is there, listed so that it goes with the world.
    fn make_cgroups(&self) -> Result<String> {
        // Names of worlds are unique below one folder for temporary files, cgroups are one for the machine.
        let parent = format!(
            "/berth-{}-{}-{}",
            self.pid(),
            self.world_name(),
            self.name()
        );
        for controller in controllers()? {
            let folder = controller.join(&parent[1..]);
            if folder.exists() {
                continue;
            }
            self.claim().add_cgroup(folder.clone())?;
            create(&folder)?;
            // A v1 cpuset starts empty, and nothing can run in it until it is filled.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(all) = fs::read(controller.join(file)) {
                    fs::write(folder.join(file), all)
                        .with_context(|| format!("fill {file} of {}", folder.display()))?;
                }
            }
        }
        Ok(parent)
    }
}

impl Containerd {
    fn wait_ready(&mut self) -> Result<()> {
        let waited = wait_until("containerd listening", READY_DEADLINE, || {
            if !self.process.is_running() {
                return Ok(false);
            }
            match UnixStream::connect(&self.socket) {
                Ok(_) => Ok(true),
                Err(error) => Err(Pending::because(error)),
            }
        });
        match waited {
            Ok(true) => Ok(()),
            Ok(false) => anyhow::bail!(
                "containerd has ended; its log says:\n{}",
                self.process.log_tail()
            ),
            Err(error) => Err(error.context(format!("its log says:\n{}", self.process.log_tail()))),
        }
    }
}

/// The folders below which cgroups are made: one with cgroup v2, one per controller with v1.
fn controllers() -> Result<Vec<PathBuf>> {
    let root = Path::new(CGROUPS);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(root).with_context(|| format!("list {CGROUPS}"))? {
        let path = entry.context("list the cgroup controllers")?.path();
        if path.join("cgroup.procs").exists() {
            // `cpu` may be a link to `cpu,cpuacct`: making the same folder twice is harmless.
            folders.push(path);
        }
    }
    Ok(folders)
}
