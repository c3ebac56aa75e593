//! containerd on a node: Debian's 1.6 or a 2.x, configured for a machine without `CAP_SYS_RESOURCE` and with images of our own.

use std::{
    fs,
    ops::{Deref, DerefMut},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    image::{PAUSE_IMAGE, write_image},
    namespace::SEARCH_PATH,
    node::Node,
    process::Process,
    programs::Runtime,
    wait::{Pending, wait_until},
};

/// Where it listens, inside the node.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";

/// Where it says that it is ready, as it does to systemd. It listens a moment before it answers calls of CRI, and kubelet ends when it gets none.
const NOTICES: &str = "/run/containerd-notices.sock";

/// Where it tells its metrics, inside the node: the same in both configurations below.
pub const CONTAINERD_METRICS: &str = "127.0.0.1:1338";

/// containerd loads its plugins and opens its store: about a second, but the machine may be busy.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// `restrict_oom_score_adj`: without `CAP_SYS_RESOURCE` a negative value is refused, and runc then says only "EOF".
const CONFIG_1: &str = r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "/run/containerd/containerd.sock"
[metrics]
  address = "127.0.0.1:1338"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "SANDBOX_IMAGE"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
"#;

/// The same for 2.x; its plugins have other names.
const CONFIG_2: &str = r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.server.v1.metrics"]
  address = "127.0.0.1:1338"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/opt/cni/bin"]
    conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "SANDBOX_IMAGE"
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

    /// Starts Debian's containerd, waits until it answers, and imports the images.
    ///
    /// # Errors
    /// A package is missing (containerd, runc, busybox-static), it ended, or it did not answer in time.
    pub fn start_containerd(&self) -> Result<Containerd> {
        self.start_runtime(&Runtime::Debian)
    }

    /// Like [`Self::start_containerd`], for any containerd.
    ///
    /// # Errors
    /// As there.
    pub fn start_runtime(&self, runtime: &Runtime) -> Result<Containerd> {
        let path = "/var/lib/containerd/berth-testbed.toml";
        let config = match runtime {
            Runtime::Debian => CONFIG_1,
            Runtime::Module(_) => CONFIG_2,
        };
        let file = self.disk(path);
        fs::write(&file, config.replace("SANDBOX_IMAGE", PAUSE_IMAGE))
            .with_context(|| format!("write {}", file.display()))?;
        let cgroup_parent = self.make_cgroups()?;
        let mut command = self.command(runtime.program("containerd"));
        command.args(["--config", path]);
        if let Runtime::Module(folder) = runtime {
            // The shim is looked for by PATH; Debian's would speak another protocol.
            command.env(
                "PATH",
                format!("{}:{SEARCH_PATH}", folder.to_string_lossy()),
            );
        }
        let notices = self.listen_for_notices()?;
        command.env("NOTIFY_SOCKET", NOTICES);
        let process = self.spawn_command("containerd", command)?;
        let mut containerd = Containerd {
            process,
            socket: self.path(SOCKET),
            cgroup_parent,
        };
        containerd.wait_ready(&notices)?;
        self.import_images(&runtime.program("ctr"))?;
        Ok(containerd)
    }

    /// Puts the images of an archive into the node's containerd; what is there under the same names is replaced.
    ///
    /// # Errors
    /// The node is off, the archive cannot be read, or containerd does not take it.
    pub fn load_images(&self, runtime: &Runtime, archive: &Path) -> Result<()> {
        ensure!(self.is_on(), "node {} is off", self.spec_name());
        // By the standard input: the node does not see every folder of the machine.
        let file =
            fs::File::open(archive).with_context(|| format!("open {}", archive.display()))?;
        let output = self
            .command(runtime.program("ctr"))
            .args(["-a", SOCKET, "-n", "k8s.io", "image", "import", "-"])
            .stdin(file)
            .output()
            .context("start ctr")?;
        ensure!(
            output.status.success(),
            "{} takes no image from {}: {}",
            self.spec_name(),
            archive.display(),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
        Ok(())
    }

    fn listen_for_notices(&self) -> Result<UnixDatagram> {
        let path = self.path(NOTICES);
        // One of an earlier start of this boot.
        let _ = fs::remove_file(&path);
        let notices = UnixDatagram::bind(&path);
        let notices = notices.with_context(|| format!("listen at {}", path.display()))?;
        let quiet = notices.set_nonblocking(true);
        quiet.context("make the socket one that does not wait")?;
        Ok(notices)
    }

    fn import_images(&self, ctr: &str) -> Result<()> {
        let image = self.disk("/var/lib/containerd/berth-testbed-image");
        // The images outlive a reboot as the disk does.
        let imported = image.join("imported");
        if imported.exists() {
            return Ok(());
        }
        let inside = Path::new("/var/lib/containerd/berth-testbed-image/image.tar");
        if !image.join("image.tar").exists() {
            write_image(&image)?;
        }
        let inside = inside.to_string_lossy();
        self.run(&[
            ctr, "-a", SOCKET, "-n", "k8s.io", "image", "import", &inside,
        ])?;
        fs::write(&imported, "").with_context(|| format!("write {}", imported.display()))
    }
}

impl Containerd {
    fn wait_ready(&mut self, notices: &UnixDatagram) -> Result<()> {
        let waited = wait_until("containerd being ready", READY_DEADLINE, || {
            if !self.process.is_running() {
                return Ok(false);
            }
            let mut notice = [0; 256];
            match notices.recv(&mut notice) {
                Ok(length) if notice[..length].starts_with(b"READY=1") => Ok(true),
                Ok(length) => Err(Pending::because(String::from_utf8_lossy(&notice[..length]))),
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
