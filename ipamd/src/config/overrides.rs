//! What is typed where the daemon is started, and goes before the configuration file: what differs from node to node while
//! all of them have the same file.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args as ClapArgs;
use ipamd_daemon::http::{HttpAddress, ParseHttpAddressError};
use proto_ids::NodeName;

use crate::clock::BOOT_ID;

/// The flags.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Overrides {
    /// Name of this node, as in the cluster; goes before the configuration's `node`
    #[arg(long, value_name = "NAME", env = "BERTH_IPAMD_NODE")]
    pub(crate) node: Option<NodeName>,

    /// Where metrics are served, or "" for none; goes before the configuration's `metrics`. Any address is taken: whoever
    /// reaches it reads them, without authentication
    #[arg(long, value_name = "ADDRESS", env = "BERTH_IPAMD_METRICS")]
    pub(crate) metrics: Option<MetricsFlag>,

    /// File that names this boot of the machine; a container that does not see the machine's own gets it mounted here
    #[arg(long, value_name = "FILE", default_value = BOOT_ID, env = "BERTH_IPAMD_BOOT_ID_FILE")]
    pub(crate) boot_id_file: PathBuf,

    /// How the API server is reached, outside of a cluster's Pod; default: as every Pod does, by its service account
    #[arg(long, value_name = "FILE", env = "BERTH_IPAMD_KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

impl Default for Overrides {
    fn default() -> Self {
        Self {
            node: None,
            metrics: None,
            boot_id_file: BOOT_ID.into(),
            kubeconfig: None,
        }
    }
}

/// An address for the metrics, or none on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetricsFlag(Option<HttpAddress>);

impl MetricsFlag {
    /// The address; `None`: metrics are not served.
    pub(crate) const fn address(&self) -> Option<&HttpAddress> {
        self.0.as_ref()
    }
}

impl FromStr for MetricsFlag {
    type Err = ParseHttpAddressError;

    fn from_str(text: &str) -> Result<Self, ParseHttpAddressError> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        HttpAddress::parse_exposed(text).map(|address| Self(Some(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_takes_addresses_that_other_hosts_reach_and_none() {
        let flag = |text: &str| text.parse::<MetricsFlag>();
        assert_eq!(flag("").unwrap().address(), None);
        for text in [
            "10.20.1.11:9421",
            "0.0.0.0:9421",
            "[::]:9421",
            "unix:/run/x.sock",
        ] {
            assert_eq!(flag(text).unwrap().address().unwrap().to_string(), text);
        }
        assert!(flag("9421").is_err());
        assert!("10.20.1.11:9421".parse::<HttpAddress>().is_err());
    }
}
