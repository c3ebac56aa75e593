//! The recovery guard's helper and the kernel's own cgroups, of the version that the machine has: a Pod's folders as kubelet makes them, with
//! a process that computes all day.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tests_testbed::{Node, Pending, Process, World, binary, wait_until};

use crate::machine::PATIENCE;

const UID: &str = "0f3a2b1c-4d5e-4f60-8a7b-9c0d1e2f3a4b";

/// A container that has half a processor, which is more than its Pod is to get: the kernel takes such only from below.
const CONTAINER_QUOTA_US: u64 = 50_000;

/// What the Pod is to get of each period of 100 ms.
const LIMIT_US: u64 = 2_000;

const CGROUPS: &str = "/sys/fs/cgroup";

/// In the node.
const SOCKET: &str = "/run/berth/guard/guard.sock";

fn is_v2() -> bool {
    Path::new(CGROUPS).join("cgroup.controllers").exists()
}

/// A Pod's cgroup with a container's below.
struct Pod {
    root: String,
    folder: PathBuf,
    _busy: Process,
}

impl Pod {
    fn start(node: &Node) -> Self {
        let root = node.make_cgroups().unwrap();
        let below = format!("{root}/kubepods/burstable/pod{UID}");
        let container = format!("{below}/app");
        let controllers = if is_v2() {
            ["."; 2]
        } else {
            ["cpu", "cpuacct"]
        };
        for controller in controllers {
            fs::create_dir_all(format!("{CGROUPS}/{controller}{container}")).unwrap();
        }
        let folder = PathBuf::from(format!("{CGROUPS}/{}{below}", controllers[0]));
        if is_v2() {
            // From the machine's own down to the Pod's: each gives the controller on.
            let mut above: Vec<_> = folder.ancestors().take(4).collect();
            above.reverse();
            for above in above {
                fs::write(above.join("cgroup.subtree_control"), "+cpu").unwrap();
            }
            let max = format!("{CONTAINER_QUOTA_US} 100000");
            fs::write(folder.join("app/cpu.max"), max).unwrap();
        } else {
            let quota = CONTAINER_QUOTA_US.to_string();
            fs::write(folder.join("app/cpu.cfs_quota_us"), quota).unwrap();
            fs::write(folder.join("cpu.shares"), "512").unwrap();
        }
        let script = format!(
            "for it in {}; do echo 0 > {CGROUPS}/$it{container}/cgroup.procs; done; while :; do :; done",
            controllers.join(" ")
        );
        let busy = node.spawn("busy", &["sh", "-c", &script]).unwrap();
        Self {
            root,
            folder,
            _busy: busy,
        }
    }

    /// All that a limit may change.
    fn settings(&self) -> Vec<String> {
        let files: &[&str] = if is_v2() {
            &["cpu.max", "app/cpu.max"]
        } else {
            &["cpu.cfs_quota_us", "app/cpu.cfs_quota_us", "cpu.shares"]
        };
        let read = |file: &&str| fs::read_to_string(self.folder.join(file)).unwrap();
        let all = files.iter().map(read);
        all.map(|text| text.trim().to_owned()).collect()
    }

    /// A figure of `cpu.stat`.
    fn stat(&self, cgroup: &str, name: &str) -> u64 {
        let text = fs::read_to_string(self.folder.join(cgroup).join("cpu.stat")).unwrap();
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let (_, value) = lines.find(|(key, _)| *key == name).unwrap();
        value.parse().unwrap()
    }

    /// What its container has used, in microseconds.
    fn used_us(&self) -> u64 {
        if is_v2() {
            return self.stat("app", "usage_usec");
        }
        let folder = self.folder.to_str().unwrap();
        let folder = folder.replacen("/cpu/", "/cpuacct/", 1);
        let text = fs::read_to_string(format!("{folder}/app/cpuacct.usage")).unwrap();
        text.trim().parse::<u64>().unwrap() / 1000
    }

    /// What the container uses in a period of its own, over some of them, once that is as wanted.
    fn wait_for_use(&self, what: &str, wanted: impl Fn(u64) -> bool) {
        let look = || (self.stat("app", "nr_periods"), self.used_us());
        let mut first = look();
        wait_until(what, PATIENCE, || {
            let now = look();
            let periods = now.0 - first.0;
            if periods < 10 {
                return Err(Pending(format!("{periods} periods")));
            }
            let each = (now.1 - first.1) / periods;
            first = now;
            if wanted(each) {
                Ok(())
            } else {
                Err(Pending(format!("{each} us in a period")))
            }
        })
        .unwrap();
    }
}

/// Starts the guard for this Pod, and waits until it listens.
fn start(node: &Node, pod: &Pod) -> Process {
    let program = binary("berth-agent").unwrap();
    let words = [
        program.to_str().unwrap(),
        "--role=guard",
        "--node=n1",
        "--guard-socket",
        SOCKET,
        "--guard-cgroup-root",
        &pod.root,
    ];
    let guard = node.spawn("guard", &words).unwrap();
    wait_until("the guard listens", PATIENCE, || {
        UnixStream::connect(node.path(SOCKET)).map_err(Pending::because)
    })
    .unwrap();
    guard
}

/// What the guard says to a line.
fn ask(socket: &Path, line: &str) -> String {
    let mut stream = BufReader::new(UnixStream::connect(socket).unwrap());
    stream.get_mut().write_all(line.as_bytes()).unwrap();
    stream.get_mut().write_all(b"\n").unwrap();
    let mut said = String::new();
    while !said.ends_with("ok\n") && !said.contains("error ") {
        assert_ne!(stream.read_line(&mut said).unwrap(), 0, "{said}");
    }
    said
}

#[test]
fn a_limited_pod_is_throttled_by_the_kernel_and_gets_everything_back_from_the_next_process() {
    let world = World::builder("ctrd_guard").racks(1).node("n1", "a");
    let world = world.build().unwrap();
    let node = world.node("n1");
    let pod = Pod::start(node);
    let before = pod.settings();
    let mut guard = start(node, &pod);
    let socket = node.path(SOCKET);
    assert_eq!(pod.stat("", "nr_throttled"), 0);

    let limit = format!("limit {UID} 20 kill storm: a test");
    assert_eq!(ask(&socket, &limit), "ok\n");
    // The kernel of version 1 takes no Pod's quota below a container's.
    let limited: &[&str] = if is_v2() {
        &["2000 100000", "50000 100000"]
    } else {
        &["2000", "2000", "2"]
    };
    assert_eq!(pod.settings(), limited);
    wait_until("the Pod is throttled", PATIENCE, || {
        match pod.stat("", "nr_throttled") + pod.stat("app", "nr_throttled") {
            0 => Err(Pending::because("never")),
            _ => Ok(()),
        }
    })
    .unwrap();
    // A period is overdrawn by a tick of the kernel, and the next ones pay; on a busy machine it had not got all of its half before.
    pod.wait_for_use("what is allowed", |used| used <= 2 * LIMIT_US);

    guard.kill().unwrap();
    let guard = start(node, &pod);
    let held = format!("held {UID} 20\nok\n");
    assert_eq!(ask(&socket, "list"), held);
    assert_eq!(
        ask(&socket, &format!("release {UID} the test is over")),
        "ok\n"
    );
    assert_eq!(pod.settings(), before);
    pod.wait_for_use("more than was allowed", |used| used > 2 * LIMIT_US);
    let log = guard.log();
    for words in [
        "why=\"kill storm: a test\"",
        "why=\"the test is over\"",
        UID,
    ] {
        assert!(log.contains(words), "{words} is not in\n{log}");
    }
}

#[test]
fn what_is_not_understood_or_not_root_changes_nothing() {
    let world = World::builder("ctrd_guard_refuses")
        .racks(1)
        .node("n1", "a");
    let world = world.build().unwrap();
    let node = world.node("n1");
    let pod = Pod::start(node);
    let before = pod.settings();
    let guard = start(node, &pod);
    let socket = node.path(SOCKET);
    let other = UID.replace('0', "1");
    let too_long = "x".repeat(600);
    for (line, because) in [
        ("stop", "is not known"),
        (&too_long, "512 bytes at most"),
        ("limit ../../../system.slice 10 x", "no UID of a Pod"),
        (&format!("limit {UID}/../.. 10 x"), "no UID of a Pod"),
        (&format!("limit {UID} 0 x"), "thousandths"),
        (&format!("limit {UID} 100"), "is not known"),
        (
            &format!("limit {other} 100 x"),
            "has no cgroup on this node",
        ),
        (&format!("release {UID} x"), "is not limited"),
    ] {
        let said = ask(&socket, line);
        assert!(
            said.starts_with("error ") && said.contains(because),
            "{line}: {said}"
        );
    }
    // Even where its folders and the file would let everybody in, the peer's user is asked of the kernel.
    let limit = format!("limit {UID} 100 x");
    let script = format!(
        "chmod 0755 /run/berth /run/berth/guard; chmod 0666 {SOCKET}; setpriv --reuid=65534 --regid=65534 --clear-groups perl -MIO::Socket::UNIX -e '\
         $SIG{{PIPE}} = \"IGNORE\"; my $s = IO::Socket::UNIX->new(Peer => \"{SOCKET}\") or die $!; print $s \"{limit}\\n\"; $s->flush; print \"said: \", <$s>'"
    );
    let said = node.exec(&["sh", "-c", &script]).unwrap();
    assert_eq!(said.stdout.trim(), "said:", "{said:?}");
    wait_until("the refusal is logged", PATIENCE, || {
        let log = guard.log();
        let is_there = log.contains("peer is neither root nor this daemon's user");
        is_there.then_some(()).ok_or(Pending(log))
    })
    .unwrap();
    assert_eq!(ask(&socket, "list"), "ok\n");
    assert_eq!(pod.settings(), before);
}
