//! The node's agent and the machine: real faults of a real node, each reported within its time and taken back when it is over.
//!
//! What may fail is made for it, so that the node itself lives on: file systems of a few megabytes, a limit of process numbers in the
//! node's own namespace, lines in its own kernel log. One fault is not real, the number of open files: that limit is the whole
//! machine's.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use tests_testbed::{Cluster, Node, Pending, wait_patiently};

use crate::site::{berth_pod, own};
use crate::turn::{self, Rank};

/// Three scans, 30 s apart, half a minute to the next report, and a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(300);

/// How long a line of the kernel's log counts here; as shipped, 5 minutes at least.
const SPAN: &str = "75s";

/// What the faults are of, and what the report calls each.
const FAULTS: [(&str, &str); 15] = [
    ("disk-write", "hangs"),
    (
        "read-only",
        "/run/faults/broken was taken read-only by the kernel",
    ),
    ("disk-space", "/run/faults/full 0 % (0 B) free"),
    ("disk-inodes", "/run/faults/full 0 % (0) of inodes free"),
    ("pids", "of the limit kernel.pid_max"),
    ("files", "of the limit fs.file-max=1000"),
    ("zombies", "of them by their parent"),
    ("blocked", "touch x12"),
    ("kernel-task", "INFO: task containerd:812 blocked"),
    ("kernel-memory", "Out of memory: Killed process 77 (java)"),
    ("kernel-disk", "EXT4-fs error (device sdx1)"),
    ("kernel-hardware", "event severity: fatal"),
    ("kernel-lockup", "soft lockup - CPU#3"),
    ("kernel-netdev", "unregister_netdevice"),
    ("kernel-tables", "neighbor table overflow"),
];

/// What the kernel writes, with how grave it is. A program's line says the same and must not count.
const LINES: [&str; 11] = [
    "3,1,0,-;INFO: task containerd:812 blocked for more than 120 seconds.",
    "3,2,0,-;Out of memory: Killed process 77 (java) total-vm:1kB, anon-rss:1kB, file-rss:0kB",
    "2,3,0,-;EXT4-fs error (device sdx1): ext4_lookup:1785: inode #2: comm ls: deleted inode referenced: 12",
    "0,4,0,-;{1}[Hardware Error]: event severity: fatal",
    "0,5,0,-;watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [java:4711]",
    "0,6,0,-;unregister_netdevice: waiting for lo to become free. Usage count = 1",
    "0,7,0,-;unregister_netdevice: waiting for lo to become free. Usage count = 1",
    "0,8,0,-;unregister_netdevice: waiting for lo to become free. Usage count = 1",
    "6,9,0,-;neighbour: arp_cache: neighbor table overflow!",
    "6,10,0,-;br-eth0: port 2(bth1) entered forwarding state",
    "12,11,0,-;Oops: 0000 [#1] SMP PTI",
];

/// File systems for the faults, in memory but for their form. That of the agent's own folder is there before it starts.
const FILE_SYSTEMS: &str = "mkdir -p /run/faults/full /run/faults/broken
for name in state broken; do
  truncate -s 16M /run/faults/$name.img
  mkfs.ext4 -q /run/faults/$name.img
done
mount -n -t ext4 -o loop /run/faults/state.img /var/lib/berth/agent
mount -n -t ext4 -o loop,errors=remount-ro /run/faults/broken.img /run/faults/broken
mount -n -t tmpfs -o size=256k,nr_inodes=32 tmpfs /run/faults/full";

const FILL: &str = "dd if=/dev/zero of=/run/faults/full/filler bs=4k 2>/dev/null || true
i=0; while touch /run/faults/full/$i 2>/dev/null; do i=$((i+1)); done";

/// As a disk does that fails: the kernel gives the file system up.
const BREAK: &str = "mount -n -o remount,abort /run/faults/broken || true
! touch /run/faults/broken/probe 2>/dev/null";

const MEND: &str = "umount -n /run/faults/broken
mount -n -t ext4 -o loop,errors=remount-ro /run/faults/broken.img /run/faults/broken";

/// A parent that does not reap: what a shell has ended meanwhile it would, so that its children end when it is no shell any more.
const ZOMBIES: &str = "mkfifo /run/faults/gate
setsid sh -c 'echo $$ > /run/faults/parent
exec 3<> /run/faults/gate 4< /run/faults/gate
i=0; while [ $i -lt 60 ]; do cat <&4 3>&- 4>&- & i=$((i+1)); done; exec sleep 3600 3>&- 4>&-' > /dev/null 2>&1 < /dev/null &";

/// The limit becomes what there is on the machine. It is that of the node's own PID namespace, which has fewer: it goes on.
const EXHAUST: &str = "read -r one five fifteen threads rest < /proc/loadavg
echo ${threads#*/} > /proc/sys/kernel/pid_max";

/// Threads outside of the node that do nothing: with them the limit leaves the node numbers enough to live on.
const CROWD: usize = 600;

const FILES: &str = "echo '950 0 1000' > /run/faults/file-nr
mount -n --bind /run/faults/file-nr /proc/sys/fs/file-nr";

/// They wait until the file system thaws, and cannot be killed.
const BLOCK: &str = "i=0; while [ $i -lt 12 ]; do
  setsid touch /var/lib/berth/agent/blocked-$i > /dev/null 2>&1 < /dev/null & i=$((i+1))
done";

/// [`CROWD`], for as long as this lives.
struct Crowd {
    end: Arc<(Mutex<bool>, Condvar)>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn new() -> Self {
        let end = Arc::new((Mutex::new(false), Condvar::new()));
        let spawn = |_| {
            let end = Arc::clone(&end);
            let wait = move || {
                let (ended, told) = &*end;
                drop(told.wait_while(ended.lock().unwrap(), |ended| !*ended));
            };
            let thread = thread::Builder::new().stack_size(64 * 1024);
            thread.spawn(wait).unwrap()
        };
        let threads = (0..CROWD).map(spawn).collect();
        Self { end, threads }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        *self.end.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.1.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A file system that takes no writes: they wait, as for a disk that does not answer. It thaws when this is dropped, and also when the
/// test is killed: what waits for it could not be ended otherwise, and would stay for ever.
struct Frozen {
    thaws: Child,
}

impl Frozen {
    fn new(folder: &std::path::Path) -> Self {
        let script = "exec 3< \"$0\"; fsfreeze -f \"$0\"; echo frozen; read -r end; fsfreeze -u /proc/self/fd/3";
        let mut thaws = Command::new("sh")
            .args(["-c", script])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let out = thaws.stdout.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut said).unwrap();
        assert_eq!(said, "frozen\n");
        Self { thaws }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(mut input) = self.thaws.stdin.take() {
            let _ = input.write_all(b"\n");
        }
        let _ = self.thaws.wait();
    }
}

fn signals(cluster: &Cluster) -> Result<BTreeMap<String, Value>, Pending> {
    let words = ["get", "nodehealth", "n1", "-n", "berth-system"];
    let object = cluster.kubectl_json(&words);
    let object = object.map_err(|error| Pending::because(format!("{error:#}")))?;
    let signals = object["status"]["signals"].as_array();
    let named = |signal: &Value| {
        let name = signal["name"].as_str().unwrap_or_default();
        (name.to_owned(), signal.clone())
    };
    Ok(signals.into_iter().flatten().map(named).collect())
}

/// Waits until each of the faults' signals was seen in a state since now; when each was first. Not all of them at once: what was
/// early may be over.
fn wait_each(
    cluster: &Cluster,
    state: &str,
    say: fn(&Value) -> bool,
) -> BTreeMap<&'static str, Duration> {
    let begun = Instant::now();
    let mut seen = BTreeMap::new();
    let what = format!("every signal being {state}");
    wait_patiently(&what, DEADLINE, || {
        let signals = signals(cluster)?;
        for (name, _) in FAULTS {
            let signal = signals.get(name).unwrap_or(&Value::Null);
            if signal["state"] == state && say(signal) {
                seen.entry(name).or_insert_with(|| begun.elapsed());
            }
        }
        let missing: Vec<_> = FAULTS
            .iter()
            .filter(|(name, _)| !seen.contains_key(name))
            .map(|(name, _)| format!("{name}: {}", signals.get(*name).unwrap_or(&Value::Null)))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Pending::because(missing.join("\n")))
    })
    .unwrap();
    seen
}

/// Whether what an unhealthy signal says is what the fault is.
fn is_told(signal: &Value) -> bool {
    let said = signal["message"].as_str().unwrap_or_default();
    let hangs = "has not ended for";
    let expected = FAULTS.iter().find(|(name, _)| signal["name"] == *name);
    expected.is_some_and(|(_, words)| {
        let words = if *words == "hangs" { hangs } else { words };
        said.contains(words)
    })
}

/// Gives the shipped agent other settings and waits until it runs with them.
fn set(cluster: &Cluster, settings: &[&str]) {
    let daemon_set = ["set", "env", "daemonset/berth-agent", "-n", "berth-system"];
    cluster
        .kubectl(&[&daemon_set[..], settings].concat())
        .unwrap();
    let status = [
        "rollout",
        "status",
        "daemonset/berth-agent",
        "-n",
        "berth-system",
        "--timeout=180s",
    ];
    cluster.kubectl(&status).unwrap();
}

fn restarts(cluster: &Cluster) -> Value {
    berth_pod(cluster, "berth-agent", "n1")["status"]["containerStatuses"][0]["restartCount"]
        .clone()
}

fn break_everything(cluster: &Cluster, node: &Node) -> Frozen {
    for line in LINES {
        cluster.write_kernel_log("n1", line).unwrap();
    }
    for fault in [FILL, BREAK, ZOMBIES, FILES] {
        node.script(fault).unwrap();
    }
    let frozen = Frozen::new(&node.path("/var/lib/berth/agent"));
    node.script(BLOCK).unwrap();
    node.script(EXHAUST).unwrap();
    frozen
}

fn mend_everything(node: &Node, frozen: Frozen) {
    node.script("echo 4194304 > /proc/sys/kernel/pid_max")
        .unwrap();
    drop(frozen);
    node.script(MEND).unwrap();
    node.script("rm /run/faults/full/*; umount -n /proc/sys/fs/file-nr")
        .unwrap();
    node.script("kill $(cat /run/faults/parent)").unwrap();
}

/// As shipped it has no device, and asks by a system call. The testbed's overlay says otherwise: that log is the machine's.
fn check_the_kernels_own_log(cluster: &Cluster) {
    set(cluster, &["BERTH_AGENT_KMSG-"]);
    let what = "the kernel's log being read";
    wait_patiently(what, DEADLINE, || {
        let signal = signals(cluster)?.remove("kernel-log").unwrap_or_default();
        let lines = signal["value"]
            .as_str()
            .and_then(|value| value.strip_suffix(" lines read"));
        let lines: Option<u64> = lines.and_then(|lines| lines.parse().ok());
        if lines.is_some_and(|lines| lines > 0) {
            return Ok(());
        }
        Err(Pending::because(signal))
    })
    .unwrap();
    let pod = berth_pod(cluster, "berth-agent", "n1");
    let name = pod["metadata"]["name"].as_str().unwrap();
    let log = cluster
        .kubectl(&["logs", name, "-n", "berth-system"])
        .unwrap();
    assert!(log.contains("read by syslog(2)"), "{log}");
}

#[test]
#[expect(clippy::print_stderr, reason = "figures are read by people")]
fn faults_of_the_machine_are_reported_and_taken_back() {
    turn::take(Rank::Long);
    let cluster = own("cluster-health-machine");
    let node = cluster.world().node("n1");
    node.script(FILE_SYSTEMS).unwrap();
    let span = format!("BERTH_AGENT_KERNEL_LOG_SPAN={SPAN}");
    let folders = "BERTH_AGENT_WATCHED_FOLDERS=/var/lib/kubelet,/var/lib/containerd,/run/faults/full,/run/faults/broken";
    set(&cluster, &[&span, folders]);
    wait_each(&cluster, "Healthy", |_| true);

    let crowd = Crowd::new();
    let frozen = break_everything(&cluster, node);
    let set_after = wait_each(&cluster, "Unhealthy", is_told);
    // Its disk hangs all the time, and it told all of this.
    assert_eq!(restarts(&cluster), 0);
    let all = signals(&cluster).unwrap();
    assert_eq!(
        all["kernel-bug"]["state"], "Healthy",
        "a program's line counts"
    );

    mend_everything(node, frozen);
    drop(crowd);
    let cleared_after = wait_each(&cluster, "Healthy", |_| true);
    assert_eq!(restarts(&cluster), 0);
    for (name, set) in set_after {
        let cleared = cleared_after[name].as_secs();
        eprintln!(
            "{name}: set after {} s, clear after {cleared} s",
            set.as_secs()
        );
    }
    check_the_kernels_own_log(&cluster);
}
