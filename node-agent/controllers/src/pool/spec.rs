//! A `Pool` object as the address daemons understand it: their own arithmetic and their own objections.

use std::time::Duration;

use ipamd_core::Pool as CorePool;
use proto_crd::pool::{PoolRoute, PoolSpec};
use proto_ids::Route;

use super::DEFAULT_REST;

/// A value of a pool cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text:?} cannot be read: {reason}")]
pub(super) struct ParsePoolError {
    field: &'static str,
    text: String,
    reason: String,
}

/// The pool, or what cannot be read.
pub(super) fn parse(name: &str, spec: &PoolSpec) -> Result<CorePool, ParsePoolError> {
    Ok(CorePool {
        name: value("name", name)?,
        network: value("network", &spec.network)?,
        rack: value("rack", &spec.rack)?,
        node: None,
        subnet: value("subnet", &spec.subnet)?,
        ranges: values("ranges", &spec.ranges)?,
        exclude: values("exclude", &spec.exclude)?,
        gateway: optional("gateway", spec.gateway.as_deref())?,
        quarantine: rest(spec.quarantine.as_deref()),
        routes: spec.routes.iter().map(route).collect::<Result<_, _>>()?,
        probe: spec.probe.unwrap_or(true),
    })
}

/// How long an address rests after its use.
pub(super) fn rest(quarantine: Option<&str>) -> Duration {
    match quarantine {
        Some("none") => Duration::ZERO,
        Some("forever") => Duration::MAX,
        // What cannot be read is what is usual.
        Some(text) => humantime::parse_duration(text).unwrap_or(DEFAULT_REST),
        None => DEFAULT_REST,
    }
}

fn route(route: &PoolRoute) -> Result<Route, ParsePoolError> {
    Ok(Route {
        dst: value("routes", &route.dst)?,
        via: optional("routes", route.via.as_deref())?,
        metric: route.metric.and_then(|metric| metric.try_into().ok()),
        mtu: route.mtu.and_then(|mtu| mtu.try_into().ok()),
    })
}

fn values<T>(field: &'static str, texts: &[String]) -> Result<Vec<T>, ParsePoolError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    texts.iter().map(|text| value(field, text)).collect()
}

fn optional<T>(field: &'static str, text: Option<&str>) -> Result<Option<T>, ParsePoolError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.map(|text| value(field, text)).transpose()
}

fn value<T>(field: &'static str, text: &str) -> Result<T, ParsePoolError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.parse().map_err(|error: T::Err| ParsePoolError {
        field,
        text: text.to_owned(),
        reason: error.to_string(),
    })
}
