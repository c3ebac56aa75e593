//! `uninstall`: gives the node back. Previous configurations return before ours goes, the uplinks are given back by
//! `berth` itself, then its files go.
//!
//! Killed anywhere, the next run finishes it: our configuration stays in the state folder until the uplinks are back.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use tracing::{info, warn};

use crate::args::{LeaveArgs, Paths};
use crate::arrange::apply;
use crate::conflist::Conflist;
use crate::lock;
use crate::place;
use crate::plugin;
use crate::ports;
use crate::run;
use crate::state;
use crate::stop::Stop;

/// A restore waits for the node's lock, and may have several uplinks to give back.
const RESTORE_LIMIT: Duration = Duration::from_secs(180);
/// End of the notes that a DEL leaves for an ipamd that is away.
const NOTE: &str = ".tombstone";
/// Below the data folder: what uplinks were before they were taken over.
const SNAPSHOTS: &str = "uplinks";
const SOCKET: &str = "ipamd.sock";

/// Why an uninstall does not begin.
#[derive(Debug, thiserror::Error)]
enum UninstallError {
    /// Pods would lose their network.
    #[error(
        "{} Pods on this node use Berth: {}; drain the node (or delete them), then run this again. --force goes on without: \
         they lose their network",
        .pods.len(),
        .pods.join(", ")
    )]
    InUse { pods: Vec<String> },
    /// The daemon would go on with a book that nobody else knows.
    #[error(
        "berth-ipamd runs on this node (it answers on {socket:?}): delete the DaemonSet berth-ipamd, or stop the service, then run this again"
    )]
    Daemon { socket: PathBuf },
}

/// Gives the node back.
pub(crate) fn run(paths: &Paths, args: &LeaveArgs) -> anyhow::Result<()> {
    refuse(paths, args)?;
    let _keeper = lock::alone(&paths.state_dir)?;
    let _lock = lock::change(&paths.state_dir)?;
    // An ADD needs ipamd, which is away: no Pod begins while this runs.
    save(paths)?;
    for step in apply::uninstall(paths)? {
        info!(step, "changed");
    }
    let given_back = restore(paths, args)?;
    plugin::remove(paths)?;
    info!(folder = %paths.bin_dir.display(), "plugin removed");
    empty(&args.run_dir, &|path| !args.purge && holds_notes(path))?;
    forget(paths, args, given_back)?;
    if given_back {
        info!("this node is as it was before Berth");
    }
    Ok(())
}

fn refuse(paths: &Paths, args: &LeaveArgs) -> anyhow::Result<()> {
    let mut sockets = vec![args.run_dir.join(SOCKET)];
    let ours = fs::read(paths.place()).ok();
    let ours = ours.and_then(|bytes| Conflist::parse(&bytes).ok()?.ours);
    sockets.extend(ours.map(|conf| conf.daemon.socket));
    for socket in sockets {
        if UnixStream::connect(&socket).is_ok() {
            bail!(UninstallError::Daemon { socket });
        }
    }
    let links = Path::new(ports::LINKS);
    ports::ensure_shown(links, &ports::links()?)?;
    let pods = ports::pods(links)?;
    if !pods.is_empty() {
        if !args.force {
            bail!(UninstallError::InUse { pods });
        }
        warn!(pods = pods.join(", "), "going on although Pods use Berth");
    }
    Ok(())
}

/// Keeps our configuration where a later run finds it, until the uplinks are back.
fn save(paths: &Paths) -> anyhow::Result<()> {
    let state = state::State::load(&paths.state_dir)?;
    let name = state.placed.as_deref().unwrap_or(&paths.name);
    let bytes = match fs::read(paths.conf_dir.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        bytes => bytes.with_context(|| format!("read {name}"))?,
    };
    // Another plugin's file of that name is not ours to act by.
    if Conflist::parse(&bytes).is_ok_and(|list| list.ours.is_some()) {
        place::bytes(&state::leaving(&paths.state_dir), &bytes, 0o600)?;
    }
    Ok(())
}

/// Runs `berth uplink restore` by the configuration that was in place, else by the source. Whether all was given back.
fn restore(paths: &Paths, args: &LeaveArgs) -> anyhow::Result<bool> {
    let saved = state::leaving(&paths.state_dir);
    let found = [saved.clone(), paths.conflist.clone()]
        .into_iter()
        .find_map(|path| Some((Conflist::parse(&fs::read(&path).ok()?).ok()?, path)));
    let Some((list, config)) = found else {
        warn!(
            "no configuration of Berth was found, so uplinks are left as they are; if one is still in a bridge: \
             berth uplink restore --config FILE"
        );
        return Ok(true);
    };
    if list.ours.is_none() {
        return Ok(true);
    }
    let installed = paths.plugin();
    let program = if installed.is_file() {
        installed
    } else {
        paths.source(plugin::PLUGIN)?
    };
    let mut command = Command::new(&program);
    command
        .args(["uplink", "restore", "--config"])
        .arg(&config)
        .arg("--snapshots")
        .arg(args.data_dir.join(SNAPSHOTS));
    // A runtime's variable would make a CNI call of it.
    command.env_remove("CNI_COMMAND");
    let ended = run::run(command, b"", RESTORE_LIMIT, &Stop::never())?;
    for line in ended.stdout.lines() {
        info!(uplink = line, "restored");
    }
    if ended.status.success() {
        return Ok(true);
    }
    let said = format!("{} {}", ended.stdout.trim(), ended.stderr.trim());
    if args.force {
        warn!(
            error = said.trim(),
            config = %saved.display(),
            "uplinks were not given back; when the Pods are gone, run this again"
        );
        return Ok(false);
    }
    bail!(
        "the uplinks were not given back: {}; the runtime's configuration is as it was before Berth, the plugin is still \
         there: see to the cause, then run this again",
        said.trim()
    );
}

/// Removes what was remembered, and with `--purge` everything that Berth kept.
fn forget(paths: &Paths, args: &LeaveArgs, given_back: bool) -> anyhow::Result<()> {
    let leaving = state::leaving(&paths.state_dir);
    if !given_back {
        return empty(&paths.state_dir, &|path| path == leaving);
    }
    empty(&paths.state_dir, &|_| false)?;
    if args.purge {
        empty(&args.data_dir, &|_| false)?;
        return Ok(());
    }
    if args.data_dir.exists() {
        // Goes only where nothing is in it.
        let _ = fs::remove_dir(&args.data_dir);
    }
    if args.data_dir.exists() {
        info!(
            folder = %args.data_dir.display(),
            "the address book stays, so that Pods get their addresses again after a new installation; --purge removes it"
        );
    }
    Ok(())
}

/// Removes a folder with all that is in it. One that is a mount point of a container, or in use, stays, empty.
fn empty(folder: &Path, spare: &dyn Fn(&Path) -> bool) -> anyhow::Result<()> {
    let failed = || format!("remove what is in {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(failed)?,
    };
    for entry in entries {
        let entry = entry.with_context(failed)?;
        let path = entry.path();
        if spare(&path) {
            info!(path = %path.display(), "stays, for a later run");
            continue;
        }
        let removed = if entry.file_type().with_context(failed)?.is_dir() {
            empty(&path, spare)
        } else {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
        };
        removed?;
    }
    match fs::remove_dir(folder) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::ResourceBusy
                    // A container's mount point, where its root is read-only.
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::NotFound
            ) =>
        {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn holds_notes(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().ends_with(NOTE))
    })
}
