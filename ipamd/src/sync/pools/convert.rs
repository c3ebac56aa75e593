//! From a Pool as it is written to one that can be used: every value parsed, every mistake with its field. Pure.
//!
//! The API server refuses most of these; what it does not know, or an older definition let through, is found here.

use std::fmt::Display;
use std::str::FromStr;

use ipamd_core::Pool;
use proto_crd::pool::{PoolRoute, PoolSpec};
use proto_ids::Route;
use serde_json::Value;

use crate::config::{DEFAULT_QUARANTINE, Period};

/// The mistakes found so far, each with its field.
struct Mistakes(Vec<String>);

/// A mistake was noted.
struct Noted;

impl Mistakes {
    fn parse<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let error = error.to_string();
                // Most of our errors quote the text already; those of the standard library do not.
                self.0.push(if error.contains(text) {
                    format!("{field}: {error}")
                } else {
                    format!("{field}: {text:?}: {error}")
                });
                None
            }
        }
    }

    fn parse_optional<T: FromStr<Err: Display>>(
        &mut self,
        field: &str,
        text: Option<&String>,
    ) -> Result<Option<T>, Noted> {
        match text {
            None => Ok(None),
            Some(text) => self.parse(field, text).map(Some).ok_or(Noted),
        }
    }

    fn parse_all<T: FromStr<Err: Display>>(
        &mut self,
        field: &str,
        texts: &[String],
    ) -> Option<Vec<T>> {
        let values: Vec<_> = texts.iter().map(|text| self.parse(field, text)).collect();
        values.into_iter().collect()
    }

    fn number(&mut self, field: &str, number: Option<i64>) -> Result<Option<u32>, Noted> {
        let Some(number) = number else {
            return Ok(None);
        };
        let value = u32::try_from(number).ok().filter(|value| *value > 0);
        if value.is_none() {
            let most = u32::MAX;
            self.0
                .push(format!("{field}: {number} is not between 1 and {most}"));
        }
        value.map(Some).ok_or(Noted)
    }

    fn route(&mut self, route: &PoolRoute) -> Option<Route> {
        let dst = self.parse("routes.dst", &route.dst);
        let via = self.parse_optional("routes.via", route.via.as_ref());
        let metric = self.number("routes.metric", route.metric);
        let mtu = self.number("routes.mtu", route.mtu);
        Some(Route {
            dst: dst?,
            via: via.ok()?,
            metric: metric.ok()?,
            mtu: mtu.ok()?,
        })
    }
}

/// The pool that a specification says.
///
/// # Errors
/// What is wrong with it, all of it, in words that name the fields.
pub(super) fn convert(name: &str, spec: &Value) -> Result<Pool, String> {
    let spec: PoolSpec = serde_json::from_value(spec.clone())
        .map_err(|error| format!("spec: it is of a form that is not known here: {error}"))?;
    let mut mistakes = Mistakes(Vec::new());
    match fields(name, &spec, &mut mistakes) {
        Some(pool) if mistakes.0.is_empty() => Ok(pool),
        _ => Err(mistakes.0.join("; ")),
    }
}

fn fields(name: &str, spec: &PoolSpec, mistakes: &mut Mistakes) -> Option<Pool> {
    let name = mistakes.parse("metadata.name", name);
    let network = mistakes.parse("network", &spec.network);
    let rack = mistakes.parse("rack", &spec.rack);
    let subnet = mistakes.parse("subnet", &spec.subnet);
    let ranges = mistakes.parse_all("ranges", &spec.ranges);
    let exclude = mistakes.parse_all("exclude", &spec.exclude);
    let gateway = mistakes.parse_optional("gateway", spec.gateway.as_ref());
    let quarantine: Result<Option<Period>, Noted> =
        mistakes.parse_optional("quarantine", spec.quarantine.as_ref());
    let routes: Vec<_> = spec.routes.iter().map(|r| mistakes.route(r)).collect();
    Some(Pool {
        name: name?,
        network: network?,
        rack: rack?,
        // Shared by the nodes of its rack.
        node: None,
        subnet: subnet?,
        ranges: ranges?,
        exclude: exclude?,
        gateway: gateway.ok()?,
        quarantine: quarantine
            .ok()?
            .map_or(DEFAULT_QUARANTINE, |Period(time)| time),
        routes: routes.into_iter().collect::<Option<_>>()?,
        probe: spec.probe.unwrap_or(true),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn whole() -> Value {
        json!({
            "network": "external",
            "rack": "a",
            "subnet": "10.20.1.0/24",
            "ranges": ["10.20.1.100-10.20.1.199", "10.20.1.220"],
            "exclude": ["10.20.1.150"],
            "gateway": "10.20.1.1",
            "quarantine": "30s",
            "routes": [{"dst": "10.30.0.0/16", "via": "10.20.1.2", "metric": 7, "mtu": 9000}],
            "probe": false,
        })
    }

    #[test]
    fn every_field_means_what_it_means_in_the_file() {
        let pool = convert("external-a", &whole()).unwrap();
        let route = &pool.routes[0];
        assert_eq!(
            (
                pool.name.as_str(),
                pool.network.as_str(),
                pool.rack.as_str()
            ),
            ("external-a", "external", "a")
        );
        assert_eq!(pool.subnet.to_string(), "10.20.1.0/24");
        assert_eq!((pool.ranges.len(), pool.exclude.len()), (2, 1));
        assert_eq!(pool.gateway.unwrap().to_string(), "10.20.1.1");
        assert_eq!(pool.quarantine, Duration::from_secs(30));
        assert_eq!(route.dst.to_string(), "10.30.0.0/16");
        assert_eq!((route.metric, route.mtu), (Some(7), Some(9000)));
        assert_eq!((pool.probe, pool.node), (false, None));
    }

    #[test]
    fn what_is_not_said_is_as_in_the_file() {
        let least = json!({"network": "external", "rack": "a", "subnet": "fd00:20:1::/64"});
        let pool = convert("external-a-v6", &least).unwrap();
        assert!(pool.ranges.is_empty() && pool.exclude.is_empty() && pool.routes.is_empty());
        assert_eq!((pool.gateway, pool.probe), (None, true));
        assert_eq!(pool.quarantine, Duration::from_secs(600));
        for (text, quarantine) in [("none", Duration::ZERO), ("forever", Duration::MAX)] {
            let mut said = least.clone();
            said["quarantine"] = text.into();
            assert_eq!(convert("x", &said).unwrap().quarantine, quarantine);
        }
        let mut newer = least;
        newer["colour"] = "red".into();
        assert!(convert("x", &newer).is_ok(), "fields are only ever added");
    }

    #[test]
    fn every_mistake_is_told_with_its_field_and_what_was_written() {
        let cases = [
            ("/network", json!("a b"), "network: ", "\"a b\""),
            ("/rack", json!("-"), "rack: ", "\"-\""),
            ("/subnet", json!("10.20.1.0/33"), "subnet: ", "10.20.1.0/33"),
            (
                "/ranges/0",
                json!("10.20.1.9-10.20.1.1"),
                "ranges: ",
                "ends before",
            ),
            ("/exclude/0", json!("x"), "exclude: ", "\"x\""),
            ("/gateway", json!("tor"), "gateway: ", "\"tor\""),
            ("/quarantine", json!("ten"), "quarantine: ", "10m"),
            (
                "/routes/0/dst",
                json!("everywhere"),
                "routes.dst: ",
                "everywhere",
            ),
            ("/routes/0/via", json!("tor"), "routes.via: ", "tor"),
            ("/routes/0/metric", json!(0), "routes.metric: ", "between 1"),
            ("/routes/0/mtu", json!(-1), "routes.mtu: ", "-1"),
            ("/subnet", json!(5), "spec: ", "integer `5`"),
        ];
        for (place, value, field, words) in cases {
            let mut spec = whole();
            *spec.pointer_mut(place).unwrap() = value;
            let told = convert("external-a", &spec).unwrap_err();
            assert!(
                told.starts_with(field) && told.contains(words),
                "{place}: {told}"
            );
        }
        let mut spec = whole();
        spec["gateway"] = "tor".into();
        spec["exclude"] = json!(["x", "y"]);
        let told = convert("an_name", &spec).unwrap_err();
        assert_eq!(told.split("; ").count(), 4, "all at once: {told}");
    }
}
