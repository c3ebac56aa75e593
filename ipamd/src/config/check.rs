//! From what is written to what is meant: each value parsed, then the whole checked against itself by `ipamd-core`.
//!
//! Never stops at the first problem.

mod home;
mod runtime;

use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipamd_core::{Hold, NodeRack, Pattern, Pool, Rule, Settings, SettingsError, Subject};
use ipamd_daemon::http::HttpAddress;
use proto_ids::{NodeName, Route};
use proto_ipam::tombstone;
use toml::Spanned;

use home::{Home, kubernetes, rack};
use runtime::runtime;

use super::file::{Daemon, File, PoolSection, ProbeSection, RouteSection, RuleSection, Text};
use super::overrides::Overrides;
use super::problem::Problems;
use super::value::{Noted, duration, number, parse, parse_all, parse_optional};
use super::{
    Config, DEFAULT_AUDIT_KEEP, DEFAULT_CNI_RESULTS, DEFAULT_METRICS, DEFAULT_QUARANTINE,
    DEFAULT_SOCKET, DEFAULT_STORE,
};
use crate::wire::WireSettings;

/// Smallest MTU of IPv4 (RFC 791); a route that says less is a slip.
const MTU_BYTES: (i64, i64) = (68, 65_535);
/// What is asked or believed of the wire is of seconds to days; anything else is a slip.
const WIRE_PERIOD: (Duration, Duration) = (
    Duration::from_secs(1),
    Duration::from_secs(7 * 24 * 60 * 60),
);

/// What is known besides the file.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    /// What was typed.
    pub(super) overrides: &'a Overrides,
    /// The host's name, where it can be read.
    pub(super) host_name: Option<&'a str>,
}

/// The configuration; `None` when a part is missing. Problems may have been noted either way.
pub(super) fn check(
    path: &Path,
    file: &File,
    given: Given<'_>,
    problems: &mut Problems<'_>,
) -> Option<Config> {
    let daemon = file.daemon.as_ref();
    let kubernetes = daemon.and_then(|daemon| kubernetes(daemon, problems));
    let rack = daemon.and_then(|daemon| rack(daemon, kubernetes.as_ref(), problems));
    let home = match (&rack, &kubernetes) {
        (_, Some(_)) => Home::Labelled,
        (Some(rack), None) => Home::Rack(rack),
        (None, None) => Home::Missing,
    };
    let (pools, sections) = pools(file, home, problems);
    let rules = file.rules.iter();
    let rules = rules.filter_map(|section| rule(section.get_ref(), problems));
    let rules = rules.collect();
    let daemon = file.daemon.as_ref()?;
    let node = node(daemon, given, problems);
    let audit_keep = duration("", "audit_keep", daemon.audit_keep.as_ref(), problems);
    let probe = probe(&daemon.probe, problems);
    let runtime = runtime(daemon, kubernetes.is_some(), problems);
    let metrics = match &given.overrides.metrics {
        Some(told) => told.address().cloned(),
        None => metrics(daemon.metrics.as_ref(), problems),
    };
    let mut folder =
        |key, text: &Option<Text>, default: &str| absolute(key, text.as_ref(), default, problems);
    let socket = folder("socket", &daemon.socket, DEFAULT_SOCKET);
    let store = folder("store", &daemon.store, DEFAULT_STORE);
    let spool = folder("spool", &daemon.spool, tombstone::SPOOL);
    let cni_results = folder("cni_results", &daemon.cni_results, DEFAULT_CNI_RESULTS);
    let settings = Settings {
        node: node?,
        rack: match (rack, &kubernetes) {
            (_, Some(kubernetes)) => kubernetes.not_asked_yet(),
            (rack, None) => NodeRack::Configured(rack?),
        },
        pools,
        rules,
        audit_keep: audit_keep.unwrap_or(DEFAULT_AUDIT_KEEP),
        refuse_when_exhausted: daemon.refuse_when_exhausted.unwrap_or_default(),
        claiming: kubernetes.is_some() && file.pools.is_empty(),
    };
    let settings = match settings.validate() {
        Ok(settings) => settings,
        Err(errors) => {
            for error in errors {
                note(&error, daemon, &sections, problems);
            }
            return None;
        }
    };
    Some(Config {
        path: path.into(),
        socket,
        store,
        spool,
        cni_results,
        runtime,
        metrics,
        probe,
        kubernetes,
        settings,
    })
}

fn node(daemon: &Daemon, given: Given<'_>, problems: &mut Problems<'_>) -> Option<NodeName> {
    let written = daemon.node.as_ref();
    let written = written.map(|text| parse("", "node", text, problems));
    if let Some(name) = &given.overrides.node {
        return Some(name.clone());
    }
    if let Some(name) = written {
        return name;
    }
    let name = given.host_name.and_then(|name| name.parse().ok());
    if name.is_none() {
        problems.at(
            None,
            "node: the host name does not serve as the node's name; set `node = \"…\"`",
        );
    }
    name
}

/// The pools that could be read, with their sections in the same order.
fn pools<'a>(
    file: &'a File,
    home: Home<'_>,
    problems: &mut Problems<'_>,
) -> (Vec<Pool>, Vec<&'a Spanned<PoolSection>>) {
    file.pools
        .iter()
        .filter_map(|section| Some((pool(section, home, problems)?, section)))
        .unzip()
}

fn pool(
    section: &Spanned<PoolSection>,
    home: Home<'_>,
    problems: &mut Problems<'_>,
) -> Option<Pool> {
    let pool = section.get_ref();
    home.refuse_shared(section, problems);
    let subject = format!("pool {:?}: ", pool.name.get_ref());
    let subject = subject.as_str();
    let name = parse(subject, "name", &pool.name, problems);
    let network = parse(subject, "network", &pool.network, problems);
    let rack = match &pool.rack {
        Some(text) => parse(subject, "rack", text, problems),
        None => home.rack(section, problems),
    };
    let node = parse_optional(subject, "node", pool.node.as_ref(), problems);
    let subnet = parse(subject, "subnet", &pool.subnet, problems);
    let ranges = parse_all(subject, "ranges", &pool.ranges, problems);
    let exclude = parse_all(subject, "exclude", &pool.exclude, problems);
    let gateway: Result<Option<IpAddr>, Noted> =
        parse_optional(subject, "gateway", pool.gateway.as_ref(), problems);
    let quarantine = duration(subject, "quarantine", pool.quarantine.as_ref(), problems);
    let routes: Vec<_> = pool
        .routes
        .iter()
        .map(|section| route(subject, section.get_ref(), problems))
        .collect();
    Some(Pool {
        name: name?,
        network: network?,
        rack: rack?,
        node: node.ok()?,
        subnet: subnet?,
        ranges: ranges?,
        exclude: exclude?,
        gateway: gateway.ok()?,
        quarantine: quarantine.unwrap_or(DEFAULT_QUARANTINE),
        routes: routes.into_iter().collect::<Option<_>>()?,
        probe: pool.probe.unwrap_or(true),
    })
}

fn route(subject: &str, route: &RouteSection, problems: &mut Problems<'_>) -> Option<Route> {
    let dst = parse(subject, "routes.dst", &route.dst, problems);
    let via = parse_optional(subject, "routes.via", route.via.as_ref(), problems);
    let metric = (1, u32::MAX.into());
    let metric = number(
        subject,
        "routes.metric",
        route.metric.as_ref(),
        metric,
        problems,
    );
    let mtu = number(
        subject,
        "routes.mtu",
        route.mtu.as_ref(),
        MTU_BYTES,
        problems,
    );
    Some(Route {
        dst: dst?,
        via: via.ok()?,
        metric,
        mtu,
    })
}

fn rule(section: &RuleSection, problems: &mut Problems<'_>) -> Option<Rule> {
    let subject = "rule: ";
    let mut pattern = |key, text: &Option<Text>| -> Option<Pattern> {
        match text {
            Some(text) => parse(subject, key, text, problems),
            None => "*".parse().ok(),
        }
    };
    let namespace = pattern("namespace", &section.namespace);
    let pod = pattern("pod", &section.pod);
    let hold: Option<Hold> = parse(subject, "hold", &section.hold, problems);
    Some(Rule {
        namespace: namespace?,
        pod: pod?,
        hold: hold?,
    })
}

fn probe(section: &ProbeSection, problems: &mut Problems<'_>) -> WireSettings {
    let default = WireSettings::default();
    let subject = "probe: ";
    let per_second = section.per_second.as_ref();
    let per_second = number(subject, "per_second", per_second, (1, 1000), problems);
    let ahead = number(
        subject,
        "ahead",
        section.ahead.as_ref(),
        (1, 4096),
        problems,
    );
    let again = period(subject, "again", section.again.as_ref(), problems);
    let silence = period(subject, "silence", section.silence.as_ref(), problems);
    WireSettings {
        probes_per_second: per_second.unwrap_or(default.probes_per_second),
        ahead: ahead.map_or(default.ahead, |ahead| ahead as usize),
        probe_again: again.unwrap_or(default.probe_again),
        silence: silence.unwrap_or(default.silence),
    }
}

/// A duration of the wire: a second at least, and not for ever, so that it can be waited for.
fn period(
    subject: &str,
    key: &str,
    text: Option<&Text>,
    problems: &mut Problems<'_>,
) -> Option<Duration> {
    let text = text?;
    let duration = duration(subject, key, Some(text), problems)?;
    if !(WIRE_PERIOD.0..=WIRE_PERIOD.1).contains(&duration) {
        let written = text.get_ref();
        let problem = format!("{subject}{key}: {written:?} is not between 1s and 7d");
        problems.at(Some(text.span()), problem);
    }
    Some(duration)
}

fn metrics(text: Option<&Text>, problems: &mut Problems<'_>) -> Option<HttpAddress> {
    match text {
        None => DEFAULT_METRICS.parse().ok(),
        Some(text) if text.get_ref().is_empty() => None,
        Some(text) => parse("", "metrics", text, problems),
    }
}

fn absolute(
    key: &'static str,
    text: Option<&Text>,
    default: &str,
    problems: &mut Problems<'_>,
) -> PathBuf {
    let Some(text) = text else {
        return default.into();
    };
    if !text.get_ref().starts_with('/') {
        let problem = format!("{key}: {:?} is not an absolute path", text.get_ref());
        problems.at(Some(text.span()), problem);
    }
    text.get_ref().into()
}

/// Notes what the whole contradicts, at the key it is about.
fn note(
    error: &SettingsError,
    daemon: &Daemon,
    sections: &[&Spanned<PoolSection>],
    problems: &mut Problems<'_>,
) {
    let SettingsError {
        subject,
        field,
        reason,
    } = error;
    match subject {
        Subject::Node => {
            let text = match *field {
                "rack" => daemon.rack.as_ref(),
                "node" => daemon.node.as_ref(),
                "audit_keep" => daemon.audit_keep.as_ref(),
                _ => None,
            };
            problems.at(text.map(Spanned::span), format!("{field}: {reason}"));
        }
        Subject::Pool { index, name } => {
            let section = sections.get(*index);
            let place = section.map(|section| key_place(section, field, reason));
            problems.at(
                place,
                format!("pool {:?}: {field}: {reason}", name.as_str()),
            );
        }
    }
}

/// Where the key stands; of a list, the entry that the reason names.
fn key_place(section: &Spanned<PoolSection>, field: &str, reason: &str) -> Range<usize> {
    let pool = section.get_ref();
    let entry = |texts: &[Text]| {
        let named = texts
            .iter()
            .find(|text| reason.contains(text.get_ref().as_str()));
        named.or_else(|| texts.first()).map(Spanned::span)
    };
    let place = match field {
        "name" => Some(pool.name.span()),
        "network" => Some(pool.network.span()),
        "rack" => pool.rack.as_ref().map(Spanned::span),
        "node" => pool.node.as_ref().map(Spanned::span),
        "subnet" => Some(pool.subnet.span()),
        "ranges" => entry(&pool.ranges),
        "exclude" => entry(&pool.exclude),
        "gateway" => pool.gateway.as_ref().map(Spanned::span),
        "quarantine" => pool.quarantine.as_ref().map(Spanned::span),
        "routes" => route_place(&pool.routes, reason),
        _ => None,
    };
    place.unwrap_or_else(|| section.span())
}

fn route_place(routes: &[Spanned<RouteSection>], reason: &str) -> Option<Range<usize>> {
    let named = routes.iter().find(|route| {
        let route = route.get_ref();
        let via = route.via.as_ref();
        reason.contains(route.dst.get_ref().as_str())
            || via.is_some_and(|via| reason.contains(via.get_ref().as_str()))
    });
    named.or_else(|| routes.first()).map(Spanned::span)
}
