use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use ipamd_core::Timestamp;

use super::folder::StoreFolder;
use super::migrate::{Bare, FORMATS, Formats, MigrateError};
use super::*;
use crate::clock::{ClockBase, Reading};

mod damage;
mod power;

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

fn clock(second: u64) -> ClockBase {
    let at = Timestamp::from_unix_milliseconds(second * 1000);
    ClockBase {
        book: at,
        reading: Reading {
            boot_id: "one".to_owned(),
            boottime: Duration::from_secs(second),
            wall: at,
        },
    }
}

fn collect(entries: &mut dyn Iterator<Item = Entry>) -> Content {
    entries
        .map(|entry| (entry.key.to_vec(), entry.payload.to_vec()))
        .collect()
}

fn open(path: &Path) -> Result<(StoreFolder, Store, Origin, Content), OpenStoreError> {
    open_as(path, FORMATS)
}

fn open_as(
    path: &Path,
    formats: Formats,
) -> Result<(StoreFolder, Store, Origin, Content), OpenStoreError> {
    let folder = StoreFolder::lock(path).unwrap();
    let opened = Store::open(&folder, formats, collect)?;
    Ok((folder, opened.store, opened.origin, opened.collected))
}

/// What a store holds that is opened once and closed again.
fn content(path: &Path) -> Result<Content, OpenStoreError> {
    open(path).map(|(_, _, _, content)| content)
}

fn put(key: &str, payload: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.as_bytes().to_vec(), Some(payload.as_bytes().to_vec()))
}

fn gone(key: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.as_bytes().to_vec(), None)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Every file below `path` with its bytes.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn commits_are_there_after_reopening_and_count_up() {
    let temp = tempfile::tempdir().unwrap();
    {
        let (_folder, mut store, origin, content) = open(temp.path()).unwrap();
        assert_eq!((origin, content.len()), (Origin::New, 0));
        store
            .commit(&Writes::from([put("ba", "1"), put("bb", "2")]), &clock(1))
            .unwrap();
        let writes = Writes::from([put("ba", "3"), gone("bb"), gone("bc"), put("bd", "4")]);
        assert_eq!(store.commit(&writes, &clock(2)).unwrap().commit, 2);
        assert_eq!(store.meta().records, 2);
    }
    let (_folder, store, origin, content) = open(temp.path()).unwrap();
    assert_eq!(origin, Origin::Existing);
    let expected = [("ba", "3"), ("bd", "4")]
        .map(|(key, payload)| (key.as_bytes().to_vec(), payload.as_bytes().to_vec()));
    assert_eq!(content, Content::from(expected));
    assert_eq!(store.meta().clock, Some(clock(2)));
    assert_eq!(store.recount().unwrap(), Vec::<String>::new());
}

#[test]
fn a_store_that_was_never_committed_to_is_new_each_time() {
    let temp = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let (_folder, _store, origin, content) = open(temp.path()).unwrap();
        assert_eq!((origin, content.len()), (Origin::New, 0));
    }
}

#[test]
fn a_new_store_beside_one_set_aside_takes_the_place_of_a_lost_one_until_it_is_written() {
    let temp = tempfile::tempdir().unwrap();
    {
        let (folder, mut store, ..) = open(temp.path()).unwrap();
        store
            .commit(&Writes::from([put("ba", "1")]), &clock(1))
            .unwrap();
        drop(store);
        folder.set_aside("stamp").unwrap();
    }
    for _ in 0..2 {
        let (_folder, _store, origin, content) = open(temp.path()).unwrap();
        assert_eq!((origin, content.len()), (Origin::InPlaceOfLost, 0));
    }
    {
        let (_folder, mut store, ..) = open(temp.path()).unwrap();
        store.commit(&Writes::new(), &clock(2)).unwrap();
    }
    let (_folder, _store, origin, _) = open(temp.path()).unwrap();
    assert_eq!(origin, Origin::Existing);
}

#[test]
fn too_large_a_record_is_refused_and_spoils_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let (_folder, mut store, ..) = open(temp.path()).unwrap();
    let large = "x".repeat(PAYLOAD_LIMIT_BYTES + 1);
    let refused = store.commit(
        &Writes::from([put("ba", "1"), put("bb", &large)]),
        &clock(1),
    );
    assert!(matches!(refused, Err(CommitError::Large { .. })));
    store
        .commit(&Writes::from([put("ba", "1")]), &clock(1))
        .unwrap();
    assert_eq!((store.meta().commit, store.meta().records), (1, 1));
}

#[test]
fn ranges_are_read_in_order_until_told_to_stop() {
    let temp = tempfile::tempdir().unwrap();
    let (_folder, mut store, ..) = open(temp.path()).unwrap();
    let writes = (0..100).map(|n| put(&format!("a{n:03}"), &n.to_string()));
    store.commit(&writes.collect(), &clock(1)).unwrap();
    let mut seen = Vec::new();
    store
        .range(b"a010", b"a020", |_, payload| {
            seen.push(String::from_utf8(payload.to_vec()).unwrap());
            seen.len() < 3
        })
        .unwrap();
    assert_eq!(seen, ["10", "11", "12"]);
}

#[test]
fn fifty_thousand_records_in_one_commit_are_all_there() {
    let temp = tempfile::tempdir().unwrap();
    let payload = "p".repeat(300);
    {
        let (_folder, mut store, ..) = open(temp.path()).unwrap();
        let writes = (0..50_000).map(|n| put(&format!("b{n}"), &payload));
        store.commit(&writes.collect(), &clock(1)).unwrap();
    }
    assert_eq!(content(temp.path()).unwrap().len(), 50_000);
}

fn renamed((mut key, payload): Bare) -> Result<Option<Bare>, MigrateError> {
    if payload == b"drop" {
        return Ok(None);
    }
    if payload == b"bad" {
        return Err(MigrateError {
            key: key.escape_ascii().to_string(),
            format: 1,
            problem: "bad".to_owned(),
        });
    }
    // To a key that another old record had.
    if let Some(last) = key.last_mut() {
        *last += 1;
    }
    let mut payload = payload;
    payload.push(b'!');
    Ok(Some((key, payload)))
}

const NEXT: Formats = Formats {
    current: 2,
    oldest: 1,
    steps: &[renamed],
};

#[test]
fn an_older_store_is_lifted_whole_and_an_older_program_then_leaves_it_alone() {
    let temp = tempfile::tempdir().unwrap();
    {
        let (_folder, mut store, ..) = open(temp.path()).unwrap();
        let writes = Writes::from([put("ba", "1"), put("bb", "2"), put("bd", "drop")]);
        store.commit(&writes, &clock(7)).unwrap();
    }
    let expected = [("bb", "1!"), ("bc", "2!")]
        .map(|(key, payload)| (key.as_bytes().to_vec(), payload.as_bytes().to_vec()));
    for round in 0..2 {
        let (_folder, store, origin, content) = open_as(temp.path(), NEXT).unwrap();
        assert_eq!(content, Content::from(expected.clone()), "round {round}");
        assert_eq!(origin, Origin::Existing);
        assert_eq!((store.meta().format, store.meta().records), (2, 2));
        assert_eq!(store.meta().clock, Some(clock(7)));
    }
    let before = files(&temp.path().join("book"));
    let refused = content(temp.path()).unwrap_err();
    assert!(matches!(
        refused,
        OpenStoreError::Newer {
            format: 2,
            supported: 1,
            ..
        }
    ));
    assert_eq!(files(&temp.path().join("book")), before, "it was touched");
}

#[test]
fn a_lift_that_was_cut_off_before_the_witness_knew_is_not_done_twice() {
    let temp = tempfile::tempdir().unwrap();
    {
        let (_folder, mut store, ..) = open(temp.path()).unwrap();
        store
            .commit(&Writes::from([put("ba", "1")]), &clock(7))
            .unwrap();
    }
    let witness = fs::read(temp.path().join("witness")).unwrap();
    drop(open_as(temp.path(), NEXT).unwrap());
    fs::write(temp.path().join("witness"), witness).unwrap();
    let (_folder, _store, _, content) = open_as(temp.path(), NEXT).unwrap();
    assert_eq!(content, Content::from([(b"bb".to_vec(), b"1!".to_vec())]));
}

#[test]
fn a_record_that_cannot_be_lifted_is_damage_and_nothing_is_changed() {
    let temp = tempfile::tempdir().unwrap();
    {
        let (_folder, mut store, ..) = open(temp.path()).unwrap();
        store
            .commit(&Writes::from([put("ba", "1"), put("bb", "bad")]), &clock(7))
            .unwrap();
    }
    let refused = open_as(temp.path(), NEXT).map(|_| ()).unwrap_err();
    assert!(
        matches!(refused, OpenStoreError::Damaged { .. }),
        "{refused}"
    );
    assert_eq!(content(temp.path()).unwrap().len(), 2);
}

/// A store that version 1 wrote, kept as it was: every later version must open it.
#[test]
fn the_store_of_format_1_still_opens() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/fixture/format-1");
    let temp = tempfile::tempdir().unwrap();
    copy(&fixture, temp.path());
    let (_folder, store, origin, content) = open(temp.path()).unwrap();
    assert_eq!(origin, Origin::Existing);
    assert_eq!(store.meta().commit, 3);
    assert_eq!(content.len(), 3);
    let (_, payload) = content.first_key_value().unwrap();
    let line: ipamd_core::AuditEntry = serde_json::from_slice(payload).unwrap();
    assert_eq!(line.identity.as_str(), "prod/db-0");
}
