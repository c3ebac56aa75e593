//! The configuration of Berth as an IPAM plugin (`"ipam": {"type": "berth-ipam"}`): one network, no wiring.

use proto_ids::NetworkName;

use crate::document::daemon;
use crate::{Daemon, Document, ParseConfError};

/// The `ipam` object of a main plugin's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegateConf {
    /// How to reach ipamd.
    pub daemon: Daemon,
    /// `network`: whose addresses.
    pub network: NetworkName,
    /// `default`: whether default routes by the pools' gateways are part of the result.
    pub default: bool,
}

const KEYS: &[&str] = &["type", "network", "default", "ipamd", "spool", "timeouts"];

impl DelegateConf {
    /// Reads the `ipam` object.
    ///
    /// # Errors
    /// When it is missing, names no network, or holds an unknown key.
    pub fn parse(document: &Document) -> Result<Self, ParseConfError> {
        let ipam = document
            .object("ipam")?
            .ok_or_else(|| ParseConfError::value("ipam", "is missing"))?;
        ipam.only(KEYS)?;
        Ok(Self {
            daemon: daemon(&ipam)?,
            network: ipam.required("network")?,
            default: ipam.typed("default")?.unwrap_or(true),
        })
    }

    /// The daemon alone: what a DEL needs of a configuration that may be broken otherwise.
    ///
    /// # Errors
    /// When one of the daemon's values makes no sense.
    pub fn daemon(document: &Document) -> Result<Daemon, ParseConfError> {
        document
            .object("ipam")?
            .map_or_else(|| Ok(Daemon::default()), |ipam| daemon(&ipam))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DelegateConf, ParseConfError> {
        DelegateConf::parse(&Document::decode(text.as_bytes()).unwrap())
    }

    #[test]
    fn delegate_reads_its_object_only() {
        let conf = parse(
            r#"{"type":"bridge","bridge":"br0","ipamd":7,
                "ipam":{"type":"berth-ipam","network":"external","ipamd":"/x"}}"#,
        )
        .unwrap();
        assert_eq!(conf.network.as_str(), "external");
        assert!(conf.default);
        assert_eq!(conf.daemon.socket.to_str(), Some("/x"));
    }

    #[test]
    fn delegate_refuses_what_it_cannot_use() {
        let cases = [
            ("{}", 7, "ipam: is missing"),
            (r#"{"ipam":[]}"#, 7, "ipam: is not an object"),
            (
                r#"{"ipam":{"type":"berth-ipam"}}"#,
                7,
                "ipam.network: is missing",
            ),
            (
                r#"{"ipam":{"network":"a","subnet":"10.0.0.0/8"}}"#,
                2,
                "unknown key \"subnet\" in ipam",
            ),
            (
                r#"{"ipam":{"network":"a","default":"yes"}}"#,
                7,
                "ipam.default",
            ),
        ];
        for (text, code, part) in cases {
            let error = parse(text).unwrap_err();
            assert_eq!(u32::from(error.code()), code, "{text}");
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn daemon_is_found_where_the_rest_is_broken() {
        let document = Document::decode(br#"{"ipam":{"ipamd":"/x","bogus":1}}"#).unwrap();
        let daemon = DelegateConf::daemon(&document).unwrap();
        assert_eq!(daemon.socket.to_str(), Some("/x"));
    }
}
