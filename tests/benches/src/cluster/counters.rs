//! Counters of others: what containerd, `berth-ipamd` and the API server have counted, in the text form of Prometheus, and differences of them.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests_testbed::sum_of_series;

/// A daemon that is there answers at once; the machine may be busy.
const FETCH_DEADLINE: Duration = Duration::from_secs(30);

/// How many operations, and how long they took together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Timed {
    pub(crate) count: f64,
    pub(crate) seconds: f64,
}

impl Timed {
    /// What a histogram says of the series with these labels, all of them together.
    pub(crate) fn read(text: &str, name: &str, labels: &[&str]) -> Self {
        Self {
            count: sum_of_series(text, &format!("{name}_count"), labels),
            seconds: sum_of_series(text, &format!("{name}_sum"), labels),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            seconds: self.seconds + other.seconds,
        }
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            count: self.count - earlier.count,
            seconds: self.seconds - earlier.seconds,
        }
    }

    /// Not a number where there was no operation.
    pub(crate) fn mean_ms(self) -> f64 {
        self.seconds / self.count * 1000.0
    }
}

/// Requests that write claims, of all nodes together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Writes {
    creates: f64,
    updates: f64,
    deletes: f64,
    /// Of these, those that came too late.
    conflicts: f64,
}

impl Writes {
    /// What the API server has counted.
    pub(crate) fn read(text: &str) -> Self {
        let sum = |label: &str| {
            let labels = ["group=\"berth.dev\"", "resource=\"claims\"", label];
            sum_of_series(text, "apiserver_request_total", &labels)
        };
        Self {
            creates: sum("verb=\"POST\""),
            updates: sum("verb=\"PUT\"") + sum("verb=\"PATCH\"") + sum("verb=\"APPLY\""),
            deletes: sum("verb=\"DELETE\""),
            conflicts: sum("code=\"409\""),
        }
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            creates: self.creates - earlier.creates,
            updates: self.updates - earlier.updates,
            deletes: self.deletes - earlier.deletes,
            conflicts: self.conflicts - earlier.conflicts,
        }
    }

    pub(crate) fn all(self) -> f64 {
        self.creates + self.updates + self.deletes
    }
}

impl fmt::Display for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            creates,
            updates,
            deletes,
            conflicts,
        } = self;
        write!(
            f,
            "{creates} create, {updates} update, {deletes} delete, {conflicts} of these in vain"
        )
    }
}

/// What a daemon on a loopback answers to a GET. Run inside the node: only there is its loopback.
pub(crate) fn fetch(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
    stream.set_read_timeout(Some(FETCH_DEADLINE))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .with_context(|| format!("read what {address} answers"))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("{address} does not answer HTTP: {answer}"))?;
    let good = head.split(' ').nth(1) == Some("200");
    ensure!(good, "{address}{path} answers {head}");
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP x_sum words
x_seconds_sum{operation_type=\"set_up_pod\"} 1.5
x_seconds_count{operation_type=\"set_up_pod\"} 3
x_seconds_sum{operation_type=\"tear_down_pod\"} 9
x_seconds_count{operation_type=\"tear_down_pod\"} 1
x_seconds_count_more{operation_type=\"set_up_pod\"} 7
";

    #[test]
    fn histogram_is_its_sum_and_its_count() {
        let set_up = Timed::read(TEXT, "x_seconds", &["\"set_up_pod\""]);
        assert_eq!(
            set_up,
            Timed {
                count: 3.0,
                seconds: 1.5
            }
        );
        assert!((set_up.mean_ms() - 500.0).abs() < 1e-9);
    }
}
