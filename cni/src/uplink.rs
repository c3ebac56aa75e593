//! `berth uplink ensure|restore|status`: the bridges over a node's uplinks, by hand and at boot.
//!
//! Does what an ADD does before it wires, by the same configuration file and the same code, so that a node can be
//! prepared (or given back) without a Pod. Every network is tried; the first failure does not hide the next.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use cni_datapath::segment::{self, EnsuredSegment, Node, Restored, SegmentStatus};
use cni_datapath::wiring::{Segment, UplinkMode};
use cni_spec::{Document, NetConf, Network};
use proto_ids::NetworkName;
use serde_json::{Value, json};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::add_plan;
use crate::error::chain;

/// CNI plugin for Pods on the underlay network, started by a container runtime. By hand it prepares a node's uplinks.
#[derive(Debug, Parser)]
#[command(name = "berth", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The bridges over the node's uplinks
    #[command(subcommand)]
    Uplink(Uplink),
}

#[derive(Debug, Subcommand)]
enum Uplink {
    /// Make every network's bridge, or find it right; changes nothing where all is right
    Ensure(Common),
    /// Put every network's uplink back as it was before Berth; refused while Pods are plugged in
    Restore(Common),
    /// Show how every network's uplink stands, and what `ensure` would do; exits with 1 where it would do or refuse anything
    Status(Common),
}

#[derive(Debug, Args)]
struct Common {
    /// CNI configuration or configuration list with a plugin of type "berth"
    #[arg(long, value_name = "FILE", env = "BERTH_CONFIG")]
    config: PathBuf,
    /// Only these networks [default: all]
    #[arg(long, value_name = "NAME")]
    network: Vec<NetworkName>,
    /// Folder of the snapshots of uplinks that were taken over
    #[arg(long, value_name = "FOLDER", default_value_os_t = Node::default().snapshots)]
    snapshots: PathBuf,
    /// How long to wait for another run that changes uplinks, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Node::default().lock_deadline.as_secs())]
    lock_deadline: u64,
    /// Form of what is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// Lines for people
    Text,
    /// One JSON list
    Json,
}

/// What was found or done for one network.
struct Line {
    text: String,
    value: Value,
    /// Whether the exit code says that all is well.
    good: bool,
}

/// Reads the arguments, runs, prints; 2 for arguments that make no sense, 1 for a failure.
pub(crate) fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; clap knows which goes where.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let Command::Uplink(uplink) = arguments.command;
    match execute(&uplink) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "berth: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(uplink: &Uplink) -> anyhow::Result<bool> {
    let (Uplink::Ensure(common) | Uplink::Restore(common) | Uplink::Status(common)) = uplink;
    let conf = read(common)?;
    let node = Node {
        snapshots: common.snapshots.clone(),
        lock_deadline: Duration::from_secs(common.lock_deadline),
        gateway_deadline: conf.daemon.gateway,
        ..Node::default()
    };
    let chosen = choose(&conf, &common.network)?;
    let lines: Vec<_> = chosen
        .into_iter()
        .map(|network| {
            let segment = add_plan::segment(network);
            match uplink {
                Uplink::Ensure(_) => ensure(network, &segment, &node),
                Uplink::Restore(_) => restore(network, &segment, &node),
                Uplink::Status(_) => status(network, &segment, &node),
            }
        })
        .collect();
    print(&lines, common.output).context("print the result")?;
    Ok(lines.iter().all(|line| line.good))
}

fn read(common: &Common) -> anyhow::Result<NetConf> {
    let path = &common.config;
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    parse(&bytes).with_context(|| format!("{}", path.display()))
}

/// The plugin of type "berth" in a configuration list, or the configuration itself.
fn parse(bytes: &[u8]) -> anyhow::Result<NetConf> {
    let file: Value = serde_json::from_slice(bytes).context("not valid JSON")?;
    let is_ours = |plugin: &Value| plugin.get("type").and_then(Value::as_str) == Some("berth");
    let ours = match file.get("plugins").and_then(Value::as_array) {
        Some(plugins) => plugins.iter().find(|plugin| is_ours(plugin)),
        None => Some(&file).filter(|file| is_ours(file)),
    };
    let Some(ours) = ours else {
        bail!("no plugin of type \"berth\" in it");
    };
    let document = Document::decode(&serde_json::to_vec(ours)?)?;
    Ok(NetConf::parse(&document)?)
}

fn choose<'a>(conf: &'a NetConf, names: &[NetworkName]) -> anyhow::Result<Vec<&'a Network>> {
    if names.is_empty() {
        return Ok(conf.networks.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            conf.network(name)
                .with_context(|| format!("network {name} is not in the configuration"))
        })
        .collect()
}

fn ensure(network: &Network, segment: &Segment, node: &Node) -> Line {
    match segment::ensure(segment, node) {
        Ok(ensured) => ensured_line(network, &ensured),
        Err(error) => failed(network, &chain(&error)),
    }
}

fn restore(network: &Network, segment: &Segment, node: &Node) -> Line {
    match segment::restore(segment, node) {
        Ok(restored) => restored_line(network, &restored),
        Err(error) => failed(network, &chain(&error)),
    }
}

fn status(network: &Network, segment: &Segment, node: &Node) -> Line {
    match segment::status(segment, node) {
        Ok(status) => status_line(network, &status),
        Err(error) => failed(network, &chain(&error)),
    }
}

fn failed(network: &Network, error: &str) -> Line {
    let (name, uplink) = (&network.name, &network.uplink);
    Line {
        text: format!("{name} uplink {uplink}: FAILED: {error}"),
        value: json!({"network": name, "uplink": uplink, "error": error}),
        good: false,
    }
}

fn ensured_line(network: &Network, ensured: &EnsuredSegment) -> Line {
    let (name, uplink) = (&network.name, &network.uplink);
    let EnsuredSegment {
        bridge, mtu, mode, ..
    } = ensured;
    let mode = mode_text(*mode);
    let done = if ensured.changed { "made" } else { "was right" };
    Line {
        text: format!("{name} uplink {uplink}: bridge {bridge} {done} (mode {mode}, MTU {mtu})"),
        value: json!({
            "network": name, "uplink": uplink, "bridge": bridge, "bridgeMac": ensured.bridge_mac,
            "mode": mode, "mtu": mtu, "port": ensured.port, "changed": ensured.changed,
        }),
        good: true,
    }
}

fn restored_line(network: &Network, restored: &Restored) -> Line {
    let (name, uplink) = (&network.name, &network.uplink);
    let done = if restored.done.is_empty() {
        "nothing to put back".to_owned()
    } else {
        restored.done.join("; ")
    };
    Line {
        text: format!("{name} uplink {uplink}: {done}"),
        value: json!({"network": name, "uplink": uplink, "done": restored.done}),
        good: true,
    }
}

fn status_line(network: &Network, status: &SegmentStatus) -> Line {
    let (name, uplink) = (&network.name, &network.uplink);
    let good =
        status.present && status.carrier && status.pending.is_empty() && status.conflict.is_none();
    let mut parts = vec![
        match (status.present, status.carrier) {
            (false, _) => "uplink missing".to_owned(),
            (true, false) => "uplink without carrier".to_owned(),
            (true, true) => "uplink up".to_owned(),
        },
        status.bridge.as_ref().map_or_else(
            || "no bridge".to_owned(),
            |bridge| format!("bridge {bridge}"),
        ),
    ];
    if let Some(mode) = status.mode {
        parts.push(format!("mode {}", mode_text(mode)));
    }
    if status.snapshot {
        parts.push("snapshot kept".to_owned());
    }
    parts.extend(
        status
            .pending
            .iter()
            .map(|step| format!("ensure would {step}")),
    );
    parts.extend(
        status
            .conflict
            .iter()
            .map(|why| format!("ensure would refuse: {why}")),
    );
    Line {
        text: format!("{name} uplink {uplink}: {}", parts.join(", ")),
        value: json!({
            "network": name, "uplink": uplink, "present": status.present, "carrier": status.carrier,
            "mode": status.mode.map(mode_text), "bridge": status.bridge, "pending": status.pending,
            "conflict": status.conflict, "snapshot": status.snapshot,
        }),
        good,
    }
}

const fn mode_text(mode: UplinkMode) -> &'static str {
    match mode {
        UplinkMode::Existing => "existing",
        UplinkMode::Plain => "plain",
        UplinkMode::TakeOver => "take-over",
    }
}

fn print(lines: &[Line], output: Output) -> io::Result<()> {
    let text = match output {
        Output::Text => lines
            .iter()
            .fold(String::new(), |all, line| all + &line.text + "\n"),
        Output::Json => {
            let values: Vec<_> = lines.iter().map(|line| &line.value).collect();
            format!("{}\n", json!(values))
        }
    };
    io::stdout().write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    const NETWORKS: &str =
        r#""networks":[{"name":"external","uplink":"eth0"},{"name":"internal","uplink":"eth1"}]"#;

    #[test]
    fn arguments_are_well_declared() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn our_plugin_is_found_in_a_list_and_alone() {
        let list = format!(
            r#"{{"plugins":[{{"type":"tuning"}},{{"type":"berth",{NETWORKS}}},{{"type":"portmap"}}]}}"#
        );
        let alone = format!(r#"{{"type":"berth",{NETWORKS}}}"#);
        for text in [list, alone] {
            assert_eq!(parse(text.as_bytes()).unwrap().networks.len(), 2);
        }
    }

    #[test]
    fn file_without_our_plugin_is_refused() {
        for text in [
            "{",
            "[]",
            r#"{"type":"bridge"}"#,
            r#"{"plugins":[]}"#,
            r#"{"type":"berth"}"#,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_network_is_refused() {
        let conf = parse(format!(r#"{{"type":"berth",{NETWORKS}}}"#).as_bytes()).unwrap();
        assert_eq!(choose(&conf, &[]).unwrap().len(), 2);
        let names: Vec<NetworkName> = vec!["internal".parse().unwrap()];
        assert_eq!(choose(&conf, &names).unwrap().len(), 1);
        assert!(choose(&conf, &["dmz".parse().unwrap()]).is_err());
    }

    #[test]
    fn status_is_good_only_where_nothing_is_to_be_done() {
        let conf = parse(format!(r#"{{"type":"berth",{NETWORKS}}}"#).as_bytes()).unwrap();
        let right = SegmentStatus {
            uplink: "eth0".parse().unwrap(),
            present: true,
            carrier: true,
            mode: Some(UplinkMode::Plain),
            bridge: "br-eth0".parse().ok(),
            pending: Vec::new(),
            conflict: None,
            snapshot: false,
        };
        let line = status_line(&conf.networks[0], &right);
        assert_eq!(
            line.text,
            "external uplink eth0: uplink up, bridge br-eth0, mode plain"
        );
        assert!(line.good);
        let changes: [fn(&mut SegmentStatus); 4] = [
            |s| s.present = false,
            |s| s.carrier = false,
            |s| s.pending.push("create it".to_owned()),
            |s| s.conflict = Some("why".to_owned()),
        ];
        for change in changes {
            let mut wrong = right.clone();
            change(&mut wrong);
            assert!(!status_line(&conf.networks[0], &wrong).good);
        }
    }
}
