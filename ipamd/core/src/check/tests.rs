use super::*;
use crate::fixture::{at, attachment, book, ip, mac};

fn checked(ifname: &str, address: &str) -> CheckedInterface {
    CheckedInterface {
        ifname: ifname.parse().unwrap(),
        mac: None,
        addresses: vec![ip(address)],
    }
}

#[test]
fn agreement_is_silent() {
    let mut book = book();
    book.must_get("prod/db-0", "s1", at(0));
    let mut interface = checked("eth0", "10.20.1.10");
    assert_eq!(book.check(&attachment("s1"), &[interface.clone()]), Ok(()));
    interface.mac = Some(MacAddr::derived(ip("10.20.1.10")));
    assert_eq!(book.check(&attachment("s1"), &[interface]), Ok(()));
}

#[test]
fn every_difference_is_named() {
    let mut book = book();
    book.must_get("prod/db-0", "s1", at(0));
    let wrong = CheckedInterface {
        mac: Some(mac("02:00:00:00:00:01")),
        ..checked("eth0", "10.20.1.11")
    };
    let error = book
        .check(&attachment("s1"), &[wrong, checked("net1", "10.20.1.12")])
        .unwrap_err();
    let CheckError::Differs(differences) = &error else {
        panic!("{error}");
    };
    assert!(matches!(
        differences[..],
        [
            Difference::Mac { .. },
            Difference::Addresses { .. },
            Difference::UnknownInterface(_)
        ]
    ));
    assert!(
        error
            .to_string()
            .contains("eth0 has 10.20.1.11, the book says 10.20.1.10")
    );
    let missing = book.check(&attachment("s1"), &[]).unwrap_err();
    assert_eq!(missing.reason(), Reason::Mismatch);
}

#[test]
fn unknown_attachment_is_not_found() {
    let error = book().check(&attachment("s1"), &[]).unwrap_err();
    assert_eq!(error.reason(), Reason::NotFound);
}
