//! The standalone configuration of a test's `berth-ipamd`, to be varied before it is written.

use std::fmt::Write;

/// What a site is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `[[pool]]` sections.
    pub pools: Vec<Pool>,
    /// Lines of TOML outside of every section.
    pub top: String,
    /// `[[rule]]` sections; none: the product's default rule.
    pub rules: Vec<String>,
    /// Uplinks that carry the node's own addresses.
    pub addressed: Vec<tests_testbed::Net>,
    /// Outside hosts on the external network.
    pub hosts: Vec<String>,
}

/// One `[[pool]]`.
#[derive(Clone, Debug)]
pub struct Pool {
    /// `name`
    pub name: String,
    /// `network`
    pub network: String,
    /// `subnet`
    pub subnet: String,
    /// The only entry of `ranges`.
    pub range: String,
    /// `gateway`
    pub gateway: String,
    /// Further lines.
    pub extra: String,
}

impl Pool {
    /// A pool with these keys and no others.
    pub fn new(name: &str, network: &str, subnet: &str, range: &str, gateway: &str) -> Self {
        Self {
            name: name.to_owned(),
            network: network.to_owned(),
            subnet: subnet.to_owned(),
            range: range.to_owned(),
            gateway: gateway.to_owned(),
            extra: String::new(),
        }
    }
}

fn external() -> Pool {
    Pool::new(
        "external-a",
        "external",
        "10.20.1.0/24",
        "10.20.1.100-10.20.1.199",
        "10.20.1.1",
    )
}

fn internal() -> Pool {
    Pool::new(
        "internal-a",
        "internal",
        "10.30.1.0/24",
        "10.30.1.100-10.30.1.199",
        "10.30.1.1",
    )
}

impl Default for Setup {
    /// A pool for each network of rack `a`, a hundred IPv4 addresses each; uplinks without addresses.
    fn default() -> Self {
        Self {
            pools: vec![external(), internal()],
            top: String::new(),
            rules: Vec::new(),
            addressed: Vec::new(),
            hosts: Vec::new(),
        }
    }
}

impl Setup {
    /// A pool for each network and family.
    pub fn dual_stack() -> Self {
        let mut setup = Self::default();
        for (number, network) in [(20, "external"), (30, "internal")] {
            setup.pools.push(Pool::new(
                &format!("{network}-a6"),
                network,
                &format!("fd00:{number}:1::/64"),
                &format!("fd00:{number}:1::100-fd00:{number}:1::1ff"),
                &format!("fd00:{number}:1::1"),
            ));
        }
        setup
    }

    /// Two networks on the segment of `eth0`: `external`, and `second` from `.200`.
    pub fn one_segment() -> Self {
        let mut setup = Self::default();
        setup.pools[0].range = "10.20.1.100-10.20.1.149".into();
        setup.pools[1] = Pool::new(
            "second-a",
            "second",
            "10.20.1.0/24",
            "10.20.1.200-10.20.1.239",
            "10.20.1.1",
        );
        setup
    }

    /// Only these addresses on the external network, and no others.
    #[must_use]
    pub fn external_range(mut self, range: &str) -> Self {
        self.pools[0].range = range.into();
        self
    }

    /// Released addresses are free at once.
    #[must_use]
    pub fn without_quarantine(self) -> Self {
        self.pool_line("quarantine = \"0s\"")
    }

    /// Adds a line to every pool.
    #[must_use]
    pub fn pool_line(mut self, line: &str) -> Self {
        for pool in &mut self.pools {
            let _ = writeln!(pool.extra, "{line}");
        }
        self
    }

    /// Adds a line outside of every section.
    #[must_use]
    pub fn top_line(mut self, line: &str) -> Self {
        let _ = writeln!(self.top, "{line}");
        self
    }

    /// Adds a rule, given as lines of TOML.
    #[must_use]
    pub fn rule(mut self, lines: &str) -> Self {
        self.rules.push(lines.to_owned());
        self
    }

    /// The uplink of this network carries the node's own addresses.
    #[must_use]
    pub fn with_node_address(mut self, net: tests_testbed::Net) -> Self {
        self.addressed.push(net);
        self
    }

    /// An outside host on the external network.
    #[must_use]
    pub fn with_host(mut self, name: &str) -> Self {
        self.hosts.push(name.to_owned());
        self
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "node = \"n1\"\nrack = \"a\"\nsocket = \"/run/berth/ipamd.sock\"\nstore = \"/var/lib/berth/ipamd\"\n\
             metrics = \"127.0.0.1:9421\"\n{}",
            self.top
        );
        for pool in &self.pools {
            let _ = write!(
                text,
                "\n[[pool]]\nname = \"{}\"\nnetwork = \"{}\"\nrack = \"a\"\nsubnet = \"{}\"\nranges = [\"{}\"]\n\
                 gateway = \"{}\"\n{}\n",
                pool.name, pool.network, pool.subnet, pool.range, pool.gateway, pool.extra
            );
        }
        for rule in &self.rules {
            let _ = write!(text, "\n[[rule]]\n{rule}\n");
        }
        text
    }
}
