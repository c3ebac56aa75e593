//! The configuration file as it is written: every key, none checked yet, each with its place in the file.
//!
//! Unknown keys and values of the wrong kind are problems of their section; the other sections are read all the same, so
//! that an operator sees everything at once.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problems;

/// A text and where it stands.
pub(crate) type Text = Spanned<String>;

/// The whole file.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// What stands outside of pools and rules; `None`: it could not be read.
    pub(crate) daemon: Option<Daemon>,
    /// `[[pool]]`, each with the place of its section.
    pub(crate) pools: Vec<Spanned<PoolSection>>,
    /// `[[rule]]`, in order.
    pub(crate) rules: Vec<Spanned<RuleSection>>,
}

/// The keys of the daemon itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Daemon {
    pub(crate) node: Option<Text>,
    pub(crate) rack: Option<Text>,
    pub(crate) socket: Option<Text>,
    pub(crate) store: Option<Text>,
    pub(crate) spool: Option<Text>,
    pub(crate) cni_results: Option<Text>,
    pub(crate) runtime: Option<Text>,
    pub(crate) runtime_check: Option<Text>,
    pub(crate) metrics: Option<Text>,
    pub(crate) audit_keep: Option<Text>,
    pub(crate) refuse_when_exhausted: Option<bool>,
    #[serde(default)]
    pub(crate) probe: ProbeSection,
    pub(crate) kubernetes: Option<KubernetesSection>,
}

/// `[kubernetes]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KubernetesSection {
    pub(crate) rack_label: Option<Text>,
    pub(crate) warm: Option<Spanned<i64>>,
}

/// `[probe]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProbeSection {
    pub(crate) per_second: Option<Spanned<i64>>,
    pub(crate) ahead: Option<Spanned<i64>>,
    pub(crate) again: Option<Text>,
    pub(crate) silence: Option<Text>,
}

/// `[[pool]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolSection {
    pub(crate) name: Text,
    pub(crate) network: Text,
    pub(crate) rack: Option<Text>,
    pub(crate) node: Option<Text>,
    pub(crate) subnet: Text,
    #[serde(default)]
    pub(crate) ranges: Vec<Text>,
    #[serde(default)]
    pub(crate) exclude: Vec<Text>,
    pub(crate) gateway: Option<Text>,
    pub(crate) quarantine: Option<Text>,
    #[serde(default)]
    pub(crate) routes: Vec<Spanned<RouteSection>>,
    pub(crate) probe: Option<bool>,
}

/// An entry of a pool's `routes`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteSection {
    pub(crate) dst: Text,
    pub(crate) via: Option<Text>,
    pub(crate) metric: Option<Spanned<i64>>,
    pub(crate) mtu: Option<Spanned<i64>>,
}

/// `[[rule]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleSection {
    pub(crate) namespace: Option<Text>,
    pub(crate) pod: Option<Text>,
    pub(crate) hold: Text,
}

/// Reads a file's text. What cannot be read is among the problems, and missing from the result.
pub(crate) fn parse(input: &str, problems: &mut Problems<'_>) -> File {
    let (root, errors) = DeTable::parse_recoverable(input);
    for error in &errors {
        problems.at(error.span(), error.message());
    }
    if !errors.is_empty() {
        // What follows a syntax error is guesswork.
        return File::default();
    }
    let span = root.span();
    let mut table = root.into_inner();
    let pools = sections(&mut table, "pool", problems);
    let rules = sections(&mut table, "rule", problems);
    let daemon = read(Spanned::new(span, DeValue::Table(table)), "", problems);
    File {
        daemon,
        pools,
        rules,
    }
}

fn sections<T: DeserializeOwned>(
    table: &mut DeTable<'_>,
    key: &str,
    problems: &mut Problems<'_>,
) -> Vec<Spanned<T>> {
    let Some(value) = table.remove(key) else {
        return Vec::new();
    };
    let span = value.span();
    let DeValue::Array(array) = value.into_inner() else {
        problems.at(Some(span), format!("{key} must be written as [[{key}]]"));
        return Vec::new();
    };
    array
        .into_iter()
        .filter_map(|value| {
            let span = value.span();
            let subject = subject(key, &value);
            read(value, &subject, problems).map(|section| Spanned::new(span, section))
        })
        .collect()
}

/// `pool "external-a": `, or `rule: ` where there is no name.
fn subject(key: &str, value: &Spanned<DeValue<'_>>) -> String {
    match value
        .get_ref()
        .get("name")
        .and_then(|name| name.get_ref().as_str())
    {
        Some(name) => format!("{key} {name:?}: "),
        None => format!("{key}: "),
    }
}

fn read<T: DeserializeOwned>(
    value: Spanned<DeValue<'_>>,
    subject: &str,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let span = value.span();
    match T::deserialize(value.into_deserializer()) {
        Ok(section) => Some(section),
        Err(error) => {
            let place = error.span().or(Some(span));
            problems.at(place, format!("{subject}{}", error.message()));
            None
        }
    }
}
