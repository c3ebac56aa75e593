//! Ten clients of a Service, each with one connection after the other, from a node: what they ask is answered, or it failed.

use std::collections::BTreeMap;

use tests_testbed::{Cluster, Pending, Process, wait_patiently};

use super::DEADLINE;

/// At once.
const CLIENTS: usize = 10;

/// Each asks, waits for the whole answer, and asks again: ten times a second at most. An answer is good if it is the whole page
/// with status 200; whatever else happens is told. Told to end, each finishes what it has asked.
const PROGRAM: &str = r#"use IO::Socket::INET;
$| = 1;
my ($clients, $address) = @ARGV;
my $over = 0;
$SIG{TERM} = sub { $over = 1 };
pipe my $stop, my $hold;
my @kids;
for my $me (1 .. $clients) {
    my $kid = fork;
    if ($kid) { push @kids, $kid; next }
    # What ends them is the pipe: a signal would interrupt what was asked.
    $SIG{TERM} = 'IGNORE';
    close $hold;
    my ($good, %seen) = (0);
    while (1) {
        my $answer = ask();
        if ($answer =~ m{^HTTP/1\.\d 200 .*\r\n\r\n(v\d)\n$}s) {
            print "client $me sees $1\n" unless $seen{$1}++;
            $good++;
        } else {
            $answer =~ s/\s+/ /g;
            print "failed: $answer\n";
        }
        my $ended = '';
        vec($ended, fileno $stop, 1) = 1;
        last if select $ended, undef, undef, 0.1;
    }
    print "client $me was answered $good\n";
    exit 0;
}
sub ask {
    # With a time-out of its own it would connect twice and take what the second call says for the outcome; the kernel has one.
    my $s = IO::Socket::INET->new(PeerAddr => $address, PeerPort => 80);
    return "connect: $!" if !$s;
    local $SIG{PIPE} = 'IGNORE';
    print $s "GET /version HTTP/1.0\r\n\r\n" or return "send: $!";
    my $answer = '';
    while (1) {
        my $read = sysread $s, $answer, 4096, length $answer;
        return "receive: $! after '$answer'" if !defined $read;
        return $answer if !$read;
    }
}
close $stop;
until ($over) { select undef, undef, undef, 0.2 }
close $hold;
waitpid $_, 0 for @kids;
print "over\n";
"#;

/// Clients that ask until they are told to end.
pub(super) struct Clients {
    process: Process,
}

impl Clients {
    /// Begins to ask, on the first node.
    pub(super) fn start(cluster: &Cluster, name: &str, address: &str) -> Self {
        let node = cluster.world().node("n1").namespace().unwrap();
        let words = ["perl", "-e", PROGRAM, &CLIENTS.to_string(), address];
        let process = node.spawn(&format!("clients-{name}"), &words).unwrap();
        Self { process }
    }

    /// Waits until each has seen a server of this version.
    pub(super) fn wait_all(&self, version: &str) {
        let waited = wait_patiently(&format!("ten clients seeing {version}"), DEADLINE, || {
            let log = self.process.log();
            let end = format!(" sees {version}");
            let count = log.lines().filter(|line| line.ends_with(&end)).count();
            if count >= CLIENTS {
                return Ok(());
            }
            Err(Pending::because(format!(
                "{count}: {}",
                self.process.log_tail()
            )))
        });
        waited.unwrap();
    }

    /// How many requests were answered, and what became of the others: each failure once, with how often it was.
    pub(super) fn end(mut self) -> (u64, Vec<String>) {
        let status = self.process.terminate(DEADLINE).unwrap();
        let log = self.process.log();
        assert!(
            status.success() && log.contains("over\n"),
            "{status}: {log}"
        );
        let answered = log
            .lines()
            .filter_map(|line| line.split_once(" was answered "))
            .map(|(_, count)| count.parse::<u64>().unwrap())
            .sum();
        let mut failed: BTreeMap<&str, u64> = BTreeMap::new();
        for line in log.lines().filter(|line| line.starts_with("failed: ")) {
            *failed.entry(line).or_default() += 1;
        }
        let failed = failed
            .iter()
            .map(|(line, times)| format!("{line} ({times} times)"));
        (answered, failed.collect())
    }
}
