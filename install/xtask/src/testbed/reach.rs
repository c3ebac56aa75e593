//! How commands reach a cluster that another process holds: its socket, its namespaces, its files.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tests_testbed::{
    CONTAINERD_VARIABLE, Doors, IMAGE_VARIABLE, KUBERNETES_VARIABLE, Pending, World,
};

use super::{
    Berth, Shape,
    holder::{Answer, Order, socket},
    holder_log,
    programs::Programs,
};
use crate::{
    build::{BIN_DIR_VARIABLE, this_program},
    step::{say, show},
};

/// Removing everything takes seconds; a holder that does not answer by then is killed.
const DOWN_BUDGET: Duration = Duration::from_secs(60);

/// The longest action boots a node and waits until it is Ready.
const ACTION_BUDGET: Duration = Duration::from_secs(10 * 60);

/// Whether a holder listens.
pub(super) fn answers(name: &str) -> bool {
    UnixStream::connect(socket(name)).is_ok()
}

/// The right to make a cluster of a name: one command at a time has it, until it ends in whatever way.
#[derive(Debug)]
pub(super) struct Turn {
    // Held, never read: closing it gives the right back.
    _lock: fs::File,
}

/// Waits while another command makes a cluster of this name: until that one is complete, or has given up.
pub(super) fn settle(name: &str) -> Result<Turn> {
    let path = holder_log(name)?;
    let lock = fs::File::options().create(true).append(true).open(&path);
    let lock = lock.with_context(|| format!("open {}", path.display()))?;
    let wait = || {
        say(&format!(
            "another command makes {name} just now; waiting for its end"
        ));
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            wait();
            lock.lock()
                .with_context(|| format!("lock {}", path.display()))?;
        }
        Err(fs::TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("lock {}", path.display()));
        }
    }
    let turn = Turn { _lock: lock };
    // The other command may have died before the holder that it started.
    if answers(name) || holders(name)?.is_empty() {
        return Ok(turn);
    }
    wait();
    let what = format!("the end of the making of {name} (`down` ends it)");
    tests_testbed::wait_patiently(&what, ACTION_BUDGET, || {
        let holders = holders(name).map_err(|error| Pending::because(format!("{error:#}")))?;
        if answers(name) || holders.is_empty() {
            return Ok(());
        }
        Err(Pending::because(format!("process {holders:?} makes it")))
    })?;
    Ok(turn)
}

/// How to reach a cluster that is up.
fn doors(name: &str) -> Result<Doors> {
    ensure!(
        answers(name),
        "there is no testbed {name} (`cargo xtask testbed up --name {name}` makes one)"
    );
    Doors::of(name)
}

/// Gives the holder an order and waits for what it says.
pub(super) fn ask(name: &str, order: &Order) -> Result<String> {
    ask_within(name, order, ACTION_BUDGET)
}

fn ask_within(name: &str, order: &Order, budget: Duration) -> Result<String> {
    let path = socket(name);
    let mut stream = UnixStream::connect(&path).with_context(|| {
        format!("there is no testbed {name} (`cargo xtask testbed up --name {name}` makes one)")
    })?;
    stream
        .set_read_timeout(Some(budget))
        .context("set a time limit")?;
    let line = serde_json::to_string(order).context("write an order")?;
    writeln!(stream, "{line}").context("send an order")?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .with_context(|| format!("no answer within {budget:?}"))?;
    match serde_json::from_str(&answer).context("the holder ended before it answered")? {
        Answer::Done(text) | Answer::Progress(text) => Ok(text),
        Answer::Failed(text) => bail!("{text}"),
    }
}

/// Starts a holder and shows its progress until the cluster is complete.
pub(super) fn start(
    name: &str,
    shape: &Shape,
    programs: &Programs,
    berth: Option<&Berth>,
) -> Result<()> {
    let log = holder_log(name)?;
    let errors = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let xtask = this_program()?;
    // A session of its own: neither Ctrl-C nor the end of a terminal is for the holder.
    let mut command = Command::new("setsid");
    command
        .arg(xtask)
        .args(["testbed", "--name", name, "hold"])
        .args(shape.words())
        .env(KUBERNETES_VARIABLE, &programs.kubernetes)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors);
    if let Some(containerd) = &programs.containerd {
        command.env(CONTAINERD_VARIABLE, containerd);
    }
    if let Some(berth) = berth {
        command
            .env(BIN_DIR_VARIABLE, &berth.bin_dir)
            .env(IMAGE_VARIABLE, &berth.image);
    }
    let mut holder = command.spawn().context("start the holder")?;
    let stdout = holder.stdout.take().context("no pipe to the holder")?;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("read the holder's progress")?;
        match serde_json::from_str(&line).with_context(|| format!("the holder said {line:?}"))? {
            Answer::Progress(text) => say(&text),
            Answer::Done(_) => return Ok(()),
            Answer::Failed(text) => bail!("{text}\n(its own log: {})", log.display()),
        }
    }
    let said = fs::read_to_string(&log).unwrap_or_default();
    bail!(
        "the holder ended before the cluster was complete: {}",
        said.trim_end()
    )
}

/// Removes the cluster: by its holder, or what a dead one left.
pub(super) fn remove(name: &str) -> Result<()> {
    let started = Instant::now();
    if answers(name) {
        say(&format!("taking {name} down"));
        if let Err(error) = ask_within(name, &Order::Down, DOWN_BUDGET) {
            say(&format!("the holder did not manage: {error:#}"));
        }
    }
    for holder in holders(name)? {
        if started.elapsed() < DOWN_BUDGET && wait_gone(holder, Duration::from_secs(5)) {
            continue;
        }
        say(&format!("ending the holder {holder}"));
        let pid = nix::unistd::Pid::from_raw(holder);
        // Gone already is what was wanted.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        wait_gone(holder, DOWN_BUDGET);
    }
    World::remove_leftovers(name)?;
    let _ = fs::remove_file(holder_log(name)?);
    say(&format!("nothing is left of {name}"));
    Ok(())
}

/// Runs kubectl in the control plane's network, with this process's files and folder.
pub(super) fn kubectl(name: &str, args: &[String]) -> Result<()> {
    let doors = doors(name)?;
    let mut path: Vec<_> = doors
        .kubectl
        .parent()
        .map(Path::to_owned)
        .into_iter()
        .collect();
    // Where `kubectl-berth` is.
    path.extend(this_program()?.parent().map(Path::to_owned));
    let old = std::env::var_os("PATH").unwrap_or_default();
    path.extend(std::env::split_paths(&old));
    let error = Command::new("nsenter")
        .args(["-t", &doors.control_plane.to_string(), "-n", "--"])
        .arg(&doors.kubectl)
        .args(args)
        .env("KUBECONFIG", &doors.kubeconfig)
        .env(
            "KUBECACHEDIR",
            doors.kubeconfig.with_file_name("kubectl-cache"),
        )
        .env("PATH", std::env::join_paths(path)?)
        .exec();
    Err(error).context("start nsenter (package util-linux)")
}

/// Steps into a machine, or runs one command there.
pub(super) fn shell(name: &str, machine: &str, command: &[String]) -> Result<()> {
    let doors = doors(name)?;
    let pid = if machine == "control-plane" {
        doors.control_plane
    } else {
        let pid = doors.nodes.get(machine).copied();
        pid.with_context(|| format!("{name} has no node {machine} that is on"))?
    };
    let words = if command.is_empty() {
        vec!["sh".to_owned()]
    } else {
        command.to_owned()
    };
    let error = Command::new("nsenter")
        .args(["-t", &pid.to_string(), "-n", "-m", "-p", "-u", "--"])
        .args(words)
        .env("PS1", format!("{name}/{machine}# "))
        .exec();
    Err(error).context("start nsenter (package util-linux)")
}

/// Lists logs, or shows one: of a process of the testbed, or of a container of Berth's.
pub(super) fn logs(name: &str, machine: Option<&str>, daemon: Option<&str>) -> Result<()> {
    let world = World::dir_of(name);
    let Some(machine) = machine else {
        list(&world, "log")?;
        for node in doors(name)?.nodes.values() {
            show_all(&container_logs(*node, ""));
        }
        return Ok(());
    };
    let folder = world.join(machine).join("log");
    let node = doors(name)?.nodes.get(machine).copied();
    let contained = |container| node.map_or_else(Vec::new, |pid| container_logs(pid, container));
    let Some(daemon) = daemon else {
        list(&folder, "")?;
        show_all(&contained(""));
        return Ok(());
    };
    let file = folder.join(format!("{daemon}.log"));
    let of_container = contained(daemon);
    let files = if file.exists() || of_container.is_empty() {
        vec![file]
    } else {
        of_container
    };
    for file in files {
        let text = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        show(&String::from_utf8_lossy(&text));
    }
    Ok(())
}

fn show_all(files: &[PathBuf]) {
    for file in files {
        show(&file.display().to_string());
    }
}

/// The logs of Berth's containers of this name on a node, by age: `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/RESTART.log`.
fn container_logs(node: i32, container: &str) -> Vec<PathBuf> {
    let folders = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let pods = PathBuf::from(format!("/proc/{node}/root/var/log/pods"));
    let named = |path: &Path, begin: &str| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(begin)
    };
    let mut files: Vec<PathBuf> = folders(&pods)
        .iter()
        .filter(|pod| named(pod, "berth-system_"))
        .flat_map(|pod| folders(pod))
        .filter(|it| container.is_empty() || it.file_name().is_some_and(|name| name == container))
        .flat_map(|container| folders(&container))
        .collect();
    files.sort_by_cached_key(|file| {
        let changed = fs::metadata(file).and_then(|it| it.modified());
        (changed.ok(), file.clone())
    });
    files
}

/// Lists the files of a folder, or those of a folder inside each of its folders.
fn list(folder: &Path, inner: &str) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if inner.is_empty() {
            show(&path.display().to_string());
        } else if path.join(inner).is_dir() {
            list(&path.join(inner), "")?;
        }
    }
    Ok(())
}

/// The processes that hold, or are making, the cluster of this name.
fn holders(name: &str) -> Result<Vec<i32>> {
    let wanted = ["testbed", "--name", name, "hold"];
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("list /proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|it| it.to_str()?.parse().ok()) else {
            continue;
        };
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let is_holder = words
            .windows(wanted.len())
            .any(|window| window.iter().zip(wanted).all(|(a, b)| *a == b.as_bytes()));
        if is_holder && words.first().is_some_and(|it| it.ends_with(b"xtask")) {
            found.push(pid);
        }
    }
    Ok(found)
}

fn wait_gone(pid: i32, budget: Duration) -> bool {
    let gone = tests_testbed::wait_until("the holder's end", budget, || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A zombie of a parent that does not look holds nothing any more.
        if stat.is_empty() || stat.contains(") Z ") {
            return Ok(());
        }
        Err(Pending::because("it lives"))
    });
    gone.is_ok()
}
