//! Power cuts: what was synced is on the disk; of what was written since, any sectors may be, in any order.

use super::*;

const SECTOR_BYTES: usize = 512;

/// The store's two files as they are on the disk after a commit.
#[derive(Clone)]
struct Image {
    db: Vec<u8>,
    witness: Vec<u8>,
    content: Content,
}

/// A reproducible stream of numbers (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

impl Image {
    fn take(path: &Path, content: &Content) -> Self {
        Self {
            db: fs::read(path.join("book/db")).unwrap(),
            witness: fs::read(path.join("witness")).unwrap(),
            content: content.clone(),
        }
    }

    fn changed_sectors(&self, next: &Self) -> Vec<usize> {
        (0..next.db.len().div_ceil(SECTOR_BYTES))
            .filter(|sector| sector_of(&self.db, *sector) != sector_of(&next.db, *sector))
            .collect()
    }
}

fn sector_of(bytes: &[u8], sector: usize) -> Option<&[u8]> {
    let start = sector * SECTOR_BYTES;
    bytes.get(start..bytes.len().min(start + SECTOR_BYTES))
}

/// The file after a cut between two images: some of the sectors that were written, and the old or a new length.
fn torn(before: &Image, after: &Image, dice: &mut Dice) -> Vec<u8> {
    let changed = before.changed_sectors(after);
    let mut db = before.db.clone();
    let longer = dice.below(2) == 0;
    if longer {
        db.resize(after.db.len().max(before.db.len()), 0);
    }
    let keep = dice.below(4);
    for (index, sector) in changed.iter().enumerate() {
        let kept = match keep {
            // Nothing, a prefix, or a random choice.
            0 => false,
            1 => index < changed.len() / 2,
            _ => dice.below(2) == 0,
        };
        let start = sector * SECTOR_BYTES;
        let Some(new) = sector_of(&after.db, *sector).filter(|_| kept) else {
            continue;
        };
        if let Some(old) = db.get_mut(start..start + new.len()) {
            old.copy_from_slice(new);
        }
    }
    db
}

fn restore(template: &Path, db: &[u8], witness: &[u8]) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    copy(template, temp.path());
    fs::write(temp.path().join("book/db"), db).unwrap();
    fs::write(temp.path().join("witness"), witness).unwrap();
    temp
}

/// Commits, far more than segments of sled's, so that segments are used again.
const COMMITS: u64 = 400;

/// Every so many commits the power is cut, and at the first [`OVER_USED`] that wrote over a part of sled's file that was
/// used before.
const PERIOD: u64 = 16;
const OVER_USED: u32 = 60;

#[derive(Debug, Default)]
struct Tally {
    cuts: u32,
    unanswered_lost: u32,
    torn_apart: u32,
    over_used_parts: u32,
}

/// Cuts the power between two commits: twice before the store was synced, once before the witness was.
fn cut(template: &Path, (before, after): (&Image, &Image), dice: &mut Dice, tally: &mut Tally) {
    for case in 0..3 {
        let (db, witness) = if case == 2 {
            let torn_at = dice.below(64);
            let mut witness = before.witness.clone();
            for slot in [0, 4096] {
                let new = &after.witness[slot..slot + torn_at];
                witness[slot..slot + torn_at].copy_from_slice(new);
            }
            (after.db.clone(), witness)
        } else {
            (torn(before, after, dice), before.witness.clone())
        };
        let disk = restore(template, &db, &witness);
        let at = format!("cut {}, case {case}", tally.cuts);
        let found = content(disk.path()).unwrap_or_else(|error| panic!("{at}: {error}"));
        if case == 2 {
            assert!(found == after.content, "{at}: a synced commit is lost");
        }
        assert!(
            found == before.content || found == after.content,
            "{at}: an answered commit is lost"
        );
        tally.cuts += 1;
        tally.unanswered_lost += u32::from(found != after.content);
        tally.torn_apart += u32::from(db != before.db && db != after.db);
    }
}

#[test]
fn no_power_cut_loses_an_answered_commit_or_is_taken_for_damage() {
    let mut dice = Dice(7);
    let temp = tempfile::tempdir().unwrap();
    let template = tempfile::tempdir().unwrap();
    let mut expected = Content::new();
    let mut tally = Tally::default();
    let (_folder, mut store, ..) = open(temp.path()).unwrap();
    copy(temp.path(), template.path());
    let mut before = Image::take(temp.path(), &expected);
    for commit in 0..COMMITS {
        let mut writes = Writes::new();
        for _ in 0..=dice.below(6) {
            let key = format!("b{:02}", dice.below(60));
            let width = 100 + dice.below(3000);
            let payload = format!("{commit:0width$}");
            if dice.below(5) == 0 {
                expected.remove(key.as_bytes());
                writes.insert(key.into(), None);
            } else {
                expected.insert(key.clone().into(), payload.clone().into());
                writes.insert(key.into(), Some(payload.into()));
            }
        }
        store.commit(&writes, &clock(commit)).unwrap();
        let after = Image::take(temp.path(), &expected);
        let over_used = before
            .changed_sectors(&after)
            .iter()
            .any(|sector| (sector + 1) * SECTOR_BYTES < before.db.len());
        tally.over_used_parts += u32::from(over_used);
        if (over_used && tally.over_used_parts <= OVER_USED) || commit % PERIOD == 0 {
            cut(template.path(), (&before, &after), &mut dice, &mut tally);
        }
        before = after;
    }
    assert!(tally.cuts >= 200, "{tally:?}");
    // The cuts were worth it.
    assert!(
        tally.unanswered_lost >= 40 && tally.torn_apart >= 40,
        "{tally:?}"
    );
    assert!(tally.over_used_parts >= 20, "{tally:?}");
}

#[test]
fn no_power_cut_while_opening_loses_anything() {
    let mut dice = Dice(11);
    let temp = tempfile::tempdir().unwrap();
    let mut expected = Content::new();
    for round in 0..10_u64 {
        let closed = files(temp.path());
        let (_folder, mut store, _, found) = open(temp.path()).unwrap();
        assert!(found == expected);
        let opened = files(temp.path());
        for cut in 0..4 {
            // Each file as it was or as it is: sled syncs a snapshot before it gets its name. The log sector by sector.
            let disk = tempfile::tempdir().unwrap();
            let names = closed.keys().chain(opened.keys());
            for path in names.filter(|path| !path.ends_with("lock")) {
                let (old, new) = (closed.get(path), opened.get(path));
                let kept = match (old, new, dice.below(3)) {
                    (Some(old), Some(new), _) if path.ends_with("book/db") => {
                        let image = |db: &Vec<u8>| Image {
                            db: db.clone(),
                            witness: Vec::new(),
                            content: Content::new(),
                        };
                        Some(torn(&image(old), &image(new), &mut dice))
                    }
                    (old, _, 0) => old.cloned(),
                    (_, new, _) => new.cloned(),
                };
                let to = disk.path().join(path.strip_prefix(temp.path()).unwrap());
                if let Some(kept) = kept {
                    fs::create_dir_all(to.parent().unwrap()).unwrap();
                    fs::write(to, kept).unwrap();
                }
            }
            if round == 0 {
                // Nothing was ever committed: whatever is left, nothing is lost.
                continue;
            }
            let found = content(disk.path());
            let found = found.unwrap_or_else(|error| panic!("round {round}, cut {cut}: {error}"));
            assert!(found == expected, "round {round}, cut {cut}");
        }
        let key = format!("b{round}");
        let payload = "p".repeat(200);
        expected.insert(key.clone().into(), payload.clone().into());
        let writes = Writes::from([(key.into(), Some(payload.into()))]);
        store.commit(&writes, &clock(round)).unwrap();
    }
}
