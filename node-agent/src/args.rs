//! What is typed. Declares only; each part's own flags stand beside it.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Parser};
use ipamd_daemon::http::{HttpAddress, ParseHttpAddressError};
use ipamd_daemon::telemetry::TelemetryArgs;

use crate::guard::GuardArgs;
use crate::health::HealthArgs;
use crate::pull::PullArgs;
use crate::restart::RestartArgs;
use crate::roots::Roots;

/// Where a node's agent answers.
const NODE_PORT: u16 = 9422;
/// Where the controllers do, which may run beside it on the same node.
const CONTROLLERS_PORT: u16 = 9423;

/// Looks at this node and says in the API how it is; on a few nodes, hosts the cluster's controllers.
#[derive(Debug, Parser)]
#[command(name = "berth-agent", version)]
pub(crate) struct Args {
    /// What this process does: node (looks at the node it runs on), controllers (stands for election, and decides for the cluster),
    /// both, or guard (the node's recovery guard, which alone writes cgroups)
    #[arg(long, env = "BERTH_AGENT_ROLE")]
    pub(crate) role: Role,

    /// Name of this node in the API
    #[arg(long, value_name = "NAME", env = "BERTH_AGENT_NODE", value_parser = node_name)]
    pub(crate) node: String,

    #[command(flatten)]
    pub(crate) api: ApiArgs,

    #[command(flatten)]
    pub(crate) roots: Roots,

    #[command(flatten)]
    pub(crate) health: HealthArgs,

    #[command(flatten)]
    pub(crate) pull: PullArgs,

    #[command(flatten)]
    pub(crate) restart: RestartArgs,

    #[command(flatten)]
    pub(crate) guard: GuardArgs,

    /// File to which the controllers' leader appends every decision about a node, a line of JSON each: what the API keeps no more is
    /// there. Set aside as FILE.1 at 64 MiB; default: nowhere
    #[arg(long, value_name = "FILE", env = "BERTH_AGENT_DECISION_ARCHIVE")]
    pub(crate) decision_archive: Option<PathBuf>,

    /// File on this machine's own disk that each process of the controllers locks for as long as it lives, and writes its name in: the
    /// next one follows a leader that crashed here after 5 s, and not after 15 s, when its Lease has run out; default: none
    #[arg(long, value_name = "FILE", env = "BERTH_AGENT_ELECTION_ROLL")]
    pub(crate) election_roll: Option<PathBuf>,

    /// Where /metrics, /healthz and /readyz are answered, without authentication; "" for nowhere; default: port 9422 of the
    /// loopback, 9423 for the controllers alone
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "BERTH_AGENT_METRICS",
        value_parser = metrics_address
    )]
    metrics: Option<MetricsAddress>,

    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
}

/// How the API server is reached.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ApiArgs {
    /// Namespace of Berth's own objects
    #[arg(
        long,
        value_name = "NAME",
        default_value = proto_crd::names::NAMESPACE,
        env = "BERTH_AGENT_NAMESPACE"
    )]
    pub(crate) namespace: String,

    /// Server and credentials; default: those that Kubernetes gives to a Pod
    #[arg(long, value_name = "FILE", env = "BERTH_AGENT_KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The same for the controllers, where they are to have an identity of their own (--role=both); default: as --kubeconfig
    #[arg(long, value_name = "FILE", env = "BERTH_AGENT_CONTROLLERS_KUBECONFIG")]
    pub(crate) controllers_kubeconfig: Option<PathBuf>,

    /// Label of a Node that names its rack: as the address daemons are told. Used by the controllers
    #[arg(
        long,
        value_name = "KEY",
        default_value = proto_crd::names::RACK_LABEL,
        env = "BERTH_AGENT_RACK_LABEL"
    )]
    pub(crate) rack_label: String,
}

/// What the process does. Each role runs under an identity of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Looks at the node it runs on.
    Node,
    /// Decides for the cluster, while it leads.
    Controllers,
    /// Both in one process, for small clusters.
    Both,
    /// Limits Pods that end, when the node's agent says so.
    Guard,
}

impl Role {
    /// Whether it looks at its node.
    pub(crate) const fn is_node(self) -> bool {
        matches!(self, Self::Node | Self::Both)
    }

    /// Whether it hosts the controllers.
    pub(crate) const fn is_controllers(self) -> bool {
        matches!(self, Self::Controllers | Self::Both)
    }
}

impl Args {
    /// Where it is answered how this process is.
    pub(crate) fn metrics(&self) -> Option<HttpAddress> {
        let port = match self.role {
            Role::Node | Role::Both => NODE_PORT,
            Role::Controllers => CONTROLLERS_PORT,
            Role::Guard => return None,
        };
        match &self.metrics {
            Some(typed) => typed.0.clone(),
            None => Some(HttpAddress::Tcp((Ipv4Addr::LOCALHOST, port).into())),
        }
    }
}

/// There is no such role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no role; there are \"node\", \"controllers\", \"both\" and \"guard\"")]
pub(crate) struct ParseRoleError {
    /// The text.
    text: String,
}

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, ParseRoleError> {
        match text {
            "node" => Ok(Self::Node),
            "controllers" => Ok(Self::Controllers),
            "both" => Ok(Self::Both),
            "guard" => Ok(Self::Guard),
            _ => Err(ParseRoleError { text: text.into() }),
        }
    }
}

/// Where the metrics are answered, if anywhere. A type of its own, since clap gives `Option` a meaning of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MetricsAddress(Option<HttpAddress>);

fn metrics_address(text: &str) -> Result<MetricsAddress, ParseHttpAddressError> {
    if text.is_empty() {
        return Ok(MetricsAddress(None));
    }
    HttpAddress::parse_exposed(text).map(|address| MetricsAddress(Some(address)))
}

fn node_name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err(
            "the name is empty; in a Pod it comes from the downward API (fieldPath: spec.nodeName)",
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        let own = ["berth-agent", "--node=n1"];
        Args::try_parse_from(own.iter().chain(words))
    }

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn each_role_has_its_own_port() {
        for (role, address) in [
            (Role::Node, "127.0.0.1:9422"),
            (Role::Controllers, "127.0.0.1:9423"),
            (Role::Both, "127.0.0.1:9422"),
        ] {
            let words = format!("--role={}", format!("{role:?}").to_lowercase());
            let args = parse(&[&words]).unwrap();
            assert_eq!(args.role, role);
            assert_eq!(args.api.namespace, "berth-system");
            assert_eq!(args.metrics(), Some(address.parse().unwrap()), "{role:?}");
            let args = parse(&[&words, "--metrics="]).unwrap();
            assert_eq!(args.metrics(), None);
        }
    }

    #[test]
    fn guard_answers_on_its_socket_only() {
        let args = parse(&["--role=guard", "--metrics=127.0.0.1:1"]).unwrap();
        assert_eq!(args.metrics(), None);
        assert!(!args.role.is_node() && !args.role.is_controllers());
        assert_eq!(args.guard.socket, None);
    }

    #[test]
    fn unknown_role_is_refused_with_those_that_there_are() {
        let error = parse(&["--role=boss"]).unwrap_err().to_string();
        assert!(error.contains("\"controllers\""), "{error}");
    }

    #[test]
    fn empty_node_name_is_refused_with_advice() {
        let words = ["berth-agent", "--role=node", "--node="];
        let error = Args::try_parse_from(words).unwrap_err().to_string();
        assert!(error.contains("downward API"), "{error}");
    }
}
