//! The release of who calls, and ours in every answer: a plugin that is too far away is told so before its message is read.
//!
//! Refuses nobody who names no release, no operator, and no release of addresses: a DEL must not fail, and a message
//! that can be decoded says all that ending an attachment needs.

use proto_ipam::v1::ipam_server::SERVICE_NAME;
use proto_ipam::version;
use tonic::Status;
use tonic::codegen::http::{HeaderMap, HeaderValue};

use super::status::Refused;
use crate::metrics::Verb;

/// The call of the plugin that this path names; `None` for one that is served whoever asks.
fn guarded(path: &str) -> Option<Verb> {
    let (service, call) = path.strip_prefix('/')?.split_once('/')?;
    if service != SERVICE_NAME {
        return None;
    }
    match call {
        "Allocate" => Some(Verb::Allocate),
        "Check" => Some(Verb::Check),
        "Collect" => Some(Verb::Collect),
        "Status" => Some(Verb::Status),
        _ => None,
    }
}

/// Why this call is not for us; with the verb, to count it.
pub(super) fn refusal(path: &str, headers: &HeaderMap) -> Option<(Verb, Refused)> {
    let verb = guarded(path)?;
    let claimed = String::from_utf8_lossy(headers.get(version::KEY)?.as_bytes());
    let refused = Refused::from(version::refuse_plugin(&claimed)?);
    Some((verb, refused))
}

/// Names our release in an answer, also in a refusal.
pub(super) fn claim(headers: &mut HeaderMap) {
    headers.insert(version::KEY, HeaderValue::from_static(version::OWN_TEXT));
}

/// The refusal as an answer to the caller.
pub(super) fn answer<B: Default>(refused: Refused) -> tonic::codegen::http::Response<B> {
    let mut response = Status::from(refused).into_http();
    claim(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use proto_ipam::v1::Reason;

    use super::*;

    const GUARDED: [&str; 4] = ["Allocate", "Check", "Collect", "Status"];

    fn from(version: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(version::KEY, HeaderValue::from_static(version));
        headers
    }

    #[test]
    fn plugin_of_another_age_is_refused_where_it_could_get_something_wrong() {
        for call in GUARDED {
            let path = format!("/berth.ipam.v1.Ipam/{call}");
            for version in ["99.0.0", "of last week", ""] {
                let (_, refused) = refusal(&path, &from(version)).unwrap();
                assert_eq!(refused.reason(), Reason::VersionSkew, "{call} {version}");
            }
            assert!(refusal(&path, &from(version::OWN_TEXT)).is_none(), "{call}");
            // From before the handshake, or no plugin.
            assert!(refusal(&path, &HeaderMap::new()).is_none(), "{call}");
        }
    }

    #[test]
    fn end_of_an_attachment_and_an_operator_are_served_whatever_their_age() {
        for path in [
            "/berth.ipam.v1.Ipam/Release",
            "/berth.ipam.v1.Admin/List",
            "/berth.ipam.v1.Admin/Status",
            "/",
            "",
        ] {
            assert!(refusal(path, &from("99.0.0")).is_none(), "{path}");
        }
    }

    #[test]
    fn refusal_names_our_release_too() {
        let (_, refused) = refusal("/berth.ipam.v1.Ipam/Status", &from("99.0.0")).unwrap();
        let response = answer::<()>(refused);
        assert_eq!(response.headers()[version::KEY], version::OWN_TEXT);
        assert_eq!(response.headers()["grpc-status"], "9");
    }
}
