use super::*;

fn attachment(sandbox: &str) -> Attachment {
    Attachment {
        cni_network: "bank".parse().unwrap(),
        sandbox: sandbox.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

fn port(index: u32, group: u32, sandbox: &str, ifname: &str) -> Link {
    Link {
        index,
        group,
        name: format!("bth{index}"),
        kind: Some("veth".to_owned()),
        alias: Some(format!(
            "berth1 bank {sandbox} eth0 {ifname} external b6:e7:0a:14:01:64 10.20.1.100/24 prod/db-0"
        )),
        ..Link::default()
    }
}

fn host_route(port: u32) -> Installed {
    Installed {
        index: 4,
        route: Route {
            metric: Some(port),
            ..Route::to_neighbour("10.20.1.100".parse().unwrap(), NODE_PROTOCOL)
        },
    }
}

fn indexes(remains: &Remains) -> Vec<u32> {
    remains.ports.iter().map(|port| port.index).collect()
}

#[test]
fn both_ports_go_by_their_group_and_others_stay() {
    let links = [
        port(6, 100, "c1", "eth0"),
        port(7, 100, "c1", "net1"),
        port(8, 101, "c2", "eth0"),
        Link::default(),
    ];
    let remains = plan(&attachment("c1"), &links, &[]);
    assert_eq!((indexes(&remains), remains.group), (vec![6, 7], Some(100)));
}

#[test]
fn group_that_somebody_else_is_in_is_never_removed_as_a_whole() {
    let stranger = Link {
        index: 9,
        group: 100,
        ..Link::default()
    };
    let links = [
        port(6, 100, "c1", "eth0"),
        port(7, 100, "c1", "net1"),
        stranger,
    ];
    let remains = plan(&attachment("c1"), &links, &[]);
    assert_eq!((indexes(&remains), remains.group), (vec![6, 7], None));
}

#[test]
fn port_outside_the_group_of_the_other_is_not_forgotten() {
    // The ADD was killed between the two.
    let links = [port(6, 100, "c1", "eth0"), port(7, 0, "c1", "net1")];
    let remains = plan(&attachment("c1"), &links, &[]);
    assert_eq!((indexes(&remains), remains.group), (vec![6, 7], None));
}

#[test]
fn wired_pod_is_removed_by_what_its_ports_say() {
    let group = group::of(2, 6).unwrap();
    let ports = vec![port(6, group, "c1", "eth0"), port(7, group, "c1", "net1")];
    let remains = complete(ports.clone());
    assert_eq!((remains.group, &remains.ports), (Some(group), &ports));
    let any_link = |port| Installed {
        index: 0,
        ..host_route(port)
    };
    assert_eq!(remains.routes, [any_link(6), any_link(7)]);
}

#[test]
fn default_group_is_never_removed() {
    let links = [port(6, 0, "c1", "eth0"), port(7, 0, "c1", "net1")];
    assert_eq!(plan(&attachment("c1"), &links, &[]).group, None);
}

#[test]
fn port_without_alias_is_known_by_its_name_but_a_named_one_by_its_alias_only() {
    let of_c1 = attachment("c1");
    let name = Attachment::port_name(&of_c1.sandbox, &of_c1.ifname);
    let nameless = Link {
        name: name.to_string(),
        alias: None,
        ..port(6, 0, "c1", "eth0")
    };
    assert_eq!(
        indexes(&plan(&of_c1, std::slice::from_ref(&nameless), &[])),
        [6]
    );
    let others = Link {
        alias: Some("uplink to rack 7".to_owned()),
        ..nameless.clone()
    };
    let bridge = Link {
        kind: Some("bridge".to_owned()),
        ..nameless
    };
    assert_eq!(plan(&of_c1, &[others, bridge], &[]), Remains::default());
}

#[test]
fn another_configurations_attachment_of_the_same_sandbox_stays() {
    let mut other = attachment("c1");
    other.cni_network = "dmz".parse().unwrap();
    assert_eq!(
        plan(&other, &[port(6, 0, "c1", "eth0")], &[]),
        Remains::default()
    );
}

#[test]
fn host_routes_go_with_their_port_and_when_it_is_gone() {
    let links = [port(6, 0, "c1", "eth0"), port(8, 0, "c2", "eth0")];
    let routes = [host_route(6), host_route(8), host_route(5)];
    let remains = plan(&attachment("c1"), &links, &routes);
    assert_eq!(remains.routes, [host_route(6), host_route(5)]);
}

#[test]
fn late_del_leaves_the_new_pods_route_to_the_same_address() {
    let links = [port(8, 0, "c2", "eth0")];
    let remains = plan(&attachment("c1"), &links, &[host_route(8)]);
    assert_eq!(remains, Remains::default());
}
