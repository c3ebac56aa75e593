//! The rules of the kernel's log: which lines tell of which trouble, how many in which time count, and for what they are reason
//! enough. Data.
//!
//! A line is of the first kind that knows it. Each kind clears by itself: when its span has passed without so many lines. The
//! texts are those of the kernel's sources from 3.10 to 6.18; the thresholds are node-problem-detector's and our own.

use std::time::Duration;

use proto_crd::node_health::Decision;

use crate::health::signal::Signal;

/// Tasks that the kernel waits for.
pub(in crate::health) const TASK: Signal = Signal::new("kernel-task");
/// Memory that the kernel could not get.
pub(in crate::health) const MEMORY: Signal = Signal::new("kernel-memory");
/// Disks and file systems.
pub(in crate::health) const DISK: Signal = Signal::new("kernel-disk");
/// The machine itself.
pub(in crate::health) const HARDWARE: Signal = Signal::new("kernel-hardware");
/// Processors that the kernel itself keeps.
pub(in crate::health) const LOCKUP: Signal = Signal::new("kernel-lockup");
/// The kernel's own mistakes.
pub(in crate::health) const BUG: Signal = Signal::new("kernel-bug");
/// Network devices that do not go.
pub(in crate::health) const NETDEV: Signal = Signal::new("kernel-netdev");
/// Tables of the network that are full.
pub(in crate::health) const TABLES: Signal = Signal::new("kernel-tables");

/// All of them, as they are judged.
pub(super) const SIGNALS: [Signal; 8] = [TASK, MEMORY, DISK, HARDWARE, LOCKUP, BUG, NETDEV, TABLES];

/// Lines of one kind.
#[derive(Debug)]
pub(super) struct Kind {
    /// Whose they are.
    pub(super) signal: Signal,
    /// One word for them.
    pub(super) name: &'static str,
    /// The texts: all parts of one of them, in this order.
    pub(super) lines: &'static [&'static [&'static str]],
    /// A line with one of these is none.
    pub(super) never: &'static [&'static str],
    /// For how long a line counts.
    pub(super) span: Duration,
    /// From so many lines on it is wrong, and reason enough for more than the signal's rule says. Ascending.
    pub(super) levels: &'static [Level],
    /// What it means.
    pub(super) impact: &'static str,
    /// What to do.
    pub(super) advice: &'static str,
}

/// From so many lines on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// How many.
    pub(super) lines: usize,
    /// What for, if it is more than to be told.
    pub(super) urges: Option<Decision>,
}

const fn told(lines: usize) -> Level {
    Level { lines, urges: None }
}

const fn cordon(lines: usize) -> Level {
    Level {
        lines,
        urges: Some(Decision::Cordon),
    }
}

const fn drain(lines: usize) -> Level {
    Level {
        lines,
        urges: Some(Decision::Drain),
    }
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

impl Kind {
    /// Whether the line is of this kind.
    fn knows(&self, text: &str) -> bool {
        let in_order = |parts: &&[&str]| {
            let mut rest = text;
            parts.iter().all(|part| match rest.find(part) {
                Some(at) => {
                    rest = &rest[at + part.len()..];
                    true
                }
                None => false,
            })
        };
        self.lines.iter().any(in_order) && !self.never.iter().any(|part| text.contains(part))
    }
}

/// Which kind a line is of, by its place in [`KINDS`].
pub(super) fn classify(text: &str) -> Option<usize> {
    KINDS.iter().position(|kind| kind.knows(text))
}

const HUNG: &str = "on the node: the stack below the line in dmesg says what it waits for, mostly a disk or a file server; mend that; what waits for ever \
                    ends only with a reboot";

/// All of them, the special before the general.
pub(super) const KINDS: &[Kind] = &[
    // node-problem-detector makes `task docker:` a condition (KernelDeadlock), all others an event.
    Kind {
        signal: TASK,
        name: "hung-runtime",
        lines: &[
            &[
                "INFO: task containerd",
                " blocked",
                "more than ",
                " seconds",
            ],
            &["INFO: task kubelet", " blocked", "more than ", " seconds"],
            &["INFO: task runc", " blocked", "more than ", " seconds"],
            &["INFO: task crio", " blocked", "more than ", " seconds"],
            &["INFO: task dockerd", " blocked", "more than ", " seconds"],
            &["INFO: task etcd", " blocked", "more than ", " seconds"],
        ],
        never: &[],
        span: minutes(10),
        levels: &[cordon(1)],
        impact: "what starts and stops Pods waits in the kernel: Pods on this node cannot be started, stopped or looked into",
        advice: HUNG,
    },
    Kind {
        signal: TASK,
        name: "hung-task",
        lines: &[&["INFO: task ", " blocked", "more than ", " seconds"]],
        never: &[],
        span: minutes(10),
        levels: &[told(1)],
        impact: "a process waits in the kernel for minutes: its Pod does not work and cannot be stopped",
        advice: HUNG,
    },
    // "Memory cgroup out of memory" is a Pod's own limit, and its own business.
    Kind {
        signal: MEMORY,
        name: "out-of-memory",
        lines: &[&["Out of memory", "Kill"]],
        never: &[],
        span: minutes(15),
        levels: &[cordon(1)],
        impact: "the node had no memory left, and the kernel killed a process of its own choice: any Pod may be the next",
        advice: "kubectl top pods -A on this node shows who has it; give Pods requests and limits that the node can hold, and kubelet reserves (systemReserved)",
    },
    Kind {
        signal: MEMORY,
        name: "kernel-memory",
        lines: &[
            &["SLUB: Unable to allocate memory on node"],
            &["page allocation failure: order"],
        ],
        never: &[],
        span: minutes(15),
        levels: &[told(3)],
        impact: "the kernel could not get memory for itself: packets are dropped, containers cannot be started",
        advice: "slabtop on the node shows what the kernel holds; on kernel 3.10 memory of dead cgroups leaks (kubernetes/kubernetes#61937): a planned reboot frees it",
    },
    Kind {
        signal: DISK,
        name: "shut-down",
        lines: &[
            &["XFS (", "Shutting down filesystem"],
            &["XFS (", "ilesystem has been shut down"],
            &["Remounting filesystem read-only"],
            &["BTRFS", "forced readonly"],
        ],
        never: &[],
        span: minutes(15),
        levels: &[cordon(1)],
        impact: "the kernel has given up a file system: whatever writes to it fails",
        advice: "the line names the disk; move the Pods away that use it, check it (fsck, xfs_repair) and replace the disk if it reports errors",
    },
    Kind {
        signal: DISK,
        name: "file-system",
        lines: &[
            &["EXT4-fs error (device"],
            &["JBD2: Detected IO errors"],
            &["Aborting journal on device"],
            &["XFS (", "etadata corruption detected"],
            &["XFS (", "metadata I/O error"],
            &["XFS (", "Corruption of in-memory data"],
            &["BTRFS error (device"],
            &["BTRFS: error (device"],
        ],
        never: &[],
        span: minutes(15),
        levels: &[told(1)],
        impact: "a file system is damaged: files on it may be lost, and the kernel may take it read-only",
        advice: "the line names the disk; check the file system (fsck, xfs_repair) in a quiet hour, and the disk with smartctl",
    },
    Kind {
        signal: DISK,
        name: "disk-error",
        lines: &[
            &["Buffer I/O error on dev"],
            &["I/O error, dev "],
            &["critical medium error"],
            &["lost async page write"],
            &["rejecting I/O to offline device"],
        ],
        // Drives that virtual machines have and nobody uses.
        never: &["dev fd0", "dev sr0"],
        span: minutes(15),
        levels: &[told(1)],
        impact: "a disk does not read or write all that it should: what is on it may be lost, and what uses it slow",
        advice: "smartctl -a and nvme smart-log on the node tell whether the disk dies; else look at the path to it (multipath -ll, cables, the storage network)",
    },
    // A record begins with its severity (CPER), or the machine check says that it stopped a processor.
    Kind {
        signal: HARDWARE,
        name: "uncorrected",
        lines: &[
            &["[Hardware Error]", "event severity: fatal"],
            &["[Hardware Error]", "event severity: recoverable"],
            &["[Hardware Error]", "Machine Check Exception"],
            &["Processor context corrupt"],
            &["EDAC ", " UE "],
            &["Uncorrected hardware memory error"],
            &["Memory failure: 0x"],
            &["severity=Uncorrected (Fatal)"],
            &["severity=Uncorrectable (Fatal)"],
        ],
        never: &[],
        span: minutes(24 * 60),
        levels: &[drain(1)],
        impact: "the machine computed or remembered something wrong and knows it: processes were killed, data may be damaged, it may stop at any time",
        advice: "move the Pods away and have the part replaced: ras-mc-ctl --errors, ipmitool sel list and the lines in dmesg name it",
    },
    Kind {
        signal: HARDWARE,
        name: "corrected",
        lines: &[
            &["[Hardware Error]", "event severity: corrected"],
            &["Machine check events logged"],
            &["EDAC ", " CE "],
        ],
        never: &[],
        span: minutes(24 * 60),
        // mcelog: 10 in 24 h of one DIMM.
        levels: &[told(10)],
        impact: "the machine corrects its own mistakes, so far: memory that does so often soon makes ones that it cannot correct",
        advice: "ras-mc-ctl --errors and ipmitool sel list name the part; plan its replacement",
    },
    Kind {
        signal: LOCKUP,
        name: "lockup",
        lines: &[
            &["BUG: soft lockup"],
            &["hard LOCKUP"],
            &["self-detected stall on CPU"],
            &["detected stalls on CPUs/tasks"],
            &["detected expedited stalls on CPUs"],
        ],
        never: &[],
        span: minutes(10),
        levels: &[told(1), cordon(3)],
        impact: "a processor did nothing but one thing in the kernel for many seconds: everything on the node is late, leases and probes expire",
        advice: "on a virtual machine look at its host first (steal in top); else the stack in dmesg names the driver: update kernel or firmware; reboot if it goes on",
    },
    Kind {
        signal: BUG,
        name: "oops",
        lines: &[
            &["kernel BUG at "],
            &["BUG: unable to handle "],
            &["BUG: Bad page "],
            &["BUG: scheduling while atomic"],
            &["Unable to handle kernel "],
            &["Oops", " [#"],
            &["general protection fault", " [#"],
            &["Kernel panic - not syncing"],
        ],
        never: &[],
        span: minutes(24 * 60),
        levels: &[cordon(1)],
        impact: "the kernel made a mistake and goes on with what is left: locks may be held for ever, data may be damaged",
        advice: "plan a reboot of the node; keep the lines from dmesg for whoever made the kernel or the module that they name",
    },
    // node-problem-detector: 3 in 20 minutes (FrequentUnregisterNetDevice). The kernel says it every 10 s while it waits.
    Kind {
        signal: NETDEV,
        name: "unregister",
        lines: &[&["unregister_netdevice: waiting for ", " to become free"]],
        never: &[],
        span: minutes(20),
        levels: &[cordon(3)],
        impact: "the kernel does not let go of a dead Pod's network and holds a lock meanwhile: Pods cannot be started or stopped",
        advice: "plan a reboot of the node: nothing else frees it; a newer kernel has fewer such leaks",
    },
    Kind {
        signal: TABLES,
        name: "neighbours",
        lines: &[&["eighbour table overflow"], &["eighbor table overflow"]],
        never: &[],
        span: minutes(5),
        levels: &[cordon(1)],
        impact: "the node cannot remember the MACs of all it talks to: connections to any of them fail at random",
        advice: "sysctl -w net.ipv4.neigh.default.gc_thresh3=8192 (and gc_thresh2=4096, and net.ipv6's) on the node; see ip neigh for who is there",
    },
    Kind {
        signal: TABLES,
        name: "conntrack",
        lines: &[&["nf_conntrack: ", "table full"]],
        never: &[],
        span: minutes(5),
        levels: &[told(1)],
        impact: "the node drops packets of new connections",
        advice: "conntrack -C and sysctl net.netfilter.nf_conntrack_max on the node; raise the latter, or find the Pod that opens so many (conntrack -L)",
    },
];

#[cfg(test)]
mod tests;
