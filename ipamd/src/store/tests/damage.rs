use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::*;

/// A store of some segments' worth of history, and where each commit's bytes ended in sled's file.
struct Sample {
    temp: tempfile::TempDir,
    db: Vec<u8>,
    ends: Vec<usize>,
    content: Content,
}

fn sample(commits: u32) -> Sample {
    let temp = tempfile::tempdir().unwrap();
    let mut ends = Vec::new();
    let mut expected = Content::new();
    {
        let (_folder, mut store, ..) = open(temp.path()).unwrap();
        let mut before = Vec::new();
        for commit in 0..commits {
            let key = format!("b{:02}", commit % 40);
            let payload = format!("{commit:0300}");
            let writes = if commit % 7 == 6 {
                expected.remove(key.as_bytes());
                Writes::from([gone(&key)])
            } else {
                expected.insert(key.clone().into(), payload.clone().into());
                Writes::from([put(&key, &payload)])
            };
            store.commit(&writes, &clock(u64::from(commit))).unwrap();
            let after = fs::read(temp.path().join("book/db")).unwrap();
            let end = (0..after.len())
                .rev()
                .find(|&at| before.get(at) != Some(&after[at]))
                .map_or(0, |at| at + 1);
            ends.push(end);
            before = after;
        }
    }
    let db = fs::read(temp.path().join("book/db")).unwrap();
    Sample {
        temp,
        db,
        ends,
        content: expected,
    }
}

impl Sample {
    /// Opens a copy whose `db` was changed; answers whether the damage was noticed.
    fn try_damaged(&self, case: &str, damage: impl FnOnce(&mut Vec<u8>)) -> bool {
        let temp = tempfile::tempdir().unwrap();
        copy(self.temp.path(), temp.path());
        let mut db = self.db.clone();
        damage(&mut db);
        fs::write(temp.path().join("book/db"), db).unwrap();
        match content(temp.path()) {
            Ok(found) => {
                assert_eq!(found, self.content, "{case}: opened with other content");
                false
            }
            Err(OpenStoreError::Damaged { .. }) => true,
            Err(other) => panic!("{case}: {other:?}"),
        }
    }
}

#[test]
fn truncation_at_every_commit_of_the_last_part_is_noticed() {
    let sample = sample(120);
    let whole = *sample.ends.last().unwrap();
    let mut noticed = 0;
    for &end in sample.ends.iter().rev().skip(1).take(80) {
        for cut in [end, end + 1, end.saturating_sub(1)] {
            let noticed_here =
                sample.try_damaged(&format!("cut to {cut} of {whole}"), |db| db.truncate(cut));
            assert!(noticed_here, "cut to {cut} of {whole} was not noticed");
            noticed += 1;
        }
    }
    assert_eq!(noticed, 240);
    for cut in [0, 1, whole / 3, whole * 2 / 3, whole - 1] {
        assert!(
            sample.try_damaged(&format!("cut to {cut}"), |db| db.truncate(cut)),
            "cut to {cut} of {whole} was not noticed"
        );
    }
}

#[test]
fn zeroed_tails_are_noticed() {
    let sample = sample(120);
    let whole = *sample.ends.last().unwrap();
    for tail in [1, 2, 8, 64, 100, 511, 512, 4096, 30_000, whole - 1] {
        assert!(
            sample.try_damaged(&format!("last {tail} zeroed"), |db| {
                db[whole.saturating_sub(tail)..].fill(0);
            }),
            "last {tail} bytes zeroed, not noticed"
        );
    }
}

#[test]
fn flipped_bits_are_noticed_or_touched_nothing_that_counts() {
    let sample = sample(120);
    let whole = *sample.ends.last().unwrap();
    let (mut noticed, mut tried) = (0, 0);
    // A prime step, so that every kind of byte of sled's messages is met.
    for at in (0..whole).step_by((whole / 400) | 1) {
        tried += 1;
        let bit = 1 << (at % 8);
        noticed += u32::from(
            sample.try_damaged(&format!("bit {} of byte {at}", at % 8), |db| db[at] ^= bit),
        );
    }
    // The last commit's own bytes must be noticed, each of them.
    let last = sample.ends[sample.ends.len() - 2]..whole;
    for at in last.step_by(7) {
        assert!(
            sample.try_damaged(&format!("byte {at}"), |db| db[at] ^= 0x10),
            "byte {at} of the last commit was not noticed"
        );
    }
    assert!(noticed * 2 > tried, "{noticed} of {tried} noticed");
}

#[test]
fn twenty_flipped_bytes_in_the_middle_are_noticed_though_sled_panics() {
    let sample = sample(120);
    let middle = sample.db.len() / 2;
    assert!(sample.try_damaged("middle", |db| {
        for byte in &mut db[middle..middle + 20] {
            *byte ^= 0xff;
        }
    }));
}

#[test]
fn missing_parts_are_noticed() {
    let sample = sample(30);
    let table: [(&str, bool); 5] = [
        ("book/db", true),
        ("book", true),
        ("witness", true),
        // sled makes these again; nothing of the content is in them.
        ("book/conf", false),
        ("book/blobs", false),
    ];
    for (name, noticed) in table {
        let temp = tempfile::tempdir().unwrap();
        copy(sample.temp.path(), temp.path());
        let path = temp.path().join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        match content(temp.path()) {
            Ok(found) => assert!(!noticed && found == sample.content, "{name} not noticed"),
            Err(error) => assert!(
                noticed && matches!(error, OpenStoreError::Damaged { .. }),
                "{name}: {error}"
            ),
        }
    }
}

#[test]
fn snapshots_of_sled_may_go() {
    let sample = sample(30);
    let temp = tempfile::tempdir().unwrap();
    copy(sample.temp.path(), temp.path());
    for path in files(&temp.path().join("book")).into_keys() {
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("snap")
        {
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(content(temp.path()).unwrap(), sample.content);
}

#[test]
fn an_older_copy_of_the_store_is_noticed() {
    let temp = tempfile::tempdir().unwrap();
    let older = tempfile::tempdir().unwrap();
    for commit in 0..3 {
        if commit == 2 {
            copy(&temp.path().join("book"), older.path());
        }
        let (_folder, mut store, ..) = open(temp.path()).unwrap();
        store
            .commit(&Writes::from([put("ba", &commit.to_string())]), &clock(1))
            .unwrap();
    }
    fs::remove_dir_all(temp.path().join("book")).unwrap();
    copy(older.path(), &temp.path().join("book"));
    let refused = content(temp.path()).unwrap_err();
    assert!(
        refused
            .to_string()
            .ends_with("it ends with commit 2, its witness tells of 3"),
        "{refused}"
    );
}

#[test]
fn a_damaged_witness_is_noticed_and_half_a_witness_is_enough() {
    let sample = sample(30);
    let slot_of_last = 29 + 1;
    for (flipped, noticed) in [(vec![0, 1], true), (vec![(slot_of_last + 1) % 2], false)] {
        let temp = tempfile::tempdir().unwrap();
        copy(sample.temp.path(), temp.path());
        let file = OpenOptions::new()
            .write(true)
            .open(temp.path().join("witness"))
            .unwrap();
        for slot in &flipped {
            file.write_all_at(b"????", slot * 4096 + 20).unwrap();
        }
        let opened = content(temp.path());
        assert_eq!(opened.is_err(), noticed, "slots {flipped:?}: {opened:?}");
    }
}
