//! A node: a machine with uplinks into its rack's TOR, a disk that survives a reboot, and a boot id of its own.
//!
//! `/run` is a fresh tmpfs at each boot; what a node keeps (`/var/lib/berth`, `/etc/cni/net.d`, …) lies in the world's
//! folder. A reboot kills everything inside, so that namespaces, links and `/run` are gone, as after a power cut.

mod disk;
mod nic;

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    io::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
    ops::Deref,
    os::unix::fs::{OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, ensure};

use self::nic::Nics;
use crate::{
    address::{Net, mac},
    binaries, cgroup,
    kubelet::{CONTROLLERS_LABEL, RACK_LABEL},
    namespace::{Namespace, Start},
    rack::Rack,
    state::Claim,
};

/// Where Debian puts the reference plugins.
const DEBIAN_PLUGINS: &str = "/usr/lib/cni";

/// Overlays give mount points below folders of the machine that must not change; their upper layers are in memory.
/// The disk is bound first: the overlays may cover the folder it is in. At the end everything is shared, as on a
/// real machine: containers with mount propagation need it.
const MOUNTS: &str = "mount -t tmpfs tmpfs /mnt
mkdir /mnt/disk
if [ -e \"$BERTH_IMAGE\" ]; then mount -n -t ext4 -o loop,errors=remount-ro \"$BERTH_IMAGE\" /mnt/disk
else mount --bind \"$BERTH_DISK\" /mnt/disk; fi
mount --bind \"$BERTH_BOOT_ID\" /proc/sys/kernel/random/boot_id
if [ -n \"$BERTH_CPU_PRESSURE\" ]; then mount --bind \"$BERTH_CPU_PRESSURE\" /proc/pressure/cpu; fi
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/berth /run/netns /run/lock
mkfifo /run/kmsg; exec 9<>/run/kmsg
for d in /etc /opt /var/lib /var/log; do
  mkdir -p /mnt/upper$d /mnt/work$d
  o=lowerdir=$d,upperdir=/mnt/upper$d,workdir=/mnt/work$d
  mount -t overlay overlay -o $o $d 2>/dev/null || mount -t overlay overlay -o $o,userxattr $d
done
for d in $BERTH_FOLDERS; do
  mkdir -p $d /mnt/disk$d; mount --bind /mnt/disk$d $d
done
umount -l /mnt
mount --make-rshared /";

/// What the kernel says where nothing waits for a processor.
const NO_PRESSURE: &str = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
";

/// Where a daemon of the node reads the kernel's log: the real one is the whole machine's. PID 1 keeps the pipe open, so that a
/// reader waits for the next line as it does on `/dev/kmsg`.
pub(crate) const KERNEL_LOG: &str = "/run/kmsg";

/// What the kernel says of who waits for a node's processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Processors {
    /// What is so on the machine, whoever keeps it busy.
    Machine,
    /// Nobody does.
    Idle,
}

/// What a node shall be.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    pub(crate) name: String,
    pub(crate) rack: String,
    addressed: Vec<Net>,
    kubernetes: bool,
    labelled: bool,
    controllers: bool,
    processors: Processors,
}

impl NodeSpec {
    /// A node with two uplinks without addresses.
    pub fn new(name: &str, rack: &str) -> Self {
        Self {
            name: name.to_owned(),
            rack: rack.to_owned(),
            addressed: Vec::new(),
            kubernetes: false,
            labelled: true,
            controllers: false,
            processors: Processors::Machine,
        }
    }

    /// Its kubelet does not say in which rack it is.
    #[must_use]
    pub(crate) fn without_label(mut self) -> Self {
        self.labelled = false;
        self
    }

    /// Its kubelet says that the cluster's controllers run there.
    #[must_use]
    pub(crate) fn for_controllers(mut self) -> Self {
        self.controllers = true;
        self
    }

    /// On it nothing ever waits for a processor, as its kernel says: the machine's own are everybody's.
    #[must_use]
    pub(crate) fn with_idle_processors(mut self) -> Self {
        self.processors = Processors::Idle;
        self
    }

    /// A Kubernetes node: it sees only its own cgroups, its disk is a file system of its own (where the machine has loop devices) that can be
    /// filled and broken, and its plugin folder has Debian's plugins only, since somebody else installs Berth's. Needs root.
    #[must_use]
    pub(crate) fn for_kubernetes(mut self) -> Self {
        self.kubernetes = true;
        self
    }

    /// The uplink of this network carries the node's own addresses, with the default route by the first such.
    #[must_use]
    pub fn with_address(mut self, net: Net) -> Self {
        self.addressed.push(net);
        self
    }
}

/// A node of the world. Use it like its [`Namespace`].
#[derive(Debug)]
pub struct Node {
    spec: NodeSpec,
    number: u8,
    dir: PathBuf,
    rack: Arc<Rack>,
    keep: bool,
    claim: Arc<Mutex<Claim>>,
    nics: Nics,
    namespace: Option<Namespace>,
}

impl Deref for Node {
    type Target = Namespace;

    /// # Panics
    /// The node is powered off: there is nothing to run anything in.
    #[expect(
        clippy::panic,
        reason = "a mistake of the test itself, with the place where it was made"
    )]
    #[track_caller]
    fn deref(&self) -> &Namespace {
        match &self.namespace {
            Some(namespace) => namespace,
            None => panic!("node {} is powered off", self.spec.name),
        }
    }
}

impl Node {
    pub(crate) fn new(
        spec: NodeSpec,
        number: u8,
        rack: Arc<Rack>,
        claim: Arc<Mutex<Claim>>,
        keep: bool,
    ) -> Result<Self> {
        // The longest port name is `<node>-ext`, and the kernel takes 15 bytes.
        ensure!(
            spec.name.len() <= 11,
            "node name {} is longer than 11 bytes",
            spec.name
        );
        let dir = lock(&claim).dir().join(&spec.name);
        let mut node = Self {
            spec,
            number,
            dir,
            rack,
            keep,
            claim,
            nics: Nics::default(),
            namespace: None,
        };
        node.make_folders()?;
        node.install_plugins()?;
        if node.spec.kubernetes && Path::new("/dev/loop-control").exists() {
            node.make_own_disk()?;
        }
        node.power_on()?;
        Ok(node)
    }

    pub(crate) fn spec_name(&self) -> &str {
        &self.spec.name
    }

    /// Which node of the world it is; its addresses come from it.
    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    /// Its machine, unless it is powered off.
    pub fn namespace(&self) -> Option<&Namespace> {
        self.namespace.as_ref()
    }

    /// Its rack.
    pub fn rack(&self) -> &Rack {
        &self.rack
    }

    /// Its own IPv4 address on a network, whether the uplink carries it or not.
    pub fn address4(&self, net: Net) -> Ipv4Addr {
        self.rack.addresses().v4(net, self.station())
    }

    /// Its own IPv6 address on a network, whether the uplink carries it or not.
    pub fn address6(&self, net: Net) -> Ipv6Addr {
        self.rack.addresses().v6(net, u16::from(self.station()))
    }

    /// The MAC of an uplink; the same after a reboot.
    pub fn uplink_mac(&self, net: Net) -> String {
        mac(self.rack.addresses().number, self.station(), net)
    }

    /// What the node takes for its boot id at present.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn boot_id(&self) -> Result<String> {
        let path = self.boot_id_path();
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// Whether it is powered on.
    pub fn is_on(&self) -> bool {
        self.namespace.is_some()
    }

    /// The name of its port on the TOR.
    pub fn tor_port(&self, net: Net) -> String {
        format!("{}-{}", self.spec.name, &net.name()[..3])
    }

    /// Pulls the cable of an uplink (`up` false) or plugs it in again: the carrier goes and comes.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn set_uplink(&self, net: Net, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        self.rack
            .tor()
            .ip_batch(&format!("link set {} {state}", self.tor_port(net)))
    }

    /// Pulls and plugs the cable of an uplink some times, as fast as it goes.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn flap_uplink(&self, net: Net, times: usize) -> Result<()> {
        let port = self.tor_port(net);
        self.rack
            .tor()
            .ip_batch(&format!("link set {port} down\nlink set {port} up\n").repeat(times))
    }

    /// Powers the node off, without warning: processes, namespaces, links and `/run` are gone when this returns.
    ///
    /// # Errors
    /// The kernel did not finish within the deadline.
    pub fn power_off(&mut self) -> Result<()> {
        if let Some(mut namespace) = self.namespace.take() {
            namespace.stop()?;
            let cgroup = cgroup::name(&self.spec.name, namespace.pid());
            lock(&self.claim).remove_cgroups(&cgroup)?;
            // The kernel removes the links of a dead namespace in its own time; their other ends take them along at once.
            let mut lines = String::new();
            for net in Net::ALL {
                let port = self.tor_port(net);
                let gone = self
                    .rack
                    .tor()
                    .exec(&["ip", "link", "show", &port])?
                    .success();
                if gone {
                    let _ = writeln!(lines, "link del {port}");
                }
            }
            // It may finish between our two looks.
            let _ = self.rack.tor().ip_batch(&lines);
        }
        Ok(())
    }

    /// Powers the node on: new boot id, empty `/run`, uplinks with the MACs and addresses they had. Daemons are not started.
    ///
    /// # Errors
    /// A namespace, mount or link could not be made.
    pub fn power_on(&mut self) -> Result<()> {
        ensure!(self.namespace.is_none(), "node {} is on", self.spec.name);
        let boot_id = fs::read("/proc/sys/kernel/random/uuid").context("read a new boot id")?;
        fs::write(self.boot_id_path(), boot_id)
            .with_context(|| format!("write {}", self.boot_id_path().display()))?;
        self.wait_detached()?;
        let (disk, image) = (self.dir.join("disk"), self.image());
        let pressure = self.pressure_file()?;
        let namespace = Namespace::start(&Start {
            name: &self.spec.name,
            dir: &self.dir,
            script: MOUNTS,
            variables: &[
                ("BERTH_DISK", disk.as_os_str()),
                ("BERTH_IMAGE", image.as_os_str()),
                ("BERTH_BOOT_ID", self.boot_id_path().as_os_str()),
                ("BERTH_CPU_PRESSURE", pressure.as_os_str()),
                ("BERTH_FOLDERS", OsStr::new(&disk::FOLDERS.join(" "))),
            ],
            keep: self.keep,
        })?;
        lock(&self.claim).add_holder(namespace.pid())?;
        for net in Net::ALL {
            self.plug(&namespace, net)?;
        }
        self.namespace = Some(namespace);
        if self.spec.kubernetes {
            self.confine_cgroups()?;
        }
        Ok(())
    }

    /// Powers the node off and on.
    ///
    /// # Errors
    /// As [`Self::power_off`] and [`Self::power_on`].
    pub fn reboot(&mut self) -> Result<()> {
        self.power_off()?;
        self.power_on()
    }

    /// Writes a line into the node's kernel log, in the form of `/dev/kmsg`: `priority,sequence,microseconds,-;text`.
    ///
    /// # Errors
    /// Nobody reads, and the pipe is full.
    pub fn write_kernel_log(&self, line: &str) -> Result<()> {
        let path = self.path(KERNEL_LOG);
        let opened = fs::OpenOptions::new()
            .write(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open(&path);
        opened
            .and_then(|mut pipe| pipe.write_all(format!("{}\n", line.trim_end()).as_bytes()))
            .with_context(|| format!("write {}", path.display()))
    }

    pub(crate) fn set_cgroup_namespace(&mut self, inside: &str) -> Result<()> {
        let namespace = self.namespace.as_mut();
        namespace
            .context("the node is off")?
            .enter_cgroup_namespace(inside);
        Ok(())
    }

    pub(crate) fn claim(&self) -> MutexGuard<'_, Claim> {
        lock(&self.claim)
    }

    /// What its kubelet says of it when it joins: its rack, unless nobody knows it, and whether the controllers run there.
    pub(crate) fn labels(&self) -> Vec<String> {
        let rack = format!("{RACK_LABEL}={}", self.rack.name());
        let controllers = format!("{CONTROLLERS_LABEL}=");
        let rack = self.spec.labelled.then_some(rack);
        let controllers = self.spec.controllers.then_some(controllers);
        rack.into_iter().chain(controllers).collect()
    }

    fn station(&self) -> u8 {
        9 + self.number
    }

    /// What stands for `/proc/pressure/cpu`; nothing, where the machine's own does.
    fn pressure_file(&self) -> Result<PathBuf> {
        if self.spec.processors == Processors::Machine {
            return Ok(PathBuf::new());
        }
        let path = self.dir.join("cpu_pressure");
        fs::write(&path, NO_PRESSURE).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    fn boot_id_path(&self) -> PathBuf {
        self.dir.join("boot_id")
    }

    /// The plugin folder holds links, so that a plugin's own name decides what it is.
    fn install_plugins(&self) -> Result<()> {
        let bin = self.disk("/opt/cni/bin");
        if let Ok(plugins) = fs::read_dir(DEBIAN_PLUGINS) {
            for plugin in plugins {
                let plugin = plugin.context("list Debian's plugins")?;
                link(&plugin.path(), &bin.join(plugin.file_name()))?;
            }
        }
        if let (false, Ok(berth)) = (self.spec.kubernetes, binaries::binary("berth")) {
            link(&berth, &bin.join("berth"))?;
            link(&berth, &bin.join("berth-ipam"))?;
        }
        Ok(())
    }
}

fn lock(claim: &Mutex<Claim>) -> MutexGuard<'_, Claim> {
    claim.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))
}

fn link(target: &Path, name: &Path) -> Result<()> {
    let target = fs::canonicalize(target).with_context(|| format!("find {}", target.display()))?;
    symlink(&target, name).with_context(|| format!("link {}", name.display()))
}
