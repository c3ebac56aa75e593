use super::*;
use crate::fixture::{ip, network};

fn address_key(name: &str, address: &str) -> RecordKey {
    RecordKey::Address {
        network: network(name),
        address: ip(address),
    }
}

#[test]
fn key_bytes_are_what_stores_of_this_version_hold() {
    let binding = RecordKey::Binding {
        network: network("external"),
        identity: "prod/db-0".parse().unwrap(),
    };
    assert_eq!(binding.to_bytes(), b"bexternal\0prod/db-0");
    assert_eq!(
        address_key("external", "10.20.1.10").to_bytes(),
        b"aexternal\0\x04\x0a\x14\x01\x0a"
    );
    let conflict = RecordKey::Conflict {
        network: network("external"),
        address: ip("10.20.1.10"),
    };
    assert_eq!(conflict.to_bytes(), b"cexternal\0\x04\x0a\x14\x01\x0a");
}

#[test]
fn keys_of_one_network_share_a_prefix_and_sort_by_address() {
    let low = address_key("external", "10.0.0.2").to_bytes();
    let high = address_key("external", "10.0.0.10").to_bytes();
    let six = address_key("external", "::1").to_bytes();
    let other = address_key("external2", "0.0.0.1").to_bytes();
    assert!(low < high && high < six);
    assert!(six.starts_with(b"aexternal\0") && !other.starts_with(b"aexternal\0"));
}

#[test]
fn stored_form_of_a_record_does_not_change_unnoticed() {
    let record = Record::Address(AddressRecord {
        network: network("external"),
        address: ip("10.20.1.10"),
        state: AddressUse::Quarantined {
            since: Timestamp::from_unix_milliseconds(5),
            until: Timestamp::from_unix_milliseconds(9),
            former: Former {
                identity: "prod/db-0".parse().unwrap(),
                mac: "02:00:00:00:00:01".parse().unwrap(),
            },
        },
    });
    let text = r#"{"address":{"network":"external","address":"10.20.1.10","state":{"quarantined":{"since":5,"until":9,"former":{"identity":"prod/db-0","mac":"02:00:00:00:00:01"}}}}}"#;
    assert_eq!(serde_json::to_string(&record).unwrap(), text);
    assert_eq!(serde_json::from_str::<Record>(text).unwrap(), record);
}
