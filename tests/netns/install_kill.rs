//! SIGKILL of `berth-install` at random instants, while readers look at the folders as a runtime does: they never see
//! half a file, nothing where there was something, or another network's configuration first. The next run finishes.
//!
//! The seed is printed; `BERTH_SEED` repeats a run's choices. The plugin is a script of a megabyte, so that writing it
//! takes long enough to be killed in.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::installer::Folders;

use crate::dice::{Dice, say, seed};

/// Runs that are killed.
const KILLS: usize = 150;
/// Of these, at least so many must have been killed before they ended by themselves.
const MIDWAY: usize = 40;
/// Bytes of the plugin.
const PLUGIN_BYTES: usize = 1 << 20;

const FIRST: (&str, &str) = (
    "00-first.conflist",
    r#"{"name": "first", "plugins": [{"type": "one"}]}"#,
);
const SECOND: (&str, &str) = ("05-second.conf", r#"{"name": "second", "type": "two"}"#);
const LAST: (&str, &str) = (
    "87-last.conflist",
    r#"{"name": "last", "plugins": [{"type": "three"}]}"#,
);

/// A plugin that can always serve, of this version.
fn plugin(version: u8) -> Vec<u8> {
    let mut text = format!(
        "#!/bin/sh\n# {version}\n[ \"$CNI_COMMAND\" = VERSION ] && \
         echo '{{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"1.0.0\",\"1.1.0\"]}}'\nexit 0\n"
    )
    .into_bytes();
    text.resize(PLUGIN_BYTES, b'0' + version);
    text
}

fn conflist(version: u8) -> String {
    format!(
        r#"{{"cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"], "name": "bank", "plugins": [{{"type": "berth",
           "ipamd": "/nowhere/{version}.sock", "networks": [{{"name": "external", "uplink": "eth0"}}]}}]}}"#
    )
}

/// What readers saw that nobody may see.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    // Counts installations and removals; odd while the plugin must be there. A reader that finds it absent is right only
    // where the count was odd, and the same, before and after its look.
    installations: AtomicUsize,
    looks: AtomicUsize,
    wrong: std::sync::Mutex<Vec<String>>,
}

impl Seen {
    fn is_installed(&self) -> bool {
        self.installations.load(Ordering::SeqCst) % 2 == 1
    }

    fn set_installed(&self, installed: bool) {
        if self.is_installed() != installed {
            self.installations.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }
}

/// The first configuration as a runtime chooses it; a file that went after it was listed makes it look again, as the
/// runtime does for the change that it is told of.
fn first(folder: &Path) -> (String, Vec<u8>) {
    loop {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| {
                [".conf", ".conflist", ".json"]
                    .iter()
                    .any(|end| name.ends_with(end))
            })
            .collect();
        names.sort();
        let Some(name) = names.into_iter().next() else {
            return (String::new(), Vec::new());
        };
        match fs::read(folder.join(&name)) {
            Ok(bytes) => return (name, bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

fn watch_configurations(folder: &Path, seen: &Seen) {
    let ours = [conflist(1), conflist(2)];
    while !seen.over.load(Ordering::Relaxed) {
        let (name, bytes) = first(folder);
        let theirs = name == FIRST.0 && bytes == FIRST.1.as_bytes();
        let whole = name == "10-berth.conflist" && ours.iter().any(|text| text.as_bytes() == bytes);
        if !theirs && !whole {
            seen.wrong(format!("first is {name:?} with {} bytes", bytes.len()));
        }
        seen.looks.fetch_add(1, Ordering::Relaxed);
        std::thread::yield_now();
    }
}

fn watch_plugin(folder: &Path, seen: &Seen) {
    let whole = [plugin(1), plugin(2)];
    while !seen.over.load(Ordering::Relaxed) {
        let before = seen.installations.load(Ordering::SeqCst);
        for name in ["berth", "berth-ipam"] {
            match fs::read(folder.join(name)) {
                Ok(bytes) if whole.contains(&bytes) => {}
                Ok(bytes) => seen.wrong(format!("{name} has {} bytes", bytes.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if before % 2 == 1 && seen.installations.load(Ordering::SeqCst) == before {
                        seen.wrong(format!("{name} is absent"));
                    }
                }
                Err(error) => seen.wrong(format!("{name}: {error}")),
            }
        }
        seen.looks.fetch_add(1, Ordering::Relaxed);
        std::thread::yield_now();
    }
}

/// What is to be installed next.
fn set_source(folders: &Folders, version: u8) {
    let source = folders.root.join("source");
    // Never a file that is executed right now.
    let next = source.join("next");
    fs::write(&next, plugin(version)).unwrap();
    fs::set_permissions(&next, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&next, source.join("berth")).unwrap();
    fs::write(source.join("10-berth.conflist"), conflist(version)).unwrap();
}

fn quiet(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs to the end; how long that took.
#[track_caller]
fn finish(folders: &Folders, args: &[&str]) -> Duration {
    let started = Instant::now();
    let output = folders.command(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:#?}");
    started.elapsed()
}

/// Runs and kills at this instant; whether it was killed before it ended.
fn kill(folders: &Folders, args: &[&str], after: Duration) -> bool {
    let started = Instant::now();
    let mut child = quiet(folders.command(args)).spawn().unwrap();
    while started.elapsed() < after && matches!(child.try_wait(), Ok(None)) {
        std::thread::yield_now();
    }
    let midway = matches!(child.try_wait(), Ok(None));
    let _ = child.kill();
    child.wait().unwrap();
    midway
}

const INSTALL: [&[&str]; 2] = [&["plugin"], &["conflist", "--once", "--replace"]];
const UNINSTALL: &[&str] = &["uninstall"];

fn kill_at_random(folders: &Folders, seen: &Seen, dice: &mut Dice) -> usize {
    let mut midway = 0;
    // How long each takes when it is left alone: kills are spread over that.
    let mut lengths = [Duration::ZERO; 3];
    for round in 0..KILLS / 3 {
        let version = 1 + u8::try_from(round % 2).unwrap();
        set_source(folders, version);
        for (length, args) in lengths.iter_mut().zip(INSTALL) {
            if round % 8 == 0 || !seen.is_installed() {
                *length = finish(folders, args);
                seen.set_installed(true);
            }
            midway += usize::from(kill(folders, args, part(dice, *length)));
        }
        // Uninstall now and then, killed, then finished by whichever comes next.
        if dice.below(3) == 0 {
            for args in INSTALL {
                finish(folders, args);
            }
            seen.set_installed(false);
            if lengths[2].is_zero() {
                lengths[2] = finish(folders, UNINSTALL);
                assert_original(folders);
                continue;
            }
            midway += usize::from(kill(folders, UNINSTALL, part(dice, lengths[2])));
            if dice.below(2) == 0 {
                finish(folders, UNINSTALL);
                assert_original(folders);
            }
        }
    }
    midway
}

/// A random part of a duration, and sometimes a little more.
fn part(dice: &mut Dice, whole: Duration) -> Duration {
    whole * u32::try_from(dice.below(110)).unwrap() / 100
}

#[track_caller]
fn assert_original(folders: &Folders) {
    let mut names: Vec<String> = fs::read_dir(folders.root.join("conf"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [FIRST.0, SECOND.0, LAST.0]);
    for (name, text) in [FIRST, SECOND, LAST] {
        assert_eq!(
            fs::read_to_string(folders.root.join("conf").join(name)).unwrap(),
            text
        );
    }
    assert_eq!(fs::read_dir(folders.root.join("bin")).unwrap().count(), 0);
    assert!(!folders.root.join("data").exists());
}

fn begin(root: &Path) -> Folders {
    let folders = Folders::new(root);
    for (name, text) in [FIRST, SECOND, LAST] {
        fs::write(folders.root.join("conf").join(name), text).unwrap();
    }
    set_source(&folders, 1);
    folders
}

/// Ends the readers, also where an assertion of the test fails.
struct Over<'a>(&'a Seen);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn killed_at_any_instant_no_reader_sees_half_a_file_or_a_foreign_configuration_first() {
    let root = tempfile::tempdir().unwrap();
    let folders = begin(root.path());
    let mut dice = Dice::new(seed("installer killed at random"));
    let seen = Seen::default();
    let midway = std::thread::scope(|scope| {
        let (conf, bin) = (folders.root.join("conf"), folders.root.join("bin"));
        let watched = &seen;
        scope.spawn(move || watch_configurations(&conf, watched));
        scope.spawn(move || watch_plugin(&bin, watched));
        let _over = Over(&seen);
        kill_at_random(&folders, &seen, &mut dice)
    });
    let looks = seen.looks.load(Ordering::Relaxed);
    say(&format!("{midway} runs killed midway, {looks} looks"));
    assert_eq!(*seen.wrong.lock().unwrap(), Vec::<String>::new());
    assert!(
        midway >= MIDWAY,
        "only {midway} runs were killed before they ended"
    );

    // Whatever the last kill left, the next runs finish it, either way.
    for args in INSTALL {
        finish(&folders, args);
    }
    let names: Vec<_> = fs::read_dir(folders.root.join("conf")).unwrap().collect();
    assert_eq!(names.len(), 2);
    assert_eq!(fs::read_dir(folders.root.join("bin")).unwrap().count(), 2);
    finish(&folders, UNINSTALL);
    assert_original(&folders);
}

#[test]
fn runs_at_once_end_well_and_leave_whole_files() {
    let root = tempfile::tempdir().unwrap();
    let folders = begin(root.path());
    finish(&folders, INSTALL[0]);
    for round in 0..5 {
        set_source(&folders, 1 + round % 2);
        let runs: Vec<_> = INSTALL
            .into_iter()
            .cycle()
            .take(6)
            .map(|args| {
                (
                    args,
                    folders
                        .command(args)
                        .stderr(Stdio::piped())
                        .spawn()
                        .unwrap(),
                )
            })
            .collect();
        for (args, run) in runs {
            let output = run.wait_with_output().unwrap();
            assert!(output.status.success(), "{args:?}: {output:#?}");
        }
        let (name, bytes) = first(&folders.root.join("conf"));
        assert_eq!(name, "10-berth.conflist");
        assert_eq!(bytes, conflist(1 + round % 2).into_bytes());
        assert!(fs::read(folders.root.join("bin/berth-ipam")).unwrap() == plugin(1 + round % 2));
    }
    finish(&folders, UNINSTALL);
    assert_original(&folders);
}
