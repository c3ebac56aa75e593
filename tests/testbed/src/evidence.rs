//! What is saved of a world when a test fails: enough to tell what happened without running it again.
//!
//! Best effort: a machine that does not answer is noted, not fatal.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// File name and command of each view of a machine.
const VIEWS: [(&str, &str); 9] = [
    ("links.json", "ip -json -details -statistics link"),
    ("addresses.json", "ip -json address"),
    (
        "routes.json",
        "ip -json -4 route show table all; ip -json -6 route show table all",
    ),
    ("rules.json", "ip -json rule"),
    ("neighbours.json", "ip -json neigh"),
    ("bridge.json", "bridge -json fdb; bridge -json link"),
    ("processes.txt", "ps -eo pid,ppid,stat,etime,args"),
    (
        "files.txt",
        "ls -la /run/berth /run/netns /var/lib/berth /var/lib/cni /etc/cni/net.d 2>&1 || true",
    ),
    (
        "pods.txt",
        "for n in $(ls /run/netns 2>/dev/null); do echo \"== $n\"; ip -netns $n -brief link; ip -netns $n -brief address; ip -netns $n route; ip -netns $n -6 route; ip -netns $n neigh; done",
    ),
];

/// Saves the state of machines below `folder`, replacing what an earlier failure left there.
pub(crate) fn save<'a>(folder: &Path, machines: impl Iterator<Item = &'a Namespace>) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    for machine in machines {
        let own = folder.join(machine.name());
        fs::create_dir_all(&own).with_context(|| format!("create {}", own.display()))?;
        write(&own.join("ENTER"), &machine.enter_command())?;
        for (file, command) in VIEWS {
            let text = match machine.exec(&["sh", "-c", command]) {
                Ok(output) => output.stdout + &output.stderr,
                Err(error) => format!("{error:#}"),
            };
            write(&own.join(file), &text)?;
        }
        copy_logs(&machine.log_dir(), &own)?;
    }
    Ok(())
}

fn copy_logs(from: &Path, to: &Path) -> Result<()> {
    let logs = fs::read_dir(from).with_context(|| format!("list {}", from.display()))?;
    for log in logs {
        let log = log.context("list the logs")?;
        fs::copy(log.path(), to.join(log.file_name()))
            .with_context(|| format!("copy {}", log.path().display()))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
