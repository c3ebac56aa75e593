//! `CNI_ARGS`: `KEY=VALUE;KEY=VALUE`, the older of the two ways in which a runtime says things about one container.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use proto_ids::{MacAddr, ParseNameError, PodKey, PodUid};

/// What `CNI_ARGS` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniArgs {
    /// `K8S_POD_NAMESPACE` and `K8S_POD_NAME`.
    pub pod: Option<PodKey>,
    /// `K8S_POD_UID`.
    pub pod_uid: Option<PodUid>,
    /// `IP`: addresses asked for, separated by commas; a prefix length is dropped, the pool knows it.
    pub addresses: Vec<IpAddr>,
    /// `MAC`.
    pub mac: Option<MacAddr>,
}

/// Why `CNI_ARGS` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseArgsError {
    /// A part without `=`.
    #[error("{part:?} is not KEY=VALUE")]
    Form {
        /// The part, cut to 64 characters.
        part: String,
    },
    /// Keys nobody here knows, and `IgnoreUnknown` is not set.
    #[error(
        "unknown keys {}; set IgnoreUnknown=1 to have them ignored",
        keys.join(", ")
    )]
    Unknown {
        /// The keys, each cut to 64 characters.
        keys: Vec<String>,
    },
    /// One of the Pod's names without the other.
    #[error("K8S_POD_NAMESPACE and K8S_POD_NAME must both be given, or neither")]
    HalfPod,
    /// A Pod's name that Kubernetes would not accept.
    #[error("the Pod's name is not valid")]
    Pod {
        /// Why.
        #[source]
        source: ParseNameError,
    },
    /// A value that is not what its key needs.
    #[error("{key}={value:?} is not {wanted}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value, cut to 64 characters.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
}

/// Keys that are understood. `K8S_POD_INFRA_CONTAINER_ID` repeats the container id.
const KNOWN: [&str; 7] = [
    "IgnoreUnknown",
    "K8S_POD_NAMESPACE",
    "K8S_POD_NAME",
    "K8S_POD_INFRA_CONTAINER_ID",
    "K8S_POD_UID",
    "IP",
    "MAC",
];

pub(crate) fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// An address with or without prefix length.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpNet>().ok().map(|net| net.addr()))
}

impl CniArgs {
    /// Reads `CNI_ARGS`. An empty value counts as absent.
    ///
    /// # Errors
    /// When a part is malformed, or a key is unknown and `IgnoreUnknown` is not set.
    pub fn parse(text: &str) -> Result<Self, ParseArgsError> {
        let mut values = BTreeMap::new();
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| ParseArgsError::Form { part: shown(part) })?;
            if !value.is_empty() || !KNOWN.contains(&key) {
                values.insert(key, value);
            }
        }
        let lenient = values
            .get("IgnoreUnknown")
            .is_some_and(|value| matches!(*value, "1" | "t" | "T" | "true" | "TRUE" | "True"));
        let unknown: Vec<_> = values
            .keys()
            .filter(|key| !KNOWN.contains(key))
            .map(|key| shown(key))
            .collect();
        if !lenient && !unknown.is_empty() {
            return Err(ParseArgsError::Unknown { keys: unknown });
        }
        Ok(Self {
            pod: pod(&values)?,
            pod_uid: value(&values, "K8S_POD_UID", "a Pod's UID", |text| {
                text.parse().ok()
            })?,
            addresses: value(&values, "IP", "a list of addresses", |text| {
                text.split(',').map(|one| address(one.trim())).collect()
            })?
            .unwrap_or_default(),
            mac: value(&values, "MAC", "a unicast Ethernet address", |text| {
                text.parse().ok()
            })?,
        })
    }
}

fn pod(values: &BTreeMap<&str, &str>) -> Result<Option<PodKey>, ParseArgsError> {
    match (values.get("K8S_POD_NAMESPACE"), values.get("K8S_POD_NAME")) {
        (None, None) => Ok(None),
        (Some(namespace), Some(name)) => PodKey::new(namespace, name)
            .map(Some)
            .map_err(|source| ParseArgsError::Pod { source }),
        _ => Err(ParseArgsError::HalfPod),
    }
}

fn value<T>(
    values: &BTreeMap<&str, &str>,
    key: &'static str,
    wanted: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ParseArgsError> {
    let Some(text) = values.get(key) else {
        return Ok(None);
    };
    parse(text).map(Some).ok_or_else(|| ParseArgsError::Value {
        key,
        value: shown(text),
        wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubelet_sends_is_read() {
        let args = CniArgs::parse(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=db-0;\
             K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=6c1d-1;X=y",
        )
        .unwrap();
        assert_eq!(args.pod.unwrap().to_string(), "prod/db-0");
        assert_eq!(args.pod_uid.unwrap().as_str(), "6c1d-1");
        assert!(args.addresses.is_empty() && args.mac.is_none());
    }

    #[test]
    fn addresses_are_read_with_and_without_prefix() {
        let args = CniArgs::parse("IP=10.1.2.3/24,fd00::3;MAC=b6:e7:0a:14:01:64").unwrap();
        let texts: Vec<_> = args.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.1.2.3", "fd00::3"]);
        assert_eq!(args.mac.unwrap().to_string(), "b6:e7:0a:14:01:64");
    }

    #[test]
    fn empty_text_and_empty_values_are_absent() {
        assert_eq!(CniArgs::parse(""), Ok(CniArgs::default()));
        assert_eq!(
            CniArgs::parse("K8S_POD_NAME=;K8S_POD_NAMESPACE=;;IP="),
            Ok(CniArgs::default())
        );
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cases = [
            ("nonsense", "\"nonsense\" is not KEY=VALUE"),
            ("FOO=1;BAR=2", "unknown keys BAR, FOO"),
            ("FOO=1;IgnoreUnknown=0", "unknown keys FOO"),
            ("K8S_POD_NAME=db-0", "must both be given"),
            ("K8S_POD_NAMESPACE=a;K8S_POD_NAME=../x", "Pod's name"),
            ("IP=10.1.2", "IP=\"10.1.2\" is not"),
            ("MAC=ff:ff:ff:ff:ff:ff", "unicast"),
            ("K8S_POD_UID=a b", "UID"),
        ];
        for (text, part) in cases {
            let error = CniArgs::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
