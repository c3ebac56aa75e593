//! `check`: whether Berth could work on this node, fact by fact; and those facts that the other commands refuse over.
//!
//! Changes nothing on the node. Every refusal says what was found and what to do.

mod machine;
mod network;
mod observe;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args as ClapArgs, ValueEnum};
use serde::Serialize;
use tracing::warn;

use crate::args::Paths;
use crate::conflist::Conflist;
use crate::keep;
use crate::log::chain;

/// Flags of `check`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct CheckArgs {
    /// Form of what is printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Configuration of berth-ipamd, to be checked too
    #[arg(long, value_name = "FILE", env = "BERTH_INSTALL_IPAMD_CONFIG")]
    ipamd_config: Option<PathBuf>,
    /// Address of the API server, to be connected to
    #[arg(long, value_name = "HOST", env = "KUBERNETES_SERVICE_HOST")]
    api_host: Option<String>,
    /// Port of the API server
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 443,
        env = "KUBERNETES_SERVICE_PORT"
    )]
    api_port: u16,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// A table for people
    Text,
    /// One JSON list
    Json,
}

/// How a fact bears on Berth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it should be.
    Good,
    /// Berth works, and somebody should know.
    Warning,
    /// Berth could not work.
    Refused,
}

/// What was found of one fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    fact: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn good(fact: &'static str, found: impl Into<String>) -> Self {
        Self {
            fact,
            verdict: Verdict::Good,
            found: found.into(),
            advice: None,
        }
    }

    fn warning(fact: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warning,
            advice: Some(advice.into()),
            ..Self::good(fact, found)
        }
    }

    fn refused(fact: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Refused,
            advice: Some(advice.into()),
            ..Self::good(fact, found)
        }
    }

    fn sentence(&self) -> String {
        let Self { fact, found, .. } = self;
        match &self.advice {
            None => format!("{fact}: {found}"),
            Some(advice) => format!("{fact}: {found}; {advice}"),
        }
    }
}

/// Looks at everything and prints it; whether nothing is refused.
pub(crate) fn run(paths: &Paths, args: &CheckArgs) -> anyhow::Result<bool> {
    let list = keep::source(paths);
    let mut findings = before_plugin(paths);
    findings.push(machine::folder(&observe::folder(
        "--conf-dir",
        &paths.conf_dir,
        0,
    )));
    findings.push(machine::netfilter(&observe::netfilter()));
    findings.push(machine::cgroup(&observe::cgroup()));
    findings.push(network::links(&observe::links()));
    findings.push(network::configurations(
        paths,
        &observe::configurations(paths),
    ));
    match &list {
        Err(error) => findings.push(network::no_source(&chain(error))),
        Ok(list) => findings.extend(by_configuration(paths, list)),
    }
    if let Some(file) = &args.ipamd_config {
        findings.push(network::ipamd(&observe::ipamd(paths, file)));
    }
    if let Some(host) = &args.api_host {
        findings.push(network::api(&observe::api(host, args.api_port)));
    }
    print(&findings, args.output)?;
    Ok(findings
        .iter()
        .all(|finding| finding.verdict != Verdict::Refused))
}

/// Refuses where the plugin could not work or not be put in place.
pub(crate) fn plugin(paths: &Paths) -> anyhow::Result<()> {
    refuse(before_plugin(paths))
}

/// Refuses where the configuration could not be put in place. All else is waited for.
pub(crate) fn conflist(paths: &Paths) -> anyhow::Result<()> {
    let folders = [
        ("--conf-dir", &paths.conf_dir),
        ("--state-dir", &paths.state_dir),
    ];
    let findings = folders
        .into_iter()
        .map(|(flag, path)| machine::folder(&observe::folder(flag, path, 0)))
        .chain([
            machine::kernel(&observe::kernel()),
            machine::user(observe::is_root()),
        ]);
    refuse(findings.collect())
}

fn before_plugin(paths: &Paths) -> Vec<Finding> {
    let mut findings = vec![
        machine::user(observe::is_root()),
        machine::kernel(&observe::kernel()),
        machine::parts(&observe::parts(machine::PARTS)),
        machine::clock(&observe::clock()),
    ];
    let program = observe::program_bytes(paths);
    for (flag, path, bytes) in [
        ("--bin-dir", &paths.bin_dir, program),
        ("--state-dir", &paths.state_dir, 0),
    ] {
        findings.push(machine::folder(&observe::folder(flag, path, bytes)));
    }
    findings
}

/// What follows from the configuration that is to be put in place.
fn by_configuration(paths: &Paths, list: &Conflist) -> Vec<Finding> {
    let mut findings = vec![network::source(list)];
    let networks = list.ours.iter().flat_map(|conf| &conf.networks);
    for network in networks.clone() {
        findings.push(network::uplink(&observe::uplink(network)));
    }
    if networks.clone().any(|network| network.vlan.is_some()) {
        findings.push(machine::parts(&observe::parts(machine::VLAN)));
    }
    findings.push(network::chain(&observe::chain(list, paths)));
    findings
}

/// Says warnings, and refuses by all reasons at once.
fn refuse(findings: Vec<Finding>) -> anyhow::Result<()> {
    let mut refusals = Vec::new();
    for finding in findings {
        match finding.verdict {
            Verdict::Good => {}
            Verdict::Warning => warn!(error = finding.sentence(), "node"),
            Verdict::Refused => refusals.push(finding.sentence()),
        }
    }
    if !refusals.is_empty() {
        bail!("Berth could not work on this node: {}", refusals.join(". "));
    }
    Ok(())
}

fn print(findings: &[Finding], output: Output) -> io::Result<()> {
    let text = match output {
        Output::Json => format!("{}\n", serde_json::to_string_pretty(findings)?),
        Output::Text => table(findings),
    };
    io::stdout().write_all(text.as_bytes())
}

fn table(findings: &[Finding]) -> String {
    let width = findings.iter().map(|f| f.fact.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Good => "good",
            Verdict::Warning => "WARNING",
            Verdict::Refused => "REFUSED",
        };
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "{verdict:<7}  {:<width$}  {}",
            finding.fact, finding.found
        );
        if let Some(advice) = &finding.advice {
            let _ = writeln!(text, "{:<7}  {:<width$}  -> {advice}", "", "");
        }
    }
    let refused = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Refused)
        .count();
    let end = match refused {
        0 => "Berth can be installed on this node.".to_owned(),
        1 => "Berth could not work on this node: 1 reason above.".to_owned(),
        many => format!("Berth could not work on this node: {many} reasons above."),
    };
    text + &end + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails unless the verdict is this one, and a bad one says what was found and what to do with these words.
    #[track_caller]
    pub(super) fn assert_finding(finding: &Finding, verdict: Verdict, words: &[&str]) {
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert_eq!(
            finding.advice.is_none(),
            verdict == Verdict::Good,
            "{finding:?}"
        );
        for word in words {
            assert!(finding.sentence().contains(word), "{word}: {finding:?}");
        }
    }

    #[test]
    fn table_shows_every_fact_with_its_advice_and_ends_with_the_sum() {
        let findings = [
            Finding::good("kernel", "6.1.0"),
            Finding::refused("uplink", "eth0 does not exist", "check the name"),
        ];
        assert_eq!(
            table(&findings),
            "good     kernel  6.1.0\n\
             REFUSED  uplink  eth0 does not exist\n\
             \x20                -> check the name\n\
             Berth could not work on this node: 1 reason above.\n"
        );
        assert!(table(&findings[..1]).ends_with("can be installed on this node.\n"));
    }

    #[test]
    fn refusals_are_told_all_at_once_and_warnings_refuse_nothing() {
        let error = refuse(vec![
            Finding::refused("kernel", "4.18", "5.10 or newer"),
            Finding::warning("clock", "not synchronized", "start chrony"),
            Finding::refused("folder", "read-only", "mount it writable"),
        ])
        .unwrap_err()
        .to_string();
        assert!(error.contains("4.18; 5.10 or newer"), "{error}");
        assert!(error.contains("mount it writable"), "{error}");
        assert!(!error.contains("chrony"), "{error}");
        refuse(vec![Finding::warning("clock", "x", "y")]).unwrap();
    }
}
