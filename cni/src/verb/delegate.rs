//! Berth as an IPAM plugin: ADD and CHECK of one address per family, for main plugins that wire themselves.
//!
//! The attachment is keyed as the main plugin's is, so GC and DEL of either find it.

use cni_spec::{
    Asked, CniResult, DelegateConf, Document, Header, ResultIp, ResultRoute, Target, Verb,
};
use proto_ids::{AllocateRequest, Attachment, Grant, InterfaceGrant, InterfaceRequest};
use proto_ipam::convert::ConvertError;
use proto_ipam::v1::CheckInterface;

use crate::add_plan::everywhere;
use crate::error::CallError;
use crate::ipam::{AskIpamdError, Ipam, Patience};
use crate::log;
use crate::release::release;
use crate::spool;

pub(super) fn add(target: &Target, document: &Document) -> Result<String, CallError> {
    let header = document.header(Verb::Add)?;
    let conf = DelegateConf::parse(document)?;
    let asked = Asked::parse(document, &target.args)?;
    let attachment = attachment(&header, target);
    if let Err(error) = spool::withdraw(&conf.daemon.spool, &attachment) {
        log::warn(
            "an old note for berth-ipamd could not be withdrawn",
            &[("error", &error.to_string())],
        );
    }
    let ipamd = Ipam {
        socket: &conf.daemon.socket,
        deadline: conf.daemon.allocate,
        patience: Patience::Wait,
    };
    let request = request(&conf, &attachment, target, &asked);
    let granted = ipamd
        .allocate(&request)
        .and_then(|grant| only(&conf, grant));
    match granted {
        Ok(granted) => Ok(result(&conf, &granted).to_json(header.version)),
        Err(source) => {
            if !source.changed_nothing() {
                release(&conf.daemon, &attachment)?;
            }
            Err(CallError::Ipamd {
                doing: "get addresses from berth-ipamd",
                source,
            })
        }
    }
}

pub(super) fn check(target: &Target, document: &Document) -> Result<(), CallError> {
    let header = document.header(Verb::Check)?;
    let conf = DelegateConf::parse(document)?;
    let previous = document
        .prev_result()?
        .ok_or(CallError::PrevResultMissing)?;
    Ipam {
        socket: &conf.daemon.socket,
        deadline: conf.daemon.allocate,
        patience: Patience::Wait,
    }
    .check(&attachment(&header, target), book(target, &previous))
    .map_err(|source| CallError::Ipamd {
        doing: "compare with the book of berth-ipamd",
        source,
    })
}

fn attachment(header: &Header, target: &Target) -> Attachment {
    Attachment {
        cni_network: header.name.clone(),
        sandbox: target.sandbox.clone(),
        ifname: target.ifname.clone(),
    }
}

/// The MAC is asked for too, although the main plugin sets its own: the book then names the one that is on the wire.
fn request(
    conf: &DelegateConf,
    attachment: &Attachment,
    target: &Target,
    asked: &Asked,
) -> AllocateRequest {
    AllocateRequest {
        attachment: attachment.clone(),
        pod: target.args.pod.clone(),
        pod_uid: target.args.pod_uid.clone(),
        identity: asked.identity.clone(),
        interfaces: vec![InterfaceRequest {
            ifname: target.ifname.clone(),
            network: conf.network.clone(),
            segment: None,
            addresses: asked.addresses.clone(),
            mac: asked.mac,
        }],
    }
}

fn only(conf: &DelegateConf, grant: Grant) -> Result<InterfaceGrant, AskIpamdError> {
    let mut interfaces = grant.interfaces.into_iter();
    match (interfaces.next(), interfaces.next()) {
        (Some(granted), None) if granted.network == conf.network => Ok(granted),
        _ => Err(AskIpamdError::Answer(ConvertError {
            field: "interfaces",
            problem: "are not the one that was asked for".to_owned(),
        })),
    }
}

/// The abbreviated result of an IPAM plugin: no interfaces.
fn result(conf: &DelegateConf, granted: &InterfaceGrant) -> CniResult {
    let route = |dst, gw| ResultRoute {
        dst,
        gw,
        mtu: None,
        priority: None,
        scope: None,
    };
    let gateways = granted
        .addresses
        .iter()
        .filter_map(|assigned| assigned.gateway);
    let defaults = gateways
        .filter(|_| conf.default)
        .map(|gateway| route(everywhere(gateway), Some(gateway)));
    let statics = granted.routes.iter().map(|pool| ResultRoute {
        mtu: pool.mtu,
        priority: pool.metric,
        ..route(pool.dst, pool.via)
    });
    CniResult {
        interfaces: Vec::new(),
        ips: granted
            .addresses
            .iter()
            .map(|assigned| ResultIp {
                interface: None,
                address: assigned.address,
                gateway: assigned.gateway,
            })
            .collect(),
        routes: defaults.chain(statics).collect(),
    }
}

/// What is compared of a main plugin's result: the addresses of its interface, or all where it names no interface.
fn book(target: &Target, previous: &CniResult) -> Vec<CheckInterface> {
    let index = previous.interfaces.iter().position(|interface| {
        interface.name == target.ifname.as_str() && interface.sandbox.is_some()
    });
    vec![CheckInterface {
        ifname: target.ifname.to_string(),
        // The main plugin chose it.
        mac: String::new(),
        addresses: previous
            .ips
            .iter()
            .filter(|ip| ip.interface.is_none() || ip.interface == index)
            .map(|ip| ip.address.to_string())
            .collect(),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto_ids::{AssignedAddress, Route};
    use serde_json::json;

    fn conf(default: bool) -> DelegateConf {
        let text =
            json!({"ipam": {"type": "berth-ipam", "network": "external", "default": default}});
        DelegateConf::parse(&Document::decode(text.to_string().as_bytes()).unwrap()).unwrap()
    }

    fn granted() -> InterfaceGrant {
        InterfaceGrant {
            ifname: "eth0".parse().unwrap(),
            network: "external".parse().unwrap(),
            rack: "a".parse().unwrap(),
            mac: "b6:e7:0a:14:01:64".parse().unwrap(),
            addresses: vec![
                AssignedAddress {
                    address: "10.20.1.100/24".parse().unwrap(),
                    gateway: Some("10.20.1.1".parse().unwrap()),
                    pool: "external-a".parse().unwrap(),
                },
                AssignedAddress {
                    address: "fd00::64/64".parse().unwrap(),
                    gateway: None,
                    pool: "external-a6".parse().unwrap(),
                },
            ],
            routes: vec![Route {
                dst: "10.0.0.0/8".parse().unwrap(),
                via: None,
                metric: Some(7),
                mtu: None,
            }],
        }
    }

    #[test]
    fn result_has_addresses_and_routes_and_no_interfaces() {
        let texts = |default| {
            let result = result(&conf(default), &granted());
            assert!(result.interfaces.is_empty());
            assert!(result.ips.iter().all(|ip| ip.interface.is_none()));
            result
                .routes
                .iter()
                .map(|route| format!("{} {:?}", route.dst, route.gw))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            texts(true),
            ["0.0.0.0/0 Some(10.20.1.1)", "10.0.0.0/8 None"]
        );
        assert_eq!(texts(false), ["10.0.0.0/8 None"]);
    }

    #[test]
    fn grant_for_something_else_is_not_used() {
        let grant = |interfaces| Grant {
            identity: "prod/db-0".parse().unwrap(),
            interfaces,
            moved_from: None,
        };
        assert!(only(&conf(true), grant(vec![granted()])).is_ok());
        let other = InterfaceGrant {
            network: "internal".parse().unwrap(),
            ..granted()
        };
        for wrong in [vec![], vec![granted(), granted()], vec![other]] {
            assert!(only(&conf(true), grant(wrong)).is_err());
        }
    }

    #[test]
    fn only_addresses_of_the_containers_interface_are_compared() {
        let previous = json!({
            "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": "/x"}],
            "ips": [{"address": "10.0.0.1/24", "interface": 0},
                    {"address": "10.0.0.2/24", "interface": 1},
                    {"address": "10.0.0.3/24"}]
        });
        let target = Target {
            sandbox: "c".parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
            netns: "/x".into(),
            args: cni_spec::CniArgs::default(),
        };
        let book = book(&target, &CniResult::parse(&previous).unwrap());
        assert_eq!(book[0].addresses, ["10.0.0.2/24", "10.0.0.3/24"]);
    }
}
