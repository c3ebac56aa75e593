//! VERSION: the versions spoken. Reads no standard input.

use cni_spec::CniVersion;
use serde_json::json;

pub(super) fn run() -> String {
    json!({
        "cniVersion": CniVersion::LATEST.as_str(),
        "supportedVersions": CniVersion::ALL.map(CniVersion::as_str),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn version_lists_all_versions_in_the_newest_form() {
        assert_eq!(
            super::run(),
            r#"{"cniVersion":"1.1.0","supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}"#
        );
    }
}
