//! `berth-ipamd` on a node: its standalone configuration, start and readiness.

use std::{
    fmt::Write as _,
    fs,
    ops::{Deref, DerefMut},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    address::{Net, RackAddresses},
    binaries,
    node::Node,
    process::Process,
    wait::{Pending, wait_until},
};

/// Where the daemon listens, inside the node.
const SOCKET: &str = "/run/berth/ipamd.sock";

/// The daemon's configuration file, inside the node.
const CONFIG: &str = "/etc/berth/ipamd.toml";

/// A daemon opens its store, recovers and listens: far less, but the machine may be busy.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// The standalone configuration of a node: pools of both networks and families, and the rules.
#[derive(Clone, Debug)]
pub struct IpamdConfig {
    node: String,
    rack: String,
    addresses: RackAddresses,
    daemon_keys: Vec<String>,
    pool_keys: Vec<String>,
    rules: Vec<String>,
    ranges: (u8, u8),
    ipv6: bool,
}

impl IpamdConfig {
    /// Pools over `.100` to `.199` of the node's rack, both families; Pods with an ordinal in their name are held for ever.
    pub fn of(node: &Node) -> Self {
        Self {
            node: node.spec_name().to_owned(),
            rack: node.rack().name().to_owned(),
            addresses: node.rack().addresses(),
            daemon_keys: Vec::new(),
            pool_keys: Vec::new(),
            rules: vec!["namespace = \"*\"\npod = \"*-[0-9]*\"\nhold = \"forever\"".to_owned()],
            ranges: (100, 199),
            ipv6: true,
        }
    }

    /// Hands out only the addresses with these last bytes: nodes of one rack must not share any.
    #[must_use]
    pub fn range(mut self, first: u8, last: u8) -> Self {
        self.ranges = (first, last);
        self
    }

    /// IPv4 only.
    #[must_use]
    pub fn without_ipv6(mut self) -> Self {
        self.ipv6 = false;
        self
    }

    /// Adds a line of TOML to every pool, such as `quarantine = "0s"`.
    #[must_use]
    pub fn pool_key(mut self, line: &str) -> Self {
        self.pool_keys.push(line.to_owned());
        self
    }

    /// Adds a line of TOML before all sections, such as `audit_keep = "1d"`.
    #[must_use]
    pub fn daemon_key(mut self, line: &str) -> Self {
        self.daemon_keys.push(line.to_owned());
        self
    }

    /// Puts a rule (lines of TOML) before the others.
    #[must_use]
    pub fn rule(mut self, lines: &str) -> Self {
        self.rules.insert(0, lines.to_owned());
        self
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "node = \"{}\"\nrack = \"{}\"\nsocket = \"{SOCKET}\"\nstore = \"/var/lib/berth/ipamd\"\nmetrics = \"127.0.0.1:9421\"\n",
            self.node, self.rack
        );
        for key in &self.daemon_keys {
            let _ = writeln!(text, "{key}");
        }
        self.write_pools(&mut text, Owner::Rack);
        for rule in &self.rules {
            let _ = write!(text, "\n[[rule]]\n{rule}\n");
        }
        text
    }

    /// Both networks' pools of both families.
    pub(crate) fn write_pools(&self, text: &mut String, owner: Owner) {
        for net in Net::ALL {
            self.write_pool(text, owner, net, 4);
            if self.ipv6 {
                self.write_pool(text, owner, net, 6);
            }
        }
    }

    fn write_pool(&self, text: &mut String, owner: Owner, net: Net, family: u8) {
        let rack = self.addresses;
        let (first, last) = self.ranges;
        let (subnet, gateway, range) = if family == 4 {
            let range = format!("{}-{}", rack.v4(net, first), rack.v4(net, last));
            (rack.subnet4(net), rack.gateway4(net).to_string(), range)
        } else {
            let range = format!(
                "{}-{}",
                rack.v6(net, first.into()),
                rack.v6(net, last.into())
            );
            (rack.subnet6(net), rack.gateway6(net).to_string(), range)
        };
        let network = net.name();
        let (name, of_node) = match owner {
            Owner::Rack => (&self.rack, String::new()),
            Owner::Node => (&self.node, format!("node = \"{}\"\n", self.node)),
        };
        let _ = write!(
            text,
            "\n[[pool]]\nname = \"{network}-{name}-v{family}\"\nnetwork = \"{network}\"\n{of_node}rack = \"{}\"\nsubnet = \"{subnet}\"\nranges = [\"{range}\"]\ngateway = \"{gateway}\"\n",
            self.rack
        );
        for key in &self.pool_keys {
            let _ = writeln!(text, "{key}");
        }
        if net == Net::Internal {
            // The way to the other racks' internal network is by this rack's TOR; the default route leaves by the external one.
            let everywhere = if family == 4 {
                "10.30.0.0/16"
            } else {
                "fd00:30::/32"
            };
            let _ = writeln!(text, "routes = [{{ dst = \"{everywhere}\" }}]");
        }
    }
}

/// Whose a pool is, and by what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The node's rack: there is one node, or each has a file of its own.
    Rack,
    /// One node: the file is every node's.
    Node,
}

/// A running daemon. Use it like its [`Process`].
#[derive(Debug)]
pub struct Ipamd {
    process: Process,
    socket: PathBuf,
}

impl Deref for Ipamd {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Ipamd {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Ipamd {
    /// Its socket, as the caller reaches it.
    pub fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Waits until it hands out addresses, as its own `status` command says.
    ///
    /// # Errors
    /// It ended, or did not serve within the deadline; with the end of its log.
    pub fn wait_serving(&mut self, node: &Node) -> Result<()> {
        let waited = wait_until("berth-ipamd serving", READY_DEADLINE, || {
            if !self.process.is_running() {
                return Ok(false);
            }
            let status = node.ipamd_command(&["status"]);
            let status = status.map_err(|error| Pending::because(format!("{error:#}")))?;
            if status.success() {
                return Ok(true);
            }
            Err(Pending::because(status.stdout + &status.stderr))
        });
        match waited {
            Ok(true) => Ok(()),
            Ok(false) => anyhow::bail!(
                "berth-ipamd has ended; its log says:\n{}",
                self.process.log_tail()
            ),
            Err(error) => Err(error.context(format!("its log says:\n{}", self.process.log_tail()))),
        }
    }
}

impl Node {
    /// Writes the daemon's configuration file; a running daemon reads it on SIGHUP.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_ipamd_config(&self, toml: &str) -> Result<()> {
        let path = self.disk(CONFIG);
        fs::write(&path, toml).with_context(|| format!("write {}", path.display()))
    }

    /// Starts the daemon with this configuration and waits until it serves.
    ///
    /// # Errors
    /// The binary is missing, the daemon ended, or it did not serve in time.
    pub fn start_ipamd(&self, config: &IpamdConfig) -> Result<Ipamd> {
        self.write_ipamd_config(&config.to_toml())?;
        let mut ipamd = self.spawn_ipamd()?;
        ipamd.wait_serving(self)?;
        Ok(ipamd)
    }

    /// Starts the daemon with the configuration that is there and does not wait.
    ///
    /// # Errors
    /// The binary is missing.
    pub fn spawn_ipamd(&self) -> Result<Ipamd> {
        let binary = binaries::binary("berth-ipamd")?;
        let mut command = self.command(binary);
        command.args(["--config", CONFIG]);
        Ok(Ipamd {
            process: self.spawn_command("ipamd", command)?,
            socket: self.path(SOCKET),
        })
    }

    /// A command of the operator's: `berth-ipamd ARGS…`.
    ///
    /// # Errors
    /// The binary is missing or could not be started. How it ended is in the output.
    pub fn ipamd_command(&self, args: &[&str]) -> Result<crate::Output> {
        let binary = binaries::binary("berth-ipamd")?;
        let binary = binary.to_string_lossy();
        let words: Vec<&str> = std::iter::once(&*binary)
            .chain(args.iter().copied())
            .collect();
        self.exec(&words)
    }
}
