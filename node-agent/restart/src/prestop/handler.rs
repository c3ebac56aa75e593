//! The `lifecycle.preStop` of a container, as kubelet writes it in JSON, with its port found.

use std::time::Duration;

use serde::Deserialize;

use super::{HOOK, ParseStopError, seconds_of};

/// What is done before TERM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A command inside the container.
    Exec {
        /// The program and its arguments; no shell.
        command: Vec<String>,
    },
    /// A request; any answer will do.
    HttpGet(HttpGet),
    /// Nothing, for a while.
    Sleep(Duration),
    /// A connection. kubelet accepts it and never could run it: it warns and stops at once, and so must whoever runs this.
    TcpSocket {
        /// Where, if not at the Pod's address.
        host: Option<String>,
        /// Which port.
        port: u16,
    },
}

/// A request of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGet {
    /// Where, if not at the Pod's first address.
    pub host: Option<String>,
    /// Which port.
    pub port: u16,
    /// The path, with what follows it; may be empty.
    pub path: String,
    /// How. HTTPS without looking at the certificate, and by HTTP when that is what answers.
    pub scheme: Scheme,
    /// Headers, in order; a name may come twice.
    pub headers: Vec<(String, String)>,
}

/// How a request is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Scheme {
    /// Plain.
    #[default]
    Http,
    /// In TLS.
    Https,
}

/// One of the container's ports.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Its name; may be empty.
    #[serde(default)]
    pub name: String,
    /// Its number.
    pub container_port: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    exec: Option<Exec>,
    http_get: Option<WrittenGet>,
    sleep: Option<Sleep>,
    tcp_socket: Option<Socket>,
}

#[derive(Deserialize)]
struct Exec {
    #[serde(default)]
    command: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenGet {
    #[serde(default)]
    path: String,
    port: NameOrNumber,
    #[serde(default)]
    host: String,
    #[serde(default)]
    scheme: Scheme,
    #[serde(default)]
    http_headers: Vec<Header>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Sleep {
    seconds: i64,
}

#[derive(Deserialize)]
struct Socket {
    port: NameOrNumber,
    #[serde(default)]
    host: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NameOrNumber {
    Number(i64),
    Name(String),
}

impl Hook {
    /// What kubelet wrote, with its port among these.
    pub(super) fn parse(text: &str, ports: &[Port]) -> Result<Self, ParseStopError> {
        let written: Written =
            serde_json::from_str(text).map_err(|source| ParseStopError::Json {
                annotation: HOOK,
                source,
            })?;
        match written {
            Written {
                exec: Some(exec),
                http_get: None,
                sleep: None,
                tcp_socket: None,
            } => Ok(Self::Exec {
                command: exec.command,
            }),
            Written {
                exec: None,
                http_get: Some(get),
                sleep: None,
                tcp_socket: None,
            } => Ok(Self::HttpGet(HttpGet {
                host: Some(get.host).filter(|host| !host.is_empty()),
                port: get.port.find(ports)?,
                path: get.path,
                scheme: get.scheme,
                headers: get
                    .http_headers
                    .into_iter()
                    .map(|header| (header.name, header.value))
                    .collect(),
            })),
            Written {
                exec: None,
                http_get: None,
                sleep: Some(sleep),
                tcp_socket: None,
            } => Ok(Self::Sleep(seconds_of("preStop sleep", sleep.seconds)?)),
            Written {
                exec: None,
                http_get: None,
                sleep: None,
                tcp_socket: Some(socket),
            } => Ok(Self::TcpSocket {
                host: Some(socket.host).filter(|host| !host.is_empty()),
                port: socket.port.find(ports)?,
            }),
            other => Err(ParseStopError::Handlers {
                count: other.count(),
            }),
        }
    }
}

impl Written {
    fn count(&self) -> usize {
        [
            self.exec.is_some(),
            self.http_get.is_some(),
            self.sleep.is_some(),
            self.tcp_socket.is_some(),
        ]
        .into_iter()
        .filter(|is| *is)
        .count()
    }
}

impl NameOrNumber {
    /// As kubelet finds it: by number, by name, or a number written as text.
    fn find(self, ports: &[Port]) -> Result<u16, ParseStopError> {
        let (found, port) = match self {
            Self::Number(number) => (u16::try_from(number).ok(), number.to_string()),
            Self::Name(name) => {
                let named = ports
                    .iter()
                    .find(|port| port.name == name && !name.is_empty())
                    .map(|port| port.container_port);
                (named.or_else(|| name.parse().ok()), name)
            }
        };
        found
            .filter(|port| *port != 0)
            .ok_or(ParseStopError::PortOf { port })
    }
}
