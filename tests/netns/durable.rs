//! Promise 2 as the kernel sees it: an ADD is answered after its record and the witness were synced, in that order.
//!
//! A kill of the process shows nothing of a power cut (the page cache outlives it), so the daemon's system calls are
//! looked at instead, with `strace`.

use std::fs;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::site::{Ask, Site};
use tests::wait::{holds, wait_until};

/// What the daemon did that matters here, in the order in which it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    StoreSynced,
    WitnessWritten,
    WitnessSynced,
    Answered,
}

/// The events among strace's lines; a call that other threads interrupted counts where it ended.
fn events(trace: &str, identity: &str) -> Vec<Event> {
    let mut unfinished: Vec<(&str, &str)> = Vec::new();
    let mut events = Vec::new();
    for line in trace.lines() {
        let (thread, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start();
        let call = if let Some(call) = rest.strip_suffix("<unfinished ...>") {
            unfinished.push((thread, call));
            continue;
        } else if rest.starts_with("<... ") {
            match unfinished.iter().position(|(of, _)| *of == thread) {
                Some(at) => unfinished.remove(at).1,
                None => continue,
            }
        } else {
            rest
        };
        events.extend(event(call, identity));
    }
    events
}

fn event(call: &str, identity: &str) -> Option<Event> {
    let on = |file: &str| call.contains(&format!("/{file}>"));
    if call.starts_with("fdatasync(") || call.starts_with("fsync(") {
        if on("book/db") {
            return Some(Event::StoreSynced);
        }
        return on("witness").then_some(Event::WitnessSynced);
    }
    if call.starts_with("pwrite64(") {
        return on("witness").then_some(Event::WitnessWritten);
    }
    // The answer names the identity; nothing else that the daemon writes to a socket does.
    let socket = call.contains("<socket:") || call.contains("<UNIX");
    (socket && call.contains(identity)).then_some(Event::Answered)
}

#[test]
fn add_is_answered_after_store_and_witness_are_synced() {
    let site = Site::serving("durable-order");
    let pod = site.pod("p");
    let trace = site.world().dir().join("ipamd.strace");
    let mut strace = Command::new("strace")
        .args(["-f", "-y", "-s", "4096", "-e"])
        .arg("trace=fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg")
        .arg("-o")
        .arg(&trace)
        .args(["-p", &site.ipamd_pid().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is needed");
    let status = format!("/proc/{}/status", site.ipamd_pid());
    wait_until("strace watches every thread of the daemon", || {
        let text = fs::read_to_string(&status).map_err(|error| error.to_string())?;
        holds(!text.contains("TracerPid:\t0\n"), || text)
    });

    site.add(&Ask::new("web-0", &pod)).result();

    let pid = Pid::from_raw(i32::try_from(strace.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    strace.wait().unwrap();
    let text = fs::read_to_string(&trace).unwrap();
    let seen = events(&text, "prod/web-0");
    let answered = seen
        .iter()
        .position(|event| *event == Event::Answered)
        .unwrap_or_else(|| panic!("no answer among {seen:?} of\n{text}"));
    let before = &seen[..answered];
    let first = |wanted| {
        before
            .iter()
            .position(|event| *event == wanted)
            .unwrap_or_else(|| panic!("no {wanted:?} before the answer: {seen:?}"))
    };
    let (store, written, synced) = (
        first(Event::StoreSynced),
        first(Event::WitnessWritten),
        first(Event::WitnessSynced),
    );
    assert!(store < written && written < synced, "{seen:?}");
}

#[test]
fn interrupted_calls_count_where_they_end() {
    let trace = "7 fdatasync(12</s/book/db> <unfinished ...>\n\
                 8 pwrite64(3</s/witness>, \"x\", 64, 0) = 64\n\
                 7 <... fdatasync resumed>) = 0\n\
                 8 fdatasync(3</s/witness>) = 0\n\
                 7 writev(15<UNIX-STREAM:[1->2]>, [{iov_base=\"prod/a\"}], 1) = 6";
    let seen = events(trace, "prod/a");
    assert_eq!(
        seen,
        [
            Event::WitnessWritten,
            Event::StoreSynced,
            Event::WitnessSynced,
            Event::Answered
        ]
    );
}
