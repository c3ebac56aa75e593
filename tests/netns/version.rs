//! Releases that do not fit: plugin and daemon too far apart, and a store that a newer daemon wrote. Refused in words that
//! say what to upgrade, nothing is damaged, and a Pod still ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proto_ipam::refusal::Refusal;
use proto_ipam::v1;
use proto_ipam::version::{OWN, OWN_TEXT, Version};
use tests::daemons::reason;
use tests::site::{Ask, Site};

/// Our release, so many minor versions later.
fn later(minors: u64) -> String {
    let version = Version {
        minor: OWN.minor + minors,
        ..OWN
    };
    version.to_string()
}

fn attachment(sandbox: &str) -> v1::Attachment {
    v1::Attachment {
        cni_network: "bank".to_owned(),
        sandbox: sandbox.to_owned(),
        ifname: "eth0".to_owned(),
    }
}

fn allocate(sandbox: &str) -> v1::AllocateRequest {
    v1::AllocateRequest {
        attachment: Some(attachment(sandbox)),
        pod_namespace: "prod".to_owned(),
        pod_name: sandbox.to_owned(),
        interfaces: vec![v1::InterfaceRequest {
            ifname: "eth0".to_owned(),
            network: "external".to_owned(),
            ..v1::InterfaceRequest::default()
        }],
        ..v1::AllocateRequest::default()
    }
}

#[test]
fn plugin_within_one_minor_version_is_served() {
    let site = Site::serving("ver-next");
    for (sandbox, release) in [("same", OWN_TEXT), ("next", &later(1))] {
        let client = site.client().of_release(release);
        client.allocate(allocate(sandbox)).unwrap();
        assert!(client.release(attachment(sandbox)).unwrap().known);
    }
    // Who names none is from before the handshake, or no plugin.
    site.client().allocate(allocate("none")).unwrap();
}

#[test]
fn plugin_beyond_one_minor_version_is_refused_but_for_the_end_of_a_pod() {
    let site = Site::serving("ver-beyond");
    site.client().allocate(allocate("old")).unwrap();
    let before = site.list();

    let beyond = later(2);
    let client = site.client().of_release(&beyond);
    let check = v1::CheckRequest {
        attachment: Some(attachment("old")),
        interfaces: Vec::new(),
    };
    let collect = v1::CollectRequest {
        cni_network: "bank".to_owned(),
        keep: Vec::new(),
    };
    let refused = [
        client.allocate(allocate("new")).unwrap_err(),
        client.check(check).unwrap_err(),
        client.collect(collect).unwrap_err(),
        client.status().unwrap_err(),
    ];
    for status in &refused {
        assert_eq!(reason(status), v1::Reason::VersionSkew);
        let refusal = Refusal::from_status(status).unwrap();
        let text = refusal.to_string();
        assert!(text.contains(&beyond) && text.contains(OWN_TEXT), "{text}");
        assert!(text.contains("upgrade berth-ipamd"), "{text}");
    }
    assert_eq!(site.list(), before, "nothing was changed");
    assert!(site.ipamd_log().contains("REASON_VERSION_SKEW"));

    // An operator looks with whatever tool there is, and a Pod ends.
    assert_eq!(client.list().unwrap(), before);
    assert!(client.release(attachment("old")).unwrap().known);
    site.assert_no_attachment();
    assert_eq!(site.tombstones(), 0);
}

/// The witness beside the store: two slots of 48 bytes, 4096 apart: magic, format, commit, records, digest, CRC-32 of
/// these. The one place that says in which format the store is before it is opened.
fn set_format(witness: &Path, format: u64) {
    let mut bytes = fs::read(witness).unwrap();
    for slot in [0, 4096] {
        let slot = &mut bytes[slot..slot + 48];
        if slot.starts_with(b"berthwit") {
            slot[8..16].copy_from_slice(&format.to_le_bytes());
            let sum = crc32(&slot[..40]).to_le_bytes();
            slot[40..44].copy_from_slice(&sum);
        }
    }
    fs::write(witness, bytes).unwrap();
}

/// The CRC of Ethernet and zip, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let round = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| round(crc));
    !bytes.iter().fold(!0, byte)
}

/// Every file of the book and what is in it.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut content = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                content.insert(entry.path(), fs::read(entry.path()).unwrap());
            }
        }
    }
    content
}

#[test]
fn store_of_a_newer_daemon_is_refused_with_advice_and_is_whole_when_that_one_is_back() {
    let site = Site::serving("ver-store");
    let (kept, gone) = (site.pod("kept"), site.pod("gone"));
    let gone = Ask::new("web-1", &gone);
    site.add(&Ask::new("web-0", &kept)).result();
    site.add(&gone).result();
    site.stop_ipamd();
    let store = site.node().disk("/var/lib/berth/ipamd");
    set_format(&store.join("witness"), 2);
    let before = (
        content(&store.join("book")),
        fs::read(store.join("witness")).unwrap(),
    );

    site.spawn_ipamd();
    site.wait_phase(v1::Phase::Damaged);
    let message = site.client().status().unwrap().message;
    for part in ["format 2", "up to 1", "install the version that wrote it"] {
        assert!(message.contains(part), "{message}");
    }
    let pod = site.pod("new");
    let refused = site.add(&Ask::new("web-2", &pod)).fault();
    assert_eq!(refused.code, 112, "{refused:?}");
    assert!(
        refused.text().contains("install the version"),
        "{refused:?}"
    );
    // A Pod ends; the daemon that can write the store will read the note.
    site.del(&gone).silence();
    assert_eq!(site.tombstones(), 1);
    site.stop_ipamd();
    let after = (
        content(&store.join("book")),
        fs::read(store.join("witness")).unwrap(),
    );
    assert_eq!(after, before, "the store was touched");

    // The program that reads format 2 is this one, which calls it 1.
    set_format(&store.join("witness"), 1);
    site.start_ipamd();
    site.client().wait_state("10.20.1.101", "held");
    assert_eq!(site.attached(), ["10.20.1.100", "10.30.1.100"]);
    assert_eq!(site.tombstones(), 0);
}
