//! `cargo xtask testbed up`, as a person types it: twice at once, with a name that is taken, without root, and killed at any step.
//!
//! Without Berth, so that a cluster is there in seconds: what is shown here is the testbed's own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use nix::{sys::signal, sys::signal::Signal, unistd::Pid};
use serde_json::Value;
use tests_testbed::{Pending, World, wait_patiently};

use crate::turn::{self, Rank};

/// What `cargo xtask` runs; its tiers name it.
fn xtask() -> PathBuf {
    let named = std::env::var_os("BERTH_XTASK");
    named
        .expect("BERTH_XTASK is not set: run `cargo xtask test`")
        .into()
}

fn testbed(name: &str, words: &[&str]) -> Command {
    let mut command = Command::new(xtask());
    command.args(["testbed", "--name", name]).args(words);
    command
}

fn up(name: &str) -> Command {
    turn::take(Rank::Short);
    testbed(name, &["up", "--no-berth", "--nodes=1", "--racks=1"])
}

/// What of a name is there when a test ends, however it ends, goes with this.
struct Gone(&'static str);

impl Drop for Gone {
    fn drop(&mut self) {
        // Best effort where the test has failed; one that has not has looked itself.
        let _ = testbed(self.0, &["down"]).stdin(Stdio::null()).output();
    }
}

fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap()
}

/// What the world of this name has made outside of its namespaces, as its own list says.
fn listed_cgroups(name: &str) -> Vec<PathBuf> {
    let text = fs::read(World::dir_of(name).join("state.json")).unwrap_or_default();
    let state: Value = serde_json::from_slice(&text).unwrap_or_default();
    let cgroups = state["cgroups"].as_array().into_iter().flatten();
    cgroups.map(|it| it.as_str().unwrap().into()).collect()
}

/// Asserts that nothing of a world is on the machine: files, its lock, loop devices, processes.
fn assert_nothing_left(name: &str) {
    let dir = World::dir_of(name);
    assert!(!dir.exists(), "{}", dir.display());
    assert!(!dir.with_extension("lock").exists());
    let text = dir.to_str().unwrap();
    for device in fs::read_dir("/sys/block").unwrap().flatten() {
        let file = fs::read_to_string(device.path().join("loop/backing_file"));
        let file = file.unwrap_or_default();
        assert!(!file.contains(text), "{}: {file}", device.path().display());
    }
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let is_holder = line.contains(&format!("--name {name} hold"));
        assert!(!is_holder && !line.contains(text), "{line}");
    }
}

#[test]
fn second_up_of_a_name_waits_for_the_first_and_both_have_the_same_cluster() {
    let name = "cluster-twice";
    let _gone = Gone(name);
    let both = [0, 1].map(|_| {
        let mut command = up(name);
        let command = command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    });
    for one in both {
        let output = one.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("n1  rack a"), "{}", said(&output));
    }
    let third = run(up(name));
    assert!(said(&third).contains("is up already"), "{}", said(&third));
    let down = run(testbed(name, &["down"]));
    assert!(down.status.success(), "{}", said(&down));
    assert_nothing_left(name);
}

#[test]
fn up_of_a_name_that_another_world_has_names_it_and_leaves_it_alone() {
    let name = "cluster-taken";
    let world = World::builder(name)
        .racks(1)
        .node("n1", "a")
        .build()
        .unwrap();
    let output = run(up(name));
    assert!(!output.status.success());
    let words = "a world named cluster-taken is in use by another process";
    assert!(said(&output).contains(words), "{}", said(&output));
    world.node("n1").run(&["true"]).unwrap();
}

#[test]
fn up_without_root_says_so() {
    let mut command = Command::new("unshare");
    command.args(["--user", "--"]).arg(xtask()).args([
        "testbed",
        "--name",
        "cluster-user",
        "up",
        "--no-berth",
    ]);
    let output = run(command);
    assert!(!output.status.success());
    let words = "a testbed needs root";
    assert!(said(&output).contains(words), "{}", said(&output));
}

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// The command that a person typed.
    Up,
    /// The process to which the cluster belongs.
    Holder,
}

/// Starts `up` and kills one of its processes as soon as it has said a number of steps; whether it got so far.
fn killed_up(name: &str, steps: usize, victim: Victim) -> bool {
    let mut command = up(name);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut up = command.stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(up.stderr.take().unwrap());
    let mut lines = stderr.lines().map_while(Result::ok);
    let got_there = lines.by_ref().take(steps).count() == steps;
    let pid = match victim {
        Victim::Up => Some(i32::try_from(up.id()).unwrap()),
        Victim::Holder => holder_of(&up),
    };
    if let Some(pid) = pid {
        signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    // The rest is read, so that `up` does not die of a pipe that nobody reads.
    lines.for_each(drop);
    up.wait().unwrap();
    got_there
}

/// The holder that an `up` has started; `setsid` has become it.
fn holder_of(up: &Child) -> Option<i32> {
    let path = format!("/proc/{0}/task/{0}/children", up.id());
    let mut children = String::new();
    fs::File::open(Path::new(&path))
        .and_then(|mut file| file.read_to_string(&mut children))
        .ok()?;
    children.split_whitespace().next()?.parse().ok()
}

#[test]
fn up_that_is_killed_at_any_step_leaves_nothing_that_down_or_the_next_up_does_not_remove() {
    turn::take(Rank::Long);
    let name = "cluster-killed";
    let _gone = Gone(name);
    for victim in [Victim::Up, Victim::Holder] {
        // It says six steps; the first loop that gets further has seen them all.
        for steps in 1.. {
            let got_there = killed_up(name, steps, victim);
            let cgroups = listed_cgroups(name);
            if steps % 2 == 0 {
                let again = run(up(name));
                assert!(
                    again.status.success(),
                    "{victim:?} at {steps}: {}",
                    said(&again)
                );
            }
            let down = run(testbed(name, &["down"]));
            assert!(
                down.status.success(),
                "{victim:?} at {steps}: {}",
                said(&down)
            );
            assert_nothing_left(name);
            for cgroup in cgroups {
                assert!(
                    !cgroup.exists(),
                    "{victim:?} at {steps}: {}",
                    cgroup.display()
                );
            }
            if !got_there {
                assert!(steps > 5, "it said {steps} steps only");
                break;
            }
        }
    }
}

#[test]
fn cluster_dies_with_its_holder_and_the_next_up_makes_a_new_one() {
    let name = "cluster-held";
    let _gone = Gone(name);
    let first = run(up(name));
    assert!(first.status.success(), "{}", said(&first));
    let holder = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .find_map(|process| {
            let line = fs::read(process.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let is_ours = line.contains(&format!("--name {name} hold"));
            is_ours.then(|| process.file_name().to_str()?.parse::<i32>().ok())?
        });
    signal::kill(Pid::from_raw(holder.unwrap()), Signal::SIGKILL).unwrap();
    wait_patiently(
        "the cluster's end",
        std::time::Duration::from_secs(60),
        || {
            let status = run(testbed(name, &["status"]));
            if said(&status).contains("there is no testbed cluster-held") {
                return Ok(());
            }
            Err(Pending::because(said(&status)))
        },
    )
    .unwrap();
    let second = run(up(name));
    assert!(second.status.success(), "{}", said(&second));
    let down = run(testbed(name, &["down"]));
    assert!(down.status.success(), "{}", said(&down));
    assert_nothing_left(name);
}
