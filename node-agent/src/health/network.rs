//! The sources about the node's networks and its time, with their flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipamd_daemon::Tasks;
use node_agent_cri::Runtime;
use tokio::sync::{mpsc, watch};

use super::keeper::Notice;
use super::signals::clock::Clock;
use super::signals::gateway::{self, Gateway};
use super::signals::{self, certificates, clock, conntrack, dns, leaks, uplink};
use crate::roots::Roots;

/// What is looked at of networks and time.
#[derive(Clone, Debug, Args)]
pub(crate) struct NetworkArgs {
    /// How long a change of an uplink's carrier counts; four within it are a link that flaps
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10m",
        value_parser = humantime::parse_duration,
        env = "BERTH_AGENT_FLAP_WINDOW"
    )]
    pub(crate) flap_window: Duration,

    /// What the node's name servers are asked for; by default the node's name
    #[arg(long, value_name = "NAME", env = "BERTH_AGENT_DNS_NAME")]
    pub(crate) dns_name: Option<String>,

    /// Certificates of the node, separated by commas; `*.EXT` at the end of a path stands for all of that extension
    #[arg(
        long,
        value_name = "PATHS",
        value_delimiter = ',',
        default_value = certificates::USUAL,
        env = "BERTH_AGENT_CERTIFICATES"
    )]
    pub(crate) certificates: Vec<PathBuf>,

    /// Who says whether the node's clock is right
    #[arg(long, default_value_t = Clock::Kernel, env = "BERTH_AGENT_CLOCK")]
    pub(crate) clock: Clock,
}

/// Starts to look. Wants to be told the gateways.
pub(super) fn spawn_network(
    tasks: &Tasks,
    args: NetworkArgs,
    roots: &Roots,
    node: &str,
    notices: &mpsc::Sender<Notice>,
) -> watch::Sender<Option<Vec<Gateway>>> {
    let (told, gateways) = watch::channel(None);
    let (uplink, underlay) = uplink::Source::new(roots.root.clone(), args.flap_window);
    signals::spawn_source(tasks, uplink, notices.clone());
    let gateway = gateway::Source::new(gateways, underlay.clone());
    signals::spawn_source(tasks, gateway, notices.clone());
    let runtime = Runtime::new(roots.runtime.clone());
    let leaks = leaks::Source::new(roots.root.clone(), runtime, underlay);
    signals::spawn_source(tasks, leaks, notices.clone());
    let conntrack = conntrack::Source::new(roots.proc.clone());
    signals::spawn_source(tasks, conntrack, notices.clone());
    signals::spawn_source(tasks, clock::Source::new(args.clock), notices.clone());
    let dns = dns::Source::new(roots.root.clone(), node.to_owned(), args.dns_name);
    signals::spawn_source(tasks, dns, notices.clone());
    let certificates = certificates::Source::new(roots.root.clone(), args.certificates);
    signals::spawn_source(tasks, certificates, notices.clone());
    told
}
