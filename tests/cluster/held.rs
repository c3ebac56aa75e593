//! A TCP connection that an outside host keeps open while things happen: bytes go both ways, or the test fails.

use std::time::Duration;

use tests_testbed::{Namespace, Pending, Process, wait_until};

/// A tenth of a second each on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// More than what may be on its way at any moment.
const MORE: usize = 10;

/// Sends a number, waits for its echo, and so on: ten times a second, over one connection. Ends when that does.
const PROGRAM: &str = r#"use IO::Socket::INET;
$| = 1;
my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1]) or die "connect: $!";
for (my $n = 1; ; $n++) {
    print $s "$n\n";
    my $said = <$s>;
    die "closed at $n" if !defined $said;
    print "echo $said";
    select(undef, undef, undef, 0.1);
}
"#;

/// A TCP connection to a server that sends back what it gets.
pub(crate) struct Held {
    process: Process,
}

impl Held {
    /// Opens it from a machine.
    pub(crate) fn open(from: &Namespace, name: &str, address: &str, port: u16) -> Self {
        let words = ["perl", "-e", PROGRAM, address, &port.to_string()];
        let process = from.spawn(&format!("held-{name}"), &words).unwrap();
        Self { process }
    }

    /// Waits until bytes have gone both ways that were not on their way before.
    pub(crate) fn wait_more(&mut self, when: &str) {
        let enough = self.echoes() + MORE;
        wait_until(&format!("bytes {when}"), DEADLINE, || {
            assert!(
                self.process.is_running(),
                "{when}: {}",
                self.process.log_tail()
            );
            let echoes = self.echoes();
            if echoes >= enough {
                Ok(())
            } else {
                Err(Pending(format!("{echoes} of {enough}")))
            }
        })
        .unwrap();
    }

    fn echoes(&self) -> usize {
        let log = self.process.log();
        log.lines().filter(|line| line.starts_with("echo ")).count()
    }
}
