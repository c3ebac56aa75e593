//! What happens to the store: lost, cut, flipped, zeroed, or its disk full. Noticed every time, rebuilt, no address twice.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proto_ipam::v1;
use serde_json::json;
use tests::plugin::{Answer, Call};
use tests::site::{Ask, Setup, Site};
use tests::wait::{holds, wait_until};

/// Where the store is on the node's disk.
fn store(site: &Site) -> PathBuf {
    site.node().disk("/var/lib/berth/ipamd")
}

fn status(site: &Site) -> Answer {
    let config = site.config("1.1.0", &site.networks());
    site.run("berth", &Call::bare("STATUS").config(&config))
}

/// sled's log, wherever below the store it is.
fn log_file(store: &Path) -> PathBuf {
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == "db" {
                return entry.path();
            }
        }
    }
    panic!("no db below {}", store.display());
}

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

/// Length without the zeroes at the end: sled's segments are longer than what is in them.
fn used_bytes(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at as u64 + 1)
}

fn flip(path: &Path, at: u64, count: u64) {
    let file = open(path);
    for offset in at..at + count {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[!byte[0]], offset).unwrap();
    }
}

fn zero(path: &Path, from: u64, to: u64) {
    let zeroes = vec![0; usize::try_from(to - from).unwrap()];
    open(path).write_all_at(&zeroes, from).unwrap();
}

/// Three sticky Pods with both interfaces, one of which has gone and is held.
fn inhabited(test: &str) -> Site {
    let site = Site::build(test, Setup::default().pool_line("quarantine = \"3s\""));
    for number in 0..3 {
        let pod = site.pod(&format!("p{number}"));
        site.add(&Ask::new(&format!("db-{number}"), &pod)).result();
    }
    let pod = site.pod("gone");
    let gone = Ask::new("db-9", &pod);
    site.add(&gone).result();
    site.del(&gone).silence();
    site
}

const LIVE: [&str; 6] = [
    "10.20.1.100",
    "10.20.1.101",
    "10.20.1.102",
    "10.30.1.100",
    "10.30.1.101",
    "10.30.1.102",
];

/// Starts the daemon on what is left and checks promises 1 and 3: live Pods keep their addresses in the book, nobody
/// else gets them, and their own DEL and ADD work.
fn lives_on(site: &Site) {
    site.start_ipamd();
    assert_eq!(site.attached(), LIVE);
    let live: Vec<_> = site
        .list()
        .into_iter()
        .filter(|binding| binding.state == "attached")
        .collect();
    for binding in &live {
        assert!(binding.identity.starts_with("prod/db-"), "{binding:?}");
    }
    // What nobody knows of rests as long as a quarantine: it may have been somebody's a moment ago.
    let pod = site.pod("new");
    wait_until("a new Pod starts", || {
        let answer = site.add(&Ask::new("db-7", &pod));
        holds(answer.succeeded(), || answer.stdout.clone())
    });
    let fresh = pod.addresses("eth0")[0].replace("/24", "");
    assert!(!LIVE.contains(&fresh.as_str()), "{fresh} was given twice");

    let again = site.pod("again");
    site.add(&Ask::new("db-1", &again).container_id("second-sandbox"))
        .result();
    assert_eq!(
        again.addresses("eth0"),
        ["10.20.1.101/24"],
        "same identity, same address"
    );
}

/// What is done to the store of a daemon that was killed.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 9] = [
    ("folder-deleted", |store| fs::remove_dir_all(store).unwrap()),
    ("db-deleted", |store| {
        fs::remove_file(log_file(store)).unwrap();
    }),
    ("db-empty", |store| {
        open(&log_file(store)).set_len(0).unwrap();
    }),
    ("cut-two-thirds", |store| {
        let path = log_file(store);
        open(&path).set_len(used_bytes(&path) * 2 / 3).unwrap();
    }),
    ("flip-begin", |store| flip(&log_file(store), 100, 1)),
    ("flip-middle", |store| {
        let path = log_file(store);
        flip(&path, used_bytes(&path) / 2, 20);
    }),
    ("flip-end", |store| {
        let path = log_file(store);
        flip(&path, used_bytes(&path) - 40, 5);
    }),
    ("zeroed-tail", |store| {
        let path = log_file(store);
        let used = used_bytes(&path);
        zero(&path, used.saturating_sub(700), used);
    }),
    ("all-noise", |store| {
        let path = log_file(store);
        let noise: Vec<u8> = (0..used_bytes(&path))
            .map(|n| (n * 31 % 251) as u8)
            .collect();
        open(&path).write_all_at(&noise, 0).unwrap();
    }),
];

/// What the daemon says of a loss when somebody asks: only the store knew what nobody has.
const LOST: &str = "holds and reservations are lost";

/// Fails unless the start after this place of the log rebuilt the book.
#[track_caller]
fn was_rebuilt(site: &Site, since: usize) {
    let said = site.ipamd_log()[since..].to_owned();
    assert!(said.contains("rebuilt=true"), "not rebuilt: {said}");
}

/// Fails unless whoever asks the daemon is told of the damage and of what is lost.
#[track_caller]
fn loss_is_listed(site: &Site, noticed: &str) {
    let found = site.client().fsck().unwrap().findings.join("\n");
    assert!(found.contains(noticed), "{found}");
    assert!(found.contains(LOST), "{found}");
}

fn is_noticed_and_rebuilt(name: &str) {
    let (_, damage) = DAMAGES
        .into_iter()
        .find(|(other, _)| *other == name)
        .unwrap();
    let site = inhabited(&format!("sto-{name}"));
    site.kill_ipamd();
    let before = site.ipamd_log().len();
    damage(&store(&site));
    lives_on(&site);
    was_rebuilt(&site, before);
    // With its folder the store took the witness of its damage along; the ports alone show that there was one.
    let noticed = if name == "folder-deleted" {
        "the store was gone"
    } else {
        "the store was damaged"
    };
    loss_is_listed(&site, noticed);
}

macro_rules! damages {
    ($($test:ident = $name:literal;)*) => {
        $(#[test] fn $test() { is_noticed_and_rebuilt($name); })*
    };
}

damages! {
    deleted_store_is_rebuilt_from_what_is_there = "folder-deleted";
    deleted_log_is_rebuilt = "db-deleted";
    emptied_log_is_rebuilt = "db-empty";
    log_cut_to_two_thirds_is_noticed_and_rebuilt = "cut-two-thirds";
    flipped_bit_at_the_beginning_is_noticed_and_rebuilt = "flip-begin";
    flipped_bytes_in_the_middle_are_noticed_and_rebuilt = "flip-middle";
    flipped_bytes_near_the_end_are_noticed_and_rebuilt = "flip-end";
    zeroed_tail_is_noticed_and_rebuilt = "zeroed-tail";
    noise_instead_of_a_log_is_noticed_and_rebuilt = "all-noise";
}

#[test]
fn binding_that_could_not_be_rebuilt_is_listed() {
    let site = inhabited("sto-listed");
    site.kill_ipamd();
    let path = log_file(&store(&site));
    open(&path).set_len(used_bytes(&path) * 2 / 3).unwrap();
    site.start_ipamd();
    // db-9 had no Pod: nothing but the store knew that it holds its addresses.
    loss_is_listed(&site, "the store was damaged");
    // The damaged store was kept for whoever looks into it.
    let aside = fs::read_dir(store(&site))
        .unwrap()
        .chain(fs::read_dir(store(&site).parent().unwrap()).unwrap())
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("damaged"));
    assert!(aside, "no damaged-* below {}", store(&site).display());
}

#[test]
fn log_cut_at_eleven_places_of_its_last_kilobyte_is_noticed_and_rebuilt() {
    let site = inhabited("sto-cuts");
    site.stop_ipamd();
    let path = log_file(&store(&site));
    site.node()
        .run(&["cp", "-a", "/var/lib/berth/ipamd", "/var/lib/berth/whole"])
        .unwrap();
    let used = used_bytes(&path);
    let step = 97;
    for cut in 1..12 {
        fs::remove_dir_all(store(&site)).unwrap();
        site.node()
            .run(&["cp", "-a", "/var/lib/berth/whole", "/var/lib/berth/ipamd"])
            .unwrap();
        open(&path).set_len(used - cut * step).unwrap();
        let before = site.ipamd_log().len();
        site.start_ipamd();
        assert_eq!(site.attached(), LIVE, "cut by {} bytes", cut * step);
        was_rebuilt(&site, before);
        loss_is_listed(&site, "the store was damaged");
        site.kill_ipamd();
    }
}

#[test]
fn empty_store_of_a_node_without_pods_is_simply_new() {
    let site = Site::serving("sto-new");
    assert_eq!(site.list(), []);
    let log = site.ipamd_log().to_lowercase();
    assert!(log.contains("rebuilt=false"), "{log}");
    assert!(!log.contains("damage"), "{log}");
}

#[test]
fn reboot_without_store_frees_nothing_wrongly_and_serves() {
    let mut site = inhabited("sto-reboot");
    fs::remove_dir_all(store(&site)).unwrap();
    site.reboot();
    site.start_ipamd();
    let pod = site.pod("p0");
    site.add(&Ask::new("db-0", &pod).container_id("after"))
        .result();
}

#[test]
fn full_disk_refuses_new_pods_serves_del_and_recovers_by_itself() {
    let site = Site::make("sto-full", Setup::default());
    site.node()
        .script("mkdir -p /var/lib/berth; mount -t tmpfs -o size=12m tmpfs /var/lib/berth")
        .unwrap();
    site.start_ipamd();
    let pods = [site.pod("p0"), site.pod("p1"), site.pod("p2")];
    let ask = |n: usize| {
        Ask::new(&format!("web-{n}x"), &pods[n]).key("timeouts", json!({"allocateSeconds": 2}))
    };
    site.add(&ask(0)).result();
    site.add(&ask(1)).result();
    // dd ends with "no space left".
    site.node()
        .exec(&["dd", "if=/dev/zero", "of=/var/lib/berth/filler", "bs=4k"])
        .unwrap();
    wait_until("new Pods are refused", || {
        let answer = site.add(&ask(2));
        if answer.succeeded() {
            site.del(&ask(2)).silence();
            return Err("an ADD was answered".to_owned());
        }
        Ok(())
    });
    assert_eq!(pods[2].interfaces(), ["lo"]);
    site.del(&ask(0)).silence();
    assert_eq!(site.attached(), ["10.20.1.101", "10.30.1.101"]);

    // Killed and started on the full disk: still no new Pods, still DEL.
    site.kill_ipamd();
    site.spawn_ipamd();
    site.wait_phase(v1::Phase::ReadOnly);
    let fault = status(&site).fault();
    assert_eq!(fault.code, 50, "{fault:?}");
    assert!(fault.text().contains("disk"), "{fault:?}");
    site.del(&ask(1)).silence();
    site.assert_no_attachment();
    assert_eq!(status(&site).fault().code, 50, "releases make no room");

    // Nobody asks for anything meanwhile: the daemon finds out by itself.
    let pid = site.ipamd_pid();
    site.node().run(&["rm", "/var/lib/berth/filler"]).unwrap();
    site.wait_phase(v1::Phase::Serving);
    status(&site).silence();
    site.add(&ask(2)).result();
    assert_eq!(site.ipamd_pid(), pid);
    assert_eq!(site.attached().len(), 2);
}
