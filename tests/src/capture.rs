//! Frames as they pass an interface, seen by a raw socket of nobody's making but the kernel's: a line of Perl, which
//! every Debian has, since `tcpdump` cannot give up its rights inside a user namespace.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use tests_testbed::{Namespace, Process};

use crate::wait::wait_until;

/// Binds a packet socket for all protocols to one interface and prints each frame in hexadecimal, one a line.
/// The numbers are those of `AF_PACKET`, `SOCK_RAW` and `ETH_P_ALL` (`linux/if_ether.h`), the address is a `sockaddr_ll`.
const PROGRAM: &str = r#"$| = 1;
my ($index) = @ARGV;
socket(my $s, 17, 3, unpack("S", pack("n", 3))) or die "socket: $!";
bind($s, pack("SnlSCCx8", 17, 3, $index, 0, 0, 0)) or die "bind: $!";
print "listening\n";
while (sysread($s, my $frame, 2048)) { print unpack("H*", $frame), "\n" }
"#;

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    process: Process,
}

impl Capture {
    /// Listens on an interface of this machine; returns once nothing can be missed any more.
    #[track_caller]
    pub fn start(machine: &Namespace, interface: &str) -> Self {
        let link = machine
            .ip_json(&["link", "show", "dev", interface])
            .unwrap();
        let index = link[0]["ifindex"].to_string();
        let process = machine
            .spawn(
                &format!("capture-{interface}"),
                &["perl", "-e", PROGRAM, &index],
            )
            .unwrap();
        let capture = Self { process };
        wait_until("the capture listens", || {
            let log = capture.process.log();
            if log.contains("listening") {
                Ok(())
            } else {
                Err(log)
            }
        });
        capture
    }

    /// Every frame so far, in hexadecimal.
    pub fn frames(&self) -> Vec<String> {
        let log = self.process.log();
        let complete = log.rfind('\n').map_or("", |end| &log[..end]);
        complete
            .lines()
            .skip_while(|line| *line != "listening")
            .skip(1)
            .map(str::to_owned)
            .collect()
    }

    /// Waits until a frame has all these parts, each at its place in hexadecimal digits.
    #[track_caller]
    pub fn wait_frame(&self, what: &str, parts: &[(usize, String)]) {
        wait_until(what, || {
            let frames = self.frames();
            let found = frames.iter().any(|frame| {
                parts
                    .iter()
                    .all(|(at, part)| frame.get(*at..).is_some_and(|rest| rest.starts_with(part)))
            });
            if found {
                Ok(())
            } else {
                Err(frames.join("\n"))
            }
        });
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A gratuitous ARP packet of this operation (1: request, 2: reply): sender and target are this address, the sender
/// has this MAC.
pub fn gratuitous_arp(operation: u8, mac: &str, address: Ipv4Addr) -> Vec<(usize, String)> {
    let (mac, address) = (mac.replace(':', ""), hex(&address.octets()));
    // Places of RFC 826 behind the 14 bytes of Ethernet, two digits a byte.
    vec![
        (12, mac.clone()),
        (24, "0806".to_owned()),
        (40, format!("{operation:04x}")),
        (44, format!("{mac}{address}")),
        (76, address),
    ]
}

/// An unsolicited neighbour advertisement of this address that overrides what neighbours believe.
pub fn advertisement(mac: &str, address: Ipv6Addr) -> Vec<(usize, String)> {
    let mac = mac.replace(':', "");
    // Type 136 (RFC 4861, 4.4) behind 14 bytes of Ethernet and 40 of IPv6; flags: override, not solicited.
    vec![
        (12, mac.clone()),
        (24, "86dd".to_owned()),
        (108, "8800".to_owned()),
        (116, "20".to_owned()),
        (124, hex(&address.octets())),
        (156, format!("0201{mac}")),
    ]
}
