//! What is measured: ours, the peer (Debian's `bridge` with `host-local`), and the floor, each as the processes of one
//! attachment's ADD and DEL.

use serde_json::json;

use crate::round::Shot;

/// Addresses of the bench: a subnet of each so large that 50,000 held bindings fit, outside of the world's own.
pub(crate) const OURS: &str = "10.128.0.0/14";
pub(crate) const OURS_GATEWAY: &str = "10.128.0.1";
const PEER: &str = "10.132.0.0/14";
const PEER_GATEWAY: &str = "10.132.0.1";
const FLOOR_GATEWAY: &str = "10.136.0.1";
/// The second network of ours, on the same uplink.
pub(crate) const SECOND: &str = "10.140.0.0/14";
pub(crate) const SECOND_GATEWAY: &str = "10.140.0.1";

/// The bridge of peer and floor, over the node's second uplink.
pub(crate) const PEER_BRIDGE: &str = "br-peer";

/// One of the things measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// `berth` and `berth-ipamd`, one network.
    Ours,
    /// `berth` and `berth-ipamd`, two networks.
    OursTwice,
    /// Debian's `bridge` and `host-local`.
    Peer,
    /// The kernel's work alone.
    Floor,
}

/// Paths of the programs.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) berth: String,
    pub(crate) floor: String,
    pub(crate) socket: String,
}

/// Debian's plugins.
pub(crate) const PEER_DIR: &str = "/usr/lib/cni";

impl Subject {
    pub(crate) const ALL: [Self; 4] = [Self::Ours, Self::OursTwice, Self::Peer, Self::Floor];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "berth",
            Self::OursTwice => "berth, 2 NICs",
            Self::Peer => "bridge+host-local",
            Self::Floor => "floor",
        }
    }

    /// The processes that add and delete attachment `number` in this namespace. Numbers are never used twice.
    pub(crate) fn shots(self, programs: &Programs, number: usize, netns: &str) -> (Shot, Shot) {
        match self {
            Self::Floor => floor(programs, number, netns),
            Self::Peer => {
                let program = format!("{PEER_DIR}/bridge");
                let config = peer_config();
                (
                    call("ADD", &program, number, netns, &config),
                    call("DEL", &program, number, netns, &config),
                )
            }
            Self::Ours | Self::OursTwice => {
                let config = our_config(programs, self == Self::OursTwice);
                (
                    call("ADD", &programs.berth, number, netns, &config),
                    call("DEL", &programs.berth, number, netns, &config),
                )
            }
        }
    }
}

fn our_config(programs: &Programs, twice: bool) -> String {
    let mut networks = vec![json!({"name": "external", "uplink": "eth0", "default": true})];
    if twice {
        networks.push(json!({"name": "internal", "uplink": "eth0"}));
    }
    json!({
        "cniVersion": "1.0.0", "name": "bank", "type": "berth",
        "ipamd": programs.socket, "networks": networks,
    })
    .to_string()
}

fn peer_config() -> String {
    json!({
        "cniVersion": "1.0.0", "name": "peer", "type": "bridge", "bridge": PEER_BRIDGE,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": PEER, "gateway": PEER_GATEWAY}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    })
    .to_string()
}

fn call(verb: &str, program: &str, number: usize, netns: &str, config: &str) -> Shot {
    let pod = format!("bench-{number}");
    Shot {
        program: program.to_owned(),
        args: Vec::new(),
        env: vec![
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", format!("cid{number:060}")),
            ("CNI_NETNS", netns.to_owned()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_PATH", PEER_DIR.to_owned()),
            (
                "CNI_ARGS",
                format!(
                    "IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME={pod};K8S_POD_UID=uid-{number}"
                ),
            ),
        ],
        stdin: config.to_owned(),
    }
}

fn floor(programs: &Programs, number: usize, netns: &str) -> (Shot, Shot) {
    let port = format!("fl{number}");
    let [_, b1, b2, b3] = u32::try_from(number + 256)
        .unwrap_or_default()
        .to_be_bytes();
    let mac = format!("02:f1:00:{b1:02x}:{b2:02x}:{b3:02x}");
    let address = format!("10.{}.{b2}.{b3}/14", 136 + b1);
    let shot = |args: &[&str]| Shot {
        program: programs.floor.clone(),
        args: args.iter().map(ToString::to_string).collect(),
        env: Vec::new(),
        stdin: String::new(),
    };
    (
        shot(&[
            "add",
            netns,
            PEER_BRIDGE,
            &port,
            &mac,
            &address,
            FLOOR_GATEWAY,
        ]),
        shot(&["del", &port]),
    )
}

/// The process that asks for the versions: start time and nothing else.
pub(crate) fn version(program: &str) -> Shot {
    Shot {
        program: program.to_owned(),
        args: Vec::new(),
        env: vec![("CNI_COMMAND", "VERSION".to_owned())],
        stdin: r#"{"cniVersion":"1.0.0"}"#.to_owned(),
    }
}
