//! What is typed. Declares only; each part's own flags stand beside it.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Parser};
use ipamd_daemon::http::{HttpAddress, ParseHttpAddressError};
use ipamd_daemon::telemetry::TelemetryArgs;

use crate::health::HealthArgs;

/// Looks at this node and says in the API how it is.
#[derive(Debug, Parser)]
#[command(name = "berth-agent", version)]
pub(crate) struct Args {
    /// What this process does: node (looks at the node it runs on)
    #[arg(long, env = "BERTH_AGENT_ROLE")]
    pub(crate) role: Role,

    /// Name of this node in the API
    #[arg(long, value_name = "NAME", env = "BERTH_AGENT_NODE", value_parser = node_name)]
    pub(crate) node: String,

    #[command(flatten)]
    pub(crate) api: ApiArgs,

    #[command(flatten)]
    pub(crate) health: HealthArgs,

    /// Where /metrics, /healthz and /readyz are answered, without authentication; "" for nowhere
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9422",
        env = "BERTH_AGENT_METRICS",
        value_parser = metrics_address
    )]
    pub(crate) metrics: MetricsAddress,

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
}

/// What the process does. Each role runs under an identity of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Looks at the node it runs on.
    Node,
}

/// A role that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseRoleError {
    /// It is planned.
    #[error(
        "this version has no role {text:?}, only \"node\"; the cluster's controllers come with a later one"
    )]
    Later {
        /// The role.
        text: String,
    },
    /// It is not.
    #[error("{text:?} is no role; there is \"node\"")]
    None {
        /// The text.
        text: String,
    },
}

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, ParseRoleError> {
        let text = text.to_owned();
        match text.as_str() {
            "node" => Ok(Self::Node),
            "controllers" | "both" => Err(ParseRoleError::Later { text }),
            _ => Err(ParseRoleError::None { text }),
        }
    }
}

/// Where the metrics are answered, if anywhere. A type of its own, since clap gives `Option` a meaning of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetricsAddress(pub(crate) Option<HttpAddress>);

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
    fn defaults_are_those_of_a_node() {
        let args = parse(&["--role=node"]).unwrap();
        assert_eq!(args.role, Role::Node);
        assert_eq!(args.api.namespace, "berth-system");
        assert_eq!(args.metrics.0, Some("127.0.0.1:9422".parse().unwrap()));
        let args = parse(&["--role=node", "--metrics="]).unwrap();
        assert_eq!(args.metrics.0, None);
    }

    #[test]
    fn role_that_is_not_in_this_version_is_refused_in_words() {
        for (role, words) in [
            ("controllers", "this version has no role"),
            ("both", "this version has no role"),
            ("boss", "is no role"),
        ] {
            let error = parse(&[&format!("--role={role}")]).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn empty_node_name_is_refused_with_advice() {
        let words = ["berth-agent", "--role=node", "--node="];
        let error = Args::try_parse_from(words).unwrap_err().to_string();
        assert!(error.contains("downward API"), "{error}");
    }
}
