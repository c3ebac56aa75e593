use super::*;

/// Lines as kernels write them, and their kinds.
const LINES: &[(&str, Option<&str>)] = &[
    (
        "INFO: task dd:4711 blocked for more than 120 seconds.",
        Some("hung-task"),
    ),
    (
        "INFO: task java:99 blocked in I/O wait for more than 122 seconds.",
        Some("hung-task"),
    ),
    (
        "INFO: task jbd2/sda1-8:412 blocked for more than 120 seconds.",
        Some("hung-task"),
    ),
    (
        "INFO: task containerd:812 blocked for more than 120 seconds.",
        Some("hung-runtime"),
    ),
    (
        "INFO: task containerd-shim:812 blocked for more than 120 seconds.",
        Some("hung-runtime"),
    ),
    (
        "INFO: task kubelet:812 blocked for more than 120 seconds.",
        Some("hung-runtime"),
    ),
    (
        "INFO: task runc:[2:INIT]:812 blocked for more than 120 seconds.",
        Some("hung-runtime"),
    ),
    (
        "\"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\" disables this message.",
        None,
    ),
    (
        "Out of memory: Killed process 1434 (java) total-vm:8473924kB, anon-rss:4210000kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:9000kB oom_score_adj:900",
        Some("out-of-memory"),
    ),
    (
        "Out of memory: Kill process 1434 (java) score 900 or sacrifice child",
        Some("out-of-memory"),
    ),
    (
        "Out of memory (oom_kill_allocating_task): Killed process 9 (x)",
        Some("out-of-memory"),
    ),
    (
        "Memory cgroup out of memory: Killed process 77 (stress) total-vm:1kB",
        None,
    ),
    (
        "Memory cgroup out of memory: Kill process 77 (stress) score 1 or sacrifice child",
        None,
    ),
    (
        "oom_reaper: reaped process 77 (stress), now anon-rss:0kB",
        None,
    ),
    (
        "SLUB: Unable to allocate memory on node -1, gfp=0xd0(GFP_KERNEL)",
        Some("kernel-memory"),
    ),
    (
        "swapper/0: page allocation failure: order:4, mode:0x40cc0",
        Some("kernel-memory"),
    ),
    (
        "EXT4-fs (sda1): Remounting filesystem read-only",
        Some("shut-down"),
    ),
    (
        "XFS (sdb1): I/O Error Detected. Shutting down filesystem",
        Some("shut-down"),
    ),
    (
        "XFS (dm-3): Log I/O Error (0x2) detected at xlog_ioend_work. Shutting down filesystem.",
        Some("shut-down"),
    ),
    (
        "XFS (dm-3): Filesystem has been shut down due to log error (0x2).",
        Some("shut-down"),
    ),
    (
        "BTRFS info (device sda2): forced readonly",
        Some("shut-down"),
    ),
    ("XFS (sdb1): Unmounting Filesystem", None),
    ("XFS (sdb1): Mounting V5 Filesystem", None),
    (
        "EXT4-fs error (device sda1): ext4_lookup:1785: inode #2: comm ls: deleted inode referenced: 12",
        Some("file-system"),
    ),
    (
        "EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: (null)",
        None,
    ),
    (
        "EXT4-fs (loop0): re-mounted 1f0e r/w. Quota mode: none.",
        None,
    ),
    ("Aborting journal on device sda1-8.", Some("file-system")),
    (
        "JBD2: Detected IO errors while flushing file data on sda1-8",
        Some("file-system"),
    ),
    (
        "XFS (sdb1): Metadata corruption detected at xfs_agf_read_verify+0x1/0x2",
        Some("file-system"),
    ),
    (
        "XFS (sdb1): metadata I/O error in \"xfs_trans_read_buf_map\" at daddr 0x1 len 1 error 5",
        Some("file-system"),
    ),
    (
        "Buffer I/O error on dev sda1, logical block 3, lost async page write",
        Some("disk-error"),
    ),
    (
        "blk_update_request: I/O error, dev sdb, sector 2048 op 0x0:(READ) flags 0x0",
        Some("disk-error"),
    ),
    (
        "print_req_error: I/O error, dev nvme0n1, sector 0",
        Some("disk-error"),
    ),
    (
        "I/O error, dev sdb, sector 2048 op 0x1:(WRITE)",
        Some("disk-error"),
    ),
    (
        "critical medium error, dev sdb, sector 2048",
        Some("disk-error"),
    ),
    (
        "sd 0:0:0:0: rejecting I/O to offline device",
        Some("disk-error"),
    ),
    (
        "blk_update_request: I/O error, dev fd0, sector 0 op 0x0:(READ)",
        None,
    ),
    ("I/O error, dev sr0, sector 0", None),
    (
        "{1}[Hardware Error]: event severity: fatal",
        Some("uncorrected"),
    ),
    (
        "{1}[Hardware Error]: event severity: recoverable",
        Some("uncorrected"),
    ),
    (
        "{1}[Hardware Error]: event severity: corrected",
        Some("corrected"),
    ),
    ("{1}[Hardware Error]: event severity: info", None),
    ("{1}[Hardware Error]:  Error 0, type: corrected", None),
    (
        "mce: [Hardware Error]: CPU 3: Machine Check Exception: 5 Bank 4: be00000000010090",
        Some("uncorrected"),
    ),
    (
        "mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 4: 9c00000000010090",
        None,
    ),
    (
        "mce: [Hardware Error]: Machine check events logged",
        Some("corrected"),
    ),
    (
        "mce: Uncorrected hardware memory error in user-access at 1234000",
        Some("uncorrected"),
    ),
    (
        "Memory failure: 0x12345: recovery action for dirty LRU page: Recovered",
        Some("uncorrected"),
    ),
    (
        "EDAC MC0: 1 UE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0",
        Some("uncorrected"),
    ),
    (
        "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0",
        Some("corrected"),
    ),
    ("EDAC MC: Ver: 3.0.0", None),
    (
        "pcieport 0000:00:01.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer",
        Some("uncorrected"),
    ),
    (
        "pcieport 0000:00:01.0: PCIe Bus Error: severity=Corrected, type=Physical Layer",
        None,
    ),
    (
        "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [java:4711]",
        Some("lockup"),
    ),
    (
        "NMI watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [java:4711]",
        Some("lockup"),
    ),
    (
        "NMI watchdog: Watchdog detected hard LOCKUP on cpu 3",
        Some("lockup"),
    ),
    (
        "rcu: INFO: rcu_sched self-detected stall on CPU",
        Some("lockup"),
    ),
    (
        "INFO: rcu_sched self-detected stall on CPU { 3}  (t=60000 jiffies)",
        Some("lockup"),
    ),
    (
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        Some("lockup"),
    ),
    (
        "NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
        None,
    ),
    ("kernel BUG at mm/slub.c:3880!", Some("oops")),
    (
        "BUG: unable to handle page fault for address: ffffffffc0a1b2c3",
        Some("oops"),
    ),
    (
        "BUG: unable to handle kernel NULL pointer dereference at 0000000000000008",
        Some("oops"),
    ),
    ("Oops: 0000 [#1] SMP PTI", Some("oops")),
    ("Internal error: Oops: 96000004 [#1] SMP", Some("oops")),
    (
        "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
        Some("oops"),
    ),
    (
        "traps: python3[812] general protection fault ip:7f2a sp:7ffd error:0 in libc.so.6[7f2a]",
        None,
    ),
    (
        "java[812]: segfault at 0 ip 00007f sp 00007f error 4 in libjvm.so",
        None,
    ),
    (
        "unregister_netdevice: waiting for lo to become free. Usage count = 1",
        Some("unregister"),
    ),
    (
        "unregister_netdevice: waiting for veth1a2b to become free. Usage count = 2",
        Some("unregister"),
    ),
    (
        "neighbour: arp_cache: neighbor table overflow!",
        Some("neighbours"),
    ),
    ("Neighbour table overflow.", Some("neighbours")),
    (
        "nf_conntrack: nf_conntrack: table full, dropping packet",
        Some("conntrack"),
    ),
    (
        "nf_conntrack: table full, dropping packet",
        Some("conntrack"),
    ),
    ("br-eth0: port 2(bth1) entered forwarding state", None),
    (
        "IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready",
        None,
    ),
    ("", None),
];

#[test]
fn lines_of_kernels_are_known_by_the_table() {
    for (text, expected) in LINES {
        let kind = classify(text).map(|at| KINDS[at].name);
        assert_eq!(kind, *expected, "{text}");
    }
}

#[test]
fn every_kind_has_a_line_here_and_a_name_of_its_own() {
    for kind in KINDS {
        let is_shown = LINES.iter().any(|(_, name)| *name == Some(kind.name));
        assert!(is_shown, "{}", kind.name);
        let same = KINDS.iter().filter(|other| other.name == kind.name).count();
        assert_eq!(same, 1, "{}", kind.name);
        assert!(SIGNALS.contains(&kind.signal), "{}", kind.name);
    }
    for signal in SIGNALS {
        assert!(KINDS.iter().any(|kind| kind.signal == signal), "{signal:?}");
    }
}

#[test]
fn levels_ascend_and_what_is_said_fits_a_report() {
    for kind in KINDS {
        let lines: Vec<_> = kind.levels.iter().map(|level| level.lines).collect();
        assert!(!lines.is_empty() && lines.is_sorted(), "{}", kind.name);
        let urges: Vec<_> = kind.levels.iter().map(|level| level.urges).collect();
        assert!(urges.is_sorted(), "{}", kind.name);
        for text in [kind.impact, kind.advice] {
            assert!(text.len() <= proto_crd::node_health::TEXT_LIMIT, "{text}");
        }
    }
}
