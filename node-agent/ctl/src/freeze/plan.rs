//! What is typed, as a freeze; and what a freeze is about. Pure.

use std::fmt;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use proto_crd::lifecycle_freeze::{FreezeScope, FrozenApplication, LifecycleFreeze};
use proto_crd::time;

use super::FreezeArgs;

/// The longest reason and ticket that the kind takes is longer; more than that is no reason but a report.
const TEXT_LIMIT: usize = 253;
/// Longer than any work: a freeze of years is one without an end.
const LONGEST: Duration = Duration::from_hours(366 * 24);
/// What the API server puts behind a name that it makes is six letters; and a name is a label elsewhere.
const PREFIX_LIMIT: usize = 57;

/// What a freeze is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FrozenScope<'a> {
    /// Everything.
    Cluster,
    /// A rack.
    Rack(&'a str),
    /// A node.
    Node(&'a str),
    /// An application.
    Application(&'a FrozenApplication),
    /// Nothing that this version knows.
    Unknown,
}

impl fmt::Display for FrozenScope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("the cluster"),
            Self::Rack(rack) => write!(f, "rack {rack}"),
            Self::Node(node) => write!(f, "node {node}"),
            Self::Application(app) => write!(f, "application {}/{}", app.namespace, app.name),
            Self::Unknown => f.write_str("something that this version does not know"),
        }
    }
}

/// What a freeze is about.
pub(crate) fn scope_of(scope: &FreezeScope) -> FrozenScope<'_> {
    match scope {
        FreezeScope {
            cluster: Some(true),
            ..
        } => FrozenScope::Cluster,
        FreezeScope {
            rack: Some(rack), ..
        } => FrozenScope::Rack(rack),
        FreezeScope {
            node: Some(node), ..
        } => FrozenScope::Node(node),
        FreezeScope {
            application: Some(application),
            ..
        } => FrozenScope::Application(application),
        _ => FrozenScope::Unknown,
    }
}

/// Whether its end has passed.
pub(crate) fn is_over(freeze: &LifecycleFreeze, now: Timestamp) -> bool {
    let now = SystemTime::from(now);
    let end = freeze.spec.expiry_time.map(SystemTime::from);
    end.is_some_and(|end| end <= now)
}

/// The scope that was typed; there is exactly one.
pub(super) fn scope(args: &FreezeArgs) -> Result<FreezeScope> {
    let application = args.app.as_deref().map(application).transpose()?;
    Ok(FreezeScope {
        cluster: args.cluster.then_some(true),
        rack: args.rack.clone(),
        node: args.node.clone(),
        application,
    })
}

fn application(text: &str) -> Result<FrozenApplication> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(FrozenApplication {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        }
        _ => bail!(
            "--app {text:?}: name it as NAMESPACE/NAME of what owns the Pods (a Deployment, a StatefulSet, an InPlaceSet), such as \
             --app prod/shop"
        ),
    }
}

/// When it ends.
pub(super) fn expiry(
    length: Option<Duration>,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<time::Timestamp>> {
    let end = match (length, until) {
        (None, None) => return Ok(None),
        (Some(length), _) => now.saturating_add(SignedDuration::try_from(length)?)?,
        (None, Some(until)) => until,
    };
    if end <= now {
        bail!(
            "--until {end} has passed (it is {}): nothing would be frozen. Name a time to come, or a duration: --for 2h",
            Timestamp::from_second(now.as_second()).unwrap_or(now)
        );
    }
    if end.duration_since(now).unsigned_abs() > LONGEST {
        bail!(
            "until {end} is more than a year: leave --for and --until out, and take the freeze away when it is over"
        );
    }
    let milliseconds = u64::try_from(end.as_millisecond()).unwrap_or_default();
    // Kubernetes keeps whole seconds: never shorter than what was asked for.
    Ok(Some(
        time::Timestamp::from_unix_milliseconds(milliseconds).rounded_up(),
    ))
}

/// A text that says something.
pub(super) fn text(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(
            "say something: whoever finds the freeze must know whether it is still needed"
                .to_owned(),
        ),
        1..=TEXT_LIMIT => Ok(text.to_owned()),
        long => Err(format!("{long} characters, {TEXT_LIMIT} are the most")),
    }
}

/// A duration such as `2h` or `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<SignedDuration, _> = text.parse();
    let duration = parsed.map_err(|_| "is no duration such as 90m, 2h or 36h".to_owned());
    let duration = Duration::try_from(duration?);
    match duration {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("a duration is longer than nothing, such as 90m".to_owned()),
    }
}

/// What the name of the freeze begins with: what it is about.
pub(super) fn prefix(scope: &FreezeScope) -> String {
    let words = match scope_of(scope) {
        FrozenScope::Cluster | FrozenScope::Unknown => "cluster".to_owned(),
        FrozenScope::Rack(rack) => format!("rack-{rack}"),
        FrozenScope::Node(node) => format!("node-{node}"),
        FrozenScope::Application(app) => format!("app-{}", app.name),
    };
    let fit = words
        .chars()
        .map(|letter| match letter.to_ascii_lowercase() {
            letter @ ('a'..='z' | '0'..='9') => letter,
            _ => '-',
        });
    let mut prefix: String = fit.take(PREFIX_LIMIT).collect();
    prefix.push('-');
    prefix
}

/// Who makes it, within the kind's bound.
pub(super) fn author(name: &str) -> String {
    name.chars().take(TEXT_LIMIT).collect()
}

/// What is said of a rack that no node is in.
pub(super) fn unknown_rack(rack: &str, label: &str) -> String {
    format!(
        "no node has the label {label}={rack}: until one has, this freezes nothing once the controllers' leader has looked. Racks are \
         shown by kubectl get nodes -L {label}"
    )
}

/// What is said of a node that is not there.
pub(super) fn unknown_node(node: &str) -> String {
    format!("there is no node {node:?}: the freeze is for when there is one")
}

/// What is said of a freeze that is not there.
pub(super) fn not_there(name: &str, there: &[LifecycleFreeze]) -> String {
    let names: Vec<_> = there.iter().map(ResourceExt::name_any).collect();
    if names.is_empty() {
        format!("there is no LifecycleFreeze {name:?}, nor any other: nothing is frozen")
    } else {
        format!(
            "there is no LifecycleFreeze {name:?}; there are: {}",
            names.join(", ")
        )
    }
}

#[cfg(test)]
mod tests;
